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
//! - A number may be reused once its cache is gone. The reaper, which may still be visiting that
//!   cache, asks whether the number is still its own.

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

    /// Frees the next entries of a shard that are due, or moves some within its timing wheel.
    fn visit(&self, shard: usize, visit: &mut dyn Visit);
}

/// A visit as the cache sees it.
pub(crate) trait Visit {
    /// Returns the time of the visit.
    fn now_nanos(&self) -> u64;

    /// Returns whether the shard's lock may be waited for. Not in a forked child, for a shard of
    /// its parent: a thread that stayed behind may hold it.
    fn may_wait(&self) -> bool;

    /// Notes when the shard's next event is, or [`NEVER`]. With the shard's lock held. Without
    /// that, nothing has been done, and the reaper comes again later.
    fn put_back(&mut self, next_nanos: u64);

    /// Notes that callers' code has returned, and that more may follow.
    fn goes_on(&self);
}

/// A shard of a registered cache.
pub(super) struct Source {
    cache: Arc<dyn Reapable>,
    shard: usize,
    /// Of a parent process.
    is_inherited: bool,
}

pub(super) struct Queue {
    /// The numbers below are those of a parent process, of whose caches this one knows nothing.
    first_source: usize,
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

/// A shard that is to be visited, and is not in the queue.
pub(super) struct Taken {
    pub(super) cache: Arc<dyn Reapable>,
    pub(super) shard: usize,
    pub(super) is_inherited: bool,
    pub(super) now_nanos: u64,
    source: usize,
}

impl Queue {
    pub(super) fn new(first_source: usize) -> Self {
        Self {
            first_source,
            sources: Slab::new(),
            events: Default::default(),
            thread: 0,
            threads: 0,
            is_woken: false,
            refresh_nanos: NEVER,
            up_nanos: Default::default(),
        }
    }

    /// Adds the shards of a cache, which has no events yet. Returns the end of the numbers.
    pub(super) fn register(&mut self, cache: &Arc<dyn Reapable>) -> usize {
        for shard in 0..cache.shards() {
            let cache = Arc::clone(cache);
            let events = &mut self.events[cache.timescale() as usize];
            let entry = self.sources.vacant_entry();
            events.reserve(entry.key() + 1);
            cache.set_source(shard, self.first_source + entry.key());
            entry.insert(Source { cache, shard, is_inherited: false });
        }
        self.first_source + self.sources.capacity()
    }

    /// Removes the shards of a cache. Returns one of them: the last reference to the cache must
    /// not be dropped under the queue's lock.
    pub(super) fn unregister(&mut self, cache: &Arc<dyn Reapable>) -> Option<Source> {
        let mut removed = None;
        for shard in 0..cache.shards() {
            if let Some(source) = self.index_of(cache.source(shard), &**cache) {
                self.events[cache.timescale() as usize].cancel(source);
                removed = Some(self.sources.remove(source));
            }
        }
        removed
    }

    /// Returns the index of a source, if that is still a shard of this cache.
    fn index_of(&self, source: usize, cache: &dyn Reapable) -> Option<usize> {
        let index = source.checked_sub(self.first_source)?;
        let found = self.sources.get(index)?;
        std::ptr::addr_eq(Arc::as_ptr(&found.cache), cache).then_some(index)
    }

    /// Sets the time of the next event of a shard, whose cache has handles and so is registered,
    /// unless that was with a parent process. Returns whether the reaper sleeps beyond it.
    pub(super) fn schedule(&mut self, source: usize, timescale: Timescale, nanos: u64) -> bool {
        let Some(index) = source.checked_sub(self.first_source) else { return false };
        self.events[timescale as usize].schedule(index, nanos);
        nanos < self.up_nanos[timescale as usize]
    }

    /// Puts a visited shard back, unless its cache is gone or it has no events.
    pub(super) fn put_back(&mut self, taken: &Taken, next_nanos: u64) {
        let Some(index) = self.index_of(taken.source, &*taken.cache) else { return };
        let events = &mut self.events[taken.cache.timescale() as usize];
        if next_nanos == NEVER {
            events.cancel(index);
        } else {
            // What is still due has its turn after what others have due now: no shard keeps
            // others waiting for longer than one visit.
            events.schedule(index, next_nanos.max(taken.now_nanos));
        }
    }

