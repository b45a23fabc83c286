//! The preallocated slab of entries, and the 16 bytes that each has beside its key and
//! value.
//!
//! ```text
//!         63             49 48           25 24            1     0
//!        ┌─────────────────┬───────────────┬───────────────┬─────┐
//! links  │   hash, upper   │   previous    │     next      │  1  │
//!        │     15 bits     │    24 bits    │    24 bits    │     │
//!        └─────────────────┴───────────────┴───────────────┴─────┘
//!         63                          21 20         11 10         2 1     0
//!        ┌──────────────────────────────┬─────────────┬────────────┬───────┐
//! timing │           deadline           │    list     │ hash, low  │ count │
//!        │           43 bits            │   10 bits   │   9 bits   │ 2 bits│
//!        └──────────────────────────────┴─────────────┴────────────┴───────┘
//! ```
//!
//! - `next`, `previous`: the neighbours in a list of the timing wheel. All ones in `next`
//!   mean that the entry's timer is not linked.
//! - `count`: recent uses of the entry, saturating, for the eviction policy. Threads that share the
//!   shard count at the same time, so `timing` is atomic. Nothing else of the word changes
//!   meanwhile, and of two uses at the same moment one may be lost: a load and a store will do.
//!   Where uses also [postpone](Slots::access_until) the deadline, all of them compare and swap.
//! - `hash`: the bits that the index and the policy need ([`SlotHash`]).
//! - `deadline`: relative to the list ([`PackedDeadline`]).
//! - `list`: which list of the wheel ([`ListId`]).
//! - The lowest bit of `links` is always set, so the word is never zero. In that niche the
//!   compiler marks vacant slots: `Slab`'s own discriminant takes no memory.

use std::hint::black_box;
use std::mem::needs_drop;
use std::num::NonZeroU64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use slab::Slab;

use super::eviction::counts::{COUNT_BITS, COUNT_MAX, Counts};
use super::key_hash::SlotHash;
use super::slot_id::SlotId;
use super::wheel::Timers;
use super::wheel::deadline::PackedDeadline;
use super::wheel::level::ListId;
use crate::error::BuildError;
use crate::panic::FirstPanic;

const NEXT_SHIFT: u32 = 1;
const PREVIOUS_SHIFT: u32 = NEXT_SHIFT + SlotId::LINK_BITS;
const HASH_UPPER_SHIFT: u32 = PREVIOUS_SHIFT + SlotId::LINK_BITS;
const DEADLINE_SHIFT: u32 = u64::BITS - PackedDeadline::BITS;
const LIST_SHIFT: u32 = DEADLINE_SHIFT - ListId::BITS;
const HASH_LOWER_SHIFT: u32 = COUNT_BITS;
const HASH_LOWER_BITS: u32 = LIST_SHIFT - HASH_LOWER_SHIFT;
const _: () = assert!(u64::BITS - HASH_UPPER_SHIFT + HASH_LOWER_BITS == SlotHash::BITS);

const HASH_UPPER_MASK: u64 = !0 << HASH_UPPER_SHIFT;
const HASH_LOWER_MASK: u64 = ((1 << HASH_LOWER_BITS) - 1) << HASH_LOWER_SHIFT;
const LIST_MASK: u64 = ((1 << ListId::BITS) - 1) << LIST_SHIFT;
const LINK_MASK: u64 = (1 << SlotId::LINK_BITS) - 1;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const DEADLINE_MASK: u64 = !0 << DEADLINE_SHIFT;
const UNLINKED: u64 = LINK_MASK << NEXT_SHIFT;

/// One entry.
#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    value: V,
    links: NonZeroU64,
    timing: AtomicU64,
}

impl<K, V> Slot<K, V> {
    #[inline]
    fn new(key: K, value: V, slot_hash: SlotHash) -> Self {
        let timing = AtomicU64::new(0);
        let mut slot = Self { key, value, links: NonZeroU64::MIN | UNLINKED, timing };
        slot.start_afresh(slot_hash);
        slot
    }

    /// Sets the hash, and a count of zero.
    #[inline]
    fn start_afresh(&mut self, slot_hash: SlotHash) {
        let upper = slot_hash.bits() >> HASH_LOWER_BITS;
        self.set_links(HASH_UPPER_MASK, upper << HASH_UPPER_SHIFT);
        let lower = slot_hash.bits() << HASH_LOWER_SHIFT & HASH_LOWER_MASK;
        self.set_timing(HASH_LOWER_MASK | COUNT_MASK, lower);
    }

