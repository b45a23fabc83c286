//! The shards of all caches in the order in which the reaper has to look at them.
//!
//! # Ground rules
//!
//! - Each shard is a *source* of events, and has a number. While its lock is released, a shard
//!   with an event is in the queue, at that event's time or before; or the reaper has taken it
//!   out and is about to visit it.
//! - A shard whose next event becomes earlier is moved under its own lock; for later ones
//!   nobody comes here: the reaper finds that out when it visits the shard, and puts it back.
//! - So the queue's lock is taken within a shard's, and no other lock within it.
//! - A number may be reused once its cache is gone. Who may be late says whose it was.

use std::sync::Arc;

use slab::Slab;

use super::event_heap::EventHeap;
use crate::time::clock::Timescale;

/// Later than any time.
pub(crate) const NEVER: u64 = u64::MAX;

/// A cache as the reaper sees it. Times are in nanoseconds of its [`Timescale`].
pub(crate) trait Reapable: Send + Sync {
    fn shards(&self) -> usize;

    fn timescale(&self) -> Timescale;

    /// Notes the number under which the reaper knows a shard.
    fn set_source(&self, shard: usize, source: usize);

    fn source(&self, shard: usize) -> usize;

    /// Frees the next entries of a shard that are due at `now_nanos`, or moves some within its
    /// timing wheel. Tells `put_back`, with the shard's lock held, when the next event is, or
    /// [`NEVER`].
    fn visit(&self, shard: usize, now_nanos: u64, put_back: &mut dyn FnMut(u64));
}

/// A shard of a registered cache.
pub(super) struct Source {
    pub(super) cache: Arc<dyn Reapable>,
    pub(super) shard: usize,
}

pub(super) struct Queue {
    sources: Slab<Source>,
    events: [EventHeap; Timescale::ALL.len()],
    /// The number of the thread that serves the queue: one that has another is to end.
    pub(super) thread: u64,
    /// The threads that have been started and have not ended yet.
    pub(super) threads: usize,
    /// The thread's next sleep is to end at once.
    pub(super) is_woken: bool,
    /// When to refresh the cached clock.
    pub(super) refresh_nanos: u64,
    /// The time at which the sleeping thread will be up by itself; zero while it is awake.
    pub(super) up_nanos: [u64; Timescale::ALL.len()],
}

/// A shard to be visited.
pub(super) struct Visit {
    pub(super) cache: Arc<dyn Reapable>,
    pub(super) shard: usize,
    pub(super) source: usize,
    pub(super) now_nanos: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            sources: Slab::new(),
            events: Default::default(),
            thread: 0,
            threads: 0,
            is_woken: false,
            refresh_nanos: NEVER,
            up_nanos: Default::default(),
        }
    }
}

impl Queue {
    /// Adds the shards of a cache, which has no events yet.
    pub(super) fn register(&mut self, cache: &Arc<dyn Reapable>) {
        for shard in 0..cache.shards() {
            let source = self.sources.insert(Source { cache: Arc::clone(cache), shard });
            cache.set_source(shard, source);
            self.events[cache.timescale() as usize].reserve(source + 1);
        }
    }

    /// Removes the shards of a cache. Returns them: the last reference to the cache must not be
    /// dropped under the queue's lock.
    pub(super) fn unregister(&mut self, cache: &Arc<dyn Reapable>) -> Option<Source> {
        let mut removed = None;
        for shard in 0..cache.shards() {
            let source = cache.source(shard);
            if self.is_of(source, &**cache) {
                self.events[cache.timescale() as usize].cancel(source);
                // All refer to the same cache, and the caller has it.
                removed = Some(self.sources.remove(source));
            }
        }
        removed
    }

    /// Returns whether a number is still that of a cache's shard.
    fn is_of(&self, source: usize, cache: &dyn Reapable) -> bool {
        let found = self.sources.get(source);
        found.is_some_and(|found| std::ptr::addr_eq(Arc::as_ptr(&found.cache), cache))
    }

    /// Sets the time of a shard's next event. Returns whether the reaper sleeps beyond it.
    pub(super) fn schedule(&mut self, source: usize, timescale: Timescale, nanos: u64) -> bool {
        if self.sources.contains(source) {
            self.events[timescale as usize].schedule(source, nanos);
        }
        nanos < self.up_nanos[timescale as usize]
    }

    /// Puts a visited shard back, unless its cache is gone or it has no events.
    pub(super) fn put_back(&mut self, visit: &Visit, next_nanos: u64) {
        if !self.is_of(visit.source, &*visit.cache) {
            return;
        }
        let events = &mut self.events[visit.cache.timescale() as usize];
        if next_nanos == NEVER {
            events.cancel(visit.source);
        } else {
            // What is still due has its turn after what others have due now: no shard keeps
            // others waiting for longer than one visit.
            events.schedule(visit.source, next_nanos.max(visit.now_nanos));
        }
    }

    /// Takes out the first shard that has something due.
    pub(super) fn take_due(&mut self, now_nanos: impl Fn(Timescale) -> u64) -> Option<Visit> {
        Timescale::ALL.into_iter().find_map(|timescale| {
            let events = &mut self.events[timescale as usize];
            let (nanos, source) = events.first()?;
            let now_nanos = now_nanos(timescale);
            if nanos > now_nanos {
                return None;
            }
            events.cancel(source);
            let Source { cache, shard } = &self.sources[source];
            Some(Visit { cache: Arc::clone(cache), shard: *shard, source, now_nanos })
        })
    }

    /// Returns the time of the first event.
    pub(super) fn first(&self, timescale: Timescale) -> Option<u64> {
        self.events[timescale as usize].first().map(|(nanos, _)| nanos)
    }

    /// Has each shard visited, for a child that may have missed events of its parent.
    pub(super) fn schedule_all(&mut self) {
        for (source, Source { cache, .. }) in &self.sources {
            self.events[cache.timescale() as usize].schedule(source, 0);
        }
    }
}
