//! The time of a cache that reads its clock at every call.

use std::time::Duration;

use crate::time::clock::{Clock, ClockSource, UNKNOWN_NANOS};
use crate::time::tick::{Moment, Timebase};

/// A clock and the latest time it told: time never goes back, whatever the clock
/// does.
#[derive(Debug)]
pub(super) struct MonotonicClock {
    source: ClockSource<dyn Clock>,
    base: Timebase,
    latest: Moment,
    /// Readings below this make no difference to `latest`.
    valid_until_nanos: u64,
}

impl MonotonicClock {
    pub(super) fn new(source: ClockSource<dyn Clock>, base: Timebase) -> Self {
        let latest = source.now(&base);
        Self { source, base, latest, valid_until_nanos: 0 }
    }

    pub(super) fn latest(&self) -> Moment {
        self.latest
    }

    /// The tick it is now, if the clock says no more than it did before, as the coarse
    /// one and those that the caller moves do in most calls. Of others it is not told.
    #[inline]
    pub(super) fn cached_tick(&self) -> Option<u64> {
        (self.source.nanos() < self.valid_until_nanos).then_some(self.latest.tick)
    }

    /// Until the clock is read again, nothing is [`cached_tick`](Self::cached_tick).
    pub(super) fn invalidate(&mut self) {
        self.valid_until_nanos = 0;
    }

    /// Reads the clock: the tick it is now.
    #[inline]
    pub(super) fn read(&mut self) -> u64 {
        let nanos = self.source.nanos();
        let reading = if nanos == UNKNOWN_NANOS {
            self.source.now(&self.base)
        } else {
            self.valid_until_nanos = nanos + 1;
            self.base.moment_of_nanos(nanos)
        };
        self.latest = reading.max(self.latest);
        self.latest.tick
    }

    /// Reads the clock, for [`deadline`](Self::deadline) to count from.
    #[inline]
    pub(super) fn read_for_deadline(&mut self) -> u64 {
        self.latest = self.source.now_precise(&self.base).max(self.latest);
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
