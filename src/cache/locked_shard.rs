//! A shard behind its lock.
//!
//! # Ground rules
//!
//! - Threads that look share the lock, and one that changes anything holds it alone. Callers' code
//!   that runs under it: keys' `Eq`, values' `Clone`, and the closures that are given a value in
//!   place. None of it may call the cache, which [`reentrancy`](super::reentrancy) detects.
//! - What a lookup writes is atomic: the latest tick here, an entry's count of uses, and what lies
//!   beside the shards, the [access counters](super::access_counters).
//! - What is removed from the shard reaches listeners and `Drop` once the lock is released.
//! - A thread holds the lock of one shard at a time.
//! - A call that sets or removes a key locks [for a
//!   write](LockedShard::lock_for_write), which overrules the key's load in flight.
//! - If the shard's next event becomes earlier than the reaper means to come, it is told so
//!   before the lock is released.

use std::any::type_name;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use super::load::waiters::SharedLoads;
use super::reentrancy::DebugScope;
use crate::reaper::handle::ReaperHandle;
use crate::shard::Shard;
use crate::shard::key_hash::KeyHash;
use crate::sync::readers;
use crate::sync::shared_lock::{self, SharedLock};
use crate::time::tick::Moment;

/// What the lock protects; what every call needs stands first.
#[repr(C)]
pub(super) struct State<K, V> {
    /// The latest tick that a call has brought: time never goes back.
    latest: AtomicU64,
    pub(super) shard: Shard<K, V>,
    /// The tick at which the reaper means to come, or at which it is coming; zero if there is no
    /// reaper.
    scheduled: u64,
}

impl<K, V> State<K, V> {
    /// Returns the time, given a reading of the clock that may be older than another
    /// thread's; and whether it is later than any before.
    #[inline]
    fn advance(&self, reading: Moment) -> (Moment, bool) {
        let latest = self.latest.load(Relaxed);
        if reading.tick == latest {
            return (reading, false);
        }
        // Of several at a time, the latest stays.
        let latest = if reading.tick < latest { latest } else { self.raise(reading.tick) };
        if reading.tick < latest {
            return (Moment::start_of(latest), false);
        }
        (reading, true)
    }

    /// Returns what was the latest tick before.
    #[cold]
    fn raise(&self, tick: u64) -> u64 {
        self.latest.fetch_max(tick, Relaxed)
    }
}

#[repr(C)]
pub(super) struct LockedShard<K, V> {
    state: SharedLock<State<K, V>>,
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
        let state = State { latest: AtomicU64::new(now), shard, scheduled };
        Self { state: SharedLock::new(state), loads, source: AtomicUsize::new(0) }
    }

    /// Locks, for a call that only looks, together with others.
    #[inline]
    pub(super) fn lock_for_read(&self, reaper: &ReaperHandle) -> ReadGuard<'_, K, V> {
        let scope = Self::debug_scope(reaper);
        ReadGuard { state: self.state.read(), _scope: scope }
    }

    /// Locks, for a call that only looks, together with others; if that takes no more than a note.
    #[inline]
    pub(super) fn lock_biased(&self, reaper: &ReaperHandle) -> Option<BiasedGuard<'_, K, V>> {
        let scope = Self::debug_scope(reaper);
        Some(BiasedGuard { state: self.state.read_biased()?, _scope: scope })
    }

    /// Locks, for a call that only looks, together with others; where it could not
    /// [`lock_biased`](Self::lock_biased).
    #[inline]
    pub(super) fn lock_plain(&self, reaper: &ReaperHandle) -> ReadGuard<'_, K, V> {
        let scope = Self::debug_scope(reaper);
        ReadGuard { state: self.state.read_plain(), _scope: scope }
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
    #[inline(always)]
    pub(super) fn lock<'a>(&'a self, reaper: &'a ReaperHandle) -> Guard<'a, K, V> {
        let scope = Self::debug_scope(reaper);
        Guard { state: self.state.write(), locked: self, reaper, _scope: scope }
    }

    /// [`lock`](Self::lock)s unless somebody holds the lock.
    pub(super) fn try_lock<'a>(&'a self, reaper: &'a ReaperHandle) -> Option<Guard<'a, K, V>> {
        let scope = Self::debug_scope(reaper);
        Some(Guard { state: self.state.try_write()?, locked: self, reaper, _scope: scope })
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

    /// Tells the reaper, which would come too late for the next event. The shard's lock is still
    /// held: the queue's is taken within it, and never the other way round.
    ///
    /// Not a method of the guard, which need not be in memory then.
    #[cold]
    #[inline(never)]
    fn schedule(&self, reaper: &ReaperHandle, next_event: u64) {
        reaper.schedule(self.source(), next_event);
    }
}

