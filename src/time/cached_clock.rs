//! The time, cached under load: the reaper refreshes it, calls read it instead of the
//! system's coarse clock, to see what is due.
//!
//! # Ground rules
//!
//! - Only the reaper refreshes it, each period; of several threads, the one that holds the lock
//!   of the reaper's queue.
//! - Where the time is stale, the call reads the system's clock.
//! - The system may keep the reaper, or the whole process, from the processor for any time,
//!   so nobody trusts the cached time for long. Every few calls, a thread compares it with the
//!   system's clock, and marks a time that is too old as stale. The calls in between go by it
//!   only for entries that are not due for [`LAG_MAX_NANOS`] more; for all that may be due
//!   before, they read another clock.
//! - A forked child has its parent's memory, this time included, and no reaper to refresh
//!   it. So the reader asks a [`Guard`] whether this is still the process in which the cache
//!   was built. (The TSC clock needs none: its samples become invalid by themselves.)
//! - It lags by one period at most, and by what the system takes to wake the reaper: as much
//!   as the coarse clock that it stands in for. A TTL must not count from it. That is what
//!   the [`tsc_clock`](crate::time::tsc_clock) is for, which the reaper calibrates with it.
//!
//! An idle process does not pay for it: the reaper stops after [`IDLE_PERIODS_MAX`] without
//! demand, and starts again after [`DEMAND_READS`] readings of the system's clock within
//! [`DEMAND_WINDOW_PERIODS`].

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst, fence};

use forkguard::Guard;

use super::tsc::Tsc;
use super::tsc_clock::{Sample, TscClock};

const STALE: u64 = 0;

/// Periods for which the clock is refreshed before demand is checked again.
pub(crate) const IDLE_PERIODS_MAX: u32 = 16;

/// A cached time may be behind by as much without an entry being returned too late. The reaper
/// was seen to be kept from the processor for a tenth of that.
pub(crate) const LAG_MAX_NANOS: u64 = 1 << 30;

/// A cached time that is older is stale.
const PERIODS_MAX: u64 = 2;

const DEMAND_READS: u32 = 1 << 10;

/// The longest time for [`DEMAND_READS`] readings that counts as demand. Waking the reaper
/// costs as much as some hundred readings; this is a multiple of that in each period.
const DEMAND_WINDOW_PERIODS: u64 = 2;

/// A cached clock for all caches of a process, and the TSC clock beside it.
pub(crate) struct CachedClock {
    /// The time between two refreshes: the step of the system's coarse clock.
    period_nanos: u64,
    /// The cached time, or [`STALE`].
    nanos: AtomicU64,
    /// Readings of the system's clock. Racing threads may lose some, which does no harm.
    reads: AtomicU32,
    last_check_nanos: AtomicU64,
    is_requested: AtomicBool,
    /// Used by the reaper only.
    periods_left: AtomicU32,
    /// `None` where the processor has no suitable counter.
    tsc: Option<(Tsc, TscClock)>,
}

impl CachedClock {
    pub(crate) fn new(period_nanos: u64) -> Self {
        let tsc = Tsc::new().map(|tsc| (tsc, TscClock::new(period_nanos)));
        Self { tsc, ..Self::without_tsc(period_nanos) }
    }

    pub(crate) const fn without_tsc(period_nanos: u64) -> Self {
        Self {
            tsc: None,
            period_nanos,
            nanos: AtomicU64::new(STALE),
            reads: AtomicU32::new(0),
            last_check_nanos: AtomicU64::new(0),
            is_requested: AtomicBool::new(false),
            periods_left: AtomicU32::new(0),
        }
    }

    /// Returns the cached time in nanoseconds; `None` if it is stale, or if this is a fork of
    /// the process in which `guard` was created. The caller [checks](Self::check) it from time
    /// to time.
    #[inline]
    pub(crate) fn get(&self, guard: &Guard) -> Option<u64> {
        match self.nanos.load(Relaxed) {
            STALE => None,
            _ if guard.clone().detected_fork() => None,
            nanos => Some(nanos),
        }
    }

    /// Marks the cached time as stale if it is too old at `now_nanos`.
    pub(crate) fn check(&self, now_nanos: u64) {
        let nanos = self.nanos.load(Relaxed);
        if nanos != STALE && now_nanos.saturating_sub(nanos) > PERIODS_MAX * self.period_nanos {
            // Unless the reaper has just refreshed it.
            let _ = self.nanos.compare_exchange(nanos, STALE, Relaxed, Relaxed);
        }
    }

    /// Returns the time by the TSC clock in nanoseconds, if there is a valid one: never ahead
    /// of the system's precise clock, and behind it by at most
    /// [`max_lag`](crate::time::tsc_clock::max_lag).
    #[inline]
    pub(crate) fn precise(&self) -> Option<u64> {
        let (counter, tsc_clock) = self.tsc.as_ref()?;
        tsc_clock.nanos_at(counter.read())
    }

    /// Returns whether there is a TSC clock on this machine.
    pub(crate) fn has_tsc(&self) -> bool {
        self.tsc.is_some()
    }

    /// Counts a reading of the system's clock. Returns whether to wake the reaper: once
    /// whenever demand arises.
    #[inline]
    pub(crate) fn count_read(&self, now_nanos: u64) -> bool {
        let reads = self.reads.load(Relaxed).wrapping_add(1);
        self.reads.store(reads, Relaxed);
        reads % DEMAND_READS == 0 && self.check_demand(now_nanos)
    }

