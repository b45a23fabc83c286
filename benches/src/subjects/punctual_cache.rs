//! `punctual::Cache`: every entry has a TTL, and the reaper's thread runs unless a clock is given.

use std::convert::Infallible;
use std::hash::BuildHasher;
use std::time::Duration;

use punctual::{Cache, Eviction, Reaper};

use super::time::Time;
use super::{Key, Subject, Value};

#[derive(Clone)]
pub(crate) struct PunctualCache<K, V, S>(Cache<K, V, S>);

impl<K: Key, V: Value, S: BuildHasher + Send + Sync + 'static> PunctualCache<K, V, S> {
    pub(crate) fn new(capacity: usize, eviction: Eviction, time: &impl Time<Hasher = S>) -> Self {
        let builder = Cache::builder().capacity(capacity).eviction(eviction).hasher(time.hasher());
        let builder = match time.clock() {
            Some(clock) => builder.clock(clock),
            None => builder.reaper(Reaper::Thread),
        };
        Self(builder.build().expect("the capacity is possible"))
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

    #[inline]
    fn get_or_insert_with(&mut self, key: &K, ttl: Duration, make: impl FnOnce() -> V) -> V {
        let loaded = self.0.get_or_load(key, || Ok::<_, Infallible>((make(), ttl)));
        loaded.expect("no loader fails")
    }
}
