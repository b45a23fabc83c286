//! The precise time without the system's clock: told by the processor's time-stamp
//! counter between two samples of that clock.
//!
//! The keeper of the time reads the clock, and the counter before and after it. From one
//! sample to the next it learns how fast the counter goes. Whoever wants the time reads
//! the counter and adds what has passed since the previous sample.
//!
//! # How good it is
//!
//! What is told is never ahead of the clock, and behind it by a sixteenth of a period at
//! most:
//!
//! - A sample counts only if the counter moved little while it was taken, by a 1024th of
//!   the way to the sample before: else the keeper was interrupted there. Two samples are
//!   half a period apart at least and four at most. So the rate is right to a hundredth.
//! - A rate counts only if it agrees with the one before to a 64th. So a machine that was
//!   suspended, where the clock stands and the counter goes on, does not spoil it.
//!   After a pause the previous agreed rate goes on, from a sample as sharp as the others.
//! - A 64th of what has passed is left out.
//! - Nothing is told beyond [`VALID_PERIODS`] after a sample, whatever has kept the
//!   keeper: who asks has to read the clock.
//!
//! [`max_lag`] says twice as much, since a processor reads the counter
//! out of order.
//!
//! # The protocol
//!
//! One writes, many read, nobody waits (a sequence lock): the version is odd while the
//! keeper writes, and who has seen it change, or odd, is told nothing. A child that is
//! forked has its parent's memory; the sample in it is as good there, and gets too old.

use std::sync::atomic::AtomicU64 as PlainAtomicU64;
use std::time::Duration;

use crate::shim::{AtomicU64, Ordering, fence};

const RATE_BITS: u32 = 24;

/// How long a sample is good for.
const VALID_PERIODS: u64 = 2;

/// Readings further apart tell no rate.
const SAMPLE_GAP_PERIODS_MAX: u64 = 4;

/// The counter moves by so many times more between two samples than while one is taken.
const PRECISION: u64 = 1 << 10;

/// The most by which the time that is told is behind the clock.
pub(crate) fn max_lag(period: Duration) -> Duration {
    period / 8
}

/// A sample of the system's precise clock, and of the counter before and after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) nanos: u64,
    pub(crate) tsc_before: u64,
    pub(crate) tsc_after: u64,
}

pub(crate) struct TscClock {
    period_nanos: u64,
    version: AtomicU64,
    nanos: AtomicU64,
    /// At that time or later.
    tsc: AtomicU64,
    /// Nanoseconds a step of the counter, times 2^[`RATE_BITS`]; zero for unknown.
    rate: AtomicU64,
    previous: Previous,
}

/// The keeper's own: its previous sample, and the rate up to it. It does not read
/// what it writes for others.
#[derive(Default)]
struct Previous {
    version: PlainAtomicU64,
    nanos: PlainAtomicU64,
    tsc: PlainAtomicU64,
    rate: PlainAtomicU64,
    /// The previous one that two measurements agreed on.
    rate_confirmed: PlainAtomicU64,
}

impl TscClock {
    pub(crate) fn new(period_nanos: u64) -> Self {
        let [version, nanos, tsc, rate] = std::array::from_fn(|_| AtomicU64::new(0));
        Self { period_nanos, version, nanos, tsc, rate, previous: Previous::default() }
    }

