//! S3-FIFO's segments without its queues: two clock hands over the slots.
//!
//! ```text
//!             slots    0 1 2 3 4 5 6 7 8 9 …
//!             small    . x . . . . x . . .        hand: at its oldest newcomer
//!             main     x . x x x . . x x x        hand: at the next to be judged
//! ```
//!
//! A FIFO queue needs an order, not links. `Slab` gives the slot freed last to
//! the next newcomer, so in a full cache each newcomer stands just behind the
//! hand that has made room for it, and the order of the slots is the order of
//! the queue, as the hand sees it. Each segment is a bitmap and a position.
//!
//! After S3-FIFO (Yang et al., SOSP 2023) and CLOCK (Corbató, 1968), with five
//! changes that carry the gain in hit ratio: the main segment is filled before
//! anything is judged, so that a loop a little larger than the cache does not
//! wash it out; the ghost remembers 2.25 times the capacity, unevenly (its
//! buckets age at different speeds, which beats an exact queue of the same
//! length); a sweep is bounded; uses in one burst with the insertion don't count;
//! and what makes room in the main segment for a recalled key gets another stay
//! in the small one.

use super::bit_set::{BitSet, HierarchicalBitSet};
use super::counts::Counts;
use super::ghost::Ghost;
use crate::error::BuildError;
use crate::shard::key_hash::SlotHash;
use crate::shard::slot_id::SlotId;

/// What the behaviour depends on. Another set may be put in at any time, since
/// nothing has to be moved for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parameters {
    /// The small segment's target, in percent of the slots; at zero newcomers go to
    /// the main segment at once, which then is a plain CLOCK.
    pub(crate) small_percent: usize,
    /// And at least so many slots: in a tiny segment nobody stays for long enough to
    /// be used twice.
    pub(crate) small_min: usize,
    /// A newcomer among so many of its ghost bucket's newest lanes was evicted
    /// too early.
    pub(crate) ghost_lanes: u32,
    /// Whether the main hand's steps have to be earned by misses.
    pub(crate) budgeted_sweep: bool,
    /// Whether the main hand clears the counts that it passes, rather than lower
    /// them: then a use buys one round, however many there were.
    pub(crate) clears_counts: bool,
    /// Whether what makes room in the main segment for a recalled key gets another
    /// stay in the small one.
    pub(crate) demotes: bool,
}

impl Parameters {
    /// The best single set.
    pub(crate) const USUAL: Self = Self {
        small_percent: 10,
        small_min: 5,
        ghost_lanes: 3,
        budgeted_sweep: false,
        clears_counts: false,
        demotes: true,
    };
}

/// Used at least so often in the small segment, after the burst that brought it, an
/// entry is worth a place in the main one.
const PROMOTE_FROM: u8 = 1;

/// Steps of a hand at one eviction, after which it takes what it stands on.
const STEPS_MAX: usize = 32;

/// In a strict sweep: what a miss earns, what a step costs, and what can be
/// saved. So what has been idle for long goes, and what is used about as often as
/// there are misses stays.
const CREDIT_PER_MISS: u32 = 1;
const CREDIT_PER_STEP: u32 = 2;
const CREDIT_MAX: u32 = 16;

/// The ghost's size, in quarters of the capacity.
const GHOST_QUARTERS: usize = 9;

/// Some of the slots, and the hand that goes round them.
#[derive(Debug)]
struct Segment {
    slots: HierarchicalBitSet,
    len: usize,
    hand: usize,
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

    /// The member that the hand comes to; the hand then stands behind it.
    #[inline]
    fn step(&mut self) -> Option<SlotId> {
        let next = self.slots.next_wrapping(self.hand);
        if let Some(id) = next {
            self.hand = id.index() + 1;
        }
        next
    }
}

/// Newcomers, those that have proved themselves, and the memory of those that
/// have not.
#[derive(Debug)]
pub(crate) struct S3Clock {
    small: Segment,
    main: Segment,
    /// Those of the small segment that come from the main one.
    demoted: BitSet,
    /// The latest newcomer: its uses up to the next one's arrival are one burst.
    newest: Option<SlotId>,
    /// The slot of the latest victim is still in the small segment, where the newcomer
    /// that takes it most likely belongs.
    victim_slot_stays_small: bool,
    /// The latest victim, to be remembered: at the next miss, whose own look into the
    /// ghost its cache miss then overlaps.
    victim: Option<SlotHash>,
    parameters: Parameters,
    slots: usize,
    small_target: usize,
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
            slots,
            small_target: small_target(slots, parameters),
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

