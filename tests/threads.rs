//! The cache for many threads: what concurrent calls add up to, by which clock
//! entries leave, and what the listener hears of it.

#![cfg(not(any(punctual_loom, miri)))]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use punctual::{Builder, Cache, Eviction, Footprint, ManualClock, RemovalCause, Stats, unsync};
use punctual_testing::instances::{Instance, Instances};
use punctual_testing::log::Log;
use punctual_testing::threads::in_threads;
use punctual_testing::watchdog::{Watchdog, wait_until};

const SECOND: Duration = Duration::from_secs(1);
const POLICIES: [Eviction; 4] = punctual_testing::policies!(Eviction);

/// On two cores: far more than run at once.
const THREADS: u64 = 8;

fn add_up(stats: Stats) {
    let left = stats.expired + stats.evicted + stats.removed + stats.replaced;
    assert_eq!(stats.inserts, stats.held + left, "{stats:?}");
}

// ---- Concurrent calls ----

/// Each value put in comes out once: returned, told, or left behind.
#[test]
fn no_value_is_lost_or_seen_twice() {
    let _watchdog = Watchdog::start();
    for eviction in POLICIES {
        for (capacity, shards) in [(16, 1), (16, 4), (2_000, 4)] {
            no_value_is_lost_or_seen_twice_in(capacity, shards, eviction);
        }
    }
}

fn no_value_is_lost_or_seen_twice_in(capacity: usize, shards: usize, eviction: Eviction) {
    const STEPS: u64 = 8_000;
    const KEYS: u64 = 64;
    let told = Told::default();
    let builder = Cache::builder().capacity(capacity).shards(shards).eviction(eviction);
    let cache = builder.on_removal(told.listener()).build().unwrap();
    let ended = AtomicU64::new(0);
    let returned = thread::scope(|scope| {
        // Looks on all the while.
        scope.spawn(|| {
            while ended.load(SeqCst) < THREADS {
                add_up(cache.stats());
                assert!(cache.len() <= cache.capacity());
                thread::yield_now();
            }
        });
        in_threads(THREADS, |number| {
            let mut random = fastrand::Rng::with_seed(number);
            let mut returned = Vec::new();
            for step in 0..STEPS {
                let (key, value) = (random.u64(..KEYS), number * STEPS + step);
                let out = match random.u8(..8) {
                    0..=4 => cache.insert(key, value),
                    5 => cache.insert_with_ttl(key, value, Duration::from_micros(value % 1_500)),
                    6 => cache.insert_with_ttl(key, value, Duration::ZERO),
                    _ => {
                        // Put in only if there is none, and returned in either case.
                        cache.get_or_insert_with(&key, || value);
                        cache.remove(&key)
                    }
                };
                returned.extend(out.map(|value| (key, value)));
            }
            ended.fetch_add(1, SeqCst);
            returned
        })
    });

    // What has a deadline is still to go, and the reaper about to hand it out.
    wait_until("all that left are told of", || {
        cache.next_expiry().is_none()
            && told.len() as u64 + cache.stats().held >= cache.stats().inserts
    });
    let told = told.take();
    let mut out: BTreeMap<u64, u64> = BTreeMap::new();
    for &(key, value, _) in &told {
        assert_eq!(out.insert(value, key), None, "told twice of {value}");
    }
    // What is handed over is told too, as replaced or removed.
    let returned: BTreeSet<_> = returned.into_iter().flatten().collect();
    let handed_over: BTreeSet<_> = told
        .iter()
        .filter(|told| matches!(told.2, RemovalCause::Replaced | RemovalCause::Removed))
        .map(|&(key, value, _)| (key, value))
        .collect();
    assert_eq!(returned, handed_over);
    cache.for_each(|&key, &value| assert_eq!(out.insert(value, key), None, "{value} is both"));

    let stats = cache.stats();
    let count =
        |is_it: fn(RemovalCause) -> bool| told.iter().filter(|told| is_it(told.2)).count() as u64;
    assert_eq!(count(|cause| cause == RemovalCause::Expired), stats.expired);
    assert_eq!(count(|cause| cause == RemovalCause::Evicted), stats.evicted);
    assert_eq!(count(|cause| cause == RemovalCause::Replaced), stats.replaced);
    assert_eq!(count(|cause| cause == RemovalCause::Removed), stats.removed);
    add_up(stats);
    assert!(stats.expired > 1_000 && stats.replaced > 100 && stats.removed > 1_000, "{stats:?}");
    assert!((capacity > 100) != (stats.evicted > 1_000), "{stats:?}");
}

