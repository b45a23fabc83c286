//! Two contestants in turns.

use std::hint::black_box;

use punctual_figures::record::{BarLine, quantile};

use crate::bar::Bar;
use crate::speed::keys::{Draw, Popularity};
use crate::stopwatch::TimedBy;

/// How often the contestants are built afresh: where the memory lies makes a difference.
const RUNS: usize = 5;
const ROUNDS: usize = 44;
const CALLS: usize = 100_000;
/// So many rounds' keys. An odd number, so that both contestants come to all of them.
const DRAWN: usize = 11;

/// Answers for so many keys.
pub(super) type Contestant<'a> = &'a mut dyn FnMut(&[u64]) -> u64;

/// Returns the median nanoseconds of a call of each. No turn has the keys of the turn before.
pub(super) fn medians(keys: &[u64], contestants: [Contestant<'_>; 2]) -> [f64; 2] {
    let mut parts = keys.chunks_exact(CALLS).cycle();
    let mut nanos = [const { Vec::new() }; 2];
    // The first round warms up and does not count.
    for number in 0..=ROUNDS {
        for turn in [number % 2, (number + 1) % 2] {
            let keys = parts.next().expect("there are keys");
            let start = TimedBy::ThreadCpu.now();
            black_box(contestants[turn](black_box(keys)));
            let time = TimedBy::ThreadCpu.now() - start;
            if number > 0 {
                nanos[turn].push(time.as_nanos() as f64 / CALLS as f64);
            }
        }
    }
    nanos.map(|nanos| quantile(&nanos, 0.5))
}

/// The line of a bar on how long the first contestant takes in proportion to the second: the median
/// run counts. A run is given its number and the keys.
pub(super) fn line(
    bar: Bar,
    entries: usize,
    popularity: Popularity,
    run: impl Fn(usize, &[u64]) -> [f64; 2],
) -> BarLine {
    let keys = Draw::new(entries, popularity, 17).numbers(DRAWN * CALLS);
    let runs: Vec<[f64; 2]> = (0..RUNS).map(|number| run(number, &keys)).collect();
    let of = |side: usize| runs.iter().map(|run| run[side]).collect::<Vec<_>>();
    let [first, second] = [0, 1].map(|side| quantile(&of(side), 0.5));
    let ratios = runs.iter().map(|[first, second]| first / second).collect();
    bar.median_beside(ratios, &format!("{first:.1} : {second:.1} ns"))
}
