//! How many keys of a batch are worked on at a time: they lie on the stack
//! meanwhile.

use super::key_hash::KeyHash;
use crate::panic::Given;
use crate::removal::RemovalCause;

/// Keys that are looked up together. With a few dozen shards, that is a few dozen
/// keys a shard: as many cache misses as a processor can have under way at once.
pub(crate) const KEYS: usize = 1 << 10;

/// Entries that are put in together, by their size: some 32 KiB of stack.
pub(crate) const SMALL_ENTRIES: usize = 1 << 9;
pub(crate) const LARGE_ENTRIES: usize = 1 << 5;
const CHUNK_BYTES_MAX: usize = 1 << 15;

/// An entry of a batch: on its way in or, once it is in, what has left for it.
pub(crate) struct Entry<K, V> {
    pub(crate) hash: KeyHash,
    pub(crate) key: Given<K>,
    pub(crate) value: Given<V>,
    /// Why key and value have left, if they have.
    pub(crate) left: Option<RemovalCause>,
}

impl<K, V> Entry<K, V> {
    /// How many of them are a chunk; one by one where they are too large.
    pub(crate) const PER_CHUNK: usize = if size_of::<Self>() * SMALL_ENTRIES <= CHUNK_BYTES_MAX {
        SMALL_ENTRIES
    } else if size_of::<Self>() * LARGE_ENTRIES <= CHUNK_BYTES_MAX {
        LARGE_ENTRIES
    } else {
        1
    };
}