#[test]
fn concurrent_updates_are_all_counted() {
    const STEPS: u64 = 20_000;
    let _watchdog = Watchdog::start();
    for shards in [1, 4] {
        let cache = Cache::builder().capacity(100).shards(shards).build().unwrap();
        for key in 0..4u64 {
            cache.insert(key, 0u64);
        }
        let misses: u64 = in_threads(THREADS, |number| {
            let mut misses = 0;
            for step in 0..STEPS {
                assert!(cache.update(&(step % 4), |value| *value += 1).is_some());
                let absent = cache.get(&(1_000 + number));
                misses += u64::from(absent.is_none());
            }
            misses
        })
        .into_iter()
        .sum();
        for key in 0..4 {
            assert_eq!(cache.peek(&key), Some(THREADS * STEPS / 4));
        }
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses), (THREADS * STEPS, misses));
    }
}

/// Four counters of one value are seen as one update has left them.
#[test]
fn nobody_sees_half_an_update() {
    let _watchdog = Watchdog::start();
    let cache: Cache<u64, [u64; 32]> = Cache::new(10);
    cache.insert(1, [0; 32]);
    in_threads(THREADS, |number| {
        for step in 0..10_000 {
            let next = number * 100_000 + step;
            match step % 4 {
                0 => _ = cache.update(&1, |value| value.iter_mut().for_each(|n| *n = next)),
                1 => _ = cache.insert(1, [next; 32]),
                2 => cache.for_each(|_, value| assert_eq!(*value, [value[0]; 32])),
                _ => {
                    let value = cache.get(&1).unwrap();
                    assert_eq!(value, [value[0]; 32]);
                }
            }
        }
    });
}

/// Several threads share the work, and each entry is counted by one.
#[test]
fn concurrent_reaps_add_up() {
    const ENTRIES: usize = 20_000;
    let _watchdog = Watchdog::start();
    for shards in [1, 8] {
        let clock = ManualClock::new();
        let builder = Cache::builder().capacity(ENTRIES * 2).shards(shards).ttl(SECOND);
        let cache = builder.clock(clock.clone()).build().unwrap();
        for key in 0..ENTRIES {
            cache.insert(key, ());
        }
        clock.advance(2 * SECOND);
        let freed = in_threads(THREADS, |_| {
            let mut freed = 0;
            loop {
                let now = cache.reap(100);
                assert!(now <= 100);
                freed += now;
                if now < 100 {
                    return freed;
                }
            }
        });
        assert_eq!(freed.iter().sum::<usize>(), ENTRIES);
        assert_eq!((cache.len(), cache.reap(1)), (0, 0));
    }
}

