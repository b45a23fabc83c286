//! Loaders of threads: one runs for a key, others wait; and what happens when it
//! fails, is overruled, or asks for more.

#![cfg(not(any(punctual_loom, miri)))]

#[path = "support/loading.rs"]
mod loading;

use std::borrow::Borrow;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use loading::{LOADS_MAX, MEANWHILE, Turns, in_one_shard, in_shards};
use punctual::{Cache, Clock, LoadError, ManualClock, RandomState, RemovalCause, unsync};
use punctual_testing::keys::HashBy;
use punctual_testing::log::Log;
use punctual_testing::panics::{catch, message_of, panic_silently};
use punctual_testing::threads::in_threads;
use punctual_testing::watchdog::{Watchdog, wait_until};

punctual_testing::clock_fn!(Clock);

const SECOND: Duration = Duration::from_secs(1);
const THREADS: u64 = 8;

/// Waits until so many lookups have found nothing: those threads are waiting
/// for the load, or just about to.
fn await_misses<K, V>(cache: &Cache<K, V>, misses: u64) {
    while cache.stats().misses < misses {
        // Not `yield_now`: beside busy programs that keeps the others from running.
        thread::sleep(Duration::from_micros(50));
    }
}

// ---- Taking turns ----

#[test]
fn one_loads_and_the_others_get_what_it_brings() {
    let _watchdog = Watchdog::start();
    for shards in [1, 8] {
        let cache: Cache<u64, u64> =
            Cache::builder().capacity(1_000).shards(shards).build().unwrap();
        for round in 0..300u64 {
            let runs = AtomicUsize::new(0);
            let all_miss = (round + 1) * THREADS;
            let load = |number| {
                runs.fetch_add(1, SeqCst);
                // All have looked and found nothing.
                await_misses(&cache, all_miss);
                round * 100 + number
            };
            let act = |number| match number % 3 {
                0 => cache.get_or_insert_with(&round, || load(number)),
                1 => cache.try_get_or_insert_with(&round, || Ok::<_, ()>(load(number))).unwrap(),
                _ => {
                    let load = || Ok::<_, ()>((load(number), Duration::MAX));
                    cache.get_or_load(&round, load).unwrap()
                }
            };
            let seen = in_threads(THREADS, act);
            assert_eq!(runs.into_inner(), 1);
            assert!(seen.iter().all(|&value| value == seen[0]), "{seen:?}");
            assert_eq!(cache.get(&round), Some(seen[0]));
        }
        let stats = cache.stats();
        assert_eq!((stats.inserts, stats.replaced), (300, 0));
    }
}

/// Callers that cannot fail take over from a loader that panics, one for the others.
#[test]
fn a_panic_passes_the_turn_to_one_of_those_that_wait() {
    let _watchdog = Watchdog::start();
    for round in 0..200 {
        let cache = in_one_shard();
        let turns = Turns::default();
        // The loaders panic until one brings a value.
        let brings = round % (THREADS + 1);
        let load = || {
            if turns.runs() == 0 {
                await_misses(&cache, THREADS);
            }
            let (turn, _turn) = turns.take();
            if turn != brings {
                panic_silently("the loader's own");
            }
            7
        };
        let act = |_| match catch(|| cache.get_or_insert_with(&1, load)) {
            Ok(value) => assert_eq!(value, 7),
            Err(panic) => {
                assert_eq!(panic.downcast_ref(), Some(&"the loader's own"));
            }
        };
        in_threads(THREADS, act);
        assert_eq!(turns.runs(), (brings + 1).min(THREADS));
        assert_eq!(cache.get(&1), (brings < THREADS).then_some(7));
    }
}

