//! The cache that punctual replaces. It has no removal; behind a mutex see [`super::mutexed`].

use std::time::Duration;

use punctual::original::LocalCache;

use super::time::Time;
use super::{Key, Subject, Value};

pub(crate) struct Original<K, V>(LocalCache<K, V>);

impl<K: Key, V: Value> Original<K, V> {
    pub(crate) fn new(capacity: usize, time: &impl Time) -> Self {
        Self(match time.clock() {
            Some(clock) => LocalCache::with_clock(capacity, clock),
            None => LocalCache::new(capacity),
        })
    }
}

impl<K: Key, V: Value> Subject<K, V> for Original<K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get_ex(key).map(|value| read(&value))
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        self.0.set_ex(key, value, ttl);
    }

    fn remove(&mut self, _key: &K) {
        unreachable!("the original cannot remove, and is not asked to");
    }
}
