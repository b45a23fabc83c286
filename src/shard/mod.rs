//! A cache for one thread, in one piece: the only module that keeps slots, index, wheel
//! and eviction policy consistent with one another.
//!
//! It knows no clock (time comes in as ticks), no hasher (keys come in with their
//! [`KeyHash`]), no lock and no listener: entries that leave are returned.
//!
//! # Ground rules
//!
//! - Two kinds of callers' code run in here: their keys' `Eq`, in [`find`](Shard::find) and
//!   [`confirm`](Shard::confirm), before anything is changed; and the predicate of
//!   [`remove_where`](Shard::remove_where), between two removals. Either may panic, and the
//!   shard is consistent.
//! - No key and no value is dropped in here: they move out in a [`Removed`].
//!
//! # Invariants
//!
//! 1. A slot is occupied if and only if the index finds it by its slot hash.
//! 2. A slot is in the wheel if and only if its entry has a deadline.
//! 3. Every occupied slot is in exactly one segment of the policy.
//! 4. At most `capacity` slots are occupied, and the index has room for as many.
//! 5. Where entries expire if nobody uses them, each has a deadline, which is not after the end of
//!    its TTL.
//! 6. The entries' [weights](Weights) are within the limit whenever a call returns.
//! 7. Where keys and values lie in an [arena](arena), a slot has a [record](Records) if and only if
//!    it is occupied; one more, of no slot, may be that of an insertion in progress.

pub(crate) mod arena;
pub(crate) mod batch;
pub(crate) mod byte_geometry;
pub(crate) mod bytes;
#[cfg(any(test, fuzzing))]
mod check;
pub(crate) mod eviction;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod geometry;
mod idle;
pub(crate) mod index;
pub(crate) mod key_hash;
pub(crate) mod probe;
pub(crate) mod records;
mod removals;
pub(crate) mod sizes;
pub(crate) mod slot_id;
pub(crate) mod slots;
mod weighing;
mod weights;
pub(crate) mod wheel;

use std::ops::Range;

use crate::entry::removal::{RemovalCause, Removed};
use crate::error::BuildError;
use crate::footprint::Footprint;
use crate::panic::DropGuard;
use crate::stats::Stats;
use crate::time::tick::Deadline;
use arrayvec::ArrayVec;
use eviction::counts::Counts;
use eviction::{Access, Eviction, Policy, PolicyFactory, Sampler};
use geometry::Geometry;
use idle::IdleEnds;
use index::Index;
use key_hash::{KeyHash, SlotHash};
use probe::Probe;
use records::{ArenaShape, Records};
use sizes::Sizes;
use slot_id::SlotId;
use slots::Slots;
use weights::Weights;
use wheel::{Timers, Wheel};

/// The order of the fields is the layout: what a hit touches comes first and, with the lock
/// of a shared shard before it, fills two cache lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Shard<K, V> {
    index: Index,
    slots: Slots<K, V>,
    /// Picks the keys whose accesses the policy observes.
    sampler: Sampler,
    wheel: Wheel,
    counters: Counters,
    policy: Policy,
    idle: Option<Box<IdleEnds>>,
    sizes: Option<Box<Sizes>>,
}

/// What bounds the entries of each shard besides their number and their TTLs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    /// They expire if nobody uses them.
    pub(crate) by_idle_time: bool,
    /// They weigh so much at most.
    pub(crate) weight: Option<u64>,
    /// Their keys and values lie in an arena of that shape.
    pub(crate) arena: Option<ArenaShape>,
}

impl Bounds {
    /// Returns the bytes that the idle times of so many slots request from the allocator.
    fn idle_bytes(self, slots: usize) -> usize {
        let bytes = IdleEnds::heap_bytes(slots).saturating_add(size_of::<IdleEnds>());
        if self.by_idle_time { bytes } else { 0 }
    }

    /// Returns the bytes that the weights of so many slots request.
    fn weights_bytes(self, slots: usize) -> usize {
        let bytes = Weights::heap_bytes(slots).saturating_add(size_of::<Sizes>());
        if self.weight.is_some() { bytes } else { 0 }
    }