    #[cold]
    fn check_demand(&self, now_nanos: u64) -> bool {
        let last_nanos = self.last_check_nanos.swap(now_nanos, Relaxed);
        now_nanos.saturating_sub(last_nanos) <= DEMAND_WINDOW_PERIODS * self.period_nanos
            && !self.is_requested.swap(true, Relaxed)
            && {
                // With the fence after `stop` in `publish_for_one_period`: either this sees
                // the reaper's `STALE`, or the reaper sees this request.
                fence(SeqCst);
                self.nanos.load(Relaxed) == STALE
            }
    }

    /// Reads the system's precise clock and, if there is demand, publishes the time and
    /// calibrates the TSC clock. Returns when to refresh next; `None` if there is no demand. For
    /// one thread at a time.
    pub(crate) fn refresh(&self, read_clock: impl Fn() -> u64) -> Option<u64> {
        let Some((counter, tsc_clock)) = &self.tsc else {
            return self.publish_for_one_period(read_clock());
        };
        let tsc_before = counter.read();
        let now_nanos = read_clock();
        let sample = Sample { nanos: now_nanos, tsc_before, tsc_after: counter.read() };
        let next_nanos = self.publish_for_one_period(now_nanos);
        if next_nanos.is_some() {
            tsc_clock.calibrate(sample);
        }
        next_nanos
    }

    fn publish_for_one_period(&self, now_nanos: u64) -> Option<u64> {
        let is_requested = || self.is_requested.swap(false, Relaxed);
        if is_requested() {
            self.periods_left.store(IDLE_PERIODS_MAX, Relaxed);
        }
        let mut left = self.periods_left.load(Relaxed);
        if left == 0 {
            // Stop first, then look once more: a call whose request was too late for the
            // look above sees `STALE` and wakes the reaper, or is seen here.
            self.stop();
            fence(SeqCst);
            if !is_requested() {
                return None;
            }
            left = IDLE_PERIODS_MAX;
        }
        self.periods_left.store(left - 1, Relaxed);
        self.nanos.store(now_nanos, Relaxed);
        Some(now_nanos + self.period_nanos)
    }

    /// Marks the time as stale: until the next refresh, calls read the system's clock.
    #[inline]
    pub(crate) fn stop(&self) {
        self.nanos.store(STALE, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD_NANOS: u64 = 4_000_000;

    /// Returns how often the reaper would have been woken.
    fn read_often(clock: &CachedClock, nanos_apart: u64, start_nanos: u64) -> u32 {
        (1..=4 * u64::from(DEMAND_READS))
            .map(|number| u32::from(clock.count_read(start_nanos + number * nanos_apart)))
            .sum()
    }

    #[test]
    fn it_is_refreshed_under_load_and_no_longer() {
        let (clock, guard) = (CachedClock::new(PERIOD_NANOS), Guard::default());
        assert_eq!(clock.refresh(|| 5), None);
        assert_eq!(clock.get(&guard), None);
        assert_eq!(read_often(&clock, 100, 1_000_000_000), 1, "the reaper is woken once");
        for now in 1..=u64::from(IDLE_PERIODS_MAX) {
            assert_eq!(clock.refresh(|| now), Some(now + PERIOD_NANOS));
            assert_eq!(clock.get(&guard), Some(now));
        }
        assert_eq!(clock.refresh(|| 99), None);
        assert_eq!(clock.get(&guard), None);
    }

    #[test]
    fn a_reaper_that_refreshes_it_is_not_woken() {
        let (clock, guard) = (CachedClock::new(PERIOD_NANOS), Guard::default());
        assert_eq!(read_often(&clock, 100, 1_000_000_000), 1);
        for period in 1..=u64::from(3 * IDLE_PERIODS_MAX) {
            let now = 1_000_000_000 + period * PERIOD_NANOS;
            assert_eq!(clock.refresh(|| now), Some(now + PERIOD_NANOS));
            assert_eq!(read_often(&clock, 100, now), 0, "the reaper is not asleep for long");
        }
        assert!(clock.get(&guard).is_some());
    }

    #[test]
    fn few_calls_do_not_wake_the_reaper() {
        let clock = CachedClock::new(PERIOD_NANOS);
        let sparse = 2 * DEMAND_WINDOW_PERIODS * PERIOD_NANOS / u64::from(DEMAND_READS);
        assert_eq!(read_often(&clock, sparse, 1_000_000_000), 0);
    }

    #[test]
    fn a_time_that_is_too_old_is_stale() {
        let (clock, guard) = (CachedClock::new(PERIOD_NANOS), Guard::default());
        clock.is_requested.store(true, Relaxed);
        for nanos in [1_000, 2_000] {
            assert!(clock.refresh(|| nanos).is_some());
            // The coarse clock may be behind.
            for now_nanos in [0, nanos, nanos + PERIODS_MAX * PERIOD_NANOS] {
                clock.check(now_nanos);
                assert_eq!(clock.get(&guard), Some(nanos));
            }
            clock.check(nanos + PERIODS_MAX * PERIOD_NANOS + 1);
            assert_eq!(clock.get(&guard), None);
            clock.check(u64::MAX);
            assert_eq!(clock.get(&guard), None);
        }
    }

    #[test]
    fn a_stopped_clock_is_stale() {
        let (clock, guard) = (CachedClock::new(PERIOD_NANOS), Guard::default());
        clock.is_requested.store(true, Relaxed);
        assert!(clock.refresh(|| 7).is_some());
        clock.stop();
        assert_eq!(clock.get(&guard), None);
        assert!(clock.refresh(|| 8).is_some(), "it is refreshed after the work");
        assert_eq!(clock.get(&guard), Some(8));
    }
}