/// A failure is told to all that wait for the load: none of their loaders runs, and none
/// waits for another load. Whoever comes later loads.
#[test]
fn errors_and_panics_are_shared() {
    let _watchdog = Watchdog::start();
    let mut told = 0;
    for (round, fails_by_panic) in (0..100).flat_map(|round| [(round, false), (round, true)]) {
        let cache = in_one_shard();
        let turns = Turns::default();
        let load = || {
            if turns.runs() == 0 {
                await_misses(&cache, THREADS);
            }
            let (_, _turn) = turns.take();
            if fails_by_panic {
                panic_silently("the loader's own");
            }
            Err::<u64, _>("the loader's own")
        };
        let act = |number: u64| {
            let loading = || match number % 2 {
                0 => cache.try_get_or_insert_with(&1, load),
                _ => cache.get_or_load(&1, || load().map(|value| (value, Duration::MAX))),
            };
            match catch(loading) {
                Ok(Err(LoadError::LeaderFailed)) => true,
                Ok(Err(LoadError::Failed(error))) => {
                    assert_eq!(error, "the loader's own");
                    assert!(!fails_by_panic);
                    false
                }
                Ok(Ok(value)) => panic!("nobody brings {value}"),
                Err(_) => {
                    assert!(fails_by_panic);
                    false
                }
            }
        };
        let told_now = in_threads(THREADS, act).into_iter().filter(|told| *told).count();
        assert_eq!(told_now as u64 + turns.runs(), THREADS, "round {round}");
        told += told_now;
        assert_eq!(cache.get_or_load(&1, || Ok::<_, ()>((7, Duration::MAX))), Ok(7));
    }
    assert!(told > 200, "told {told} times in 200 rounds");
}

/// Somebody's fallible load fails: a caller that cannot fail takes over.
#[test]
fn a_caller_that_cannot_fail_takes_over_from_one_that_does() {
    let _watchdog = Watchdog::start();
    for round in 0..100 {
        let cache = in_one_shard();
        let begun = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                let failed = cache.try_get_or_insert_with(&1, || {
                    begun.wait();
                    await_misses(&cache, 2);
                    Err("the loader's own")
                });
                assert_eq!(failed, Err(LoadError::Failed("the loader's own")));
            });
            begun.wait();
            assert_eq!(cache.get_or_insert_with(&1, || round), round);
        });
        assert_eq!(cache.get(&1), Some(round));
    }
}

#[test]
fn other_keys_do_not_wait() {
    let _watchdog = Watchdog::start();
    for cache in [1, 8].map(in_shards) {
        let cache = &cache;
        // Each loader ends only after all have begun.
        let all_load = &Barrier::new(THREADS as usize);
        let act = |key| {
            let value = cache.get_or_insert_with(&key, || {
                all_load.wait();
                assert_eq!(cache.get(&key), None);
                cache.insert(key + 100, key);
                key
            });
            assert_eq!(value, key);
        };
        in_threads(THREADS, act);
        assert_eq!(cache.len() as u64, 2 * THREADS);
    }
}

/// A pending load takes no entry's place.
#[test]
fn a_load_evicts_nothing_before_it_is_done() {
    let _watchdog = Watchdog::start();
    let told = Log::default();
    let builder = Cache::builder().capacity(8).shards(1);
    let cache: Cache<u64, u64> = builder.on_removal(told.listener()).build().unwrap();
    for key in 0..8 {
        cache.insert(key, key);
    }
    for fails in [true, false] {
        let loaded = cache.get_or_load(&100, || {
            assert_eq!((cache.len(), told.len()), (8, 0));
            if fails { Err(()) } else { Ok((100, Duration::MAX)) }
        });
        assert_eq!(loaded.is_err(), fails);
        assert_eq!((cache.len(), told.len()), (8, usize::from(!fails)));
    }
}

/// Whoever waits looks again only when it is told to: each look reads the clock.
#[test]
fn waiting_threads_sleep() {
    let _watchdog = Watchdog::start();
    let readings = Arc::new(AtomicU64::new(0));
    let counts = readings.clone();
    let clock = ClockFn(move || {
        counts.fetch_add(1, SeqCst);
        Duration::ZERO
    });
    let cache: Cache<u64, i32> =
        Cache::builder().capacity(100).shards(1).clock(clock).build().unwrap();
    let act = |_| {
        cache.get_or_insert_with(&1, || {
            await_misses(&cache, THREADS);
            // Those that have missed look once more, and go to sleep.
            let before = readings.load(SeqCst);
            thread::sleep(Duration::from_millis(250));
            let looks = readings.load(SeqCst) - before;
            // The system may wake a thread for nothing, but not often.
            assert!(looks < 100, "{looks} looks while all wait");
            7
        });
    };
    in_threads(THREADS, act);
    assert!(readings.load(SeqCst) < 200 + THREADS * THREADS);
}

