//! Every adapter's answers are checked before anything is timed: a fast wrong answer is worth
//! nothing, and an adapter that puts nothing in would be the fastest of all.

use std::collections::HashMap;
use std::time::Duration;

use punctual::{Eviction, SystemClock};

use crate::subjects::Subject;
use crate::subjects::bare_map::BareMap;
use crate::subjects::lru_deadline::LruDeadline;
use crate::subjects::mini_moka::MiniMoka;
use crate::subjects::moka_expiry::MokaExpiry;
use crate::subjects::moka_ttl::MokaTtl;
use crate::subjects::mutexed::Mutexed;
use crate::subjects::original::Original;
use crate::subjects::punctual_cache::PunctualCache;
use crate::subjects::punctual_unsync::PunctualUnsync;
use crate::subjects::quick_cache::QuickCache;
use crate::subjects::quick_cache_deadline::QuickCacheDeadline;
use crate::subjects::quick_cache_unsync::QuickCacheUnsync;
use crate::subjects::sharded_map::ShardedMap;
use crate::subjects::stretto::Stretto;
use crate::subjects::time::RealTime;
use crate::subjects::ttl_cache::TtlCache;

const LONG: Duration = Duration::from_secs(3600);
/// A TTL that passes during the check, and how long the check waits for it: longer than any
/// subject's resolution.
const SHORT: Duration = Duration::from_millis(20);
const WAIT: Duration = Duration::from_millis(60);

const ROOMY: usize = 20_000;
const CROWDED: usize = 256;

/// What may be expected of a subject.
#[derive(Clone, Copy)]
struct Promises {
    /// What is put in is there, as long as there is room: stretto may refuse.
    stores: bool,
    bounded: bool,
    expires: bool,
    removes: bool,
}

const CACHE: Promises = Promises { stores: true, bounded: true, expires: true, removes: true };
const NO_EXPIRY: Promises = Promises { expires: false, ..CACHE };
const MAP: Promises = Promises { bounded: false, ..NO_EXPIRY };

/// Makes a subject of a capacity, for those with one TTL for all with that TTL.
type Make<S> = fn(usize, Duration) -> S;

/// Checks all adapters.
///
/// # Panics
///
/// If one of them answers what it should not: there is no use in timing it.
pub(crate) fn check_all() {
    check("punctual", |capacity, _| PunctualCache::new(capacity, Eviction::default()), CACHE);
    check("punctual Fifo", |capacity, _| PunctualCache::new(capacity, Eviction::Fifo), CACHE);
    check(
        "punctual unsync",
        |capacity, _| PunctualUnsync::new(capacity, Eviction::default(), SystemClock),
        CACHE,
    );
    let original = Promises { removes: false, ..CACHE };
    check("original", |capacity, _| Original::new(capacity), original);
    check("original behind a mutex", |capacity, _| Mutexed::new(Original::new(capacity)), original);
    check("moka", MokaTtl::new, CACHE);
    check("moka Expiry", |capacity, _| MokaExpiry::new(capacity), CACHE);
    check("mini-moka", MiniMoka::new, CACHE);
    check("quick_cache", |capacity, _| QuickCache::new(capacity), NO_EXPIRY);
    check(
        "quick_cache + deadline",
        |capacity, _| QuickCacheDeadline::new(capacity, RealTime),
        CACHE,
    );
    check("quick_cache unsync", |capacity, _| QuickCacheUnsync::new(capacity), NO_EXPIRY);
    check("lru + deadline", |capacity, _| LruDeadline::new(capacity, RealTime), CACHE);
    check("ttl_cache", |capacity, _| TtlCache::new(capacity), CACHE);
    let stretto = Promises { stores: false, ..CACHE };
    check("stretto", |capacity, _| Stretto::new(capacity), stretto);
    check("sharded map", |capacity, _| ShardedMap::new(capacity), MAP);
    check("bare map", |capacity, _| BareMap::new(capacity), MAP);
}

fn check<S: Subject<u64, u64>>(name: &str, make: Make<S>, promises: Promises) {
    check_answers(name, make(ROOMY, LONG), promises);
    if promises.bounded {
        check_bound(name, make(CROWDED, LONG));
    }
    if promises.expires {
        check_expiry(name, make(ROOMY, SHORT), promises);
    }
}

/// With room for all, every answer is a plain map's.
fn check_answers(name: &str, mut subject: impl Subject<u64, u64>, promises: Promises) {
    let mut random = fastrand::Rng::with_seed(46);
    let mut oracle = HashMap::new();
    for number in 0..10_000 {
        let key = random.u64(..300);
        match random.u8(..10) {
            0 if promises.removes => {
                oracle.remove(&key);
                subject.remove(&key);
                subject.settle();
            }
            0..4 => {
                oracle.insert(key, number);
                subject.insert(key, number, LONG);
                subject.settle();
            }
            _ => {
                let (found, expected) =
                    (subject.get(&key, |value| *value), oracle.get(&key).copied());
                let missing = found.is_none() && !promises.stores;
                assert!(
                    missing || found == expected,
                    "{name}: {key} is {found:?}, not {expected:?}"
                );
            }
        }
    }
}

/// With too little room, no answer is wrong and not more is held than may be.
fn check_bound(name: &str, mut subject: impl Subject<u64, u64>) {
    let keys = 8 * CROWDED as u64;
    for key in 0..keys {
        subject.insert(key, !key, LONG);
        subject.settle();
    }
    let held = (0..keys).filter_map(|key| Some((key, subject.get(&key, |value| *value)?)));
    let held = held.inspect(|(key, value)| assert_eq!(*value, !key, "{name}")).count();
    // Division into shards may round the bound up.
    let most = CROWDED + CROWDED / 8;
    assert!(held > 0 && held <= most, "{name}: {held} entries held with room for {CROWDED}");
}

/// What has expired is not found; what has not is.
fn check_expiry(name: &str, mut subject: impl Subject<u64, u64>, promises: Promises) {
    for key in 0..100 {
        subject.insert(key, key, SHORT);
    }
    subject.settle();
    std::thread::sleep(WAIT);
    for key in 0..100 {
        assert_eq!(subject.get(&key, |value| *value), None, "{name}: {key} is dead");
    }
    subject.insert(7, 8, LONG);
    subject.settle();
    let found = subject.get(&7, |value| *value);
    assert!(found == Some(8) || !promises.stores, "{name}: {found:?} instead of what was put in");
}
