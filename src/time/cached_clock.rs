//! The time that the reaper keeps while calls come in thick and fast, so that they
//! need not ask the system for it.
//!
//! # Ground rules
//!
//! - The reaper alone keeps the time, and only while it sleeps between two of its
//!   own ticks. Before it works on a cache, and so before any callers' code that
//!   may take its time, it stops.
//! - A time that nobody keeps is [`NOT_KEPT`], and the call reads the clock.
//! - A child that is forked has its parent's memory, the kept time too, and nobody
//!   who would bring it up to date. So who reads it asks a [`Guard`] whether this
//!   is still the process that the cache was built in. (The stamped time gets too old
//!   by itself.)
//! - It may lag by one period, and by what the system takes to wake the
//!   reaper: the same as the coarse clock, whose place it takes. It tells what is
//!   due; when a TTL begins, the [`tsc_clock`](crate::time::tsc_clock) tells, which the
//!   reaper keeps with it.
//!
//! Without calls nothing keeps the time: the reaper stops by itself after
//! [`PERIODS`], and begins again when [`READS_PER_CHECK`] readings of the clock
//! have followed one another within [`CHECK_PERIODS_MAX`].

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst, fence};

use forkguard::Guard;

use super::tsc::TimeStampCounter;
use super::tsc_clock::{Reading, StampedTime};

const NOT_KEPT: u64 = 0;

/// How often it is before calls are asked anew whether it is worth it.
pub(crate) const PERIODS: u32 = 16;

const READS_PER_CHECK: u32 = 1 << 10;

/// A wake-up of the reaper costs as much as some hundred readings of the clock, so
/// there must be a multiple of that in each period: [`READS_PER_CHECK`] in so many.
const CHECK_PERIODS_MAX: u64 = 2;

/// The time of one process, as one thread keeps it for the others.
pub(crate) struct KeptTime {
    /// How often it is brought up to date: as often as the system's coarse clock
    /// moves.
    period_nanos: u64,
    nanos: AtomicU64,
    /// Readings of the clock, roughly: a lost one does not matter.
    reads: AtomicU32,
    last_check_nanos: AtomicU64,
    is_wanted: AtomicBool,
    /// The keeper's own.
    periods_left: AtomicU32,
    /// The precise time, where the processor has a counter.
    stamped: Option<(TimeStampCounter, StampedTime)>,
}

impl KeptTime {
    pub(crate) fn new(period_nanos: u64) -> Self {
        let counter = TimeStampCounter::new();
        Self {
            stamped: counter.map(|counter| (counter, StampedTime::new(period_nanos))),
            period_nanos,
            nanos: AtomicU64::new(NOT_KEPT),
            reads: AtomicU32::new(0),
            last_check_nanos: AtomicU64::new(0),
            is_wanted: AtomicBool::new(false),
            periods_left: AtomicU32::new(0),
        }
    }

    /// The time in nanoseconds, if somebody keeps it in this process, which the
    /// guard comes from.
    #[inline]
    pub(crate) fn get(&self, guard: &Guard) -> Option<u64> {
        match self.nanos.load(Relaxed) {
            NOT_KEPT => None,
            _ if guard.clone().detected_fork() => None,
            nanos => Some(nanos),
        }
    }

    /// The precise time in nanoseconds, if it can be told without the clock: never ahead
    /// of the clock, and behind it by [`behind_max`](crate::time::tsc_clock::behind_max)
    /// at most.
    #[inline]
    pub(crate) fn precise(&self) -> Option<u64> {
        let (counter, time) = self.stamped.as_ref()?;
        time.nanos_at(counter.read())
    }

    /// Whether the precise time can be told at all.
    pub(crate) fn is_stamped(&self) -> bool {
        self.stamped.is_some()
    }

    /// Notes that a call has read the clock itself. Says whether the keeper should
    /// be woken: once each time that there are many.
    #[inline]
    pub(crate) fn note_read(&self, now_nanos: u64) -> bool {
        let reads = self.reads.load(Relaxed).wrapping_add(1);
        self.reads.store(reads, Relaxed);
        reads % READS_PER_CHECK == 0 && self.check(now_nanos)
    }

    #[cold]
    fn check(&self, now_nanos: u64) -> bool {
        let last_nanos = self.last_check_nanos.swap(now_nanos, Relaxed);
        now_nanos.saturating_sub(last_nanos) <= CHECK_PERIODS_MAX * self.period_nanos
            && !self.is_wanted.swap(true, Relaxed)
            // Else the keeper will see by itself that it is to go on.
            && self.is_not_kept()
    }