// ---- Overruled ----

type Load<'a> = dyn Fn(&Cache<u64, u64>) -> u64 + 'a;

/// Loads key 1 three ways while something happens, here or in another thread.
fn load_while(make_cache: impl Fn() -> Cache<u64, u64>) {
    for (name, meanwhile, left) in MEANWHILE {
        for elsewhere in [false, true] {
            let act = |cache: &Cache<u64, u64>| {
                if elsewhere {
                    thread::scope(|scope| _ = scope.spawn(|| meanwhile(cache)));
                } else {
                    meanwhile(cache);
                }
                1
            };
            let ways: [&Load<'_>; 3] = [
                &|cache| cache.get_or_insert_with(&1, || act(cache)),
                &|cache| cache.try_get_or_insert_with(&1, || Ok::<_, ()>(act(cache))).unwrap(),
                &|cache| {
                    cache.get_or_load(&1, || Ok::<_, ()>((act(cache), Duration::MAX))).unwrap()
                },
            ];
            for load in ways {
                let cache = make_cache();
                assert_eq!(load(&cache), 1, "{name}: the loader's caller gets its value");
                assert_eq!(cache.get(&1), left, "{name}, elsewhere: {elsewhere}");
                // And the next load is a load like any other.
                cache.remove(&1);
                assert_eq!(cache.get_or_insert_with(&1, || 9), 9);
                assert_eq!(cache.get(&1), Some(9));
            }
        }
    }
}

#[test]
fn what_happens_meanwhile_overrules_a_load() {
    let _watchdog = Watchdog::start();
    load_while(in_one_shard);
    load_while(|| in_shards(8));
}

/// Loads keys from `first` up, each in the loader of the one before, and runs
/// `inside` in the innermost.
fn load_nested(cache: &Cache<u64, u64>, first: u64, count: u64, inside: &mut dyn FnMut()) {
    if count == 0 {
        return inside();
    }
    let value = cache.get_or_insert_with(&first, || {
        load_nested(cache, first + 1, count - 1, inside);
        first
    });
    assert_eq!(value, first);
}

/// The same where the shard has no room left to note the load.
#[test]
fn what_happens_meanwhile_overrules_an_unshared_load() {
    let _watchdog = Watchdog::start();
    for (name, meanwhile, left) in MEANWHILE {
        let cache = in_one_shard();
        load_nested(&cache, 1_000, LOADS_MAX, &mut || {
            let value = cache.get_or_insert_with(&1, || {
                meanwhile(&cache);
                1
            });
            assert_eq!(value, 1, "{name}: the loader's caller gets its value");
            // Without room, it need not be stored; but nothing old may be.
            let now = cache.get(&1);
            assert!(now == left || (left == Some(1) && now.is_none()), "{name}: {now:?} left");
        });
    }
}

/// Waiters of an overruled load get what was put in instead, or load anew.
#[test]
fn waiters_of_an_overruled_load_look_again() {
    let _watchdog = Watchdog::start();
    for inserts in [true, false] {
        let cache = in_one_shard();
        let runs = AtomicUsize::new(0);
        let act = |_| {
            let value = cache.get_or_insert_with(&1, || {
                if runs.fetch_add(1, SeqCst) > 0 {
                    return 30;
                }
                await_misses(&cache, THREADS);
                if inserts {
                    cache.insert(1, 20);
                } else {
                    cache.remove(&1);
                }
                10
            });
            assert!([10, if inserts { 20 } else { 30 }].contains(&value), "{value}");
        };
        in_threads(THREADS, act);
        assert_eq!(runs.into_inner(), if inserts { 1 } else { 2 });
        assert_eq!(cache.get(&1), Some(if inserts { 20 } else { 30 }));
    }
}

// ---- TTLs ----

