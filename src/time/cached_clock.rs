//! The time that the reaper keeps while calls come in thick and fast, so that they
//! need not ask the system for it.
//!
//! # Ground rules
//!
//! - The reaper alone keeps the time, and only while it sleeps between two of its
//!   own ticks. Before it works on a cache, and so before any callers' code that
//!   may take its time, it stops.
//! - A time that nobody keeps is [`STALE`], and the call reads the clock.
//! - A child that is forked has its parent's memory, the kept time too, and nobody
//!   who would bring it up to date. So who reads it asks a [`Guard`] whether this
//!   is still the process that the cache was built in. (The tsc time gets too old
//!   by itself.)
//! - It may lag by one period, and by what the system takes to wake the
//!   reaper: the same as the coarse clock, whose place it takes. It tells what is
//!   due; when a TTL begins, the [`tsc_clock`](crate::time::tsc_clock) tells, which the
//!   reaper keeps with it.
//!
//! Without calls nothing keeps the time: the reaper stops by itself after
//! [`IDLE_PERIODS_MAX`], and begins again when [`DEMAND_READS`] readings of the clock
//! have followed one another within [`DEMAND_WINDOW_PERIODS`].

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst, fence};

use forkguard::Guard;

use super::tsc::Tsc;
use super::tsc_clock::{Sample, TscClock};

const STALE: u64 = 0;

/// How often it is before calls are asked anew whether it is worth it.
pub(crate) const IDLE_PERIODS_MAX: u32 = 16;

const DEMAND_READS: u32 = 1 << 10;

/// A wake-up of the reaper costs as much as some hundred readings of the clock, so
/// there must be a multiple of that in each period: [`DEMAND_READS`] in so many.
const DEMAND_WINDOW_PERIODS: u64 = 2;

/// The time of one process, as one thread keeps it for the others.
pub(crate) struct CachedClock {
    /// How often it is brought up to date: as often as the system's coarse clock
    /// moves.
    period_nanos: u64,
    nanos: AtomicU64,
    /// Readings of the clock, roughly: a lost one does not matter.
    reads: AtomicU32,
    last_check_nanos: AtomicU64,
    is_requested: AtomicBool,
    /// The keeper's own.
    periods_left: AtomicU32,
    /// The precise time, where the processor has a counter.
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

    /// The time in nanoseconds, if somebody keeps it in this process, which the
    /// guard comes from.
    #[inline]
    pub(crate) fn get(&self, guard: &Guard) -> Option<u64> {
        match self.nanos.load(Relaxed) {
            STALE => None,
            _ if guard.clone().detected_fork() => None,
            nanos => Some(nanos),
        }
    }

    /// The precise time in nanoseconds, if it can be told without the clock: never ahead
    /// of the clock, and behind it by [`max_lag`](crate::time::tsc_clock::max_lag)
    /// at most.
    #[inline]
    pub(crate) fn precise(&self) -> Option<u64> {
        let (counter, time) = self.tsc.as_ref()?;
        time.nanos_at(counter.read())
    }

    /// Whether the precise time can be told at all.
    pub(crate) fn has_tsc(&self) -> bool {
        self.tsc.is_some()
    }

    /// Notes that a call has read the clock itself. Says whether the keeper should
    /// be woken: once each time that there are many.
    #[inline]
    pub(crate) fn count_read(&self, now_nanos: u64) -> bool {
        let reads = self.reads.load(Relaxed).wrapping_add(1);
        self.reads.store(reads, Relaxed);
        reads % DEMAND_READS == 0 && self.check(now_nanos)
    }

    #[cold]
    fn check(&self, now_nanos: u64) -> bool {
        let last_nanos = self.last_check_nanos.swap(now_nanos, Relaxed);
        now_nanos.saturating_sub(last_nanos) <= DEMAND_WINDOW_PERIODS * self.period_nanos
            && !self.is_requested.swap(true, Relaxed)
            && {
                // Either this sees that the reaper has stopped, or the reaper sees the request.
                fence(SeqCst);
                self.nanos.load(Relaxed) == STALE
            }
    }