    /// Once more is wanted: either this sees that the keeper has stopped, or the keeper
    /// sees what is wanted.
    fn is_not_kept(&self) -> bool {
        fence(SeqCst);
        self.nanos.load(Relaxed) == NOT_KEPT
    }

    /// For the keeper before it goes to sleep: reads the clock. Returns its time, and when
    /// to come back for the next tick, if the time is to be kept meanwhile.
    pub(crate) fn keep(&self, read_clock: impl Fn() -> u64) -> (u64, Option<u64>) {
        let Some((counter, stamped)) = &self.stamped else {
            let now_nanos = read_clock();
            return (now_nanos, self.keep_for_a_period(now_nanos));
        };
        let stamp_before = counter.read();
        let now_nanos = read_clock();
        let reading = Reading { nanos: now_nanos, stamp_before, stamp_after: counter.read() };
        let next_nanos = self.keep_for_a_period(now_nanos);
        if next_nanos.is_some() {
            stamped.set(reading);
        }
        (now_nanos, next_nanos)
    }

    fn keep_for_a_period(&self, now_nanos: u64) -> Option<u64> {
        let is_wanted = || self.is_wanted.swap(false, Relaxed);
        if is_wanted() {
            self.periods_left.store(PERIODS, Relaxed);
        }
        let mut left = self.periods_left.load(Relaxed);
        if left == 0 {
            self.stop();
            fence(SeqCst);
            if !is_wanted() {
                return None;
            }
            left = PERIODS;
        }
        self.periods_left.store(left - 1, Relaxed);
        self.nanos.store(now_nanos, Relaxed);
        Some(now_nanos + self.period_nanos)
    }

    /// From now on nobody trusts it.
    #[inline]
    pub(crate) fn stop(&self) {
        self.nanos.store(NOT_KEPT, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD_NANOS: u64 = 4_000_000;

    fn read_often(time: &KeptTime, nanos_apart: u64, start_nanos: u64) -> u32 {
        (1..=4 * u64::from(READS_PER_CHECK))
            .map(|number| u32::from(time.note_read(start_nanos + number * nanos_apart)))
            .sum()
    }

    #[test]
    fn it_is_kept_for_many_calls_and_no_longer() {
        let (time, guard) = (KeptTime::new(PERIOD_NANOS), Guard::default());
        assert_eq!(time.keep(|| 5), (5, None));
        assert_eq!(time.get(&guard), None);
        assert_eq!(read_often(&time, 100, 1_000_000_000), 1, "the keeper is woken once");
        for now in 1..=u64::from(PERIODS) {
            assert_eq!(time.keep(|| now), (now, Some(now + PERIOD_NANOS)));
            assert_eq!(time.get(&guard), Some(now));
        }
        assert_eq!(time.keep(|| 99), (99, None));
        assert_eq!(time.get(&guard), None);
    }

    #[test]
    fn a_keeper_that_is_up_is_not_woken() {
        let (time, guard) = (KeptTime::new(PERIOD_NANOS), Guard::default());
        assert_eq!(read_often(&time, 100, 1_000_000_000), 1);
        for period in 1..=u64::from(3 * PERIODS) {
            let now = 1_000_000_000 + period * PERIOD_NANOS;
            assert_eq!(time.keep(|| now), (now, Some(now + PERIOD_NANOS)));
            assert_eq!(read_often(&time, 100, now), 0, "it goes on by itself");
        }
        assert!(time.get(&guard).is_some());
    }

    #[test]
    fn few_calls_wake_nobody() {
        let time = KeptTime::new(PERIOD_NANOS);
        let sparse = 2 * CHECK_PERIODS_MAX * PERIOD_NANOS / u64::from(READS_PER_CHECK);
        assert_eq!(read_often(&time, sparse, 1_000_000_000), 0);
    }

    #[test]
    fn what_is_stopped_is_not_trusted() {
        let (time, guard) = (KeptTime::new(PERIOD_NANOS), Guard::default());
        time.is_wanted.store(true, Relaxed);
        assert!(time.keep(|| 7).1.is_some());
        time.stop();
        assert_eq!(time.get(&guard), None);
        assert!(time.keep(|| 8).1.is_some(), "it goes on after the work");
        assert_eq!(time.get(&guard), Some(8));
    }
}