    /// For the keeper, once a period. More often, the previous sample is as good.
    pub(crate) fn calibrate(&self, sample: Sample) {
        let previous = &self.previous;
        let passed_nanos = sample.nanos.saturating_sub(previous.nanos.load(Ordering::Relaxed));
        if passed_nanos < self.period_nanos / 2 {
            return;
        }
        let mut rate = self.measure(passed_nanos, sample);
        let rate_before = previous.rate.load(Ordering::Relaxed);
        let mut is_confirmed = rate != 0 && rate.abs_diff(rate_before) <= rate_before / 64;
        if is_confirmed {
            previous.rate_confirmed.store(rate, Ordering::Relaxed);
        } else if passed_nanos > SAMPLE_GAP_PERIODS_MAX * self.period_nanos {
            // A pause changes no rate.
            let rate_confirmed = previous.rate_confirmed.load(Ordering::Relaxed);
            is_confirmed = rate_confirmed != 0 && self.is_precise(sample, rate_confirmed);
            rate = if is_confirmed { rate_confirmed } else { 0 };
        }
        let version = previous.version.load(Ordering::Relaxed).wrapping_add(2);
        previous.version.store(version, Ordering::Relaxed);
        previous.nanos.store(sample.nanos, Ordering::Relaxed);
        previous.tsc.store(sample.tsc_after, Ordering::Relaxed);
        previous.rate.store(rate, Ordering::Relaxed);

        self.version.store(version.wrapping_sub(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.nanos.store(sample.nanos, Ordering::Relaxed);
        self.tsc.store(sample.tsc_after, Ordering::Relaxed);
        self.rate.store(if is_confirmed { rate } else { 0 }, Ordering::Relaxed);
        self.version.store(version, Ordering::Release);
    }

    /// Whether a sample is as sharp as those are that a rate is measured by.
    fn is_precise(&self, sample: Sample, rate: u64) -> bool {
        let uncertain = sample.tsc_after.wrapping_sub(sample.tsc_before);
        let uncertain_nanos = (u128::from(uncertain) * u128::from(rate)) >> RATE_BITS;
        uncertain_nanos <= u128::from(self.period_nanos * SAMPLE_GAP_PERIODS_MAX / PRECISION)
    }

    /// The rate since the previous sample; zero if none can be told.
    fn measure(&self, passed_nanos: u64, sample: Sample) -> u64 {
        let cycles = sample.tsc_after.wrapping_sub(self.previous.tsc.load(Ordering::Relaxed));
        let uncertain = sample.tsc_after.wrapping_sub(sample.tsc_before);
        if passed_nanos > SAMPLE_GAP_PERIODS_MAX * self.period_nanos
            || uncertain > cycles / PRECISION
        {
            return 0;
        }
        (passed_nanos << RATE_BITS).checked_div(cycles).unwrap_or(0)
    }

    /// The time at which the counter is at `tsc`, in nanoseconds; `None` if that is too
    /// long ago, or not known.
    #[inline]
    pub(crate) fn nanos_at(&self, tsc: u64) -> Option<u64> {
        let version = self.version.load(Ordering::Acquire);
        let nanos = self.nanos.load(Ordering::Relaxed);
        let since = tsc.wrapping_sub(self.tsc.load(Ordering::Relaxed));
        let rate = self.rate.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let is_whole = version & 1 == 0 && version == self.version.load(Ordering::Relaxed);
        // A tsc from before the sample is a huge one here, and too late.
        let passed_nanos = (u128::from(since) * u128::from(rate)) >> RATE_BITS;
        let is_in_reach = passed_nanos <= u128::from(VALID_PERIODS * self.period_nanos);
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
        tsc: f64,
        cycles_per_nano: f64,
        random: fastrand::Rng,
    }

    impl Machine {
        fn pass(&mut self, nanos: u64) {
            self.nanos += nanos;
            self.tsc += nanos as f64 * self.cycles_per_nano;
        }

        fn tsc(&self) -> u64 {
            self.tsc as u64
        }

        fn read(&mut self) -> Sample {
            let tsc_before = self.tsc();
            let interruptions = [20, 20, 20, 20, 5_000, 10_000_000];
            let [before, after] = [(); 2].map(|()| interruptions[self.random.usize(..6)]);
            self.pass(before);
            let nanos = self.nanos;
            self.pass(after);
            Sample { nanos, tsc_before, tsc_after: self.tsc() }
        }
    }

    #[test]
    fn it_is_never_ahead_and_hardly_behind() {
        let behind_max_nanos = max_lag(Duration::from_nanos(PERIOD_NANOS)).as_nanos() as u64;
        for cycles_per_nano in [0.999, 2.45, 5.7] {
            let random = fastrand::Rng::with_seed(7);
            let mut machine = Machine { nanos: 1 << 40, tsc: 5e12, cycles_per_nano, random };
            let time = TscClock::new(PERIOD_NANOS);
            let mut told = 0;
            for _ in 0..20_000 {
                let sample = machine.read();
                time.calibrate(sample);
                for _ in 0..4 {
                    let apart = [1_000, PERIOD_NANOS / 4, PERIOD_NANOS / 3, 3 * PERIOD_NANOS]
                        .map(|nanos| if machine.random.u8(..20) == 0 { 20 * nanos } else { nanos });
                    let apart_max = apart[machine.random.usize(..4)];
                    let apart = machine.random.u64(..apart_max);
                    machine.pass(apart);
                    let Some(nanos) = time.nanos_at(machine.tsc()) else { continue };
                    told += 1;
                    let behind = machine.nanos.checked_sub(nanos).expect("not ahead");
                    assert!(behind <= behind_max_nanos / 2, "{behind} ns behind");
                }
            }
            assert!(told > 2_000, "told {told} times");
        }
    }

    fn steady(time: &TscClock, samples: u64) -> Machine {
        let random = fastrand::Rng::with_seed(7);
        let mut machine = Machine { nanos: 1 << 40, tsc: 1e9, cycles_per_nano: 3.0, random };
        for _ in 0..samples {
            machine.pass(PERIOD_NANOS);
            let tsc = machine.tsc();
            let sample = Sample { nanos: machine.nanos, tsc_before: tsc, tsc_after: tsc };
            time.calibrate(sample);
        }
        machine
    }

    #[test]
    fn three_readings_tell_the_rate() {
        for samples in 0..6 {
            let time = TscClock::new(PERIOD_NANOS);
            let machine = steady(&time, samples);
            assert_eq!(time.nanos_at(machine.tsc()).is_some(), samples > 2, "{samples}");
        }
    }

    #[test]
    fn what_is_too_long_ago_or_before_is_not_told() {
        let time = TscClock::new(PERIOD_NANOS);
        let mut machine = steady(&time, 5);
        assert_eq!(time.nanos_at(machine.tsc() - 1), None);
        machine.pass(VALID_PERIODS * PERIOD_NANOS - 1_000);
        assert!(time.nanos_at(machine.tsc()).is_some());
        machine.pass(2_000);
        assert_eq!(time.nanos_at(machine.tsc()), None);
        assert_eq!(time.nanos_at(u64::MAX), None);
    }

    #[test]
    fn a_pause_changes_no_rate() {
        for (samples, uncertain_nanos, is_told) in
            [(5, 1_000, true), (5, 15_000, true), (5, 17_000, false), (2, 1_000, false)]
        {
            let time = TscClock::new(PERIOD_NANOS);
            let mut machine = steady(&time, samples);
            machine.pass(1_000 * PERIOD_NANOS);
            let tsc_before = machine.tsc();
            machine.pass(uncertain_nanos);
            let tsc = machine.tsc();
            time.calibrate(Sample { nanos: machine.nanos, tsc_before, tsc_after: tsc });
            let case = format!("{samples} samples, {uncertain_nanos} ns");
            assert_eq!(time.nanos_at(tsc).is_some(), is_told, "{case}");
            // And on from there, whatever that was.
            machine.pass(PERIOD_NANOS);
            let tsc = machine.tsc();
            time.calibrate(Sample { nanos: machine.nanos, tsc_before: tsc, tsc_after: tsc });
            assert_eq!(time.nanos_at(tsc).is_some(), is_told, "{case}");
        }
    }

    #[test]
    fn a_suspended_machine_spoils_nothing() {
        let time = TscClock::new(PERIOD_NANOS);
        let mut machine = steady(&time, 5);
        // The clock stands, the counter goes on.
        machine.tsc += 1e12;
        for is_told in [false, false, true] {
            machine.pass(PERIOD_NANOS);
            let tsc = machine.tsc();
            let sample = Sample { nanos: machine.nanos, tsc_before: tsc, tsc_after: tsc };
            time.calibrate(sample);
            assert_eq!(time.nanos_at(tsc).is_some(), is_told);
        }
    }
}
