//! What a cache holds of the reaper that serves it: its clocks, and how to tell it of events.

use forkguard::Guard;

use super::{PROCESS_REAPER, ReaperThread};
use crate::time::cached_clock::{CachedClock, LAG_MAX_NANOS};
use crate::time::clock::{self, Timescale};
use crate::time::tick::{Moment, Timebase};

/// What the caches hold that do not go by the reaper's clocks.
static NEVER_REFRESHED: CachedClock = CachedClock::without_tsc(0);

/// A cache's handle to its reaper.
pub(crate) struct ReaperHandle {
    /// `None` for a cache that no thread serves.
    pub(crate) thread: Option<&'static ReaperThread>,
    pub(crate) timescale: Timescale,
    timebase: Timebase,
    /// [`LAG_MAX_NANOS`] in ticks, if the cached clock is refreshed.
    lag_ticks: u64,
    clock: &'static CachedClock,
    /// Detects a forked child, where no thread refreshes the clock.
    process: Guard,
}

impl ReaperHandle {
    /// A handle for a cache that goes by the system's coarse clock, or by another.
    ///
    /// The reaper's clocks stand in for the coarse clock, where the system has one.
    pub(crate) fn new(
        thread: Option<&'static ReaperThread>,
        timescale: Timescale,
        timebase: Timebase,
        is_coarse: bool,
    ) -> Self {
        let has_clocks = is_coarse && clock::system_coarse_step_nanos() > 0;
        let refreshed = thread.filter(|_| has_clocks).map(|thread| &thread.cached_clock);
        let clock = refreshed.unwrap_or(&NEVER_REFRESHED);
        let lag_ticks = match refreshed {
            Some(_) => timebase.moment_of_nanos(LAG_MAX_NANOS).tick + 1,
            None => 0,
        };
        Self { thread, timebase, lag_ticks, timescale, clock, process: Guard::default() }
    }

    /// Whether the reaper's clocks stand in for the cache's.
    pub(crate) fn has_clocks(&self) -> bool {
        !std::ptr::eq(self.clock, &NEVER_REFRESHED)
    }

    /// Has the reaper visit a shard at the start of `tick`, earlier than it would have. With the
    /// shard's lock held.
    pub(crate) fn schedule(&self, source: usize, tick: u64) {
        if let Some(thread) = self.thread {
            thread.schedule(source, self.timescale, self.timebase.nanos(tick));
        }
    }

    /// Returns whether a thread of this process frees what is due in a shard with this number.
    pub(crate) fn serves(&self, source: usize) -> bool {
        self.thread.is_some_and(|thread| thread.serves(source))
    }

    /// Returns the time by the cached clock; `None` if it is stale.
    #[inline]
    pub(crate) fn cached_now(&self) -> Option<Moment> {
        self.clock.get(&self.process).map(|nanos| self.timebase.moment_of_nanos(nanos))
    }

    /// Looks whether the reaper does its work: compares the cached clock with the system's, from
    /// when on it is not too old, and replaces a thread that is kept from its work. For a cache
    /// without a reaper, that is the process's, since others of this thread's calls rely on it.
    pub(crate) fn check(&self) {
        if let Some(thread) = self.thread.or_else(|| PROCESS_REAPER.get()) {
            let now_nanos = clock::system_coarse_nanos();
            thread.cached_clock.check(now_nanos);
            thread.relieve(now_nanos);
        }
    }

    /// Returns by how many ticks the cached clock, or the coarse clock in its place, may be
    /// behind without harm; zero for a cache that goes by another clock.
    #[inline]
    pub(crate) fn lag_ticks(&self) -> u64 {
        self.lag_ticks
    }

    /// Returns the time by the TSC, to count a TTL from; `None` if it cannot tell.
    #[inline]
    pub(crate) fn tsc_now(&self) -> Option<Moment> {
        self.clock.precise().map(|nanos| self.timebase.moment_of_nanos(nanos))
    }

    /// Reads the system's coarse or precise clock, which the reaper's clocks
    /// [stand in](Self::has_clocks) for. Enough such calls have the reaper refresh its clocks.
    #[inline(always)]
    pub(crate) fn read(&self, is_precise: bool) -> Moment {
        let now_nanos =
            if is_precise { clock::system_nanos() } else { clock::system_coarse_nanos() };
        // Without a TSC, refreshing would not spare calls the precise clock.
        if (self.clock.has_tsc() || !is_precise) && self.clock.count_read(now_nanos) {
            self.thread.expect("it has clocks").wake();
        }
        self.timebase.moment_of_nanos(now_nanos)
    }
}
