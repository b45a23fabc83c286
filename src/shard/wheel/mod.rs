//! A hierarchical timing wheel (Varghese and Lauck, 1987) over numbered timers.
//!
//! It knows nothing of caches: timers are numbers, and the caller stores their links and
//! deadlines ([`Timers`]), so that they cost no memory of their own.
//!
//! # Geometry
//!
//! Time is a 64-bit number of ticks. Each level has 64 slots, one for each value of six of
//! these bits, its digit. Eleven levels cover all 64 bits, so that there is no horizon and
//! no top level that could wrap. ("Slot" means a wheel slot here; what the cache calls a
//! slot is a timer, [`TimerId`].)
//!
//! ```text
//! tick  63..60  59..54  53..48   …   17..12  11..6   5..0
//! level   10      9       8      …     2       1      0      64 slots each
//! ```
//!
//! A wheel of few timers has 22 levels of eight slots instead, with digits of three bits: a
//! quarter of the memory, and up to twice the moves. All else holds for both. A list's number,
//! which a timer stores, tells when the list starts in base 64 whatever the wheel's own digits
//! are, so that reading a deadline and postponing it need not know.
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
//! A timer whose deadline is postponed stays in its list, so that no other timer is
//! touched: it stores the number of that list, and is relinked only when the list starts,
//! however often it was postponed until then. Most timers of a cache never fire: sessions
//! are used again, values are renewed, and an evicted entry leaves its linked timer to an
//! entry that is due later.
//!
//! # Invariants
//!
//! 1. Every timer's list starts at or after `elapsed`, and its deadline is at or after
//!    that start, by less than 2^53 ticks, as a [`PackedDeadline`] requires.
//! 2. A timer is in exactly one list: the one whose number it stores, or `cascading`,
//!    which starts at `elapsed`.
//! 3. An occupied slot's digit is above `elapsed`'s digit of that level, except
//!    on level 0, where it may be equal. So the first slot of the lowest
//!    occupied level is the next one in time.
//! 4. A bit of `occupied` is set if and only if the slot's list is not empty.
//! 5. `next_start` is not later than the start of any occupied slot, and `next_event` not later
//!    than that of a list of several timers or than any deadline; neither is
//!    later than `elapsed` while `cascading` is not empty.
//!
//! `elapsed` is how far the wheel has advanced, not the time. Expired timers are popped one
//! at a time by [`pop_expired`](Wheel::pop_expired), within a budget that is also charged
//! for moves between levels (cascades), and the next call goes on where the last one
//! stopped.

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
use level::{Levels, ListId, Place, WIDE};

/// Storage for the links, lists and deadlines of timers.
///
/// Those of a timer that is not linked mean nothing.
pub(crate) trait Timers {
    fn packed_deadline(&self, id: TimerId) -> PackedDeadline;
    fn set_packed_deadline(&mut self, id: TimerId, packed_deadline: PackedDeadline);
    fn list(&self, id: TimerId) -> ListId;
    fn set_list(&mut self, id: TimerId, list: ListId);
    fn next(&self, id: TimerId) -> Option<TimerId>;
    fn previous(&self, id: TimerId) -> Option<TimerId>;
    /// Also marks the timer as linked.
    fn set_next(&mut self, id: TimerId, next: Option<TimerId>);
    fn set_previous(&mut self, id: TimerId, previous: Option<TimerId>);
    /// Sets both links and marks the timer as linked.
    fn set_links(&mut self, id: TimerId, previous: Option<TimerId>, next: Option<TimerId>) {
        self.set_next(id, next);
        self.set_previous(id, previous);
    }
    fn is_linked(&self, id: TimerId) -> bool;
    fn set_unlinked(&mut self, id: TimerId);
}

