//! moka's synchronous cache with one `time_to_live` for all entries.
//!
//! moka does its housekeeping on the calls, a batch at a time; `run_pending_tasks` does the rest,
//! and its documentation recommends it where exact sizes matter, as in tests. Speed is measured
//! without it.

use std::time::Duration;

use moka::sync::Cache;

use super::{Key, Subject, Value};

#[derive(Clone)]
pub(crate) struct MokaTtl<K, V>(Cache<K, V>);

impl<K: Key, V: Value> MokaTtl<K, V> {
    pub(crate) fn new(capacity: usize, ttl: Duration) -> Self {
        Self(Cache::builder().max_capacity(capacity as u64).time_to_live(ttl).build())
    }
}

impl<K: Key, V: Value> Subject<K, V> for MokaTtl<K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get(key).map(|value| read(&value))
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, _ttl: Duration) {
        self.0.insert(key, value);
    }

    fn remove(&mut self, key: &K) {
        self.0.invalidate(key);
    }

    #[inline]
    fn get_or_insert_with(&mut self, key: &K, _ttl: Duration, make: impl FnOnce() -> V) -> V {
        self.0.get_with_by_ref(key, make)
    }

    fn settle(&mut self) {
        self.0.run_pending_tasks();
    }
}
