//! `punctual::unsync::Cache`: every entry has a TTL.

use std::hash::BuildHasher;
use std::time::Duration;

use punctual::unsync::Cache;
use punctual::{Clock, Eviction, RandomState};

use super::{Key, Subject, Value};

pub(crate) struct PunctualUnsync<K, V, S = RandomState>(Cache<K, V, S>);

impl<K: Key, V: Value> PunctualUnsync<K, V> {
    /// With the system's clock if `clock` is `SystemClock`: that one is read at each call.
    pub(crate) fn new(capacity: usize, eviction: Eviction, clock: impl Clock + 'static) -> Self {
        let builder = Cache::builder().capacity(capacity).eviction(eviction).clock(clock);
        Self(builder.build().expect("the capacity is possible"))
    }
}

impl<K: Key, V: Value, S: BuildHasher> PunctualUnsync<K, V, S> {
    /// For replaying a trace: in simulated time, with a hasher whose seed is known.
    pub(crate) fn simulated(
        capacity: usize,
        eviction: Eviction,
        hasher: S,
        clock: impl Clock + 'static,
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

impl<K: Key, V: Value, S: BuildHasher> Subject<K, V> for PunctualUnsync<K, V, S> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get(key).map(read)
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        self.0.insert_with_ttl(key, value, ttl);
    }

    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }
}
