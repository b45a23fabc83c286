//! No cache: it holds nothing and does nothing, which leaves the machine's own noise.

use std::hint::black_box;
use std::time::Duration;

use super::Subject;

pub(crate) struct Nothing;

impl<K, V> Subject<K, V> for Nothing {
    fn get<R>(&mut self, key: &K, _read: impl FnOnce(&V) -> R) -> Option<R> {
        black_box(key);
        None
    }

    fn insert(&mut self, key: K, _value: V, _ttl: Duration) {
        black_box(key);
    }

    fn remove(&mut self, _key: &K) {}
}
