//! pingora-memory-cache: TinyUFO with a TTL in the value, checked on read.
//!
//! An entry found expired stays until it is evicted: there is no call that removes it if it is
//! still expired. Its cache that loads (`RTCache`) is for async callers, and is not measured.

use std::sync::Arc;
use std::time::Duration;

use pingora_memory_cache::MemoryCache;

use super::{Key, Subject, Value};

/// A reference-counted handle, since the cache itself is none.
#[derive(Clone)]
pub(crate) struct Pingora<K: Key, V: Value>(Arc<MemoryCache<K, V>>);

impl<K: Key, V: Value> Pingora<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Arc::new(MemoryCache::new(capacity)))
    }
}

impl<K: Key, V: Value> Subject<K, V> for Pingora<K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get(key).0.map(|value| read(&value))
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        self.0.put(&key, value, Some(ttl));
    }

    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }
}
