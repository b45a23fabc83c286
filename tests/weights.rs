//! Entries that are weighed: what is held, what is evicted for it, and what a weigher can do wrong.

#![cfg(not(any(punctual_loom, miri)))]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/setup.rs"]
mod setup;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use punctual::{
    Cache, Compute, LoadEnd, LoadError, LoadTicket, LoadWait, Lookup, Reaper, RemovalCause, Ttl,
};
use punctual_testing::log::Log;
use punctual_testing::panics::{catch, message_of, panic_silently};
use punctual_testing::threads::in_threads;
use punctual_testing::watchdog::{Watchdog, wait_until};

use crate::setup::{Family, Setup, Shared, Subject, Unsync};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

type Heard = Log<(u64, u64, RemovalCause)>;

/// A setup whose values are their own weight.
fn own_weight(capacity: usize, max_weight: u64) -> Setup<u64, u64> {
    Setup::of_capacity(capacity).weighed(max_weight, |_, &value| value)
}

/// What the listener hears, with it.
fn heard_by(setup: Setup<u64, u64>) -> (Heard, Setup<u64, u64>) {
    let heard = Log::default();
    let listener = heard.listener();
    (heard, setup.on_removal(listener))
}

/// The sum of the values that are held. None of them may be due.
fn recount<C: Subject<u64, u64>>(cache: &C) -> u64 {
    let mut sum = 0;
    cache.for_each(|_, &value| sum += value);
    sum
}

// ---- Honest weighers ----

/// One call of any kind, after which a value is still its own weight.
fn call_at_random<C: Subject<u64, u64>>(cache: &mut C, random: &mut fastrand::Rng, most: u64) {
    let key = random.u64(..60);
    let value = match random.u8(..16) {
        0 => 0,
        1 => most / 8,
        2 => random.u64(..most + 2),
        _ => random.u64(..most / 8 + 2),
    };
    match random.u8(..20) {
        0..=4 => _ = cache.insert(key, value),
        5 => _ = cache.insert_with_ttl(key, value, random.u32(..3) * SECOND),
        6 => cache.insert_many((key..key + random.u64(..5)).map(|key| (key, value / 2))),
        7 => _ = cache.insert_if_absent(key, value),
        8..=9 => _ = cache.update(&key, |held| *held = value),
        10 => cache.compute(key, |live| match live {
            Some(held) => {
                *held = value;
                Compute::Keep(())
            }
            None => Compute::Set(value, ()),
        }),
        11 => cache.compute(key, |_| Compute::Set(value, ())),
        12 => cache.compute(key, |_| Compute::SetWithTtl(value, SECOND.into(), ())),
        13 => cache.compute(key, |_| Compute::Remove(())),
        14 => _ = cache.remove(&key),
        15 => _ = cache.remove_if(&key, |&value| value % 2 == 0),
        16 => _ = cache.get_or_insert_with(&key, || value),
        17 => _ = cache.get_or_load(&key, || Ok::<_, ()>((value, Ttl::Default))).is_ok(),
        18 => _ = cache.set_ttl(&key, random.u32(..2) * SECOND),
        _ if random.u8(..20) == 0 => cache.retain(|key, _| key % 3 != 0),
        _ => _ = cache.get(&key),
    }
}

fn the_sum_is_that_of_a_recount_and_never_above_the_most<F: Family>() {
    for (seed, (shards, most)) in (0..).zip([(1, 100), (3, 100), (8, 1_000), (16, 90), (1, 7)]) {
        let mut random = fastrand::Rng::with_seed(seed);
        let setup = Setup { shards: Some(shards), ..own_weight(40, most) };
        let mut cache = F::build(&setup);
        let mut evicted_by_weight = false;
        for step in 0..20_000 {
            let before = cache.len();
            call_at_random(&mut cache, &mut random, most);
            evicted_by_weight |= cache.len() < before;
            if random.u8(..8) == 0 {
                setup.clock.advance(SECOND / 4);
                cache.reap(usize::MAX);
            }
            let stats = cache.stats();
            if cache.due_len() == 0 {
                assert_eq!(stats.weight, recount(&cache), "seed {seed}, step {step}");
            }
            assert!(stats.weight <= most, "seed {seed}, step {step}: {stats:?}");
            assert!(stats.weight <= stats.weight_peak && stats.weight_peak <= most, "{stats:?}");
        }
        assert!(evicted_by_weight && cache.stats().evicted > 1_000, "{:?}", cache.stats());
        cache.clear();
        assert_eq!((cache.stats().weight, cache.len()), (0, 0));
    }
}

