//! The precise time, computed from the processor's time-stamp counter (TSC): a TTL counts
//! from it under load.
//!
//! The reaper takes a sample each period: it reads the system's precise clock, and the
//! counter before and after. Two samples give the rate of the counter. A call reads the
//! counter and extrapolates from the latest sample.
//!
//! # Accuracy
//!
//! The time is never ahead of the system's precise clock, and behind it by at most a
//! sixteenth of a period:
//!
//! - A sample measures a rate only if the counter advanced little while it was taken, by a
//!   1024th of the distance to the previous sample; else the reaper was interrupted in
//!   between. Two samples are between half a period and four periods apart. So the rate is
//!   accurate to a hundredth.
//! - A rate is used only if it is confirmed: if it agrees with the previous one to a 64th.
//!   So a machine that was suspended, where the clock stands and the counter goes on, gives
//!   no wrong rate. After a longer gap between two samples, the last confirmed rate is used
//!   again, from a sample that is as precise as the others.
//! - A 64th of the time since the sample is subtracted, which is more than the error of the
//!   rate.
//! - A sample is valid for [`VALID_PERIODS`]. If the reaper is late, calls have to read the
//!   system's clock.
//!
//! [`max_lag`] is twice as much, since a processor reads the counter out of order.
//!
//! # The protocol
//!
//! A seqlock of one writer: the version is odd while it writes; a reader that sees an odd or
//! changed version returns `None` and does not retry. A forked child has its parent's
//! memory; the sample in it is correct there, too, until it is no longer valid.

use std::sync::atomic::AtomicU64 as PlainAtomicU64;
use std::time::Duration;

use crate::sync::shim::{AtomicU64, Ordering, fence};

/// Fractional bits of a rate.
const RATE_BITS: u32 = 24;

/// How long a sample is valid.
const VALID_PERIODS: u64 = 2;

/// Samples further apart measure no rate.
const SAMPLE_GAP_PERIODS_MAX: u64 = 4;

/// The counter must advance between two samples by at least this many times as much as while
/// one is taken.
const PRECISION: u64 = 1 << 10;

/// Returns the most by which a TSC clock is behind the system's precise clock.
pub(crate) fn max_lag(period: Duration) -> Duration {
    period / 8
}

/// A reading of the system's precise clock, and of the counter before and after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) nanos: u64,
    pub(crate) tsc_before: u64,
    pub(crate) tsc_after: u64,
}

pub(crate) struct TscClock {
    period_nanos: u64,
    /// The seqlock's version, of the four fields below.
    version: AtomicU64,
    nanos: AtomicU64,
    /// The counter at that time or later.
    tsc: AtomicU64,
    /// A 64th less than the nanoseconds per cycle of the counter, with [`RATE_BITS`] fractional
    /// bits.
    rate: AtomicU64,
    /// The sample is valid for fewer cycles than this; zero while the rate is unknown.
    cycles_end: AtomicU64,
    previous: Previous,
}

/// What the reaper, the only writer, has of the previous sample, apart from what it
/// publishes: see the ground rules of `loom_tests`.
#[derive(Default)]
struct Previous {
    version: PlainAtomicU64,
    nanos: PlainAtomicU64,
    tsc: PlainAtomicU64,
    /// The rate measured up to that sample, confirmed or not.
    rate: PlainAtomicU64,
    /// The last confirmed rate.
    rate_confirmed: PlainAtomicU64,
}

impl TscClock {
    pub(crate) fn new(period_nanos: u64) -> Self {
        let [version, nanos, tsc, rate, cycles_end] = std::array::from_fn(|_| AtomicU64::new(0));
        let previous = Previous::default();
        Self { period_nanos, version, nanos, tsc, rate, cycles_end, previous }
    }

