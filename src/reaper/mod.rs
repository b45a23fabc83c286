//! The thread that frees what is due in every cache of the process.
//!
//! # Ground rules
//!
//! - The list of caches is locked only to read or change it, never while a cache
//!   is worked on: a listener that runs on this thread may build and drop caches.
//! - A cache is in the list from when it is built until its last handle goes,
//!   which takes it out itself. The thread may hold on to it for the batch it is
//!   in, and finds nothing more to do.
//! - A panic of callers' code on this thread is reported by the panic hook, and
//!   the work goes on.

pub(crate) mod mode;
pub(crate) mod parker;

use std::sync::Arc;

use forkguard::Guard;

use crate::shim::Mutex;
use crate::time::cached_clock::CachedClock;
use crate::time::clock;
use parker::Alarm;

/// A cache as the reaper sees it.
pub(crate) trait Reapable: Send + Sync {
    /// Frees all that is due, in batches, and returns when to come again, in
    /// nanoseconds of the system's monotonic clock, or [`Alarm::NEVER`].
    fn reap_expired(&self) -> u64;
}

/// The list of caches, and the alarm of the thread that serves them.
pub(crate) struct ReaperThread {
    caches: Mutex<Vec<Arc<dyn Reapable>>>,
    alarm: Alarm,
    /// What the caches' calls may go by.
    cached_clock: CachedClock,
}

impl ReaperThread {
    pub(crate) fn new() -> Self {
        Self {
            caches: Mutex::new(Vec::new()),
            alarm: Alarm::new(),
            cached_clock: CachedClock::new(clock::system_coarse_step_nanos()),
        }
    }

    #[inline]
    pub(crate) fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    /// To be called on its thread before callers' code, which may take its time:
    /// nobody keeps the time meanwhile.
    pub(crate) fn pause_cached_clock(&self) {
        self.cached_clock.stop();
    }

    pub(crate) fn register(&self, cache: Arc<dyn Reapable>) {
        self.caches.lock().push(cache);
        self.alarm.wake();
    }

    /// Takes a cache out of the list. Once this has returned, the thread begins
    /// nothing new with it.
    pub(crate) fn unregister(&self, cache: &Arc<dyn Reapable>) {
        let mut caches = self.caches.lock();
        let place = caches.iter().position(|other| Arc::ptr_eq(other, cache));
        let removed = place.map(|place| caches.remove(place));
        drop(caches);
        // Not under the lock: it may be the last reference.
        drop(removed);
        // The round that is under way may have skipped the one behind it.
        self.alarm.wake();
    }

    /// One round: frees what is due everywhere and sleeps until the next event.
    pub(crate) fn run_once(&self, now_nanos: impl Fn() -> u64) {
        self.alarm.disarm();
        let mut earliest_nanos = Alarm::NEVER;
        let mut index = 0;
        while let Some(cache) = self.cache(index) {
            earliest_nanos = earliest_nanos.min(cache.reap_expired());
            index += 1;
        }
        let (now_nanos, next_nanos) = self.cached_clock.refresh(now_nanos);
        if let Some(next_nanos) = next_nanos {
            earliest_nanos = earliest_nanos.min(next_nanos);
        }
        self.alarm.arm_and_park(earliest_nanos, now_nanos);
    }

    fn cache(&self, index: usize) -> Option<Arc<dyn Reapable>> {
        self.caches.lock().get(index).cloned()
    }
}

/// The clocks of a cache that the reaper serves: the system's, or the time that the
/// reaper keeps.
pub(crate) struct ReaperClock {
    reaper: &'static ReaperThread,
    guard: Guard,
}

impl ReaperClock {
    /// `None` where there is no coarse clock, in whose place it stands, or forks
    /// cannot be told.
    pub(crate) fn new(reaper: &'static ReaperThread) -> Option<Self> {
        if clock::system_coarse_step_nanos() == 0 {
            return None;
        }
        Guard::try_new().ok().map(|guard| Self { reaper, guard })
    }

    /// The time, if the reaper keeps it.
    #[inline]
    pub(crate) fn cached_nanos(&self) -> Option<u64> {
        self.reaper.cached_clock.get(&self.guard)
    }

    /// The precise time, or a little before it, if that can be told without the clock.
    #[inline]
    pub(crate) fn precise_nanos(&self) -> Option<u64> {
        self.reaper.cached_clock.precise()
    }

    /// Reads the system's clock.
    pub(crate) fn read(&self) -> u64 {
        self.count_read(clock::system_coarse_nanos())
    }

    /// Reads the system's precise clock.
    pub(crate) fn read_precise(&self) -> u64 {
        let now_nanos = clock::system_nanos();
        if self.reaper.cached_clock.has_tsc() { self.count_read(now_nanos) } else { now_nanos }
    }

    fn count_read(&self, now_nanos: u64) -> u64 {
        if self.reaper.cached_clock.count_read(now_nanos) {
            self.reaper.alarm.wake();
        }
        now_nanos
    }
}

pub(crate) use process::{process_reaper, start};

/// The one reaper of this process, and its thread.
mod process {
    use std::io;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::LazyLock;

    use super::ReaperThread;
    use crate::panic;
    use crate::shim::Mutex;
    use crate::time::clock;

    pub(crate) fn process_reaper() -> &'static ReaperThread {
        static REAPER: LazyLock<ReaperThread> = LazyLock::new(ReaperThread::new);
        &REAPER
    }

    /// Starts the thread unless this process has it. A child that was forked has
    /// its parent's memory and none of its other threads: it gets its own with
    /// the first cache that it builds.
    pub(crate) fn start() -> io::Result<()> {
        /// The process whose thread runs.
        static STARTED_IN: LazyLock<Mutex<Option<u32>>> = LazyLock::new(Mutex::default);

        let mut started_in = STARTED_IN.lock();
        let process = std::process::id();
        if *started_in != Some(process) {
            // What a parent's reaper has left.
            process_reaper().pause_cached_clock();
            process_reaper().alarm.replace_parker_after_fork();
            std::thread::Builder::new().name("punctual-reaper".into()).spawn(run)?;
            *started_in = Some(process);
        }
        Ok(())
    }

    fn run() {
        let reaper = process_reaper();
        loop {
            // Callers' code is guarded one entry at a time; this is for the rest,
            // should it ever be needed: the thread serves every cache there is.
            let run_once = catch_unwind(AssertUnwindSafe(|| reaper.run_once(clock::system_nanos)));
            if let Err(panic) = run_once {
                panic::forget(panic);
            }
        }
    }
}