#[test]
fn a_ttl_of_zero_is_returned_and_not_stored() {
    let _watchdog = Watchdog::start();
    let told = Log::default();
    let builder = Cache::builder().capacity(10);
    let cache: Cache<u64, u64> = builder.on_removal(told.listener()).build().unwrap();
    for value in 1..5 {
        let loaded = cache.get_or_load(&1, || Ok::<_, ()>((value, Duration::ZERO)));
        assert_eq!(loaded, Ok(value));
        assert_eq!(cache.len(), 0);
    }
    assert_eq!((cache.stats().inserts, told.len()), (0, 0));
}

/// With a TTL of zero, each of those that wait loads for itself.
#[test]
fn those_that_wait_for_what_is_not_stored_load_for_themselves() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let runs = AtomicU64::new(0);
    let act = |number| {
        let loaded = cache.get_or_load(&1, || {
            if runs.fetch_add(1, SeqCst) == 0 {
                await_misses(&cache, THREADS);
            }
            Ok::<_, ()>((number, Duration::ZERO))
        });
        assert_eq!(loaded, Ok(number));
    };
    in_threads(THREADS, act);
    assert_eq!(runs.into_inner(), THREADS);
    assert!(cache.is_empty());
}

/// What expires as soon as it comes goes to its caller all the same.
#[test]
fn a_value_may_expire_at_once() {
    let _watchdog = Watchdog::start();
    let told = Log::default();
    let builder = Cache::builder().capacity(10).shards(1).resolution(Duration::from_micros(1));
    let cache: Cache<u64, u64> = builder.on_removal(told.listener()).build().unwrap();
    let act = |number| {
        for round in 0..100 {
            let key = round % 3;
            let brought = number * 1_000 + round;
            let loaded =
                cache.get_or_load(&key, || Ok::<_, ()>((brought, Duration::from_nanos(1))));
            assert!(loaded.is_ok());
        }
    };
    in_threads(THREADS, act);
    wait_until("all are freed", || cache.is_empty());
    let stats = cache.stats();
    assert_eq!(stats.expired, stats.inserts);
    wait_until("all are told", || told.len() >= stats.inserts as usize);
    assert!(told.take().iter().all(|(_, _, cause)| *cause == RemovalCause::Expired));
}

/// An entry that is due is none: it is loaded anew, and leaves as `Expired`.
#[test]
fn what_is_due_is_loaded_anew() {
    let _watchdog = Watchdog::start();
    let clock = ManualClock::new();
    let told = Log::default();
    let builder = Cache::builder().capacity(10).reap_limit(0).clock(clock.clone()).ttl(SECOND);
    let cache: Cache<u64, u64> = builder.on_removal(told.listener()).build().unwrap();
    cache.insert(1, 1);
    clock.advance(2 * SECOND);
    assert_eq!(cache.get_or_load(&1, || Ok::<_, ()>((2, 5 * SECOND))), Ok(2));
    assert_eq!(told.take(), [(1, 1, RemovalCause::Expired)]);
    // The loader's own TTL counts from when its value is stored.
    clock.advance(4 * SECOND);
    assert_eq!(cache.get(&1), Some(2));
    clock.advance(2 * SECOND);
    assert_eq!(cache.get(&1), None);
    let loaded = cache.get_or_load(&1, || {
        clock.advance(100 * SECOND);
        Ok::<_, ()>((3, 5 * SECOND))
    });
    assert_eq!((loaded, cache.get(&1)), (Ok(3), Some(3)));
    // `Duration::MAX` is never.
    cache.remove(&1);
    assert_eq!(cache.get_or_load(&1, || Ok::<_, ()>((4, Duration::MAX))), Ok(4));
    assert_eq!(cache.expires_in(&1), Some(Duration::MAX));
    assert_eq!(cache.next_expiry(), None);
}

// ---- Loads within loads ----

