//! S3-FIFO's segments without its queues: two clock hands sweep the slots.
//!
//! ```text
//!             slots    0 1 2 3 4 5 6 7 8 9 …
//!             small    . x . . . . x . . .        hand: at its oldest entry
//!             main     x . x x x . . x x x        hand: at the next candidate
//! ```
//!
//! A FIFO queue needs an order, not links. In a full cache each newcomer reuses the slot
//! that was just evicted, so it is right behind the hand that has made room for it: the
//! order of the slots, as the hand meets them, is the order of the queue. Each segment is a
//! bit set and a position.
//!
//! After S3-FIFO (Yang et al., SOSP 2023) and CLOCK (Corbató, 1968), with five changes that
//! raise the hit ratio:
//!
//! - The main segment is filled before any entry has to prove itself, so that a loop a
//!   little larger than the cache does not replace all of it.
//! - The ghost remembers 2.25 times the capacity, unevenly: its buckets age at different
//!   speeds, which beats an exact queue of the same length.
//! - A sweep is bounded.
//! - Uses in one burst with the insertion do not count.
//! - The main segment's victim that makes room for a ghost hit is demoted to the small
//!   segment instead of leaving at once.

use super::bit_set::{BitSet, HierarchicalBitSet};
use super::counts::Counts;
use super::ghost::Ghost;
use crate::error::BuildError;
use crate::shard::key_hash::SlotHash;
use crate::shard::slot_id::SlotId;

/// The parameters of the policy. They may change at any time: no entry has to be moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parameters {
    /// The small segment's target, in percent of the slots. At zero, newcomers are admitted
    /// to the main segment at once, and the policy is a plain CLOCK.
    pub(crate) small_percent: u8,
    /// The target's minimum in slots: in a tiny segment no entry stays long enough to be
    /// used again.
    pub(crate) small_min: u8,
    /// A newcomer in this number of its ghost bucket's newest lanes is a ghost hit: it was
    /// evicted too early.
    pub(crate) ghost_lanes: u8,
    /// Whether misses have to earn the steps of the main hand.
    pub(crate) budgeted_sweep: bool,
    /// Whether the main hand clears the counts that it passes, rather than decrement them:
    /// then any number of uses protects from one pass only.
    pub(crate) clears_counts: bool,
    /// Whether the main segment's victim that makes room for a ghost hit is demoted to the
    /// small segment.
    pub(crate) demotes: bool,
}

impl Parameters {
    /// The best parameters for most loads.
    pub(crate) const USUAL: Self = Self {
        small_percent: 10,
        small_min: 5,
        ghost_lanes: 3,
        budgeted_sweep: false,
        clears_counts: false,
        demotes: true,
    };
}

/// An entry is promoted to the main segment from this number of uses on, made in the small
/// segment after the burst of its insertion.
const PROMOTE_FROM: u8 = 1;

/// The steps of a hand at one eviction, after which it takes the next entry, whatever its
/// count. This bounds the time of an eviction.
const STEPS_MAX: usize = 32;

/// In a budgeted sweep: what a miss earns, what a step costs, and what can be saved. So
/// entries that have long been idle are evicted, and those used about as often as there are
/// misses stay.
const CREDIT_PER_MISS: u32 = 1;
const CREDIT_PER_STEP: u32 = 2;
const CREDIT_MAX: u32 = 16;

/// The ghost's size, in quarters of the capacity.
const GHOST_QUARTERS: usize = 9;

/// A subset of the slots, and the hand that sweeps it.
#[derive(Debug)]
struct Segment {
    slots: HierarchicalBitSet,
    len: u32,
    hand: u32,
}

impl Segment {
    fn new(slots: usize) -> Result<Self, BuildError> {
        Ok(Self { slots: HierarchicalBitSet::new(slots)?, len: 0, hand: 0 })
    }

    #[inline]
    fn insert(&mut self, id: SlotId) {
        self.slots.insert(id);
        self.len += 1;
    }

    #[inline]
    fn remove(&mut self, id: SlotId) {
        self.slots.remove(id);
        self.len -= 1;
    }

    /// Advances the hand past the next member, which it returns.
    #[inline]
    fn step(&mut self) -> Option<SlotId> {
        let next = self.next();
        if let Some(id) = next {
            self.pass(id);
        }
        next
    }

    /// Returns the member that [`step`](Self::step) would.
    #[inline]
    fn next(&self) -> Option<SlotId> {
        self.slots.next_wrapping(self.hand as usize)
    }

