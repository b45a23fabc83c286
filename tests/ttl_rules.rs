//! TTLs that the builder gives by entry, and how they are spread; and the rules that no builder
//! takes.

#![cfg(not(any(punctual_loom, miri)))]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/setup.rs"]
mod setup;

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use punctual::{BuildError, Cache, Compute, LoadEnd, LoadError, Lookup, RemovalCause, Ttl};
use punctual_testing::log::Log;
use punctual_testing::panics::{catch, message_of, panic_silently};
use punctual_testing::watchdog::{Watchdog, wait_until};

use crate::setup::{Built, Family, Setup, Shared, Subject, Unsync};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const RESOLUTION: Duration = Duration::from_millis(10);

// ---- `ttl_by` ----

/// A TTL of so many seconds as the value says; from 1,000 on others.
fn seconds(value: u64) -> Ttl {
    match value {
        1_000 => Ttl::Default,
        1_001 => Ttl::Never,
        _ => Ttl::After(Duration::from_secs(value)),
    }
}

type Insert<C> = (&'static str, fn(&mut C, u64));

/// Every call that gives key 1 the value as one without a TTL of its own.
fn insertions<C: Subject<u64, u64>>() -> Vec<Insert<C>> {
    vec![
        ("insert", |cache, value| _ = cache.insert(1, value)),
        ("insert_with_ttl", |cache, value| _ = cache.insert_with_ttl(1, value, Ttl::Default)),
        ("insert_many", |cache, value| cache.insert_many([(1, value)])),
        ("insert_many, in chunks", |cache, value| cache.insert_many([(1, value); 50])),
        ("insert_many_with_ttl", |cache, value| {
            cache.insert_many_with_ttl([(1, value); 50], Ttl::Default);
        }),
        ("insert_if_absent", |cache, value| {
            cache.remove(&1);
            assert!(cache.insert_if_absent(1, value).is_ok());
        }),
        ("insert_if_absent_with_ttl", |cache, value| {
            cache.remove(&1);
            assert!(cache.insert_if_absent_with_ttl(1, value, Ttl::Default).is_ok());
        }),
        ("compute", |cache, value| cache.compute(1, |_| Compute::Set(value, ()))),
        ("compute, default", |cache, value| {
            cache.compute(1, |_| Compute::SetWithTtl(value, Ttl::Default, ()));
        }),
        ("set_ttl", |cache, value| {
            cache.insert_with_ttl(1, value, MINUTE);
            assert!(cache.set_ttl(&1, Ttl::Default));
        }),
        ("get_and_set_ttl", |cache, value| {
            cache.insert_with_ttl(1, value, MINUTE);
            assert!(cache.get_and_set_ttl(&1, Ttl::Default).is_some());
        }),
        ("get_or_insert_with", |cache, value| {
            cache.remove(&1);
            cache.get_or_insert_with(&1, || value);
        }),
        ("try_get_or_insert_with", |cache, value| {
            cache.remove(&1);
            assert!(cache.try_get_or_insert_with(&1, || Ok::<_, ()>(value)).is_ok());
        }),
        ("get_or_load", |cache, value| {
            cache.remove(&1);
            assert!(cache.get_or_load(&1, || Ok::<_, ()>((value, Ttl::Default))).is_ok());
        }),
    ]
}

fn each_entry_has_the_ttl_that_it_is_given<F: Family>() {
    let setup = Setup { ttl: Some(HOUR), ..Setup::of_capacity(100) };
    let setup = setup.ttl_by(|&key, &value| {
        assert_eq!(key, 1);
        seconds(value)
    });
    let mut cache = F::build(&setup);
    let bounds = |most: Duration| most - RESOLUTION..=most;
    for (name, insert) in insertions() {
        for value in [1, 2, 500] {
            insert(&mut cache, value);
            let left = cache.expires_in(&1).unwrap();
            assert!(bounds(Duration::from_secs(value)).contains(&left), "{name}: {left:?}");
        }
        insert(&mut cache, 1_000);
        assert!(bounds(HOUR).contains(&cache.expires_in(&1).unwrap()), "{name}");
        insert(&mut cache, 1_001);
        assert_eq!(cache.expires_in(&1), Some(Duration::MAX), "{name}");
        // None at all: what was there is gone.
        insert(&mut cache, 0);
        assert!(!cache.contains_key(&1) && cache.len() == 0, "{name}");
    }
}

/// It is not asked where a TTL is given.
fn a_ttl_that_is_given_is_the_entry_s<F: Family>() {
    let setup = Setup { ttl: Some(HOUR), ttl_jitter: Some(0.5), ..Setup::of_capacity(1_000) };
    let setup = setup.ttl_by(|_: &u64, _: &u64| panic_silently("it has one"));
    let mut cache = F::build(&setup);
    for key in 0..50 {
        cache.insert_with_ttl(key, key, MINUTE);
        cache.insert_many_with_ttl([(key + 100, 0)], MINUTE);
        cache.insert_if_absent_with_ttl(key + 200, 0, MINUTE).unwrap();
        cache.compute(key + 300, |_| Compute::SetWithTtl(1, Ttl::After(MINUTE), ()));
        assert!(cache.get_or_load(&(key + 400), || Ok::<_, ()>((1, MINUTE))).is_ok());
        cache.insert_with_ttl(key + 500, 0, Ttl::Never);
        assert!(cache.set_ttl(&(key + 500), MINUTE));
        cache.compute(key, |live| Compute::Keep(live.is_some()));
        cache.update(&key, |value| *value = 7);
        for first in [0, 100, 200, 300, 400, 500] {
            let left = cache.expires_in(&(first + key)).unwrap();
            assert!((MINUTE - RESOLUTION..=MINUTE).contains(&left), "{}: {left:?}", first + key);
        }
        assert!(cache.set_ttl(&key, Ttl::Never));
        assert_eq!(cache.expires_in(&key), Some(Duration::MAX));
    }
}

/// A panic leaves what was there as it was, and the new key and value are dropped.
fn a_panic_in_it_changes_nothing<F: Family>() {
    thread_local! { static PANICS: Cell<bool> = const { Cell::new(false) }; }
    let setup = Setup::<u64, u64> { ttl: Some(HOUR), ..Setup::of_capacity(100) };
    let heard = Log::default();
    let setup = setup.on_removal(heard.listener()).ttl_by(|_, _| {
        if PANICS.get() {
            panic_silently("no TTL");
        }
        Ttl::Default
    });
    let mut cache = F::build(&setup);
    for (name, insert) in insertions() {
        cache.clear();
        cache.insert(1, 5);
        heard.take();
        PANICS.set(true);
        let text = message_of(|| insert(&mut cache, 6));
        PANICS.set(false);
        assert_eq!(text.as_deref(), Some("no TTL"), "{name}");
        let own = name.starts_with("insert_if_absent") || name.contains("get") || name == "set_ttl";
        if !own {
            assert_eq!(cache.read(&1, |&value| value), Some(5), "{name}");
            assert_eq!(heard.take(), [], "{name}");
        }
        insert(&mut cache, 7);
        assert_eq!(cache.read(&1, |&value| value), Some(7), "{name}");
        let stats = cache.stats();
        let gone = stats.expired + stats.evicted + stats.removed + stats.replaced;
        assert_eq!(stats.inserts, gone + 1, "{name}: {stats:?}");
    }
}

// ---- Jitter ----

fn jitter_shortens_by_the_key_and_never_lengthens<F: Family>() {
    for (fraction, by_entry) in [(0.1, false), (0.5, false), (0.1, true), (0.5, true)] {
        let setup =
            Setup { ttl: Some(MINUTE), ttl_jitter: Some(fraction), ..Setup::of_capacity(2_000) };
        let setup =
            if by_entry { setup.ttl_by(|_, _: &u64| Ttl::After(2 * MINUTE)) } else { setup };
        let ttl = if by_entry { 2 * MINUTE } else { MINUTE };
        let mut cache = F::build(&setup);
        let least = ttl.mul_f64(1.0 - fraction) - RESOLUTION;
        let mut lefts = Vec::new();
        for key in 0..1_000 {
            cache.insert(key, 0);
            let left = cache.expires_in(&key).unwrap();
            assert!((least..=ttl).contains(&left), "{left:?}");
            // The same for the same key, by whatever call.
            cache.compute(key, |_| Compute::Set(1, ()));
            assert_eq!(cache.expires_in(&key), Some(left));
            assert!(cache.set_ttl(&key, Ttl::Default));
            assert_eq!(cache.expires_in(&key), Some(left));
            lefts.push(left);
        }
        // Evenly: of ten parts of what there may be, each is met, by no more than twice its share.
        for part in 0..10 {
            let from = least + ttl.mul_f64(fraction * f64::from(part) / 10.0);
            let until = from + ttl.mul_f64(fraction / 10.0);
            let met = lefts.iter().filter(|&&left| left >= from && left < until).count();
            assert!((50..200).contains(&met), "{met} of {part}");
        }
    }
    let setup = Setup { ttl: Some(MINUTE), ttl_jitter: Some(0.0), ..Setup::of_capacity(100) };
    let mut cache = F::build(&setup);
    for key in 0..50 {
        cache.insert(key, 0);
        assert!(cache.expires_in(&key).unwrap() >= MINUTE - RESOLUTION);
    }
    // What never expires is not shortened either.
    let setup = Setup { ttl_jitter: Some(0.5), ..Setup::of_capacity(100) };
    let mut cache = F::build(&setup);
    cache.insert(1, 1);
    assert_eq!(cache.expires_in(&1), Some(Duration::MAX));
    assert!(cache.next_expiry().is_none());
}

/// Half a million entries put in together: how many leave in any tenth of a second.
fn what_comes_together_does_not_leave_together<F: Family>() {
    const ENTRIES: usize = 500_000;
    const STEP: Duration = Duration::from_millis(100);
    let setup = Setup {
        ttl: Some(MINUTE),
        ttl_jitter: Some(0.1),
        ..Setup::of_capacity(ENTRIES + ENTRIES / 20)
    };
    let mut cache = F::build(&setup);
    cache.insert_many((0..ENTRIES as u64).map(|key| (key, key)));
    assert_eq!(cache.len(), ENTRIES);
    let mut freed = Vec::new();
    while cache.len() > 0 {
        setup.clock.advance(STEP);
        let before = cache.len();
        let reaped = cache.reap(usize::MAX);
        assert_eq!(before - cache.len(), reaped);
        freed.push(reaped);
        assert!(freed.len() <= 601, "{} outlive their TTL", cache.len());
    }
    assert_eq!(freed.iter().sum::<usize>(), ENTRIES);
    let first = freed.iter().position(|&count| count > 0).unwrap();
    assert!(STEP * first as u32 >= MINUTE.mul_f64(0.9) - STEP, "early: step {first}");
    // Over the six seconds in which they may leave.
    let mean = ENTRIES / 60;
    let most = *freed.iter().max().unwrap();
    assert!(most <= 2 * mean, "{most} at once, {mean} on average");
}

// ---- Builders ----

fn senseless_rules_say_what_to_change<F: Family>() {
    let error = |setup: Setup<u64, u64>| {
        let planned = <F::Cache<u64, u64>>::plan(&setup).unwrap_err();
        let error = <F::Cache<u64, u64>>::build(&setup).map(|_| ()).unwrap_err();
        assert_eq!(planned, error);
        error
    };
    let setup = || Setup::of_capacity(10);
    let zero = Setup { time_to_idle: Some(Duration::ZERO), ..setup() };
    assert_eq!(error(zero), BuildError::ZeroTimeToIdle);
    for jitter in
        [f64::NAN, -0.1, -f64::MIN_POSITIVE, 0.6, 0.500_001, f64::INFINITY, -f64::INFINITY]
    {
        let jittered = Setup { ttl_jitter: Some(jitter), ttl: Some(MINUTE), ..setup() };
        assert_eq!(error(jittered), BuildError::JitterOutOfRange, "{jitter}");
    }
    let weigher: setup::Weigher<u64, u64> = Arc::new(|_, _| 1);
    let alone = Setup { weigher: Some(weigher.clone()), ..setup() };
    assert_eq!(error(alone), BuildError::WeigherWithoutMaxWeight);
    let unweighed = Setup { max_weight: Some(10), ..setup() };
    assert_eq!(error(unweighed), BuildError::MaxWeightWithoutWeigher);
    for weigher in [None, Some(weigher)] {
        let zero = Setup { max_weight: Some(0), weigher, ..setup() };
        assert_eq!(error(zero), BuildError::ZeroMaxWeight);
    }
    // By the lesser of the two, and whether there is a TTL or not.
    for ttl in [None, Some(HOUR), Some(40 * MILLISECOND)] {
        let time_to_idle = Some(30 * MILLISECOND);
        let coarse = |resolution| Setup { ttl, time_to_idle, resolution, ..setup() };
        let resolution = 11 * MILLISECOND;
        let expected = BuildError::ResolutionTooCoarse { resolution, ttl: 30 * MILLISECOND };
        assert_eq!(error(coarse(Some(resolution))), expected);
        for fine in [Some(10 * MILLISECOND), None] {
            assert!(<F::Cache<u64, u64>>::build(&coarse(fine)).is_ok());
        }
    }
    // Errors name the method to call.
    for (error, words) in [
        (BuildError::ZeroTimeToIdle, "idle"),
        (BuildError::JitterOutOfRange, "0.5"),
        (BuildError::WeigherWithoutMaxWeight, "`max_weight`"),
        (BuildError::MaxWeightWithoutWeigher, "`weigher`"),
        (BuildError::ZeroMaxWeight, "at least 1"),
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
    for jitter in [0.0, -0.0, 0.5, f64::MIN_POSITIVE] {
        let setup = Setup { ttl_jitter: Some(jitter), ttl: Some(MINUTE), ..setup() };
        assert!(<F::Cache<u64, u64>>::build(&setup).is_ok(), "{jitter}");
    }
}

/// The default resolution is at most a third of the idle time.
fn the_default_resolution_goes_by_the_idle_time_too<F: Family>() {
    let idle = 3 * MILLISECOND;
    let setup = Setup { time_to_idle: Some(idle), ttl: Some(HOUR), ..Setup::of_capacity(10) };
    let mut cache = F::build(&setup);
    cache.insert(1, 1);
    setup.clock.advance(idle - Duration::from_nanos(1));
    assert!(cache.contains_key(&1));
    setup.clock.advance(MILLISECOND + Duration::from_nanos(1));
    assert!(!cache.contains_key(&1));
}

punctual_testing::test_both_caches! {
    each_entry_has_the_ttl_that_it_is_given
    a_ttl_that_is_given_is_the_entry_s
    a_panic_in_it_changes_nothing
    jitter_shortens_by_the_key_and_never_lengthens
    what_comes_together_does_not_leave_together
    senseless_rules_say_what_to_change
    the_default_resolution_goes_by_the_idle_time_too
}

// ---- Loads ----

/// Of what tickets bring, too; and one that gives no TTL ends what was to be refreshed.
#[test]
fn a_ticket_stores_by_the_rule() {
    let setup = Setup { ttl: Some(HOUR), ..Setup::of_capacity(100) };
    let heard = Log::default();
    let setup = setup.on_removal(heard.listener()).ttl_by(|_: &u64, &value| seconds(value));
    let cache = Shared::build(&setup);
    let ticket = || match cache.lookup(&1, Duration::MAX) {
        Lookup::Miss(ticket) | Lookup::Refresh(_, ticket) => ticket,
        other => panic!("{other:?}"),
    };
    assert!(ticket().store(20, Ttl::Default));
    assert!(cache.expires_in(&1).unwrap() <= 20 * SECOND);
    assert!(ticket().store(0, Ttl::Default));
    assert!(!cache.contains_key(&1));
    let causes: Vec<_> = heard.take().into_iter().map(|event| event.2).collect();
    assert_eq!(causes, [RemovalCause::Expired]);
    assert!(ticket().store(0, MINUTE));
    assert!(cache.contains_key(&1));
}

/// A panic in it fails the load: those that wait are told.
#[test]
fn a_panic_in_it_fails_the_load() {
    thread_local! { static PANICS: Cell<bool> = const { Cell::new(false) }; }
    let _watchdog = Watchdog::start();
    let setup = Setup::<u64, Arc<u64>>::of_capacity(100).ttl_by(|_, _| {
        if PANICS.get() {
            panic_silently("no TTL");
        }
        Ttl::Never
    });
    let cache = Shared::build(&setup);
    let value = Arc::new(7);
    let Lookup::Miss(ticket) = cache.lookup(&1, Duration::ZERO) else { panic!("it is absent") };
    let Lookup::Loading(load) = cache.lookup(&1, Duration::ZERO) else { panic!("it is loading") };
    PANICS.set(true);
    let stored = message_of(|| ticket.store(value.clone(), Ttl::Default));
    assert_eq!(stored.as_deref(), Some("no TTL"));
    assert_eq!(load.wait(Duration::MAX), LoadEnd::Failed);
    let misses = cache.stats().misses;
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            wait_until("another one loads", || cache.stats().misses > misses);
            cache.try_get_or_insert_with(&1, || Ok::<_, ()>(Arc::new(8)))
        });
        let text = message_of(|| {
            cache.try_get_or_insert_with(&1, || {
                wait_until("it waits", || cache.stats().misses > misses + 1);
                Ok::<_, ()>(value.clone())
            })
        });
        assert_eq!(text.as_deref(), Some("no TTL"));
        // It may have been on its way to wait: then it loads anew.
        match waiting.join().unwrap() {
            Err(LoadError::LeaderFailed) => {}
            other => assert_eq!(other, Ok(Arc::new(8))),
        }
    });
    PANICS.set(false);
    assert_eq!(Arc::strong_count(&value), 1, "dropped with the panic");
    cache.insert(1, value);
    assert!(cache.contains_key(&1));
}