/// Entries that stay are visited once each, whatever comes and goes around them;
/// what was put in before `clear` goes, and so does what `retain` says no to.
#[test]
fn for_each_runs_beside_writers() {
    const STAYING: u64 = 500;
    let _watchdog = Watchdog::start();
    for shards in [1, 4] {
        let cache = Cache::builder().capacity(8_000).shards(shards).build().unwrap();
        for key in 0..STAYING {
            cache.insert(key, key);
        }
        let ends = AtomicBool::new(false);
        thread::scope(|scope| {
            for number in 1..4u64 {
                let (cache, ends) = (&cache, &ends);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(number);
                    while !ends.load(SeqCst) {
                        let key = number * 10_000 + random.u64(..1_000);
                        if random.bool() {
                            cache.insert(key, key);
                        } else {
                            cache.remove(&key);
                        }
                    }
                });
            }
            for _ in 0..100 {
                let mut visited = BTreeMap::new();
                cache.for_each(|&key, _| *visited.entry(key).or_insert(0) += 1);
                for key in 0..STAYING {
                    assert_eq!(visited.get(&key), Some(&1), "key {key}");
                }
                let mut asked = 0;
                cache.retain(|&key, _| {
                    asked += u64::from(key < STAYING);
                    key < STAYING || key % 2 == 0
                });
                assert_eq!(asked, STAYING);
            }
            for round in 0..100 {
                for key in 0..STAYING {
                    cache.insert(key, round);
                }
                cache.clear();
                for key in 0..STAYING {
                    assert_eq!(cache.get(&key), None);
                }
            }
            ends.store(true, SeqCst);
        });
        cache.clear();
        assert!(cache.is_empty());
        add_up(cache.stats());
    }
}

/// Handles are cloned and dropped everywhere; the last one, whichever it is, takes
/// everything with it.
#[test]
fn the_last_of_many_handles_takes_everything_with_it() {
    let _watchdog = Watchdog::start();
    for round in 0..200 {
        let (values, told) = (Instances::default(), Log::default());
        let hears = told.clone();
        let cache = Cache::builder()
            .capacity(1_000)
            .shards(1 + round % 4)
            .clock(ManualClock::new())
            .on_removal(move |_: &u64, _: &Instance, cause| hears.push(cause))
            .build()
            .unwrap();
        let handles: Vec<_> = (0..THREADS).map(|_| Mutex::new(Some(cache.clone()))).collect();
        drop(cache);
        in_threads(THREADS, |number| {
            let cache = handles[number as usize].lock().unwrap().take().unwrap();
            for key in 0..20 {
                let other = cache.clone();
                other.insert(number * 100 + key, values.make());
            }
            assert!(cache.len() >= 20);
            drop(cache);
        });
        assert_eq!(values.dropped() as u64, THREADS * 20);
        assert!(told.is_empty(), "the listener hears of no end");
    }
}

// ---- By a clock that is moved by hand ----

fn manual(builder: Builder<u64, u64>) -> (ManualClock, Cache<u64, u64>) {
    let clock = ManualClock::new();
    let cache = builder.capacity(1_000).ttl(SECOND).clock(clock.clone()).build().unwrap();
    (clock, cache)
}

#[test]
fn the_peak_is_that_of_entries_whose_time_is_not_up() {
    let (clock, cache) = manual(Cache::builder().shards(1).reap_limit(1_000));
    for key in 0..100 {
        cache.insert(key, key);
    }
    cache.clear();
    assert_eq!((cache.stats().held, cache.stats().live_peak), (0, 100));
    for key in 0..60 {
        cache.insert(key, key);
    }
    clock.advance(2 * SECOND);
    for key in 100..160 {
        cache.insert(key, key);
    }
    assert_eq!((cache.stats().held, cache.stats().live_peak), (60, 100));
    for key in 200..260 {
        cache.insert(key, key);
    }
    assert_eq!((cache.stats().held, cache.stats().live_peak), (120, 120));

    // Nobody frees them.
    let (clock, cache) = manual(Cache::builder().shards(1).reap_limit(0));
    for key in 0..120 {
        if key == 60 {
            clock.advance(2 * SECOND);
        }
        cache.insert(key, key);
    }
    assert_eq!((cache.stats().held, cache.stats().live_peak), (120, 120));
}

