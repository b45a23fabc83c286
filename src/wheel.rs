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
//! A timer is filed at the level of the highest bit in which its deadline and
//! [`elapsed`](Wheel::elapsed) differ, in the slot of the deadline's digit there:
//!
//! ```text
//! elapsed   = … 000010 000111 101100
//! deadline  = … 000010 001001 000001     level 1, slot 9
//!                      ^^^^^^ first digit that differs
//! ```
//!
//! A timer whose deadline is postponed stays where it is, so that no other timer is
//! touched: it bears its list's number, and is filed again only when that list's time
//! has come, however often it was postponed until then. Most timers of a cache never
//! fire: sessions are used again, values are renewed, and what is evicted leaves its
//! slot, with its place in the wheel, to an entry that is due later.
//!
//! # Invariants
//!
//! 1. Every timer's deadline is at or after `elapsed`, and less than 2^53 ticks after
//!    it: a [`Stamp`] tells it.
//! 2. A timer is in exactly one list: the one whose number it bears, which starts at
//!    or before its deadline, or the list `cascading`.
//! 3. An occupied slot's digit is above `elapsed`'s digit of that level, except
//!    on level 0, where it may be equal. So the first slot of the lowest
//!    occupied level is the next one in time.
//! 4. A bit of `occupied` is set if and only if the slot's list is not empty.
//! 5. `next_event` is not later than the start of any occupied slot, and not
//!    later than `elapsed` while `cascading` is not empty.
//!
//! `elapsed` is how far the wheel has been worked off, not the time: what is due
//! is handed out one timer at a time by [`pop_due`](Wheel::pop_due), within a
//! budget that moves between levels (cascades) use up too, and the next call
//! goes on where the last one stopped.

use std::fmt;

use crate::slot_id::SlotId;

const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
const LEVELS: usize = u64::BITS.div_ceil(LEVEL_BITS) as usize;
const _: () = assert!(LEVELS as u32 * LEVEL_BITS >= u64::BITS, "every tick has a slot");

/// A deadline, by what [`Wheel::elapsed`] does not tell of it: a count modulo 2^42
/// of ticks, exact, or of units of 2,048 ticks, rounded up, for those that are 2^42
/// ticks or more ahead. Above it the lowest bit says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    pub(crate) const BITS: u32 = Self::COUNT_BITS + 1;
    const COUNT_BITS: u32 = 42;
    const COUNT_MASK: u64 = (1 << Self::COUNT_BITS) - 1;
    const UNIT_TICKS_LOG2: u32 = 11;
    const UNIT_TICKS: u64 = 1 << Self::UNIT_TICKS_LOG2;

    /// What is less than this many ticks ahead of now has to be exact.
    const EXACT_TICKS: u64 = 1 << 36;
    /// It is as long as `elapsed` is at most so many ticks behind.
    const LAG_TICKS_MAX: u64 = (1 << Self::COUNT_BITS) - Self::EXACT_TICKS;

    #[inline]
    fn is_exact(deadline: u64, elapsed: u64) -> bool {
        deadline - elapsed <= Self::COUNT_MASK
    }

    #[inline]
    fn new(deadline: u64, elapsed: u64) -> Self {
        if Self::is_exact(deadline, elapsed) {
            Self((deadline & Self::COUNT_MASK) << 1)
        } else {
            Self((deadline.div_ceil(Self::UNIT_TICKS) & Self::COUNT_MASK) << 1 | 1)
        }
    }

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
        debug_assert!(bits >> Self::BITS == 0, "{bits:#x} is wider than a stamp");
        Self(bits)
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    fn deadline(self, elapsed: u64) -> u64 {
        let count = self.0 >> 1;
        let ahead_of = |elapsed: u64| count.wrapping_sub(elapsed) & Self::COUNT_MASK;
        if self.0 & 1 == 0 {
            elapsed + ahead_of(elapsed)
        } else {
            let units = elapsed >> Self::UNIT_TICKS_LOG2;
            // The very last one would overflow: time ends there.
            (units + ahead_of(units)).saturating_mul(Self::UNIT_TICKS)
        }
    }
}

/// The number of a list: level and slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListId(u16);

impl ListId {
    pub(crate) const BITS: u32 = (LEVELS * SLOTS - 1).ilog2() + 1;

