//! What all handles of a cache share, and what does not depend on the keys.

use std::mem::needs_drop;
use std::time::Duration;

use arrayvec::ArrayVec;
use crossbeam_utils::CachePadded;

use super::locked_shard::{Bell, Guard, SharedShard};
use super::reentrancy::{self, Mark};
use crate::error::BuildError;
use crate::footprint::Footprint;
use crate::panic::FirstPanic;
use crate::reaper::mode::Reaper;
use crate::reaper::parker::Alarm;
use crate::reaper::{Reapable, ReaperClock, ReaperThread};
use crate::removal::{RemovalCause, Removed};
use crate::settings::Settings;
use crate::shard::Shard;
use crate::shard::eviction::PolicyFactory;
use crate::shard::geometry::Geometry;
use crate::shard::key_hash::KeyHash;
use crate::shim::{AtomicBool, Ordering};
use crate::stats::Stats;
use crate::time::clock::{self, Clock, ClockSource};
use crate::time::tick::{Moment, Timebase};

pub(super) type SharedClock = dyn Clock + Send + Sync;
pub(super) type Listener<K, V> = Box<dyn Fn(&K, &V, RemovalCause) + Send + Sync>;

/// Entries handed out at a time: they lie on the stack meanwhile.
const BATCH: usize = 8;

/// Entries that are larger are handed out one by one.
const BATCHED_BYTES_MAX: usize = 1 << 12;

/// Slots looked at before the lock is released, by calls that look at all, and
/// timers moved within the wheel.
pub(super) const STEPS_PER_LOCK: usize = 64;

type Batch<K, V, const N: usize> = ArrayVec<Removed<K, V>, N>;

pub(super) struct Inner<K, V, S> {
    pub(super) shards: Box<[CachePadded<SharedShard<K, V>>]>,
    pub(super) hasher: S,
    source: ClockSource<SharedClock>,
    /// What stands for `source` where the reaper's thread serves the cache.
    reaper_clock: Option<ReaperClock>,
    pub(super) base: Timebase,
    pub(super) ttl: Option<Duration>,
    pub(super) reap_limit: usize,
    listener: Option<Listener<K, V>>,
    pub(super) footprint: Footprint,
    capacity: usize,
    pub(super) reaper: Option<&'static ReaperThread>,
    bell: Bell,
    /// The last handle is gone: the reaper begins no further batch.
    is_closed: AtomicBool,
}

impl<K, V, S> Inner<K, V, S> {
    const IS_BATCHED: bool = size_of::<Removed<K, V>>() <= BATCHED_BYTES_MAX;

    pub(super) const SHARD_BYTES: usize = size_of::<CachePadded<SharedShard<K, V>>>();

    #[expect(clippy::too_many_arguments, reason = "called once, by the builder")]
    pub(super) fn new(
        geometry: &Geometry,
        settings: &Settings,
        source: ClockSource<SharedClock>,
        base: Timebase,
        reaper: Option<&'static ReaperThread>,
        hasher: S,
        listener: Option<Listener<K, V>>,
        footprint: Footprint,
    ) -> Result<Self, BuildError> {
        let now = source.now(&base).tick;
        let mut shards = Vec::new();
        shards.try_reserve_exact(geometry.shards).map_err(|_| BuildError::OutOfMemory {
            requested_bytes: geometry.shards.saturating_mul(Self::SHARD_BYTES),
        })?;
        let mut factory = PolicyFactory::new(settings.eviction);
        for _ in 0..geometry.shards {
            let shard = Shard::new(geometry, &mut factory, now)?;
            shards.push(CachePadded::new(SharedShard::new(shard, now)));
        }
        Ok(Self {
            shards: shards.into_boxed_slice(),
            hasher,
            reaper_clock: reaper.filter(|_| source.is_system_coarse()).and_then(ReaperClock::new),
            source,
            base,
            ttl: settings.ttl,
            reap_limit: settings.reap_limit,
            listener,
            footprint,
            capacity: geometry.capacity(),
            reaper,
            bell: Bell { alarm: reaper.map(ReaperThread::alarm), base },
            is_closed: AtomicBool::new(false),
        })
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn mode(&self) -> Reaper {
        if self.reaper.is_some() { Reaper::Thread } else { Reaper::Manual }
    }

    pub(super) fn source(&self) -> &ClockSource<SharedClock> {
        &self.source
    }

    /// Reads the clock, to count a TTL from.
    #[inline]
    pub(super) fn read_clock_for_deadline(&self) -> Moment {
        match self.reaper_clock.as_ref().and_then(ReaperClock::precise_nanos) {
            Some(nanos) => self.base.moment_of_nanos(nanos),
            None => self.read_precise_clock_itself(),
        }
    }

    /// Reads the clock, to see what is due.
    #[inline]
    pub(super) fn read_clock(&self) -> Moment {
        match self.reaper_clock.as_ref().and_then(ReaperClock::cached_nanos) {
            Some(nanos) => self.base.moment_of_nanos(nanos),
            None => self.read_clock_itself(),
        }
    }

    /// Out of line, so that a call that need not do it does not make room for it.
    #[inline(never)]
    fn read_clock_itself(&self) -> Moment {
        match &self.reaper_clock {
            Some(clock) => self.base.moment_of_nanos(clock.read()),
            None => self.source.now(&self.base),
        }
    }

    #[inline(never)]
    fn read_precise_clock_itself(&self) -> Moment {
        match &self.reaper_clock {
            Some(clock) => self.base.moment_of_nanos(clock.read_precise()),
            None => self.source.now_precise(&self.base),
        }
    }

    #[inline]
    pub(super) fn lock(&self, shard: usize) -> Guard<'_, K, V> {
        self.shards[shard].lock(&self.bell)
    }