    #[inline]
    pub(crate) fn take_ghost(&mut self, slot_hash: SlotHash) -> bool {
        self.credit = (self.credit + CREDIT_PER_MISS).min(CREDIT_MAX);
        if let Some(victim) = self.victim.take() {
            self.ghost.remember(victim);
        }
        self.ghost.take(slot_hash, self.parameters.ghost_lanes)
    }

    #[inline]
    pub(crate) fn admit(&mut self, id: SlotId, is_ghost_hit: bool) {
        self.newest = Some(id);
        let has_refused = std::mem::take(&mut self.has_refused);
        let is_small = std::mem::take(&mut self.victim_slot_stays_small);
        if (is_ghost_hit && !has_refused) || self.small_target == 0 {
            if is_small {
                self.small.remove(id);
            }
            self.main.insert(id);
        } else if !is_small {
            self.small.insert(id);
        }
    }

    /// The slot whose entry goes. Its successor is the next to be admitted.
    #[inline]
    pub(crate) fn evict(&mut self, counts: &mut impl Counts) -> SlotId {
        // Of a full shard, so it is still there, or the one that has its slot.
        if let Some(newest) = self.newest.take() {
            counts.set_count(newest, 0);
        }
        if self.small.len < self.small_target || self.small.len == 0 {
            if let Some(victim) = self.sweep_main(counts) {
                if !self.parameters.demotes {
                    return victim;
                }
                self.demote(victim);
            }
        }
        for _ in 0..STEPS_MAX {
            let Some(oldest) = self.small.step() else { break };
            if self.main.len < self.slots - self.small_target {
                self.promote(oldest, counts);
                continue;
            }
            if counts.count(oldest) >= PROMOTE_FROM {
                if let Some(victim) = self.sweep_main(counts) {
                    self.promote(oldest, counts);
                    return victim;
                }
            }
            return self.evict_small(oldest, counts);
        }
        match self.small.step() {
            Some(oldest) => self.evict_small(oldest, counts),
            None => self.take_main(),
        }
    }

    /// A popular entry whose time is up will be asked for again: it is
    /// remembered, so that its next copy goes to the main segment at once.
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
    fn promote(&mut self, id: SlotId, counts: &mut impl Counts) {
        counts.set_count(id, 0);
        self.remove_small(id);
        self.main.insert(id);
    }

    /// Gives what the main hand has let go another stay in the small segment.
    #[inline]
    fn demote(&mut self, id: SlotId) {
        self.small.insert(id);
        self.demoted.insert(id);
    }

