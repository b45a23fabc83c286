//! The time by which subjects go: the system's, or a simulated one.

use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use punctual::{Clock, ManualClock, RandomState};

pub(crate) trait Time: Clone + Send + Sync + 'static {
    type Moment: Copy + Ord + Send + Sync + 'static;
    type Hasher: BuildHasher + Clone + Send + Sync + 'static;

    /// For adapters that keep deadlines.
    fn now(&self) -> Self::Moment;
    /// The moment at which a TTL that starts now has passed.
    fn deadline(&self, ttl: Duration) -> Self::Moment;
    /// For caches that can be given a clock; none: the system's is theirs.
    fn clock(&self) -> Option<ManualClock>;
    fn hasher(&self) -> Self::Hasher;
}

/// `Instant::now()`, as anybody would write it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealTime;

impl Time for RealTime {
    type Moment = Instant;
    type Hasher = RandomState;

    #[inline]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[inline]
    fn deadline(&self, ttl: Duration) -> Instant {
        Instant::now() + ttl
    }

    fn clock(&self) -> Option<ManualClock> {
        None
    }

    fn hasher(&self) -> RandomState {
        RandomState::default()
    }
}

/// Stands still until it is set: for replaying traces, with a hasher whose seed is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimulatedTime {
    clock: ManualClock,
    seed: u64,
}

impl SimulatedTime {
    pub(crate) fn with_seed(seed: u64) -> Self {
        Self { clock: ManualClock::new(), seed }
    }

    pub(crate) fn set(&self, now: Duration) {
        self.clock.set(now);
    }
}

impl Time for SimulatedTime {
    type Moment = Duration;
    type Hasher = FixedState;

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn deadline(&self, ttl: Duration) -> Duration {
        self.now().saturating_add(ttl)
    }

    fn clock(&self) -> Option<ManualClock> {
        Some(self.clock.clone())
    }

    fn hasher(&self) -> FixedState {
        FixedState::with_seed(self.seed)
    }
}
