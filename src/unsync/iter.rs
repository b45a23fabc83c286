//! Iteration over the live entries.

use std::fmt;
use std::iter::FusedIterator;

use super::Cache;
use crate::shard::Shard;

/// An iterator over the live entries of a cache, in no particular order, made by
/// [`Cache::iter`].
///
/// It is no [`ExactSizeIterator`]: entries that are due are skipped, and not counted
/// beforehand.
pub struct Iter<'a, K, V> {
    /// Those that are left, the one that is being looked at included.
    shards: &'a [Shard<K, V>],
    /// The next slot to look at.
    slot: usize,
    now: u64,
}

impl<'a, K, V> Iter<'a, K, V> {
    pub(super) fn new(shards: &'a [Shard<K, V>], now: u64) -> Self {
        Self { shards, slot: 0, now }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (shard, others) = self.shards.split_first()?;
            if let Some(id) = shard.live_slots(self.slot..shard.capacity(), self.now).next() {
                self.slot = id.index() + 1;
                return Some(shard.entry(id));
            }
            (self.shards, self.slot) = (others, 0);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.shards.iter().map(Shard::len).sum()))
    }
}

impl<K, V> FusedIterator for Iter<'_, K, V> {}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<K, V> fmt::Debug for Iter<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

impl<'a, K, V, S> IntoIterator for &'a Cache<K, V, S> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}
