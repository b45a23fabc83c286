//! quick_cache's cache for one thread as it comes: it does not expire entries.

use std::time::Duration;

use quick_cache::unsync::Cache;

use super::{Key, Subject, Value};

pub(crate) struct QuickCacheUnsync<K, V>(Cache<K, V>);

impl<K: Key, V: Value> QuickCacheUnsync<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }
}

impl<K: Key, V: Value> Subject<K, V> for QuickCacheUnsync<K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get(key).map(read)
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, _ttl: Duration) {
        self.0.insert(key, value);
    }

    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }
}