    /// Returns the bytes that the arena requests, with places for so many slots.
    fn arena_bytes(self, slots: usize) -> usize {
        let bytes = |shape| Records::heap_bytes(shape, slots).saturating_add(size_of::<Sizes>());
        self.arena.map_or(0, bytes)
    }
}

/// An entry that was looked up.
#[derive(Debug)]
pub(crate) struct Found<'a, K, V> {
    shard: &'a Shard<K, V>,
    id: SlotId,
    pub(crate) value: &'a V,
}

/// What [`Stats`] counts of a shard: all but hits and misses, which threads that share the shard
/// count elsewhere.
#[derive(Debug, Default)]
struct Counters {
    inserts: u64,
    expired: u64,
    evicted: u64,
    removed: u64,
    replaced: u64,
    live_peak: u64,
    rebuilds: u64,
}

impl<K, V> Shard<K, V> {
    /// Allocates all that the shard will ever need.
    pub(crate) fn new(
        geometry: &Geometry,
        bounds: Bounds,
        factory: &mut PolicyFactory,
        now: u64,
    ) -> Result<Self, BuildError> {
        let slots = geometry.slots_per_shard;
        let policy = factory.policy(slots)?;
        let idle = bounds.by_idle_time.then(|| IdleEnds::new(slots)).transpose()?;
        let sizes = match (bounds.weight, bounds.arena) {
            (Some(limit), _) => Some(Sizes::Weights(Weights::new(slots, limit)?)),
            (None, Some(shape)) => Some(Sizes::Records(Records::new(shape, slots)?)),
            (None, None) => None,
        };
        // The wheel aborts where there is no memory, so try first.
        BuildError::probe(Wheel::heap_bytes(slots))?;
        let wheel = Wheel::new(slots, now);
        Ok(Self {
            index: Index::new(geometry.buckets_log2)?,
            slots: Slots::new(slots)?,
            wheel,
            sampler: policy.sampler(slots),
            policy,
            counters: Counters::default(),
            idle: idle.map(Box::new),
            sizes: sizes.map(Box::new),
        })
    }

    /// Allocates the shards of a cache, each wrapped by `hold`.
    pub(crate) fn allocate<T>(
        geometry: &Geometry,
        bounds: Bounds,
        eviction: Eviction,
        now: u64,
        hold: impl Fn(Self) -> Result<T, BuildError>,
    ) -> Result<Box<[T]>, BuildError> {
        let mut shards = Vec::new();
        shards.try_reserve_exact(geometry.shards).map_err(|_| BuildError::OutOfMemory {
            requested_bytes: geometry.shards.saturating_mul(size_of::<T>()),
        })?;
        let mut factory = PolicyFactory::new(eviction);
        for _ in 0..geometry.shards {
            shards.push(hold(Self::new(geometry, bounds, &mut factory, now)?)?);
        }
        Ok(shards.into_boxed_slice())
    }

    /// Returns the bytes that [`allocate`](Self::allocate) requests, where a wrapped shard
    /// takes `holder_bytes`.
    pub(crate) fn footprint(
        geometry: &Geometry,
        bounds: Bounds,
        eviction: Eviction,
        holder_bytes: usize,
    ) -> Result<Footprint, BuildError> {
        let index_bytes = Index::heap_bytes(geometry.buckets_log2)?;
        let slots = geometry.slots_per_shard;
        let wheel_bytes = Wheel::heap_bytes(slots).saturating_add(bounds.idle_bytes(slots));
        let weights_bytes = bounds.weights_bytes(slots);
        let policies_bytes = PolicyFactory::heap_bytes(eviction, geometry.shards, slots);
        Ok(Footprint {
            slots_bytes: geometry.capacity().saturating_mul(Slots::<K, V>::SLOT_BYTES),
            index_bytes: geometry.shards.saturating_mul(index_bytes),
            wheel_bytes: geometry.shards.saturating_mul(wheel_bytes),
            eviction_bytes: policies_bytes
                .saturating_add(geometry.shards.saturating_mul(weights_bytes)),
            locks_bytes: geometry.shards.saturating_mul(holder_bytes),
            loads_bytes: 0,
            data_bytes: geometry.shards.saturating_mul(bounds.arena_bytes(slots)),
        })
    }

