//! A shard behind its lock.
//!
//! # Ground rules
//!
//! - A thread that holds the lock may touch the shard. Callers' code that runs under it: keys'
//!   `Eq`, values' `Clone`, and the closures that are given a value in place. None of it may
//!   call the cache, which [`reentrancy`](super::reentrancy) detects.
//! - What is removed from the shard reaches listeners and `Drop` once the lock is released.
//! - A thread holds the lock of one shard at a time.
//! - A call that sets or removes a key locks [for a
//!   write](LockedShard::lock_for_write), which overrules the key's load in flight.
//! - If the shard's next event becomes earlier than the reaper means to come, it is told so
//!   before the lock is released.

use std::any::type_name;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::load::waiters::SharedLoads;
use super::reentrancy::DebugScope;
use crate::reaper::handle::ReaperHandle;
use crate::shard::Shard;
use crate::shard::key_hash::KeyHash;
use crate::shim::{Mutex, MutexGuard};
use crate::time::tick::Moment;

/// What the lock protects; what every call needs stands first.
#[repr(C)]
pub(super) struct State<K, V> {
    /// The latest tick that a call has brought: time never goes back.
    latest: u64,
    pub(super) shard: Shard<K, V>,
    /// The tick at which the reaper means to come, or at which it is coming; zero if there is no
    /// reaper.
    scheduled: u64,
}

impl<K, V> State<K, V> {
    /// Returns the time, given a reading of the clock that may be older than another
    /// thread's.
    #[inline]
    pub(super) fn time(&mut self, reading: Moment) -> Moment {
        if reading.tick < self.latest {
            return Moment::start_of(self.latest);
        }
        self.latest = reading.tick;
        reading
    }

    /// Returns the tick, likewise.
    #[inline]
    pub(super) fn tick(&mut self, reading: Moment) -> u64 {
        self.time(reading).tick
    }
}

#[repr(C)]
pub(super) struct LockedShard<K, V> {
    state: Mutex<State<K, V>>,
    pub(super) loads: SharedLoads,
    /// The number under which the reaper knows the shard. Written before there is a handle.
    source: AtomicUsize,
}

/// What tells a cache from others: the address of its handle to the reaper, which
/// every lock has at hand.
#[inline]
pub(super) fn address_of_cache(reaper: &ReaperHandle) -> usize {
    std::ptr::from_ref(reaper) as usize
}

impl<K, V> LockedShard<K, V> {
    pub(super) fn new(shard: Shard<K, V>, now: u64, loads: SharedLoads, has_reaper: bool) -> Self {
        let scheduled = if has_reaper { u64::MAX } else { 0 };
        let state = Mutex::new(State { latest: now, shard, scheduled });
        Self { state, loads, source: AtomicUsize::new(0) }
    }

    /// Locks, for a call that leaves the wheel as it is: the reaper is to be told nothing.
    #[inline]
    pub(super) fn lock_for_read(&self, reaper: &ReaperHandle) -> ReadGuard<'_, K, V> {
        let scope = Self::debug_scope(reaper);
        ReadGuard { state: self.state.lock(), _scope: scope }
    }

    /// Locks, for a call that sets or removes a key: what a load in flight brings for it
    /// is out of date.
    #[inline(always)]
    pub(super) fn lock_for_write<'a>(
        &'a self,
        reaper: &'a ReaperHandle,
        hash: KeyHash,
    ) -> Guard<'a, K, V> {
        let guard = self.lock(reaper);
        self.loads.overrule(hash);
        guard
    }

    /// Locks, for a call that sets or removes no key for a caller.
    #[inline]
    pub(super) fn lock<'a>(&'a self, reaper: &'a ReaperHandle) -> Guard<'a, K, V> {
        let scope = Self::debug_scope(reaper);
        Guard { state: self.state.lock(), locked: self, reaper, _scope: scope }
    }

    /// [`lock`](Self::lock)s unless somebody holds the lock.
    pub(super) fn try_lock<'a>(&'a self, reaper: &'a ReaperHandle) -> Option<Guard<'a, K, V>> {
        let scope = Self::debug_scope(reaper);
        Some(Guard { state: self.state.try_lock()?, locked: self, reaper, _scope: scope })
    }

    #[inline]
    fn debug_scope(reaper: &ReaperHandle) -> DebugScope {
        DebugScope::new(address_of_cache(reaper), type_name::<(K, V)>())
    }

    /// Notes the number under which the reaper knows the shard.
    pub(super) fn set_source(&self, source: usize) {
        self.source.store(source, Relaxed);
    }

    pub(super) fn source(&self) -> usize {
        self.source.load(Relaxed)
    }
}

/// The lock, held to look.
pub(super) struct ReadGuard<'a, K, V> {
    state: MutexGuard<'a, State<K, V>>,
    _scope: DebugScope,
}

/// The lock, held to change the shard. Before its release, the reaper is told of an earlier event.
pub(super) struct Guard<'a, K, V> {
    state: MutexGuard<'a, State<K, V>>,
    locked: &'a LockedShard<K, V>,
    reaper: &'a ReaperHandle,
    _scope: DebugScope,
}

impl<'a, K, V> Guard<'a, K, V> {
    /// The loads in flight of this shard.
    #[inline]
    pub(super) fn loads(&self) -> &'a SharedLoads {
        &self.locked.loads
    }

    /// Tells the reaper, which would come too late for the next event. The shard's lock is still
    /// held: the queue's is taken within it, and never the other way round.
    #[cold]
    #[inline(never)]
    fn schedule(&mut self, next_event: u64) {
        self.state.scheduled = next_event;
        self.reaper.schedule(self.locked.source(), next_event);
    }

    /// For the reaper, at the end of a visit: returns the tick of its next one, which it puts into
    /// its queue before the lock is released.
    pub(super) fn next_visit(&mut self) -> u64 {
        self.state.scheduled = self.state.shard.next_event();
        self.state.scheduled
    }
}

impl<K, V> Drop for Guard<'_, K, V> {
    #[inline]
    fn drop(&mut self) {
        let next_event = self.state.shard.next_event();
        if next_event < self.state.scheduled {
            self.schedule(next_event);
        }
    }
}

macro_rules! deref_to_state {
    ($guard:ident) => {
        impl<K, V> Deref for $guard<'_, K, V> {
            type Target = State<K, V>;

            #[inline]
            fn deref(&self) -> &State<K, V> {
                &self.state
            }
        }

        impl<K, V> DerefMut for $guard<'_, K, V> {
            #[inline]
            fn deref_mut(&mut self) -> &mut State<K, V> {
                &mut self.state
            }
        }
    };
}
deref_to_state!(ReadGuard);
deref_to_state!(Guard);
