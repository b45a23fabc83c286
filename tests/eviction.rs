//! What the policies promise about who stays, seen from outside: hit ratios on made
//! loads, and single keys. The parts are tested where they are; the hit ratios on
//! real loads are `cargo bench`'s.

#![cfg(not(any(punctual_loom, miri)))]

use std::time::Duration;

use foldhash::fast::FixedState;
use punctual::unsync::Cache;
use punctual::{Eviction, ManualClock};

const CAPACITY: u64 = 1_000;
const SECOND: Duration = Duration::from_secs(1);

type TestCache = Cache<u64, u64, FixedState>;

fn cache(eviction: Eviction) -> (ManualClock, TestCache) {
    let clock = ManualClock::new();
    let builder = Cache::builder().capacity(CAPACITY as usize).shards(1).eviction(eviction);
    let cache = builder.clock(clock.clone()).hasher(FixedState::with_seed(3)).build().unwrap();
    (clock, cache)
}

/// The share of the last third of the accesses that found something, read through.
fn hit_ratio(eviction: Eviction, accesses: impl Iterator<Item = u64>) -> f64 {
    let (_, mut cache) = cache(eviction);
    let accesses: Vec<u64> = accesses.collect();
    let from = accesses.len() / 3 * 2;
    let mut hits = 0;
    for (number, &key) in accesses.iter().enumerate() {
        if cache.get(&key).is_some() {
            hits += u32::from(number >= from);
        } else {
            cache.insert(key, key);
        }
    }
    f64::from(hits) / (accesses.len() - from) as f64
}

/// Keys that nobody has asked for, and nobody will again.
fn scan(cache: &mut TestCache, keys: std::ops::Range<u64>) {
    for key in keys {
        cache.insert(key, key);
    }
}

/// Fills the cache with keys from 0 up, of which each is used.
fn fill(cache: &mut TestCache) {
    for key in 0..CAPACITY {
        cache.insert(key, key);
        cache.get(&key);
        cache.get(&key);
        cache.get(&key);
    }
}

const GHOSTLY: [Eviction; 3] = [Eviction::S3Fifo, Eviction::S3Clock, Eviction::Adaptive];

/// A loop over half as many keys again as there is room for.
fn a_loop() -> impl Iterator<Item = u64> {
    (0..200 * CAPACITY).map(|number| number % (CAPACITY * 3 / 2))
}

/// Every key twice, with eight tenths as many others between as there is room for.
fn pairs() -> impl Iterator<Item = u64> {
    (0..100 * CAPACITY).flat_map(|number| [number, number.saturating_sub(CAPACITY * 8 / 10)])
}

/// Some keys are asked for much more often than others, and between, keys that
/// never come back.
fn popularity_and_scans() -> impl Iterator<Item = u64> {
    let mut random = fastrand::Rng::with_seed(9);
    (0..300 * CAPACITY).map(move |number| {
        if number % 3 == 0 {
            return 1_000_000 + number;
        }
        (random.f64().powi(3) * 4.0 * CAPACITY as f64) as u64
    })
}

/// An evicted key that comes back soon has shown its worth, and is not washed out
/// by what never comes back; one that comes for the first time is.
#[test]
fn a_key_that_comes_back_soon_stays() {
    for eviction in GHOSTLY {
        let (_, mut cache) = cache(eviction);
        fill(&mut cache);
        // The first of them have to go, and are remembered.
        scan(&mut cache, 10_000..11_500);
        let evicted: Vec<u64> = (11_000..11_500).filter(|key| !cache.contains_key(key)).collect();
        let (returning, new) = (&evicted[evicted.len() - 50..], 20_000..20_050);
        scan(&mut cache, new.clone());
        for &key in returning {
            cache.insert(key, key);
        }
        scan(&mut cache, 30_000..31_000);
        let returned = returning.iter().filter(|&key| cache.contains_key(key)).count();
        assert!(returned >= 40, "{eviction:?}: {returned} of 50 that came back are there");
        let new = new.filter(|key| cache.contains_key(key)).count();
        assert!(new <= 5, "{eviction:?}: {new} of 50 that came once are there");
    }
}

/// A popular key whose time was up is put in again among those that stay; one that
/// nobody had asked for is not.
#[test]
fn a_popular_key_that_expired_stays_when_it_comes_back() {
    for eviction in [Eviction::S3Clock, Eviction::Adaptive] {
        let (clock, mut cache) = cache(eviction);
        fill(&mut cache);
        let (popular, others) = (10_000..10_020, 10_020..10_040);
        for key in 10_000..10_040 {
            cache.insert_with_ttl(key, key, SECOND);
        }
        // Later than the insertions: uses in one burst with them would not count.
        for key in popular.clone() {
            cache.get(&key);
            cache.get(&key);
        }
        clock.advance(2 * SECOND);
        cache.reap(usize::MAX);
        assert!(cache.stats().expired >= 40, "{eviction:?}: {:?}", cache.stats());
        scan(&mut cache, 10_000..10_040);
        scan(&mut cache, 30_000..31_000);
        let popular = popular.filter(|key| cache.contains_key(key)).count();
        assert!(popular >= 17, "{eviction:?}: {popular} of 20 popular ones are there");
        let others = others.filter(|key| cache.contains_key(key)).count();
        assert!(others <= 3, "{eviction:?}: {others} of 20 others are there");
    }
}

/// The default does about as well on each load as what is best at it.
#[test]
fn the_default_follows_its_load() {
    let looped = hit_ratio(Eviction::Adaptive, a_loop());
    assert!(looped > hit_ratio(Eviction::S3Clock, a_loop()) + 0.1, "a loop: {looped}");
    assert!(looped > 0.5, "a loop: {looped}");
    let paired = hit_ratio(Eviction::Adaptive, pairs());
    assert!(paired > hit_ratio(Eviction::S3Clock, pairs()) + 0.1, "pairs: {paired}");
    assert!(paired > 0.45, "pairs: {paired}");
}

/// What is asked for often stays beside keys that never come back. First in, first
/// out lets it go.
#[test]
fn popular_keys_stay_beside_a_scan() {
    let ratio = |eviction| hit_ratio(eviction, popularity_and_scans());
    let plain = ratio(Eviction::Fifo);
    for eviction in GHOSTLY {
        let ratio = ratio(eviction);
        assert!(ratio > plain + 0.05, "{eviction:?}: {ratio}, first in, first out: {plain}");
    }
}
