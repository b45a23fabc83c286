//! 500,000 entries fall due at once.

use punctual_figures::record::BarLine;

use super::{at_most, verdict};
use crate::by::By;
use crate::storm::{StormSubject, measure};

/// p99.99, as a multiple of quick_cache's in the same loop without a storm.
const MUST_TIMES: f64 = 3.0;
const AIM_TIMES: f64 = 1.5;
/// Processor time of the longest call, an index rebuild included.
const MUST_MICROS: f64 = 100.0;
const AIM_MICROS: f64 = 50.0;

const ROUNDS: usize = 3;

pub(super) fn lines() -> Vec<BarLine> {
    eprintln!("storm ...");
    let mut rounds = Vec::new();
    let mut longest = Vec::new();
    for _ in 0..ROUNDS {
        let mark = measure(StormSubject::QuickCache, By::Passed);
        let own = measure(StormSubject::Punctual, By::Passed);
        let (own, mark) = (own.p9999_nanos as f64 / 1e3, mark.p9999_nanos as f64 / 1e3);
        rounds.push((own / mark, own, mark));
        let own = measure(StormSubject::Punctual, By::Processor);
        let noise = measure(StormSubject::Nothing, By::Processor);
        longest.push((own.max_nanos as f64 / 1e3, noise.max_nanos as f64 / 1e3));
    }
    rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (times, own, mark) = rounds[rounds.len() / 2];
    // Interrupts are charged to whom they hit, so the longest call of one round says little: of
    // several rounds the median does.
    let mut calls: Vec<f64> = longest.iter().map(|round| round.0).collect();
    let mut noises: Vec<f64> = longest.iter().map(|round| round.1).collect();
    let (call, noise) = (median(&mut calls), median(&mut noises));
    vec![
        BarLine {
            bar: "storm, p99.99 of a call".to_owned(),
            against: StormSubject::QuickCache.name().to_owned(),
            must: at_most(MUST_TIMES, " times"),
            aim: at_most(AIM_TIMES, " times"),
            measured: format!("{times:.2} times"),
            verdict: verdict(-times, Some(-MUST_TIMES), Some(-AIM_TIMES)).to_owned(),
            details: format!("{own:.1} µs : {mark:.1} µs, the median of {ROUNDS} rounds"),
        },
        BarLine {
            bar: "storm, longest call's processor time".to_owned(),
            against: "no cache".to_owned(),
            must: at_most(MUST_MICROS, " µs"),
            aim: at_most(AIM_MICROS, " µs"),
            measured: format!("{call:.1} µs"),
            verdict: verdict(-call, Some(-MUST_MICROS), Some(-AIM_MICROS)).to_owned(),
            details: format!(
                "an index rebuild included; noise {noise:.1} µs; least of {ROUNDS} rounds {:.1} µs",
                calls[0]
            ),
        },
    ]
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
