//! A cache for one thread, of one piece: the only room that keeps slots, index,
//! wheel and eviction policy in step.
//!
//! It knows no clock (time comes in as ticks), no hasher (keys come in with their
//! place), no lock and no listener: entries that leave are handed out.
//!
//! # Ground rules
//!
//! - The callers' code that runs in here is their keys' `Eq`, in
//!   [`find`](Shard::find), before anything is changed. Everything else runs to
//!   its end, so a panic of theirs finds the shard whole.
//! - Nothing of theirs is dropped in here: keys and values move out in a
//!   [`Removed`].
//!
//! # Invariants
//!
//! 1. A slot is occupied if and only if the index finds it at its place.
//! 2. A slot is in the wheel if and only if its entry has a deadline.
//! 3. Every occupied slot is in exactly one segment of the policy.
//! 4. At most `capacity` slots are occupied, and the index has room for as many.

pub(crate) mod batch;
#[cfg(any(test, fuzzing))]
mod check;
pub(crate) mod eviction;
pub(crate) mod geometry;
pub(crate) mod index;
pub(crate) mod key_hash;
pub(crate) mod slot_id;
pub(crate) mod slots;
pub(crate) mod wheel;

use std::ops::Range;

use arrayvec::ArrayVec;
use equivalent::Equivalent;

use crate::error::BuildError;
use crate::footprint::Footprint;
use crate::panic::DropGuard;
use crate::removal::{RemovalCause, Removed};
use crate::stats::Stats;
use crate::time::tick::Deadline;
use eviction::counts::Counts;
use eviction::{Access, Eviction, Policy, PolicyFactory, Sampler};
use geometry::Geometry;
use index::Index;
use key_hash::{KeyHash, SlotHash};
use slot_id::SlotId;
use slots::Slots;
use wheel::{Timers, Wheel};

/// In this order: what a hit touches comes first, and with the lock of a shared shard
/// before it fills two cache lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Shard<K, V> {
    index: Index,
    /// Those of `stats`, which has none.
    hits: u64,
    slots: Slots<K, V>,
    /// The keys whose accesses the policy is shown.
    sampler: Sampler,
    wheel: Wheel,
    stats: Stats,
    policy: Policy,
}

impl<K, V> Shard<K, V> {
    /// Everything is allocated here.
    pub(crate) fn new(
        geometry: &Geometry,
        factory: &mut PolicyFactory,
        now: u64,
    ) -> Result<Self, BuildError> {
        let slots = geometry.slots_per_shard;
        let policy = factory.policy(slots)?;
        // Allocated for sure or not at all, so find out first.
        BuildError::probe(Wheel::HEAP_BYTES)?;
        let wheel = Wheel::new(now);
        Ok(Self {
            index: Index::new(geometry.buckets_log2)?,
            hits: 0,
            slots: Slots::new(slots)?,
            wheel,
            sampler: policy.sampler(slots),
            policy,
            stats: Stats::default(),
        })
    }

    /// Allocates the shards of a cache, each held in what `hold` makes of it.
    pub(crate) fn allocate<T>(
        geometry: &Geometry,
        eviction: Eviction,
        now: u64,
        hold: impl Fn(Self) -> T,
    ) -> Result<Box<[T]>, BuildError> {
        let mut shards = Vec::new();
        shards.try_reserve_exact(geometry.shards).map_err(|_| BuildError::OutOfMemory {
            requested_bytes: geometry.shards.saturating_mul(size_of::<T>()),
        })?;
        let mut factory = PolicyFactory::new(eviction);
        for _ in 0..geometry.shards {
            shards.push(hold(Self::new(geometry, &mut factory, now)?));
        }
        Ok(shards.into_boxed_slice())
    }

