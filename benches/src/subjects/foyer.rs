//! foyer's cache in memory, without its disk: eight shards and LRU, its defaults. It does not expire
//! entries.
//!
//! foyer-memory is the part of foyer that does this, and is released with it. An insertion returns
//! a handle, as a lookup does; both are dropped at once.

use std::time::Duration;

use foyer_memory::Cache;

use super::{Key, Subject, Value};

#[derive(Clone)]
pub(crate) struct Foyer<K: Key, V: Value>(Cache<K, V>);

impl<K: Key, V: Value> Foyer<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Cache::builder(capacity).build())
    }
}

impl<K: Key, V: Value> Subject<K, V> for Foyer<K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get(key).map(|entry| read(entry.value()))
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, _ttl: Duration) {
        self.0.insert(key, value);
    }

    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }
}
