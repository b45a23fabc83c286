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
//! - Callers' code may keep this thread for long. Then one of the calls that check the clock starts
//!   another thread in its place.
//!   Each thread has a number; one whose number is not the queue's touches nothing, and ends.
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
mod station;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, thread};

use crate::panic;
use crate::sync::barrier;
use crate::time::cached_clock::CachedClock;
use crate::time::clock::{self, Timescale};
pub(crate) use queue::{NEVER, Reapable, Visit};
use queue::{Queue, Taken};
use station::{PresentStation, Station};

/// If callers' code of one entry keeps the thread for longer, another takes its place.
const STUCK_AFTER: Duration = Duration::from_millis(100);

/// The most threads at once, all but one of them kept by callers' code.
const THREADS_MAX: usize = 4;

/// A suspended machine stops the clock by which the thread sleeps, but not that of a
/// [`BootClock`](crate::BootClock). So it looks at that once in a while.
const BOOT_PERIOD_NANOS: u64 = 1_000_000_000;

/// When to come again where a shard's lock is held, perhaps for ever.
const RETRY_NANOS: u64 = 1_000_000_000;

/// The thread as the caches see it, and what it works through.
pub(crate) struct ReaperThread {
    station: PresentStation,
    pub(crate) cached_clock: CachedClock,
    /// Since when the thread has been in callers' code of one entry, by the system's clock; zero
    /// if it is not.
    busy_since_nanos: AtomicU64,
    /// The end of the numbers of sources, without the queue's lock.
    sources_end: AtomicUsize,
}

impl ReaperThread {
    pub(crate) fn new() -> Self {
        Self {
            station: PresentStation::new(),
            cached_clock: CachedClock::new(clock::system_coarse_step_nanos()),
            busy_since_nanos: AtomicU64::new(0),
            sources_end: AtomicUsize::new(0),
        }
    }

    /// Adds a cache, which is empty yet.
    pub(crate) fn register(&self, cache: &Arc<dyn Reapable>) {
        if let Some(mut queue) = self.station.lock_queue() {
            let end = queue.register(cache);
            self.sources_end.fetch_max(end, Relaxed);
        }
    }

    /// Removes a cache. Once this has returned, the thread begins no visit of it but one that it
    /// had decided on.
    pub(crate) fn unregister(&self, cache: &Arc<dyn Reapable>) {
        // `None` in a forked child only: the memory of the cache stays, without its entries.
        let removed = self.station.lock_queue().and_then(|mut queue| queue.unregister(cache));
        drop(removed);
    }

    /// Sets the time of a shard's next event, which has become earlier. With the shard's lock
    /// held.
    pub(crate) fn schedule(&self, source: usize, timescale: Timescale, nanos: u64) {
        let Some(station) = self.station.own() else { return };
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
        let Some(station) = self.station.own() else { return };
        let mut queue = station.queue.lock();
        queue.is_woken = true;
        queue.refresh_nanos = 0;
        queue.up_nanos = Default::default();
        drop(queue);
        station.woken.notify_all();
    }

    /// Returns whether a thread of this process frees what is due in a shard with this number.
    pub(crate) fn serves(&self, source: usize) -> bool {
        self.station.own().is_some_and(|station| source >= station.first_source)
    }

    /// Returns the time of the first event.
    #[cfg(test)]
    pub(crate) fn first_event_nanos(&self, timescale: Timescale) -> u64 {
        self.station.get().queue.lock().first(timescale).unwrap_or(NEVER)
    }

    /// Puts another thread in the place of the present one, as [`relieve`](Self::relieve) does.
    /// Returns its number.
    #[cfg(test)]
    pub(crate) fn take_over(&self) -> u64 {
        let station = self.station.get();
        let mut queue = station.queue.lock();
        queue.thread += 1;
        // What sleeps is to end, since nothing else is going to wake it here.
        station.woken.notify_all();
        queue.thread
    }

    /// One round of a thread: frees what is due in every cache, and sleeps until the next event.
    /// Returns whether it is still this thread that serves the caches.
    pub(crate) fn run_once(&self, thread: u64, now_nanos: impl Fn(Timescale) -> u64) -> bool {
        while self.visit_next(thread, &now_nanos) {}
        self.sleep(thread, now_nanos)
    }

    /// Visits a shard that has something due. Returns false if there is none, or if another
    /// thread has taken over.
    pub(crate) fn visit_next(&self, thread: u64, now_nanos: impl Fn(Timescale) -> u64) -> bool {
        let Some(station) = self.station.own() else { return false };
        let mut visit = {
            let mut queue = station.queue.lock();
            if queue.thread != thread {
                return false;
            }
            self.busy_since_nanos.store(0, Relaxed);
            let Some(taken) = queue.take_due(&now_nanos) else { return false };
            self.refresh_clock(&mut queue, &now_nanos);
            let since_nanos = Cell::new(clock::system_coarse_nanos());
            self.busy_since_nanos.store(since_nanos.get(), Relaxed);
            VisitOfThread { reaper: self, station, taken, since_nanos, is_put_back: false }
        };
        let cache = Arc::clone(&visit.taken.cache);
        cache.visit(visit.taken.shard, &mut visit);
        if !visit.is_put_back {
            let nanos = visit.taken.now_nanos.saturating_add(RETRY_NANOS);
            station.queue.lock().retry(&visit.taken, nanos);
        }
        true
    }