    /// What the shards of that shape take, each held in `holder_bytes`.
    pub(crate) fn footprint(
        geometry: &Geometry,
        eviction: Eviction,
        holder_bytes: usize,
    ) -> Result<Footprint, BuildError> {
        let index_bytes = Index::heap_bytes(geometry.buckets_log2)?;
        let slots = geometry.slots_per_shard;
        Ok(Footprint {
            slots_bytes: geometry.capacity().saturating_mul(Slots::<K, V>::SLOT_BYTES),
            index_bytes: geometry.shards.saturating_mul(index_bytes),
            wheel_bytes: geometry.shards.saturating_mul(Wheel::HEAP_BYTES),
            eviction_bytes: PolicyFactory::heap_bytes(eviction, geometry.shards, slots)?,
            locks_bytes: geometry.shards.saturating_mul(holder_bytes),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The number of slots; those occupied have numbers below it.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { hits: self.hits, live: self.len() as u64, ..self.stats }
    }

    /// The slot of a key, due or not. Runs the key's `Eq`, and nothing else of
    /// the caller's.
    #[inline]
    pub(crate) fn find<Q>(&self, slot_hash: SlotHash, key: &Q) -> Option<SlotId>
    where
        Q: Equivalent<K> + ?Sized,
    {
        self.index.find(slot_hash, |id| key.equivalent(self.slots.key(id)))
    }

    /// The slot of a key that is not due.
    #[inline]
    pub(crate) fn find_live(
        &self,
        slot_hash: SlotHash,
        key: &(impl Equivalent<K> + ?Sized),
        now: u64,
    ) -> Option<SlotId> {
        self.find(slot_hash, key).filter(|&id| !self.is_due(id, now))
    }

    /// [`find_live`](Self::find_live) for a look-up that counts as a use, and the
    /// value.
    #[inline(always)]
    pub(crate) fn get(
        &mut self,
        hash: KeyHash,
        key: &(impl Equivalent<K> + ?Sized),
        now: u64,
    ) -> Option<(SlotId, &mut V)> {
        let found = self.find(hash.slot_hash(), key);
        self.record_access(found, hash, now)
    }

    /// [`get`](Self::get) for a key whose slot has been found, if it has one.
    #[inline(always)]
    pub(crate) fn record_access(
        &mut self,
        found: Option<SlotId>,
        hash: KeyHash,
        now: u64,
    ) -> Option<(SlotId, &mut V)> {
        // Hit and miss return separately: no shared tail, one branch fewer on a hit.
        let Some(id) = found.filter(|&id| !self.is_due(id, now)) else {
            self.stats.misses += 1;
            if self.sampler.picks(hash) {
                self.policy.observe(hash, Access::Miss);
            }
            return None;
        };
        let value = self.slots.access(id);
        self.hits += 1;
        if self.sampler.picks(hash) {
            self.policy.observe(hash, Access::Hit);
        }
        Some((id, value))
    }

    #[inline]
    pub(crate) fn is_due(&self, id: SlotId, now: u64) -> bool {
        self.wheel.is_due(&self.slots, id, now)
    }

    #[inline]
    pub(crate) fn entry(&self, id: SlotId) -> (&K, &V) {
        self.slots.entry(id)
    }

    #[inline]
    pub(crate) fn value(&self, id: SlotId) -> &V {
        self.slots.value(id)
    }

    /// The tick at which an entry is due; `None` for never.
    pub(crate) fn deadline(&self, id: SlotId) -> Option<u64> {
        self.slots.is_linked(id).then(|| self.wheel.deadline(&self.slots, id))
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
        self.reschedule(id, deadline, now);
        None
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
    /// entry that left for it: `Replaced`, or `Expired` if it was due; of a full shard one
    /// that was due, or the policy's choice if the wheel finds none within `budget`.
    ///
    /// Only the key's `Eq` runs in here, and first: if it panics, key and value are still
    /// the caller's, who drops them with no lock held.
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
        let (key, value) = (key.take(), value.take());
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

    /// Inserts an entry whose key is not there.
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
            self.rebuild_index();
        } else {
            self.index.insert(id, slot_hash);
        }
        self.reschedule(id, deadline, now);
        (id, displaced)
    }

    /// Makes room for an entry that is due at once, and is never found. Returns the entry
    /// that it replaces.
    pub(crate) fn expire_on_arrival(
        &mut self,
        hash: KeyHash,
        key: &K,
        now: u64,
    ) -> Option<Removed<K, V>>
    where
        K: Eq,
    {
        let found = self.find(hash.slot_hash(), key);
        self.stats.inserts += 1;
        self.stats.expired += 1;
        found.map(|id| self.remove(id, now, RemovalCause::Replaced))
    }

    #[inline]
    fn record_insertion(&mut self, hash: KeyHash) {
        self.stats.inserts += 1;
        if self.sampler.picks(hash) {
            self.policy.observe(hash, Access::Insert);
        }
    }

    /// Compares the number of entries with its peak: after an insertion, once
    /// the call has freed what was due.
    #[inline]
    pub(crate) fn record_peak(&mut self) {
        self.stats.live_peak = self.stats.live_peak.max(self.len() as u64);
    }

    /// Removes the entry of a key, as `Expired` if it is due, else as `Removed`.
    #[inline]
    pub(crate) fn remove_key(
        &mut self,
        hash: KeyHash,
        key: &(impl Equivalent<K> + ?Sized),
        now: u64,
    ) -> Option<Removed<K, V>> {
        let id = self.find(hash.slot_hash(), key)?;
        Some(self.remove(id, now, RemovalCause::Removed))
    }

    /// Removes from these slots, highest first, what is due and what `predicate` asks for,
    /// until `batch` is full. Returns the slots that are left to look at.
    ///
    /// Highest first, since the lowest slots, which are then the first to be used again, are
    /// those that have been touched for sure. What is in `batch` has left, even if
    /// `predicate` panics.
    pub(crate) fn remove_where<const N: usize>(
        &mut self,
        slots: Range<usize>,
        now: u64,
        cause: RemovalCause,
        mut predicate: impl FnMut(&K, &V) -> bool,
        batch: &mut ArrayVec<Removed<K, V>, N>,
    ) -> Range<usize> {
        let mut left = slots;
        while !batch.is_full() {
            let Some(index) = left.next_back() else { break };
            let Some(id) = self.slots.get_occupied(index) else { continue };
            let (key, value) = self.slots.entry(id);
            // What is due leaves unasked: the callers' code must not see it.
            if self.is_due(id, now) || predicate(key, value) {
                batch.push(self.remove(id, now, cause));
            }
        }
        left
    }

    /// Returns those of these slots that have a live entry.
    pub(crate) fn live_slots(
        &self,
        slots: Range<usize>,
        now: u64,
    ) -> impl Iterator<Item = SlotId> + '_ {
        let occupied = slots.filter_map(|index| self.slots.get_occupied(index));
        occupied.filter(move |&id| !self.is_due(id, now))
    }

