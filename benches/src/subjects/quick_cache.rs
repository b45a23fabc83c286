//! quick_cache's synchronous cache as it comes: it does not expire entries. The fastest peer, and
//! so the mark for speed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

use super::{Key, Subject, Value};

/// A reference-counted handle, since the cache itself is none.
#[derive(Clone)]
pub(crate) struct QuickCache<K, V>(Arc<Cache<K, V>>);

impl<K: Key, V: Value> QuickCache<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Arc::new(Cache::new(capacity)))
    }
}

impl<K: Key, V: Value> Subject<K, V> for QuickCache<K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get(key).map(|value| read(&value))
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, _ttl: Duration) {
        self.0.insert(key, value);
    }

    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }

    #[inline]
    fn get_or_insert_with(&mut self, key: &K, _ttl: Duration, make: impl FnOnce() -> V) -> V {
        let Ok(value) = self.0.get_or_insert_with(key, || Ok::<V, Infallible>(make()));
        value
    }
}
