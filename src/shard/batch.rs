//! Batches of keys and entries: chunks on the stack, and lookups whose cache misses overlap.

use std::hash::{BuildHasher, Hash};
use std::hint::black_box;

use arrayvec::ArrayVec;
use equivalent::Equivalent;

use super::Shard;
use super::key_hash::{KeyHash, SlotHash};
use super::slot_id::SlotId;
use crate::entry::removal::{RemovalCause, Removed};
use crate::panic::DropGuard;

/// Keys that are looked up together. With a few dozen shards, that is a few dozen keys a
/// shard: as many cache misses as a processor can have in flight at once.
pub(crate) const KEYS_PER_CHUNK: usize = 1 << 10;

/// Entries that are inserted together, small and large ones: each chunk takes at most
/// [`CHUNK_BYTES_MAX`] of stack.
pub(crate) const ENTRIES_PER_CHUNK_SMALL: usize = 1 << 9;
pub(crate) const ENTRIES_PER_CHUNK_LARGE: usize = 1 << 5;
const CHUNK_BYTES_MAX: usize = 1 << 15;

/// The keys of one chunk, with their hashes.
pub(crate) type Keys<'a, Q> = ArrayVec<(KeyHash, &'a Q), KEYS_PER_CHUNK>;

/// Fills `chunk` with the next keys. Returns whether there were any.
pub(crate) fn next_keys<'a, Q: Hash + ?Sized>(
    chunk: &mut Keys<'a, Q>,
    keys: &mut impl Iterator<Item = &'a Q>,
    hasher: &impl BuildHasher,
) -> bool {
    chunk.clear();
    for key in keys.take(KEYS_PER_CHUNK) {
        chunk.push((KeyHash::new(hasher, key), key));
    }
    !chunk.is_empty()
}

/// An entry of a chunk: the one to insert or, after that, the one it displaced.
pub(crate) struct Entry<K, V> {
    pub(crate) hash: KeyHash,
    pub(crate) key: DropGuard<K>,
    pub(crate) value: DropGuard<V>,
    /// Why the displaced entry left; `None` where `key` and `value` are to be inserted, or
    /// have been and displaced nothing.
    displaced_as: Option<RemovalCause>,
}

impl<K, V> Entry<K, V> {
    /// Entries of a chunk; one where they are too large for more on the stack.
    pub(crate) const PER_CHUNK: usize =
        if size_of::<Self>() * ENTRIES_PER_CHUNK_SMALL <= CHUNK_BYTES_MAX {
            ENTRIES_PER_CHUNK_SMALL
        } else if size_of::<Self>() * ENTRIES_PER_CHUNK_LARGE <= CHUNK_BYTES_MAX {
            ENTRIES_PER_CHUNK_LARGE
        } else {
            1
        };

    /// Fills `chunk` with the next entries. Returns whether there were any.
    pub(crate) fn next_chunk<const N: usize>(
        chunk: &mut ArrayVec<Self, N>,
        entries: &mut impl Iterator<Item = (K, V)>,
        hasher: &impl BuildHasher,
    ) -> bool
    where
        K: Hash,
    {
        chunk.clear();
        for (key, value) in entries.take(N) {
            let (key, value) = (DropGuard::new(key), DropGuard::new(value));
            let hash = KeyHash::new(hasher, key.get());
            chunk.push(Self { hash, key, value, displaced_as: None });
        }
        !chunk.is_empty()
    }

    /// Keeps the entry that this one displaced until the lock is released.
    pub(crate) fn keep_displaced(&mut self, displaced: Removed<K, V>) {
        self.key.refill(displaced.key);
        self.value.refill(displaced.value);
        self.displaced_as = Some(displaced.cause);
    }

    pub(crate) fn take_displaced(&mut self) -> Option<Removed<K, V>> {
        let cause = self.displaced_as.take()?;
        Some(Removed { key: self.key.take(), value: self.value.take(), cause })
    }
}

impl<K, V> Shard<K, V> {
    /// Finds for each hash, in its shard, the first slot that matches by its bits: a
    /// candidate, which [`confirm`](Self::confirm) compares by key. For all but one key in
    /// thousands it is the right one.
    ///
    /// Each step runs for all hashes before the next step begins. So no key waits for the
    /// memory accesses of another, and the processor has many of them in flight.
    #[inline(always)]
    pub(crate) fn find_candidates<'a, const N: usize>(
        slot_hashes: impl Iterator<Item = (&'a Self, SlotHash)> + Clone,
        candidates: &mut ArrayVec<Option<SlotId>, N>,
    ) where
        K: 'a,
        V: 'a,
    {
        let mut buckets = ArrayVec::<u32, N>::new();
        for (shard, slot_hash) in slot_hashes.clone() {
            // Where no bucket matches, prefetching any other one does no harm.
            buckets.push(shard.index.first_bucket(slot_hash).unwrap_or(0) as u32);
        }
        let mut prefetched = 0;
        for ((shard, _), &bucket) in slot_hashes.clone().zip(&buckets) {
            prefetched ^= u64::from(shard.index.prefetch(bucket as usize));
        }
        candidates.clear();
        for (shard, slot_hash) in slot_hashes.clone() {
            candidates.push(shard.index.find(slot_hash, |_| true));
        }
        for ((shard, _), candidate) in slot_hashes.zip(&*candidates) {
            prefetched ^= candidate.map_or(0, |id| shard.slots.prefetch(id));
        }
        // Keeps the compiler from dropping the loads; nothing waits for their result.
        black_box(prefetched);
    }

    /// Returns the slot of a key, due or not, given its
    /// [candidate](Self::find_candidates). The shard must not have changed in between. Runs
    /// the key's `Eq`.
    #[inline]
    pub(crate) fn confirm<Q>(
        &self,
        candidate: Option<SlotId>,
        slot_hash: SlotHash,
        key: &Q,
    ) -> Option<SlotId>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let id = candidate?;
        if key.equivalent(self.slots.key(id)) { candidate } else { self.find_other(slot_hash, key) }
    }

    #[cold]
    #[inline(never)]
    fn find_other(
        &self,
        slot_hash: SlotHash,
        key: &(impl Equivalent<K> + ?Sized),
    ) -> Option<SlotId> {
        self.find(slot_hash, key)
    }
}