#[test]
fn threads_that_run_at_once_get_shards_of_their_own() {
    let one = Cache::<u64, u64>::builder().capacity(10_000).shards(1).footprint().unwrap();
    let wheels = |footprint: Footprint| footprint.wheel() / one.wheel();
    let alone = unsync::Cache::<u64, u64>::builder().capacity(10_000);
    assert_eq!(wheels(alone.footprint().unwrap()), 1);
    let shared = Cache::<u64, u64>::builder().capacity(10_000);
    let has_several = wheels(shared.footprint().unwrap()) > 1;
    assert_eq!(has_several, thread::available_parallelism().is_ok_and(|threads| threads.get() > 1));
}

#[test]
fn a_manual_clock_frees_by_calls_and_by_reap() {
    let _watchdog = Watchdog::start();
    for shards in [1, 4] {
        let builder = Cache::builder().shards(shards).reap_limit(10);
        let (clock, cache) = manual(builder);
        assert_eq!(cache.next_expiry(), None);
        for key in 0..100 {
            cache.insert(key, key);
        }
        cache.insert_with_ttl(1_000, 0, Duration::MAX);
        cache.insert_with_ttl(1_001, 0, 60 * SECOND);
        let first = cache.next_expiry().unwrap();
        assert!(first <= SECOND + Duration::from_millis(10), "{first:?}");
        // Not before its time, however often it is asked for.
        clock.advance(SECOND - Duration::from_nanos(1));
        assert_eq!((cache.get(&5), cache.reap(usize::MAX)), (Some(5), 0));
        assert!(cache.expires_in(&5).unwrap() <= Duration::from_nanos(1));
        clock.advance(Duration::from_millis(10));
        // What is due is invisible to every call but `len`.
        assert_eq!(cache.next_expiry(), Some(Duration::ZERO));
        for key in 0..100 {
            assert_eq!(cache.peek(&key), None);
            assert!(!cache.contains_key(&key));
            assert_eq!(cache.expires_in(&key), None);
        }
        let mut visited = Vec::new();
        cache.for_each(|&key, _| visited.push(key));
        visited.sort_unstable();
        assert_eq!(visited, [1_000, 1_001]);
        assert_eq!(cache.len(), 102, "those free nothing");
        // A call frees so many, in its key's shard.
        assert_eq!(cache.get(&5), None);
        // With several shards it may hold fewer than ten.
        assert!(cache.len() == 92 || shards > 1, "{}", cache.len());
        assert_eq!(cache.remove(&5), None);
        assert!(cache.len() == 82 || shards > 1, "{}", cache.len());
        assert!((82..102).contains(&cache.len()), "{}", cache.len());
        let left = cache.len() - 2;
        assert_eq!(cache.reap(left - 1), left - 1);
        assert_eq!(cache.reap(usize::MAX), 1);
        assert_eq!(cache.reap(usize::MAX), 0);
        // The one that is left is due in a minute.
        assert_eq!(cache.len(), 2);
        let mut waited = Duration::ZERO;
        while cache.len() == 2 {
            // Never later than the first deadline, and never for nothing.
            let next = cache.next_expiry().unwrap();
            assert!(next > Duration::ZERO);
            waited += next;
            assert!(waited <= 60 * SECOND, "{waited:?}");
            clock.advance(next);
            cache.reap(1);
        }
        assert!(waited >= 58 * SECOND, "{waited:?}");
        assert_eq!((cache.next_expiry(), cache.get(&1_000)), (None, Some(0)));
    }
}

#[test]
fn a_clock_that_goes_back_frees_nothing_early() {
    let _watchdog = Watchdog::start();
    let (clock, cache) = manual(Cache::builder());
    clock.set(100 * SECOND);
    cache.insert(1, 1);
    clock.set(SECOND);
    assert_eq!(cache.get(&1), Some(1));
    // Time stands still until the clock has caught up: this one counts from 100.
    cache.insert(2, 2);
    clock.set(100 * SECOND + SECOND / 2);
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(1), Some(2)));
    clock.set(Duration::ZERO);
    cache.reap(10);
    assert_eq!(cache.len(), 2);
    clock.set(102 * SECOND);
    assert_eq!((cache.get(&1), cache.get(&2), cache.len()), (None, None, 0));
    clock.set(Duration::MAX);
    cache.insert(3, 3);
    assert_eq!(cache.get(&3), Some(3));
    cache.insert_with_ttl(4, 4, Duration::MAX);
    assert_eq!((cache.get(&3), cache.get(&4)), (Some(3), Some(4)));
}

