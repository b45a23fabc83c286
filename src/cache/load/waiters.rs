//! The table of loads in flight behind a lock of its own, and the callers that wait.
//!
//! Callers of other keys never meet this lock, and a load can end wherever its future is
//! dropped, even within a closure that runs under the shard's lock.
//!
//! # Ground rules
//!
//! - This lock may be taken while the shard's is held, never the other way round.
//! - No callers' code runs under it, wakers included, and no thread waits for a load while it
//!   holds the shard's lock.
//! - A load begins, and its value is stored, under both locks: so a key that is set or
//!   removed under the shard's lock invalidates every load that began before.

use std::task::Waker;

use super::in_flight::{Claim, End, InFlight, LoadId, Loader};
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
    /// The load that it waits for.
    load: LoadId,
    waker: Waker,
}

impl Table {
    fn remove_waiter(&mut self, number: Option<u64>) -> Option<Waiter> {
        let number = number?;
        let list = &mut self.waiters.as_mut()?.list;
        let position = list.iter().position(|waiter| waiter.number == number)?;
        Some(list.swap_remove(position))
    }

    /// Removes the waiters whose load has ended: those of one load, and in a forked child
    /// those of its parent's loads.
    fn remove_waiters_of_ended(&mut self) -> Vec<Waiter> {
        let mut removed = Vec::new();
        let Some(waiters) = &mut self.waiters else { return removed };
        let mut position = 0;
        while let Some(waiter) = waiters.list.get(position) {
            if self.loads.end_of(waiter.load).is_some() {
                removed.push(waiters.list.swap_remove(position));
            } else {
                position += 1;
            }
        }
        removed
    }
}

#[derive(Debug, Default)]
pub(in crate::cache) struct SharedLoads {
    table: Mutex<Table>,
    /// A load has ended.
    ended: Condvar,
    /// Whether any is in flight. Written under the table's lock; a thread that holds the
    /// shard's lock sees at least the loads that began under it.
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

    /// Blocks until the load has ended that this caller follows. Returns how.
    pub(in crate::cache) fn wait(&self, load: LoadId) -> End {
        let mut table = self.table.lock();
        loop {
            if let Some(end) = table.loads.end_of(load) {
                table.loads.leave(load);
                return end;
            }
            table = self.ended.wait(table);
        }
    }

    /// Ends a load and wakes the threads that wait for it. Futures are woken by
    /// [`Ended::wake`].
    pub(in crate::cache) fn end(&self, load: LoadId, end: End) -> Ended {
        let mut table = self.table.lock();
        let is_valid = table.loads.end(load, end);
        self.is_busy.store(!table.loads.is_idle(), Ordering::Relaxed);
        let waiters = table.remove_waiters_of_ended();
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

/// One future's wait for the load that it follows. Drops its waker with it.
pub(in crate::cache) struct Waiting<'a> {
    loads: &'a SharedLoads,
    load: LoadId,
    number: Option<u64>,
}

#[cfg_attr(not(feature = "async"), expect(dead_code))]
impl<'a> Waiting<'a> {
    pub(in crate::cache) fn new(loads: &'a SharedLoads, load: LoadId) -> Self {
        Self { loads, load, number: None }
    }

    /// Returns how the load ended. If it is in flight, keeps the waker instead of the one
    /// before.
    pub(in crate::cache) fn poll_end(&mut self, waker: &Waker) -> Option<End> {
        // Callers' code: no lock is held while it runs.
        let waker = waker.clone();
        let mut table = self.loads.table.lock();
        let unused = table.remove_waiter(self.number);
        let end = table.loads.end_of(self.load);
        if end.is_none() {
            let waiters = table.waiters.get_or_insert_default();
            let number = *self.number.get_or_insert_with(|| {
                waiters.next_number += 1;
                waiters.next_number
            });
            waiters.list.push(Waiter { number, load: self.load, waker });
        }
        drop(table);
        drop(unused);
        end
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut table = self.loads.table.lock();
        let waiter = table.remove_waiter(self.number);
        table.loads.leave(self.load);
        drop(table);
        // A waker that panics when it is dropped may be why this is.
        let mut panics = FirstPanic::default();
        panics.drop(waiter);
        panics.resume_unless_unwinding();
    }
}
