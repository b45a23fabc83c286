//! Time in ticks: how a reading of a clock and a TTL become a deadline.

use std::time::Duration;

/// An entry with a longer TTL never expires: a little more than 30 years.
pub(crate) const TTL_MAX: Duration = Duration::from_secs(1_000_000_000);

/// A later reading counts as this tick, so that a deadline never overflows.
const NOW_TICKS_MAX: u64 = 1 << 62;

/// The longest tick, more than 30 years: so a tick, a lag and a TTL together are less than
/// 2^64 nanoseconds.
const TICK_NANOS_LOG2_MAX: u32 = 60;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A time: a tick, and the nanoseconds since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) tick: u64,
    nanos_into_tick: u64,
}

impl Moment {
    /// Returns the start of a tick.
    #[inline]
    pub(crate) fn start_of(tick: u64) -> Self {
        Self { tick, nanos_into_tick: 0 }
    }
}

/// When an entry is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// At once: its TTL is zero.
    Now,
    /// From the start of this tick on.
    At(u64),
    Never,
}

impl Deadline {
    /// Returns the tick from which the entry is due; `u64::MAX` for never.
    #[inline]
    pub(crate) fn tick(self) -> u64 {
        match self {
            Self::Now => 0,
            Self::At(tick) => tick,
            Self::Never => u64::MAX,
        }
    }
}

/// The length of a tick, a power of two nanoseconds so that a reading becomes a tick by a
/// shift, and the lag to add to deadlines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timebase {
    tick_nanos_log2: u32,
    /// The bits of the nanoseconds into a tick.
    tick_mask: u64,
    lag_nanos: u64,
}

impl Timebase {
    /// The finest resolution, one microsecond: in its ticks, of 512 ns, [`TTL_MAX`] is just below
    /// 2^51, a quarter of what a packed deadline of the wheel can hold.
    pub(crate) const FINEST_RESOLUTION: Duration = Duration::from_micros(1);

    /// Returns the longest ticks of which one fits into `resolution` together with `lag`,
    /// that of the clock that decides what is due. Deadlines will be later by
    /// `deadline_lag`, that of the clock from which TTLs count.
    pub(crate) fn new(resolution: Duration, lag: Duration, deadline_lag: Duration) -> Self {
        let tick_nanos_max = (resolution - lag.min(resolution / 2)).as_nanos().max(1);
        let tick_nanos_log2 = tick_nanos_max.ilog2().min(TICK_NANOS_LOG2_MAX);
        Self {
            tick_nanos_log2,
            tick_mask: (1 << tick_nanos_log2) - 1,
            lag_nanos: nanos(deadline_lag.min(TTL_MAX)),
        }
    }

    /// Returns the moment of a reading.
    #[inline(never)]
    pub(crate) fn moment(&self, reading: Duration) -> Moment {
        let reading_nanos = reading.as_nanos();
        let tick = reading_nanos >> self.tick_nanos_log2;
        if tick >= u128::from(NOW_TICKS_MAX) {
            return Moment::start_of(NOW_TICKS_MAX);
        }
        let nanos_into_tick = reading_nanos as u64 & self.tick_mask;
        Moment { tick: tick as u64, nanos_into_tick }
    }

    /// Returns the moment of a reading in nanoseconds.
    #[inline]
    pub(crate) fn moment_of_nanos(&self, reading_nanos: u64) -> Moment {
        Moment {
            tick: reading_nanos >> self.tick_nanos_log2,
            nanos_into_tick: reading_nanos & self.tick_mask,
        }
    }

    /// Returns the deadline of an entry inserted at `now`: never without a TTL, or with one
    /// above [`TTL_MAX`].
    ///
    /// It is not before the TTL has passed, even if the clock lagged when `now` was read, and
    /// in a later tick than `now` unless the TTL is zero.
    #[inline]
    pub(crate) fn deadline(&self, now: Moment, ttl: Option<Duration>) -> Deadline {
        let Some(ttl) = ttl else { return Deadline::Never };
        // Seconds first: two comparisons less than with a `Duration`.
        if ttl.as_secs() >= TTL_MAX.as_secs() && ttl > TTL_MAX {
            return Deadline::Never;
        }
        let ttl_nanos = nanos(ttl);
        if ttl_nanos == 0 {
            return Deadline::Now;
        }
        Deadline::At(self.end_after_nanos(now, ttl_nanos))
    }

    /// Returns the [`deadline`](Self::deadline) of a TTL above zero and not above [`TTL_MAX`].
    #[inline]
    pub(crate) fn end_after(&self, now: Moment, ttl: Duration) -> u64 {
        self.end_after_nanos(now, nanos(ttl))
    }

    #[inline]
    fn end_after_nanos(&self, now: Moment, ttl_nanos: u64) -> u64 {
        let nanos = now.nanos_into_tick + self.lag_nanos + ttl_nanos;
        // Rounds up: the tick that starts at or after that moment.
        now.tick + ((nanos + self.tick_mask) >> self.tick_nanos_log2)
    }

    /// Returns the start of a tick in nanoseconds, saturating at `u64::MAX`.
    pub(crate) fn nanos(&self, tick: u64) -> u64 {
        u64::try_from(u128::from(tick) << self.tick_nanos_log2).unwrap_or(u64::MAX)
    }

    /// Returns a moment in nanoseconds, saturating at `u64::MAX`.
    pub(crate) fn nanos_of(&self, moment: Moment) -> u64 {
        self.nanos(moment.tick).saturating_add(moment.nanos_into_tick)
    }

