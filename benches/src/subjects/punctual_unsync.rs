//! `punctual::unsync::Cache`: every entry has a TTL.

use std::hash::BuildHasher;
use std::time::Duration;

use punctual::unsync::Cache;
use punctual::{Eviction, ManualClock, SystemClock};

use super::time::Time;
use super::{Key, Subject, Value};

pub(crate) struct PunctualUnsync<K, V, S>(Cache<K, V, S>);

impl<K: Key, V: Value, S: BuildHasher> PunctualUnsync<K, V, S> {
    /// Without a clock it goes by the system's, which it reads at each call.
    pub(crate) fn new(
        capacity: usize,
        eviction: Eviction,
        clock: Option<ManualClock>,
        time: &impl Time<Hasher = S>,
    ) -> Self {
        let builder = Cache::builder().capacity(capacity).eviction(eviction).hasher(time.hasher());
        let builder = match clock {
            Some(clock) => builder.clock(clock),
            None => builder.clock(SystemClock),
        };
        Self(builder.build().expect("the capacity is possible"))
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
