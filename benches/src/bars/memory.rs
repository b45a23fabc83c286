//! Bytes an entry, said by the builder before anything is built (that this is what is then
//! allocated, the tests of the crate prove).

use punctual_figures::record::BarLine;

use super::{at_most, verdict};
use crate::memory::{capacities, footprint_bytes};

const MUST_BYTES: f64 = 48.0;
const AIM_BYTES: f64 = 44.0;

/// The worst of the capacities.
pub(super) fn line() -> BarLine {
    let bytes_an_entry =
        |capacity: usize| footprint_bytes::<u64>(capacity) as f64 / capacity as f64;
    let (capacity, worst) = capacities(1e7)
        .map(|capacity| (capacity, bytes_an_entry(capacity)))
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .expect("there are capacities");
    BarLine {
        bar: "bytes an entry, u64".to_owned(),
        against: String::new(),
        must: at_most(MUST_BYTES, ""),
        aim: at_most(AIM_BYTES, ""),
        measured: format!("{worst:.2}"),
        verdict: verdict(-worst, Some(-MUST_BYTES), Some(-AIM_BYTES)).to_owned(),
        details: format!("at {capacity} entries, the worst of 20"),
    }
}
