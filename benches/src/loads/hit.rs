//! A hit through a loader beside one of `get`.

use std::hint::black_box;
use std::time::Duration;

use punctual::Cache;
use punctual_figures::grouped;
use punctual_figures::record::{BarLine, quantile};

use crate::bar::{Bar, Limit, NANOS};
use crate::stopwatch::TimedBy;

/// Few enough for the processor's caches, which would hide a difference.
const ENTRIES: usize = 10_000;
const CALLS: usize = 20_000;
const ROUNDS: usize = 401;

type Round = fn(&Cache<u64, u64>, &[u64]) -> u64;

pub(super) fn lines() -> Vec<BarLine> {
    let cache = cache();
    let mut random = fastrand::Rng::with_seed(48);
    let keys: Vec<u64> = (0..CALLS).map(|_| random.u64(..ENTRIES as u64)).collect();
    let rounds: [Round; 2] = [get, get_or_insert_with];
    let mut nanos = [const { Vec::new() }; 2];
    // The first round warms up and does not count.
    for number in 0..=ROUNDS {
        for turn in [number % 2, (number + 1) % 2] {
            let time = timed(rounds[turn], &cache, &keys);
            if number > 0 {
                nanos[turn].push(time.as_nanos() as f64 / CALLS as f64);
            }
        }
    }
    let [plain, loader] = nanos.each_ref().map(|nanos| quantile(nanos, 0.5));
    let name = format!("a hit of get_or_insert_with, more than get, {} entries", grouped(ENTRIES));
    let bar = Bar::new(name, NANOS, Limit::at_most(5.0)).aim(Limit::at_most(0.0));
    vec![bar.once(loader - plain, &format!("{loader:.1} : {plain:.1}"))]
}

/// With a TTL on each entry, and room for all.
fn cache() -> Cache<u64, u64> {
    let builder = Cache::builder().capacity(2 * ENTRIES).ttl(Duration::from_secs(3600));
    let cache = builder.build().expect("the capacity is possible");
    cache.insert_many((0..ENTRIES as u64).map(|key| (key, !key)));
    assert_eq!(cache.len(), ENTRIES);
    cache
}

fn timed(round: Round, cache: &Cache<u64, u64>, keys: &[u64]) -> Duration {
    let start = TimedBy::ThreadCpu.now();
    black_box(round(cache, keys));
    TimedBy::ThreadCpu.now() - start
}

// A function for each, so that the optimiser sees each loop by itself.

#[inline(never)]
fn get(cache: &Cache<u64, u64>, keys: &[u64]) -> u64 {
    let values = keys.iter().map(|key| cache.get(black_box(key)).expect("it is there"));
    values.fold(0, |sum, value| sum ^ value)
}

#[inline(never)]
fn get_or_insert_with(cache: &Cache<u64, u64>, keys: &[u64]) -> u64 {
    let values = keys
        .iter()
        .map(|key| cache.get_or_insert_with(black_box(key), || unreachable!("it is there")));
    values.fold(0, |sum, value| sum ^ value)
}
