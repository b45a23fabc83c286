//! How the cost of a hit grows with the number of entries, beside a bare map's.

use super::{CALLS, Line, at_most, verdict};
use crate::speed::contest::{Contest, Operation, Outcome};
use crate::speed::field;
use crate::speed::keys::Popularity;

const FROM: usize = 10_000;
const TO: usize = 10_000_000;
const ROUNDS: usize = 7;
const MUST: f64 = 1.5;
const AIM: f64 = 1.0;

/// Hits at several sizes, of punctual, the bare map and quick_cache.
pub(crate) fn run(capacities: &[usize]) -> Vec<Outcome> {
    let run = |&capacity: &usize| {
        eprintln!("growth: {capacity} entries ...");
        let contest = Contest {
            operation: Operation::Hit,
            popularity: Popularity::Uniform,
            capacity,
            threads: 1,
            rounds: ROUNDS,
            calls: CALLS,
        };
        contest.run::<u64>(&[field::punctual(), field::QUICK_CACHE, field::SHARDED_MAP])
    };
    capacities.iter().map(run).collect()
}

pub(super) fn line() -> (Line, Vec<Outcome>) {
    let own = field::punctual();
    let outcomes = run(&[FROM, TO]);
    let nanos = |outcome: &Outcome, name| outcome.result(name).expect("it took part").median();
    let growth = |name| nanos(&outcomes[1], name) / nanos(&outcomes[0], name);
    let (ours, maps) = (growth(own.name), growth(field::SHARDED_MAP.name));
    let line = Line {
        bar: format!("growth of a hit from {FROM} to {TO} entries"),
        against: field::SHARDED_MAP.name.to_owned(),
        must: at_most(MUST, " times"),
        aim: at_most(AIM, " times"),
        measured: format!("{:.2} times", ours / maps),
        verdict: verdict(-ours / maps, Some(-MUST), Some(-AIM)),
        details: format!(
            "{:.1} to {:.1} ns : {:.1} to {:.1} ns",
            nanos(&outcomes[0], own.name),
            nanos(&outcomes[1], own.name),
            nanos(&outcomes[0], field::SHARDED_MAP.name),
            nanos(&outcomes[1], field::SHARDED_MAP.name),
        ),
    };
    (line, outcomes)
}
