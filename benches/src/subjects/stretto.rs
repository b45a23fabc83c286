//! stretto's synchronous cache: each entry costs 1, and there are ten counters for each entry of
//! the capacity, as its documentation recommends.
//!
//! Inserts go through a buffer to a thread of the cache, which may also refuse them; `wait` waits
//! for it. Speed is measured without waiting.

use std::time::Duration;

use stretto::Cache;

use super::{Key, Subject, Value};

#[derive(Clone)]
pub(crate) struct Stretto<K: Key, V: Value>(Cache<K, V>);

impl<K: Key, V: Value> Stretto<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        let cache = Cache::builder(capacity * 10, capacity as i64)
            // Otherwise each entry's own bookkeeping counts towards the capacity as well.
            .set_ignore_internal_cost(true)
            .finalize()
            .expect("the capacity is possible");
        Self(cache)
    }
}

impl<K: Key, V: Value> Subject<K, V> for Stretto<K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get(key).map(|value| read(value.value()))
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        self.0.insert_with_ttl(key, value, 1, ttl);
    }

    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }

    fn settle(&mut self) {
        self.0.wait().expect("the cache's thread runs");
    }
}