fn an_eighth_is_always_held<F: Family>() {
    let most = [8, 9, 63, 64, 1_000, 1 << 26, u64::MAX - 1, u64::MAX];
    for max_weight in most {
        for shards in [None, Some(1), Some(3), Some(8), Some(64)] {
            for capacity in [1, 50, 50_000] {
                let setup = Setup { shards, ..own_weight(capacity, max_weight) };
                let eighth = max_weight / 8;
                let mut cache = F::build(&setup);
                // Filled with what weighs as little as fits about as often as there is room.
                let filling = (eighth / 16).max(1);
                for key in 1_000..1_300 {
                    cache.insert(key, filling);
                }
                for key in 0..40 {
                    let text = format!("{key}: {max_weight} in {shards:?} shards for {capacity}");
                    match key % 4 {
                        0 => _ = cache.insert(key, eighth),
                        1 => assert_eq!(cache.insert_if_absent(key, eighth), Ok(())),
                        2 => cache.compute(key, |_| Compute::Set(eighth, ())),
                        _ => {
                            cache.insert(key, 0);
                            cache.update(&key, |value| *value = eighth);
                        }
                    }
                    assert!(cache.contains_key(&key), "{text}");
                    assert!(cache.stats().weight <= max_weight, "{text}");
                }
            }
        }
    }
}

