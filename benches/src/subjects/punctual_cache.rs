//! `punctual::Cache`: every entry has a TTL, and the reaper's thread runs unless a clock is given.

use std::hash::BuildHasher;
use std::time::Duration;

use punctual::{Cache, Clock, Eviction, RandomState, Reaper};

use super::{Key, Subject, Value};

pub(crate) struct PunctualCache<K, V, S = RandomState>(Cache<K, V, S>);

impl<K, V, S> Clone for PunctualCache<K, V, S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Key, V: Value> PunctualCache<K, V> {
    pub(crate) fn new(capacity: usize, eviction: Eviction) -> Self {
        let cache = Cache::builder()
            .capacity(capacity)
            .eviction(eviction)
            .reaper(Reaper::Thread)
            .build()
            .expect("the capacity is possible");
        Self(cache)
    }
}

impl<K: Key, V: Value, S: BuildHasher + Send + Sync + 'static> PunctualCache<K, V, S> {
    /// For replaying a trace: in simulated time, with a hasher whose seed is known.
    pub(crate) fn simulated(
        capacity: usize,
        eviction: Eviction,
        hasher: S,
        clock: impl Clock + Send + Sync + 'static,
    ) -> Self {
        let cache = Cache::builder()
            .capacity(capacity)
            .eviction(eviction)
            .clock(clock)
            .hasher(hasher)
            .build()
            .expect("the capacity is possible");
        Self(cache)
    }
}

impl<K: Key, V: Value, S: BuildHasher> Subject<K, V> for PunctualCache<K, V, S> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get(key).map(|value| read(&value))
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        self.0.insert_with_ttl(key, value, ttl);
    }

    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }
}
