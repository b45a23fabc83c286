//! What a policy sees of the slots: how often each was used, and its slot hash.

use crate::shard::key_hash::SlotHash;
use crate::shard::slot_id::SlotId;

/// The bits of a count.
pub(crate) const COUNT_BITS: u32 = 2;

/// A count saturates here.
pub(crate) const COUNT_MAX: u8 = (1 << COUNT_BITS) - 1;

/// Storage for the use counts that a policy decides by.
pub(crate) trait Counts {
    fn count(&self, id: SlotId) -> u8;
    fn set_count(&mut self, id: SlotId, count: u8);
    fn slot_hash(&self, id: SlotId) -> SlotHash;
    /// Loads what the other calls read into the processor's cache, where that is worth while.
    #[inline]
    fn prefetch(&self, _: SlotId) {}
}
