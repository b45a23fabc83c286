//! How the cost of a hit grows with the number of entries, beside a bare map's.

use punctual_figures::record::{BarLine, Growth, Outcome};

use super::{CALLS, at_most, verdict};
use crate::speed::contest::{Contest, Operation, run_all};
use crate::speed::field;
use crate::speed::keys::Popularity;

const FROM: usize = 10_000;
const TO: usize = 10_000_000;
const ROUNDS: usize = 7;
const MUST: f64 = 1.5;
const AIM: f64 = 1.0;

const OPERATIONS: [Operation; 2] = [Operation::Hit, Operation::Overwrite];

/// Calls at several sizes, of punctual, the bare map and quick_cache.
pub(crate) fn run() -> Growth {
    const CAPACITIES: [usize; 5] = [1_000, FROM, 100_000, 1_000_000, TO];
    Growth { outcomes: CAPACITIES.iter().flat_map(|&at| measure(at, &OPERATIONS)).collect() }
}

/// Only what the bar asks for.
pub(super) fn run_ends() -> Growth {
    Growth { outcomes: [FROM, TO].iter().flat_map(|&at| measure(at, &OPERATIONS[..1])).collect() }
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
    run_all::<u64>(&contests, &[field::punctual(), field::QUICK_CACHE, field::SHARDED_MAP])
}

pub(super) fn line(growth: &Growth) -> BarLine {
    let nanos = |capacity: usize, name: &str| {
        let outcome = growth.outcomes.iter().find(|outcome| {
            outcome.operation == Operation::Hit.name() && outcome.capacity == capacity
        });
        let result = outcome.and_then(|outcome| outcome.result(name));
        result.expect("it took part").median()
    };
    let (own, map) = (field::punctual().name, field::SHARDED_MAP.name);
    let times = |name: &str| nanos(TO, name) / nanos(FROM, name);
    let ratio = times(own) / times(map);
    BarLine {
        bar: "growth of a hit from 10,000 to 10 million entries".to_owned(),
        against: map.to_owned(),
        must: at_most(MUST, " times"),
        aim: at_most(AIM, " times"),
        measured: format!("{ratio:.2} times"),
        verdict: verdict(-ratio, Some(-MUST), Some(-AIM)).to_owned(),
        details: format!(
            "{:.1} to {:.1} ns : {:.1} to {:.1} ns",
            nanos(FROM, own),
            nanos(TO, own),
            nanos(FROM, map),
            nanos(TO, map),
        ),
    }
}
