//! The time of a cache that reads its clock at every call.

use std::time::Duration;

use crate::clock::{Clock, TimeSource};
use crate::tick::{Moment, Timebase};

/// A clock and the latest time it told: time never goes back, whatever the clock
/// does.
#[derive(Debug)]
pub(super) struct Time {
    source: TimeSource<dyn Clock>,
    base: Timebase,
    latest: Moment,
}

impl Time {
    pub(super) fn new(source: TimeSource<dyn Clock>, base: Timebase) -> Self {
        let latest = source.now(&base);
        Self { source, base, latest }
    }

    pub(super) fn latest(&self) -> Moment {
        self.latest
    }

    /// Reads the clock: the tick it is now.
    #[inline]
    pub(super) fn read(&mut self) -> u64 {
        let reading = self.source.now(&self.base);
        if reading > self.latest {
            self.latest = reading;
        }
        self.latest.tick
    }

    /// Reads the clock, for [`deadline`](Self::deadline) to count from.
    #[inline]
    pub(super) fn read_for_deadline(&mut self) -> u64 {
        self.latest = self.source.now_for_deadline(&self.base).max(self.latest);
        self.latest.tick
    }

    /// Reads the clock and keeps nothing.
    #[inline]
    pub(super) fn peek(&self) -> Moment {
        self.source.now(&self.base).max(self.latest)
    }

    /// The first tick in which an entry is due that is put in at the time read
    /// last, for that purpose; `None` for never.
    #[inline]
    pub(super) fn deadline(&self, ttl: Duration) -> Option<u64> {
        self.base.deadline(self.latest, ttl)
    }

    /// From the given time until a tick starts; zero if it has.
    pub(super) fn until(&self, tick: u64, now: Moment) -> Duration {
        self.base.until(tick, now)
    }
}