    /// Removes an entry, as `Expired` if it is due, else for `cause`.
    #[inline]
    fn remove(&mut self, id: SlotId, now: u64, cause: RemovalCause) -> Removed<K, V> {
        if self.is_due(id, now) {
            self.wheel.remove(&mut self.slots, id);
            self.policy.expire(id, &self.slots);
            return self.finish_removal(id, RemovalCause::Expired);
        }
        self.wheel.remove(&mut self.slots, id);
        self.policy.remove(id);
        self.finish_removal(id, cause)
    }

    /// Whether [`reap_one`](Self::reap_one) has anything to do.
    #[inline]
    pub(crate) fn has_work(&self, now: u64) -> bool {
        self.wheel.has_work(now)
    }

    /// Takes out an entry that is due. Each entry taken out or moved within the
    /// wheel costs one of `budget`.
    #[inline]
    pub(crate) fn reap_one(&mut self, now: u64, budget: &mut usize) -> Option<Removed<K, V>> {
        let id = self.pop_expired(now, budget)?;
        Some(self.finish_removal(id, RemovalCause::Expired))
    }

    /// See [`Wheel::next_event`].
    #[inline]
    pub(crate) fn next_event(&self) -> u64 {
        self.wheel.next_event()
    }

    /// See [`Wheel::next_expiry`].
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        self.wheel.next_expiry()
    }

    /// Of a full shard, has the index let go of an entry that is due if one is found
    /// within the budget, else of the policy's choice; the policy has admitted the
    /// newcomer of that place. The slot is to be filled again at once, and if it is still
    /// in the wheel, given another deadline there.
    #[inline(always)]
    fn evict_one(
        &mut self,
        slot_hash: SlotHash,
        now: u64,
        budget: &mut usize,
    ) -> (SlotId, RemovalCause) {
        let (id, cause) = if self.has_work(now) {
            self.evict_one_after_expiry(slot_hash, now, budget)
        } else {
            (self.policy.replace(slot_hash, &mut self.slots), RemovalCause::Evicted)
        };
        self.count_removal(cause);
        self.index.remove(id, self.slots.slot_hash(id));
        (id, cause)
    }

    #[inline(never)]
    fn evict_one_after_expiry(
        &mut self,
        slot_hash: SlotHash,
        now: u64,
        budget: &mut usize,
    ) -> (SlotId, RemovalCause) {
        let is_ghost_hit = self.policy.take_ghost(slot_hash);
        let (id, is_due) = if let Some(id) = self.pop_expired(now, budget) {
            (id, true)
        } else {
            let id = self.policy.evict(&mut self.slots);
            (id, self.is_due(id, now))
        };
        self.policy.admit(id, is_ghost_hit);
        (id, if is_due { RemovalCause::Expired } else { RemovalCause::Evicted })
    }

    /// An entry that is due: the wheel and the policy have let go of it.
    #[inline]
    fn pop_expired(&mut self, now: u64, budget: &mut usize) -> Option<SlotId> {
        let id = self.wheel.pop_expired(&mut self.slots, now, budget)?;
        self.policy.expire(id, &self.slots);
        Some(id)
    }

    /// The last step of every removal: the wheel and the policy have let go.
    #[inline]
    fn finish_removal(&mut self, id: SlotId, cause: RemovalCause) -> Removed<K, V> {
        self.count_removal(cause);
        self.index.remove(id, self.slots.slot_hash(id));
        let (key, value) = self.slots.remove(id);
        Removed { key, value, cause }
    }

    #[inline]
    fn count_removal(&mut self, cause: RemovalCause) {
        match cause {
            RemovalCause::Expired => self.stats.expired += 1,
            RemovalCause::Evicted => self.stats.evicted += 1,
            RemovalCause::Removed | RemovalCause::Cleared => self.stats.removed += 1,
            RemovalCause::Replaced => self.stats.replaced += 1,
        }
    }

    #[cold]
    fn rebuild_index(&mut self) {
        self.stats.rebuilds += 1;
        self.index.rebuild(self.slots.ids().map(|id| (id, self.slots.slot_hash(id))));
    }
}
