//! Which clock a cache goes by: the builder's, read at every call.
//!
//! Of the system's, a lookup reads the coarse one, and a TTL counts from the precise one.

use std::time::Duration;

use crate::time::clock::{Clock, ClockSource, UNKNOWN_NANOS};
use crate::time::tick::{Deadline, Moment, Timebase};

/// A clock and the latest time that it told: time never goes back, whatever the clock does.
#[derive(Debug)]
pub(super) struct MonotonicClock {
    source: ClockSource<dyn Clock>,
    pub(super) timebase: Timebase,
    latest: Moment,
    /// Whether there is ever a [cached tick](Self::cached_tick).
    is_cached: bool,
    /// Readings below this make no difference to `latest`.
    valid_until_nanos: u64,
}

impl MonotonicClock {
    pub(super) fn new(source: ClockSource<dyn Clock>, timebase: Timebase, is_cached: bool) -> Self {
        let latest = source.now(&timebase);
        Self { source, timebase, latest, is_cached, valid_until_nanos: 0 }
    }

    /// Returns the tick it is, if the source is cheap to read and has not advanced; `None`
    /// means: call [`read`](Self::read).
    #[inline]
    pub(super) fn cached_tick(&self) -> Option<u64> {
        (self.source.nanos() < self.valid_until_nanos).then_some(self.latest.tick)
    }

    /// Returns the tick that the clock told last.
    pub(super) fn latest_tick(&self) -> u64 {
        self.latest.tick
    }

    /// Until the clock is read again, there is no [cached tick](Self::cached_tick).
    pub(super) fn invalidate(&mut self) {
        self.valid_until_nanos = 0;
    }

    /// Reads the clock. Returns the tick it is.
    #[inline]
    pub(super) fn read(&mut self) -> u64 {
        let nanos = self.source.nanos();
        let reading = if nanos == UNKNOWN_NANOS {
            self.source.now(&self.timebase)
        } else {
            self.valid_until_nanos = if self.is_cached { nanos + 1 } else { 0 };
            self.timebase.moment_of_nanos(nanos)
        };
        self.latest = reading.max(self.latest);
        self.latest.tick
    }

    /// Reads the clock that a TTL counts from. Returns the tick it is.
    #[inline]
    pub(super) fn read_for_ttl(&mut self) -> u64 {
        self.latest = self.source.now_precise(&self.timebase).max(self.latest);
        self.latest.tick
    }

    /// Reads the clock and changes nothing.
    #[inline]
    pub(super) fn peek(&self) -> Moment {
        self.source.now(&self.timebase).max(self.latest)
    }

    /// Reads the clock that a TTL counts from, and changes nothing.
    pub(super) fn peek_for_ttl(&self) -> Moment {
        self.source.now_precise(&self.timebase).max(self.latest)
    }

    /// Reads the clock that a TTL counts from. Returns the deadline for one that begins now, and
    /// changes nothing.
    pub(super) fn peek_deadline(&self, ttl: Option<Duration>) -> Deadline {
        match ttl {
            None => Deadline::Never,
            Some(_) => self.timebase.deadline(self.peek_for_ttl(), ttl),
        }
    }

    /// Returns the deadline of an entry whose TTL counts from the time
    /// [read last](Self::read_for_ttl).
    #[inline]
    pub(super) fn deadline(&self, ttl: Option<Duration>) -> Deadline {
        self.timebase.deadline(self.latest, ttl)
    }
}
