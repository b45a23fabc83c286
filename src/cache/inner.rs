//! What all handles of a cache share.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::access_counters::AccessCounters;
use super::load::waiters::{HasLoads, SharedLoads};
#[cfg(debug_assertions)]
use super::lock_order;
use super::locked_shard::{Guard, LockedShard, ReadGuard, address_of_cache};
use super::reentrancy::{self, ClosureScope};
use crate::entry::removal::{RemovalCause, Removed};
use crate::footprint::Footprint;
use crate::panic::FirstPanic;
use crate::reaper::Reapable;
use crate::reaper::handle::ReaperHandle;
use crate::reaper::mode::Reaper;
use crate::settings::rules::Rules;
use crate::shard::key_hash::KeyHash;
use crate::sync::shim::{AtomicBool, Ordering};
use crate::time::clock::{Clock, ClockSource};
use crate::time::tick::Timebase;
use crate::time::ttl::Ttl;

pub(super) type SharedClock = dyn Clock + Send + Sync;
pub(super) type Listener<K, V> = Box<dyn Fn(&K, &V, RemovalCause) + Send + Sync>;

pub(super) type TtlBy<K, V> = dyn Fn(&K, &V) -> Ttl + Send + Sync;
pub(super) type Weigher<K, V> = dyn Fn(&K, &V) -> u64 + Send + Sync;
pub(super) type SharedRules<K, V> = Rules<TtlBy<K, V>, Weigher<K, V>>;

pub(super) struct Inner<K, V, S> {
    pub(super) shards: Box<[CachePadded<LockedShard<K, V>>]>,
    pub(super) accesses: AccessCounters,
    pub(super) hasher: S,
    pub(super) source: ClockSource<SharedClock>,
    pub(super) reaper: ReaperHandle,
    pub(super) timebase: Timebase,
    /// A lookup asks for an entry's deadline only if any entry of the shard may be due so many ticks
    /// after the estimated time.
    pub(super) look_ahead_ticks: u64,
    pub(super) ttl: Option<Duration>,
    /// If there are any.
    pub(super) rules: Option<Box<SharedRules<K, V>>>,
    pub(super) name: Option<Cow<'static, str>>,
    pub(super) reap_limit: usize,
    pub(super) listener: Option<Listener<K, V>>,
    pub(super) footprint: Footprint,
    pub(super) capacity: usize,
    /// The last handle is gone: the reaper begins no further batch.
    pub(super) is_closed: AtomicBool,
}

/// A handle of a cache: `Cache` itself, or a ticket. The last one closes the cache.
pub(super) struct Handle<K, V, S> {
    inner: Arc<Inner<K, V, S>>,
    /// Dropped with the last handle.
    close_guard: Arc<CloseOnDrop<K, V, S>>,
}

impl<K, V, S> Handle<K, V, S>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Send + Sync + 'static,
{
    /// Returns the first handle. From now on the reaper serves the cache, if it has one.
    pub(super) fn first(inner: Arc<Inner<K, V, S>>) -> Self {
        let registered = inner.reaper.thread.map(|thread| {
            let cache: Arc<dyn Reapable> = inner.clone();
            thread.register(&cache);
            cache
        });
        let close_guard = Arc::new(CloseOnDrop { inner: inner.clone(), registered });
        Self { inner, close_guard }
    }
}

impl<K, V, S> Handle<K, V, S> {
    /// Returns what the handles share, without being one.
    pub(super) fn inner(&self) -> Arc<Inner<K, V, S>> {
        Arc::clone(&self.inner)
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> usize {
        Arc::strong_count(&self.close_guard)
    }
}

impl<K, V, S> Clone for Handle<K, V, S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), close_guard: Arc::clone(&self.close_guard) }
    }
}

impl<K, V, S> Deref for Handle<K, V, S> {
    type Target = Inner<K, V, S>;

    #[inline]
    fn deref(&self) -> &Inner<K, V, S> {
        &self.inner
    }
}