// ---- What the listener hears ----

type Told = Log<(u64, u64, RemovalCause)>;

fn listening(builder: Builder<u64, u64>) -> (Told, ManualClock, Cache<u64, u64>) {
    let told = Told::default();
    let (clock, cache) = manual(builder.on_removal(told.listener()));
    (told, clock, cache)
}

#[test]
fn the_listener_hears_the_cause() {
    use RemovalCause::{Cleared, Expired, Removed, Replaced};
    let _watchdog = Watchdog::start();
    for shards in [1, 4] {
        let (told, _, cache) = listening(Cache::builder().shards(shards));
        assert_eq!(cache.insert(1, 10), None);
        assert_eq!(told.take(), []);
        assert_eq!(cache.insert(1, 11), Some(10));
        assert_eq!(told.take(), [(1, 10, Replaced)]);
        assert_eq!(cache.insert_with_ttl(1, 12, SECOND), Some(11));
        assert_eq!(told.take(), [(1, 11, Replaced)]);
        // What is replaced goes first, then what is never to be seen.
        assert_eq!(cache.insert_with_ttl(1, 13, Duration::ZERO), Some(12));
        assert_eq!(told.take(), [(1, 12, Replaced), (1, 13, Expired)]);
        assert_eq!(cache.insert_with_ttl(1, 14, Duration::ZERO), None);
        assert_eq!(told.take(), [(1, 14, Expired)]);
        cache.insert(1, 15);
        assert_eq!(cache.remove(&1), Some(15));
        assert_eq!((cache.remove(&1), told.take()), (None, vec![(1, 15, Removed)]));
        cache.insert(1, 16);
        assert!(cache.set_ttl(&1, Duration::ZERO));
        assert!(!cache.set_ttl(&1, Duration::ZERO));
        assert_eq!(told.take(), [(1, 16, Expired)]);
        cache.insert(1, 17);
        assert_eq!(cache.get_and_set_ttl(&1, Duration::ZERO), Some(17));
        assert_eq!((cache.get(&1), told.take()), (None, vec![(1, 17, Expired)]));
        cache.insert(1, 18);
        cache.update(&1, |value| *value = 19);
        cache.insert(2, 20);
        cache.retain(|&key, _| key == 2);
        assert_eq!(told.take(), [(1, 19, Removed)]);
        cache.clear();
        assert_eq!(told.take(), [(2, 20, Cleared)]);
        cache.insert(3, 21);
        drop(cache);
        assert_eq!(told.take(), []);
    }
}

