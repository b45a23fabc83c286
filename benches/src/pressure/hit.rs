//! What it costs a hit that old time is not trusted: beside the version before, if there is one.

use punctual_figures::grouped;
use punctual_figures::record::BarLine;

use crate::bar::{Bar, Limit, PERCENT};
use crate::progress;
use crate::versions::{BEFORE, Versions};

const RUNS: usize = 15;

pub(super) fn lines() -> Vec<BarLine> {
    let Some(versions) = Versions::build("hit", include_str!("../versions/hit.rs")) else {
        progress::note(&format!(
            "pressure: skipped hit, since {BEFORE} does not name a folder of the crate"
        ));
        return Vec::new();
    };
    let lines = [(500_000, 5.0), (10_000, 10.0)].map(|(entries, most)| {
        let runs = versions.interleaved(RUNS, &[&entries.to_string()]);
        // Where the memory lies makes for much more of a difference: the best run of each counts.
        let best = |side: usize| runs.iter().map(|run| run[side]).fold(f64::INFINITY, f64::min);
        let [before, now] = [0, 1].map(best);
        let name = format!("a hit more than in the version before, {} entries", grouped(entries));
        let bar = Bar::new(name, PERCENT, Limit::at_most(most)).aim(Limit::at_most(0.0));
        bar.once((now / before - 1.0) * 100.0, &format!("{now:.1} : {before:.1} ns"))
    });
    lines.into()
}
