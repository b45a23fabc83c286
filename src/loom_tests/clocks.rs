//! The TSC clock.

use super::*;
use crate::time::tsc_clock::{Sample, TscClock};

const PERIOD: u64 = 1 << 20;

/// The counter runs at the rate of the clock.
fn sample(number: u64) -> Sample {
    let nanos = (10 + number) * PERIOD;
    Sample { nanos, tsc_before: nanos, tsc_after: nanos }
}

/// Purpose: the seqlock. Computed from a mix of two samples, the time would be off by a
/// period.
#[test]
fn a_sample_is_read_as_it_was_written_or_not_at_all() {
    explore(None, || {
        let clock = Arc::new(TscClock::new(PERIOD));
        for number in 0..3 {
            clock.calibrate(sample(number));
        }
        let writer = {
            let clock = Arc::clone(&clock);
            spawn(move || {
                clock.calibrate(sample(3));
                clock.calibrate(sample(4));
            })
        };
        let tsc = sample(4).nanos;
        if let Some(nanos) = clock.nanos_at(tsc) {
            let behind = tsc - nanos;
            assert!(behind <= 2 * PERIOD / 64, "{behind} of a period of {PERIOD}");
        }
        writer.join().unwrap();
        assert_eq!(clock.nanos_at(tsc), Some(tsc));
    });
}
