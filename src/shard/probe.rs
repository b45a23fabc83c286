//! Keys that are looked up, and how they are compared with those that are held.

use std::hash::{Hash, Hasher};

use equivalent::Equivalent;

use super::sizes::Sizes;
use super::slot_id::SlotId;

/// A key to look up.
pub(crate) trait Probe<K> {
    /// Returns whether this is the key of the entry in a slot: `stored` there, or in the shard's
    /// arena.
    fn is_key(&self, stored: &K, id: SlotId, sizes: &Option<Box<Sizes>>) -> bool;
}

impl<K, Q: Equivalent<K> + ?Sized> Probe<K> for Q {
    #[inline(always)]
    fn is_key(&self, stored: &K, _: SlotId, _: &Option<Box<Sizes>>) -> bool {
        self.equivalent(stored)
    }
}

/// A key of bytes, which lies in the arena where it is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteKey<'a>(pub(crate) &'a [u8]);

impl Probe<()> for ByteKey<'_> {
    #[inline(always)]
    fn is_key(&self, (): &(), id: SlotId, sizes: &Option<Box<Sizes>>) -> bool {
        let records = sizes.as_deref().and_then(Sizes::records);
        records.is_some_and(|records| records.key(id) == self.0)
    }
}

impl Hash for ByteKey<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        // There is nothing else that it could be mistaken for: no length is needed.
        state.write(self.0);
    }
}
