//! A hierarchical timing wheel (Varghese and Lauck, 1987) over numbered timers.
//!
//! It knows nothing of caches: timers are numbers whose links and deadlines
//! somebody else stores ([`Timers`]), so that they cost no memory of their own.
//!
//! # Geometry
//!
//! Time is a 64-bit number of ticks. Each level cuts six of its bits into 64
//! slots; eleven levels cover all 64 bits, so that there is no horizon, and no
//! top level that could wrap.
//!
//! ```text
//! tick  63..60  59..54  53..48   …   17..12  11..6   5..0
//! level   10      9       8      …     2       1      0      64 slots each
//! ```
//!
//! A timer is linked at the level of the highest bit in which its deadline and
//! [`elapsed`](Wheel::elapsed) differ, in the slot of the deadline's digit there:
//!
//! ```text
//! elapsed   = … 000010 000111 101100
//! deadline  = … 000010 001001 000001     level 1, slot 9
//!                      ^^^^^^ first digit that differs
//! ```
//!
//! A timer whose deadline is postponed stays where it is, so that no other timer is
//! touched: it bears its list's number, and is linked again only when that list's time
//! has come, however often it was postponed until then. Most timers of a cache never
//! fire: sessions are used again, values are renewed, and what is evicted leaves its
//! slot, with its place in the wheel, to an entry that is due later.
//!
//! # Invariants
//!
//! 1. Every timer's list starts at or after `elapsed`, and its deadline is at or after
//!    that, by less than 2^53 ticks: a [`PackedDeadline`] tells it.
//! 2. A timer is in exactly one list: the one whose number it bears, or `cascading`,
//!    which starts at `elapsed`.
//! 3. An occupied slot's digit is above `elapsed`'s digit of that level, except
//!    on level 0, where it may be equal. So the first slot of the lowest
//!    occupied level is the next one in time.
//! 4. A bit of `occupied` is set if and only if the slot's list is not empty.
//! 5. `next_event` is not later than the start of any occupied slot, and not
//!    later than `elapsed` while `cascading` is not empty.
//!
//! `elapsed` is how far the wheel has been worked off, not the time: what is due
//! is handed out one timer at a time by [`pop_expired`](Wheel::pop_expired), within a
//! budget that moves between levels (cascades) use up too, and the next call
//! goes on where the last one stopped.

#[cfg(any(test, fuzzing))]
mod check;
pub(crate) mod deadline;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod level;
#[cfg(test)]
mod tests;

use std::fmt;

use super::slot_id::SlotId as TimerId;
use deadline::PackedDeadline;
use level::{LEVELS, ListId, SLOTS, level_for, slot_index, slot_start};

/// Who stores the timers' links, lists and deadlines.
///
/// Those of a timer that is not linked mean nothing.
pub(crate) trait Timers {
    fn packed_deadline(&self, id: TimerId) -> PackedDeadline;
    fn set_packed_deadline(&mut self, id: TimerId, packed_deadline: PackedDeadline);
    fn list(&self, id: TimerId) -> ListId;
    fn set_list(&mut self, id: TimerId, list: ListId);
    fn next(&self, id: TimerId) -> Option<TimerId>;
    fn previous(&self, id: TimerId) -> Option<TimerId>;
    /// Also makes the timer a linked one.
    fn set_next(&mut self, id: TimerId, next: Option<TimerId>);
    fn set_previous(&mut self, id: TimerId, previous: Option<TimerId>);
    /// Both at once.
    fn set_links(&mut self, id: TimerId, previous: Option<TimerId>, next: Option<TimerId>) {
        self.set_next(id, next);
        self.set_previous(id, previous);
    }
    fn is_linked(&self, id: TimerId) -> bool;
    fn set_unlinked(&mut self, id: TimerId);
}

/// The lists' heads; the rest of the lists runs through the timers.
#[repr(C)]
pub(crate) struct Wheel {
    /// No timer is due, and none has to be moved, before this tick.
    next_event: u64,
    /// Worked off up to here.
    elapsed: u64,
    /// Timers taken off a slot of a higher level whose start has come, and not
    /// yet linked again.
    cascading: Option<TimerId>,
    /// A bit for each slot of each level: its list is not empty.
    occupied: [u64; LEVELS],
    /// Apart from the rest, so that what every call of a cache looks at, of all its
    /// shards, lies close together.
    heads: Box<Heads>,
}

type Heads = [[Option<TimerId>; SLOTS]; LEVELS];

impl Wheel {
    /// Bytes that a wheel requests from the allocator.
    pub(crate) const HEAP_BYTES: usize = size_of::<Heads>();