    /// Takes a new sample. For the reaper, once a period; more frequent samples are ignored.
    pub(crate) fn calibrate(&self, sample: Sample) {
        let previous = &self.previous;
        let passed_nanos = sample.nanos.saturating_sub(previous.nanos.load(Ordering::Relaxed));
        // Too close to the previous sample for the uncertainty of both to be small beside
        // the distance. The previous one is still valid.
        if passed_nanos < self.period_nanos / 2 {
            return;
        }
        let mut rate = self.measure(passed_nanos, sample);
        // A suspended machine, whose clock stands while the counter goes on, has precise
        // samples of a wrong rate. So a rate has to be measured twice.
        let rate_before = previous.rate.load(Ordering::Relaxed);
        let mut is_confirmed = rate != 0 && rate.abs_diff(rate_before) <= rate_before / 64;
        if is_confirmed {
            previous.rate_confirmed.store(rate, Ordering::Relaxed);
        } else if passed_nanos > SAMPLE_GAP_PERIODS_MAX * self.period_nanos {
            // The reaper did not refresh for a while: too long to measure a rate over, but
            // the counter's is constant. Only this sample has to be precise.
            let rate_confirmed = previous.rate_confirmed.load(Ordering::Relaxed);
            is_confirmed = rate_confirmed != 0 && self.is_precise(sample, rate_confirmed);
            rate = if is_confirmed { rate_confirmed } else { 0 };
        }
        let version = previous.version.load(Ordering::Relaxed).wrapping_add(2);
        previous.version.store(version, Ordering::Relaxed);
        previous.nanos.store(sample.nanos, Ordering::Relaxed);
        // The later of the two counters: the time that readers compute from it may be behind
        // by the uncertainty, and is never ahead.
        previous.tsc.store(sample.tsc_after, Ordering::Relaxed);
        previous.rate.store(rate, Ordering::Relaxed);

        // The seqlock's write side: odd version, fence, data, even version. A reader that
        // loads any of the new data sees an odd or a newer version after its own fence.
        self.version.store(version.wrapping_sub(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.nanos.store(sample.nanos, Ordering::Relaxed);
        self.tsc.store(sample.tsc_after, Ordering::Relaxed);
        // An unconfirmed rate is not published, but the next one may confirm it.
        let cycles_end = if is_confirmed { self.cycles_end(rate) } else { 0 };
        // A 64th less is more than a rate that is too high by a hundredth: never ahead.
        self.rate.store(rate - rate.div_ceil(64), Ordering::Relaxed);
        self.cycles_end.store(cycles_end, Ordering::Relaxed);
        self.version.store(version, Ordering::Release);
    }

    /// Returns how many cycles later a sample is not valid any more. Until then, cycles times
    /// rate do not overflow.
    fn cycles_end(&self, rate: u64) -> u64 {
        let end = u128::from(VALID_PERIODS * self.period_nanos) << RATE_BITS;
        (end.min(u64::MAX.into()) as u64).checked_div(rate).unwrap_or(0)
    }

    /// Returns whether a sample, by itself, is as precise as those that measure a rate.
    fn is_precise(&self, sample: Sample, rate: u64) -> bool {
        let uncertain = sample.tsc_after.wrapping_sub(sample.tsc_before);
        let uncertain_nanos = (u128::from(uncertain) * u128::from(rate)) >> RATE_BITS;
        uncertain_nanos <= u128::from(self.period_nanos * SAMPLE_GAP_PERIODS_MAX / PRECISION)
    }

    /// Returns the rate since the previous sample; zero if it is too uncertain.
    fn measure(&self, passed_nanos: u64, sample: Sample) -> u64 {
        let cycles = sample.tsc_after.wrapping_sub(self.previous.tsc.load(Ordering::Relaxed));
        // Bounds the uncertainty: the clock was read at some point of these cycles. To the
        // error of the rate this sample adds at most 1/PRECISION; the previous one, whose
        // own distance may have been eight times as long, at most 8/PRECISION. Together
        // that is less than a hundredth.
        let uncertain = sample.tsc_after.wrapping_sub(sample.tsc_before);
        if passed_nanos > SAMPLE_GAP_PERIODS_MAX * self.period_nanos
            || uncertain > cycles / PRECISION
        {
            return 0;
        }
        (passed_nanos << RATE_BITS).checked_div(cycles).unwrap_or(0)
    }

    /// Returns the time in nanoseconds at which the counter is at `tsc`; `None` if there is
    /// no sample that is valid then, or a new one is just being written.
    #[inline]
    pub(crate) fn nanos_at(&self, tsc: u64) -> Option<u64> {
        // The seqlock's read side: version, data, fence, version.
        let version = self.version.load(Ordering::Acquire);
        let nanos = self.nanos.load(Ordering::Relaxed);
        let since = tsc.wrapping_sub(self.tsc.load(Ordering::Relaxed));
        let rate = self.rate.load(Ordering::Relaxed);
        let cycles_end = self.cycles_end.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let is_consistent = version & 1 == 0 && version == self.version.load(Ordering::Relaxed);
        // The error grows with the time since the sample, so that is bounded. Where the
        // counter is from before the sample, `since` has wrapped and is out of bounds, too.
        (is_consistent && since < cycles_end).then(|| nanos + ((since * rate) >> RATE_BITS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD_NANOS: u64 = 4_000_000;

    /// A machine whose counter runs at some rate, and whose reaper is late, interrupted
    /// while it takes a sample, or absent.
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
    fn it_is_never_ahead_and_little_behind() {
        let behind_max_nanos = max_lag(Duration::from_nanos(PERIOD_NANOS)).as_nanos() as u64;
        for cycles_per_nano in [0.999, 2.45, 5.7] {
            let random = fastrand::Rng::with_seed(7);
            let mut machine = Machine { nanos: 1 << 40, tsc: 5e12, cycles_per_nano, random };
            let clock = TscClock::new(PERIOD_NANOS);
            let mut readings = 0;
            for _ in 0..20_000 {
                let sample = machine.read();
                clock.calibrate(sample);
                for _ in 0..4 {
                    let apart = [1_000, PERIOD_NANOS / 4, PERIOD_NANOS / 3, 3 * PERIOD_NANOS]
                        .map(|nanos| if machine.random.u8(..20) == 0 { 20 * nanos } else { nanos });
                    let apart_max = apart[machine.random.usize(..4)];
                    let apart = machine.random.u64(..apart_max);
                    machine.pass(apart);
                    let Some(nanos) = clock.nanos_at(machine.tsc()) else { continue };
                    readings += 1;
                    let behind = machine.nanos.checked_sub(nanos).expect("not ahead");
                    assert!(behind <= behind_max_nanos / 2, "{behind} ns behind");
                }
            }
            assert!(readings > 2_000, "valid only {readings} times");
        }
    }

    /// Calibrates a clock with samples of a machine that nothing disturbs.
    fn steady(clock: &TscClock, samples: u64) -> Machine {
        let random = fastrand::Rng::with_seed(7);
        let mut machine = Machine { nanos: 1 << 40, tsc: 1e9, cycles_per_nano: 3.0, random };
        for _ in 0..samples {
            machine.pass(PERIOD_NANOS);
            let tsc = machine.tsc();
            let sample = Sample { nanos: machine.nanos, tsc_before: tsc, tsc_after: tsc };
            clock.calibrate(sample);
        }
        machine
    }

    #[test]
    fn three_samples_confirm_the_rate() {
        for samples in 0..6 {
            let clock = TscClock::new(PERIOD_NANOS);
            let machine = steady(&clock, samples);
            assert_eq!(clock.nanos_at(machine.tsc()).is_some(), samples > 2, "{samples}");
        }
    }

    #[test]
    fn a_sample_is_valid_from_its_counter_on_for_two_periods() {
        let clock = TscClock::new(PERIOD_NANOS);
        let mut machine = steady(&clock, 5);
        assert_eq!(clock.nanos_at(machine.tsc() - 1), None);
        machine.pass(VALID_PERIODS * PERIOD_NANOS - 1_000);
        assert!(clock.nanos_at(machine.tsc()).is_some());
        machine.pass(2_000);
        assert_eq!(clock.nanos_at(machine.tsc()), None);
        assert_eq!(clock.nanos_at(u64::MAX), None);
    }

    #[test]
    fn a_gap_between_samples_keeps_the_confirmed_rate() {
        for (samples, uncertain_nanos, is_valid) in
            [(5, 1_000, true), (5, 15_000, true), (5, 17_000, false), (2, 1_000, false)]
        {
            let clock = TscClock::new(PERIOD_NANOS);
            let mut machine = steady(&clock, samples);
            machine.pass(1_000 * PERIOD_NANOS);
            let tsc_before = machine.tsc();
            machine.pass(uncertain_nanos);
            let tsc = machine.tsc();
            clock.calibrate(Sample { nanos: machine.nanos, tsc_before, tsc_after: tsc });
            let case = format!("{samples} samples, {uncertain_nanos} ns");
            assert_eq!(clock.nanos_at(tsc).is_some(), is_valid, "{case}");
            // The next sample confirms no other rate.
            machine.pass(PERIOD_NANOS);
            let tsc = machine.tsc();
            clock.calibrate(Sample { nanos: machine.nanos, tsc_before: tsc, tsc_after: tsc });
            assert_eq!(clock.nanos_at(tsc).is_some(), is_valid, "{case}");
        }
    }

    #[test]
    fn a_suspended_machine_confirms_no_wrong_rate() {
        let clock = TscClock::new(PERIOD_NANOS);
        let mut machine = steady(&clock, 5);
        // The clock stands, the counter goes on.
        machine.tsc += 1e12;
        for is_valid in [false, false, true] {
            machine.pass(PERIOD_NANOS);
            let tsc = machine.tsc();
            let sample = Sample { nanos: machine.nanos, tsc_before: tsc, tsc_after: tsc };
            clock.calibrate(sample);
            assert_eq!(clock.nanos_at(tsc).is_some(), is_valid);
        }
    }
}