/// It is an insertion all the same, by whatever call.
fn what_is_too_heavy_leaves_at_once_and_what_it_replaces_is_gone<F: Family>() {
    use RemovalCause::{Evicted, Replaced};
    type Insert<C> = (&'static str, fn(&mut C));
    let calls: [Insert<F::Cache<u64, u64>>; 5] = [
        ("insert", |cache| _ = cache.insert(1, 101)),
        ("insert_with_ttl", |cache| _ = cache.insert_with_ttl(1, 101, HOUR)),
        ("insert_many", |cache| cache.insert_many([(1, 101)])),
        ("compute", |cache| cache.compute(1, |_| Compute::Set(101, ()))),
        ("compute, TTL", |cache| {
            cache.compute(1, |_| Compute::SetWithTtl(101, Ttl::Never, ()));
        }),
    ];
    for (name, call) in calls {
        let (heard, setup) = heard_by(Setup { shards: Some(1), ..own_weight(50, 100) });
        let mut cache = F::build(&setup);
        cache.insert(1, 10);
        cache.insert(2, 20);
        call(&mut cache);
        assert_eq!(heard.take(), [(1, 10, Replaced), (1, 101, Evicted)], "{name}");
        assert!(!cache.contains_key(&1) && cache.contains_key(&2), "{name}");
        // Where there is none to replace.
        call(&mut cache);
        assert_eq!(heard.take(), [(1, 101, Evicted)], "{name}");
        let stats = cache.stats();
        assert_eq!((stats.weight, stats.held, stats.weight_peak), (20, 1, 30), "{name}");
        assert_eq!((stats.inserts, stats.replaced, stats.evicted), (4, 1, 2), "{name}");
    }
    let (heard, setup) = heard_by(Setup { shards: Some(1), ..own_weight(50, 100) });
    let mut cache = F::build(&setup);
    assert_eq!(cache.insert(1, 1), None);
    assert_eq!(cache.insert(1, u64::MAX), Some(1));
    assert_eq!(cache.insert_if_absent(1, 101), Ok(()));
    assert_eq!(cache.stats().evicted, 2);
    // A TTL of zero comes first.
    assert_eq!(cache.insert_with_ttl(1, 101, Duration::ZERO), None);
    assert_eq!(heard.take().pop(), Some((1, 101, RemovalCause::Expired)));
    // A loader's goes to its caller.
    assert_eq!(*std::borrow::Borrow::<u64>::borrow(&cache.get_or_insert_with(&1, || 500)), 500);
    assert_eq!((cache.len(), cache.stats().weight), (0, 0));
}

fn what_grows_has_others_evicted_or_leaves<F: Family>() {
    type Grow<C> = (&'static str, fn(&mut C, u64));
    let calls: [Grow<F::Cache<u64, u64>>; 3] = [
        ("update", |cache, weight| _ = cache.update(&7, |value| *value = weight)),
        ("compute", |cache, weight| {
            cache.compute(7, |live| {
                *live.unwrap() = weight;
                Compute::Keep(())
            });
        }),
        ("compute that sets", |cache, weight| cache.compute(7, |_| Compute::Set(weight, ()))),
    ];
    for (name, call) in calls {
        for eviction in [None, Some(punctual::Eviction::Fifo), Some(punctual::Eviction::S3Fifo)] {
            let setup = Setup { shards: Some(1), eviction, ..own_weight(200, 100) };
            let (heard, setup) = heard_by(setup);
            let mut cache = F::build(&setup);
            for key in 0..100 {
                cache.insert(key, 1);
            }
            assert_eq!((cache.len(), cache.stats().weight), (100, 100));
            // All that it asks for, and no more.
            call(&mut cache, 31);
            let left: Vec<_> = heard.take();
            let evicted = left.iter().filter(|event| event.2 == RemovalCause::Evicted).count();
            assert_eq!((evicted, cache.len()), (30, 70), "{name}");
            assert!(left.iter().all(|event| event.0 != 7 || event.2 == RemovalCause::Replaced));
            assert_eq!(cache.stats().weight, 100, "{name}");
            // Less, and then as much as all.
            call(&mut cache, 1);
            assert_eq!((cache.len(), cache.stats().weight), (70, 70), "{name}");
            call(&mut cache, 100);
            assert_eq!((cache.len(), cache.stats().weight), (1, 100), "{name}");
            assert!(cache.contains_key(&7), "{name}");
            assert_eq!(cache.stats().evicted, 99, "{name}");
            heard.take();
            call(&mut cache, 101);
            let last = heard.take().pop();
            assert_eq!(last, Some((7, 101, RemovalCause::Evicted)), "{name}");
            assert_eq!((cache.len(), cache.stats().weight), (0, 0), "{name}");
        }
    }
}

/// The bound on the number of entries holds beside that on their weight.
fn an_insertion_evicts_what_its_weight_asks_for_and_no_more<F: Family>() {
    for weight in [1, 2, 9, 50, 64, 65, 100] {
        let (heard, setup) = heard_by(Setup { shards: Some(1), ..own_weight(1_000, 100) });
        let mut cache = F::build(&setup);
        (0..100).for_each(|key| _ = cache.insert(key, 1));
        cache.insert(500, weight);
        assert_eq!(heard.take().len() as u64, weight);
        assert!(cache.contains_key(&500));
        assert_eq!(cache.stats().weight, 100);
        // In place of another one: what that weighed is free.
        cache.insert(500, weight);
        assert_eq!(heard.take(), [(500, weight, RemovalCause::Replaced)]);
        // Which weighs nothing evicts nothing, but for the number.
        (1_000..1_999 - 100 + weight).for_each(|key| _ = cache.insert(key, 0));
        assert_eq!((heard.len(), cache.len()), (0, 1_000), "{weight}");
        cache.insert(5_000, 0);
        assert_eq!((heard.len(), cache.len()), (1, 1_000), "{weight}");
    }
}

/// Due ones make room before live ones do, and leave as expired.
fn due_entries_make_room_first<F: Family>() {
    let (heard, setup) = heard_by(Setup { shards: Some(1), ..own_weight(200, 100) });
    let mut cache = F::build(&setup);
    for key in 0..100 {
        cache.insert_with_ttl(key, 1, if key % 2 == 0 { SECOND } else { HOUR });
    }
    setup.clock.advance(2 * SECOND);
    cache.insert(500, 40);
    let left = heard.take();
    assert!(left.len() >= 40);
    assert!(left.iter().all(|event| event.2 == RemovalCause::Expired), "{left:?}");
    assert_eq!(cache.stats().evicted, 0);
}

// ---- Hostile weighers ----

fn weighers_that_lie_break_no_bound<F: Family>() {
    const MOST: u64 = 1_000;
    type Weigh = fn(u64) -> u64;
    let weighers: [(&str, Weigh); 6] = [
        ("nothing", |_| 0),
        ("the most there is", |_| u64::MAX),
        ("nearly that", |number| u64::MAX - number % 3),
        ("another one each time", |number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 300),
        ("all or nothing", |number| if number % 2 == 0 { u64::MAX } else { 0 }),
        ("panics now and then", |number| {
            if number % 7 == 3 {
                panic_silently("the weigher's");
            }
            number % 200
        }),
    ];
    for (name, weigh) in weighers {
        for shards in [1, 4] {
            let calls = AtomicU64::new(0);
            let setup =
                Setup::of_capacity(40).weighed(MOST, move |_, _| weigh(calls.fetch_add(1, SeqCst)));
            let (heard, setup) = heard_by(Setup { shards: Some(shards), ..setup });
            let mut cache = F::build(&setup);
            let mut random = fastrand::Rng::with_seed(1);
            let mut panics = 0;
            for _ in 0..20_000 {
                let call = || call_at_random(&mut cache, &mut random, MOST);
                let text = message_of(call);
                assert!(text.is_none() || text.as_deref() == Some("the weigher's"), "{text:?}");
                panics += u64::from(text.is_some());
                let stats = cache.stats();
                assert!(stats.weight <= MOST, "{name}: {stats:?}");
                assert!(cache.len() <= cache.capacity());
                let gone = stats.expired + stats.evicted + stats.removed + stats.replaced;
                assert_eq!(stats.inserts, gone + stats.held, "{name}");
                assert_eq!(heard.len() as u64, gone, "{name}");
            }
            assert_eq!(panics > 0, name.contains("panics"), "{name}: {panics}");
            let is_held = cache.stats().held > 0;
            assert_eq!(is_held, !name.contains("the most") && !name.contains("nearly"), "{name}");
            cache.clear();
            assert_eq!(cache.stats().weight, 0, "{name}");
        }
    }
}

/// What a closure has made of a value before it panicked stays, and is weighed.
fn what_grew_before_a_panic_is_weighed<F: Family>() {
    type Grow<C> = (&'static str, fn(&mut C, u64));
    let calls: [Grow<F::Cache<u64, u64>>; 2] = [
        ("update", |cache, weight| {
            cache.update(&7, |value| {
                *value = weight;
                panic_silently("grown");
            });
        }),
        ("compute", |cache, weight| {
            cache.compute(7, |live| -> Compute<u64, ()> {
                *live.unwrap() = weight;
                panic_silently("grown")
            });
        }),
    ];
    for (name, call) in calls {
        let setup = Setup { shards: Some(1), time_to_idle: Some(HOUR), ..own_weight(200, 100) };
        let mut cache = F::build(&setup);
        (0..100).for_each(|key| _ = cache.insert(key, 1));
        setup.clock.advance(HOUR / 2);
        assert_eq!(message_of(|| call(&mut cache, 31)).as_deref(), Some("grown"));
        assert_eq!((cache.stats().weight, recount(&cache)), (100, 100), "{name}");
        assert_eq!(cache.len(), 70, "{name}");
        // It is a use as well.
        assert!(cache.expires_in(&7).unwrap() > HOUR / 2 + SECOND, "{name}");
        assert_eq!(message_of(|| call(&mut cache, 101)).as_deref(), Some("grown"));
        assert_eq!((cache.stats().weight, recount(&cache)), (69, 69), "{name}");
        assert!(!cache.contains_key(&7), "{name}");
    }
}

punctual_testing::test_both_caches! {
    the_sum_is_that_of_a_recount_and_never_above_the_most
    an_eighth_is_always_held
    what_is_too_heavy_leaves_at_once_and_what_it_replaces_is_gone
    what_grows_has_others_evicted_or_leaves
    an_insertion_evicts_what_its_weight_asks_for_and_no_more
    due_entries_make_room_first
    weighers_that_lie_break_no_bound
    what_grew_before_a_panic_is_weighed
}

// ---- Threads ----

/// Threads that insert, change and remove what weighs this and that: whenever they pause, the sum
/// is within the bound, and in the honest case that of a recount.
#[test]
fn threads_keep_the_bound() {
    const THREADS: u64 = 4;
    const MOST: u64 = 1_000;
    let _watchdog = Watchdog::start();
    for (is_honest, shards) in [(true, 1), (true, 4), (false, 1), (false, 4)] {
        let lies = AtomicU64::new(0);
        let weigh = move |_: &u64, &value: &u64| {
            if is_honest {
                return value;
            }
            match lies.fetch_add(1, SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 {
                number if number % 50 == 0 => u64::MAX,
                number if number % 97 == 0 => panic_silently("the weigher's"),
                number => number % 300,
            }
        };
        let setup = Setup { shards: Some(shards), ..Setup::of_capacity(40).weighed(MOST, weigh) };
        let cache = Shared::build(&setup);
        for round in 0..20 {
            in_threads(THREADS, |number| {
                let mut random = fastrand::Rng::with_seed(round * THREADS + number);
                let mut cache = cache.clone();
                for _ in 0..500 {
                    // A load of another thread may have met a panic.
                    let _ = catch(|| call_at_random(&mut cache, &mut random, MOST));
                }
            });
            setup.clock.advance(10 * SECOND);
            cache.reap(usize::MAX);
            let stats = cache.stats();
            assert!(stats.weight <= MOST && stats.weight_peak <= MOST, "{stats:?}");
            if is_honest {
                assert_eq!(stats.weight, recount(&cache));
            }
        }
        cache.clear();
        assert_eq!(cache.stats().weight, 0);
    }
}

/// As heavy values as there are: no sum overflows, in no shard and over all of them.
#[test]
fn the_greatest_weights_overflow_nothing() {
    for shards in [1, 2, 8] {
        let share = (u64::MAX / shards as u64).min(u64::MAX / 2);
        let seen = Arc::new(OnceLock::<Cache<u64, u64>>::new());
        let looks = seen.clone();
        let setup = Setup { shards: Some(shards), ..own_weight(50, u64::MAX) };
        // In the middle of a call, too.
        let setup = setup.on_removal(move |_, _, _| {
            let _ = looks.get().map(Cache::stats);
        });
        let cache = Shared::build(&setup);
        seen.set(cache.clone()).unwrap();
        for key in 0..100 {
            cache.insert(key, 1);
            cache.update(&key, |value| *value = share);
            assert!(cache.contains_key(&key));
            cache.compute(key + 1_000, |_| Compute::Set(share, ()));
            assert!(cache.contains_key(&(key + 1_000)));
            assert!(cache.len() <= shards.max(2));
        }
        // One that holds its own handle would live for ever.
        cache.clear();
        assert_eq!(cache.stats().weight, 0);
    }
}

// ---- Loads ----

fn miss(cache: &Cache<u64, u64>, key: u64) -> LoadTicket<u64, u64> {
    match cache.lookup(&key, Duration::ZERO) {
        Lookup::Miss(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn loading(cache: &Cache<u64, u64>, key: u64) -> LoadWait {
    match cache.lookup(&key, Duration::ZERO) {
        Lookup::Loading(load) => load,
        other => panic!("{other:?}"),
    }
}

/// The listener that hears of what is evicted for a loaded value may ask for that key: the load has
/// ended by then.
#[test]
fn a_listener_may_ask_for_what_others_are_evicted_for() {
    const LOADED: u64 = 500;
    type Load = (&'static str, fn(&Cache<u64, u64>) -> bool);
    let loads: [Load; 4] = [
        ("ticket", |cache| miss(cache, LOADED).store(90, Ttl::Default)),
        ("get_or_insert_with", |cache| cache.get_or_insert_with(&LOADED, || 90) == 90),
        ("get_or_load", |cache| cache.get_or_load(&LOADED, || Ok::<_, ()>((90, HOUR))) == Ok(90)),
        ("try_get_or_insert_with", |cache| {
            cache.try_get_or_insert_with(&LOADED, || Ok::<_, ()>(90)) == Ok(90)
        }),
    ];
    let _watchdog = Watchdog::start();
    for (name, load) in loads {
        let handle = Arc::new(Mutex::new(None::<Cache<u64, u64>>));
        let told = handle.clone();
        let asked = Log::default();
        let answers = asked.clone();
        let setup = Setup { shards: Some(1), ..own_weight(1_000, 100) };
        let setup = setup.on_removal(move |_, _, cause| {
            let cache = told.lock().unwrap().clone();
            if let Some(cache) = cache.filter(|_| cause == RemovalCause::Evicted) {
                answers.push(cache.get_or_insert_with(&LOADED, || unreachable!("it is there")));
            }
        });
        let cache = Shared::build(&setup);
        (0..100).for_each(|key| _ = cache.insert(key, 1));
        *handle.lock().unwrap() = Some(cache.clone());
        assert!(load(&cache), "{name}");
        handle.lock().unwrap().take();
        assert_eq!(asked.take(), [90; 90], "{name}");
        assert_eq!(cache.stats().weight, 100, "{name}");
    }
}

/// A listener that puts something else in for all that is evicted: the call that evicts it ends
/// nevertheless, and the bound is kept.
#[test]
fn a_listener_may_fill_the_cache_again() {
    thread_local! { static IS_TOLD: Cell<bool> = const { Cell::new(false) }; }
    type Call = (&'static str, fn(&Cache<u64, u64>));
    let calls: [Call; 6] = [
        ("insert", |cache| _ = cache.insert(500, 50)),
        ("insert_many", |cache| cache.insert_many([(500, 50)])),
        ("insert_if_absent", |cache| _ = cache.insert_if_absent(500, 50)),
        ("compute", |cache| cache.compute(500, |_| Compute::Set(50, ()))),
        ("get_or_insert_with", |cache| _ = cache.get_or_insert_with(&500, || 50)),
        ("update", |cache| _ = cache.update(&7, |value| *value = 50)),
    ];
    let _watchdog = Watchdog::start();
    for (name, call) in calls {
        let handle = Arc::new(Mutex::new(None::<Cache<u64, u64>>));
        let told = handle.clone();
        let next = AtomicU64::new(1_000);
        let setup = Setup { shards: Some(1), ..own_weight(1_000, 100) };
        let setup = setup.on_removal(move |_, &value, cause| {
            // Not for what leaves for its own sake.
            if cause != RemovalCause::Evicted || IS_TOLD.replace(true) {
                return;
            }
            if let Some(cache) = &*told.lock().unwrap() {
                cache.insert(next.fetch_add(1, SeqCst), value);
            }
            IS_TOLD.set(false);
        });
        let cache = Shared::build(&setup);
        (0..100).for_each(|key| _ = cache.insert(key, 1));
        *handle.lock().unwrap() = Some(cache.clone());
        call(&cache);
        handle.lock().unwrap().take();
        let stats = cache.stats();
        assert!(stats.weight <= 100 && stats.weight_peak <= 100, "{name}: {stats:?}");
        assert_eq!(stats.weight, recount(&cache), "{name}");
    }
}

/// What is overruled takes no room: nothing is evicted for it.
#[test]
fn an_overruled_load_evicts_nothing() {
    let (heard, setup) = heard_by(Setup { shards: Some(1), ..own_weight(1_000, 100) });
    let cache = Shared::build(&setup);
    (0..100).for_each(|key| _ = cache.insert(key, 1));
    let ticket = miss(&cache, 500);
    cache.insert(500, 0);
    assert!(!ticket.store(90, Ttl::Default));
    assert_eq!(heard.take(), []);
    assert_eq!(cache.get(&500), Some(0));
    assert_eq!(cache.stats().weight, 100);
}

/// A loaded value that is too heavy reaches its caller, and leaves. Who waits looks again.
#[test]
fn what_is_loaded_and_too_heavy_is_stored_and_gone() {
    let (heard, setup) = heard_by(Setup { shards: Some(1), ..own_weight(1_000, 100) });
    let cache = Shared::build(&setup);
    let (ticket, load) = (miss(&cache, 1), loading(&cache, 1));
    assert!(ticket.store(101, Ttl::Default));
    assert_eq!(load.wait(Duration::MAX), LoadEnd::Stored);
    assert_eq!(heard.take(), [(1, 101, RemovalCause::Evicted)]);
    assert!(matches!(cache.lookup(&1, Duration::ZERO), Lookup::Miss(_)));
}

/// A weigher that panics fails the load: those that wait are told, and the value is dropped.
#[test]
fn a_weigher_that_panics_fails_the_load() {
    thread_local! { static PANICS: Cell<bool> = const { Cell::new(false) }; }
    let _watchdog = Watchdog::start();
    let setup = Setup::<u64, Arc<u64>>::of_capacity(100).weighed(100, |_, &_| {
        if PANICS.get() {
            panic_silently("the weigher's");
        }
        1
    });
    let cache = Shared::build(&setup);
    let value = Arc::new(7);
    let Lookup::Miss(ticket) = cache.lookup(&1, Duration::ZERO) else { panic!("it is not there") };
    let Lookup::Loading(load) = cache.lookup(&1, Duration::ZERO) else { panic!("it is loading") };
    PANICS.set(true);
    let stored = message_of(|| ticket.store(value.clone(), Ttl::Default));
    assert_eq!(stored.as_deref(), Some("the weigher's"));
    assert_eq!(load.wait(Duration::MAX), LoadEnd::Failed);
    assert_eq!(Arc::strong_count(&value), 1);

    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            wait_until("another one loads", || cache.stats().misses > 2);
            cache.get_or_load(&1, || Ok::<_, ()>((Arc::new(8), HOUR)))
        });
        let loaded = message_of(|| {
            cache.try_get_or_insert_with(&1, || {
                wait_until("it waits", || cache.stats().misses > 3);
                Ok::<_, ()>(value.clone())
            })
        });
        assert_eq!(loaded.as_deref(), Some("the weigher's"));
        // It may have been on its way to wait: then it loads anew.
        match waiting.join().unwrap() {
            Err(LoadError::LeaderFailed) => {}
            other => assert_eq!(other, Ok(Arc::new(8))),
        }
    });
    PANICS.set(false);
    assert_eq!(Arc::strong_count(&value), 1);
    assert_eq!(*cache.get_or_insert_with(&1, || value.clone()), *cache.get(&1).unwrap());
}

/// Nothing is left behind of a call that is cut short by the listener again and again.
#[test]
fn listeners_that_panic_while_room_is_made_stop_nothing() {
    for shards in [1, 4] {
        let setup = Setup { shards: Some(shards), ..own_weight(1_000, 400) };
        let setup = setup.on_removal(|_, _, _| panic_silently("the listener's"));
        let cache = Shared::build(&setup);
        (0..1_000).for_each(|key| _ = catch(|| cache.insert(key, 1)));
        let share = 400 / shards as u64;
        type Call = fn(&Cache<u64, u64>, u64);
        let calls: [Call; 4] = [
            |cache, share| _ = cache.insert(5_000, share),
            |cache, share| cache.compute(5_001, |_| Compute::Set(share, ())),
            |cache, share| _ = cache.get_or_insert_with(&5_002, || share),
            |cache, share| _ = cache.update(&5_003, |value| *value = share),
        ];
        for (key, call) in (5_000..).zip(calls) {
            (0..1_000).for_each(|key| _ = catch(|| cache.insert(key, 1)));
            let _ = catch(|| cache.insert(5_003, 1));
            assert_eq!(message_of(|| call(&cache, share)).as_deref(), Some("the listener's"));
            let others: HashMap<_, _> =
                (5_000..5_003).filter_map(|key| Some((key, cache.peek(&key)?))).collect();
            assert_eq!(cache.peek(&key), Some(share), "{others:?}");
            assert_eq!(cache.stats().weight, recount(&cache));
            assert!(cache.stats().weight <= 400);
            let _ = catch(|| cache.clear());
            let _ = catch(|| cache.remove(&key));
        }
    }
}

#[test]
fn the_reaper_gives_the_weight_back() {
    let _watchdog = Watchdog::start();
    let builder = Cache::builder().capacity(100).reaper(Reaper::Thread);
    let builder = builder.weigher(|_: &u64, &value: &u64| value).max_weight(1 << 20);
    let cache = builder.ttl(Duration::from_millis(30)).build().unwrap();
    for key in 0..100 {
        cache.insert(key, 100);
    }
    wait_until("all are freed", || cache.is_empty());
    assert_eq!(cache.stats().weight, 0);
    assert!(cache.stats().weight_peak > 0);
}
