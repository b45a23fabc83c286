//! Small caches: what they take, and how long they take to build.

use std::time::Instant;

use punctual::Cache;
use punctual_figures::record::BarLine;

use crate::bar::{BYTES_WHOLE, Bar, Limit, MICROS};
use crate::memory::footprint_bytes;

const BUILDS: usize = 2_000;

/// Building, one after the other. The reaper's thread is there already.
pub(super) fn build() -> Vec<BarLine> {
    let mut caches = vec![Cache::<u64, u64>::new(10)];
    let micros = (0..BUILDS).map(|_| {
        let start = Instant::now();
        caches.push(Cache::new(10));
        start.elapsed().as_secs_f64() * 1e6
    });
    let micros = micros.collect();
    let bar = Bar::new("building Cache::new(10)", MICROS, Limit::at_most(10.0));
    vec![bar.aim(Limit::at_most(2.0)).median(micros)]
}

pub(super) fn bytes() -> Vec<BarLine> {
    let bars = [(1, 2_048.0, None), (10, 4_096.0, Some(2_048.0)), (100, 12_288.0, Some(8_192.0))];
    let lines = bars.map(|(capacity, must, aim)| {
        let name = format!("bytes of a u64 cache of {capacity}");
        let bar = Bar::new(name, BYTES_WHOLE, Limit::at_most(must));
        let bar = aim.into_iter().fold(bar, |bar, aim| bar.aim(Limit::at_most(aim)));
        bar.once(footprint_bytes::<u64>(capacity) as f64, "")
    });
    lines.into()
}
