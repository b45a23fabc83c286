//! The arena's invariants, checked after every step of its tests.

use std::collections::BTreeSet;

use super::bins::{NOWHERE, bin};
use super::header::{Header, RECORD_GRAINS_MIN};
use super::{Arena, FIRST, OwnerId};

impl Arena {
    /// Checks invariants 1 to 7. Returns the numbers of the owners that have a record.
    pub(crate) fn check(&self) -> BTreeSet<usize> {
        let end = self.memory.end();
        let (mut records, mut unlisted) = (BTreeSet::new(), BTreeSet::new());
        let (mut live, mut claimed, mut claims) = (0, 0, 0);
        let (mut at, mut follows_hole, mut hand_is_at_block) = (FIRST, false, false);
        while at < end {
            hand_is_at_block |= at == self.hand;
            let header = self.memory.header(at);
            let grains = header.grains();
            assert!(0 < grains && grains <= end - at, "invariant 1: {header:?} at {at}");
            assert_eq!(header.follows_hole(), follows_hole, "invariant 5: at {at}");
            if header.is_hole() {
                assert!(!follows_hole, "invariant 2: at {at}");
                let footer = self.memory.header(at + grains - 1);
                assert!(footer.is_hole() && footer.grains() == grains, "invariant 5: at {at}");
                if grains >= RECORD_GRAINS_MIN {
                    unlisted.insert(at);
                }
            } else {
                let owner = header.owner();
                assert_eq!(self.places[owner.index()], at, "invariant 3: {owner:?}");
                if header.is_record() {
                    assert!(records.insert(owner.index()), "invariant 3: {owner:?} has two");
                    live += grains;
                } else {
                    claimed += grains;
                    claims += 1;
                }
            }
            follows_hole = header.is_hole();
            at += grains;
        }
        assert_eq!(at, end, "invariant 1");
        let expected = Header::END.with_follows_hole(follows_hole);
        assert_eq!(self.memory.header(end), expected, "invariants 1 and 5: the end");
        let placed = self.places.iter().filter(|&&place| place != NOWHERE).count();
        assert_eq!(placed, records.len() + claims, "invariant 3");
        assert_eq!(self.live, live, "invariant 6");
        assert!(claimed <= self.promised, "invariant 6: {claimed} of {}", self.promised);
        assert!(self.live + self.promised <= self.live_max, "invariant 6");
        assert!(hand_is_at_block || self.hand == end, "invariant 7: {}", self.hand);
        self.check_bins(unlisted);
        records
    }

    fn check_bins(&self, mut unlisted: BTreeSet<u32>) {
        let mut largest = 0;
        for (number, (head, is_occupied)) in self.holes.heads().enumerate() {
            assert_eq!(is_occupied, head != NOWHERE, "invariant 4: bin {number}");
            let (mut previous, mut at) = (NOWHERE, head);
            while at != NOWHERE {
                assert!(unlisted.remove(&at), "invariant 4: {at} is no hole, or listed twice");
                let hole = self.memory.header(at);
                assert_eq!(bin(hole.grains()), number, "invariant 4: {hole:?}");
                let second = self.memory.header(at + 1);
                assert_eq!(second, hole.with_link(previous), "invariant 4: {hole:?}");
                largest = largest.max(hole.grains());
                previous = at;
                at = hole.link();
            }
        }
        assert!(unlisted.is_empty(), "invariant 4: {unlisted:?} are in no bin");
        assert_eq!(self.holes.largest(&self.memory), largest);
    }

    /// Returns the owners of records in the order of their places.
    pub(super) fn in_order(&self) -> Vec<OwnerId> {
        let mut order: Vec<_> = self.check().into_iter().map(OwnerId::new).collect();
        order.sort_unstable_by_key(|owner| self.places[owner.index()]);
        order
    }
}
