//! scc's `HashCache`: buckets of 32 entries, in each of which the one unused for longest makes room.
//! It does not expire entries.
//!
//! It holds up to the next power of two of what it is asked for, and cannot be held to less; and a
//! bucket that is full evicts, whether the cache is full or not. All of it is asked for at once,
//! since it would evict more while it grows. A lookup is `get_sync`, which counts as a use;
//! `read_sync` is for readers together, and does not. `put_sync` does not replace a value, so an
//! insertion goes by the entry. Its default hasher is the standard library's, which is slow and safe
//! from keys made to collide; here it is a mark for speed, and has the hasher that the maps have.

use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use scc::HashCache;

use super::{Key, Subject, Value};

/// A reference-counted handle, since the cache itself is none.
#[derive(Clone)]
pub(crate) struct Scc<K: Key, V: Value>(Arc<HashCache<K, V, RandomState>>);

impl<K: Key, V: Value> Scc<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        let hasher = RandomState::default();
        Self(Arc::new(HashCache::with_capacity_and_hasher(capacity, capacity, hasher)))
    }
}

impl<K: Key, V: Value> Subject<K, V> for Scc<K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get_sync(key).map(|entry| read(&entry))
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, _ttl: Duration) {
        self.0.entry_sync(key).put_entry(value);
    }

    fn remove(&mut self, key: &K) {
        self.0.remove_sync(key);
    }
}
