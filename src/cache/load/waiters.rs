//! The table of loads in flight behind a lock of its own, and who waits for them.
//!
//! Callers of other keys never meet this lock, and a load can end wherever its future is
//! dropped, even within a closure that runs under the shard's lock.
//!
//! # Ground rules
//!
//! - Whoever holds the shard's lock may take this one, never the other way round.
//! - No callers' code runs under it, wakers included, and nobody blocks holding the shard's
//!   lock.
//! - A load begins, and its value is stored, under both locks: so a key that is set or
//!   removed under the shard's lock invalidates every load that began before.

#[cfg(feature = "async")]
use std::task::Waker;

use super::in_flight::{Claim, InFlight, Loader};
use crate::panic::FirstPanic;
use crate::shard::key_hash::KeyHash;
use crate::shim::{AtomicBool, Condvar, Mutex, Ordering};

#[derive(Debug, Default)]
struct Table {
    loads: InFlight,
    /// Futures that wait for a load.
    #[cfg(feature = "async")]
    waiters: Vec<Waiter>,
    /// The number of the next of them.
    #[cfg(feature = "async")]
    next_number: u64,
}

#[cfg(feature = "async")]
#[derive(Debug)]
struct Waiter {
    number: u64,
    hash: KeyHash,
    waker: Waker,
}

#[cfg(feature = "async")]
impl Table {
    fn take_waiters(&mut self, hash: KeyHash) -> Vec<Waiter> {
        let mut taken = Vec::new();
        while let Some(position) = self.waiters.iter().position(|waiter| waiter.hash == hash) {
            taken.push(self.waiters.swap_remove(position));
        }
        taken
    }
}

#[derive(Debug, Default)]
pub(in crate::cache) struct SharedLoads {
    table: Mutex<Table>,
    /// A load has ended.
    ended: Condvar,
    /// Whether any is in flight. Written under the table's lock; whoever holds the shard's
    /// lock sees at least the loads that began under it.
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

    /// Invalidates the load of a key that a caller, who holds the shard's lock, sets or
    /// removes.
    #[inline]
    pub(in crate::cache) fn invalidate(&self, hash: KeyHash) {
        if self.is_busy.load(Ordering::Relaxed) {
            self.table.lock().loads.invalidate(hash);
        }
    }

    /// Invalidates the loads of all keys.
    pub(in crate::cache) fn invalidate_all(&self) {
        if self.is_busy.load(Ordering::Relaxed) {
            self.table.lock().loads.invalidate_all();
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

    /// Ends a load and wakes the threads that wait for it. Futures are woken by
    /// [`Ended::wake`].
    pub(in crate::cache) fn end(&self, hash: KeyHash, loader: Loader) -> Ended {
        let mut table = self.table.lock();
        let is_valid = table.loads.end(hash, loader);
        self.is_busy.store(!table.loads.is_empty(), Ordering::Relaxed);
        let ended = Ended {
            is_valid,
            #[cfg(feature = "async")]
            waiters: table.take_waiters(hash),
        };
        drop(table);
        self.ended.notify_all();
        ended
    }

    #[cfg(any(test, fuzzing))]
    pub(in crate::cache) fn assert_idle(&self) {
        let table = self.table.lock();
        assert!(table.loads.is_empty(), "{table:?}");
        assert!(!self.is_busy.load(Ordering::Relaxed));
        #[cfg(feature = "async")]
        assert!(table.waiters.is_empty(), "{table:?}");
    }
}

/// A load that has ended.
#[must_use]
pub(in crate::cache) struct Ended {
    /// Whether its value is to be stored: nobody has set or removed the key.
    pub(in crate::cache) is_valid: bool,
    #[cfg(feature = "async")]
    waiters: Vec<Waiter>,
}

impl Ended {
    /// Wakes the futures that wait for it. Wakers are callers' code: no lock is held, and one
    /// that panics does not keep the others from being woken.
    #[cfg_attr(not(feature = "async"), expect(unused_variables, clippy::unused_self))]
    pub(in crate::cache) fn wake(self, panics: &mut FirstPanic) {
        #[cfg(feature = "async")]
        for waiter in self.waiters {
            panics.catch(|| waiter.waker.wake());
        }
    }
}

/// One future's wait for one load. Drops its waker with it.
#[cfg(feature = "async")]
pub(in crate::cache) struct Waiting<'a> {
    loads: &'a SharedLoads,
    hash: KeyHash,
    number: Option<u64>,
}

#[cfg(feature = "async")]
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
        let position = self.position(&table);
        let unused = if !table.loads.is_loading(self.hash) {
            position.map(|position| table.waiters.swap_remove(position).waker)
        } else if let Some(position) = position {
            Some(std::mem::replace(&mut table.waiters[position].waker, waker))
        } else {
            let number = table.next_number;
            table.next_number += 1;
            self.number = Some(number);
            table.waiters.push(Waiter { number, hash: self.hash, waker });
            None
        };
        let has_ended = !table.loads.is_loading(self.hash);
        drop(table);
        drop(unused);
        has_ended
    }

    fn position(&self, table: &Table) -> Option<usize> {
        let number = self.number?;
        table.waiters.iter().position(|waiter| waiter.number == number)
    }
}

#[cfg(feature = "async")]
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut table = self.loads.table.lock();
        let waiter = self.position(&table).map(|position| table.waiters.swap_remove(position));
        drop(table);
        drop(waiter);
    }
}
