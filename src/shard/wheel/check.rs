//! The wheel's invariants, checked after every step of its tests.

use std::collections::BTreeSet;

use super::level::ListId;
use super::{TimerId, Timers, WORD_BITS, Wheel};

impl Wheel {
    pub(crate) fn elapsed(&self) -> u64 {
        self.elapsed
    }

    /// Checks invariants 1 to 5. Returns the numbers of all linked timers.
    pub(crate) fn check(&self, timers: &impl Timers) -> BTreeSet<usize> {
        let mut linked = BTreeSet::new();
        let mut walk = |head: Option<TimerId>, own: Option<ListId>| {
            let (mut previous, mut next) = (None, head);
            while let Some(id) = next {
                assert!(timers.is_linked(id), "{id:?} is in a list, but not linked");
                assert_eq!(timers.previous(id), previous, "{id:?} has another predecessor");
                let (list, deadline) = (timers.list(id), self.deadline(timers, id));
                assert!(
                    own.is_none_or(|own| own == list),
                    "{id:?} of {list:?} is in the wrong list"
                );
                let start = self.start(list);
                assert!(self.elapsed <= start, "{id:?}'s list starts at {start}, before");
                assert!(own.is_some() || self.elapsed == start, "{id:?} cascades too early");
                assert!(start <= deadline, "{id:?} is due at {deadline}, before {start}");
                assert!(self.next_event <= deadline, "invariant 5");
                let is_alone = previous.is_none() && timers.next(id).is_none();
                assert!(is_alone || self.next_event <= start, "invariant 5");
                assert!(linked.insert(id.index()), "{id:?} is in two lists");
                previous = next;
                next = timers.next(id);
            }
        };
        walk(self.cascading, None);
        let first = self.next_event.max(self.next_start);
        assert!(self.cascading.is_none() || first <= self.elapsed, "invariant 5");
        for (head, &first) in self.heads.iter().enumerate() {
            let is_occupied = self.occupied[head / WORD_BITS] & (1 << (head % WORD_BITS)) != 0;
            assert_eq!(is_occupied, first.is_some(), "invariant 4: head {head}");
            if is_occupied {
                let (level, slot) = (head / self.levels.slots(), head % self.levels.slots());
                let here = self.levels.slot(self.elapsed, level);
                assert!(slot > here || (level == 0 && slot == here), "invariant 3");
                let place = self.place(self.levels.start(self.elapsed, head));
                assert_eq!(place.head, head, "the start is of another list");
                assert!(self.next_start <= place.start, "invariant 5");
                walk(first, Some(place.list));
            }
        }
        linked
    }
}

/// Test oracle: the deadline that the wheel may report for `deadline`. One in the past is due
/// now, one far ahead may have been rounded up.
pub(super) fn expected_deadline(deadline: u64, actual: u64, elapsed: u64, now: u64) -> u64 {
    let due = deadline.max(elapsed);
    let is_near = due.saturating_sub(now) <= 1 << 36;
    let delay_max = if is_near { 0 } else { 2_047 };
    assert!((due..=due.saturating_add(delay_max)).contains(&actual), "{due} became {actual}");
    actual
}
