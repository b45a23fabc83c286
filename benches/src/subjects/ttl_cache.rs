//! `ttl_cache`, which evicts what was put in first.

use std::time::Duration;

use super::{Key, Subject, Value};

pub(crate) struct TtlCache<K: Key, V>(ttl_cache::TtlCache<K, V>);

impl<K: Key, V: Value> TtlCache<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(ttl_cache::TtlCache::new(capacity))
    }
}

impl<K: Key, V: Value> Subject<K, V> for TtlCache<K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get(key).map(read)
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        self.0.insert(key, value, ttl);
    }

    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }
}