    /// For the keeper before it goes to sleep: reads the clock. Returns its time, and when
    /// to come back for the next tick, if the time is to be kept meanwhile.
    pub(crate) fn refresh(&self, read_clock: impl Fn() -> u64) -> (u64, Option<u64>) {
        let Some((counter, tsc)) = &self.tsc else {
            let now_nanos = read_clock();
            return (now_nanos, self.publish_for_one_period(now_nanos));
        };
        let tsc_before = counter.read();
        let now_nanos = read_clock();
        let sample = Sample { nanos: now_nanos, tsc_before, tsc_after: counter.read() };
        let next_nanos = self.publish_for_one_period(now_nanos);
        if next_nanos.is_some() {
            tsc.calibrate(sample);
        }
        (now_nanos, next_nanos)
    }

    fn publish_for_one_period(&self, now_nanos: u64) -> Option<u64> {
        let is_requested = || self.is_requested.swap(false, Relaxed);
        if is_requested() {
            self.periods_left.store(IDLE_PERIODS_MAX, Relaxed);
        }
        let mut left = self.periods_left.load(Relaxed);
        if left == 0 {
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

    /// From now on nobody trusts it.
    #[inline]
    pub(crate) fn stop(&self) {
        self.nanos.store(STALE, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD_NANOS: u64 = 4_000_000;

    fn read_often(time: &CachedClock, nanos_apart: u64, start_nanos: u64) -> u32 {
        (1..=4 * u64::from(DEMAND_READS))
            .map(|number| u32::from(time.count_read(start_nanos + number * nanos_apart)))
            .sum()
    }

    #[test]
    fn it_is_kept_for_many_calls_and_no_longer() {
        let (time, guard) = (CachedClock::new(PERIOD_NANOS), Guard::default());
        assert_eq!(time.refresh(|| 5), (5, None));
        assert_eq!(time.get(&guard), None);
        assert_eq!(read_often(&time, 100, 1_000_000_000), 1, "the keeper is woken once");
        for now in 1..=u64::from(IDLE_PERIODS_MAX) {
            assert_eq!(time.refresh(|| now), (now, Some(now + PERIOD_NANOS)));
            assert_eq!(time.get(&guard), Some(now));
        }
        assert_eq!(time.refresh(|| 99), (99, None));
        assert_eq!(time.get(&guard), None);
    }

    #[test]
    fn a_keeper_that_is_up_is_not_woken() {
        let (time, guard) = (CachedClock::new(PERIOD_NANOS), Guard::default());
        assert_eq!(read_often(&time, 100, 1_000_000_000), 1);
        for period in 1..=u64::from(3 * IDLE_PERIODS_MAX) {
            let now = 1_000_000_000 + period * PERIOD_NANOS;
            assert_eq!(time.refresh(|| now), (now, Some(now + PERIOD_NANOS)));
            assert_eq!(read_often(&time, 100, now), 0, "it goes on by itself");
        }
        assert!(time.get(&guard).is_some());
    }

    #[test]
    fn few_calls_wake_nobody() {
        let time = CachedClock::new(PERIOD_NANOS);
        let sparse = 2 * DEMAND_WINDOW_PERIODS * PERIOD_NANOS / u64::from(DEMAND_READS);
        assert_eq!(read_often(&time, sparse, 1_000_000_000), 0);
    }

    #[test]
    fn what_is_stopped_is_not_trusted() {
        let (time, guard) = (CachedClock::new(PERIOD_NANOS), Guard::default());
        time.is_requested.store(true, Relaxed);
        assert!(time.refresh(|| 7).1.is_some());
        time.stop();
        assert_eq!(time.get(&guard), None);
        assert!(time.refresh(|| 8).1.is_some(), "it goes on after the work");
        assert_eq!(time.get(&guard), Some(8));
    }
}
