//! Bytes an entry, said by the builder before anything is built (that this is what is then
//! allocated, the tests of the crate prove).

use super::{Line, at_most, verdict};
use crate::subjects::punctual_cache::PunctualCache;

const MUST_BYTES: f64 = 48.0;
const AIM_BYTES: f64 = 44.0;

/// Twenty capacities from 10,000 to 10 million, evenly spread over the orders of magnitude, and
/// none of them round.
pub(crate) fn capacities() -> impl Iterator<Item = usize> {
    (0..20).map(|step| (10_000.0 * 1000_f64.powf(f64::from(step) / 19.0)) as usize)
}

/// The worst of the capacities.
pub(super) fn line() -> Line {
    let bytes_an_entry = |capacity: usize| {
        PunctualCache::<u64, u64>::footprint_bytes(capacity) as f64 / capacity as f64
    };
    let (capacity, worst) = capacities()
        .map(|capacity| (capacity, bytes_an_entry(capacity)))
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .expect("there are capacities");
    Line {
        bar: "bytes an entry, u64".to_owned(),
        against: String::new(),
        must: at_most(MUST_BYTES, ""),
        aim: at_most(AIM_BYTES, ""),
        measured: format!("{worst:.2}"),
        verdict: verdict(-worst, Some(-MUST_BYTES), Some(-AIM_BYTES)),
        details: format!("at {capacity} entries"),
    }
}
