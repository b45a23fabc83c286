//! What a cache holds of the reaper that serves it: its clocks, and how to wake it.

use forkguard::Guard;

use super::ReaperThread;
use crate::time::clock;
use crate::time::tick::{Moment, Timebase};

/// A cache's handle to its reaper.
pub(crate) struct ReaperHandle {
    pub(crate) thread: &'static ReaperThread,
    timebase: Timebase,
    /// Detects a forked child, where nobody refreshes the cached clock. `None` if the
    /// cache does not go by that clock.
    pub(crate) process: Option<Guard>,
}

impl ReaperHandle {
    /// A handle for a cache whose clock is the system's coarse one, or another.
    ///
    /// The reaper's clocks stand in for the coarse clock, where there is one and a fork
    /// can be detected.
    pub(crate) fn new(thread: &'static ReaperThread, timebase: Timebase, is_coarse: bool) -> Self {
        let has_clocks = is_coarse && clock::system_coarse_step_nanos() > 0;
        let process = if has_clocks { Guard::try_new().ok() } else { None };
        Self { thread, timebase, process }
    }

    /// Wakes the reaper if it means to sleep beyond the start of `tick`, which has been
    /// stored where it looks.
    pub(crate) fn wake_before(&self, tick: u64) {
        self.thread.alarm.wake_before(self.timebase.nanos(tick));
    }

    /// Returns the time by the cached clock, to see what is due; `None` if it is stale.
    #[inline]
    pub(crate) fn cached_now(&self) -> Option<Moment> {
        let nanos = self.thread.cached_clock.get(self.process.as_ref()?)?;
        Some(self.timebase.moment_of_nanos(nanos))
    }

    /// Returns the time by the TSC, to count a TTL from; `None` if it cannot tell.
    #[inline]
    pub(crate) fn tsc_now(&self) -> Option<Moment> {
        Some(self.timebase.moment_of_nanos(self.tsc_nanos()?))
    }

    #[inline]
    pub(crate) fn tsc_nanos(&self) -> Option<u64> {
        self.process.as_ref()?;
        self.thread.cached_clock.precise()
    }

    /// Reads the system's coarse or precise clock, if the reaper's clocks stand in for it.
    ///
    /// Enough such calls have the reaper refresh its clocks.
    #[inline(always)]
    pub(crate) fn read(&self, is_precise: bool) -> Option<Moment> {
        self.process.as_ref()?;
        let clock = &self.thread.cached_clock;
        let now_nanos =
            if is_precise { clock::system_nanos() } else { clock::system_coarse_nanos() };
        // Without a TSC, refreshing would not spare calls the precise clock.
        if (clock.has_tsc() || !is_precise) && clock.count_read(now_nanos) {
            self.thread.alarm.wake();
        }
        Some(self.timebase.moment_of_nanos(now_nanos))
    }
}