    /// Puts a shard back that was not visited, unless an event has come meanwhile.
    pub(super) fn retry(&mut self, taken: &Taken, nanos: u64) {
        let Some(index) = self.index_of(taken.source, &*taken.cache) else { return };
        let events = &mut self.events[taken.cache.timescale() as usize];
        if !events.has_event(index) {
            events.schedule(index, nanos);
        }
    }

    /// Takes out the shard whose event is most overdue.
    pub(super) fn take_due(&mut self, now_nanos: impl Fn(Timescale) -> u64) -> Option<Taken> {
        let due = Timescale::ALL.into_iter().filter_map(|timescale| {
            let (nanos, index) = self.events[timescale as usize].first()?;
            let now_nanos = now_nanos(timescale);
            let overdue_nanos = now_nanos.checked_sub(nanos)?;
            Some((overdue_nanos, timescale, now_nanos, index))
        });
        let (_, timescale, now_nanos, index) =
            due.max_by_key(|&(overdue_nanos, ..)| overdue_nanos)?;
        self.events[timescale as usize].cancel(index);
        let Source { cache, shard, is_inherited } = &self.sources[index];
        Some(Taken {
            cache: Arc::clone(cache),
            shard: *shard,
            is_inherited: *is_inherited,
            now_nanos,
            source: self.first_source + index,
        })
    }

    /// Returns the time of the first event.
    pub(super) fn first(&self, timescale: Timescale) -> Option<u64> {
        self.events[timescale as usize].first().map(|(nanos, _)| nanos)
    }

    /// For a forked child: takes over what its parent has left, and has each shard visited, since
    /// events may have been missed.
    pub(super) fn inherit(&mut self) {
        self.up_nanos = Default::default();
        self.refresh_nanos = NEVER;
        // A thread of the parent is not this process's, even the one that goes on here.
        self.thread += 1;
        self.threads = 0;
        for (index, source) in &mut self.sources {
            source.is_inherited = true;
            self.events[source.cache.timescale() as usize].schedule(index, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;

    #[derive(Default)]
    struct Idle(AtomicUsize);

    impl Reapable for Idle {
        fn shards(&self) -> usize {
            1
        }

        fn timescale(&self) -> Timescale {
            Timescale::Monotonic
        }

        fn set_source(&self, _: usize, source: usize) {
            self.0.store(source, SeqCst);
        }

        fn source(&self, _: usize) -> usize {
            self.0.load(SeqCst)
        }

        fn visit(&self, _: usize, _: &mut dyn Visit) {}
    }

    /// Where a forked child cannot have its parent's queue, it has another one, and its parent's
    /// caches still have their numbers.
    #[test]
    fn numbers_of_a_parent_s_caches_are_nobody_s() {
        let cache = || -> Arc<dyn Reapable> { Arc::new(Idle::default()) };
        let (mut parents, of_parent) = (Queue::new(0), cache());
        let first_source = parents.register(&of_parent);
        let (mut queue, own) = (Queue::new(first_source), cache());
        assert!(queue.register(&own) > own.source(0));
        queue.schedule(own.source(0), Timescale::Monotonic, 5);
        for timescale in Timescale::ALL {
            assert!(!queue.schedule(of_parent.source(0), timescale, 1));
        }
        assert!(queue.unregister(&of_parent).is_none());
        assert_eq!(queue.first(Timescale::Monotonic), Some(5));
        assert!(queue.unregister(&own).is_some());
        assert_eq!(queue.first(Timescale::Monotonic), None);
    }

    /// What is tried again later does not hide what has come meanwhile.
    #[test]
    fn a_retry_is_no_later_than_an_event() {
        let (mut queue, cache): (_, Arc<dyn Reapable>) = (Queue::new(0), Arc::new(Idle::default()));
        queue.register(&cache);
        for (event, first) in [(None, 100), (Some(7), 7)] {
            queue.schedule(cache.source(0), Timescale::Monotonic, 1);
            let taken = queue.take_due(|_| 5).expect("it is due");
            if let Some(nanos) = event {
                queue.schedule(cache.source(0), Timescale::Monotonic, nanos);
            }
            queue.retry(&taken, 100);
            assert_eq!(queue.first(Timescale::Monotonic), Some(first));
        }
    }
}
