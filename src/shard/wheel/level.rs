//! The geometry of the wheel: pure functions of ticks, levels and slots.

pub(super) const LEVEL_BITS: u32 = 6;
pub(super) const SLOTS: usize = 1 << LEVEL_BITS;
pub(super) const LEVELS: usize = u64::BITS.div_ceil(LEVEL_BITS) as usize;
const _: () = assert!(LEVELS as u32 * LEVEL_BITS >= u64::BITS, "every tick has a slot");

/// The number of a list: its level and its wheel slot there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListId(u16);

impl ListId {
    pub(crate) const BITS: u32 = (LEVELS * SLOTS - 1).ilog2() + 1;

    #[inline]
    pub(super) fn new(level: usize, slot: usize) -> Self {
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
    pub(super) fn level(self) -> usize {
        usize::from(self.0) / SLOTS
    }

    #[inline]
    pub(super) fn slot(self) -> usize {
        usize::from(self.0) % SLOTS
    }
}

/// Returns the level of a deadline that is not before `elapsed`: that of the highest bit in
/// which the two differ.
#[inline]
pub(super) fn level_for(elapsed: u64, deadline: u64) -> usize {
    debug_assert!(elapsed <= deadline, "deadline {deadline} is before {elapsed}");
    // `| 1`: equal ticks belong to level 0, too.
    LEVEL_OF_BIT[((elapsed ^ deadline) | 1).ilog2() as usize].into()
}

/// The level of each bit of a tick.
const LEVEL_OF_BIT: [u8; u64::BITS as usize] = {
    let mut levels = [0; u64::BITS as usize];
    let mut bit = 0;
    while bit < levels.len() {
        levels[bit] = (bit as u32 / LEVEL_BITS) as u8;
        bit += 1;
    }
    levels
};

/// Returns the slot of a tick on a level: its digit there.
#[inline]
pub(super) fn slot_index(tick: u64, level: usize) -> usize {
    (tick >> (level as u32 * LEVEL_BITS)) as usize % SLOTS
}

/// Returns the first tick of a level's slot, in the rotation that `elapsed` is in.
#[inline]
pub(super) fn slot_start(elapsed: u64, level: usize, slot: usize) -> u64 {
    let shift = level as u32 * LEVEL_BITS;
    let rotation = (elapsed >> shift) & !(SLOTS as u64 - 1);
    (rotation | slot as u64) << shift
}
