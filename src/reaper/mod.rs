//! The thread that frees expired entries in every cache of the process.
//!
//! # Ground rules
//!
//! - The [`queue`] has the shards of all caches by their next events, so a wake-up costs
//!   O(due shards + log shards), however many caches there are.
//! - Its lock is held for a look or a change, never while a shard is worked on: a listener that
//!   runs on this thread may build and drop caches. It is taken within a shard's lock, never
//!   the other way round.
//! - A cache is in the queue from when it is built until its last handle is dropped, which
//!   takes it out itself. The thread may hold on to it for the batch it is in, and then
//!   finds nothing more to do.
//! - A panic of callers' code on this thread is reported by the panic hook, and the work
//!   goes on.
//! - Callers' code may keep this thread for long. Then a call that finds something due starts
//!   another thread in its place, which the first one notices and ends.
//!
//! # Sleep
//!
//! The thread decides to sleep under the queue's lock, and notes there until when. A call that
//! brings an earlier event changes the queue under that lock, and so either the thread sees
//! the event, or the call sees that it sleeps beyond it, and wakes it.

mod event_heap;
pub(crate) mod handle;
pub(crate) mod mode;
mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use std::{io, thread};

use crossbeam_utils::atomic::AtomicCell;
use forkguard::Guard;

use crate::panic;
use crate::shim::{Condvar, Mutex};
use crate::time::cached_clock::CachedClock;
use crate::time::clock::{self, Timescale};
use queue::Queue;
pub(crate) use queue::{NEVER, Reapable};

/// If callers' code keeps the thread for longer, another takes its place.
const STUCK_AFTER: Duration = Duration::from_millis(100);

/// The most threads at once, all but one of them kept by callers' code.
const THREADS_MAX: usize = 4;

/// A suspended machine stops the clock by which the thread sleeps, but not that of a
/// [`BootClock`](crate::BootClock). So it looks at that once in a while.
const BOOT_PERIOD_NANOS: u64 = 1_000_000_000;

/// The thread as the caches see it, and what it works through.
pub(crate) struct ReaperThread {
    station: AtomicCell<&'static Station>,
    pub(crate) cached_clock: CachedClock,
    /// Since when the thread has been in callers' code, by the system's clock; zero if it is
    /// not.
    busy_since_nanos: AtomicU64,
}

/// Where the thread looks for work, and sleeps. A forked child gets another one: the lock may
/// have been copied while it was held, and no thread sleeps there.
struct Station {
    queue: Mutex<Queue>,
    woken: Condvar,
    /// Detects a forked child. `None` where a fork cannot be detected.
    process: Option<Guard>,
}

impl Station {
    fn new(queue: Queue) -> &'static Self {
        // Leaked: after a fork, another thread may be about to lock the one it replaces.
        Box::leak(Box::new(Self {
            queue: Mutex::new(queue),
            woken: Condvar::default(),
            process: Guard::try_new().ok(),
        }))
    }

    /// Returns whether this is the station of a parent process.
    fn is_inherited(&self) -> bool {
        self.process.as_ref().is_some_and(|guard| guard.clone().detected_fork())
    }
}

impl ReaperThread {
    pub(crate) fn new() -> Self {
        Self {
            station: AtomicCell::new(Station::new(Queue::default())),
            cached_clock: CachedClock::new(clock::system_coarse_step_nanos()),
            busy_since_nanos: AtomicU64::new(0),
        }
    }

    /// Adds a cache, which is empty yet.
    pub(crate) fn register(&self, cache: &Arc<dyn Reapable>) {
        let station = self.station.load();
        if !station.is_inherited() {
            station.queue.lock().register(cache);
        }
    }

    /// Removes a cache. Once this has returned, the thread begins no visit of it but one that it
    /// had decided on.
    pub(crate) fn unregister(&self, cache: &Arc<dyn Reapable>) {
        let station = self.station.load();
        let queue = if station.is_inherited() {
            station.queue.try_lock()
        } else {
            Some(station.queue.lock())
        };
        // `None` in a forked child only: the memory of the cache stays, without its entries.
        let removed = queue.and_then(|mut queue| queue.unregister(cache));
        drop(removed);
    }

    /// Sets the time of a shard's next event, which has become earlier. With the shard's lock
    /// held.
    pub(crate) fn schedule(&self, source: usize, timescale: Timescale, nanos: u64) {
        let station = self.station.load();
        if station.is_inherited() {
            return;
        }
        let mut queue = station.queue.lock();
        if queue.schedule(source, timescale, nanos) {
            queue.up_nanos = Default::default();
            drop(queue);
            station.woken.notify_all();
        }
    }

    /// Ends the thread's sleep, or its next one, and has it see whether there is demand for the
    /// cached clock.
    pub(crate) fn wake(&self) {
        let station = self.station.load();
        if station.is_inherited() {
            return;
        }
        let mut queue = station.queue.lock();
        queue.is_woken = true;
        queue.refresh_nanos = 0;
        queue.up_nanos = Default::default();
        drop(queue);
        station.woken.notify_all();
    }

    /// Returns whether a thread of this process frees what is due.
    pub(crate) fn is_running(&self) -> bool {
        !self.station.load().is_inherited()
    }

    /// Returns the time of the first event.
    #[cfg(test)]
    pub(crate) fn first_event_nanos(&self, timescale: Timescale) -> u64 {
        self.station.load().queue.lock().first(timescale).unwrap_or(NEVER)
    }

    /// One round of a thread: frees what is due in every cache, and sleeps until the next event.
    /// Returns whether it is still this thread that serves the caches.
    pub(crate) fn run_once(&self, thread: u64, now_nanos: impl Fn(Timescale) -> u64) -> bool {
        while self.visit_next(thread, &now_nanos) {}
        self.sleep(thread, now_nanos)
    }

