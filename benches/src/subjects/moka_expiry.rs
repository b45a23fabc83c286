//! moka's synchronous cache with a TTL for each entry, through its `Expiry` trait.
//!
//! The TTL travels in the value, as in the example of moka's documentation.

use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;

use super::{Key, Subject, Value};

#[derive(Clone)]
pub(crate) struct MokaExpiry<K, V>(Cache<K, (Duration, V)>);

/// A value's TTL counts from the time it is put in, also where it replaces another one.
struct TtlOfValue;

impl<K, V> Expiry<K, (Duration, V)> for TtlOfValue {
    fn expire_after_create(&self, _: &K, value: &(Duration, V), _: Instant) -> Option<Duration> {
        Some(value.0)
    }

    fn expire_after_update(
        &self,
        _: &K,
        value: &(Duration, V),
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(value.0)
    }
}

impl<K: Key, V: Value> MokaExpiry<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Cache::builder().max_capacity(capacity as u64).expire_after(TtlOfValue).build())
    }
}

impl<K: Key, V: Value> Subject<K, V> for MokaExpiry<K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get(key).map(|(_, value)| read(&value))
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        self.0.insert(key, (ttl, value));
    }

    fn remove(&mut self, key: &K) {
        self.0.invalidate(key);
    }

    fn settle(&mut self) {
        self.0.run_pending_tasks();
    }
}
