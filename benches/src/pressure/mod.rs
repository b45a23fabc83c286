//! The bars under pressure: threads that starve, a process that is stopped, many caches, and small
//! ones.

mod hit;
mod listener;
mod many;
mod small;
mod starved;
mod stopped;

use std::time::Duration;

use punctual_figures::record::BarLine;
use rustix::time::{ClockId, clock_gettime};

use crate::bar::{Measure, measure};

pub(crate) use stopped::{CHILD as STOPPED_CHILD, child as stopped_child};

const MEASURES: [(&str, Measure); 10] = [
    ("starved", starved::lines),
    ("stopped", stopped::lines),
    ("hit", hit::lines),
    ("idle", many::idle),
    ("late", many::late),
    ("in-use", many::in_use),
    ("dropped", many::dropped),
    ("build", small::build),
    ("bytes", small::bytes),
    ("listener", listener::lines),
];

/// Measures the bars that the filter picks.
pub(crate) fn run(filter: &str) -> Vec<BarLine> {
    measure("pressure", &MEASURES, filter)
}

/// Returns the processor time that this process has used so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