    /// Advances the hand past a member.
    #[inline]
    fn pass(&mut self, id: SlotId) {
        self.hand = id.index() as u32 + 1;
    }
}

/// The small segment of newcomers, the main segment of entries that were used again, and
/// the ghost of those that were not.
#[derive(Debug)]
pub(crate) struct S3Clock {
    small: Segment,
    main: Segment,
    /// The entries of the small segment that come from the main one.
    demoted: BitSet,
    /// The latest newcomer: its uses until the next one arrives are one burst with its
    /// insertion.
    newest: Option<SlotId>,
    /// The latest victim's slot is still in the small segment, where the newcomer that
    /// reuses it most likely belongs.
    victim_slot_stays_small: bool,
    /// The latest victim that the ghost has yet to remember.
    victim: Option<SlotHash>,
    parameters: Parameters,
    slots: u32,
    small_target: u32,
    ghost: Ghost,
    credit: u32,
    /// The main segment has refused to make room for the newcomer.
    has_refused: bool,
}

impl S3Clock {
    pub(crate) fn new(slots: usize, parameters: Parameters) -> Result<Self, BuildError> {
        Ok(Self {
            small: Segment::new(slots)?,
            main: Segment::new(slots)?,
            demoted: BitSet::new(slots)?,
            newest: None,
            victim_slot_stays_small: false,
            victim: None,
            parameters,
            slots: slots as u32,
            small_target: small_target(slots as u32, parameters),
            ghost: Ghost::new(ghost_keys(slots))?,
            credit: 0,
            has_refused: false,
        })
    }

    pub(crate) fn set_parameters(&mut self, parameters: Parameters) {
        self.parameters = parameters;
        self.small_target = small_target(self.slots, parameters);
    }

    pub(crate) fn heap_bytes(slots: usize) -> usize {
        2 * HierarchicalBitSet::heap_bytes(slots)
            + BitSet::heap_bytes(slots)
            + Ghost::heap_bytes(ghost_keys(slots))
    }

    #[inline(always)]
    pub(crate) fn take_ghost(&mut self, slot_hash: SlotHash) -> bool {
        self.credit = (self.credit + CREDIT_PER_MISS).min(CREDIT_MAX);
        // The last eviction left this for now: both accesses to the ghost miss the
        // processor's cache, and side by side the two misses overlap.
        if let Some(victim) = self.victim.take() {
            self.ghost.remember(victim);
        }
        self.ghost.take(slot_hash, self.parameters.ghost_lanes.into())
    }

    #[inline(always)]
    pub(crate) fn admit(&mut self, id: SlotId, is_ghost_hit: bool) {
        self.newest = Some(id);
        let has_refused = std::mem::take(&mut self.has_refused);
        let is_small = std::mem::take(&mut self.victim_slot_stays_small);
        // Where main has refused, not even a ghost hit gets in: main would grow at the cost
        // of the small segment.
        if (is_ghost_hit && !has_refused) || self.small_target == 0 {
            if is_small {
                self.small.remove(id);
            }
            self.main.insert(id);
        } else if !is_small {
            self.small.insert(id);
        }
    }

    /// Evicts an entry of a full shard and returns its slot, in which the next one to be
    /// admitted will be.
    #[inline(always)]
    pub(crate) fn evict(&mut self, counts: &mut impl Counts) -> SlotId {
        // The burst of the latest newcomer ends here. It is still in its slot, since the
        // shard is full: had it left, a later one would have filled the shard and be `newest`.
        if let Some(newest) = self.newest.take() {
            counts.set_count(newest, 0);
        }
        let Some(oldest) = self.usual_victim(counts) else { return self.evict_unusual(counts) };
        self.small.pass(oldest);
        // The next victim, most likely: by then its slot is in the processor's cache.
        if let Some(next) = self.small.next() {
            counts.prefetch(next);
        }
        self.evict_small(oldest, counts)
    }

    /// [`evict`](Self::evict)s an entry of a shard that is as good as full with so many, and whose
    /// slot may stay vacant.
    ///
    /// The number of entries goes up and down with their sizes, and nothing would ever have to prove
    /// itself as long as main is below its share of it. Four fifths of the share will do.
    pub(crate) fn evict_early(&mut self, entries: usize, counts: &mut impl Counts) -> SlotId {
        let (slots, entries) = (self.slots, entries as u32);
        self.small_target = small_target(entries, self.parameters);
        self.slots = self.small_target + (entries - self.small_target) * 4 / 5;
        self.newest = self.newest.filter(|&id| self.contains(id));
        let id = self.evict(counts);
        self.slots = slots;
        self.set_parameters(self.parameters);
        if std::mem::take(&mut self.victim_slot_stays_small) {
            self.small.remove(id);
        }
        if let Some(victim) = self.victim.take() {
            self.ghost.remember(victim);
        }
        id
    }