#[test]
fn a_loader_that_asks_for_its_own_key_panics_and_says_so() {
    let _watchdog = Watchdog::start();
    for cache in [1, 8].map(in_shards) {
        let ways: [&dyn Fn() -> u64; 3] = [
            &|| cache.get_or_insert_with(&1, || 1),
            &|| cache.try_get_or_insert_with(&1, || Ok::<_, ()>(1)).unwrap(),
            &|| cache.get_or_load(&1, || Ok::<_, ()>((1, SECOND))).unwrap(),
        ];
        for inner in ways {
            // Directly, and through the loader of another key.
            for through in [false, true] {
                let text = message_of(|| {
                    cache.get_or_insert_with(&1, || {
                        if through { cache.get_or_insert_with(&2, inner) } else { inner() }
                    })
                });
                let text = text.expect("it would wait for itself");
                assert!(
                    text.contains("punctual: recursive load") && text.contains("deadlock"),
                    "{text}"
                );
                assert!(cache.is_empty());
                // The cache goes on, with that very key.
                assert_eq!(cache.get_or_insert_with(&1, || 5), 5);
                assert_eq!(cache.remove(&1), Some(5));
            }
        }
        // A loader that would rather not hear of it.
        let value = cache.get_or_insert_with(&1, || {
            assert!(message_of(ways[0]).is_some());
            // What is no load may be asked for.
            assert_eq!(cache.get(&1), None);
            6
        });
        assert_eq!((value, cache.get(&1)), (6, Some(6)));
    }
}

/// The same where the shard has no room left to note the load.
#[test]
fn an_unshared_loader_that_asks_for_its_own_key_panics_too() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    load_nested(&cache, 1_000, LOADS_MAX, &mut || {
        // Directly, and through the loader of another key.
        let ways: [&dyn Fn() -> u64; 2] = [&|| cache.get_or_insert_with(&1, || 1), &|| {
            cache.get_or_insert_with(&2, || cache.get_or_insert_with(&1, || 1))
        }];
        for inner in ways {
            let text = message_of(|| cache.get_or_insert_with(&1, inner));
            assert!(text.is_some_and(|text| text.contains("recursive load")));
            // It is no loader's key any more, and it never was another cache's.
            assert_eq!(cache.get_or_insert_with(&1, || in_one_shard().len() as u64), 0);
            assert_eq!(cache.remove(&1), Some(0));
            let other = in_one_shard();
            let value = cache.get_or_insert_with(&1, || {
                load_nested(&other, 1_000, LOADS_MAX, &mut || {
                    assert_eq!(other.get_or_insert_with(&1, || 5), 5);
                });
                6
            });
            assert_eq!(value, 6);
            cache.remove(&1);
        }
    });
}

/// One that would ask for ever, with more loads around it than anybody keeps track
/// of: it is found out before the stack is used up.
#[test]
fn no_loader_runs_within_itself_for_ever() {
    fn ask(cache: &Cache<u64, u64>, key: u64) -> u64 {
        cache.get_or_insert_with(&(key % 3), || ask(cache, key + 1))
    }
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    load_nested(&cache, 1_000, 5 * LOADS_MAX, &mut || {
        let text = message_of(|| ask(&cache, 0));
        assert!(text.is_some_and(|text| text.contains("recursive load")));
    });
}

/// The same key of another cache, and the same hash, is another load: also of those
/// that the table has no room for.
#[test]
fn a_loader_may_ask_another_cache_for_its_own_key() {
    let _watchdog = Watchdog::start();
    let hasher = RandomState::default();
    let build = || -> Cache<u64, u64> {
        Cache::builder().capacity(1_000).shards(1).hasher(hasher.clone()).build().unwrap()
    };
    let (one, other) = (build(), build());
    load_nested(&one, 1_000, LOADS_MAX, &mut || {
        let loaded = one.get_or_insert_with(&1, || other.get_or_insert_with(&1, || 7));
        assert_eq!((loaded, one.get(&1), other.get(&1)), (7, Some(7), Some(7)));
    });
}

/// The panic of one that asks for its own key passes the turn on, too.
#[test]
fn others_wait_for_no_loader_that_asks_for_its_own_key() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let runs = AtomicUsize::new(0);
    let load = || {
        if runs.fetch_add(1, SeqCst) > 0 {
            return 7;
        }
        await_misses(&cache, THREADS);
        cache.get_or_insert_with(&1, || 8)
    };
    let loaded = in_threads(THREADS, |_| catch(|| cache.get_or_insert_with(&1, load)).ok());
    assert_eq!(loaded.iter().filter(|loaded| loaded.is_none()).count(), 1, "one panics");
    assert!(loaded.iter().flatten().all(|&value| value == 7), "{loaded:?}");
    assert_eq!((runs.into_inner(), cache.get(&1)), (2, Some(7)));
}

