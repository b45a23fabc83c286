//! What a cache holds of the reaper that serves it: its clocks, and how to wake it.

use std::sync::Arc;

use forkguard::Guard;

use super::{Reapable, ReaperThread};
use crate::time::clock;
use crate::time::tick::{Moment, Timebase};

/// A cache's handle to its reaper.
pub(crate) struct ReaperHandle {
    reaper: &'static ReaperThread,
    timebase: Timebase,
    /// Detects a forked child, where nobody refreshes the cached clock. `None` if the
    /// cache does not go by that clock.
    process: Option<Guard>,
}

impl ReaperHandle {
    /// A handle for a cache whose clock is the system's coarse one, or another.
    ///
    /// The reaper's clocks stand in for the coarse clock, where there is one and a fork
    /// can be detected.
    pub(crate) fn new(reaper: &'static ReaperThread, timebase: Timebase, is_coarse: bool) -> Self {
        let has_clocks = is_coarse && clock::system_coarse_step_nanos() > 0;
        let process = if has_clocks { Guard::try_new().ok() } else { None };
        Self { reaper, timebase, process }
    }

    pub(crate) fn register(&self, cache: Arc<dyn Reapable>) {
        self.reaper.register(cache);
    }

    pub(crate) fn unregister(&self, cache: &Arc<dyn Reapable>) {
        self.reaper.unregister(cache);
    }

    /// Wakes the reaper if it means to sleep beyond the start of `tick`, which has been
    /// stored where it looks.
    pub(crate) fn wake_before(&self, tick: u64) {
        self.reaper.alarm().wake_before(self.timebase.nanos(tick));
    }

    /// Returns the time by the cached clock, to see what is due; `None` if it is stale.
    #[inline]
    pub(crate) fn cached_now(&self) -> Option<Moment> {
        let nanos = self.reaper.cached_clock.get(self.process.as_ref()?)?;
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
        self.reaper.cached_clock.precise()
    }

    /// Whether the reaper's clocks stand in for the cache's.
    #[cfg(test)]
    pub(crate) fn has_clocks(&self) -> bool {
        self.process.is_some()
    }

    /// Reads the system's coarse or precise clock, if the reaper's clocks stand in for it.
    ///
    /// Enough such calls have the reaper refresh its clocks.
    pub(crate) fn read(&self, is_precise: bool) -> Option<Moment> {
        self.process.as_ref()?;
        let clock = &self.reaper.cached_clock;
        let now_nanos =
            if is_precise { clock::system_nanos() } else { clock::system_coarse_nanos() };
        // Without a TSC, refreshing would not spare calls the precise clock.
        if (clock.has_tsc() || !is_precise) && clock.count_read(now_nanos) {
            self.reaper.alarm().wake();
        }
        Some(self.timebase.moment_of_nanos(now_nanos))
    }
}
