//! How a timer's deadline is packed.

/// A deadline in 43 bits, relative to the start of the timer's list.
///
/// ```text
///  42                                1   0
/// ┌────────────────────────────────────┬───┐
/// │    low 42 bits of the tick         │ 0 │   exact: less than 2^42 ticks after the start
/// ├────────────────────────────────────┼───┤
/// │    low 42 bits of tick / 2,048     │ 1 │   rounded up: any later deadline
/// └────────────────────────────────────┴───┘
/// ```
///
/// The high bits follow from the start, since the deadline is not before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedDeadline(u64);

impl PackedDeadline {
    pub(crate) const BITS: u32 = Self::COUNT_BITS + 1;
    const COUNT_BITS: u32 = 42;
    pub(super) const COUNT_MASK: u64 = (1 << Self::COUNT_BITS) - 1;
    const COARSE_TICKS_LOG2: u32 = 11;
    pub(super) const COARSE_TICKS: u64 = 1 << Self::COARSE_TICKS_LOG2;

    /// Deadlines up to this many ticks ahead of now are exact.
    const EXACT_TICKS: u64 = 1 << 36;
    /// That holds while `elapsed` is no further behind now than this; from there on, the
    /// wheel has to [catch up](super::Wheel::catch_up) first.
    pub(super) const CATCH_UP_TICKS: u64 = Self::COUNT_MASK - Self::EXACT_TICKS;

    /// Returns `None` if the deadline is too far ahead to be exact, or before the start.
    #[inline]
    pub(super) fn exact(deadline: u64, start: u64) -> Option<Self> {
        let is_exact = deadline.wrapping_sub(start) <= Self::COUNT_MASK;
        is_exact.then_some(Self((deadline & Self::COUNT_MASK) << 1))
    }

    #[inline]
    pub(super) fn new(deadline: u64, start: u64) -> Self {
        Self::exact(deadline, start).unwrap_or_else(|| Self::rounded_up(deadline))
    }

    /// Returns a deadline that is rounded up, or was before: nothing changes then but the list.
    pub(super) fn rounded_up(deadline: u64) -> Self {
        let units = deadline.div_ceil(Self::COARSE_TICKS);
        Self((units & Self::COUNT_MASK) << 1 | 1)
    }

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
        debug_assert!(bits >> Self::BITS == 0, "{bits:#x} is wider than a packed deadline");
        Self(bits)
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Returns whether the deadline is after a tick, if that can be told without the list: false
    /// may also mean that it cannot. The deadline must not be 2^41 ticks or more before it.
    #[inline]
    pub(super) fn is_surely_after(self, tick: u64) -> bool {
        let ahead = (self.0 >> 1).wrapping_sub(tick) & Self::COUNT_MASK;
        self.0 & 1 == 0 && ahead.wrapping_sub(1) < Self::COUNT_MASK / 2
    }

    /// Returns the later deadline, or `None` if this one is not before it; `Err` if that depends on the
    /// list, whose start is not before `start_min`.
    #[inline]
    pub(super) fn postponed(self, deadline: u64, start_min: u64) -> Result<Option<Self>, ()> {
        let is_near = deadline.wrapping_sub(start_min) <= Self::COUNT_MASK / 2;
        if !is_near || self.0 & 1 == 1 {
            return Err(());
        }
        let count = deadline & Self::COUNT_MASK;
        let by = count.wrapping_sub(self.0 >> 1) & Self::COUNT_MASK;
        let is_later = by.wrapping_sub(1) < Self::COUNT_MASK / 2;
        Ok(is_later.then_some(Self(count << 1)))
    }

    /// Returns by how many ticks, at most, the deadline was rounded up.
    pub(super) fn rounding(self) -> u64 {
        if self.0 & 1 == 0 { 0 } else { Self::COARSE_TICKS - 1 }
    }

    #[inline]
    pub(super) fn deadline(self, start: u64) -> u64 {
        let count = self.0 >> 1;
        let after = |start: u64| start + (count.wrapping_sub(start) & Self::COUNT_MASK);
        if self.0 & 1 == 0 {
            after(start)
        } else {
            // Saturates: of the last units of time, rounding up would overflow.
            after(start >> Self::COARSE_TICKS_LOG2).saturating_mul(Self::COARSE_TICKS)
        }
    }
}
