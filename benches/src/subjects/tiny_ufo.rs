//! TinyUFO as it comes: S3-FIFO's queues, and TinyLFU to admit. It does not expire entries.
//!
//! Its lookups take no lock. Of its two tables this is the one that `new` makes, the faster one;
//! `new_compact` makes the smaller one. `put` may refuse what is asked for less often than what it
//! would evict, as its policy wants; `force_put` may not. Every entry weighs 1. It knows a key by
//! its hash alone, so that two keys of one hash are one to it.

use std::sync::Arc;
use std::time::Duration;

use super::{Key, Subject, Value};

/// A reference-counted handle, since the cache itself is none.
#[derive(Clone)]
pub(crate) struct TinyUfo<K, V: Value>(Arc<tinyufo::TinyUfo<K, V>>);

impl<K: Key, V: Value> TinyUfo<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Arc::new(tinyufo::TinyUfo::new(capacity, capacity)))
    }
}

impl<K: Key, V: Value> Subject<K, V> for TinyUfo<K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get(key).map(|value| read(&value))
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, _ttl: Duration) {
        self.0.put(key, value, 1);
    }

    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }
}
