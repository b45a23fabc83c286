//! What it costs a hit that old time is not trusted: beside the version before, if there is one.

use punctual_figures::grouped;
use punctual_figures::record::{BarLine, quantile};

use crate::bar::{Bar, Limit, PERCENT};
use crate::versions::{BEFORE, Versions};

const RUNS: usize = 15;

pub(super) fn lines() -> Vec<BarLine> {
    let Some(versions) = Versions::build("hit", include_str!("../versions/hit.rs")) else {
        eprintln!("pressure: skipped hit, since {BEFORE} does not name a folder of the crate");
        return Vec::new();
    };
    let lines = [(500_000, 5.0), (10_000, 10.0)].map(|(entries, most)| {
        let runs = versions.interleaved(RUNS, &[&entries.to_string()]);
        let percent = runs.iter().map(|[before, now]| (now / before - 1.0) * 100.0).collect();
        let medians =
            [0, 1].map(|side| quantile(&runs.iter().map(|run| run[side]).collect::<Vec<_>>(), 0.5));
        let name = format!("a hit more than in the version before, {} entries", grouped(entries));
        let bar = Bar::new(name, PERCENT, Limit::at_most(most)).aim(Limit::at_most(0.0));
        eprintln!("pressure: {} entries: {medians:.1?} ns", grouped(entries));
        bar.median(percent)
    });
    lines.into()
}
