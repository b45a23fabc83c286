//! `lru` with a deadline in the value, checked on read. An entry found expired is removed.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use super::time::Time;
use super::{Key, Subject, Value};

pub(crate) struct LruDeadline<K: Key, V, T: Time> {
    cache: LruCache<K, (T::Moment, V)>,
    time: T,
}

impl<K: Key, V: Value, T: Time> LruDeadline<K, V, T> {
    pub(crate) fn new(capacity: usize, time: T) -> Self {
        let capacity = NonZeroUsize::new(capacity).expect("a cache holds something");
        Self { cache: LruCache::new(capacity), time }
    }
}

impl<K: Key, V: Value, T: Time> Subject<K, V> for LruDeadline<K, V, T> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        let (deadline, value) = self.cache.get(key)?;
        if *deadline > self.time.now() {
            return Some(read(value));
        }
        self.cache.pop(key);
        None
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        self.cache.put(key, (self.time.deadline(ttl), value));
    }

    fn remove(&mut self, key: &K) {
        self.cache.pop(key);
    }
}