/// Far more loads at once than a shard keeps track of.
#[test]
fn more_loads_than_there_is_room_for_run_unshared() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    load_nested(&cache, 0, 3 * LOADS_MAX, &mut || assert!(cache.is_empty()));
    for key in 0..3 * LOADS_MAX {
        assert_eq!(cache.get(&key), Some(key));
    }
    assert_eq!(cache.stats().inserts, 3 * LOADS_MAX);
}

#[test]
fn forty_threads_load_forty_keys_of_one_shard() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    let all_load = Barrier::new(40);
    let act = |key| {
        let value = cache.get_or_insert_with(&key, || {
            all_load.wait();
            key
        });
        assert_eq!(value, key);
        assert_eq!(cache.get(&key), Some(key));
    };
    in_threads(40, act);
    assert_eq!(cache.len(), 40);
    // There is room again.
    let again = in_one_shard();
    again.insert(0, 0);
    one_of_two_waits(&cache, 77);
}

/// Holds that a second caller waits for the first.
fn one_of_two_waits(cache: &Cache<u64, u64>, key: u64) {
    let runs = AtomicUsize::new(0);
    let misses = cache.stats().misses;
    let act = |_| {
        cache.get_or_insert_with(&key, || {
            await_misses(cache, misses + 2);
            runs.fetch_add(1, SeqCst);
            key
        });
    };
    in_threads(2, act);
    assert_eq!(runs.into_inner(), 1);
}

/// However loads end, each gives its room back.
#[test]
fn no_room_is_lost() {
    let _watchdog = Watchdog::start();
    let cache = in_one_shard();
    for key in 0..3 * LOADS_MAX {
        assert!(cache.try_get_or_insert_with(&key, || Err(())).is_err());
        assert!(message_of(|| cache.get_or_insert_with(&key, || panic!("a loader"))).is_some());
        assert_eq!(cache.get_or_load(&key, || Ok::<_, ()>((1, Duration::ZERO))), Ok(1));
        cache.get_or_insert_with(&key, || {
            cache.remove(&key);
            key
        });
        assert_eq!(cache.get(&key), None);
    }
    one_of_two_waits(&cache, 99);
}

/// The listener and the `Drop`s that storing gives rise to run after the load, and
/// may load the same key.
#[test]
fn listener_of_an_eviction_by_a_load_may_load_that_key() {
    let _watchdog = Watchdog::start();
    let handle: Arc<Mutex<Option<Cache<u64, u64>>>> = Arc::default();
    let slot = handle.clone();
    let listener = move |&key: &u64, _: &u64, cause: RemovalCause| {
        let cache = slot.lock().unwrap().clone();
        if let (Some(cache), RemovalCause::Evicted, 1) = (cache, cause, key) {
            assert_eq!(cache.remove(&2), Some(2));
            assert_eq!(cache.get_or_insert_with(&2, || 22), 22);
        }
    };
    let cache = Cache::builder().capacity(1).on_removal(listener).build().unwrap();
    *handle.lock().unwrap() = Some(cache.clone());
    cache.insert(1, 1);
    assert_eq!(cache.get_or_insert_with(&2, || 2), 2);
    assert_eq!(cache.get(&2), Some(22));
    handle.lock().unwrap().take();
}

/// Gives ten keys each the same hash, as `Hash` may.
const BY_TENS: HashBy = HashBy(|key| key / 10);

#[test]
fn keys_of_one_hash_wait_for_each_other_and_then_load_their_own() {
    let _watchdog = Watchdog::start();
    let cache: Cache<u64, u64, _> = Cache::builder().capacity(100).hasher(BY_TENS).build().unwrap();
    let act = |number| {
        for id in 0..200 {
            let key = id * 10 + number % 4;
            assert_eq!(cache.get_or_insert_with(&key, || key + 1), key + 1);
        }
    };
    in_threads(THREADS, act);
}

