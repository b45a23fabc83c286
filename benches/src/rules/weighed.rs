//! The hit ratio of read-through at the same greatest weight: beside moka's weigher and quick_cache's.
//!
//! Where a number of entries is asked for as well, it is what the documentation recommends, ours and
//! quick_cache's: as many as fit of the mean weight. moka is told none.

use punctual_figures::record::{BarLine, quantile};

use super::sizes::{self, MAX_WEIGHT, Sizes};
use crate::bar::{Bar, Limit, POINTS};

const RUNS: u64 = 9;
/// Housekeeping of moka's comes after so many requests, as with the other hit ratios.
const REQUESTS_PER_SETTLING: usize = 32;

/// A value that stands for so many bytes.
type Bytes = u64;

pub(super) fn lines() -> Vec<BarLine> {
    sizes::ALL.iter().flat_map(|&sizes| beside_peers(sizes)).collect()
}

fn beside_peers(sizes: Sizes) -> [BarLine; 2] {
    let ratios = |run: fn(Sizes, &[Bytes], &[u64]) -> usize| {
        let of_seed = |seed| {
            let (bytes, asked) = sizes.trace(seed);
            100.0 * run(sizes, &bytes, &asked) as f64 / asked.len() as f64
        };
        (0..RUNS).map(of_seed).collect::<Vec<f64>>()
    };
    let ours = ratios(punctual);
    [("moka", ratios(moka)), ("quick_cache", ratios(quick_cache))].map(|(peer, theirs)| {
        let name = format!("hit ratio, more than {peer}, values of {}", sizes.name);
        let more = ours.iter().zip(&theirs).map(|(ours, theirs)| ours - theirs);
        let beside = [&ours, &theirs].map(|ratios| quantile(ratios, 0.5));
        let bar = Bar::new(name, POINTS, Limit::at_least(0.0));
        bar.median_beside(more.collect(), &format!("{:.2} : {:.2} %", beside[0], beside[1]))
    })
}

/// Read-through: returns how many of the keys are found.
fn hits(
    bytes: &[Bytes],
    asked: &[u64],
    is_there: impl Fn(&u64) -> bool,
    insert: impl Fn(u64, Bytes),
) -> usize {
    let is_hit = |key: &&u64| {
        let is_hit = is_there(key);
        if !is_hit {
            insert(**key, bytes[**key as usize]);
        }
        is_hit
    };
    asked.iter().filter(is_hit).count()
}

fn punctual(sizes: Sizes, bytes: &[Bytes], asked: &[u64]) -> usize {
    let cache = punctual::Cache::builder()
        .capacity(sizes.fitting())
        .weigher(|_: &u64, bytes: &Bytes| *bytes)
        .max_weight(MAX_WEIGHT)
        .build()
        .expect("the capacity is possible");
    let insert = |key, bytes| {
        cache.insert(key, bytes);
    };
    hits(bytes, asked, |key| cache.get(key).is_some(), insert)
}

fn moka(_: Sizes, bytes: &[Bytes], asked: &[u64]) -> usize {
    let cache = moka::sync::Cache::builder()
        .max_capacity(MAX_WEIGHT)
        .weigher(|_: &u64, bytes: &Bytes| *bytes as u32)
        .build();
    let parts = asked.chunks(REQUESTS_PER_SETTLING).map(|asked| {
        let hits = hits(
            bytes,
            asked,
            |key| cache.get(key).is_some(),
            |key, bytes| cache.insert(key, bytes),
        );
        cache.run_pending_tasks();
        hits
    });
    parts.sum()
}

fn quick_cache(sizes: Sizes, bytes: &[Bytes], asked: &[u64]) -> usize {
    #[derive(Clone)]
    struct Weigher;

    impl quick_cache::Weighter<u64, Bytes> for Weigher {
        fn weight(&self, _: &u64, bytes: &Bytes) -> u64 {
            *bytes
        }
    }

    let cache = quick_cache::sync::Cache::with_weighter(sizes.fitting(), MAX_WEIGHT, Weigher);
    hits(bytes, asked, |key| cache.get(key).is_some(), |key, bytes| cache.insert(key, bytes))
}
