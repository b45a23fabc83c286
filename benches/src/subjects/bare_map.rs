//! One hashbrown map: what no cache for one thread can pass.

use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{Key, Subject, Value};

pub(crate) struct BareMap<K, V>(HashMap<K, V, RandomState>);

impl<K: Key, V: Value> BareMap<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(HashMap::with_capacity_and_hasher(capacity, RandomState::default()))
    }
}

impl<K: Key, V: Value> Subject<K, V> for BareMap<K, V> {
    #[inline]
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.get(key).map(read)
    }

    #[inline]
    fn insert(&mut self, key: K, value: V, _ttl: Duration) {
        self.0.insert(key, value);
    }

    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }
}