/// A lock that is held, by whatever guard.
pub(super) trait Held<K, V>: Deref<Target = State<K, V>> {
    /// Returns the time, given a reading of the clock that may be older than another thread's.
    fn time(&self, reading: Moment) -> Moment;

    /// Returns the tick, likewise.
    #[inline]
    fn tick(&self, reading: Moment) -> u64 {
        self.time(reading).tick
    }
}

/// A lock that is held to look.
pub(super) trait HeldToLook<K, V>: Held<K, V> {
    /// Returns this thread's [number](readers::number), or one that no thread has.
    fn thread(&self) -> usize;
}

/// The lock, held to look, by a note.
pub(super) struct BiasedGuard<'a, K, V> {
    state: shared_lock::BiasedGuard<'a, State<K, V>>,
    _scope: DebugScope,
}

/// The lock, held to look.
pub(super) struct ReadGuard<'a, K, V> {
    state: shared_lock::ReadGuard<'a, State<K, V>>,
    _scope: DebugScope,
}

/// The lock, held to change the shard. Before its release, the reaper is told of an earlier event.
pub(super) struct Guard<'a, K, V> {
    state: shared_lock::WriteGuard<'a, State<K, V>>,
    locked: &'a LockedShard<K, V>,
    reaper: &'a ReaperHandle,
    _scope: DebugScope,
}

impl<'a, K, V> From<BiasedGuard<'a, K, V>> for ReadGuard<'a, K, V> {
    fn from(BiasedGuard { state, _scope }: BiasedGuard<'a, K, V>) -> Self {
        Self { state: shared_lock::ReadGuard::Biased(state), _scope }
    }
}

impl<K, V> HeldToLook<K, V> for BiasedGuard<'_, K, V> {
    #[inline]
    fn thread(&self) -> usize {
        self.state.reader_number()
    }
}

impl<K, V> HeldToLook<K, V> for ReadGuard<'_, K, V> {
    #[inline]
    fn thread(&self) -> usize {
        readers::number().unwrap_or(readers::THREADS_MAX)
    }
}

impl<K, V> Held<K, V> for BiasedGuard<'_, K, V> {
    #[inline]
    fn time(&self, reading: Moment) -> Moment {
        let (time, is_later) = self.state.advance(reading);
        if is_later {
            self.state.note_period();
        }
        time
    }
}

impl<K, V> Held<K, V> for ReadGuard<'_, K, V> {
    #[inline]
    fn time(&self, reading: Moment) -> Moment {
        self.state.advance(reading).0
    }
}

impl<K, V> Held<K, V> for Guard<'_, K, V> {
    #[inline]
    fn time(&self, reading: Moment) -> Moment {
        self.state.advance(reading).0
    }
}

impl<'a, K, V> Guard<'a, K, V> {
    /// The loads in flight of this shard.
    #[inline]
    pub(super) fn loads(&self) -> &'a SharedLoads {
        &self.locked.loads
    }

    /// For the reaper, at the end of a visit: returns the tick of its next one, which it puts into
    /// its queue before the lock is released.
    pub(super) fn next_visit(&mut self) -> u64 {
        self.state.scheduled = self.state.shard.next_event();
        self.state.scheduled
    }
}

impl<K, V> Drop for Guard<'_, K, V> {
    #[inline(always)]
    fn drop(&mut self) {
        let next_event = self.state.shard.next_event();
        if next_event < self.state.scheduled {
            self.state.scheduled = next_event;
            self.locked.schedule(self.reaper, next_event);
        }
    }
}

impl<K, V> Deref for BiasedGuard<'_, K, V> {
    type Target = State<K, V>;

    #[inline]
    fn deref(&self) -> &State<K, V> {
        &self.state
    }
}

impl<K, V> Deref for ReadGuard<'_, K, V> {
    type Target = State<K, V>;

    #[inline]
    fn deref(&self) -> &State<K, V> {
        &self.state
    }
}

impl<K, V> Deref for Guard<'_, K, V> {
    type Target = State<K, V>;

    #[inline]
    fn deref(&self) -> &State<K, V> {
        &self.state
    }
}

impl<K, V> DerefMut for Guard<'_, K, V> {
    #[inline]
    fn deref_mut(&mut self) -> &mut State<K, V> {
        &mut self.state
    }
}