/// A load is known by its key's hash. So a loader must not ask for another key of the
/// same hash, which could be its own.
#[test]
fn a_loader_that_asks_for_another_key_of_the_same_hash_panics() {
    let _watchdog = Watchdog::start();
    let cache: Cache<u64, u64, _> = Cache::builder().capacity(100).hasher(BY_TENS).build().unwrap();
    let text = message_of(|| cache.get_or_insert_with(&2, || cache.get_or_insert_with(&1, || 10)));
    assert!(text.is_some_and(|text| text.contains("or one of the same hash")));
    assert!(cache.is_empty());
    // What is there needs no load.
    cache.insert(1, 10);
    let value = cache.get_or_insert_with(&2, || cache.get_or_insert_with(&1, || 0) + 1);
    assert_eq!(value, 11);
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(10), Some(11)));
}

// ---- Keys ----

thread_local! {
    static KEYS_BUILT: Cell<usize> = const { Cell::new(0) };
}

#[derive(PartialEq, Eq, Hash)]
struct Name(u64);

#[derive(PartialEq, Eq, Hash)]
struct OwnedName(Name);

impl Borrow<Name> for OwnedName {
    fn borrow(&self) -> &Name {
        &self.0
    }
}

impl ToOwned for Name {
    type Owned = OwnedName;

    fn to_owned(&self) -> OwnedName {
        KEYS_BUILT.set(KEYS_BUILT.get() + 1);
        OwnedName(Name(self.0))
    }
}

#[test]
fn a_hit_builds_no_key() {
    let _watchdog = Watchdog::start();
    let cache: Cache<OwnedName, u64> = Cache::new(10);
    assert_eq!(cache.get_or_insert_with(&Name(1), || 1), 1);
    assert_eq!(KEYS_BUILT.take(), 1);
    for _ in 0..10 {
        assert_eq!(cache.get_or_insert_with(&Name(1), || 2), 1);
        assert_eq!(cache.try_get_or_insert_with(&Name(1), || Err(())), Ok(1));
        assert_eq!(cache.get_or_load(&Name(1), || Err::<(_, Duration), _>(())), Ok(1));
    }
    assert_eq!(KEYS_BUILT.take(), 0);
    // Neither does what is not stored.
    assert!(cache.try_get_or_insert_with(&Name(2), || Err(())).is_err());
    assert_eq!(cache.get_or_load(&Name(2), || Ok::<_, ()>((2, Duration::ZERO))), Ok(2));
    assert_eq!(KEYS_BUILT.take(), 0);
}

/// A key may be of any type that what is asked for converts into.
#[test]
fn a_str_serves_every_kind_of_string() {
    let cache: Cache<Arc<str>, u64> = Cache::new(10);
    assert_eq!(cache.get_or_insert_with("Ada", || 1815), 1815);
    assert_eq!(cache.get(&Arc::<str>::from("Ada")), Some(1815));
    let cache: Cache<Box<str>, u64> = Cache::new(10);
    assert_eq!(cache.try_get_or_insert_with("Ada", || Ok::<_, ()>(1815)), Ok(1815));
    let mut cache: unsync::Cache<Arc<str>, u64> = unsync::Cache::new(10);
    assert_eq!(cache.get_or_insert_with("Ada", || 1815), &1815);
    assert_eq!(cache.get("Ada"), Some(&1815));
}

/// Counts how often keys are hashed: twice where there is a loader to run.
#[test]
fn whoever_waits_is_served_under_any_hasher() {
    let _watchdog = Watchdog::start();
    // All keys wait for each other, and get their own all the same.
    let cache: Cache<u64, u64, _> =
        Cache::builder().capacity(100).hasher(HashBy(|_| 0)).build().unwrap();
    let runs = AtomicUsize::new(0);
    let act = |_| {
        for key in 0..50u64 {
            let value = cache.get_or_insert_with(&key, || {
                runs.fetch_add(1, SeqCst);
                key + 1
            });
            assert_eq!(value, key + 1);
        }
    };
    in_threads(THREADS, act);
    assert_eq!(runs.into_inner(), 50);
}