    /// Sleeps until the next event, or until the cached clock is to be refreshed. Returns false
    /// if another thread has taken over.
    pub(crate) fn sleep(&self, thread: u64, now_nanos: impl Fn(Timescale) -> u64) -> bool {
        let Some(station) = self.station.own() else { return false };
        let mut queue = station.queue.lock();
        if queue.thread != thread {
            return false;
        }
        self.busy_since_nanos.store(0, Relaxed);
        let times_nanos = Timescale::ALL.map(&now_nanos);
        let monotonic_nanos = self.refresh_clock(&mut queue, now_nanos);
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
        // Another thread's notes are not this one's to clear.
        let is_serving = queue.thread == thread;
        if is_serving {
            queue.up_nanos = Default::default();
            queue.is_woken = false;
        }
        is_serving
    }

    /// Refreshes the cached clock if it is time. Returns the time.
    fn refresh_clock(&self, queue: &mut Queue, now_nanos: impl Fn(Timescale) -> u64) -> u64 {
        let monotonic_nanos = now_nanos(Timescale::Monotonic);
        if queue.refresh_nanos <= monotonic_nanos {
            let next_nanos = self.cached_clock.refresh(|| now_nanos(Timescale::Monotonic));
            queue.refresh_nanos = next_nanos.unwrap_or(NEVER);
        }
        monotonic_nanos
    }

    /// Starts another thread if callers' code has kept the present one for too long.
    pub(crate) fn relieve(&'static self, coarse_nanos: u64) {
        let since_nanos = self.busy_since_nanos.load(Relaxed);
        let busy_nanos = coarse_nanos.saturating_sub(since_nanos);
        if since_nanos > 0 && busy_nanos > STUCK_AFTER.as_nanos() as u64 {
            self.replace_thread(since_nanos);
        }
    }

    #[cold]
    fn replace_thread(&'static self, since_nanos: u64) {
        let Some(station) = self.station.own() else { return };
        let number = {
            let mut queue = station.queue.lock();
            // Unless it goes on by now, or another call was first.
            let is_stuck = self.busy_since_nanos.load(Relaxed) == since_nanos;
            if !is_stuck || !(1..THREADS_MAX).contains(&queue.threads) {
                return;
            }
            self.busy_since_nanos.store(0, Relaxed);
            queue.thread += 1;
            queue.threads += 1;
            queue.thread
        };
        if spawn(self, station, number).is_err() {
            let mut queue = station.queue.lock();
            queue.threads -= 1;
            if queue.thread == number {
                // As before. It may be relieved of the next entry that keeps it.
                queue.thread -= 1;
            }
        }
    }
}

/// A visit by a thread.
struct VisitOfThread<'a> {
    reaper: &'a ReaperThread,
    station: &'static Station,
    taken: Taken,
    /// What this thread has noted in `busy_since_nanos`.
    since_nanos: Cell<u64>,
    is_put_back: bool,
}

impl Visit for VisitOfThread<'_> {
    fn now_nanos(&self) -> u64 {
        self.taken.now_nanos
    }

    fn may_wait(&self) -> bool {
        !self.taken.is_inherited
    }

    fn put_back(&mut self, next_nanos: u64) {
        self.is_put_back = true;
        self.station.queue.lock().put_back(&self.taken, next_nanos);
    }

    fn goes_on(&self) {
        let now_nanos = clock::system_coarse_nanos();
        let noted = &self.reaper.busy_since_nanos;
        // Unless another thread has taken over.
        if noted.compare_exchange(self.since_nanos.get(), now_nanos, Relaxed, Relaxed).is_ok() {
            self.since_nanos.set(now_nanos);
        }
    }
}

static PROCESS_REAPER: OnceLock<ReaperThread> = OnceLock::new();

/// Returns the one reaper of this process.
pub(crate) fn process_reaper() -> &'static ReaperThread {
    PROCESS_REAPER.get_or_init(ReaperThread::new)
}

/// Starts its thread unless this process has it. A forked child has its parent's memory and
/// none of its other threads: it starts its own with the first cache that it builds.
pub(crate) fn start() -> io::Result<()> {
    let reaper = process_reaper();
    if reaper.station.replace_after_fork(reaper.sources_end.load(Relaxed)) {
        reaper.cached_clock.stop();
        reaper.busy_since_nanos.store(0, Relaxed);
    }
    let station = reaper.station.get();
    let mut queue = station.queue.lock();
    if queue.threads == 0 {
        spawn(reaper, station, queue.thread)?;
        queue.threads = 1;
    }
    Ok(())
}

fn spawn(reaper: &'static ReaperThread, station: &'static Station, number: u64) -> io::Result<()> {
    let thread = thread::Builder::new().name("punctual-reaper".into());
    thread.spawn(move || run(reaper, station, number))?;
    Ok(())
}

fn run(reaper: &ReaperThread, station: &Station, number: u64) {
    // Here, where nobody waits for it.
    barrier::register();
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
    // A child that was forked by this very thread has another station.
    if !station.is_inherited() {
        station.queue.lock().threads -= 1;
    }
}
