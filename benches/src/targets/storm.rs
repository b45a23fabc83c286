//! 500,000 entries fall due at once.

use punctual_figures::record::{Target, quantile};

use super::limits::Limits;
use crate::progress;
use crate::stopwatch::TimedBy;
use crate::storm::measure;
use crate::subjects::registry::Who;

/// p99.99, as a multiple of quick_cache's in the same loop without a storm.
const P9999: Limits = Limits::at_most(3.0, 1.5).in_unit(" times");
/// Processor time of the longest call, an index rebuild included.
const LONGEST: Limits = Limits::at_most(100.0, 50.0).in_unit(" µs");

const ROUNDS: usize = 3;

pub(super) fn lines() -> [Target; 2] {
    progress::step("bars: storm");
    let mut rounds = Vec::new();
    let (mut calls, mut noises) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let [mark, own] = [Who::QuickCache, Who::Punctual]
            .map(|who| measure(who, TimedBy::WallClock).nanos[3] as f64 / 1e3);
        rounds.push((own / mark, own, mark));
        let [call, noise] = [Who::Punctual, Who::Nothing]
            .map(|who| measure(who, TimedBy::ThreadCpu).nanos[4] as f64 / 1e3);
        calls.push(call);
        noises.push(noise);
    }
    rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (times, own, mark) = rounds[ROUNDS / 2];
    let details = format!("{own:.1} µs : {mark:.1} µs, the median of {ROUNDS} rounds");
    let p9999 = P9999.target("storm, p99.99 of a call", Who::QuickCache.name(), times, details);
    // Interrupts are charged to whom they hit, so the longest call of one round says little: of
    // several rounds the median does.
    let details = format!(
        "an index rebuild included; noise {:.1} µs; least of {ROUNDS} rounds {:.1} µs",
        quantile(&noises, 0.5),
        quantile(&calls, 0.0)
    );
    let (bar, call) = ("storm, longest call's processor time", quantile(&calls, 0.5));
    [p9999, LONGEST.target(bar, Who::Nothing.name(), call, details)]
}