/// A timing wheel: the heads of its lists. The timers themselves link the rest of each list.
#[repr(C)]
pub(crate) struct Wheel {
    /// No timer is due, and no list of several has to be taken apart, before this tick.
    next_event: u64,
    /// The wheel has advanced to this tick: all lists that start before it are empty.
    elapsed: u64,
    /// No list starts before this tick.
    next_start: u64,
    /// The list of a slot that has just started: its timers are yet to be popped or relinked.
    cascading: Option<TimerId>,
    /// A bit for each head, from the lowest level up: its list is not empty.
    occupied: [u64; HEADS_MAX.div_ceil(WORD_BITS)],
    levels: &'static Levels,
    /// On the heap, so that the fields which every call of a cache reads, in all its shards,
    /// lie close together.
    heads: Box<[Option<TimerId>]>,
}

const HEADS_MAX: usize = WIDE.heads();
const WORD_BITS: usize = u64::BITS as usize;

impl Wheel {
    /// Returns a wheel for so many timers.
    pub(crate) fn new(timers: usize, now: u64) -> Self {
        Self::of_levels(Levels::for_timers(timers), now)
    }

    fn of_levels(levels: &'static Levels, now: u64) -> Self {
        Self {
            elapsed: now,
            next_event: u64::MAX,
            next_start: u64::MAX,
            cascading: None,
            occupied: Default::default(),
            levels,
            heads: vec![None; levels.heads()].into_boxed_slice(),
        }
    }

    /// Returns the bytes that a wheel for so many timers requests from the allocator.
    pub(crate) fn heap_bytes(timers: usize) -> usize {
        Levels::for_timers(timers).heads() * size_of::<Option<TimerId>>()
    }

    /// Returns a tick before which no timer is due and there is nothing to be moved; `u64::MAX` if
    /// there will be none. May be too early, never too late.
    #[inline]
    pub(crate) fn next_event(&self) -> u64 {
        self.next_event
    }

    /// Returns whether [`pop_expired`](Self::pop_expired) has anything to do.
    #[inline]
    pub(crate) fn has_work(&self, now: u64) -> bool {
        self.next_event <= now
    }

    /// Returns the tick at which to call [`pop_expired`](Self::pop_expired) next: never after
    /// the first deadline, and before it only where a list has to be relinked first. `None`
    /// without timers.
    pub(crate) fn next_expiry(&self, timers: &impl Timers) -> Option<u64> {
        if self.cascading.is_some() {
            return Some(self.elapsed);
        }
        let (head, start) = self.first_occupied()?;
        Some(self.event(timers, head, start).max(self.next_event))
    }

    /// Returns whether a timer is linked and due. Correct even if `elapsed` is far behind.
    #[inline]
    pub(crate) fn is_due(&self, timers: &impl Timers, id: TimerId, now: u64) -> bool {
        // Usually none is, and the timer itself need not be fetched.
        self.has_work(now) && self.is_past(timers, id, now)
    }

    /// Returns false only if a linked timer is due after `until`, without looking for its list.
    /// `until` is at most 2^41 ticks after `now`.
    #[inline]
    pub(crate) fn may_be_due_by(
        &self,
        timers: &impl Timers,
        id: TimerId,
        now: u64,
        until: u64,
    ) -> bool {
        // Without work, no timer is due before `now`.
        self.has_work(until)
            && (self.has_work(now) || !timers.packed_deadline(id).is_surely_after(until))
    }

    #[cold]
    fn is_past(&self, timers: &impl Timers, id: TimerId, now: u64) -> bool {
        timers.is_linked(id) && self.deadline(timers, id) <= now
    }

    /// Returns a linked timer's deadline.
    #[inline]
    pub(crate) fn deadline(&self, timers: &impl Timers, id: TimerId) -> u64 {
        timers.packed_deadline(id).deadline(self.start(timers.list(id)))
    }

    /// Returns the earliest that a linked timer's deadline may have been before it was rounded up.
    pub(crate) fn deadline_min(&self, timers: &impl Timers, id: TimerId) -> u64 {
        self.deadline(timers, id).saturating_sub(timers.packed_deadline(id).rounding())
    }

    /// Links a timer that is in no list, for a deadline at most about 2^52 ticks after
    /// `now`. If that has passed, the timer is due at once. O(1), unless the wheel has to
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
        let place = self.place(deadline);
        if let Some(packed_deadline) = PackedDeadline::exact(deadline, place.start) {
            timers.set_packed_deadline(id, packed_deadline);
            self.link(timers, id, place, deadline);
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
        let place = self.place(deadline);
        timers.set_packed_deadline(id, PackedDeadline::new(deadline, place.start));
        self.link(timers, id, place, deadline);
    }

