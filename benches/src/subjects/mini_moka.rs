//! mini-moka's synchronous cache with one `time_to_live` for all entries.

use std::time::Duration;

use mini_moka::sync::{Cache, ConcurrentCacheExt};

use super::{Key, Subject, Value};

#[derive(Clone)]
pub(crate) struct MiniMoka<K, V>(Cache<K, V>);

impl<K: Key, V: Value> MiniMoka<K, V> {
    pub(crate) fn new(capacity: usize, ttl: Duration) -> Self {
        Self(Cache::builder().max_capacity(capacity as u64).time_to_live(ttl).build())
    }
}

impl<K: Key, V: Value> Subject<K, V> for MiniMoka<K, V> {
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

    fn settle(&mut self) {
        self.0.sync();
    }
}
