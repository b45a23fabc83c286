//! One entrant by itself, over and over: for a profiler to look at.

use super::contest::{Contest, Operation};
use super::keys::{Material, Popularity};
use crate::subjects::registry::Who;

/// As in the targets.
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
    let [operation, material, name, rounds] = words else {
        return Err("alone OPERATION MATERIAL ENTRANT ROUNDS".to_owned());
    };
    let known = OPERATIONS.iter().find(|(name, ..)| name == operation);
    let &(_, operation, popularity) = known.ok_or(format!("no operation is called {operation}"))?;
    let who = Who::ALL.iter().find(|who| who.name() == name);
    let who = who.ok_or_else(|| {
        let names: Vec<&str> = Who::ALL.iter().map(|who| who.name()).collect();
        format!("{name} is none of {}", names.join("; "))
    })?;
    let rounds = rounds.parse().map_err(|error| format!("{rounds}: {error}"))?;
    let contest =
        Contest { operation, popularity, capacity: ENTRIES, threads: 1, rounds, calls: CALLS };
    let outcome = match material.as_str() {
        u64::NAME => contest.run::<u64>(&[*who]),
        String::NAME => contest.run::<String>(&[*who]),
        other => return Err(format!("{other} is neither u64 nor String")),
    };
    let median = outcome.result(name).map_or(f64::NAN, |timing| timing.median());
    let operation = outcome.operation;
    Ok(format!("{operation}, {material}, {name}: {median:.1} ns in {rounds} rounds"))
}
