//! One entrant by itself, over and over: for a profiler to look at.

use punctual_figures::record::Outcome;

use super::contest::{Contest, Operation};
use super::field::{self, Entrant};
use super::keys::{Material, Popularity};

/// As in the bars.
const ENTRIES: usize = 500_000;
const CALLS: usize = 100_000;

const OPERATIONS: [(&str, Operation, Popularity); 5] = [
    ("hit", Operation::Hit, Popularity::Uniform),
    ("miss", Operation::Miss, Popularity::Uniform),
    ("insert", Operation::InsertFresh, Popularity::Uniform),
    ("overwrite", Operation::Overwrite, Popularity::Uniform),
    ("read-through", Operation::ReadThrough, Popularity::Zipf(0.99)),
];

/// `words`: operation, `u64` or `String`, the entrant's name, and how many rounds of 100,000 calls.
pub(crate) fn run(words: &[String]) -> Result<String, String> {
    let entrants = [
        field::punctual(),
        field::PUNCTUAL_FIFO,
        field::UNSYNC,
        field::UNSYNC_KEPT_CLOCK,
        field::QUICK_CACHE,
        field::QUICK_CACHE_UNSYNC,
        field::SHARDED_MAP,
        field::TTL_CACHE,
        field::LRU_DEADLINE,
    ];
    let [operation, material, name, rounds] = words else {
        return Err("alone OPERATION MATERIAL ENTRANT ROUNDS".to_owned());
    };
    let known = OPERATIONS.iter().find(|(name, ..)| name == operation);
    let &(_, operation, popularity) = known.ok_or(format!("no operation is called {operation}"))?;
    let entrant = entrants.into_iter().find(|entrant| entrant.name == name);
    let entrant = entrant.ok_or_else(|| {
        format!("{name} is none of {}", entrants.map(|entrant| entrant.name).join(", "))
    })?;
    let rounds = rounds.parse().map_err(|error| format!("{rounds}: {error}"))?;
    let contest =
        Contest { operation, popularity, capacity: ENTRIES, threads: 1, rounds, calls: CALLS };
    let outcome = match material.as_str() {
        u64::NAME => contest.run::<u64>(&[entrant]),
        String::NAME => contest.run::<String>(&[entrant]),
        other => return Err(format!("{other} is neither u64 nor String")),
    };
    Ok(line(&outcome, entrant, rounds))
}

fn line(outcome: &Outcome, entrant: Entrant, rounds: usize) -> String {
    let median = outcome.results.first().map_or(f64::NAN, |timing| {
        let mut nanos = timing.nanos_per_call.clone();
        nanos.sort_by(f64::total_cmp);
        nanos.get(nanos.len() / 2).copied().unwrap_or(f64::NAN)
    });
    let (operation, material) = (&outcome.operation, &outcome.material);
    format!("{operation}, {material}, {}: {median:.1} ns in {rounds} rounds", entrant.name)
}
