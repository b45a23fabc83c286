//! How the cost of a hit grows with the number of entries, beside a bare map's.

use punctual_figures::record::{Outcome, Target};

use super::CALLS;
use super::limits::Limits;
use crate::speed::contest::{Contest, Operation, run_all};
use crate::speed::keys::Popularity;
use crate::subjects::registry::Who;

const FROM: usize = 10_000;
const TO: usize = 10_000_000;
const ROUNDS: usize = 7;
/// How many times as much as the bare map's.
const TIMES: Limits = Limits::at_most(1.5, 1.0).in_unit(" times");

const OPERATIONS: [Operation; 2] = [Operation::Hit, Operation::Overwrite];

/// Calls at several sizes, of punctual, the bare map and quick_cache.
pub(crate) fn run() -> Vec<Outcome> {
    const CAPACITIES: [usize; 5] = [1_000, FROM, 100_000, 1_000_000, TO];
    CAPACITIES.iter().flat_map(|&at| measure(at, &OPERATIONS)).collect()
}

/// Only what the bar asks for.
pub(super) fn run_ends() -> Vec<Outcome> {
    [FROM, TO].iter().flat_map(|&at| measure(at, &OPERATIONS[..1])).collect()
}

fn measure(capacity: usize, operations: &[Operation]) -> Vec<Outcome> {
    let contests = operations.iter().map(|&operation| Contest {
        operation,
        popularity: Popularity::Uniform,
        capacity,
        threads: 1,
        rounds: ROUNDS,
        calls: CALLS,
    });
    let contests: Vec<Contest> = contests.collect();
    run_all::<u64>(&contests, &[Who::Punctual, Who::QuickCache, Who::ShardedMap])
}

pub(super) fn line(growth: &[Outcome]) -> Target {
    let nanos = |capacity: usize, who: Who| {
        let outcome = growth.iter().find(|outcome| {
            outcome.operation == Operation::Hit.name() && outcome.capacity == capacity
        });
        let result = outcome.and_then(|outcome| outcome.result(who.name()));
        result.expect("it took part").median()
    };
    let [own, map] = [Who::Punctual, Who::ShardedMap].map(|who| (nanos(FROM, who), nanos(TO, who)));
    let ratio = (own.1 / own.0) / (map.1 / map.0);
    let details = format!("{:.1} to {:.1} ns : {:.1} to {:.1} ns", own.0, own.1, map.0, map.1);
    let bar = "growth of a hit from 10,000 to 10 million entries";
    TIMES.target(bar, Who::ShardedMap.name(), ratio, details)
}