    /// Returns the least that may be left of the TTL that gave an entry this deadline: the lag was
    /// added, and the sum rounded up to the tick.
    pub(crate) fn ttl_left_min(&self, deadline: u64, now: Moment) -> Duration {
        let until = self.until(deadline.saturating_sub(1), now);
        until.saturating_sub(Duration::from_nanos(self.lag_nanos))
    }

    /// [`ttl_left_min`](Self::ttl_left_min) of an entry that may have no deadline:
    /// [`Duration::MAX`] then.
    pub(crate) fn ttl_left(&self, deadline: Option<u64>, now: Moment) -> Duration {
        deadline.map_or(Duration::MAX, |tick| self.ttl_left_min(tick, now))
    }

    /// Returns the nanoseconds from one moment to another; zero if that is before.
    pub(crate) fn nanos_between(&self, from: Moment, to: Moment) -> u64 {
        self.nanos_of(to).saturating_sub(self.nanos_of(from))
    }

    /// Returns the time from `now` to the start of a tick; zero if it has started.
    pub(crate) fn until(&self, tick: u64, now: Moment) -> Duration {
        let ticks = u128::from(tick.saturating_sub(now.tick));
        let nanos = (ticks << self.tick_nanos_log2).saturating_sub(now.nanos_into_tick.into());
        let seconds = nanos / u128::from(NANOS_PER_SECOND);
        Duration::new(
            u64::try_from(seconds).unwrap_or(u64::MAX),
            (nanos % u128::from(NANOS_PER_SECOND)) as u32,
        )
    }
}

/// Returns the nanoseconds of a duration of at most [`TTL_MAX`].
#[inline]
fn nanos(duration: Duration) -> u64 {
    duration.as_secs() * NANOS_PER_SECOND + u64::from(duration.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most ticks to a deadline that a packed deadline can hold.
    const TTL_TICKS_MAX: u64 = (1 << 53) - 1;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn tick(deadline: Deadline) -> u64 {
        let Deadline::At(tick) = deadline else { panic!("{deadline:?}") };
        tick
    }

    #[test]
    fn a_tick_and_the_lag_fit_into_the_resolution() {
        for resolution_nanos in [1_000, 1_001, 10_000_000, 3_600_000_000_000, 86_400_000_000_000u64]
        {
            for lag_nanos in [0, 1, resolution_nanos / 3, resolution_nanos / 2] {
                let base = Timebase::new(
                    Duration::from_nanos(resolution_nanos),
                    Duration::from_nanos(lag_nanos),
                    Duration::ZERO,
                );
                let tick_nanos = base.tick_mask + 1;
                assert!(tick_nanos + lag_nanos <= resolution_nanos);
                assert!((tick_nanos * 2).saturating_add(lag_nanos) > resolution_nanos);
            }
        }
    }

    #[test]
    fn a_deadline_is_never_early_and_late_by_less_than_a_tick() {
        let base = Timebase::new(10 * MILLISECOND, 4 * MILLISECOND, 4 * MILLISECOND);
        let tick_length = Duration::from_nanos(1 << base.tick_nanos_log2);
        for now_nanos in [0, 1, 4_194_303, 4_194_304, 4_194_305, u64::MAX / 3] {
            for ttl_nanos in [1, 4_194_303, 4_194_304, 4_194_305, 1_000_000_007] {
                let now = base.moment(Duration::from_nanos(now_nanos));
                assert_eq!(now, base.moment_of_nanos(now_nanos));
                let ttl = Duration::from_nanos(ttl_nanos);
                let deadline = tick(base.deadline(now, Some(ttl)));
                let left = base.until(deadline, now);
                assert!(left >= 4 * MILLISECOND + ttl, "early: {now:?} {ttl:?}");
                assert!(left < 4 * MILLISECOND + ttl + tick_length, "late: {now:?} {ttl:?}");
                assert!(deadline > now.tick, "due at once: {now:?} {ttl:?}");
            }
        }
    }

    #[test]
    fn thirty_years_end_and_the_longest_duration_does_not() {
        let thirty_years = 30 * Duration::from_secs(31_557_600);
        assert!(thirty_years < TTL_MAX);
        for resolution in [Timebase::FINEST_RESOLUTION, 100_000 * MILLISECOND, Duration::MAX] {
            for lag in [Duration::ZERO, resolution / 2, Duration::MAX] {
                let base = Timebase::new(resolution, lag, lag);
                let deadline = tick(base.deadline(Moment::start_of(0), Some(TTL_MAX)));
                assert!(deadline <= TTL_TICKS_MAX, "{deadline}");
                let end = base.moment(Duration::MAX);
                assert!(tick(base.deadline(end, Some(TTL_MAX))) > end.tick);
                assert_eq!(base.deadline(end, Some(Duration::MAX)), Deadline::Never);
                assert_eq!(base.deadline(end, None), Deadline::Never);
                assert_eq!(base.deadline(end, Some(Duration::ZERO)), Deadline::Now);
            }
        }
    }

    #[test]
    fn a_clock_at_its_end_stands_still() {
        let base = Timebase::new(Timebase::FINEST_RESOLUTION, Duration::ZERO, Duration::ZERO);
        let now = base.moment(Duration::MAX);
        assert_eq!(now.tick, NOW_TICKS_MAX);
        assert!(tick(base.deadline(now, Some(MILLISECOND))) > now.tick);
        assert_eq!(base.until(now.tick, now), Duration::ZERO);
    }
}
