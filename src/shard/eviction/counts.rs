//! What a policy knows of the slots: how often each was used.

use crate::shard::key_hash::SlotHash;
use crate::shard::slot_id::SlotId;

/// Bits that a count has.
pub(crate) const COUNT_BITS: u32 = 2;

/// A count stops here.
pub(crate) const COUNT_MAX: u8 = (1 << COUNT_BITS) - 1;

/// The counts of use that a policy decides by.
pub(crate) trait Counts {
    fn count(&self, id: SlotId) -> u8;
    fn set_count(&mut self, id: SlotId, count: u8);
    fn slot_hash(&self, id: SlotId) -> SlotHash;
}
