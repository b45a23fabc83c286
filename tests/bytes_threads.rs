//! Caches of bytes that threads share: a value is seen as a whole or not at all, also while larger
//! ones come and go.

#![cfg(not(any(punctual_loom, miri)))]

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use punctual::{ByteCache, ByteLookup, LoadEnd, LoadError, ManualClock, TooLarge, Ttl};
use punctual_testing::watchdog::Watchdog;

const MIB: usize = 1 << 20;

/// A value that tells which key it is of, and whether it is whole.
fn value(key: u8, version: u64, length: usize) -> Vec<u8> {
    let length = length.max(17);
    let mut value = vec![key];
    value.extend_from_slice(&version.to_le_bytes());
    value.extend_from_slice(&(length as u64).to_le_bytes());
    let step = version.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let blocks = (length - 17).div_ceil(8) as u64;
    let blocks = (0..blocks).map(|at| at.wrapping_mul(step).wrapping_add(u64::from(key)));
    value.extend(blocks.flat_map(u64::to_le_bytes));
    value.truncate(length);
    value
}

/// Returns the version of a value, which is whole.
fn version_of(key: u8, found: &[u8]) -> u64 {
    let version = u64::from_le_bytes(found[1..9].try_into().unwrap());
    assert!(found == value(key, version, found.len()), "not whole, or another's");
    version
}

fn cache(budget: usize) -> ByteCache {
    let builder = ByteCache::builder().memory_budget(budget).mean_entry(1_000).shards(1);
    builder.clock(ManualClock::new()).build().unwrap()
}

fn assert_adds_up(cache: &ByteCache) {
    let stats = cache.stats();
    let left = stats.expired + stats.evicted + stats.removed + stats.replaced;
    assert_eq!(stats.inserts, stats.held + left, "{stats:?}");
    let mut bytes = 0;
    cache.for_each(|key, value| bytes += (key.len() + value.len()) as u64);
    assert_eq!(stats.live_bytes, bytes);
    cache.clear();
    assert_eq!(cache.stats().live_bytes, 0);
    // All of the room is there again.
    let all = vec![1; cache.entry_bytes_max()];
    cache.insert("", &all).unwrap();
    assert!(cache.read("", |value| value == all).unwrap());
}

/// Each key has one writer, so its versions only grow.
#[test]
fn readers_see_whole_values_only() {
    let _watchdog = Watchdog::start();
    const WRITERS: u8 = 3;
    let cache = cache(4 * MIB);
    let is_over = AtomicBool::new(false);
    let latest: [AtomicU64; 32] = Default::default();
    let seen = AtomicUsize::new(0);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|me| {
                let (cache, latest) = (&cache, &latest);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(me.into());
                    for version in 1..200 {
                        let key = random.u8(..8) * 4 + me;
                        let length = match random.u8(..16) {
                            0 => MIB,
                            1 | 2 => random.usize(60_000..300_000),
                            _ => random.usize(20..2_000),
                        };
                        let new = value(key, version, length);
                        // The old one is whole until the new one is.
                        match random.u8(..16) {
                            0 => _ = cache.remove([key]),
                            1 => _ = cache.insert_if_absent([key], &new).unwrap(),
                            _ => {
                                cache.insert([key], &new).unwrap();
                                latest[usize::from(key)].store(version, SeqCst);
                            }
                        }
                    }
                })
            })
            .collect();
        for seed in 10..12 {
            let (cache, is_over, latest, seen) = (&cache, &is_over, &latest, &seen);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut last_seen = [0; 32];
                while !is_over.load(SeqCst) {
                    let key = random.u8(..32);
                    let at_least = latest[usize::from(key)].load(SeqCst);
                    let Some(version) = cache.read([key], |found| version_of(key, found)) else {
                        continue;
                    };
                    seen.fetch_add(1, SeqCst);
                    assert!(version >= at_least, "{version} after {at_least}");
                    assert!(version >= last_seen[usize::from(key)], "an older one came back");
                    last_seen[usize::from(key)] = version;
                    if random.u8(..64) == 0 {
                        cache.for_each(|key, found| _ = version_of(key[0], found));
                    }
                }
            });
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        is_over.store(true, SeqCst);
    });
    assert!(seen.load(SeqCst) > 0);
    assert_adds_up(&cache);
}

