//! Bytes an entry, said by the builder before anything is built (that this is what is then
//! allocated, the tests of the crate prove).

use punctual_figures::record::Target;

use super::limits::Limits;
use crate::memory::{capacities, footprint_bytes};

const BYTES: Limits = Limits::at_most(48.0, 44.0);

/// The worst of the capacities.
pub(super) fn line() -> Target {
    let bytes_an_entry =
        |capacity: usize| footprint_bytes::<u64>(capacity) as f64 / capacity as f64;
    let (capacity, worst) = capacities(1e7)
        .map(|capacity| (capacity, bytes_an_entry(capacity)))
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .expect("there are capacities");
    let details = format!("at {capacity} entries, the worst of 20");
    BYTES.target("bytes an entry, u64", "", worst, details)
}