/// Whatever takes out what is due: it has expired.
#[test]
fn what_is_due_leaves_as_expired() {
    use RemovalCause::Expired;
    type Leave = fn(&Cache<u64, u64>);
    let leaves: [(&str, Leave); 14] = [
        ("get", |cache| assert_eq!(cache.get(&1), None)),
        ("get another", |cache| assert_eq!(cache.get(&2), None)),
        ("read", |cache| assert_eq!(cache.read(&1, |_| ()), None)),
        ("update", |cache| assert_eq!(cache.update(&1, |_| ()), None)),
        ("insert", |cache| assert_eq!(cache.insert(1, 2), None)),
        ("insert_with_ttl, zero", |cache| {
            assert_eq!(cache.insert_with_ttl(1, 2, Duration::ZERO), None);
        }),
        ("remove", |cache| assert_eq!(cache.remove(&1), None)),
        ("set_ttl", |cache| assert!(!cache.set_ttl(&1, SECOND))),
        ("set_ttl, zero", |cache| assert!(!cache.set_ttl(&1, Duration::ZERO))),
        ("get_and_set_ttl", |cache| assert_eq!(cache.get_and_set_ttl(&1, SECOND), None)),
        ("get_or_insert_with", |cache| assert_eq!(cache.get_or_insert_with(&1, || 2), 2)),
        ("retain", |cache| cache.retain(|_, _| panic!("asked of what is due"))),
        ("clear", |cache| cache.clear()),
        ("reap", |cache| assert_eq!(cache.reap(5), 1)),
    ];
    let _watchdog = Watchdog::start();
    for (name, leave) in leaves {
        let (told, clock, cache) = listening(Cache::builder().shards(1));
        cache.insert(1, 1);
        clock.advance(2 * SECOND);
        leave(&cache);
        assert_eq!(told.take()[..1], [(1, 1, Expired)], "{name}");
        add_up(cache.stats());
        let stats = cache.stats();
        assert_eq!((stats.replaced, stats.removed, stats.evicted), (0, 0, 0), "{name}");
    }
    // With no budget to look for it, too.
    for (name, leave) in leaves.into_iter().filter(|(name, _)| {
        ["insert", "insert_with_ttl, zero", "remove", "retain", "clear", "reap"].contains(name)
    }) {
        let (told, clock, cache) = listening(Cache::builder().shards(1).reap_limit(0));
        cache.insert(1, 1);
        clock.advance(2 * SECOND);
        leave(&cache);
        assert_eq!(told.take()[..1], [(1, 1, Expired)], "{name}");
    }
}

/// A full cache gives the place of what is due before that of what lives, and
/// what it evicts nevertheless has expired if it is due.
#[test]
fn expired_entries_are_evicted_before_live_ones() {
    let _watchdog = Watchdog::start();
    for eviction in POLICIES {
        for reap_limit in [0, 1, 64] {
            let (told, clock) = (Told::default(), ManualClock::new());
            let builder = Cache::builder().capacity(100).shards(1).eviction(eviction);
            let builder = builder.reap_limit(reap_limit).clock(clock.clone());
            let cache = builder.on_removal(told.listener()).build().unwrap();
            for key in 0..50 {
                cache.insert_with_ttl(key, key, SECOND);
                cache.insert_with_ttl(1_000 + key, key, 1_000 * SECOND);
            }
            clock.advance(2 * SECOND);
            for key in 2_000..2_050 {
                cache.insert_with_ttl(key, key, 1_000 * SECOND);
                assert_eq!(cache.get(&key), Some(key), "there when `insert` returns");
            }
            let told = told.take();
            for &(key, _, cause) in &told {
                let is_due = key < 50;
                let expected = if is_due { RemovalCause::Expired } else { RemovalCause::Evicted };
                assert_eq!(cause, expected, "{key}, {eviction:?}, reap_limit {reap_limit}");
            }
            let evicted = told.iter().any(|told| told.2 == RemovalCause::Evicted);
            assert!(reap_limit == 0 || !evicted, "{eviction:?}, reap_limit {reap_limit}");
            assert!(cache.len() <= 100);
        }
    }
}

/// A key that is set again: the listener gets the old one, with the old value.
#[test]
fn the_listener_gets_the_old_key() {
    #[derive(Debug)]
    struct Spelt(&'static str);
    impl PartialEq for Spelt {
        fn eq(&self, other: &Self) -> bool {
            self.0.eq_ignore_ascii_case(other.0)
        }
    }
    impl Eq for Spelt {}
    impl std::hash::Hash for Spelt {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.to_ascii_lowercase().hash(state);
        }
    }
    let _watchdog = Watchdog::start();
    let told = Log::default();
    let hears = told.clone();
    let builder = Cache::builder().capacity(10);
    let builder = builder.on_removal(move |key: &Spelt, &value: &u64, cause| {
        hears.push((key.0, value, cause));
    });
    let cache = builder.build().unwrap();
    cache.insert(Spelt("key"), 1);
    assert_eq!(cache.insert(Spelt("KEY"), 2), Some(1));
    let mut keys = Vec::new();
    cache.for_each(|key, &value| keys.push((key.0, value)));
    assert_eq!(keys, [("KEY", 2)]);
    assert_eq!(cache.remove(&Spelt("Key")), Some(2));
    assert_eq!(
        told.take(),
        [("key", 1, RemovalCause::Replaced), ("KEY", 2, RemovalCause::Removed)]
    );
}

