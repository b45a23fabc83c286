//! The bars of what a cache does only if its builder was asked for it, and of `compute`: counters,
//! idle time, weights and jitter.

mod counter;
mod filled;
mod heap;
mod jitter;
mod renewal;
mod sizes;
mod turns;
mod weighed;

use punctual_figures::record::BarLine;

use crate::bar::{Measure, measure};

const MEASURES: [(&str, Measure); 5] = [
    ("counter", counter::lines),
    ("renewal", renewal::lines),
    ("heap", heap::lines),
    ("weighed-hits", weighed::lines),
    ("jitter", jitter::lines),
];

/// Measures the bars that the filter picks.
pub(crate) fn run(filter: &str) -> Vec<BarLine> {
    measure("rules", &MEASURES, filter)
}
