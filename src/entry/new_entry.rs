//! An entry on its way into the cache.

use std::time::Duration;

use crate::panic::DropGuard;
use crate::shard::key_hash::KeyHash;

/// An entry that is to be inserted, with all that callers' code has said of it.
pub(crate) struct NewEntry<K, V> {
    pub(crate) hash: KeyHash,
    pub(crate) key: DropGuard<K>,
    pub(crate) value: DropGuard<V>,
    /// `None` for never.
    pub(crate) ttl: Option<Duration>,
    /// Zero where entries are not weighed.
    pub(crate) weight: u64,
}
