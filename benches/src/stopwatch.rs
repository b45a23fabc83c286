//! The clocks that the measurements go by.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// By which clock something is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimedBy {
    /// As the caller feels it, with interruptions.
    WallClock,
    /// What the calling thread has worked.
    ThreadCpu,
}

impl TimedBy {
    #[inline]
    pub(crate) fn now(self) -> Duration {
        let clock = match self {
            Self::WallClock => ClockId::Monotonic,
            Self::ThreadCpu => ClockId::ThreadCPUTime,
        };
        let time = clock_gettime(clock);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}
