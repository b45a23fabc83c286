//! Expiry in simulated time for subjects that know only the system's clock.
//!
//! moka, mini-moka, stretto and ttl_cache cannot be given a clock, so a trace that spans hours
//! cannot be replayed through their own expiry. Here each entry is removed the moment its time is
//! up, which none of them does: it flatters them, if anything.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use super::Subject;
use super::boxed::Boxed;
use super::time::{SimulatedTime, Time};

pub(crate) struct Prompt {
    inner: Boxed<u64, u64>,
    time: SimulatedTime,
    deadlines: HashMap<u64, Duration>,
    /// With those of entries that were put in again since, which have another deadline.
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
}

impl Prompt {
    pub(crate) fn new(inner: Boxed<u64, u64>, time: SimulatedTime) -> Self {
        Self { inner, time, deadlines: HashMap::new(), queue: BinaryHeap::new() }
    }

    fn remove_due(&mut self) {
        let now = self.time.now();
        while let Some(&Reverse((deadline, key))) = self.queue.peek() {
            if deadline > now {
                break;
            }
            self.queue.pop();
            if self.deadlines.get(&key) == Some(&deadline) {
                self.deadlines.remove(&key);
                self.inner.remove(&key);
            }
        }
    }
}

impl Subject<u64, u64> for Prompt {
    fn get<R>(&mut self, key: &u64, read: impl FnOnce(&u64) -> R) -> Option<R> {
        self.remove_due();
        self.inner.get(key).map(|value| read(&value))
    }

    fn insert(&mut self, key: u64, value: u64, ttl: Duration) {
        self.remove_due();
        let deadline = self.time.deadline(ttl);
        self.deadlines.insert(key, deadline);
        self.queue.push(Reverse((deadline, key)));
        self.inner.insert(key, value, ttl);
    }

    fn remove(&mut self, key: &u64) {
        self.deadlines.remove(key);
        self.inner.remove(key);
    }

    fn settle(&mut self) {
        self.inner.settle();
    }
}