    #[inline]
    fn weights(&self) -> Option<&Weights> {
        self.sizes.as_deref().and_then(Sizes::weights)
    }

    #[inline]
    fn records(&self) -> Option<&Records> {
        self.sizes.as_deref().and_then(Sizes::records)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns the number of slots; they are numbered from zero.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(crate) fn stats(&self) -> Stats {
        let &Counters { inserts, expired, evicted, removed, replaced, .. } = &self.counters;
        let &Counters { live_peak, rebuilds, .. } = &self.counters;
        let (weight, weight_peak) = self.weights().map_or((0, 0), Weights::sum_and_peak);
        let records = self.records();
        let of_records = |figure: fn(&Records) -> u64| records.map_or(0, figure);
        Stats {
            inserts,
            expired,
            evicted,
            removed,
            replaced,
            held: self.len() as u64,
            live_peak,
            rebuilds,
            weight,
            weight_peak,
            live_bytes: of_records(Records::live_bytes),
            live_bytes_peak: of_records(Records::live_bytes_peak),
            bytes_moved: of_records(Records::moved_bytes),
            ..Stats::default()
        }
    }

    /// Returns the slot of a key, due or not. Runs the key's `Eq`, and no other callers'
    /// code.
    #[inline]
    pub(crate) fn find(
        &self,
        slot_hash: SlotHash,
        key: &(impl Probe<K> + ?Sized),
    ) -> Option<SlotId> {
        self.index.find(slot_hash, |id| key.is_key(self.slots.key(id), id, &self.sizes))
    }

    /// Returns the slot of a key that is not due.
    #[inline]
    pub(crate) fn find_live(
        &self,
        slot_hash: SlotHash,
        key: &(impl Probe<K> + ?Sized),
        now: u64,
    ) -> Option<SlotId> {
        self.find(slot_hash, key).filter(|&id| !self.is_due(id, now))
    }

    /// Returns slot and value of a key that is not due, which counts as a use.
    #[inline(always)]
    pub(crate) fn get(
        &mut self,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        now: u64,
    ) -> Option<(SlotId, &mut V)> {
        let live = self.find_live(hash.slot_hash(), key, now);
        self.record_access_mut(live, hash)
    }

    /// Returns the entry of a key, due or not, which counts as a use; perhaps beside other threads.
    #[inline(always)]
    pub(crate) fn access(
        &self,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
    ) -> Option<Found<'_, K, V>> {
        // In one: the slot is looked up once.
        let mut found = None;
        self.index.find(hash.slot_hash(), |id| {
            let is_key = |other: &K| key.is_key(other, id, &self.sizes);
            found = self.slots.access_if(id, is_key).map(|value| Found { shard: self, id, value });
            found.is_some()
        });
        if self.sampler.picks(hash) {
            self.policy.observe(hash, if found.is_some() { Access::Hit } else { Access::Miss });
        }
        found
    }

