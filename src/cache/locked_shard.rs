//! A shard behind its lock.
//!
//! # Ground rules
//!
//! - Whoever holds the lock may touch the shard. Callers' code that runs under
//!   it: keys' `Eq`, values' `Clone`, and the closures that are given a value in
//!   place. None of it may call the cache, which [`reentrancy`](crate::cache::reentrancy)
//!   catches.
//! - What leaves the shard is handed out once the lock is released.
//! - A thread holds the lock of one shard at a time.
//! - `next_event` is written under the lock and read without it, by the reaper.

use std::ops::{Deref, DerefMut};

use super::load::waiters::SharedLoads;
use crate::reaper::parker::Alarm;
use crate::shard::Shard;
use crate::shard::key_hash::KeyHash;
use crate::shim::{AtomicU64, Mutex, MutexGuard, Ordering};
use crate::time::tick::{Moment, Timebase};

/// What the lock protects; what every call needs stands first.
#[repr(C)]
pub(super) struct State<K, V> {
    /// The latest tick that a call has brought: time never goes back.
    latest: u64,
    pub(super) shard: Shard<K, V>,
    /// Keys set or removed by callers so far: what a load that there was no room
    /// to note goes by.
    pub(super) overrulings: u64,
}

impl<K, V> State<K, V> {
    /// The time, by a reading of the clock that may be older than another
    /// thread's.
    #[inline]
    pub(super) fn time(&mut self, reading: Moment) -> Moment {
        if reading.tick < self.latest {
            return Moment::start_of(self.latest);
        }
        self.latest = reading.tick;
        reading
    }

    /// The tick that it is, likewise.
    #[inline]
    pub(super) fn tick(&mut self, reading: Moment) -> u64 {
        self.time(reading).tick
    }
}

#[repr(C)]
pub(super) struct SharedShard<K, V> {
    state: Mutex<State<K, V>>,
    pub(super) loads: SharedLoads,
    /// [`Shard::next_event`] as of the last release of the lock.
    next_event: AtomicU64,
}

/// Who is told when a shard's next event comes earlier.
pub(super) struct Bell {
    pub(super) alarm: Option<&'static Alarm>,
    pub(super) base: Timebase,
}

impl Bell {
    fn ring(&self, next_event: u64) {
        if let Some(alarm) = self.alarm {
            alarm.wake_before(self.base.nanos(next_event));
        }
    }
}

impl<K, V> SharedShard<K, V> {
    pub(super) fn new(shard: Shard<K, V>, now: u64) -> Self {
        Self {
            state: Mutex::new(State { shard, overrulings: 0, latest: now }),
            loads: SharedLoads::default(),
            next_event: AtomicU64::new(u64::MAX),
        }
    }

    #[inline]
    pub(super) fn lock<'a>(&'a self, bell: &'a Bell) -> Guard<'a, K, V> {
        Guard { state: self.state.lock(), shared: self, bell }
    }

    /// The lock, for a call that sets or removes one key.
    #[inline]
    pub(super) fn lock_to_set<'a>(&'a self, bell: &'a Bell, hash: KeyHash) -> Guard<'a, K, V> {
        let mut state = self.state.lock();
        self.overrule(&mut state, hash);
        Guard { state, shared: self, bell }
    }

    #[inline]
    fn overrule(&self, state: &mut State<K, V>, hash: KeyHash) {
        state.overrulings += 1;
        self.loads.overrule(hash);
    }

    /// The lock, for calls that leave the wheel as it is: there is nothing to
    /// publish.
    #[inline]
    pub(super) fn lock_to_look(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock()
    }

    /// The tick before which the shard has nothing to do.
    pub(super) fn next_event(&self) -> u64 {
        self.next_event.load(Ordering::Relaxed)
    }
}

/// The lock, held. Its release publishes the shard's next event.
pub(super) struct Guard<'a, K, V> {
    state: MutexGuard<'a, State<K, V>>,
    shared: &'a SharedShard<K, V>,
    bell: &'a Bell,
}

impl<K, V> Guard<'_, K, V> {
    /// The key is set or removed by a caller: what a load brings for it is out of
    /// date.
    #[inline]
    pub(super) fn overrule(&mut self, hash: KeyHash) {
        self.shared.overrule(&mut self.state, hash);
    }

    /// The same of every key.
    pub(super) fn overrule_all(&mut self) {
        self.overrulings += 1;
        self.shared.loads.overrule_all();
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

impl<K, V> Drop for Guard<'_, K, V> {
    #[inline]
    fn drop(&mut self) {
        let next_event = self.state.shard.next_event();
        if next_event != self.shared.next_event.load(Ordering::Relaxed) {
            self.publish(next_event);
        }
    }
}

impl<K, V> Guard<'_, K, V> {
    /// Tells the reaper, if it would come too late for the next event. The shard's lock
    /// is still held: the alarm's is taken within it, and nobody who holds that one takes
    /// a shard's.
    #[cold]
    #[inline(never)]
    fn publish(&self, next_event: u64) {
        let before = self.shared.next_event.load(Ordering::Relaxed);
        self.shared.next_event.store(next_event, Ordering::Relaxed);
        if next_event < before {
            self.bell.ring(next_event);
        }
    }
}
