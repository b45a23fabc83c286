//! quick_cache with a deadline in the value, checked on read: what people build over it who need a
//! TTL. An entry found expired is removed; one that nobody reads stays.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

use super::time::Time;
use super::{Key, Subject, Value};

#[derive(Clone)]
pub(crate) struct QuickCacheDeadline<K, V, T: Time> {
    cache: Arc<Cache<K, (T::Moment, V)>>,
    time: T,
}

impl<K: Key, V: Value, T: Time> QuickCacheDeadline<K, V, T> {
    pub(crate) fn new(capacity: usize, time: T) -> Self {
        Self { cache: Arc::new(Cache::new(capacity)), time }
    }
}

impl<K: Key, V: Value, T: Time> Subject<K, V> for QuickCacheDeadline<K, V, T> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        let (deadline, value) = self.cache.get(key)?;
        let now = self.time.now();
        if deadline <= now {
            self.cache.remove_if(key, |(deadline, _)| *deadline <= now);
            return None;
        }
        Some(read(&value))
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        self.cache.insert(key, (self.time.deadline(ttl), value));
    }

    fn remove(&mut self, key: &K) {
        self.cache.remove(key);
    }
}