    pub(crate) fn new(now: u64) -> Self {
        Self {
            elapsed: now,
            next_event: u64::MAX,
            cascading: None,
            occupied: [0; LEVELS],
            heads: Box::new([[None; SLOTS]; LEVELS]),
        }
    }

    /// A tick before which nothing is due and nothing has to be moved;
    /// `u64::MAX` if there is no such tick. May be too early, never too late.
    #[inline]
    pub(crate) fn next_event(&self) -> u64 {
        self.next_event
    }

    /// Whether [`pop_expired`](Self::pop_expired) has anything to do.
    #[inline]
    pub(crate) fn has_work(&self, now: u64) -> bool {
        self.next_event <= now
    }

    /// The tick at which to look again: never after the first deadline, and
    /// before it only if a cascade comes first. `None` without timers.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        if self.cascading.is_some() {
            return Some(self.elapsed);
        }
        self.first_occupied().map(|(_, _, start)| start)
    }

    /// Whether a linked timer is due; correct even if `elapsed` is far behind.
    #[inline]
    pub(crate) fn is_due(&self, timers: &impl Timers, id: TimerId, now: u64) -> bool {
        // As a rule nothing is, and the timer need not be looked at.
        self.has_work(now) && self.is_past(timers, id, now)
    }

    #[cold]
    fn is_past(&self, timers: &impl Timers, id: TimerId, now: u64) -> bool {
        timers.is_linked(id) && self.deadline(timers, id) <= now
    }

    /// A linked timer's deadline.
    #[inline]
    pub(crate) fn deadline(&self, timers: &impl Timers, id: TimerId) -> u64 {
        timers.packed_deadline(id).deadline(self.start(timers.list(id)))
    }

    /// Links a timer that is in no list, for a deadline at most 2^52 ticks or so after
    /// `now`; one that is past already is due at once. O(1), unless it has to
    /// [catch up](Self::catch_up).
    #[inline]
    pub(crate) fn insert(
        &mut self,
        timers: &mut impl Timers,
        id: TimerId,
        deadline: u64,
        now: u64,
    ) {
        debug_assert!(!timers.is_linked(id), "{id:?} is linked already");
        self.advance_if_idle(now);
        let deadline = deadline.max(self.elapsed);
        let list = self.list_for(deadline);
        let start = self.start(list);
        if let Some(packed_deadline) = PackedDeadline::exact(deadline, start) {
            timers.set_packed_deadline(id, packed_deadline);
            self.link(timers, id, list, start);
        } else {
            self.insert_far(timers, id, deadline, now);
        }
    }

    #[cold]
    fn insert_far(&mut self, timers: &mut impl Timers, id: TimerId, deadline: u64, now: u64) {
        if now.saturating_sub(self.elapsed) > PackedDeadline::CATCH_UP_TICKS {
            self.catch_up(timers, now);
        }
        self.insert_rounded(timers, id, deadline.max(self.elapsed));
    }

    fn insert_rounded(&mut self, timers: &mut impl Timers, id: TimerId, deadline: u64) {
        let list = self.list_for(deadline);
        let start = self.start(list);
        timers.set_packed_deadline(id, PackedDeadline::new(deadline, start));
        self.link(timers, id, list, start);
    }

    /// Moves a timer's deadline, or links it if it is in no list. As long as its list
    /// starts early enough for the new one, this is O(1) and touches no other timer.
    #[inline]
    pub(crate) fn reschedule(
        &mut self,
        timers: &mut impl Timers,
        id: TimerId,
        deadline: u64,
        now: u64,
    ) {
        if timers.is_linked(id) {
            if let Some(packed_deadline) =
                PackedDeadline::exact(deadline, self.start(timers.list(id)))
            {
                timers.set_packed_deadline(id, packed_deadline);
                return;
            }
        }
        self.relink(timers, id, deadline, now);
    }

    #[inline(never)]
    fn relink(&mut self, timers: &mut impl Timers, id: TimerId, deadline: u64, now: u64) {
        self.remove(timers, id);
        self.insert(timers, id, deadline, now);
    }

    /// Takes a timer out, if it is linked. O(1).
    #[inline]
    pub(crate) fn remove(&mut self, timers: &mut impl Timers, id: TimerId) {
        if !timers.is_linked(id) {
            return;
        }
        let next = timers.next(id);
        let previous = timers.previous(id);
        if let Some(next) = next {
            timers.set_previous(next, previous);
        }
        match previous {
            Some(previous) => timers.set_next(previous, next),
            None if self.cascading == Some(id) => self.cascading = next,
            None => {
                let list = timers.list(id);
                let head = &mut self.heads[list.level()][list.slot()];
                debug_assert_eq!(*head, Some(id), "{list:?} has another head");
                *head = next;
                if next.is_none() {
                    self.occupied[list.level()] &= !(1 << list.slot());
                }
            }
        }
        timers.set_unlinked(id);
    }

    /// Takes out a timer that is due at `now`, moving others down a level where
    /// the time has come for it. Each timer moved or taken out costs one of
    /// `budget`; at zero this stops, and [`has_work`](Self::has_work) stays true.
    ///
    /// Looks at occupied slots only, however far `now` is from the last call.
    pub(crate) fn pop_expired(
        &mut self,
        timers: &mut impl Timers,
        now: u64,
        budget: &mut usize,
    ) -> Option<TimerId> {
        while self.next_event <= now && *budget > 0 {
            if let Some(id) = self.cascading {
                *budget -= 1;
                // Its list starts now.
                let deadline = timers.packed_deadline(id).deadline(self.elapsed);
                self.cascading = Self::take_head(timers, id);
                if deadline <= now {
                    return Some(id);
                }
                let list = self.list_for(deadline);
                self.link(timers, id, list, self.start(list));
                continue;
            }
            match self.first_occupied() {
                Some((level, slot, start)) if start <= now => {
                    self.elapsed = start;
                    self.occupied[level] &= !(1 << slot);
                    self.cascading = self.heads[level][slot].take();
                }
                later => {
                    self.elapsed = self.elapsed.max(now);
                    self.next_event = later.map_or(u64::MAX, |(_, _, start)| start);
                }
            }
        }
        None
    }

    /// Catches up with the time if nothing lies between: then it is free, and
    /// timers are linked as low as can be.
    #[inline]
    fn advance_if_idle(&mut self, now: u64) {
        if now > self.elapsed && now < self.next_event {
            self.elapsed = now;
        }
    }

    /// When a list's time comes. That of a timer which is cascading is `elapsed`.
    #[inline]
    fn start(&self, list: ListId) -> u64 {
        slot_start(self.elapsed, list.level(), list.slot())
    }

    /// The list of a deadline that is not before `elapsed`.
    #[inline]
    fn list_for(&self, deadline: u64) -> ListId {
        let level = level_for(self.elapsed, deadline);
        ListId::new(level, slot_index(deadline, level))
    }

    #[inline]
    fn link(&mut self, timers: &mut impl Timers, id: TimerId, list: ListId, start: u64) {
        let head = self.heads[list.level()][list.slot()].replace(id);
        timers.set_list(id, list);
        timers.set_links(id, None, head);
        if let Some(head) = head {
            timers.set_previous(head, Some(id));
        }
        self.occupied[list.level()] |= 1 << list.slot();
        self.next_event = self.next_event.min(start);
    }

    /// Unlinks the first timer of a list, which stays a list without it.
    #[inline]
    fn take_head(timers: &mut impl Timers, id: TimerId) -> Option<TimerId> {
        let next = timers.next(id);
        if let Some(next) = next {
            timers.set_previous(next, None);
        }
        timers.set_unlinked(id);
        next
    }

    /// The next occupied slot: level, slot and start.
    #[inline]
    fn first_occupied(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        Some((level, slot, slot_start(self.elapsed, level, slot)))
    }

    /// Moves `elapsed` to `now` at one go, where a deadline would else not be as exact as
    /// it has to be: all that is due becomes due now.
    ///
    /// O(timers), and reached only where what was due has not been worked off for nearly
    /// 2^42 ticks (26 days at the finest resolution of the system's clock, 584 years at the
    /// default one), and the clock has passed a multiple of 2^48 (64 times as long) since.
    #[cold]
    fn catch_up(&mut self, timers: &mut impl Timers, now: u64) {
        let heads = std::mem::replace(&mut *self.heads, [[None; SLOTS]; LEVELS]);
        let cascading = self.cascading.take();
        let elapsed = std::mem::replace(&mut self.elapsed, now);
        self.occupied = [0; LEVELS];
        for mut next in heads.into_iter().flatten().chain([cascading]) {
            while let Some(id) = next {
                next = timers.next(id);
                let list = timers.list(id);
                let start = slot_start(elapsed, list.level(), list.slot());
                let deadline = timers.packed_deadline(id).deadline(start).max(now);
                self.insert_rounded(timers, id, deadline);
            }
        }
    }
}

impl fmt::Debug for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("elapsed", &self.elapsed)
            .field("next_event", &self.next_event)
            .finish_non_exhaustive()
    }
}