    fn contains(&self, id: SlotId) -> bool {
        self.small.slots.contains(id) || self.main.slots.contains(id)
    }

    /// Returns the oldest of the small segment if both segments have their shares and it was not
    /// used: what [`evict_unusual`](Self::evict_unusual) would evict then, without the detour.
    #[inline(always)]
    fn usual_victim(&self, counts: &impl Counts) -> Option<SlotId> {
        if self.small.len < self.small_target || !self.has_filled_main() {
            return None;
        }
        self.small.next().filter(|&oldest| counts.count(oldest) < PROMOTE_FROM)
    }

    /// Out of line: keeps insertions free of what few of them need.
    #[inline(never)]
    fn evict_unusual(&mut self, counts: &mut impl Counts) -> SlotId {
        // Ghost hits have taken slots from the small segment for main: main gives one back.
        if self.small.len < self.small_target || self.small.len == 0 {
            if let Some(victim) = self.sweep_main(counts) {
                if !self.parameters.demotes {
                    return victim;
                }
                // Its second stay fills the small segment, whose oldest leaves instead.
                self.demote(victim);
            }
        }
        for _ in 0..STEPS_MAX {
            let Some(oldest) = self.small.step() else { break };
            // Main is filled first: until it has its share, entries are promoted unused.
            if !self.has_filled_main() {
                self.promote(oldest, counts);
                continue;
            }
            // Used again: promoted, but main is full, so it is main's victim that leaves.
            // Where main refuses, being used does not help.
            if counts.count(oldest) >= PROMOTE_FROM {
                if let Some(victim) = self.sweep_main(counts) {
                    self.promote(oldest, counts);
                    return victim;
                }
            }
            return self.evict_small(oldest, counts);
        }
        // The small segment is empty, or this call has promoted as many as it may: the next
        // entry leaves, whatever its count.
        match self.small.step() {
            Some(oldest) => self.evict_small(oldest, counts),
            None => self.take_main(),
        }
    }

    /// Removes an entry that has expired. A popular one will be asked for again, so the
    /// ghost remembers it: its next copy is admitted to the main segment at once.
    #[inline]
    pub(crate) fn expire(&mut self, id: SlotId, counts: &impl Counts) {
        if self.main.slots.contains(id) || counts.count(id) >= PROMOTE_FROM {
            self.ghost.remember(counts.slot_hash(id));
        }
        self.remove(id);
    }

    #[inline]
    pub(crate) fn remove(&mut self, id: SlotId) {
        if self.main.slots.contains(id) {
            self.main.remove(id);
        } else {
            self.remove_small(id);
        }
    }

    #[inline]
    fn has_filled_main(&self) -> bool {
        self.main.len >= self.slots - self.small_target
    }

    #[inline]
    fn promote(&mut self, id: SlotId, counts: &mut impl Counts) {
        counts.set_count(id, 0);
        self.remove_small(id);
        self.main.insert(id);
    }

    /// Gives the main segment's victim a second stay in the small one.
    #[inline]
    fn demote(&mut self, id: SlotId) {
        self.small.insert(id);
        self.demoted.insert(id);
    }

    #[inline(always)]
    fn evict_small(&mut self, id: SlotId, counts: &impl Counts) -> SlotId {
        // A demoted entry is not remembered: in a loop, all of them would return to the main
        // segment, each evicting another.
        if !self.demoted.remove(id) {
            self.victim = Some(counts.slot_hash(id));
        }
        self.victim_slot_stays_small = true;
        id
    }

    #[inline]
    fn remove_small(&mut self, id: SlotId) {
        self.small.remove(id);
        self.demoted.remove(id);
    }