    /// What has had its time in the main segment is not remembered: in a loop all
    /// would come back to it, each driving another out.
    #[inline]
    fn evict_small(&mut self, id: SlotId, counts: &impl Counts) -> SlotId {
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

    /// The hand lowers the counts that it passes and takes the first zero. In a
    /// strict sweep it may not get there, and then refuses.
    #[inline]
    fn sweep_main(&mut self, counts: &mut impl Counts) -> Option<SlotId> {
        for _ in 0..STEPS_MAX {
            if self.parameters.budgeted_sweep {
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
        Some(self.take_main())
    }

    /// Takes what the main hand comes to.
    fn take_main(&mut self) -> SlotId {
        let id = self.main.step().expect("a full shard has entries in one segment");
        self.main.remove(id);
        id
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self, occupied: &std::collections::BTreeSet<usize>) {
        assert_eq!(self.small.len, self.small.slots.len());
        assert_eq!(self.main.len, self.main.slots.len());
        assert_eq!(self.small.len + self.main.len, occupied.len());
        for &slot in occupied {
            let id = SlotId::new(slot);
            assert!(self.small.slots.contains(id) != self.main.slots.contains(id));
            assert!(self.small.slots.contains(id) || !self.demoted.contains(id));
        }
        for slot in (0..self.slots).filter(|slot| !occupied.contains(slot)) {
            assert!(!self.demoted.contains(SlotId::new(slot)), "{slot} is vacant");
        }
    }
}

fn small_target(slots: usize, parameters: Parameters) -> usize {
    (slots * parameters.small_percent / 100).max(parameters.small_min.min(slots.div_ceil(2)))
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

    /// Two misses pay for a step, up to eight steps can be saved up, and the
    /// newcomer of a miss that cannot pay does not get into the main segment.
    #[test]
    fn a_strict_sweep_goes_as_far_as_misses_have_paid() {
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
            assert!(policy.small.slots.contains(id(0)), "refused, and admitted all the same");
        }
    }

    /// The hand lowers the counts that it passes, or clears them; and it stops.
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

    /// Slots 0 to 4 are in the main segment, which is full, and the others in the small
    /// one, which has its target.
    fn half_in_main() -> S3Clock {
        let mut policy = S3Clock::new(10, Parameters::USUAL).unwrap();
        (0..10).for_each(|slot| policy.admit(id(slot), slot < 5));
        policy
    }

    /// Each of these slots is vacated next, and taken by a newcomer.
    fn replace(policy: &mut S3Clock, counts: &mut Used, slots: &[usize]) {
        for &slot in slots {
            assert_eq!(policy.evict(counts), id(slot));
            policy.admit(id(slot), false);
        }
    }

    /// One use in the small segment is worth a place in the main one, but not if it was
    /// made before the next newcomer came.
    #[test]
    fn uses_in_one_burst_with_the_insertion_do_not_count() {
        for (used_before, used_after, stays) in [(0, 0, false), (3, 0, false), (0, 1, true)] {
            let mut counts = Used(vec![0; 10]);
            let mut policy = half_in_main();
            replace(&mut policy, &mut counts, &[5]);
            counts.0[5] = used_before;
            replace(&mut policy, &mut counts, &[6, 7, 8, 9]);
            counts.0[5] += used_after;
            // If it stays, the main segment gives its first.
            let expected = if stays { id(0) } else { id(5) };
            assert_eq!(policy.evict(&mut counts), expected, "{used_before}, {used_after}");
            assert_eq!(policy.main.slots.contains(id(5)), stays);
        }
    }

    /// The small segment has lost one to a recalled key; what the main segment gives for
    /// it, slot 0, goes there.
    fn with_one_demoted(counts: &mut Used) -> S3Clock {
        let mut policy = half_in_main();
        assert_eq!(policy.evict(counts), id(5));
        policy.admit(id(5), true);
        replace(&mut policy, counts, &[6]);
        assert!(policy.small.slots.contains(id(0)) && policy.demoted.contains(id(0)));
        policy
    }

    /// It stays among the newcomers, and is not remembered if it goes from there.
    #[test]
    fn what_made_room_for_a_recalled_key_gets_another_stay() {
        let mut counts = Used(vec![0; 10]);
        let mut policy = with_one_demoted(&mut counts);
        replace(&mut policy, &mut counts, &[7, 8, 9, 0]);
        assert!(!policy.demoted.contains(id(0)), "the next one in its slot is a newcomer");
        assert!(
            policy.take_ghost(SlotHash::from_bits(9)) && !policy.take_ghost(SlotHash::from_bits(0))
        );
    }

    /// Once it is used there, it goes back, in the place of the next one.
    #[test]
    fn what_is_used_in_its_other_stay_goes_back() {
        let mut counts = Used(vec![0; 10]);
        let mut policy = with_one_demoted(&mut counts);
        counts.0[0] = 1;
        replace(&mut policy, &mut counts, &[7, 8, 9]);
        assert_eq!(policy.evict(&mut counts), id(1));
        assert!(policy.main.slots.contains(id(0)) && !policy.demoted.contains(id(0)));
    }

    /// Without that, it goes at once.
    #[test]
    fn some_sets_give_no_other_stay() {
        let mut policy = all_in_main(10, Parameters { demotes: false, ..Parameters::USUAL });
        assert_eq!(policy.evict(&mut Used(vec![0; 10])), id(0));
        assert_eq!((policy.main.len, policy.small.len), (9, 0));
    }
}
