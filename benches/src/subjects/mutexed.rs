//! A subject for one thread, behind a mutex: how such a cache is shared in practice.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Subject;

pub(crate) struct Mutexed<T>(Arc<Mutex<T>>);

impl<T> Mutexed<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self(Arc::new(Mutex::new(inner)))
    }
}

impl<T> Clone for Mutexed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V, T: Subject<K, V>> Subject<K, V> for Mutexed<T> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key, read)
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value, ttl);
    }

    fn remove(&mut self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
