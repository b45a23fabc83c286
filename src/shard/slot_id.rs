//! Slot numbers in 32 bits.

use std::fmt;
use std::num::NonZeroU32;

/// The number of a slot in a shard's slab, below [`SlotId::COUNT_MAX`]. Stored plus one, so
/// that `Option<SlotId>` takes four bytes and `None` is the zero of a packed link.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SlotId(NonZeroU32);

impl SlotId {
    /// The bits of a packed link.
    pub(crate) const LINK_BITS: u32 = 24;

    /// The most slots of one shard. Of the values of a packed link, zero is `None` and all
    /// ones is reserved: [`slots`](super::slots) marks unlinked timers by it.
    pub(crate) const COUNT_MAX: usize = (1 << Self::LINK_BITS) - 2;

    #[inline]
    pub(crate) fn new(index: usize) -> Self {
        debug_assert!(index < Self::COUNT_MAX, "slot {index} is above the greatest number");
        let number = index as u32;
        Self(NonZeroU32::MIN.saturating_add(number))
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    /// Returns the packed link to this slot, of [`LINK_BITS`](Self::LINK_BITS) bits.
    #[inline]
    pub(crate) fn link(slot: Option<Self>) -> u64 {
        slot.map_or(0, |slot| u64::from(slot.0.get()))
    }

    #[inline]
    pub(crate) fn from_link(link: u64) -> Option<Self> {
        NonZeroU32::new(link as u32).map(Self)
    }
}

impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.index())
    }
}
