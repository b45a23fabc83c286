//! The table of loads in flight behind a lock of its own, and the callers that wait.
//!
//! Callers of other keys never meet this lock, and a load can end wherever its future is
//! dropped, even within a closure that runs under the shard's lock.
//!
//! # Ground rules
//!
//! - This lock may be taken while the shard's is held, never the other way round.
//! - No callers' code runs under it, wakers included, and no thread waits for a load while it holds the
//!   shard's lock.
//! - A load begins, and its value is stored, under both locks: so a key that is set or
//!   removed under the shard's lock invalidates every load that began before.

use std::task::Waker;

use super::in_flight::{Claim, InFlight, Loader};
use crate::panic::FirstPanic;
use crate::shard::key_hash::KeyHash;
use crate::shim::{AtomicBool, Condvar, Mutex, Ordering};

#[derive(Debug, Default)]
struct Table {
    loads: InFlight,
    /// Futures that wait for a load. Allocated by the first one that does.
    waiters: Option<Box<Waiters>>,
}

#[derive(Debug, Default)]
struct Waiters {
    list: Vec<Waiter>,
    /// The number of the next of them.
    next_number: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    hash: KeyHash,
    waker: Waker,
}

impl Table {
    /// Removes the first waiter that `is_it` picks.
    fn remove_waiter(&mut self, is_it: impl FnMut(&Waiter) -> bool) -> Option<Waiter> {
        let list = &mut self.waiters.as_mut()?.list;
        let position = list.iter().position(is_it)?;
        Some(list.swap_remove(position))
    }
}

#[derive(Debug, Default)]
pub(in crate::cache) struct SharedLoads {
    table: Mutex<Table>,
    /// A load has ended.
    ended: Condvar,
    /// Whether any is in flight. Written under the table's lock; a thread that holds
    /// the shard's lock sees at least the loads that began under it.
    is_busy: AtomicBool,
}

impl SharedLoads {
    /// What tells this table from those of other shards and caches.
    pub(in crate::cache) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Claims the load of a key. The caller holds the shard's lock.
    ///
    /// # Panics
    ///
    /// If this thread is loading the key already.
    pub(in crate::cache) fn claim(&self, hash: KeyHash, loader: Loader) -> Claim {
        let mut table = self.table.lock();
        let claim = table.loads.claim(hash, loader);
        self.is_busy.store(true, Ordering::Relaxed);
        claim
    }

    /// Invalidates the load of a key, or all loads. The caller holds the shard's lock and sets
    /// or removes the key, or any key.
    #[inline]
    pub(in crate::cache) fn invalidate(&self, hash: Option<KeyHash>) {
        if self.is_busy.load(Ordering::Relaxed) {
            self.table.lock().loads.invalidate(hash);
        }
    }

    /// Blocks until a load has ended, if one of that key is still in flight. It may have been
    /// another one: the caller looks again.
    pub(in crate::cache) fn wait(&self, hash: KeyHash) {
        let table = self.table.lock();
        if table.loads.is_loading(hash) {
            drop(self.ended.wait(table));
        }
    }

    /// Ends a load and wakes those that wait for it. Returns whether its value is to be
    /// stored: the key was not set or removed meanwhile.
    ///
    /// Threads are woken at once, futures when the result is given to [`Ended::wake`].
    pub(in crate::cache) fn end(&self, hash: KeyHash, loader: Loader) -> Ended {
        let mut table = self.table.lock();
        let is_valid = table.loads.end(hash, loader);
        self.is_busy.store(!table.loads.is_empty(), Ordering::Relaxed);
        let waiters = std::iter::from_fn(|| table.remove_waiter(|waiter| waiter.hash == hash));
        let waiters = waiters.collect();
        drop(table);
        self.ended.notify_all();
        Ended { is_valid, waiters }
    }

    #[cfg(any(test, fuzzing))]
    pub(in crate::cache) fn assert_idle(&self) {
        let table = self.table.lock();
        assert!(table.loads.is_empty(), "{table:?}");
        assert!(!self.is_busy.load(Ordering::Relaxed));
        assert!(table.waiters.as_ref().is_none_or(|it| it.list.is_empty()), "{table:?}");
    }
}

/// A load that has ended.
#[must_use]
pub(in crate::cache) struct Ended {
    /// Whether its value is to be stored: the key was not set or removed meanwhile.
    pub(in crate::cache) is_valid: bool,
    waiters: Vec<Waiter>,
}

impl Ended {
    /// Wakes the futures that wait for it. Wakers are callers' code: no lock is held, and one
    /// that panics does not keep the others from being woken.
    pub(in crate::cache) fn wake(self, panics: &mut FirstPanic) {
        for waiter in self.waiters {
            panics.catch(|| waiter.waker.wake());
        }
    }
}

/// One future's wait for one load. Drops its waker with it.
pub(in crate::cache) struct Waiting<'a> {
    loads: &'a SharedLoads,
    hash: KeyHash,
    number: Option<u64>,
}

#[cfg_attr(not(feature = "async"), expect(dead_code))]
impl<'a> Waiting<'a> {
    pub(in crate::cache) fn new(loads: &'a SharedLoads, hash: KeyHash) -> Self {
        Self { loads, hash, number: None }
    }

    /// Returns whether the load has ended. If not, keeps the waker instead of the one
    /// before.
    pub(in crate::cache) fn poll_ended(&mut self, waker: &Waker) -> bool {
        // Callers' code: no lock is held while it runs.
        let waker = waker.clone();
        let mut table = self.loads.table.lock();
        let unused = table.remove_waiter(|waiter| Some(waiter.number) == self.number);
        let has_ended = !table.loads.is_loading(self.hash);
        if !has_ended {
            let waiters = table.waiters.get_or_insert_default();
            let number = *self.number.get_or_insert_with(|| {
                waiters.next_number += 1;
                waiters.next_number
            });
            waiters.list.push(Waiter { number, hash: self.hash, waker });
        }
        drop(table);
        drop(unused);
        has_ended
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut table = self.loads.table.lock();
        let waiter = table.remove_waiter(|waiter| Some(waiter.number) == self.number);
        drop(table);
        drop(waiter);
    }
}
