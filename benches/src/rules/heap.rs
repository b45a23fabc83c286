//! The heap that a cache takes whose values have a bound in bytes: between calls, tables included.

use punctual::Cache;
use punctual_figures::record::BarLine;
use punctual_testing::alloc::Count;

use super::sizes::{self, MAX_WEIGHT, Sizes};
use crate::bar::{Bar, Limit, PERCENT};

const RUNS: u64 = 3;

pub(super) fn lines() -> Vec<BarLine> {
    let lines = sizes::ALL.map(|sizes| {
        let runs: Vec<[f64; 2]> = (0..RUNS).map(|seed| most_bytes(sizes, seed)).collect();
        let worst = |side: usize| runs.iter().map(|run| run[side]).fold(0.0, f64::max);
        let more = runs.iter().map(|[between, _]| (between / MAX_WEIGHT as f64 - 1.0) * 100.0);
        let [between, within] = [0, 1].map(|side| worst(side) / f64::from(1 << 20));
        let name = format!("heap beyond max_weight (64 MiB), values of {}", sizes.name);
        let bar = Bar::new(name, PERCENT, Limit::at_most(5.0));
        let remark = format!("{between:.2} MiB; within calls {within:.2} MiB");
        bar.worst(more.collect(), &remark)
    });
    lines.into()
}

/// Returns the most bytes that are kept between two calls, and within one.
fn most_bytes(sizes: Sizes, seed: u64) -> [f64; 2] {
    let (bytes, asked) = sizes.trace(seed);
    let count = Count::start();
    let before = count.traffic().bytes_kept;
    let cache = Cache::builder()
        // Twice as many as fit: the weight decides, and not the number.
        .capacity(2 * sizes.fitting())
        .weigher(|_: &u64, value: &Vec<u8>| value.capacity() as u64)
        .max_weight(MAX_WEIGHT)
        .build()
        .expect("the capacity is possible");
    let mut most = 0;
    for key in asked {
        if cache.read(&key, |_| ()).is_none() {
            cache.insert(key, Vec::with_capacity(bytes[key as usize] as usize));
        }
        most = most.max(count.traffic().bytes_kept - before);
    }
    let stats = cache.stats();
    assert!(stats.evicted > 0, "there is not room for all");
    assert!(stats.weight_peak <= MAX_WEIGHT);
    [most as f64, (count.bytes_kept_max() - before) as f64]
}
