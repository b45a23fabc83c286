//! A counter by `compute`, beside one by `update`, which does nothing where there is none yet.

use punctual::{Cache, Compute};
use punctual_figures::grouped;
use punctual_figures::record::BarLine;

use super::filled::{self, ENTRIES};
use super::turns::{self, medians};
use crate::bar::{Bar, Limit, RATIO};
use crate::speed::keys::Popularity;

pub(super) fn lines() -> Vec<BarLine> {
    let lines = [Popularity::Zipf(0.99), Popularity::Uniform].map(|popularity| {
        let (entries, keys) = (grouped(ENTRIES), popularity.name());
        let name = format!("a counter by compute against update, {entries} entries, {keys}");
        let bar = Bar::new(name, RATIO, Limit::at_most(1.2));
        turns::line(bar, ENTRIES, popularity, |_, keys| run(keys))
    });
    lines.into()
}

fn run(keys: &[u64]) -> [f64; 2] {
    let cache = filled::cache(ENTRIES, false);
    medians(keys, [&mut |keys| by_compute(&cache, keys), &mut |keys| by_update(&cache, keys)])
}

// A function for each, so that the optimiser sees each loop by itself.

#[inline(never)]
fn by_compute(cache: &Cache<u64, u64>, keys: &[u64]) -> u64 {
    let counts = keys.iter().map(|&key| {
        cache.compute(key, |live| match live {
            Some(count) => {
                *count += 1;
                Compute::Keep(*count)
            }
            None => Compute::Set(1, 1),
        })
    });
    counts.fold(0, |sum, count| sum ^ count)
}

#[inline(never)]
fn by_update(cache: &Cache<u64, u64>, keys: &[u64]) -> u64 {
    let counts = keys.iter().map(|key| {
        let count = cache.update(key, |count| {
            *count += 1;
            *count
        });
        count.expect("it is there")
    });
    counts.fold(0, |sum, count| sum ^ count)
}