    /// Returns an entry that has been looked up.
    #[inline]
    pub(crate) fn found(&self, id: SlotId) -> Found<'_, K, V> {
        Found { shard: self, id, value: self.slots.value(id) }
    }

    /// The second half of a lookup: `live` is the slot of the key, if it has one and is not due.
    /// Counts a use, perhaps beside other threads.
    #[inline(always)]
    pub(crate) fn record_access(
        &self,
        live: Option<SlotId>,
        hash: KeyHash,
    ) -> Option<Found<'_, K, V>> {
        // Hit and miss return separately: no shared tail, one branch fewer on a hit.
        let Some(id) = live else {
            if self.sampler.picks(hash) {
                self.policy.observe(hash, Access::Miss);
            }
            return None;
        };
        let value = self.slots.access(id);
        if self.sampler.picks(hash) {
            self.policy.observe(hash, Access::Hit);
        }
        Some(Found { shard: self, id, value })
    }

    /// [`record_access`](Self::record_access) where that [postpones](Self::access_until) the end.
    #[inline(always)]
    pub(crate) fn record_access_until(
        &self,
        live: Option<SlotId>,
        hash: KeyHash,
        idle_end: u64,
    ) -> Option<Found<'_, K, V>> {
        if self.sampler.picks(hash) {
            self.policy.observe(hash, if live.is_some() { Access::Hit } else { Access::Miss });
        }
        live.map(|id| self.access_until(id, idle_end))
    }

    /// [`record_access`](Self::record_access) with the shard held alone.
    #[inline(always)]
    pub(crate) fn record_access_mut(
        &mut self,
        live: Option<SlotId>,
        hash: KeyHash,
    ) -> Option<(SlotId, &mut V)> {
        let Some(id) = live else {
            if self.sampler.picks(hash) {
                self.policy.observe_mut(hash, Access::Miss);
            }
            return None;
        };
        let value = self.slots.access_mut(id);
        if self.sampler.picks(hash) {
            self.policy.observe_mut(hash, Access::Hit);
        }
        Some((id, value))
    }

    #[inline]
    pub(crate) fn is_due(&self, id: SlotId, now: u64) -> bool {
        // Usually none is, and the entry itself need not be fetched.
        self.wheel.has_work(now) && self.is_past(id, now)
    }

    /// Out of line, so that callers of [`is_due`](Self::is_due) are inlined.
    #[cold]
    fn is_past(&self, id: SlotId, now: u64) -> bool {
        self.wheel.is_due(&self.slots, id, now)
    }

    /// See [`Wheel::may_be_due_by`]; also true of some entries that are never due.
    #[inline]
    pub(crate) fn may_be_due_by(&self, id: SlotId, now: u64, until: u64) -> bool {
        self.wheel.may_be_due_by(&self.slots, id, now, until)
    }

    #[inline]
    pub(crate) fn entry(&self, id: SlotId) -> (&K, &V) {
        self.slots.entry(id)
    }

    #[inline]
    pub(crate) fn value(&self, id: SlotId) -> &V {
        self.slots.value(id)
    }

    /// Returns the earliest tick that its TTL may have given an entry as its deadline; `None` for
    /// never. It is due then, or a little later where the deadline was rounded up.
    #[inline(always)]
    pub(crate) fn deadline_min(&self, id: SlotId) -> Option<u64> {
        self.slots.is_linked(id).then(|| self.wheel.deadline_min(&self.slots, id))
    }

    /// [`deadline_min`](Self::deadline_min) by its TTL alone, whenever it was used.
    pub(crate) fn ttl_deadline_min(&self, id: SlotId) -> Option<u64> {
        match &self.idle {
            Some(idle) => Some(idle.ttl_end(id)).filter(|&end| end < u64::MAX),
            None => self.deadline_min(id),
        }
    }

    /// Gives an entry another deadline. Returns the entry if it is due now.
    #[inline]
    pub(crate) fn set_deadline(
        &mut self,
        id: SlotId,
        deadline: Deadline,
        now: u64,
    ) -> Option<Removed<K, V>> {
        if deadline == Deadline::Now {
            return Some(self.remove(id, now, RemovalCause::Expired));
        }
        if self.idle.is_some() {
            self.set_ttl_end(id, deadline, now);
        } else {
            self.reschedule(id, deadline, now);
        }
        None
    }

    #[cold]
    fn set_ttl_end(&mut self, id: SlotId, deadline: Deadline, now: u64) {
        if let Some(idle) = &mut self.idle {
            let end = idle.set_ttl(id, deadline, self.wheel.deadline(&self.slots, id));
            self.reschedule(id, Deadline::At(end), now);
        }
    }

    /// Has a new entry, which has its TTL's deadline, expire if nobody uses it.
    pub(crate) fn start_idle(&mut self, id: SlotId, ttl: Deadline, idle_end: u64, now: u64) {
        let Some(idle) = &mut self.idle else { return };
        let end = idle.start(id, ttl, idle_end);
        self.reschedule(id, Deadline::At(end), now);
    }

    /// Postpones the end of an entry that is used.
    pub(crate) fn renew(&mut self, id: SlotId, idle_end: u64, now: u64) {
        let Some(idle) = &self.idle else { return };
        let end = idle.renewed(id, idle_end);
        if self.wheel.deadline(&self.slots, id) < end {
            self.reschedule(id, Deadline::At(end), now);
        }
    }

    /// Counts a use of an entry and postpones its end, perhaps beside other threads.
    #[inline(always)]
    pub(crate) fn access_until(&self, id: SlotId, idle_end: u64) -> Found<'_, K, V> {
        let value = match &self.idle {
            None => self.slots.access(id),
            Some(idle) => {
                let end = idle.renewed(id, idle_end);
                let postponed = |list, deadline| self.wheel.postponed(list, deadline, end);
                self.slots.access_until(id, postponed)
            }
        };
        Found { shard: self, id, value }
    }

    #[inline]
    fn reschedule(&mut self, id: SlotId, deadline: Deadline, now: u64) {
        match deadline {
            Deadline::Now => self.wheel.reschedule(&mut self.slots, id, now, now),
            Deadline::At(tick) => self.wheel.reschedule(&mut self.slots, id, tick, now),
            Deadline::Never => self.wheel.remove(&mut self.slots, id),
        }
    }

    /// Inserts an entry, or replaces the one with the same key. Returns its slot, and the
    /// entry that it displaced:
    ///
    /// - the one with the same key, as `Replaced`, or as `Expired` if it was due;
    /// - else, if the shard was full, a due one, or the policy's victim if the wheel finds
    ///   none that is due within `budget`.
    ///
    /// Only the key's `Eq` runs in here, and first: if it panics, key and value are still
    /// in their guards, and the caller drops them once it has released the lock.
    #[inline(always)]
    pub(crate) fn upsert(
        &mut self,
        hash: KeyHash,
        key: &mut DropGuard<K>,
        value: &mut DropGuard<V>,
        deadline: Deadline,
        now: u64,
        budget: &mut usize,
    ) -> (SlotId, Option<Removed<K, V>>)
    where
        K: Eq,
    {
        let found = self.find(hash.slot_hash(), key.get());
        // No callers' code runs from here on, so key and value may leave their guards.
        self.upsert_found(found, hash, (key.take(), value.take()), deadline, now, budget)
    }

    /// The second half of [`upsert`](Self::upsert): `found` is the slot of the key, if it has one.
    #[inline(always)]
    pub(crate) fn upsert_found(
        &mut self,
        found: Option<SlotId>,
        hash: KeyHash,
        (key, value): (K, V),
        deadline: Deadline,
        now: u64,
        budget: &mut usize,
    ) -> (SlotId, Option<Removed<K, V>>) {
        let Some(id) = found else {
            return self.insert(hash, key, value, deadline, now, budget);
        };
        self.record_insertion(hash);
        let cause =
            if self.is_due(id, now) { RemovalCause::Expired } else { RemovalCause::Replaced };
        self.count_removal(cause);
        self.reschedule(id, deadline, now);
        let (key, value) = self.slots.replace(id, key, value);
        (id, Some(Removed { key, value, cause }))
    }

    /// Inserts an entry whose key is not in the shard.
    #[inline(always)]
    pub(crate) fn insert(
        &mut self,
        hash: KeyHash,
        key: K,
        value: V,
        deadline: Deadline,
        now: u64,
        budget: &mut usize,
    ) -> (SlotId, Option<Removed<K, V>>) {
        let slot_hash = hash.slot_hash();
        self.record_insertion(hash);
        let (id, displaced) = if self.slots.is_full() {
            let (id, cause) = self.evict_one(slot_hash, now, budget);
            let (key, value) = self.slots.reuse(id, key, value, slot_hash);
            (id, Some(Removed { key, value, cause }))
        } else {
            let is_ghost_hit = self.policy.take_ghost(slot_hash);
            let id = self.slots.insert(key, value, slot_hash);
            self.policy.admit(id, is_ghost_hit);
            (id, None)
        };
        if self.index.is_full() {
            // The slots already hold the new entry, so the rebuild inserts it, too.
            self.rebuild_index();
        } else {
            self.index.insert(id, slot_hash);
        }
        self.reschedule(id, deadline, now);
        (id, displaced)
    }

    /// Counts an entry that leaves as it arrives, for this cause, and takes no slot: its TTL is zero,
    /// or it is too heavy. Returns the entry that it replaces.
    pub(crate) fn pass_through(
        &mut self,
        found: Option<SlotId>,
        now: u64,
        cause: RemovalCause,
    ) -> Option<Removed<K, V>> {
        self.counters.inserts += 1;
        self.count_removal(cause);
        found.map(|id| self.remove(id, now, RemovalCause::Replaced))
    }

    #[inline]
    fn record_insertion(&mut self, hash: KeyHash) {
        self.counters.inserts += 1;
        if self.sampler.picks(hash) {
            self.policy.observe_mut(hash, Access::Insert);
        }
    }

    /// Raises the peak to the number of entries. Called after an insertion once that call
    /// has freed due entries: the peak is of live ones.
    #[inline]
    pub(crate) fn record_peak(&mut self) {
        self.counters.live_peak = self.counters.live_peak.max(self.len() as u64);
    }

    /// Removes the entry of a key, as `Expired` if it is due, else as `Removed`.
    #[inline]
    pub(crate) fn remove_key(
        &mut self,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        now: u64,
    ) -> Option<Removed<K, V>> {
        let id = self.find(hash.slot_hash(), key)?;
        Some(self.remove_found(id, self.is_due(id, now)))
    }

    /// The second half of [`remove_key`](Self::remove_key).
    #[inline]
    pub(crate) fn remove_found(&mut self, id: SlotId, is_due: bool) -> Removed<K, V> {
        self.remove_entry(id, is_due, RemovalCause::Removed)
    }

    /// Removes from these slots the due entries, and those that `predicate` picks, until
    /// `batch` is full. Tells `each_picked` of those that it picks. Returns the slots not looked
    /// at yet.
    ///
    /// If `predicate` panics, the entries in `batch` have been removed and nothing else has
    /// changed.
    pub(crate) fn remove_where<const N: usize>(
        &mut self,
        slots: Range<usize>,
        now: u64,
        cause: RemovalCause,
        mut predicate: impl FnMut(&Self, SlotId) -> bool,
        mut each_picked: impl FnMut(SlotHash),
        batch: &mut ArrayVec<Removed<K, V>, N>,
    ) -> Range<usize> {
        let mut unvisited = slots;
        // One batch a call: the caller releases the lock to deliver it, and comes back for
        // the rest. Meanwhile others may fill and vacate slots, so the rest is a range of
        // slot numbers and not, say, a list of entries.
        while !batch.is_full() {
            // The slot vacated last is reused first: from the highest number down, later
            // insertions fill the slab from its low end again, in order.
            let Some(index) = unvisited.next_back() else { break };
            let Some(id) = self.slots.get_occupied(index) else { continue };
            // A due entry is invisible to callers' code, so the predicate does not see it.
            if self.is_due(id, now) || predicate(self, id) {
                // Into the caller's batch at once: should the predicate panic at the next
                // entry, this one is still delivered.
                let slot_hash = self.slots.slot_hash(id);
                let removed = self.remove(id, now, cause);
                if removed.cause == cause {
                    each_picked(slot_hash);
                }
                batch.push(removed);
            }
        }
        unvisited
    }

    /// Returns those of these slots that hold a live entry.
    pub(crate) fn live_slots(
        &self,
        slots: Range<usize>,
        now: u64,
    ) -> impl Iterator<Item = SlotId> + '_ {
        let occupied = slots.filter_map(|index| self.slots.get_occupied(index));
        occupied.filter(move |&id| !self.is_due(id, now))
    }

    /// Returns how many of these slots hold an entry that is due.
    pub(crate) fn count_due(&self, slots: Range<usize>, now: u64) -> usize {
        let occupied = slots.filter_map(|index| self.slots.get_occupied(index));
        occupied.filter(|&id| self.is_due(id, now)).count()
    }

    /// See [`Wheel::next_event`].
    #[inline]
    pub(crate) fn next_event(&self) -> u64 {
        self.wheel.next_event()
    }

    /// See [`Wheel::next_expiry`].
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        self.wheel.next_expiry(&self.slots)
    }

    #[cold]
    fn rebuild_index(&mut self) {
        self.counters.rebuilds += 1;
        self.index.rebuild(self.slots.ids().map(|id| (id, self.slots.slot_hash(id))));
    }
}