    #[inline]
    fn timing(&self) -> u64 {
        self.timing.load(Relaxed)
    }

    #[inline]
    fn set_timing(&mut self, mask: u64, bits: u64) {
        debug_assert!(bits & !mask == 0, "{bits:#x} beside {mask:#x}");
        let timing = self.timing.get_mut();
        *timing = *timing & !mask | bits;
    }

    #[inline]
    fn links(&self, shift: u32) -> u64 {
        (self.links.get() >> shift) & LINK_MASK
    }

    #[inline]
    fn set_links(&mut self, mask: u64, bits: u64) {
        debug_assert!(bits & !mask == 0 && mask & 1 == 0, "{bits:#x} beside {mask:#x}");
        // The lowest bit stays set, so this never is zero.
        self.links = NonZeroU64::MIN | ((self.links.get() & !mask) | bits);
    }

    /// Counts a use. Once the count is saturated, this writes nothing: hits on popular
    /// entries leave their cache line clean.
    #[inline]
    fn increment_count(&self) {
        let timing = self.timing();
        if timing & COUNT_MASK != COUNT_MASK {
            self.timing.store(timing + 1, Relaxed);
        }
    }
}

/// What `Slab` stores for a slot. Its own type is private; this one has the same shape and
/// so the same size, which a test compares with what the allocator is asked for.
#[expect(dead_code, reason = "only its size is used")]
enum SlabEntry<K, V> {
    Vacant(usize),
    Occupied(Slot<K, V>),
}

/// A fixed number of slots, each vacant or holding an entry. The slot vacated last is reused
/// first, so no more slots are ever touched than were occupied at the same time.
#[derive(Debug)]
pub(crate) struct Slots<K, V> {
    slab: Slab<Slot<K, V>>,
    /// `Slab::capacity` may be greater.
    capacity: usize,
}

impl<K, V> Slots<K, V> {
    pub(crate) const SLOT_BYTES: usize = size_of::<SlabEntry<K, V>>();