    /// Visits the first shard that has something due. Returns false if there is none, or if
    /// another thread has taken over.
    pub(crate) fn visit_next(&self, thread: u64, now_nanos: impl Fn(Timescale) -> u64) -> bool {
        let station = self.station.load();
        let visit = {
            let mut queue = station.queue.lock();
            if queue.thread != thread {
                return false;
            }
            let Some(visit) = queue.take_due(&now_nanos) else { return false };
            self.refresh_clock(&mut queue, now_nanos(Timescale::Monotonic), &now_nanos);
            self.busy_since_nanos.store(clock::system_coarse_nanos().max(1), Relaxed);
            visit
        };
        visit.cache.visit(visit.shard, visit.now_nanos, &mut |next_nanos| {
            station.queue.lock().put_back(&visit, next_nanos);
        });
        let queue = station.queue.lock();
        if queue.thread == thread {
            self.busy_since_nanos.store(0, Relaxed);
        }
        drop(queue);
        // Not under the lock: `visit` may have the last reference.
        true
    }

    /// Sleeps until the next event, or until the cached clock is to be refreshed. Returns false
    /// if another thread has taken over.
    pub(crate) fn sleep(&self, thread: u64, now_nanos: impl Fn(Timescale) -> u64) -> bool {
        let station = self.station.load();
        let mut queue = station.queue.lock();
        if queue.thread != thread {
            return false;
        }
        let times_nanos = Timescale::ALL.map(&now_nanos);
        let monotonic_nanos = times_nanos[Timescale::Monotonic as usize];
        self.refresh_clock(&mut queue, monotonic_nanos, now_nanos);
        if std::mem::take(&mut queue.is_woken) {
            return true;
        }
        let mut wait_nanos = queue.refresh_nanos.saturating_sub(monotonic_nanos);
        for timescale in Timescale::ALL {
            if let Some(nanos) = queue.first(timescale) {
                wait_nanos = wait_nanos.min(nanos.saturating_sub(times_nanos[timescale as usize]));
                if timescale == Timescale::Boot {
                    wait_nanos = wait_nanos.min(BOOT_PERIOD_NANOS);
                }
            }
        }
        if wait_nanos == 0 {
            return true;
        }
        queue.up_nanos = times_nanos.map(|nanos| nanos.saturating_add(wait_nanos));
        // Where there is nothing to wait for, that is some centuries.
        let mut queue = station.woken.wait_timeout(queue, Duration::from_nanos(wait_nanos));
        queue.up_nanos = Default::default();
        queue.is_woken = false;
        true
    }

    /// Refreshes the cached clock if it is time.
    fn refresh_clock(
        &self,
        queue: &mut Queue,
        monotonic_nanos: u64,
        now_nanos: impl Fn(Timescale) -> u64,
    ) {
        if queue.refresh_nanos <= monotonic_nanos {
            let next_nanos = self.cached_clock.refresh(|| now_nanos(Timescale::Monotonic));
            queue.refresh_nanos = next_nanos.unwrap_or(NEVER);
        }
    }

    /// Starts another thread if callers' code has kept the present one for too long.
    pub(crate) fn relieve(&'static self, coarse_nanos: u64) {
        let is_stuck = |since: u64| {
            since > 0 && coarse_nanos.saturating_sub(since) > STUCK_AFTER.as_nanos() as u64
        };
        let station = self.station.load();
        if !is_stuck(self.busy_since_nanos.load(Relaxed)) || station.is_inherited() {
            return;
        }
        let mut queue = station.queue.lock();
        if is_stuck(self.busy_since_nanos.load(Relaxed))
            && (1..THREADS_MAX).contains(&queue.threads)
        {
            // If it cannot be started, as long again passes before the next attempt.
            self.busy_since_nanos.store(coarse_nanos, Relaxed);
            if spawn(self, queue.thread + 1).is_ok() {
                queue.thread += 1;
                queue.threads += 1;
            }
        }
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
        let reaper = process_reaper();
        reaper.replace_station_after_fork();
        let mut queue = reaper.station.load().queue.lock();
        spawn(reaper, queue.thread)?;
        queue.threads = 1;
        *started_in = Some(process);
    }
    Ok(())
}

impl ReaperThread {
    /// Takes over what a parent process has left.
    fn replace_station_after_fork(&self) {
        let inherited = self.station.load();
        if !inherited.is_inherited() {
            return;
        }
        self.cached_clock.stop();
        self.busy_since_nanos.store(0, Relaxed);
        // If another thread of the parent held the lock, its caches are freed by calls alone.
        let queue = inherited.queue.try_lock().map(|mut queue| std::mem::take(&mut *queue));
        let mut queue = queue.unwrap_or_default();
        queue.up_nanos = Default::default();
        queue.refresh_nanos = 0;
        queue.schedule_all();
        self.station.store(Station::new(queue));
    }
}

fn spawn(reaper: &'static ReaperThread, number: u64) -> io::Result<()> {
    thread::Builder::new().name("punctual-reaper".into()).spawn(move || run(reaper, number))?;
    Ok(())
}

fn run(reaper: &ReaperThread, number: u64) {
    loop {
        // Callers' code is guarded one entry at a time; this is for the rest, should it ever
        // be needed: the thread serves every cache there is.
        let round = AssertUnwindSafe(|| reaper.run_once(number, Timescale::now_nanos));
        match catch_unwind(round) {
            Ok(true) => {}
            Ok(false) => break,
            Err(panic) => panic::drop_payload(panic),
        }
    }
    reaper.station.load().queue.lock().threads -= 1;
}