/// One call's removals are heard of in order: its own first, then what was due.
#[test]
fn removals_of_one_call_are_notified_in_order() {
    use RemovalCause::{Expired, Replaced};
    let _watchdog = Watchdog::start();
    let (told, clock, cache) = listening(Cache::builder().shards(1));
    for key in 0..40 {
        cache.insert_with_ttl(key, key, SECOND);
    }
    cache.insert_with_ttl(100, 0, 1_000 * SECOND);
    clock.advance(2 * SECOND);
    cache.insert(100, 1);
    let mut heard = told.take();
    assert_eq!(heard.remove(0), (100, 0, Replaced));
    heard.sort_unstable_by_key(|&(key, _, _)| key);
    assert_eq!(heard, (0..40).map(|key| (key, key, Expired)).collect::<Vec<_>>());
    // One that displaces another as it comes, and is itself never seen.
    for key in 0..40 {
        cache.insert_with_ttl(key, key, SECOND);
    }
    clock.advance(2 * SECOND);
    cache.insert_with_ttl(100, 2, Duration::ZERO);
    let heard = told.take();
    assert_eq!(heard[..2], [(100, 1, Expired), (100, 2, Expired)]);
    assert_eq!(heard.len(), 42);
}

/// What a call drops is dropped when it returns, and after the listener has heard.
#[test]
fn values_are_dropped_before_the_call_returns() {
    #[derive(Clone)]
    struct Logged(u64, Log<(&'static str, u64)>);
    impl Drop for Logged {
        fn drop(&mut self) {
            self.1.push(("dropped", self.0));
        }
    }
    let _watchdog = Watchdog::start();
    let (log, clock) = (Log::default(), ManualClock::new());
    let heard = log.clone();
    let builder = Cache::builder().capacity(100).clock(clock.clone());
    let builder =
        builder.on_removal(move |_: &u64, value: &Logged, _| heard.push(("heard", value.0)));
    let cache = builder.build().unwrap();
    let value = |number| Logged(number, log.clone());
    cache.insert(1, value(1));
    let replaced = cache.insert(1, value(2));
    assert_eq!(log.take(), [("heard", 1)], "handed over, not dropped");
    drop(replaced);
    assert_eq!(log.take(), [("dropped", 1)]);
    let removed = cache.remove(&1);
    assert_eq!(log.take(), [("heard", 2)]);
    drop(removed);
    log.take();
    cache.insert(1, value(3));
    cache.set_ttl(&1, Duration::ZERO);
    assert_eq!(log.take(), [("heard", 3), ("dropped", 3)]);
    cache.insert_with_ttl(1, value(4), Duration::ZERO);
    assert_eq!(log.take(), [("heard", 4), ("dropped", 4)]);
    for number in 5..25 {
        cache.insert_with_ttl(number, value(number), number as u32 * SECOND);
    }
    clock.advance(30 * SECOND);
    assert_eq!(cache.reap(usize::MAX), 20);
    let told = log.take();
    assert_eq!(told.len(), 40);
    for number in 5..25 {
        let at = |what| told.iter().position(|&event| event == (what, number)).unwrap();
        assert!(at("heard") < at("dropped"));
    }
    cache.insert(1, value(30));
    cache.insert(2, value(31));
    cache.clear();
    assert_eq!(log.take().len(), 4);
    cache.insert(1, value(32));
    drop(cache);
    assert_eq!(log.take(), [("dropped", 32)]);
}