    /// Advances the main hand to the next entry with a count of zero and removes that from
    /// the segment; the counts on the way are decremented. Returns `None` if the segment is
    /// empty, or if a budgeted sweep runs out of credit: then the segment refuses.
    #[inline]
    fn sweep_main(&mut self, counts: &mut impl Counts) -> Option<SlotId> {
        for _ in 0..STEPS_MAX {
            if self.parameters.budgeted_sweep {
                // A miss has earned half a step, so the hand moves more slowly than misses
                // come in, and main keeps its entries meanwhile. Steps that meet no zero are
                // charged, too: they decrement counts, so the next sweep gets further.
                if self.credit < CREDIT_PER_STEP {
                    self.has_refused = true;
                    return None;
                }
                self.credit -= CREDIT_PER_STEP;
            }
            let id = self.main.step()?;
            let count = counts.count(id);
            if count == 0 {
                self.main.remove(id);
                return Some(id);
            }
            counts.set_count(id, if self.parameters.clears_counts { 0 } else { count - 1 });
        }
        // All of them were used: the bound on an eviction is worth one popular entry.
        Some(self.take_main())
    }

    /// Removes the next entry that the main hand meets, whatever its count.
    fn take_main(&mut self) -> SlotId {
        let id = self.main.step().expect("a full shard has entries in one segment");
        self.main.remove(id);
        id
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self, occupied: &std::collections::BTreeSet<usize>) {
        assert_eq!(self.small.len as usize, self.small.slots.len());
        assert_eq!(self.main.len as usize, self.main.slots.len());
        assert_eq!((self.small.len + self.main.len) as usize, occupied.len());
        for &slot in occupied {
            let id = SlotId::new(slot);
            assert!(self.small.slots.contains(id) != self.main.slots.contains(id));
            assert!(self.small.slots.contains(id) || !self.demoted.contains(id));
        }
        for slot in (0..self.slots as usize).filter(|slot| !occupied.contains(slot)) {
            assert!(!self.demoted.contains(SlotId::new(slot)), "{slot} is vacant");
        }
    }
}

fn small_target(slots: u32, parameters: Parameters) -> u32 {
    let target_min = u32::from(parameters.small_min).min(slots.div_ceil(2));
    (slots * u32::from(parameters.small_percent) / 100).max(target_min)
}

