//! How a timer stores its deadline.

/// A deadline in 43 bits, relative to the start of the timer's list.
///
/// Bit 0 clear: the other 42 bits are the low bits of the tick, exact. Bit 0 set: they are
/// the low bits of the tick divided by 2,048, rounded up, for deadlines 2^42 ticks or more
/// after the start.
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
    /// Once `elapsed` is further behind than this, the wheel has to catch up for that.
    pub(super) const CATCH_UP_TICKS: u64 = Self::COUNT_MASK - Self::EXACT_TICKS;

    /// `None` where it would not be exact, or the deadline is before the start.
    #[inline]
    pub(super) fn exact(deadline: u64, start: u64) -> Option<Self> {
        let is_exact = deadline.wrapping_sub(start) <= Self::COUNT_MASK;
        is_exact.then_some(Self((deadline & Self::COUNT_MASK) << 1))
    }

    #[inline]
    pub(super) fn new(deadline: u64, start: u64) -> Self {
        Self::exact(deadline, start).unwrap_or_else(|| {
            let units = deadline.div_ceil(Self::COARSE_TICKS);
            Self((units & Self::COUNT_MASK) << 1 | 1)
        })
    }

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
        debug_assert!(bits >> Self::BITS == 0, "{bits:#x} is wider than a packed_deadline");
        Self(bits)
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn deadline(self, start: u64) -> u64 {
        let count = self.0 >> 1;
        let after = |start: u64| start + (count.wrapping_sub(start) & Self::COUNT_MASK);
        if self.0 & 1 == 0 {
            after(start)
        } else {
            // The very last one would overflow: time ends there.
            after(start >> Self::COARSE_TICKS_LOG2).saturating_mul(Self::COARSE_TICKS)
        }
    }
}
