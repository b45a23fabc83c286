//! The geometry of the wheel: pure functions of ticks, levels and slots.

/// A digit of a list's number has six bits, whatever the wheel's.
const DIGIT_BITS: u32 = 6;
const DIGITS: u32 = u64::BITS.div_ceil(DIGIT_BITS);

/// The number of a list: its start, as one digit in base 64 and the place of that digit. All
/// higher digits are those of `elapsed`, and the lower ones are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListId(u16);

impl ListId {
    pub(crate) const BITS: u32 = ((DIGITS << DIGIT_BITS) - 1).ilog2() + 1;

    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
        debug_assert!(bits >> Self::BITS == 0, "{bits:#x} is wider than a list's number");
        Self(bits as u16)
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0.into()
    }

    /// Returns the tick at which the list starts.
    #[inline]
    pub(super) fn start(self, elapsed: u64) -> u64 {
        let place = u32::from(self.0 >> DIGIT_BITS);
        let digit = u64::from(self.0) % (1 << DIGIT_BITS);
        slot_start(elapsed, place * DIGIT_BITS, DIGIT_BITS, digit)
    }
}

/// Returns the first tick with this digit, in the rotation that `elapsed` is in.
#[inline]
fn slot_start(elapsed: u64, shift: u32, digit_bits: u32, digit: u64) -> u64 {
    (elapsed >> shift >> digit_bits << digit_bits | digit) << shift
}

/// How a wheel divides ticks into digits, one for each level.
#[derive(Debug)]
pub(crate) struct Levels {
    pub(super) digit_bits: u32,
    /// The level of each bit of a tick.
    of_bit: [Level; u64::BITS as usize],
}

#[derive(Clone, Copy, Debug)]
struct Level {
    /// The lowest bit of its digit.
    shift: u16,
    /// The number of the first of its heads.
    first_head: u16,
    /// The lowest bit of the digit in base 64, and the number of the first list that has it.
    list_shift: u16,
    first_list: u16,
}

/// Where a timer is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) list: ListId,
    /// The number of the list's head.
    pub(super) head: usize,
}

/// Eleven levels of 64 slots: few moves.
pub(crate) static WIDE: Levels = Levels::new(6);

/// 22 levels of eight slots: a quarter of the memory.
pub(crate) static NARROW: Levels = Levels::new(3);

/// From here on a wheel is [`WIDE`]. It takes eleven bytes a timer then, and less of more.
const WIDE_TIMERS_MIN: usize = 256;

impl Levels {
    const fn new(digit_bits: u32) -> Self {
        // So that a list's start has no other digit in base 64 that is not that of `elapsed`.
        assert!(DIGIT_BITS % digit_bits == 0, "a digit of the wheel lies in one of a list's");
        let first = Level { shift: 0, first_head: 0, list_shift: 0, first_list: 0 };
        let mut of_bit = [first; u64::BITS as usize];
        let mut bit = 0;
        while bit < u64::BITS {
            let (level, place) = (bit / digit_bits, bit / DIGIT_BITS);
            of_bit[bit as usize] = Level {
                shift: (level * digit_bits) as u16,
                first_head: (level << digit_bits) as u16,
                list_shift: (place * DIGIT_BITS) as u16,
                first_list: (place << DIGIT_BITS) as u16,
            };
            bit += 1;
        }
        Self { digit_bits, of_bit }
    }

    /// Returns those of a wheel of so many timers.
    pub(crate) fn for_timers(timers: usize) -> &'static Self {
        if timers < WIDE_TIMERS_MIN { &NARROW } else { &WIDE }
    }

    pub(super) const fn count(&self) -> usize {
        u64::BITS.div_ceil(self.digit_bits) as usize
    }

    pub(super) const fn slots(&self) -> usize {
        1 << self.digit_bits
    }

    /// Returns the number of all slots: each is the head of a list.
    pub(super) const fn heads(&self) -> usize {
        self.count() * self.slots()
    }

    /// Returns the place of a tick that is not before `elapsed`: at the level of the highest bit
    /// in which the two differ.
    #[inline]
    pub(super) fn place(&self, elapsed: u64, tick: u64) -> Place {
        debug_assert!(elapsed <= tick, "{tick} is before {elapsed}");
        // `| 1`: equal ticks belong to level 0, too.
        let level = &self.of_bit[((elapsed ^ tick) | 1).ilog2() as usize];
        let digits = tick >> level.shift;
        let start = digits << level.shift;
        let list_digit = (start >> level.list_shift) as u16 % (1 << DIGIT_BITS);
        let slot = digits as usize & (self.slots() - 1);
        Place {
            start,
            list: ListId(level.first_list | list_digit),
            head: usize::from(level.first_head) | slot,
        }
    }

    /// Returns the slot of a tick on a level: its digit there.
    #[cfg(any(test, fuzzing))]
    pub(super) fn slot(&self, tick: u64, level: usize) -> usize {
        (tick >> (level as u32 * self.digit_bits)) as usize & (self.slots() - 1)
    }

    /// Returns the tick at which the list of a head starts, in the rotation that `elapsed` is in.
    pub(super) fn start(&self, elapsed: u64, head: usize) -> u64 {
        let (level, slot) = (head >> self.digit_bits, head & (self.slots() - 1));
        slot_start(elapsed, level as u32 * self.digit_bits, self.digit_bits, slot as u64)
    }
}