    pub(crate) fn new(capacity: usize) -> Result<Self, BuildError> {
        assert!(capacity <= SlotId::COUNT_MAX, "{capacity} slots cannot be numbered");
        // `Slab` aborts where there is no memory, so try first.
        BuildError::probe(capacity.saturating_mul(Self::SLOT_BYTES))?;
        Ok(Self { slab: Slab::with_capacity(capacity), capacity })
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.slab.len() == self.capacity
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Fills a vacant slot; the entry has no deadline and a count of zero.
    #[inline]
    pub(crate) fn insert(&mut self, key: K, value: V, slot_hash: SlotHash) -> SlotId {
        assert!(!self.is_full(), "all {} slots are taken", self.capacity);
        SlotId::new(self.slab.insert(Slot::new(key, value, slot_hash)))
    }

    /// Replaces the entry in a slot by another, with a count of zero. Returns the old one.
    ///
    /// The caller has removed the old entry from index and policy. Its timer stays as it is:
    /// the caller reschedules it for the new entry.
    #[inline]
    pub(crate) fn reuse(&mut self, id: SlotId, key: K, value: V, slot_hash: SlotHash) -> (K, V) {
        let slot = &mut self.slab[id.index()];
        slot.start_afresh(slot_hash);
        (std::mem::replace(&mut slot.key, key), std::mem::replace(&mut slot.value, value))
    }

    /// Vacates a slot, which the caller has removed from every other structure. Returns its
    /// entry.
    #[inline]
    pub(crate) fn remove(&mut self, id: SlotId) -> (K, V) {
        debug_assert!(!self.is_linked(id), "{id:?} is still in the wheel");
        let slot = self.slab.remove(id.index());
        (slot.key, slot.value)
    }

    /// Replaces key and value of an entry, and counts a use. Returns the old ones. The keys
    /// are equal, so index and policy are not concerned.
    #[inline]
    pub(crate) fn replace(&mut self, id: SlotId, key: K, value: V) -> (K, V) {
        let slot = &mut self.slab[id.index()];
        slot.increment_count();
        (std::mem::replace(&mut slot.key, key), std::mem::replace(&mut slot.value, value))
    }

    /// Loads a slot, all but key and value, into the processor's cache. The result means
    /// nothing: it depends on the load, which the caller must not let the compiler drop.
    #[inline]
    pub(crate) fn prefetch(&self, id: SlotId) -> u64 {
        let slot = &self.slab[id.index()];
        slot.links.get() ^ slot.timing()
    }

    #[inline]
    pub(crate) fn key(&self, id: SlotId) -> &K {
        &self.slab[id.index()].key
    }

    #[inline]
    pub(crate) fn value(&self, id: SlotId) -> &V {
        &self.slab[id.index()].value
    }

    #[inline]
    pub(crate) fn entry(&self, id: SlotId) -> (&K, &V) {
        let slot = &self.slab[id.index()];
        (&slot.key, &slot.value)
    }

    /// Returns the value, and counts a use of it.
    #[inline]
    pub(crate) fn access(&self, id: SlotId) -> &V {
        let slot = &self.slab[id.index()];
        slot.increment_count();
        &slot.value
    }

    /// [`access`](Self::access)es an entry whose key matches.
    #[inline(always)]
    pub(crate) fn access_if(&self, id: SlotId, matches: impl FnOnce(&K) -> bool) -> Option<&V> {
        let slot = &self.slab[id.index()];
        if !matches(&slot.key) {
            return None;
        }
        slot.increment_count();
        Some(&slot.value)
    }

    /// [`access`](Self::access)es an entry and changes its deadline, perhaps beside other threads, all
    /// of which do the same. `postponed` returns the later deadline, unless the one it is given is
    /// late enough.
    #[inline(always)]
    pub(crate) fn access_until(
        &self,
        id: SlotId,
        postponed: impl Fn(ListId, PackedDeadline) -> Option<PackedDeadline>,
    ) -> &V {
        let slot = &self.slab[id.index()];
        let mut timing = slot.timing();
        loop {
            let mut renewed = timing + u64::from(timing & COUNT_MASK != COUNT_MASK);
            let list = ListId::from_bits((timing & LIST_MASK) >> LIST_SHIFT);
            let deadline = PackedDeadline::from_bits(timing >> DEADLINE_SHIFT);
            if let Some(deadline) = postponed(list, deadline) {
                renewed = renewed & !DEADLINE_MASK | deadline.bits() << DEADLINE_SHIFT;
            }
            // Where nothing changes, the line stays clean.
            if renewed == timing {
                return &slot.value;
            }
            match slot.timing.compare_exchange_weak(timing, renewed, Relaxed, Relaxed) {
                Ok(_) => return &slot.value,
                Err(other) => timing = other,
            }
        }
    }

    /// [`access`](Self::access) with the shard held alone.
    #[inline]
    pub(crate) fn access_mut(&mut self, id: SlotId) -> &mut V {
        let slot = &mut self.slab[id.index()];
        slot.increment_count();
        &mut slot.value
    }

    /// Returns the occupied slots in the order of their numbers.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SlotId> + '_ {
        self.slab.iter().map(|(index, _)| SlotId::new(index))
    }

    /// Returns the slot of that number if it is occupied.
    #[inline]
    pub(crate) fn get_occupied(&self, index: usize) -> Option<SlotId> {
        self.slab.contains(index).then(|| SlotId::new(index))
    }
}

impl<K, V> Drop for Slots<K, V> {
    /// Drops every entry, even after the `Drop` of one has panicked: `Slab` would abort at
    /// the second panic.
    fn drop(&mut self) {
        if !needs_drop::<(K, V)>() {
            return;
        }
        let mut panics = FirstPanic::default();
        for slot in self.slab.drain() {
            panics.drop(slot.value);
            panics.drop(slot.key);
        }
        panics.resume_unless_unwinding();
    }
}

impl<K, V> Timers for Slots<K, V> {
    #[inline]
    fn packed_deadline(&self, id: SlotId) -> PackedDeadline {
        PackedDeadline::from_bits(self.slab[id.index()].timing() >> DEADLINE_SHIFT)
    }

    #[inline]
    fn set_packed_deadline(&mut self, id: SlotId, packed_deadline: PackedDeadline) {
        let bits = packed_deadline.bits() << DEADLINE_SHIFT;
        self.slab[id.index()].set_timing(DEADLINE_MASK, bits);
    }

    #[inline]
    fn list(&self, id: SlotId) -> ListId {
        debug_assert!(self.is_linked(id), "{id:?} is in no list");
        ListId::from_bits((self.slab[id.index()].timing() & LIST_MASK) >> LIST_SHIFT)
    }

