//! A subject whatever its type, for where the time of a call does not matter.

use std::time::Duration;

use super::registry::{Visitor, Who};
use super::time::Time;
use super::{Key, Subject, Value};

pub(crate) type Boxed<K, V> = Box<dyn AnySubject<K, V>>;

/// As [`Subject`], whose methods are described there.
pub(crate) trait AnySubject<K, V> {
    fn get(&mut self, key: &K) -> Option<V>;
    fn insert(&mut self, key: K, value: V, ttl: Duration);
    fn remove(&mut self, key: &K);
    fn settle(&mut self);
}

impl<K, V: Clone, S: Subject<K, V>> AnySubject<K, V> for S {
    fn get(&mut self, key: &K) -> Option<V> {
        Subject::get(self, key, V::clone)
    }

    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        Subject::insert(self, key, value, ttl);
    }

    fn remove(&mut self, key: &K) {
        Subject::remove(self, key);
    }

    fn settle(&mut self) {
        Subject::settle(self);
    }
}

impl Who {
    /// An empty one, for one thread.
    pub(crate) fn boxed<K: Key, V: Value>(
        self,
        capacity: usize,
        ttl: Duration,
        time: &impl Time,
    ) -> Boxed<K, V> {
        self.visit(capacity, ttl, time, Boxing)
    }
}

struct Boxing;

impl<K, V: Clone> Visitor<K, V> for Boxing {
    type Output = Boxed<K, V>;

    fn single(self, subject: impl Subject<K, V> + 'static) -> Self::Output {
        Box::new(subject)
    }
}