    #[inline]
    fn new(level: usize, slot: usize) -> Self {
        Self((level * SLOTS + slot) as u16)
    }

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
        debug_assert!(bits >> Self::BITS == 0, "{bits:#x} is wider than a list's number");
        Self(bits as u16)
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0.into()
    }

    #[inline]
    fn level(self) -> usize {
        usize::from(self.0) / SLOTS
    }

    #[inline]
    fn slot(self) -> usize {
        usize::from(self.0) % SLOTS
    }
}

/// Who stores the timers' links, lists and deadlines.
///
/// Those of a timer that is not filed mean nothing.
pub(crate) trait Timers {
    fn stamp(&self, id: SlotId) -> Stamp;
    fn set_stamp(&mut self, id: SlotId, stamp: Stamp);
    fn list(&self, id: SlotId) -> ListId;
    fn set_list(&mut self, id: SlotId, list: ListId);
    fn next(&self, id: SlotId) -> Option<SlotId>;
    fn previous(&self, id: SlotId) -> Option<SlotId>;
    /// Also makes the timer a filed one.
    fn set_next(&mut self, id: SlotId, next: Option<SlotId>);
    fn set_previous(&mut self, id: SlotId, previous: Option<SlotId>);
    /// Both at once.
    fn set_links(&mut self, id: SlotId, previous: Option<SlotId>, next: Option<SlotId>) {
        self.set_next(id, next);
        self.set_previous(id, previous);
    }
    fn is_filed(&self, id: SlotId) -> bool;
    fn set_unfiled(&mut self, id: SlotId);
}

/// The lists' heads; the rest of the lists runs through the timers.
#[repr(C)]
pub(crate) struct Wheel {
    /// No timer is due, and none has to be moved, before this tick.
    next_event: u64,
    /// Worked off up to here.
    elapsed: u64,
    /// Timers taken off a slot of a higher level whose start has come, and not
    /// yet filed again.
    cascading: Option<SlotId>,
    /// A bit for each slot of each level: its list is not empty.
    occupied: [u64; LEVELS],
    /// Apart from the rest, so that what every call of a cache looks at, of all its
    /// shards, lies close together.
    heads: Box<Heads>,
}

