//! The precise time without the system's clock: told by the processor's time-stamp
//! counter between two readings of that clock.
//!
//! The keeper of the time reads the clock, and the counter before and after it. From one
//! reading to the next it learns how fast the counter goes. Whoever wants the time reads
//! the counter and adds what has passed since the last reading.
//!
//! # How good it is
//!
//! What is told is never ahead of the clock, and behind it by a sixteenth of a period at
//! most:
//!
//! - A reading counts only if the counter moved little while it was taken, by a 1024th of
//!   the way to the reading before: else the keeper was interrupted there. Two readings are
//!   half a period apart at least and four at most. So the rate is right to a hundredth.
//! - A rate counts only if it agrees with the one before to a 64th. So a machine that was
//!   suspended, where the clock stands and the counter goes on, does not spoil it.
//!   After a pause the last agreed rate goes on, from a reading as sharp as the others.
//! - A 64th of what has passed is left out.
//! - Nothing is told beyond [`REACH_PERIODS`] after a reading, whatever has kept the
//!   keeper: who asks has to read the clock.
//!
//! [`behind_max`] says twice as much, since a processor reads the counter
//! out of order.
//!
//! # The protocol
//!
//! One writes, many read, nobody waits (a sequence lock): the version is odd while the
//! keeper writes, and who has seen it change, or odd, is told nothing. A child that is
//! forked has its parent's memory; the reading in it is as good there, and gets too old.

use std::sync::atomic::AtomicU64 as Own;
use std::time::Duration;

use crate::shim::{AtomicU64, Ordering, fence};

const RATE_BITS: u32 = 24;

/// How long a reading is good for.
const REACH_PERIODS: u64 = 2;

/// Readings further apart tell no rate.
const APART_PERIODS_MAX: u64 = 4;

/// The counter moves by so many times more between two readings than while one is taken.
const SHARPNESS: u64 = 1 << 10;

/// The most by which the time that is told is behind the clock.
pub(crate) fn behind_max(period: Duration) -> Duration {
    period / 8
}

/// A reading of the system's precise clock, and of the counter before and after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) nanos: u64,
    pub(crate) stamp_before: u64,
    pub(crate) stamp_after: u64,
}

pub(crate) struct StampedTime {
    period_nanos: u64,
    version: AtomicU64,
    nanos: AtomicU64,
    /// At that time or later.
    stamp: AtomicU64,
    /// Nanoseconds a step of the counter, times 2^[`RATE_BITS`]; zero for unknown.
    rate: AtomicU64,
    last: Last,
}

/// The keeper's own: its last reading, and the rate up to it. It does not read
/// what it writes for others.
#[derive(Default)]
struct Last {
    version: Own,
    nanos: Own,
    stamp: Own,
    rate: Own,
    /// The last one that two measurements agreed on.
    rate_agreed: Own,
}

impl StampedTime {
    pub(crate) fn new(period_nanos: u64) -> Self {
        let [version, nanos, stamp, rate] = std::array::from_fn(|_| AtomicU64::new(0));
        Self { period_nanos, version, nanos, stamp, rate, last: Last::default() }
    }