/// What the handles share and the reaper does not: dropped with the last handle.
pub(super) struct CloseOnDrop<K, V, S> {
    pub(super) inner: Arc<Inner<K, V, S>>,
    /// The cache as the reaper knows it.
    pub(super) registered: Option<Arc<dyn Reapable>>,
}

impl<K, V, S> CloseOnDrop<K, V, S> {
    /// What the two `Arc`s of the handles point at: two counters before each.
    pub(super) const HANDLE_BYTES: usize =
        4 * size_of::<usize>() + size_of::<Inner<K, V, S>>() + size_of::<Self>();
}

impl<K, V, S> Drop for CloseOnDrop<K, V, S> {
    fn drop(&mut self) {
        if let (Some(thread), Some(cache)) = (self.inner.reaper.thread, self.registered.take()) {
            self.inner.is_closed.store(true, Ordering::Relaxed);
            thread.unregister(&cache);
        }
        // No closure of this cache can run any more: within one of another cache, it may be
        // closed in any order.
        #[cfg(debug_assertions)]
        lock_order::forget(self.inner.address());
        self.inner.close();
    }
}

/// Closing the cache has locked it, perhaps within another one's closure.
#[cfg(debug_assertions)]
impl<K, V, S> Drop for Inner<K, V, S> {
    fn drop(&mut self) {
        lock_order::forget(self.address());
    }
}

impl<K, V, S> Inner<K, V, S> {
    pub(super) const SHARD_BYTES: usize = size_of::<CachePadded<LockedShard<K, V>>>();

    pub(super) fn reaper_mode(&self) -> Reaper {
        if self.reaper.thread.is_some() { Reaper::Thread } else { Reaper::Manual }
    }

    #[inline]
    pub(super) fn shard_of(&self, hash: KeyHash) -> usize {
        hash.shard(self.shards.len())
    }

    #[inline]
    pub(super) fn lock_for_read(&self, shard: usize) -> ReadGuard<'_, K, V> {
        self.shards[shard].lock_for_read(&self.reaper)
    }

    #[inline]
    pub(super) fn lock_for_write(&self, shard: usize, hash: KeyHash) -> Guard<'_, K, V> {
        self.shards[shard].lock_for_write(&self.reaper, hash)
    }

    #[inline]
    pub(super) fn lock(&self, shard: usize) -> Guard<'_, K, V> {
        self.shards[shard].lock(&self.reaper)
    }

    #[inline]
    pub(super) fn address(&self) -> usize {
        address_of_cache(&self.reaper)
    }

    /// The first step of every call.
    ///
    /// # Panics
    ///
    /// If it comes from callers' code that runs under one of the cache's locks.
    #[inline]
    pub(super) fn begin_call(&self) {
        if reentrancy::begin_call() {
            self.check_call();
        }
    }

    #[cold]
    #[inline(never)]
    fn check_call(&self) {
        reentrancy::assert_not_inside(self.address(), self.name.as_deref());
        self.reaper.check();
    }

    /// Detects calls of this cache from a closure of the caller's that runs under the lock.
    #[inline]
    pub(super) fn closure_scope(&self) -> ClosureScope {
        ClosureScope::new(self.address())
    }

    /// Tells the listener of a removed entry. Returns its value if it is the caller's.
    #[inline(always)]
    pub(super) fn deliver(&self, removed: Removed<K, V>, panics: &mut FirstPanic) -> Option<V> {
        removed.deliver(self.listener.as_deref(), panics)
    }

    /// Tells the listener of a removed entry, and drops it.
    pub(super) fn notify_and_drop(&self, removed: Removed<K, V>, panics: &mut FirstPanic) {
        let value = self.deliver(removed, panics);
        panics.drop(value);
    }
}

impl<K, V, S> HasLoads for Inner<K, V, S> {
    fn loads_of(&self, hash: KeyHash) -> &SharedLoads {
        &self.shards[self.shard_of(hash)].loads
    }

    fn nanos(&self) -> u64 {
        self.timebase.nanos_of(self.now_for_ttl())
    }

    fn begin_call(&self) {
        self.begin_call();
    }
}