type Heads = [[Option<SlotId>; SLOTS]; LEVELS];

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

    /// Whether [`pop_due`](Self::pop_due) has anything to do.
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

    /// Whether a filed timer is due; correct even if `elapsed` is far behind.
    #[inline]
    pub(crate) fn is_due(&self, timers: &impl Timers, id: SlotId, now: u64) -> bool {
        // As a rule nothing is, and the timer need not be looked at.
        self.has_work(now) && self.is_past(timers, id, now)
    }

    #[cold]
    fn is_past(&self, timers: &impl Timers, id: SlotId, now: u64) -> bool {
        timers.is_filed(id) && self.deadline(timers, id) <= now
    }

    /// A filed timer's deadline.
    #[inline]
    pub(crate) fn deadline(&self, timers: &impl Timers, id: SlotId) -> u64 {
        timers.stamp(id).deadline(self.elapsed)
    }

    /// Files a timer that is in no list, for a deadline at most 2^52 ticks or so
    /// after `now`; one that is past already is due at once. O(1).
    #[inline]
    pub(crate) fn insert(&mut self, timers: &mut impl Timers, id: SlotId, deadline: u64, now: u64) {
        debug_assert!(!timers.is_filed(id), "{id:?} is filed already");
        self.follow(now);
        if self.is_too_late(deadline.max(self.elapsed), now) {
            self.catch_up(timers, now);
        }
        let stamp = Stamp::new(deadline.max(self.elapsed), self.elapsed);
        timers.set_stamp(id, stamp);
        self.file(timers, id, stamp.deadline(self.elapsed));
    }

    /// Moves a timer's deadline, or files it if it is in no list. O(1); as long as its
    /// list starts early enough for the new one, no other timer is touched.
    #[inline]
    pub(crate) fn reschedule(
        &mut self,
        timers: &mut impl Timers,
        id: SlotId,
        deadline: u64,
        now: u64,
    ) {
        let is_exact = deadline >= self.elapsed && Stamp::is_exact(deadline, self.elapsed);
        if timers.is_filed(id) && is_exact && self.starts_by(timers.list(id), deadline) {
            timers.set_stamp(id, Stamp::new(deadline, self.elapsed));
        } else {
            self.refile(timers, id, deadline, now);
        }
    }

    #[inline(never)]
    fn refile(&mut self, timers: &mut impl Timers, id: SlotId, deadline: u64, now: u64) {
        self.remove(timers, id);
        self.insert(timers, id, deadline, now);
    }

    /// Takes a timer out, if it is filed. O(1).
    #[inline]
    pub(crate) fn remove(&mut self, timers: &mut impl Timers, id: SlotId) {
        if !timers.is_filed(id) {
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
        timers.set_unfiled(id);
    }

    /// Takes out a timer that is due at `now`, moving others down a level where
    /// the time has come for it. Each timer moved or taken out costs one of
    /// `budget`; at zero this stops, and [`has_work`](Self::has_work) stays true.
    ///
    /// Looks at occupied slots only, however far `now` is from the last call.
    pub(crate) fn pop_due(
        &mut self,
        timers: &mut impl Timers,
        now: u64,
        budget: &mut usize,
    ) -> Option<SlotId> {
        while self.next_event <= now && *budget > 0 {
            if let Some(id) = self.cascading {
                *budget -= 1;
                self.cascading = Self::take_head(timers, id);
                let deadline = self.deadline(timers, id);
                if deadline <= now {
                    return Some(id);
                }
                self.file(timers, id, deadline);
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
    /// timers are filed as low as can be.
    #[inline]
    fn follow(&mut self, now: u64) {
        if now > self.elapsed && now < self.next_event {
            self.elapsed = now;
        }
    }

    /// Whether a list's time has come at a tick. That of a timer which is cascading has.
    #[inline]
    fn starts_by(&self, list: ListId, tick: u64) -> bool {
        let shift = list.level() as u32 * LEVEL_BITS;
        let turn = (self.elapsed >> shift) & !(SLOTS as u64 - 1);
        turn | list.slot() as u64 <= tick >> shift
    }

    #[inline]
    fn file(&mut self, timers: &mut impl Timers, id: SlotId, deadline: u64) {
        let level = level_for(self.elapsed, deadline);
        let slot = digit(deadline, level);
        let head = self.heads[level][slot].replace(id);
        timers.set_list(id, ListId::new(level, slot));
        timers.set_links(id, None, head);
        if let Some(head) = head {
            timers.set_previous(head, Some(id));
        }
        self.occupied[level] |= 1 << slot;
        self.next_event = self.next_event.min(slot_start(self.elapsed, level, slot));
    }

    /// Unlinks the first timer of a list, which stays a list without it.
    #[inline]
    fn take_head(timers: &mut impl Timers, id: SlotId) -> Option<SlotId> {
        let next = timers.next(id);
        if let Some(next) = next {
            timers.set_previous(next, None);
        }
        timers.set_unfiled(id);
        next
    }

    /// The next occupied slot: level, slot and start.
    #[inline]
    fn first_occupied(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        Some((level, slot, slot_start(self.elapsed, level, slot)))
    }

    /// Whether the wheel is so far behind that a stamp could not be as exact as it has
    /// to be.
    #[inline]
    fn is_too_late(&self, deadline: u64, now: u64) -> bool {
        !Stamp::is_exact(deadline, self.elapsed)
            && now.saturating_sub(self.elapsed) > Stamp::LAG_TICKS_MAX
    }

    /// Moves `elapsed` to `now` at one go: all that is due becomes due now.
    ///
    /// O(timers), and reached only after nearly 2^42 ticks (25 days of the finest, a
    /// thousand years of the default) in which what was due was never worked off.
    #[cold]
    fn catch_up(&mut self, timers: &mut impl Timers, now: u64) {
        let mut caught_up = None;
        // Index 0 is the list that is cascading, the others are the slots.
        for list in 0..=LEVELS * SLOTS {
            let mut rest = match list.checked_sub(1) {
                None => self.cascading.take(),
                Some(slot) => self.heads[slot / SLOTS][slot % SLOTS].take(),
            };
            while let Some(id) = rest {
                rest = timers.next(id);
                let deadline = self.deadline(timers, id).max(now);
                timers.set_stamp(id, Stamp::new(deadline, now));
                // Whichever: it has started.
                timers.set_list(id, ListId::new(0, 0));
                timers.set_next(id, caught_up);
                timers.set_previous(id, None);
                if let Some(head) = caught_up.replace(id) {
                    timers.set_previous(head, Some(id));
                }
            }
        }
        self.occupied = [0; LEVELS];
        self.elapsed = now;
        self.cascading = caught_up;
        self.next_event = now;
    }
}

#[cfg(any(test, fuzzing))]
impl Wheel {
    /// Holds the lists against invariants 1 to 5, and returns the numbers of all
    /// filed timers.
    pub(crate) fn check(&self, timers: &impl Timers) -> std::collections::BTreeSet<usize> {
        let mut filed = std::collections::BTreeSet::new();
        let mut walk = |head: Option<SlotId>, own: Option<ListId>| {
            let (mut previous, mut next) = (None, head);
            while let Some(id) = next {
                assert!(timers.is_filed(id), "{id:?} is in a list, unfiled");
                assert_eq!(timers.previous(id), previous, "{id:?} has another predecessor");
                let (list, deadline) = (timers.list(id), self.deadline(timers, id));
                assert!(
                    own.is_none_or(|own| own == list),
                    "{id:?} of {list:?} is in the wrong list"
                );
                let is_early = own.is_none_or(|own| self.starts_by(own, deadline));
                assert!(
                    is_early && self.elapsed <= deadline,
                    "{id:?} is due at {deadline}, before"
                );
                assert!(filed.insert(id.index()), "{id:?} is in two lists");
                previous = next;
                next = timers.next(id);
            }
        };
        walk(self.cascading, None);
        assert!(self.cascading.is_none() || self.next_event <= self.elapsed, "invariant 5");
        for (level, heads) in self.heads.iter().enumerate() {
            for (slot, &head) in heads.iter().enumerate() {
                walk(head, Some(ListId::new(level, slot)));
                let is_occupied = self.occupied[level] & (1 << slot) != 0;
                assert_eq!(is_occupied, head.is_some(), "invariant 4: level {level}, slot {slot}");
                if is_occupied {
                    let here = digit(self.elapsed, level);
                    assert!(slot > here || (level == 0 && slot == here), "invariant 3");
                    let start = slot_start(self.elapsed, level, slot);
                    assert!(self.next_event <= start, "invariant 5");
                }
            }
        }
        filed
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

/// The level of a deadline that is not before `elapsed`: that of the highest bit
/// in which the two differ.
#[inline]
fn level_for(elapsed: u64, deadline: u64) -> usize {
    debug_assert!(elapsed <= deadline, "deadline {deadline} is before {elapsed}");
    // Or 1: equal ticks belong to level 0 too.
    LEVEL_OF_BIT[((elapsed ^ deadline) | 1).ilog2() as usize].into()
}

/// The level that each bit of a tick belongs to.
const LEVEL_OF_BIT: [u8; u64::BITS as usize] = {
    let mut levels = [0; u64::BITS as usize];
    let mut bit = 0;
    while bit < levels.len() {
        levels[bit] = (bit as u32 / LEVEL_BITS) as u8;
        bit += 1;
    }
    levels
};

/// The slot of a tick on a level.
#[inline]
fn digit(tick: u64, level: usize) -> usize {
    (tick >> (level as u32 * LEVEL_BITS)) as usize % SLOTS
}

/// The first tick of a level's slot, of the turn that `elapsed` is in.
#[inline]
fn slot_start(elapsed: u64, level: usize, slot: usize) -> u64 {
    let shift = level as u32 * LEVEL_BITS;
    let above = elapsed.checked_shr(shift + LEVEL_BITS).unwrap_or(0);
    (above.checked_shl(shift + LEVEL_BITS).unwrap_or(0)) | ((slot as u64) << shift)
}

/// What a deadline becomes that is set while a wheel is worked off up to `elapsed`: of
/// those that are far ahead the units of 2,048 ticks count.
#[cfg(any(test, fuzzing))]
fn rounded(deadline: u64, elapsed: u64) -> u64 {
    let is_far = deadline.saturating_sub(elapsed) >= 1 << 42;
    if is_far { deadline.div_ceil(2_048).saturating_mul(2_048) } else { deadline }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