/// Large ones at a time in one shard, whose keys are set, removed, cleared and expire meanwhile.
#[test]
fn large_insertions_meet_everything() {
    let _watchdog = Watchdog::start();
    let clock = ManualClock::new();
    let builder = ByteCache::builder().memory_budget(3 * MIB).mean_entry(500).shards(1);
    let builder = builder.ttl(Duration::from_secs(1)).time_to_idle(Duration::from_millis(700));
    let cache = builder.clock(clock.clone()).build().unwrap();
    thread::scope(|scope| {
        for me in 0..4 {
            let (cache, clock) = (&cache, &clock);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(me);
                for version in 0..250 {
                    let key = random.u8(..12);
                    let length = match random.u8(..4) {
                        0 => random.usize(65_000..2 * MIB),
                        1 => random.usize(20_000..70_000),
                        _ => random.usize(20..3_000),
                    };
                    match random.u8(..32) {
                        0..14 => {
                            cache.insert([key], &value(key, version, length)).unwrap();
                        }
                        14..16 => {
                            let new = value(key, version, length);
                            _ = cache.insert_if_absent([key], &new).unwrap();
                        }
                        16 => cache.clear(),
                        17 => cache.retain(|key, _| key[0] % 3 > 0),
                        18..20 => _ = cache.remove([key]),
                        20 => _ = cache.set_ttl([key], Duration::from_millis(200)),
                        21 => clock.advance(Duration::from_millis(300)),
                        22 => _ = cache.reap(5),
                        23..27 => {
                            let load = || {
                                let ttl = Ttl::After(Duration::from_millis(500));
                                Ok::<_, ()>((value(key, version, length), ttl))
                            };
                            match cache.get_or_load([key], load) {
                                Ok(found) => _ = version_of(key, &found),
                                Err(error) => panic!("{error:?}"),
                            }
                        }
                        27..29 => match cache.lookup([key], Duration::from_millis(400)) {
                            ByteLookup::Hit(found) => _ = version_of(key, &found),
                            ByteLookup::Refresh(found, ticket) => {
                                version_of(key, &found);
                                ticket.store(&value(key, version, length), Ttl::Default).unwrap();
                            }
                            ByteLookup::Miss(ticket) => {
                                ticket.store(&value(key, version, length), Ttl::Default).unwrap();
                            }
                            ByteLookup::Loading(load) => {
                                let end = load.wait(Duration::from_secs(60));
                                assert_ne!(end, LoadEnd::TimedOut);
                            }
                        },
                        _ => {
                            if let Some(found) = cache.get([key]) {
                                version_of(key, &found);
                            }
                        }
                    }
                }
            });
        }
    });
    assert_adds_up(&cache);
}

#[test]
fn a_large_value_is_loaded_once() {
    let _watchdog = Watchdog::start();
    let cache = cache(8 * MIB);
    for round in 0..10 {
        let loads = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let load = || {
                        loads.fetch_add(1, SeqCst);
                        Ok::<_, ()>((value(1, round, 2 * MIB), Ttl::Never))
                    };
                    assert_eq!(version_of(1, &cache.get_or_load([1], load).unwrap()), round);
                });
            }
        });
        assert_eq!(loads.load(SeqCst), 1);
        assert!(cache.remove([1]));
    }
    assert_adds_up(&cache);
}