    /// The lock, for a call that sets or removes one key.
    #[inline]
    pub(super) fn lock_to_set(&self, shard: usize, hash: KeyHash) -> Guard<'_, K, V> {
        self.shards[shard].lock_to_set(&self.bell, hash)
    }

    /// What tells this cache from others.
    #[inline]
    fn address(&self) -> usize {
        std::ptr::from_ref(self).cast::<()>() as usize
    }

    /// The first step of every call.
    ///
    /// # Panics
    ///
    /// If it comes from callers' code that runs under one of the cache's locks.
    #[inline]
    pub(super) fn assert_unlocked(&self) {
        reentrancy::assert_outside(self.address());
    }

    /// Marks the cache as locked while a closure of the caller's runs.
    #[inline]
    pub(super) fn mark(&self) -> Mark {
        Mark::new(self.address())
    }

    /// The same for keys' `Eq` and values' `Clone`, in debug builds.
    #[inline]
    pub(super) fn mark_in_debug_builds(&self) -> Option<Mark> {
        cfg!(debug_assertions).then(|| self.mark())
    }

    /// Tells the listener of a removed entry, and drops it.
    pub(super) fn notify_and_drop(&self, removed: Removed<K, V>, panics: &mut FirstPanic) {
        removed.notify_and_drop(self.listener.as_deref(), panics);
    }

    /// Tells the listener of a removed entry. Returns its value if it is the caller's.
    pub(super) fn deliver(&self, removed: Removed<K, V>, panics: &mut FirstPanic) -> Option<V> {
        removed.deliver(self.listener.as_deref(), panics)
    }

    /// Frees what is due in a shard, batch by batch, until the budget is used up.
    #[cold]
    pub(super) fn reap_shard(
        &self,
        shard: usize,
        reading: Moment,
        mut budget: usize,
        panics: &mut FirstPanic,
    ) {
        while budget > 0 && self.reap_batch(shard, reading, &mut budget, usize::MAX, panics).more {}
    }

    /// Frees up to `limit` entries that are due, or one batch if that is less.
    fn reap_batch(
        &self,
        shard: usize,
        reading: Moment,
        budget: &mut usize,
        limit: usize,
        panics: &mut FirstPanic,
    ) -> Reaped {
        if Self::IS_BATCHED {
            self.reap_batch_of::<BATCH>(shard, reading, budget, limit, panics)
        } else {
            self.reap_batch_of::<1>(shard, reading, budget, limit, panics)
        }
    }

    fn reap_batch_of<const N: usize>(
        &self,
        shard: usize,
        reading: Moment,
        budget: &mut usize,
        limit: usize,
        panics: &mut FirstPanic,
    ) -> Reaped {
        let mut batch = Batch::<K, V, N>::new();
        let mut steps = STEPS_PER_LOCK.min(*budget);
        *budget -= steps;
        let more = {
            let mut state = self.lock(shard);
            let now = state.tick(reading);
            while batch.len() < N.min(limit) {
                let Some(expired) = state.shard.reap_one(now, &mut steps) else { break };
                batch.push(expired);
            }
            state.shard.record_peak();
            state.shard.has_work(now)
        };
        *budget += steps;
        let freed = batch.len();
        for expired in batch {
            self.notify_and_drop(expired, panics);
        }
        Reaped { freed, more }
    }

    /// Frees at most `limit` due entries in all shards.
    pub(super) fn reap(&self, limit: usize) -> usize {
        let reading = self.read_clock();
        let mut panics = FirstPanic::default();
        let mut freed = 0;
        for shard in 0..self.shards.len() {
            while freed < limit {
                let mut unbounded = usize::MAX;
                let reaped =
                    self.reap_batch(shard, reading, &mut unbounded, limit - freed, &mut panics);
                freed += reaped.freed;
                if !reaped.more {
                    break;
                }
            }
        }
        panics.finish(freed)
    }

    pub(super) fn next_expiry(&self) -> Option<Duration> {
        let first = (0..self.shards.len())
            .filter_map(|shard| self.lock(shard).shard.next_expiry())
            .min()?;
        Some(self.base.until(first, self.read_clock()))
    }

    pub(super) fn stats(&self) -> Stats {
        (0..self.shards.len())
            .fold(Stats::default(), |sum, shard| sum.plus(&self.lock(shard).shard.stats()))
    }

    pub(super) fn len(&self) -> usize {
        (0..self.shards.len()).map(|shard| self.lock(shard).shard.len()).sum()
    }

    /// Shows each live entry to `visit`, a few slots at a time.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&K, &V)) {
        let reading = self.read_clock();
        for shard in 0..self.shards.len() {
            let mut index = 0;
            loop {
                let mut state = self.lock(shard);
                let now = state.tick(reading);
                let _mark = self.mark();
                let until = (index + STEPS_PER_LOCK).min(state.shard.capacity());
                if index == until {
                    break;
                }
                for index in index..until {
                    let live =
                        state.shard.get_occupied(index).filter(|&id| !state.shard.is_due(id, now));
                    if let Some(id) = live {
                        let (key, value) = state.shard.entry(id);
                        visit(key, value);
                    }
                }
                index = until;
            }
        }
    }

    /// Takes out what is due and, of the rest, what `is_out` says, a few slots at
    /// a time. A panic in `is_out` is the end.
    pub(super) fn remove_where(&self, cause: RemovalCause, is_out: impl FnMut(&K, &V) -> bool) {
        if Self::IS_BATCHED {
            self.remove_where_in::<BATCH>(cause, is_out);
        } else {
            self.remove_where_in::<1>(cause, is_out);
        }
    }

    fn remove_where_in<const N: usize>(
        &self,
        cause: RemovalCause,
        mut is_out: impl FnMut(&K, &V) -> bool,
    ) {
        let reading = self.read_clock();
        let mut panics = FirstPanic::default();
        for shard in 0..self.shards.len() {
            // Downwards: the lowest slots are those that have been touched.
            let mut index = self.lock(shard).shard.capacity();
            while index > 0 {
                let mut batch = Batch::<K, V, N>::new();
                let mut has_panicked = false;
                {
                    let mut state = self.lock(shard);
                    if cause == RemovalCause::Cleared {
                        state.overrule_all();
                    }
                    let now = state.tick(reading);
                    let _mark = self.mark();
                    let down_to = index.saturating_sub(STEPS_PER_LOCK);
                    while index > down_to && !batch.is_full() {
                        index -= 1;
                        let Some(id) = state.shard.get_occupied(index) else { continue };
                        let mut is_gone = state.shard.is_due(id, now);
                        if !is_gone {
                            let (key, value) = state.shard.entry(id);
                            let Some(is_out) = panics.catch(|| is_out(key, value)) else {
                                has_panicked = true;
                                break;
                            };
                            is_gone = is_out;
                        }
                        if is_gone {
                            batch.push(state.shard.remove(id, now, cause));
                        }
                    }
                }
                for removed in batch {
                    self.notify_and_drop(removed, &mut panics);
                }
                if has_panicked {
                    return panics.finish(());
                }
            }
        }
        panics.finish(());
    }

    /// Drops every entry, untold, once the last handle is gone.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        if !needs_drop::<(K, V)>() {
            return;
        }
        let mut panics = FirstPanic::default();
        for shard in 0..self.shards.len() {
            let mut index = self.lock(shard).shard.capacity();
            while index > 0 {
                let mut batch = Batch::<K, V, 1>::new();
                {
                    let mut state = self.lock(shard);
                    while index > 0 && !batch.is_full() {
                        index -= 1;
                        if let Some(id) = state.shard.get_occupied(index) {
                            batch.push(state.shard.remove(id, 0, RemovalCause::Cleared));
                        }
                    }
                }
                for removed in batch {
                    panics.drop(removed.value);
                    panics.drop(removed.key);
                }
            }
        }
        if std::thread::panicking() {
            panics.forget();
        } else {
            panics.finish(());
        }
    }
}

/// What a batch has come to.
struct Reaped {
    freed: usize,
    /// Whether there is more to do.
    more: bool,
}

impl<K: Send, V: Send, S: Send + Sync> Reapable for Inner<K, V, S> {
    fn reap_expired(&self) -> u64 {
        let mut earliest = u64::MAX;
        let mut panics = FirstPanic::default();
        for (number, shard) in self.shards.iter().enumerate() {
            // Read once: what falls due while listeners take their time is for
            // the next round, so that no cache keeps the others waiting for ever.
            let reading = self.base.moment_of_nanos(clock::system_nanos());
            loop {
                let next_event = shard.next_event();
                if next_event > reading.tick {
                    earliest = earliest.min(next_event);
                    break;
                }
                if self.is_closed.load(Ordering::Relaxed) {
                    break;
                }
                if let Some(reaper) = self.reaper {
                    reaper.pause_cached_clock();
                }
                let mut budget = STEPS_PER_LOCK;
                self.reap_batch(number, reading, &mut budget, usize::MAX, &mut panics);
            }
        }
        panics.forget();
        if earliest == u64::MAX { Alarm::NEVER } else { self.base.nanos(earliest) }
    }
}
