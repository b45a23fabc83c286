//! S3-FIFO as published: "FIFO queues are all you need for cache eviction",
//! Yang, Zhang, Qiu, Yue and Rashmi, SOSP 2023.

use super::bit_set::HierarchicalBitSet;
use super::counts::Counts;
use super::ghost::Ghost;
use super::queue::{Links, Queue};
use crate::error::BuildError;
use crate::shard::key_hash::SlotHash;
use crate::shard::slot_id::SlotId;

/// The small queue's target is one slot in this number.
const SMALL_SHARE: usize = 10;

/// An entry used more often than this in the small queue is promoted to the main one.
const PROMOTE_ABOVE: u8 = 1;

/// The most entries that one eviction promotes or reinserts. The next one is evicted
/// whatever its count, which bounds the time of an eviction.
const REINSERTIONS_MAX: usize = 64;

/// A key is looked for in all lanes of its ghost bucket.
const GHOST_LANES: u32 = 6;

/// Newcomers are admitted to `small`. An entry used twice there is promoted to `main`, where
/// each use has it reinserted once; one that is not leaves, and `ghost` remembers it: if its
/// key returns soon, it is admitted to `main` at once.
#[derive(Debug)]
pub(crate) struct S3Fifo {
    small: Queue,
    main: Queue,
    links: Links,
    in_main: HierarchicalBitSet,
    small_target: usize,
    ghost: Ghost,
}

impl S3Fifo {
    pub(crate) fn new(slots: usize) -> Result<Self, BuildError> {
        Ok(Self {
            small: Queue::default(),
            main: Queue::default(),
            links: Links::new(slots)?,
            in_main: HierarchicalBitSet::new(slots)?,
            small_target: small_target(slots),
            ghost: Ghost::new(slots - small_target(slots))?,
        })
    }

    pub(crate) fn heap_bytes(slots: usize) -> usize {
        Links::heap_bytes(slots)
            + HierarchicalBitSet::heap_bytes(slots)
            + Ghost::heap_bytes(slots - small_target(slots))
    }

    pub(crate) fn take_ghost(&mut self, slot_hash: SlotHash) -> bool {
        self.ghost.take(slot_hash, GHOST_LANES)
    }

    pub(crate) fn admit(&mut self, id: SlotId, is_ghost_hit: bool) {
        if is_ghost_hit {
            self.push_main(id);
        } else {
            self.small.push(&mut self.links, id);
        }
    }

    pub(crate) fn evict(&mut self, counts: &mut impl Counts) -> SlotId {
        let mut reinsertions_left = REINSERTIONS_MAX;
        while self.small.len() >= self.small_target || self.main.len() == 0 {
            let oldest = self.small.oldest().expect("a full shard has entries");
            self.small.remove(&mut self.links, oldest);
            if counts.count(oldest) <= PROMOTE_ABOVE || reinsertions_left == 0 {
                self.ghost.remember(counts.slot_hash(oldest));
                return oldest;
            }
            reinsertions_left -= 1;
            counts.set_count(oldest, 0);
            self.push_main(oldest);
        }
        loop {
            let oldest = self.main.oldest().expect("the loop above ends with entries in main");
            self.main.remove(&mut self.links, oldest);
            let count = counts.count(oldest);
            if count == 0 || reinsertions_left == 0 {
                self.in_main.remove(oldest);
                return oldest;
            }
            reinsertions_left -= 1;
            counts.set_count(oldest, count - 1);
            self.main.push(&mut self.links, oldest);
        }
    }

    /// [`evict`](Self::evict)s an entry of a shard that is as good as full with so many.
    pub(crate) fn evict_early(&mut self, entries: usize, counts: &mut impl Counts) -> SlotId {
        self.small_target = small_target(entries);
        self.evict(counts)
    }

    pub(crate) fn remove(&mut self, id: SlotId) {
        if self.in_main.contains(id) {
            self.in_main.remove(id);
            self.main.remove(&mut self.links, id);
        } else {
            self.small.remove(&mut self.links, id);
        }
    }

    fn push_main(&mut self, id: SlotId) {
        self.in_main.insert(id);
        self.main.push(&mut self.links, id);
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self, occupied: &std::collections::BTreeSet<usize>) {
        let small = self.small.members(&self.links);
        let main = self.main.members(&self.links);
        assert_eq!(small.len() + main.len(), occupied.len());
        assert_eq!(self.in_main.len(), main.len());
        for (queue, in_main) in [(small, false), (main, true)] {
            for slot in queue {
                assert!(occupied.contains(&slot));
                assert_eq!(self.in_main.contains(SlotId::new(slot)), in_main);
            }
        }
    }
}

fn small_target(slots: usize) -> usize {
    (slots / SMALL_SHARE).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::eviction::tests::{Used, id};

    #[test]
    fn a_tenth_is_for_newcomers() {
        for (slots, expected) in [(1, 1), (19, 1), (20, 2), (1_005, 100)] {
            assert_eq!(S3Fifo::new(slots).unwrap().small_target, expected);
        }
    }

    /// Each use in the main queue has the entry reinserted once.
    #[test]
    fn a_use_in_the_main_queue_reinserts_once() {
        let mut policy = S3Fifo::new(10).unwrap();
        let mut counts = Used(vec![1, 0, 2, 0]);
        (0..4).for_each(|slot| policy.admit(id(slot), true));
        let victims: Vec<_> = (0..4).map(|_| policy.evict(&mut counts).index()).collect();
        assert_eq!(victims, [1, 3, 0, 2]);
        assert_eq!(counts.0, [0; 4]);
    }

    /// However often all of them were used, one eviction visits a bounded number.
    #[test]
    fn an_eviction_ends() {
        for in_main in [false, true] {
            let mut policy = S3Fifo::new(200).unwrap();
            let mut counts = Used(vec![3; 200]);
            (0..200).for_each(|slot| policy.admit(id(slot), in_main));
            assert_eq!(policy.evict(&mut counts).index(), REINSERTIONS_MAX);
            let lowered = counts.0.iter().filter(|&&count| count < 3).count();
            assert_eq!(lowered, REINSERTIONS_MAX);
        }
    }
}
