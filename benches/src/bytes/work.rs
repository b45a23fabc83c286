//! What insertions evict and move, where all is read through.

use punctual::Eviction;
use punctual_figures::record::{BarLine, quantile};

use super::entrants::Who;
use super::mixes::{WITH_TTLS, without_ttls};
use super::replay::replay;
use super::{Extent, told};
use crate::bar::{BYTES_WHOLE, Bar, Limit, RATIO};

pub(super) fn lines(extent: Extent) -> Vec<BarLine> {
    let mixes = WITH_TTLS.into_iter().chain(without_ttls());
    mixes
        .flat_map(|mix| {
            let trace = mix.trace(extent.of(100));
            let replayed = replay(&trace, Who::Ours(Eviction::Adaptive), mix.budget_bytes, true);
            let name = format!("{}, {}", mix.name, if mix.has_ttls() { "TTLs" } else { "no TTLs" });
            let moved: f64 = replayed.moved.iter().copied().map(f64::from).sum();
            let ends = |figures: &[u32]| {
                let figures: Vec<f64> = figures.iter().copied().map(f64::from).collect();
                let mean = figures.iter().sum::<f64>() / figures.len() as f64;
                [mean, quantile(&figures, 0.999), quantile(&figures, 1.0)]
            };
            let [mean, end, most] = ends(&replayed.moved);
            let remark =
                format!("an insertion: mean {mean:.0}, p99.9 {end:.0}, at most {most:.0} bytes");
            let bar =
                Bar::new(format!("moved, of what is inserted, {name}"), RATIO, Limit::at_most(1.2));
            let bar = bar.aim(Limit::at_most(0.5));
            let share = bar.once(moved / replayed.inserted_bytes as f64, &remark);
            let bar = format!("moved by one insertion beyond 64 KiB + 8 × its size, {name}");
            let over = Bar::new(bar, BYTES_WHOLE, Limit::at_most(0.0));
            let over = over.once(replayed.moved_over.max(0) as f64, "");
            let [mean, end, most] = ends(&replayed.evicted);
            let words = format!("mean {mean:.2}, p99.9 {end:.0}, at most {most:.0}");
            [
                share,
                over,
                told(format!("evicted by one insertion, {name}"), words, vec![mean, end, most]),
            ]
        })
        .collect()
}
