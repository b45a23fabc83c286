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
    /// What the clock said when `latest` was read, or less.
    latest_nanos: u64,
}

impl Time {
    pub(super) fn new(source: TimeSource<dyn Clock>, base: Timebase) -> Self {
        let latest = source.now(&base);
        Self { source, base, latest, latest_nanos: 0 }
    }

    pub(super) fn latest(&self) -> Moment {
        self.latest
    }

    /// Reads the clock: the tick it is now.
    #[inline]
    pub(super) fn read(&mut self) -> u64 {
        let nanos = self.source.nanos();
        // As a rule it is what it was at the call before.
        if nanos.is_none_or(|nanos| nanos > self.latest_nanos) {
            self.go_on(nanos);
        }
        self.latest.tick
    }

    #[inline(never)]
    fn go_on(&mut self, nanos: Option<u64>) {
        let reading = match nanos {
            Some(nanos) => {
                self.latest_nanos = nanos;
                self.base.moment_of_nanos(nanos)
            }
            None => self.source.now(&self.base),
        };
        self.latest = reading.max(self.latest);
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