    #[inline]
    fn set_list(&mut self, id: SlotId, list: ListId) {
        self.slab[id.index()].set_timing(LIST_MASK, list.bits() << LIST_SHIFT);
    }

    #[inline]
    fn next(&self, id: SlotId) -> Option<SlotId> {
        debug_assert!(self.is_linked(id), "{id:?} is in no list");
        SlotId::from_link(self.slab[id.index()].links(NEXT_SHIFT))
    }

    #[inline]
    fn previous(&self, id: SlotId) -> Option<SlotId> {
        debug_assert!(self.is_linked(id), "{id:?} is in no list");
        SlotId::from_link(self.slab[id.index()].links(PREVIOUS_SHIFT))
    }

    #[inline]
    fn set_next(&mut self, id: SlotId, next: Option<SlotId>) {
        self.slab[id.index()].set_links(LINK_MASK << NEXT_SHIFT, SlotId::link(next) << NEXT_SHIFT);
    }

    #[inline]
    fn set_previous(&mut self, id: SlotId, previous: Option<SlotId>) {
        self.slab[id.index()]
            .set_links(LINK_MASK << PREVIOUS_SHIFT, SlotId::link(previous) << PREVIOUS_SHIFT);
    }

    #[inline]
    fn set_links(&mut self, id: SlotId, previous: Option<SlotId>, next: Option<SlotId>) {
        self.slab[id.index()].set_links(
            LINK_MASK << NEXT_SHIFT | LINK_MASK << PREVIOUS_SHIFT,
            SlotId::link(next) << NEXT_SHIFT | SlotId::link(previous) << PREVIOUS_SHIFT,
        );
    }

    #[inline]
    fn is_linked(&self, id: SlotId) -> bool {
        self.slab[id.index()].links.get() & UNLINKED != UNLINKED
    }

    #[inline]
    fn set_unlinked(&mut self, id: SlotId) {
        self.slab[id.index()].set_links(UNLINKED, UNLINKED);
    }
}

impl<K, V> Counts for Slots<K, V> {
    #[inline(always)]
    fn count(&self, id: SlotId) -> u8 {
        (self.slab[id.index()].timing() & COUNT_MASK) as u8
    }

    #[inline(always)]
    fn set_count(&mut self, id: SlotId, count: u8) {
        debug_assert!(count <= COUNT_MAX, "a count of {count}");
        self.slab[id.index()].set_timing(COUNT_MASK, count.into());
    }

    #[inline(always)]
    fn slot_hash(&self, id: SlotId) -> SlotHash {
        let slot = &self.slab[id.index()];
        let upper = slot.links.get() >> HASH_UPPER_SHIFT;
        let lower = (slot.timing() & HASH_LOWER_MASK) >> HASH_LOWER_SHIFT;
        SlotHash::from_bits((upper << HASH_LOWER_BITS) | lower)
    }

    #[inline(always)]
    fn prefetch(&self, id: SlotId) {
        black_box(Self::prefetch(self, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bytes_beside_key_and_value() {
        assert_eq!(Slots::<u64, u64>::SLOT_BYTES, 32);
        assert_eq!(Slots::<String, String>::SLOT_BYTES, 16 + 6 * size_of::<usize>());
        assert_eq!(Slots::<u32, u32>::SLOT_BYTES, 24);
        assert_eq!(Slots::<(), ()>::SLOT_BYTES, 16);
        assert_eq!(Slots::<[u8; 20], [u8; 19]>::SLOT_BYTES, 56);
    }

    /// Of several threads that postpone a deadline, the latest counts, and so do their uses.
    #[test]
    fn threads_postpone_a_deadline_and_count() {
        const ROUNDS: u64 = 5_000;
        let packed = |deadline: u64| PackedDeadline::from_bits(deadline << 1);
        let mut slots = Slots::<u64, u64>::new(1).unwrap();
        let id = slots.insert(1, 7, SlotHash::from_bits(0xff_ffff));
        slots.set_links(id, None, None);
        slots.set_list(id, ListId::from_bits(703));
        slots.set_packed_deadline(id, packed(0));
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let slots = &slots;
                scope.spawn(move || {
                    for round in 1..=ROUNDS {
                        let deadline = packed(3 * round + thread);
                        let value = slots.access_until(id, |list, other| {
                            assert_eq!(list, ListId::from_bits(703));
                            (other.bits() < deadline.bits()).then_some(deadline)
                        });
                        assert_eq!(*value, 7);
                        assert!(slots.packed_deadline(id).bits() >= deadline.bits());
                    }
                });
            }
        });
        assert_eq!(slots.packed_deadline(id), packed(3 * ROUNDS + 2));
        assert_eq!(slots.count(id), COUNT_MAX);
        assert_eq!(slots.slot_hash(id).bits(), 0xff_ffff);
        assert_eq!(slots.list(id), ListId::from_bits(703));
    }

