//! The time by which adapters that store a deadline in the value compare it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Where an adapter's deadlines come from.
pub(crate) trait Time: Clone {
    type Moment: Copy + Ord;

    fn now(&self) -> Self::Moment;
    /// The moment at which a TTL that starts now has passed.
    fn deadline(&self, ttl: Duration) -> Self::Moment;
}

/// `Instant::now()`, as anybody would write it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealTime;

impl Time for RealTime {
    type Moment = Instant;

    #[inline]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[inline]
    fn deadline(&self, ttl: Duration) -> Instant {
        Instant::now() + ttl
    }
}

/// Stands still until it is set: for replaying traces.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimulatedTime(Rc<Cell<Duration>>);

impl SimulatedTime {
    pub(crate) fn set(&self, now: Duration) {
        self.0.set(now);
    }
}

impl Time for SimulatedTime {
    type Moment = Duration;

    fn now(&self) -> Duration {
        self.0.get()
    }

    fn deadline(&self, ttl: Duration) -> Duration {
        self.0.get().saturating_add(ttl)
    }
}
