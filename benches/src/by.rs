//! The clocks that the measurements go by.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// By which clock something is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// As the caller feels it, with interruptions.
    Passed,
    /// What the calling thread has worked.
    Processor,
}

impl By {
    #[inline]
    pub(crate) fn now(self) -> Duration {
        let clock = match self {
            Self::Passed => ClockId::Monotonic,
            Self::Processor => ClockId::ThreadCPUTime,
        };
        let time = clock_gettime(clock);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}
