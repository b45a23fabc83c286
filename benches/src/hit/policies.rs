//! Textbook policies as marks for the hit ratio: of cached keys alone, without values, locks or
//! any thought of speed.

use std::time::Duration;

use super::list::List;
use crate::subjects::Subject;

/// First in, first out.
pub(crate) struct Fifo {
    capacity: usize,
    list: List,
}

impl Fifo {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, list: List::default() }
    }
}

/// Evicts what was used least recently.
pub(crate) struct Lru(Fifo);

impl Lru {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Fifo::new(capacity))
    }
}

/// SIEVE (Zhang et al., NSDI 2024): a hand goes from the oldest to the newest entry, spares those
/// that were used since it came by, and stays where it evicts.
pub(crate) struct Sieve {
    capacity: usize,
    list: List,
    used: Vec<bool>,
    hand: Option<u32>,
}

impl Sieve {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, list: List::default(), used: Vec::new(), hand: None }
    }
}

/// S3-FIFO (Yang et al., SOSP 2023): a tenth for newcomers, the rest for what is used again, and
/// a memory of evicted keys as long as the main queue.
pub(crate) struct S3Fifo {
    capacity: usize,
    small: List,
    main: List,
    ghost: List,
    uses: Vec<u8>,
}

impl S3Fifo {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            small: List::default(),
            main: List::default(),
            ghost: List::default(),
            uses: Vec::new(),
        }
    }

    fn small_target(&self) -> usize {
        (self.capacity / 10).max(1)
    }

    fn evict(&mut self) {
        if self.small.len() >= self.small_target() || self.main.len() == 0 {
            self.evict_from_small();
        } else {
            self.evict_from_main();
        }
    }

    fn evict_from_small(&mut self) {
        while let Some(key) = self.small.pop_oldest() {
            if self.uses[key as usize] > 1 {
                self.uses[key as usize] = 0;
                self.main.push(key);
                if self.main.len() > self.capacity - self.small_target() {
                    self.evict_from_main();
                    return;
                }
            } else {
                self.ghost.push(key);
                if self.ghost.len() > self.capacity - self.small_target() {
                    self.ghost.pop_oldest();
                }
                return;
            }
        }
    }

    fn evict_from_main(&mut self) {
        while let Some(key) = self.main.pop_oldest() {
            let uses = &mut self.uses[key as usize];
            if *uses == 0 {
                return;
            }
            *uses -= 1;
            self.main.push(key);
        }
    }
}

/// Keys of traces are small numbers.
fn number(key: u64) -> u32 {
    u32::try_from(key).expect("a trace numbers its keys")
}

/// The place of `key` in a vector that grows as keys come.
fn at<T: Clone + Default>(values: &mut Vec<T>, key: u32) -> &mut T {
    if values.len() <= key as usize {
        values.resize(key as usize + 1, T::default());
    }
    &mut values[key as usize]
}

impl Subject<u64, u64> for Fifo {
    fn get<R>(&mut self, key: &u64, read: impl FnOnce(&u64) -> R) -> Option<R> {
        self.list.contains(number(*key)).then(|| read(key))
    }

    fn insert(&mut self, key: u64, _value: u64, _ttl: Duration) {
        if self.list.len() == self.capacity {
            self.list.pop_oldest();
        }
        self.list.push(number(key));
    }

    fn remove(&mut self, key: &u64) {
        self.list.remove(number(*key));
    }
}

impl Subject<u64, u64> for Lru {
    fn get<R>(&mut self, key: &u64, read: impl FnOnce(&u64) -> R) -> Option<R> {
        let found = self.0.list.remove(number(*key));
        found.then(|| {
            self.0.list.push(number(*key));
            read(key)
        })
    }

    fn insert(&mut self, key: u64, value: u64, ttl: Duration) {
        self.0.insert(key, value, ttl);
    }

    fn remove(&mut self, key: &u64) {
        self.0.remove(key);
    }
}

impl Subject<u64, u64> for Sieve {
    fn get<R>(&mut self, key: &u64, read: impl FnOnce(&u64) -> R) -> Option<R> {
        self.list.contains(number(*key)).then(|| {
            *at(&mut self.used, number(*key)) = true;
            read(key)
        })
    }

    fn insert(&mut self, key: u64, _value: u64, _ttl: Duration) {
        if self.list.len() == self.capacity {
            let mut hand = self.hand.or(self.list.oldest());
            while let Some(candidate) = hand {
                hand = self.list.newer(candidate);
                if !std::mem::take(&mut self.used[candidate as usize]) {
                    self.hand = hand;
                    self.list.remove(candidate);
                    break;
                }
                hand = hand.or(self.list.oldest());
            }
        }
        *at(&mut self.used, number(key)) = false;
        self.list.push(number(key));
    }

    fn remove(&mut self, key: &u64) {
        let key = number(*key);
        if self.hand == Some(key) {
            self.hand = self.list.newer(key);
        }
        self.list.remove(key);
    }
}

impl Subject<u64, u64> for S3Fifo {
    fn get<R>(&mut self, key: &u64, read: impl FnOnce(&u64) -> R) -> Option<R> {
        let found = self.small.contains(number(*key)) || self.main.contains(number(*key));
        found.then(|| {
            let uses = &mut self.uses[*key as usize];
            *uses = (*uses + 1).min(3);
            read(key)
        })
    }

    fn insert(&mut self, key: u64, _value: u64, _ttl: Duration) {
        let key = number(key);
        if self.small.len() + self.main.len() == self.capacity {
            self.evict();
        }
        *at(&mut self.uses, key) = 0;
        if self.ghost.remove(key) { self.main.push(key) } else { self.small.push(key) }
    }

    fn remove(&mut self, key: &u64) {
        let key = number(*key);
        let _ = self.small.remove(key) || self.main.remove(key);
    }
}