    #[test]
    fn fields_do_not_disturb_each_other() {
        let mut slots = Slots::<u64, u64>::new(4).unwrap();
        let highest = SlotId::new(SlotId::COUNT_MAX - 1);
        for slot_hash in [0, 1, 0x7ff, 0x800, 0xff_ffff, 0xa5_a5a5].map(SlotHash::from_bits) {
            let id = slots.insert(u64::MAX, 0, slot_hash);
            assert!(!slots.is_linked(id));
            slots.set_previous(id, None);
            slots.set_next(id, None);
            for link in [None, Some(highest), Some(SlotId::new(0))] {
                let list = ListId::from_bits(SlotId::link(link) & 703);
                for packed_deadline in
                    [0, 1, (1 << PackedDeadline::BITS) - 1].map(PackedDeadline::from_bits)
                {
                    for count in [0, 3, 1, 2] {
                        slots.set_next(id, link);
                        slots.set_packed_deadline(id, packed_deadline);
                        slots.set_list(id, list);
                        slots.set_count(id, count);
                        slots.set_previous(id, Some(highest));
                        assert!(slots.is_linked(id));
                        assert_eq!(slots.next(id), link);
                        assert_eq!(slots.previous(id), Some(highest));
                        assert_eq!(
                            (slots.packed_deadline(id), slots.list(id)),
                            (packed_deadline, list)
                        );
                        assert_eq!(slots.count(id), count);
                        assert_eq!(slots.slot_hash(id), slot_hash);
                        assert_eq!(slots.entry(id), (&u64::MAX, &0));
                        slots.set_previous(id, None);
                        assert_eq!(slots.previous(id), None);
                        slots.set_links(id, Some(highest), link);
                        assert_eq!((slots.previous(id), slots.next(id)), (Some(highest), link));
                        assert_eq!((slots.count(id), slots.slot_hash(id)), (count, slot_hash));
                    }
                }
            }
            slots.set_unlinked(id);
            assert_eq!(slots.slot_hash(id), slot_hash);
            assert_eq!(slots.remove(id), (u64::MAX, 0));
        }
    }

    #[test]
    fn a_count_saturates() {
        let mut slots = Slots::<u64, u64>::new(1).unwrap();
        let id = slots.insert(1, 1, SlotHash::from_bits(0xff_ffff));
        for expected in [1, 2, 3, 3, 3] {
            slots.access(id);
            assert_eq!(slots.count(id), expected);
        }
        assert_eq!(slots.slot_hash(id), SlotHash::from_bits(0xff_ffff));
    }

    /// Its timer stays linked as it was.
    #[test]
    fn a_reused_slot_starts_afresh() {
        let mut slots = Slots::<u64, u64>::new(2).unwrap();
        let id = slots.insert(1, 1, SlotHash::from_bits(0xa5_a5a5));
        let neighbour = slots.insert(2, 2, SlotHash::from_bits(2));
        slots.set_links(id, None, Some(neighbour));
        slots.set_list(id, ListId::from_bits(7));
        slots.access(id);
        assert_eq!(slots.reuse(id, 3, 3, SlotHash::from_bits(0x5a_5a5a)), (1, 1));
        assert_eq!((slots.entry(id), slots.count(id)), ((&3, &3), 0));
        assert_eq!(slots.slot_hash(id), SlotHash::from_bits(0x5a_5a5a));
        assert_eq!((slots.previous(id), slots.next(id)), (None, Some(neighbour)));
        assert_eq!(slots.list(id), ListId::from_bits(7));
    }

    #[test]
    fn the_slot_freed_last_is_taken_first() {
        let mut slots = Slots::<u64, u64>::new(8).unwrap();
        let ids: Vec<_> = (0..5).map(|i| slots.insert(i, i, SlotHash::from_bits(i))).collect();
        slots.remove(ids[1]);
        slots.remove(ids[3]);
        assert_eq!(slots.insert(5, 5, SlotHash::from_bits(5)), ids[3]);
        assert_eq!(slots.insert(6, 6, SlotHash::from_bits(6)), ids[1]);
    }
}