    /// Changes a timer's deadline, or links the timer if it is in no list. O(1); touches no
    /// other timer as long as the list starts early enough for the new deadline.
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
                self.next_event = self.next_event.min(deadline);
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

    /// Returns what to store for a timer in this list to postpone its deadline; `None` if it is not
    /// before the new one. That changes nothing else, so the wheel may be shared.
    #[inline]
    pub(crate) fn postponed(
        &self,
        list: ListId,
        packed_deadline: PackedDeadline,
        deadline: u64,
    ) -> Option<PackedDeadline> {
        // No list starts before `elapsed`: mostly, it need not be known which one it is.
        match packed_deadline.postponed(deadline, self.elapsed) {
            Ok(postponed) => postponed,
            Err(()) => self.postponed_in(list, packed_deadline, deadline),
        }
    }

    #[cold]
    fn postponed_in(
        &self,
        list: ListId,
        packed_deadline: PackedDeadline,
        deadline: u64,
    ) -> Option<PackedDeadline> {
        let start = self.start(list);
        let is_later = packed_deadline.deadline(start) < deadline;
        is_later.then(|| PackedDeadline::new(deadline, start))
    }

    /// Unlinks a timer if it is linked. O(1).
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
                // It is where it was linked: `elapsed` has not come to its start yet.
                let head = self.place(self.start(timers.list(id))).head;
                debug_assert_eq!(self.heads[head], Some(id), "list {head} has another head");
                self.heads[head] = next;
                if next.is_none() {
                    self.occupied[head / WORD_BITS] &= !(1 << (head % WORD_BITS));
                }
            }
        }
        timers.set_unlinked(id);
    }

    /// Unlinks a timer that is due at `now` and returns it, having moved others down to
    /// lower levels where their lists have started. Each timer moved or returned costs one
    /// of `budget`; at zero this stops, and [`has_work`](Self::has_work) stays true.
    ///
    /// Visits occupied slots only, however much time has passed since the last call.
    pub(crate) fn pop_expired(
        &mut self,
        timers: &mut impl Timers,
        now: u64,
        budget: &mut usize,
    ) -> Option<TimerId> {
        while self.next_event <= now && *budget > 0 {
            // Timers of a list that has started, one at a time. Where the budget runs out,
            // the rest stays in `cascading`, still linked: each can be removed, rescheduled
            // and asked for its deadline between two calls.
            if let Some(id) = self.cascading {
                *budget -= 1;
                // `elapsed` is its list's start, and stays so until `cascading` is empty.
                let deadline = timers.packed_deadline(id).deadline(self.elapsed);
                self.cascading = Self::take_head(timers, id);
                if deadline <= now {
                    return Some(id);
                }
                // Relinked lower than before, since the digit of its old level now agrees
                // with that of `elapsed`: no timer is moved more than once a level. One that
                // was postponed may go up again.
                self.link(timers, id, self.place(deadline), deadline);
                continue;
            }
            match self.first_occupied() {
                // The next list in time, of any level. Jumping to its start skips nothing:
                // all slots before it are empty.
                Some((head, start)) if start <= now => {
                    self.elapsed = start;
                    self.occupied[head / WORD_BITS] &= !(1 << (head % WORD_BITS));
                    self.cascading = self.heads[head].take();
                }
                // Nothing is left up to `now`. Advancing that far links later timers as low
                // as possible. `max`: the clock may have gone back, the wheel never does.
                later => {
                    self.elapsed = self.elapsed.max(now);
                    self.next_start = later.map_or(u64::MAX, |(_, start)| start);
                    self.next_event =
                        later.map_or(u64::MAX, |(head, start)| self.event(timers, head, start));
                }
            }
        }
        None
    }

    /// Advances to `now` if no list starts up to then. That is free, and timers are linked
    /// as low as possible.
    #[inline]
    fn advance_if_idle(&mut self, now: u64) {
        if now > self.elapsed && now < self.next_start {
            self.elapsed = now;
        }
    }

    /// Returns the tick at which a list starts; `elapsed` for the list of a cascading timer.
    #[inline]
    fn start(&self, list: ListId) -> u64 {
        list.start(self.elapsed)
    }

    /// Returns the place for a deadline that is not before `elapsed`.
    #[inline]
    fn place(&self, deadline: u64) -> Place {
        self.levels.place(self.elapsed, deadline)
    }

    // A call would pass the place through memory.
    #[inline(always)]
    fn link(&mut self, timers: &mut impl Timers, id: TimerId, place: Place, deadline: u64) {
        let Place { start, list, head } = place;
        let next = self.heads[head].replace(id);
        timers.set_list(id, list);
        timers.set_links(id, None, next);
        if let Some(next) = next {
            timers.set_previous(next, Some(id));
        }
        self.occupied[head / WORD_BITS] |= 1 << (head % WORD_BITS);
        self.next_start = self.next_start.min(start);
        self.next_event = self.next_event.min(if next.is_some() { start } else { deadline });
    }

    /// Returns when there is something to do for a list: at its start, where it has to be taken
    /// apart; but if it has one timer, which is due before later lists start, not before that.
    #[inline]
    fn event(&self, timers: &impl Timers, head: usize, start: u64) -> u64 {
        match self.heads[head] {
            Some(id) if timers.next(id).is_none() => {
                let deadline = self.deadline(timers, id);
                // One that was postponed may be due later.
                if self.place(deadline).head == head { deadline } else { start }
            }
            _ => start,
        }
    }

    /// Unlinks the first timer of a list. Returns the new head.
    #[inline]
    fn take_head(timers: &mut impl Timers, id: TimerId) -> Option<TimerId> {
        let next = timers.next(id);
        if let Some(next) = next {
            timers.set_previous(next, None);
        }
        timers.set_unlinked(id);
        next
    }

    /// Returns head and start of the next list in time.
    #[inline]
    fn first_occupied(&self) -> Option<(usize, u64)> {
        // By invariant 3, on the lowest occupied level.
        let word = self.occupied.iter().position(|&heads| heads != 0)?;
        let head = word * WORD_BITS + self.occupied[word].trailing_zeros() as usize;
        Some((head, self.levels.start(self.elapsed, head)))
    }

    /// Advances `elapsed` to `now` in one step and relinks every timer, where the new one's
    /// deadline could not be packed exactly otherwise. Timers that are due become due now.
    ///
    /// O(timers). Reached only where due timers have not been popped for nearly 2^42 ticks
    /// (26 days at the finest resolution of the system's clock, 584 years at the default
    /// one) and the clock has passed a multiple of 2^48 ticks since (2^45 in a narrow wheel).
    #[cold]
    fn catch_up(&mut self, timers: &mut impl Timers, now: u64) {
        // Detach all lists first: `insert_rounded` below links into the emptied heads.
        let mut heads = [None; HEADS_MAX];
        heads[..self.heads.len()].copy_from_slice(&self.heads);
        self.heads.fill(None);
        let cascading = self.cascading.take();
        let elapsed = std::mem::replace(&mut self.elapsed, now);
        self.occupied = Default::default();
        for mut next in heads.into_iter().chain([cascading]) {
            while let Some(id) = next {
                // Relinking overwrites the link to the next one.
                next = timers.next(id);
                // The deadline is relative to the list's start as of the old `elapsed`. That
                // holds for a cascading timer, too: its list started at that very tick.
                let start = timers.list(id).start(elapsed);
                // `elapsed` is `now` already, and no list may start before it. A timer that
                // was due earlier is due either way.
                let packed_deadline = timers.packed_deadline(id);
                let deadline = packed_deadline.deadline(start).max(now);
                // Far ahead, this may round an exact deadline up.
                self.insert_rounded(timers, id, deadline);
                // One that has been rounded before is known to be: it may have been less.
                if packed_deadline.rounding() > 0 && deadline > now {
                    timers.set_packed_deadline(id, PackedDeadline::rounded_up(deadline));
                }
            }
        }
        // `next_event` may be too early now, which the next pop corrects.
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
