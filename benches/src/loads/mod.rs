//! The bars of loading: what a herd of callers costs, what is stored beside writers, how long
//! callers wait, and what a hit and the bookkeeping cost.

mod bytes;
mod callers;
mod herd;
mod hit;
mod one_key;
mod refresh;
mod waiting;
mod written;

use std::time::Duration;

use punctual_figures::record::BarLine;

use crate::bar::{Measure, measure};

/// How long a load takes.
const LOAD: Duration = Duration::from_millis(50);
/// How often the bars are measured that depend on chance.
const RUNS: usize = 5;

const MEASURES: [(&str, Measure); 7] = [
    ("herd", herd::lines),
    ("written", written::lines),
    ("one-key", one_key::lines),
    ("refresh", refresh::lines),
    ("hit", hit::lines),
    ("bytes", bytes::lines),
    ("waiting", waiting::lines),
];

/// Measures the bars that the filter picks.
pub(crate) fn run(filter: &str) -> Vec<BarLine> {
    measure("loads", &MEASURES, filter)
}
