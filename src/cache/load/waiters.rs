//! The loads of a shard behind a lock of their own: callers of other keys never
//! meet it, and a load can end wherever its future is dropped, even within a
//! closure that runs under the shard's lock.
//!
//! # Ground rules
//!
//! - Whoever holds the shard's lock may take this one, never the other way round.
//! - No callers' code runs under it, wakers' included, and nobody sleeps holding
//!   the shard's lock.
//! - A load begins, and what it brings is stored, under both locks: so a key that
//!   is set or removed under the shard's lock overrules every load that began
//!   before.

#[cfg(feature = "async")]
use std::task::Waker;

use super::in_flight::{Loader, Loads, Turn};
use crate::panic::FirstPanic;
use crate::shard::key_hash::KeyHash;
use crate::shim::{AtomicBool, Condvar, Mutex, Ordering};

#[derive(Debug, Default)]
struct Table {
    loads: Loads,
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
    /// Whether there are any. Written under the table's lock; whoever holds the
    /// shard's lock sees at least the loads that began under it.
    is_busy: AtomicBool,
}

impl SharedLoads {
    /// What tells it from those of other shards and caches.
    pub(in crate::cache) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Takes the turn to load a key, if nobody has it. The caller holds the
    /// shard's lock.
    ///
    /// # Panics
    ///
    /// If this thread is loading the key already.
    pub(in crate::cache) fn turn(&self, hash: KeyHash, loader: Loader) -> Turn {
        let mut table = self.table.lock();
        let turn = table.loads.turn(hash, loader);
        self.is_busy.store(true, Ordering::Relaxed);
        turn
    }

    /// The key is set or removed by a caller, who holds the shard's lock.
    #[inline]
    pub(in crate::cache) fn overrule(&self, hash: KeyHash) {
        if self.is_busy.load(Ordering::Relaxed) {
            self.table.lock().loads.overrule(hash);
        }
    }

    /// The same of all keys.
    pub(in crate::cache) fn overrule_all(&self) {
        if self.is_busy.load(Ordering::Relaxed) {
            self.table.lock().loads.overrule_all();
        }
    }

    /// Waits until a load has ended, if one of that key is still in flight. Others
    /// may end it, too: the caller looks again.
    pub(in crate::cache) fn wait(&self, hash: KeyHash) {
        let table = self.table.lock();
        if table.loads.is_loading(hash) {
            drop(self.ended.wait(table));
        }
    }

    /// Ends a load. Threads that wait for it go on, futures when they are woken.
    pub(in crate::cache) fn end(&self, hash: KeyHash, loader: Loader) -> Ended {
        let mut table = self.table.lock();
        let is_wanted = table.loads.end(hash, loader);
        self.is_busy.store(!table.loads.is_empty(), Ordering::Relaxed);
        let ended = Ended {
            is_wanted,
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
    /// Whether what it brings is to be stored: nobody has set or removed the key.
    pub(in crate::cache) is_wanted: bool,
    #[cfg(feature = "async")]
    waiters: Vec<Waiter>,
}

impl Ended {
    /// Wakes the futures that wait for it. Wakers are callers' code: no lock is
    /// held, and one that panics keeps nobody asleep.
    #[cfg_attr(not(feature = "async"), expect(unused_variables, clippy::unused_self))]
    pub(in crate::cache) fn wake(self, panics: &mut FirstPanic) {
        #[cfg(feature = "async")]
        for waiter in self.waiters {
            panics.catch(|| waiter.waker.wake());
        }
    }
}

/// The wait of one future for one load; its waker goes with it.
#[cfg(feature = "async")]
pub(in crate::cache) struct Wait<'a> {
    loads: &'a SharedLoads,
    hash: KeyHash,
    number: Option<u64>,
}

#[cfg(feature = "async")]
impl<'a> Wait<'a> {
    pub(in crate::cache) fn new(loads: &'a SharedLoads, hash: KeyHash) -> Self {
        Self { loads, hash, number: None }
    }

    /// Whether the load has ended; if not, the waker is kept in place of the one
    /// before.
    pub(in crate::cache) fn is_over(&mut self, waker: &Waker) -> bool {
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
        let is_over = !table.loads.is_loading(self.hash);
        drop(table);
        drop(unused);
        is_over
    }

    fn position(&self, table: &Table) -> Option<usize> {
        let number = self.number?;
        table.waiters.iter().position(|waiter| waiter.number == number)
    }
}

#[cfg(feature = "async")]
impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut table = self.loads.table.lock();
        let waiter = self.position(&table).map(|position| table.waiters.swap_remove(position));
        drop(table);
        drop(waiter);
    }
}
