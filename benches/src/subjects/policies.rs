//! Textbook policies as marks for the hit ratio: without locks, expiry or any thought of speed.

use std::time::Duration;

use hashlink::LinkedHashSet;
use hashlink::linked_hash_map::{Entry, LinkedHashMap};

use super::{Key, Subject, Value};

/// First in, first out.
pub(crate) struct Fifo<K, V> {
    capacity: usize,
    /// The oldest one first, as in all lists here.
    entries: LinkedHashMap<K, V>,
}

/// Evicts what was used least recently.
pub(crate) struct Lru<K, V>(Fifo<K, V>);

/// SIEVE (Zhang et al., NSDI 2024): a hand goes from the oldest to the newest entry, spares those
/// that were used since it came by, and stays where it evicts.
pub(crate) struct Sieve<K, V> {
    capacity: usize,
    /// And whether they were used.
    entries: LinkedHashMap<K, (V, bool)>,
    hand: Option<K>,
}

/// S3-FIFO (Yang et al., SOSP 2023): a tenth for newcomers, the rest for what is used again, and
/// a memory of evicted keys as long as the main queue.
pub(crate) struct S3Fifo<K, V> {
    capacity: usize,
    /// And how often they were used, up to three times.
    small: LinkedHashMap<K, (V, u8)>,
    main: LinkedHashMap<K, (V, u8)>,
    ghost: LinkedHashSet<K>,
}

impl<K: Key, V> Fifo<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, entries: LinkedHashMap::new() }
    }
}

impl<K: Key, V> Lru<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Fifo::new(capacity))
    }
}

impl<K: Key, V> Sieve<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, entries: LinkedHashMap::new(), hand: None }
    }

    /// The key that came right after another one.
    fn newer(&mut self, key: K) -> Option<K> {
        let Entry::Occupied(entry) = self.entries.entry(key) else { return None };
        let mut cursor = entry.cursor_mut();
        cursor.move_next();
        cursor.current().map(|(key, _)| key.clone())
    }

    fn evict(&mut self) {
        loop {
            let oldest = || self.entries.front().map(|(key, _)| key.clone());
            let candidate = self.hand.take().or_else(oldest).expect("something is there to evict");
            self.hand = self.newer(candidate.clone());
            if !std::mem::take(&mut self.entries[&candidate].1) {
                self.entries.remove(&candidate);
                return;
            }
        }
    }
}

impl<K: Key, V> S3Fifo<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        let (small, main) = (LinkedHashMap::new(), LinkedHashMap::new());
        Self { capacity, small, main, ghost: LinkedHashSet::new() }
    }

    fn small_target(&self) -> usize {
        (self.capacity / 10).max(1)
    }

    fn evict(&mut self) {
        if self.small.len() >= self.small_target() || self.main.is_empty() {
            self.evict_from_small();
        } else {
            self.evict_from_main();
        }
    }

    fn evict_from_small(&mut self) {
        while let Some((key, (value, uses))) = self.small.pop_front() {
            if uses > 1 {
                self.main.insert(key, (value, 0));
                if self.main.len() > self.capacity - self.small_target() {
                    self.evict_from_main();
                    return;
                }
            } else {
                self.ghost.insert(key);
                if self.ghost.len() > self.capacity - self.small_target() {
                    self.ghost.pop_front();
                }
                return;
            }
        }
    }

    fn evict_from_main(&mut self) {
        while let Some((key, (value, uses))) = self.main.pop_front() {
            if uses == 0 {
                return;
            }
            self.main.insert(key, (value, uses - 1));
        }
    }
}

impl<K: Key, V: Value> Subject<K, V> for Fifo<K, V> {
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.entries.get(key).map(read)
    }

    fn insert(&mut self, key: K, value: V, _ttl: Duration) {
        self.entries.remove(&key);
        if self.entries.len() == self.capacity {
            self.entries.pop_front();
        }
        self.entries.insert(key, value);
    }

    fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }
}

impl<K: Key, V: Value> Subject<K, V> for Lru<K, V> {
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        self.0.entries.to_back(key).map(|value| read(value))
    }

    fn insert(&mut self, key: K, value: V, ttl: Duration) {
        self.0.insert(key, value, ttl);
    }

    fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }
}

impl<K: Key, V: Value> Subject<K, V> for Sieve<K, V> {
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        let (value, used) = self.entries.get_mut(key)?;
        *used = true;
        Some(read(value))
    }

    fn insert(&mut self, key: K, value: V, _ttl: Duration) {
        self.remove(&key);
        if self.entries.len() == self.capacity {
            self.evict();
        }
        self.entries.insert(key, (value, false));
    }

    fn remove(&mut self, key: &K) {
        if self.hand.as_ref() == Some(key) {
            self.hand = self.newer(key.clone());
        }
        self.entries.remove(key);
    }
}

impl<K: Key, V: Value> Subject<K, V> for S3Fifo<K, V> {
    fn get<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
        let (value, uses) = self.small.get_mut(key).or_else(|| self.main.get_mut(key))?;
        *uses = (*uses + 1).min(3);
        Some(read(value))
    }

    fn insert(&mut self, key: K, value: V, _ttl: Duration) {
        self.remove(&key);
        if self.small.len() + self.main.len() == self.capacity {
            self.evict();
        }
        if self.ghost.remove(&key) {
            self.main.insert(key, (value, 0));
        } else {
            self.small.insert(key, (value, 0));
        }
    }

    fn remove(&mut self, key: &K) {
        let _ = self.small.remove(key).or_else(|| self.main.remove(key));
    }
}