/// Where it runs before any lock is taken, it may call the cache.
#[test]
fn it_may_call_the_cache_before_an_insertion() {
    let _watchdog = Watchdog::start();
    let handle = Arc::new(Mutex::new(None::<Cache<u64, u64>>));
    let asked = handle.clone();
    let setup = Setup { shards: Some(1), ..Setup::of_capacity(100) };
    let setup = setup.ttl_by(move |&key, _| {
        let cache = asked.lock().unwrap().clone();
        if let Some(cache) = cache.filter(|_| key != 50) {
            cache.insert(50, key);
            assert_eq!(cache.get(&50), Some(key));
        }
        Ttl::After(MINUTE)
    });
    let cache = Shared::build(&setup);
    *handle.lock().unwrap() = Some(cache.clone());
    cache.insert(1, 1);
    cache.insert_many((2..40).map(|key| (key, key)));
    cache.insert_if_absent(41, 41).unwrap();
    assert_eq!(cache.get_or_insert_with(&42, || 42), 42);
    let Lookup::Miss(ticket) = cache.lookup(&43, Duration::ZERO) else { panic!("it is absent") };
    assert!(ticket.store(43, Ttl::Default));
    assert_eq!((cache.len(), cache.get(&50)), (43, Some(43)));
    // Under the lock it may not.
    for call in [
        (|cache| cache.compute(1, |_| Compute::Set(1, ()))) as fn(&Cache<u64, u64>),
        |cache| assert!(cache.set_ttl(&1, Ttl::Default)),
        |cache| assert!(cache.get_and_set_ttl(&1, Ttl::Default).is_some()),
    ] {
        let text = message_of(|| call(&cache)).expect("it calls the cache under its lock");
        assert!(text.contains("from within a closure"), "{text}");
    }
    let _ = catch(|| handle.lock().unwrap().take());
    assert_eq!(cache.get(&1), Some(1));
}
