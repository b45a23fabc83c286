//! Which comparisons are run: a short matrix by default, all of it if asked to.

use punctual_figures::record::Outcome;

use super::contest::{Contest, Operation, run_all};
use super::keys::{Material, Popularity};
use crate::subjects::registry::Who;

const SMALL: usize = 10_000;
const LARGE: usize = 1_000_000;

const ZIPF: Popularity = Popularity::Zipf(0.99);

/// Of each line, and of a round.
const ROUNDS: usize = 7;
const CALLS: usize = 50_000;

/// Operations, and what is asked for, in an order in which as many as can share the filled caches
/// follow each other.
const ROWS: [(Operation, Popularity); 12] = [
    (Operation::Hit, Popularity::Uniform),
    (Operation::Hit, ZIPF),
    (Operation::Miss, Popularity::Uniform),
    (Operation::Overwrite, Popularity::Uniform),
    (Operation::Overwrite, ZIPF),
    (Operation::Mixed(95), ZIPF),
    (Operation::Mixed(50), ZIPF),
    (Operation::Remove, Popularity::Uniform),
    (Operation::InsertFresh, Popularity::Uniform),
    (Operation::ReadThrough, Popularity::Zipf(0.7)),
    (Operation::ReadThrough, ZIPF),
    (Operation::ReadThrough, Popularity::Zipf(1.2)),
];

/// The short matrix has the lines that differ most.
fn is_in_short(material: &str, contest: &Contest) -> bool {
    let Contest { operation, popularity, capacity, threads, .. } = *contest;
    let is_shared = matches!(operation, Operation::Hit | Operation::Mixed(_));
    match (material, capacity, threads) {
        ("u64", SMALL, 1) => true,
        ("u64", LARGE, 1) => operation != Operation::ReadThrough || popularity == ZIPF,
        ("u64", LARGE, 2 | 4) => is_shared && popularity == ZIPF,
        ("String", SMALL, 1) => popularity == ZIPF,
        ("String", LARGE, 1) => {
            matches!(operation, Operation::Hit | Operation::Miss | Operation::Overwrite)
        }
        _ => false,
    }
}

/// Runs the matrix, or the part of it whose descriptions contain all words of the filter.
pub(crate) fn run(filter: &str, full: bool) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for threads in [1, 2, 4] {
        for capacity in [SMALL, LARGE] {
            outcomes.extend(group::<u64>(capacity, threads, filter, full));
            outcomes.extend(group::<String>(capacity, threads, filter, full));
        }
    }
    outcomes
}

/// All that is run with one kind of entries, a size and a number of threads.
fn group<M: Material>(capacity: usize, threads: usize, filter: &str, full: bool) -> Vec<Outcome> {
    let contests = ROWS.into_iter().map(|(operation, popularity)| Contest {
        operation,
        popularity,
        capacity,
        threads,
        rounds: ROUNDS,
        calls: CALLS,
    });
    let wanted = |contest: &Contest| {
        let name = contest.name(M::NAME);
        (full || is_in_short(M::NAME, contest))
            && filter.split([',', ' ']).all(|word| name.contains(word))
    };
    let contests: Vec<Contest> = contests.filter(wanted).collect();
    run_all::<M>(&contests, &entrants(threads))
}

/// For one thread all, for several those that can be shared, behind a mutex if need be.
fn entrants(threads: usize) -> Vec<Who> {
    let mut entrants: Vec<Who> = Who::regular().collect();
    entrants.extend([Who::ShardedMap, Who::QuickCacheUnsync]);
    entrants.retain(|who| threads == 1 || !who.facts().is_single);
    entrants
}
