//! Which comparisons are run: a short matrix by default, all of it if asked to.

use std::io::{Write, stderr};

use super::contest::{Contest, Operation, Outcome};
use super::field::{self, Entrant};
use super::keys::{Material, Popularity};

const SMALL: usize = 10_000;
const LARGE: usize = 1_000_000;

/// A line of the matrix: an operation, and what is asked for.
type Row = (Operation, Popularity);

const ZIPF: Popularity = Popularity::Zipf(0.99);

const ROWS_SHORT: [Row; 6] = [
    (Operation::Hit, ZIPF),
    (Operation::Miss, Popularity::Uniform),
    (Operation::InsertFresh, Popularity::Uniform),
    (Operation::Overwrite, ZIPF),
    (Operation::ReadThrough, ZIPF),
    (Operation::Mixed(95), ZIPF),
];

const ROWS_FULL: [Row; 12] = [
    (Operation::Hit, Popularity::Uniform),
    (Operation::Hit, ZIPF),
    (Operation::Miss, Popularity::Uniform),
    (Operation::InsertFresh, Popularity::Uniform),
    (Operation::Overwrite, Popularity::Uniform),
    (Operation::Overwrite, ZIPF),
    (Operation::ReadThrough, Popularity::Zipf(0.7)),
    (Operation::ReadThrough, ZIPF),
    (Operation::ReadThrough, Popularity::Zipf(1.2)),
    (Operation::Mixed(95), ZIPF),
    (Operation::Mixed(50), ZIPF),
    (Operation::Remove, Popularity::Uniform),
];

/// Runs the matrix, or the part of it whose descriptions contain all words of the filter.
pub(crate) fn run(filter: &str, full: bool) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for contest in contests(full) {
        let wanted = |material: &str| {
            let name = contest.name(material);
            filter.split([',', ' ']).all(|word| name.contains(word))
        };
        // Strings are compared in part of the short matrix only.
        let strings = full || (contest.threads == 1 && contest.capacity == LARGE);
        if wanted(u64::NAME) {
            outcomes.push(one::<u64>(&contest));
        }
        if strings && wanted(String::NAME) {
            outcomes.push(one::<String>(&contest));
        }
    }
    outcomes
}

fn contests(full: bool) -> Vec<Contest> {
    let rows: &[Row] = if full { &ROWS_FULL } else { &ROWS_SHORT };
    let threads: &[usize] = if full { &[1, 2, 4] } else { &[1, 2] };
    let mut contests = Vec::new();
    for &threads in threads {
        for capacity in [SMALL, LARGE] {
            for &(operation, popularity) in rows {
                let is_contended = matches!(operation, Operation::Hit | Operation::Mixed(_));
                if !full && threads > 1 && !(is_contended && capacity == LARGE) {
                    continue;
                }
                let (rounds, calls) = if full { (11, 200_000) } else { (7, 50_000) };
                contests.push(Contest { operation, popularity, capacity, threads, rounds, calls });
            }
        }
    }
    contests
}

fn one<M: Material>(contest: &Contest) -> Outcome {
    // Whoever watches wants to know that it goes on.
    _ = writeln!(stderr(), "speed: {} ...", contest.name(M::NAME));
    contest.run::<M>(&entrants(contest))
}

/// Who takes part: for one thread all, for several those that can be shared, behind a mutex if
/// need be.
fn entrants(contest: &Contest) -> Vec<Entrant> {
    let mut entrants = vec![
        field::punctual(),
        field::ORIGINAL,
        field::MOKA_TTL,
        field::MOKA_EXPIRY,
        field::MINI_MOKA,
        field::STRETTO,
        field::QUICK_CACHE,
        field::QUICK_CACHE_DEADLINE,
        field::LRU_DEADLINE,
        field::TTL_CACHE,
        field::SHARDED_MAP,
    ];
    if contest.threads == 1 {
        entrants.insert(1, field::UNSYNC);
        entrants.push(field::QUICK_CACHE_UNSYNC);
    }
    let fills_up = matches!(contest.operation, Operation::InsertFresh | Operation::ReadThrough);
    entrants.retain(|entrant| entrant.is_bounded || !fills_up);
    // To evict one entry it looks at all of them: with a million, that takes longer than the rest of
    // the matrix.
    entrants.retain(|entrant| {
        entrant.who != field::Who::Stretto || !fills_up || contest.capacity == SMALL
    });
    entrants.retain(|entrant| entrant.removes || contest.operation != Operation::Remove);
    entrants
}
