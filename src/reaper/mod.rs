//! The thread that frees expired entries in every cache of the process.
//!
//! # Ground rules
//!
//! - The list of caches is locked only to read or change it, never while a cache is worked
//!   on: a listener that runs on this thread may build and drop caches.
//! - A cache is in the list from when it is built until its last handle is dropped, which
//!   takes it out itself. The thread may hold on to it for the batch it is in, and then
//!   finds nothing more to do.
//! - A panic of callers' code on this thread is reported by the panic hook, and the work
//!   goes on.
//! - A cache never calls back: this thread asks it for its next event and has it free one
//!   batch at a time.

pub(crate) mod handle;
pub(crate) mod mode;
pub(crate) mod sleep;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::{io, thread};

use crate::panic;
use crate::shim::Mutex;
use crate::time::cached_clock::CachedClock;
use crate::time::clock;
use sleep::Alarm;

/// A cache as the reaper sees it. Times are in nanoseconds of the system's monotonic clock.
pub(crate) trait Reapable: Send + Sync {
    fn shards(&self) -> usize;

    /// Returns the time before which a shard has nothing to do, or [`Alarm::NEVER`].
    fn next_event(&self, shard: usize) -> u64;

    /// Frees the next entries of a shard that are due at `now_nanos`, or moves some within
    /// its timing wheel.
    fn reap_batch(&self, shard: usize, now_nanos: u64);
}

/// The list of caches, and the alarm of the thread that serves them.
pub(crate) struct ReaperThread {
    caches: Mutex<Vec<Arc<dyn Reapable>>>,
    pub(crate) alarm: Alarm,
    pub(crate) cached_clock: CachedClock,
}

impl ReaperThread {
    pub(crate) fn new() -> Self {
        Self {
            caches: Mutex::new(Vec::new()),
            alarm: Alarm::new(),
            cached_clock: CachedClock::new(clock::system_coarse_step_nanos()),
        }
    }

    pub(crate) fn register(&self, cache: Arc<dyn Reapable>) {
        self.caches.lock().push(cache);
        self.alarm.wake();
    }

    /// Removes a cache from the list. Once this has returned, the thread begins no other
    /// batch of it.
    pub(crate) fn unregister(&self, cache: &Arc<dyn Reapable>) {
        let mut caches = self.caches.lock();
        let position = caches.iter().position(|other| Arc::ptr_eq(other, cache));
        let removed = position.map(|position| caches.remove(position));
        drop(caches);
        // Not under the lock: it may be the last reference.
        drop(removed);
        // The round that is under way may have skipped the one behind it. It may still reap
        // this one, until the cache says that it is closed.
        self.alarm.wake();
    }

    /// One round: frees what is due in every cache, and sleeps until the next event.
    pub(crate) fn run_once(&self, now_nanos: impl Fn() -> u64) {
        let next_event_nanos = self.reap_all(&now_nanos);
        self.sleep_until(next_event_nanos, now_nanos);
    }

    /// Frees what is due in every cache. Returns the time of the next event.
    pub(crate) fn reap_all(&self, now_nanos: impl Fn() -> u64) -> u64 {
        self.alarm.disarm();
        let mut earliest_nanos = Alarm::NEVER;
        let mut index = 0;
        while let Some(cache) = self.cache(index) {
            for shard in 0..cache.shards() {
                let next_event_nanos = self.reap_shard(&*cache, shard, now_nanos());
                earliest_nanos = earliest_nanos.min(next_event_nanos);
            }
            index += 1;
        }
        earliest_nanos
    }

    /// Frees what is due in a shard. What falls due while listeners run is for the next
    /// round, so that no cache keeps the others waiting without end.
    fn reap_shard(&self, cache: &dyn Reapable, shard: usize, now_nanos: u64) -> u64 {
        loop {
            let next_event_nanos = cache.next_event(shard);
            if next_event_nanos > now_nanos {
                return next_event_nanos;
            }
            // Callers' code may take long, and nobody refreshes the clock meanwhile.
            self.cached_clock.stop();
            cache.reap_batch(shard, now_nanos);
        }
    }

    /// Sleeps until the next event, or until the cached clock is to be refreshed.
    pub(crate) fn sleep_until(&self, next_event_nanos: u64, now_nanos: impl Fn() -> u64) {
        let (now_nanos, refresh_nanos) = self.cached_clock.refresh(now_nanos);
        let wake_nanos = refresh_nanos.map_or(next_event_nanos, |it| it.min(next_event_nanos));
        self.alarm.arm_and_park(wake_nanos, now_nanos);
    }

    fn cache(&self, index: usize) -> Option<Arc<dyn Reapable>> {
        self.caches.lock().get(index).cloned()
    }
}

/// Returns the one reaper of this process.
pub(crate) fn process_reaper() -> &'static ReaperThread {
    static REAPER: LazyLock<ReaperThread> = LazyLock::new(ReaperThread::new);
    &REAPER
}

/// Starts its thread unless this process has it. A forked child has its parent's memory and
/// none of its other threads: it starts its own with the first cache that it builds.
pub(crate) fn start() -> io::Result<()> {
    /// The process whose thread runs.
    static STARTED_IN: LazyLock<Mutex<Option<u32>>> = LazyLock::new(Mutex::default);

    let mut started_in = STARTED_IN.lock();
    let process = std::process::id();
    if *started_in != Some(process) {
        // What a parent's reaper has left.
        let reaper = process_reaper();
        reaper.cached_clock.stop();
        reaper.alarm.replace_parker_after_fork();
        thread::Builder::new().name("punctual-reaper".into()).spawn(|| run(reaper))?;
        *started_in = Some(process);
    }
    Ok(())
}

fn run(reaper: &ReaperThread) {
    loop {
        // Callers' code is guarded one entry at a time; this is for the rest, should it ever
        // be needed: the thread serves every cache there is.
        let round = catch_unwind(AssertUnwindSafe(|| reaper.run_once(clock::system_nanos)));
        if let Err(panic) = round {
            panic::drop_payload(panic);
        }
    }
}
