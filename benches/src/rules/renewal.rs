//! A hit that postpones the end of an idle entry, beside one in a cache that has no time to idle.

use punctual::{Cache, unsync};
use punctual_figures::grouped;
use punctual_figures::record::BarLine;

use super::filled::{self, ENTRIES};
use super::turns::{self, medians};
use crate::bar::{Bar, Limit, RATIO};
use crate::speed::keys::Popularity::{self, Uniform, Zipf};

/// Few enough for the processor's caches.
const FEW: usize = 10_000;
const LIMIT: Limit = Limit::at_most(1.15);

pub(super) fn lines() -> Vec<BarLine> {
    let shared = [(ENTRIES, Uniform), (ENTRIES, Zipf(0.99)), (FEW, Uniform)];
    let shared = shared.map(|(entries, popularity)| {
        let name = name("Cache", entries, popularity);
        let bar = if entries == ENTRIES {
            Bar::new(name, RATIO, LIMIT)
        } else {
            Bar::aiming(name, RATIO, LIMIT)
        };
        turns::line(bar, entries, popularity, |number, keys| {
            let [renewing, plain] = pair(number, |is_renewed| filled::cache(entries, is_renewed));
            medians(keys, [&mut |keys| get(&renewing, keys), &mut |keys| get(&plain, keys)])
        })
    });
    let unsync = [Uniform, Zipf(0.99)].map(|popularity| {
        let bar = Bar::aiming(name("unsync::Cache", ENTRIES, popularity), RATIO, LIMIT);
        turns::line(bar, ENTRIES, popularity, |number, keys| {
            let caches = pair(number, |is_renewed| filled::unsync_cache(ENTRIES, is_renewed));
            let [mut renewing, mut plain] = caches;
            medians(
                keys,
                [&mut |keys| get_unsync(&mut renewing, keys), &mut |keys| {
                    get_unsync(&mut plain, keys)
                }],
            )
        })
    });
    shared.into_iter().chain(unsync).collect()
}

fn name(cache: &str, entries: usize, popularity: Popularity) -> String {
    let (entries, keys) = (grouped(entries), popularity.name());
    format!("a hit that renews against a plain one, {cache}, {entries} entries, {keys}")
}

/// Returns the cache that renews and the plain one, built in the one order or in the other.
fn pair<C>(number: usize, build: impl Fn(bool) -> C) -> [C; 2] {
    let renewing_first = number % 2 == 0;
    let mut caches = [renewing_first, !renewing_first].map(build);
    if !renewing_first {
        caches.reverse();
    }
    caches
}

#[inline(never)]
fn get(cache: &Cache<u64, u64>, keys: &[u64]) -> u64 {
    let values = keys.iter().map(|key| cache.get(key).expect("it is there"));
    values.fold(0, |sum, value| sum ^ value)
}

#[inline(never)]
fn get_unsync(cache: &mut unsync::Cache<u64, u64>, keys: &[u64]) -> u64 {
    keys.iter().fold(0, |sum, key| sum ^ cache.get(key).expect("it is there"))
}