fn ghost_keys(slots: usize) -> usize {
    (slots * GHOST_QUARTERS).div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::eviction::tests::{Used, id};

    fn all_in_main(slots: usize, parameters: Parameters) -> S3Clock {
        let mut policy = S3Clock::new(slots, parameters).unwrap();
        (0..slots).for_each(|slot| policy.admit(id(slot), true));
        policy
    }

    /// Two misses pay for a step, up to eight steps can be saved up, and a newcomer for
    /// which the sweep was refused is not admitted to the main segment.
    #[test]
    fn a_budgeted_sweep_goes_as_far_as_misses_have_paid() {
        for (misses, steps) in [(0, 0), (1, 0), (2, 1), (3, 1), (8, 4), (16, 8), (99, 8)] {
            let mut policy =
                all_in_main(20, Parameters { budgeted_sweep: true, ..Parameters::USUAL });
            let mut counts = Used(vec![0; 20]);
            for miss in 0..misses {
                policy.take_ghost(SlotHash::from_bits(miss));
            }
            let victims: Vec<_> =
                std::iter::from_fn(|| policy.sweep_main(&mut counts).map(SlotId::index)).collect();
            assert_eq!(victims, (0..steps).collect::<Vec<_>>(), "after {misses} misses");
            policy.admit(id(0), true);
            assert!(policy.small.slots.contains(id(0)), "refused, and still admitted to main");
        }
    }

    /// The hand decrements the counts that it passes, or clears them; and it stops.
    #[test]
    fn a_sweep_lowers_counts_and_ends() {
        for clears_counts in [false, true] {
            let mut policy = all_in_main(40, Parameters { clears_counts, ..Parameters::USUAL });
            let mut counts = Used(vec![3; 40]);
            assert_eq!(policy.sweep_main(&mut counts), Some(id(STEPS_MAX)));
            let left = if clears_counts { 0 } else { 2 };
            assert_eq!(counts.0[..STEPS_MAX], [left; STEPS_MAX]);
            assert_eq!(counts.0[STEPS_MAX..], [3; 40 - STEPS_MAX]);
        }
    }

    /// The short way of [`S3Clock::evict`] and the long one choose alike, whatever was used and
    /// whichever newcomers are ghost hits.
    #[test]
    fn the_usual_victim_is_that_of_the_long_way() {
        let (mut random, mut usual) = (fastrand::Rng::with_seed(5), 0);
        for parameters in [Parameters::USUAL, Parameters { small_percent: 60, ..Parameters::USUAL }]
        {
            let (mut short, mut long) = (half_in_main(), half_in_main());
            let (mut counts, mut long_counts) = (Used(vec![0; 10]), Used(vec![0; 10]));
            short.set_parameters(parameters);
            long.set_parameters(parameters);
            for call in 0..10_000 {
                let used = random.usize(..10);
                counts.0[used] = 3.min(counts.0[used] + u8::from(random.bool()));
                long_counts.0.clone_from(&counts.0);
                usual += u32::from(short.usual_victim(&counts).is_some());
                let victim = short.evict(&mut counts);
                if let Some(newest) = long.newest.take() {
                    long_counts.set_count(newest, 0);
                }
                assert_eq!(long.evict_unusual(&mut long_counts), victim, "call {call}");
                assert_eq!(counts.0, long_counts.0);
                let is_ghost_hit = random.u8(..4) == 0;
                short.admit(victim, is_ghost_hit);
                long.admit(victim, is_ghost_hit);
            }
        }
        assert!((2_000..18_000).contains(&usual), "{usual} of 20,000");
    }

    /// Returns a policy with slots 0 to 4 in the main segment, which has its share, and the
    /// others in the small one, which has its target.
    fn half_in_main() -> S3Clock {
        let mut policy = S3Clock::new(10, Parameters::USUAL).unwrap();
        (0..10).for_each(|slot| policy.admit(id(slot), slot < 5));
        policy
    }

    /// Asserts that these slots are evicted next, in this order; a newcomer reuses each.
    fn replace(policy: &mut S3Clock, counts: &mut Used, slots: &[usize]) {
        for &slot in slots {
            assert_eq!(policy.evict(counts), id(slot));
            policy.admit(id(slot), false);
        }
    }

    /// One use in the small segment promotes an entry, but not if it was made before the
    /// next newcomer came.
    #[test]
    fn uses_in_one_burst_with_the_insertion_do_not_count() {
        for (used_before, used_after, stays) in [(0, 0, false), (3, 0, false), (0, 1, true)] {
            let mut counts = Used(vec![0; 10]);
            let mut policy = half_in_main();
            replace(&mut policy, &mut counts, &[5]);
            counts.0[5] = used_before;
            replace(&mut policy, &mut counts, &[6, 7, 8, 9]);
            counts.0[5] += used_after;
            // If it stays, the main segment evicts its first.
            let expected = if stays { id(0) } else { id(5) };
            assert_eq!(policy.evict(&mut counts), expected, "{used_before}, {used_after}");
            assert_eq!(policy.main.slots.contains(id(5)), stays);
        }
    }

    /// Returns a policy whose small segment has lost a slot to a ghost hit; in return the
    /// main segment has demoted slot 0.
    fn with_one_demoted(counts: &mut Used) -> S3Clock {
        let mut policy = half_in_main();
        assert_eq!(policy.evict(counts), id(5));
        policy.admit(id(5), true);
        replace(&mut policy, counts, &[6]);
        assert!(policy.small.slots.contains(id(0)) && policy.demoted.contains(id(0)));
        policy
    }

    /// It stays among the newcomers, and the ghost does not remember it if it is evicted
    /// from there.
    #[test]
    fn what_made_room_for_a_ghost_hit_gets_a_second_stay() {
        let mut counts = Used(vec![0; 10]);
        let mut policy = with_one_demoted(&mut counts);
        replace(&mut policy, &mut counts, &[7, 8, 9, 0]);
        assert!(!policy.demoted.contains(id(0)), "the next entry in its slot is a newcomer");
        assert!(
            policy.take_ghost(SlotHash::from_bits(9)) && !policy.take_ghost(SlotHash::from_bits(0))
        );
    }

    /// If it is used there, it is promoted again, and the main segment evicts its next one.
    #[test]
    fn what_is_used_in_its_second_stay_is_promoted() {
        let mut counts = Used(vec![0; 10]);
        let mut policy = with_one_demoted(&mut counts);
        counts.0[0] = 1;
        replace(&mut policy, &mut counts, &[7, 8, 9]);
        assert_eq!(policy.evict(&mut counts), id(1));
        assert!(policy.main.slots.contains(id(0)) && !policy.demoted.contains(id(0)));
    }

    /// Without a second stay, it is evicted at once.
    #[test]
    fn some_parameters_do_not_demote() {
        let mut policy = all_in_main(10, Parameters { demotes: false, ..Parameters::USUAL });
        assert_eq!(policy.evict(&mut Used(vec![0; 10])), id(0));
        assert_eq!((policy.main.len, policy.small.len), (9, 0));
    }
}