#[test]
fn what_is_too_large_is_returned_and_not_stored() {
    let cache = cache(MIB);
    let too_large = vec![7; 2 * MIB];
    let load = || Ok::<_, ()>((too_large.clone(), Ttl::Never));
    assert_eq!(cache.get_or_load("key", load), Ok(too_large.clone()));
    assert!(cache.is_empty());
    let fails = || Err::<(Vec<u8>, Ttl), _>("no");
    assert_eq!(cache.get_or_load("key", fails), Err(LoadError::Failed("no")));

    // A ticket's load has failed then, and what it was to refresh stays.
    cache.insert_with_ttl("key", b"old", Duration::from_secs(10)).unwrap();
    let ByteLookup::Refresh(old, ticket) = cache.lookup("key", Duration::from_secs(20)) else {
        panic!("it has ten seconds left");
    };
    assert_eq!(old, b"old");
    let (bytes, limit) = (2 * MIB + 3, cache.entry_bytes_max());
    let failed_before = cache.stats().loads_failed;
    assert_eq!(ticket.store(&too_large, Ttl::Never), Err(TooLarge { bytes, limit }));
    assert_eq!(cache.stats().loads_failed, failed_before + 1);
    assert_eq!(cache.get("key").as_deref(), Some(&b"old"[..]));
    cache.remove("key");
    let ByteLookup::Miss(ticket) = cache.lookup("key", Duration::ZERO) else { panic!("no value") };
    let ByteLookup::Loading(load) = cache.lookup("key", Duration::ZERO) else { panic!("no value") };
    assert!(ticket.store(&too_large, Ttl::Never).is_err());
    assert_eq!(load.wait(Duration::MAX), LoadEnd::Failed);
}

/// What is set, removed or cleared meanwhile overrules a load; of one that is not shared as well.
#[test]
fn loads_are_overruled() {
    for loads in [0, 8] {
        for length in [10, 300_000] {
            let builder = ByteCache::builder().memory_budget(2 * MIB).mean_entry(1_000).shards(1);
            let builder = builder.concurrent_loads(loads).clock(ManualClock::new());
            let cache = builder.build().unwrap();
            let new = value(1, 1, length);
            let ticket = || match cache.lookup("key", Duration::ZERO) {
                ByteLookup::Miss(ticket) => ticket,
                other => panic!("{other:?}"),
            };
            assert_eq!(ticket().store(&new, Ttl::Never), Ok(true));
            cache.remove("key");
            let overruled = ticket();
            cache.insert("key", b"set").unwrap();
            assert_eq!(overruled.store(&new, Ttl::Never), Ok(false));
            assert_eq!(cache.get("key").as_deref(), Some(&b"set"[..]));
            cache.remove("key");
            let overruled = ticket();
            cache.remove("key");
            assert_eq!(overruled.store(&new, Ttl::Never), Ok(false));
            let overruled = ticket();
            cache.clear();
            assert_eq!(overruled.store(&new, Ttl::Never), Ok(false));
            let passed = ticket();
            assert_eq!(passed.store(&new, Duration::ZERO), Ok(true));
            assert!(cache.is_empty());
            let load = || {
                cache.insert("key", b"set").unwrap();
                Ok::<_, ()>((new.clone(), Ttl::Never))
            };
            assert_eq!(cache.get_or_load("key", load).as_ref(), Ok(&new));
            assert_eq!(cache.get("key").as_deref(), Some(&b"set"[..]));
            assert_adds_up(&cache);
        }
    }
}

#[cfg(feature = "async")]
#[tokio::test]
async fn futures_load_large_values() {
    let cache = cache(8 * MIB);
    let load = || {
        let load = || async {
            tokio::task::yield_now().await;
            Ok::<_, ()>((value(1, 1, 2 * MIB), Ttl::Never))
        };
        cache.get_or_load_async([1], load)
    };
    let (one, two) = tokio::join!(load(), load());
    assert_eq!((version_of(1, &one.unwrap()), version_of(1, &two.unwrap())), (1, 1));
    assert_eq!(cache.stats().loads, 1);
    let too_large = || async { Ok::<_, ()>((vec![0; 9 * MIB], Ttl::Never)) };
    assert_eq!(cache.get_or_load_async([2], too_large).await.unwrap().len(), 9 * MIB);
    let fails = || async { Err::<(Vec<u8>, Ttl), _>("no") };
    assert_eq!(cache.get_or_load_async([3], fails).await, Err(LoadError::Failed("no")));
    assert_eq!(cache.len(), 1);
    assert_adds_up(&cache);
}