    /// For the keeper, once a period. More often, the last reading is as good.
    pub(crate) fn set(&self, reading: Reading) {
        let last = &self.last;
        let passed_nanos = reading.nanos.saturating_sub(last.nanos.load(Ordering::Relaxed));
        if passed_nanos < self.period_nanos / 2 {
            return;
        }
        let mut rate = self.measure(passed_nanos, reading);
        let rate_before = last.rate.load(Ordering::Relaxed);
        let mut is_agreed = rate != 0 && rate.abs_diff(rate_before) <= rate_before / 64;
        if is_agreed {
            last.rate_agreed.store(rate, Ordering::Relaxed);
        } else if passed_nanos > APART_PERIODS_MAX * self.period_nanos {
            // A pause changes no rate.
            let rate_agreed = last.rate_agreed.load(Ordering::Relaxed);
            is_agreed = rate_agreed != 0 && self.is_sharp(reading, rate_agreed);
            rate = if is_agreed { rate_agreed } else { 0 };
        }
        let version = last.version.load(Ordering::Relaxed).wrapping_add(2);
        last.version.store(version, Ordering::Relaxed);
        last.nanos.store(reading.nanos, Ordering::Relaxed);
        last.stamp.store(reading.stamp_after, Ordering::Relaxed);
        last.rate.store(rate, Ordering::Relaxed);

        self.version.store(version.wrapping_sub(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.nanos.store(reading.nanos, Ordering::Relaxed);
        self.stamp.store(reading.stamp_after, Ordering::Relaxed);
        self.rate.store(if is_agreed { rate } else { 0 }, Ordering::Relaxed);
        self.version.store(version, Ordering::Release);
    }

    /// Whether a reading is as sharp as those are that a rate is measured by.
    fn is_sharp(&self, reading: Reading, rate: u64) -> bool {
        let uncertain = reading.stamp_after.wrapping_sub(reading.stamp_before);
        let uncertain_nanos = (u128::from(uncertain) * u128::from(rate)) >> RATE_BITS;
        uncertain_nanos <= u128::from(self.period_nanos * APART_PERIODS_MAX / SHARPNESS)
    }

    /// The rate since the last reading; zero if none can be told.
    fn measure(&self, passed_nanos: u64, reading: Reading) -> u64 {
        let stamps = reading.stamp_after.wrapping_sub(self.last.stamp.load(Ordering::Relaxed));
        let uncertain = reading.stamp_after.wrapping_sub(reading.stamp_before);
        if passed_nanos > APART_PERIODS_MAX * self.period_nanos || uncertain > stamps / SHARPNESS {
            return 0;
        }
        (passed_nanos << RATE_BITS).checked_div(stamps).unwrap_or(0)
    }

    /// The time at which the counter is at `stamp`, in nanoseconds; `None` if that is too
    /// long ago, or not known.
    #[inline]
    pub(crate) fn nanos_at(&self, stamp: u64) -> Option<u64> {
        let version = self.version.load(Ordering::Acquire);
        let nanos = self.nanos.load(Ordering::Relaxed);
        let since = stamp.wrapping_sub(self.stamp.load(Ordering::Relaxed));
        let rate = self.rate.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let is_whole = version & 1 == 0 && version == self.version.load(Ordering::Relaxed);
        // A stamp from before the reading is a huge one here, and too late.
        let passed_nanos = (u128::from(since) * u128::from(rate)) >> RATE_BITS;
        let is_in_reach = passed_nanos <= u128::from(REACH_PERIODS * self.period_nanos);
        let passed_nanos = passed_nanos as u64;
        (is_whole && rate != 0 && is_in_reach).then(|| nanos + (passed_nanos - passed_nanos / 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD_NANOS: u64 = 4_000_000;

    /// A machine whose counter goes at some rate, and whose keeper is late, interrupted
    /// while it reads, and absent.
    struct Machine {
        nanos: u64,
        stamp: f64,
        stamps_per_nano: f64,
        random: fastrand::Rng,
    }

    impl Machine {
        fn pass(&mut self, nanos: u64) {
            self.nanos += nanos;
            self.stamp += nanos as f64 * self.stamps_per_nano;
        }

        fn stamp(&self) -> u64 {
            self.stamp as u64
        }

        fn read(&mut self) -> Reading {
            let stamp_before = self.stamp();
            let interruptions = [20, 20, 20, 20, 5_000, 10_000_000];
            let [before, after] = [(); 2].map(|()| interruptions[self.random.usize(..6)]);
            self.pass(before);
            let nanos = self.nanos;
            self.pass(after);
            Reading { nanos, stamp_before, stamp_after: self.stamp() }
        }
    }

    #[test]
    fn it_is_never_ahead_and_hardly_behind() {
        let behind_max_nanos = behind_max(Duration::from_nanos(PERIOD_NANOS)).as_nanos() as u64;
        for stamps_per_nano in [0.999, 2.45, 5.7] {
            let random = fastrand::Rng::with_seed(7);
            let mut machine = Machine { nanos: 1 << 40, stamp: 5e12, stamps_per_nano, random };
            let time = StampedTime::new(PERIOD_NANOS);
            let mut told = 0;
            for _ in 0..20_000 {
                let reading = machine.read();
                time.set(reading);
                for _ in 0..4 {
                    let apart = [1_000, PERIOD_NANOS / 4, PERIOD_NANOS / 3, 3 * PERIOD_NANOS]
                        .map(|nanos| if machine.random.u8(..20) == 0 { 20 * nanos } else { nanos });
                    let apart_max = apart[machine.random.usize(..4)];
                    let apart = machine.random.u64(..apart_max);
                    machine.pass(apart);
                    let Some(nanos) = time.nanos_at(machine.stamp()) else { continue };
                    told += 1;
                    let behind = machine.nanos.checked_sub(nanos).expect("not ahead");
                    assert!(behind <= behind_max_nanos / 2, "{behind} ns behind");
                }
            }
            assert!(told > 2_000, "told {told} times");
        }
    }

    fn steady(time: &StampedTime, readings: u64) -> Machine {
        let random = fastrand::Rng::with_seed(7);
        let mut machine = Machine { nanos: 1 << 40, stamp: 1e9, stamps_per_nano: 3.0, random };
        for _ in 0..readings {
            machine.pass(PERIOD_NANOS);
            let stamp = machine.stamp();
            let reading = Reading { nanos: machine.nanos, stamp_before: stamp, stamp_after: stamp };
            time.set(reading);
        }
        machine
    }

    #[test]
    fn three_readings_tell_the_rate() {
        for readings in 0..6 {
            let time = StampedTime::new(PERIOD_NANOS);
            let machine = steady(&time, readings);
            assert_eq!(time.nanos_at(machine.stamp()).is_some(), readings > 2, "{readings}");
        }
    }

    #[test]
    fn what_is_too_long_ago_or_before_is_not_told() {
        let time = StampedTime::new(PERIOD_NANOS);
        let mut machine = steady(&time, 5);
        assert_eq!(time.nanos_at(machine.stamp() - 1), None);
        machine.pass(REACH_PERIODS * PERIOD_NANOS - 1_000);
        assert!(time.nanos_at(machine.stamp()).is_some());
        machine.pass(2_000);
        assert_eq!(time.nanos_at(machine.stamp()), None);
        assert_eq!(time.nanos_at(u64::MAX), None);
    }

    #[test]
    fn a_pause_changes_no_rate() {
        for (readings, uncertain_nanos, is_told) in
            [(5, 1_000, true), (5, 15_000, true), (5, 17_000, false), (2, 1_000, false)]
        {
            let time = StampedTime::new(PERIOD_NANOS);
            let mut machine = steady(&time, readings);
            machine.pass(1_000 * PERIOD_NANOS);
            let stamp_before = machine.stamp();
            machine.pass(uncertain_nanos);
            let stamp = machine.stamp();
            time.set(Reading { nanos: machine.nanos, stamp_before, stamp_after: stamp });
            let case = format!("{readings} readings, {uncertain_nanos} ns");
            assert_eq!(time.nanos_at(stamp).is_some(), is_told, "{case}");
            // And on from there, whatever that was.
            machine.pass(PERIOD_NANOS);
            let stamp = machine.stamp();
            time.set(Reading { nanos: machine.nanos, stamp_before: stamp, stamp_after: stamp });
            assert_eq!(time.nanos_at(stamp).is_some(), is_told, "{case}");
        }
    }

    #[test]
    fn a_suspended_machine_spoils_nothing() {
        let time = StampedTime::new(PERIOD_NANOS);
        let mut machine = steady(&time, 5);
        // The clock stands, the counter goes on.
        machine.stamp += 1e12;
        for is_told in [false, false, true] {
            machine.pass(PERIOD_NANOS);
            let stamp = machine.stamp();
            let reading = Reading { nanos: machine.nanos, stamp_before: stamp, stamp_after: stamp };
            time.set(reading);
            assert_eq!(time.nanos_at(stamp).is_some(), is_told);
        }
    }
}
