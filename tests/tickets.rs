//! Lookups that give a ticket: to whom, when, and what becomes of what it brings.
//!
//! Who waits for a ticket, and how, is in `ticket_waits.rs`.

#![cfg(not(any(punctual_loom, miri)))]

#[path = "support/tickets.rs"]
mod tickets;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use punctual::{
    BuildError, Cache, Clock, LoadEnd, LoadTicket, LoadWait, Lookup, ManualClock, RemovalCause, Ttl,
};
use punctual_testing::watchdog::Watchdog;
use tickets::{SECOND, Stage, TTL, Tested, Ticket, loading, lose_in_a_panic, miss, refresh};

/// The default.
const RESOLUTION: Duration = Duration::from_millis(10);

fn assert_hit(looked_up: Lookup<u64, u64>, expected: u64) {
    assert!(matches!(looked_up, Lookup::Hit(value) if value == expected), "{looked_up:?}");
}

// ---- What a lookup gives ----

#[test]
fn one_caller_loads_or_refreshes_a_key_at_a_time() {
    let Stage { cache, clock, .. } = Stage::new(8);
    let ticket = miss(&cache, 1);
    assert_eq!(*ticket.key(), 1);
    let load = loading(&cache, 1);
    // Also for those who would refresh, who own the key, and not for those of another key.
    assert!(matches!(cache.lookup(&1, Duration::MAX), Lookup::Loading(_)));
    assert!(matches!(cache.lookup_owned(1, Duration::ZERO), Lookup::Loading(_)));
    assert!(matches!(cache.lookup_owned(2, Duration::ZERO), Lookup::Miss(_)));
    assert!(ticket.store(10, TTL));
    assert_eq!(load.wait(Duration::MAX), LoadEnd::Stored);
    assert_hit(cache.lookup(&1, 20 * SECOND), 10);
    clock.advance(TTL - 10 * SECOND);
    let Lookup::Refresh(10, ticket) = cache.lookup(&1, 20 * SECOND) else {
        panic!("it ends in 10 s")
    };
    assert_eq!(*ticket.key(), 1);
    // The others have a value that is still good, and need not refresh it.
    assert_hit(cache.lookup(&1, 20 * SECOND), 10);
    assert_hit(cache.lookup_owned(1, Duration::MAX), 10);
    assert_hit(cache.lookup(&1, Duration::ZERO), 10);
    // Until it is gone: then they wait for what the refresh brings.
    clock.advance(11 * SECOND);
    let load = loading(&cache, 1);
    assert!(ticket.store(11, TTL));
    assert_eq!(load.wait(Duration::MAX), LoadEnd::Stored);
    assert_hit(cache.lookup(&1, 20 * SECOND), 11);
}

/// Misses, hits and loads are counted, and the clock says how long these took.
#[test]
fn the_statistics_tell_of_tickets() {
    let Stage { cache, clock, .. } = Stage::new(1);
    let ticket = miss(&cache, 1);
    clock.advance(SECOND);
    let waits = [loading(&cache, 1), loading(&cache, 1)];
    let unshared = miss(&cache, 2);
    clock.advance(SECOND);
    ticket.fail();
    drop((waits, unshared));
    let refreshed = miss(&cache, 1);
    assert!(refreshed.store(1, TTL));
    drop(refresh(&cache));
    assert_hit(cache.lookup(&1, Duration::ZERO), 1);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.inserts), (2, 5, 1));
    assert_eq!((stats.loads, stats.loads_joined, stats.loads_failed), (4, 2, 1));
    assert_eq!((stats.loads_unshared, stats.load_nanos), (1, 3_000_000_000));
}

/// Whoever looks next refreshes, if the one before could not.
#[test]
fn a_refresh_that_brings_nothing_passes_to_the_next_caller() {
    let without_value = ENDINGS.into_iter().filter(|ending| ending.3 == Left::Old);
    for (name, end, ..) in without_value {
        let Stage { cache, heard, .. } = Stage::with_value();
        for _ in 0..20 {
            let ticket = refresh(&cache);
            assert_hit(cache.lookup(&1, Duration::MAX), 1);
            end(ticket);
        }
        assert!(heard.is_empty(), "{name}: the value stays until its TTL has passed");
        assert!(refresh(&cache).store(2, TTL));
        assert!(refresh(&cache).store(3, TTL));
        assert_eq!(cache.get(&1), Some(3));
    }
}

/// Not later than it was asked for, and not more than a resolution earlier; and the value is
/// there until its TTL has passed.
#[test]
fn a_refresh_is_offered_in_time() {
    let mut random = fastrand::Rng::with_seed(11);
    let (mut offered, mut not_offered) = (0, 0);
    for round in 0..3_000 {
        let Stage { cache, clock, .. } = Stage::new(8);
        let nanos =
            |random: &mut fastrand::Rng, most: u64| Duration::from_nanos(random.u64(..most));
        clock.set(nanos(&mut random, 1 << 40));
        let ttl =
            RESOLUTION + nanos(&mut random, if round % 2 == 0 { 50_000_000 } else { 1 << 36 });
        let refresh_before = nanos(&mut random, ttl.as_nanos() as u64 * 5 / 4);
        cache.insert_with_ttl(1, 1, ttl);
        // About the moment from which on it is offered, and at any other.
        let first = ttl.saturating_sub(refresh_before);
        let near = (first + nanos(&mut random, 40_000_000)).saturating_sub(2 * RESOLUTION);
        let any = nanos(&mut random, ttl.as_nanos() as u64);
        let after = if random.bool() { near } else { any }.min(ttl - Duration::from_nanos(1));
        clock.advance(after);
        match cache.lookup(&1, refresh_before) {
            Lookup::Refresh(1, _) => {
                assert!(after + RESOLUTION + refresh_before > ttl, "early: {after:?} of {ttl:?}");
                offered += 1;
            }
            Lookup::Hit(1) => {
                assert!(after + refresh_before <= ttl, "late: {after:?} of {ttl:?}");
                not_offered += 1;
            }
            other => panic!("{other:?} after {after:?} of {ttl:?}"),
        };
    }
    assert!(offered > 500 && not_offered > 500, "{offered} and {not_offered}");
}

#[test]
fn a_refresh_before_of_zero_refreshes_nothing_and_the_longest_everything() {
    let Stage { cache, clock, .. } = Stage::with_value();
    drop(refresh(&cache));
    let last = TTL - Duration::from_nanos(1);
    clock.set(last);
    assert_hit(cache.lookup(&1, Duration::ZERO), 1);
    // Nor in the resolution that it may be there longer.
    while cache.contains_key(&1) {
        assert_hit(cache.lookup(&1, Duration::ZERO), 1);
        clock.advance(Duration::from_millis(1));
    }
    assert!(matches!(cache.lookup(&1, Duration::ZERO), Lookup::Miss(_)));
}

#[test]
fn what_never_expires_is_never_refreshed() {
    let Stage { cache, clock, .. } = Stage::new(8);
    cache.insert_with_ttl(1, 1, Duration::MAX);
    assert!(miss(&cache, 2).store(2, Ttl::Never));
    assert!(miss(&cache, 3).store(3, Duration::MAX));
    clock.advance(Duration::from_secs(1 << 32));
    (1..4).for_each(|key| assert_hit(cache.lookup(&key, Duration::MAX), key));
    // Until it has a TTL.
    assert!(cache.set_ttl(&1, TTL));
    drop(refresh(&cache));
}

#[test]
fn nothing_is_refreshed_without_room_for_the_load() {
    for concurrent_loads in [0, 1, 3] {
        let Stage { cache, .. } = Stage::new(concurrent_loads);
        cache.insert(1, 1);
        let mut tickets: Vec<_> =
            (10..10 + concurrent_loads as u64).map(|key| miss(&cache, key)).collect();
        assert_hit(cache.lookup(&1, Duration::MAX), 1);
        if tickets.pop().is_some() {
            drop(refresh(&cache));
        }
        assert_eq!(cache.stats().loads_unshared, 0);
    }
}

/// A ticket without room for it is one of several for its key. The first that brings something
/// stores it.
#[test]
fn unshared_tickets_do_not_replace_each_others_values() {
    let Stage { cache, clock, heard } = Stage::new(0);
    let [first, second, third, zero] = [(); 4].map(|()| miss(&cache, 1));
    assert!(first.store(1, TTL));
    assert!(!second.store(2, TTL), "nobody knows which one is newer");
    // Nor do they take it away.
    let _ = zero.store(0, Duration::ZERO);
    assert_eq!((cache.get(&1), heard.len()), (Some(1), 0));
    clock.advance(2 * TTL);
    assert!(third.store(3, TTL), "the first one's is gone");
    assert_eq!(cache.stats().loads_unshared, 4);
}

#[test]
fn a_written_key_overrules_unshared_tickets() {
    for (name, write, left) in OVERRULED {
        for concurrent_loads in [0, 1] {
            let Stage { cache, .. } = Stage::new(concurrent_loads);
            let _fills_the_table = miss(&cache, 99);
            let ticket = miss(&cache, 1);
            // There to be removed, for those that remove what there is.
            assert!(miss(&cache, 1).store(1, TTL));
            write(&cache);
            let at_hand = cache.get(&1);
            assert_eq!(at_hand, left, "{name}");
            assert!(!ticket.store(10, TTL), "{name}");
            assert_eq!(cache.get(&1), at_hand, "{name}");
        }
    }
}

/// An unshared load is older than a shared one, which ends later.
#[test]
fn the_load_that_began_last_stays() {
    let cache = Stage::new(1).cache;
    let other = miss(&cache, 2);
    let unshared = miss(&cache, 1);
    drop(other);
    let shared = miss(&cache, 1);
    assert!(unshared.store(10, TTL));
    assert_eq!(cache.get(&1), Some(10));
    assert!(shared.store(20, TTL));
    assert_eq!(cache.get(&1), Some(20));
}

/// A clock that may be a second behind: TTLs are longer by that, and refreshed no later.
#[test]
fn a_refresh_is_in_time_by_a_clock_that_lags() {
    struct Lagging(ManualClock);
    impl Clock for Lagging {
        fn now(&self) -> Duration {
            self.0.now()
        }
        fn lag(&self) -> Duration {
            SECOND
        }
    }
    let clock = ManualClock::new();
    let builder = Cache::builder().capacity(10).ttl(TTL).resolution(2 * SECOND);
    let cache: Tested = builder.clock(Lagging(clock.clone())).build().unwrap();
    cache.insert(1, 1);
    clock.advance(TTL - 10 * SECOND + Duration::from_nanos(1));
    assert!(matches!(cache.lookup(&1, 10 * SECOND), Lookup::Refresh(1, _)));
}

// ---- How a ticket ends ----

/// A way to end a ticket, what those that wait learn, and what is left.
type Ending = (&'static str, fn(Ticket), LoadEnd, Left);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    New,
    Nothing,
    /// What was there, if anything.
    Old,
}

const ENDINGS: [Ending; 7] = [
    ("store", |ticket| assert!(ticket.store(2, TTL)), LoadEnd::Stored, Left::New),
    ("store by default", |it| assert!(it.store(2, Ttl::Default)), LoadEnd::Stored, Left::New),
    ("store for ever", |it| assert!(it.store(2, Ttl::Never)), LoadEnd::Stored, Left::New),
    ("store, zero", |it| assert!(it.store(2, Duration::ZERO)), LoadEnd::NotStored, Left::Nothing),
    ("fail", LoadTicket::fail, LoadEnd::Failed, Left::Old),
    ("drop", drop, LoadEnd::Abandoned, Left::Old),
    ("panic", lose_in_a_panic, LoadEnd::Failed, Left::Old),
];

fn poll(load: &mut LoadWait) -> Poll<LoadEnd> {
    Pin::new(load).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn those_that_wait_learn_how_a_load_has_ended() {
    let _watchdog = Watchdog::start();
    for (name, end_it, end, left) in ENDINGS {
        let Stage { cache, heard, .. } = Stage::new(8);
        let ticket = miss(&cache, 1);
        let [first, second, mut polled, mut not_polled_before] =
            [(); 4].map(|()| loading(&cache, 1));
        assert_eq!(poll(&mut polled), Poll::Pending, "{name}");
        end_it(ticket);
        assert_eq!(first.wait(Duration::MAX), end, "{name}");
        assert_eq!(second.wait(Duration::ZERO), end, "{name}: it has ended");
        for load in [&mut polled, &mut not_polled_before] {
            assert_eq!(poll(load), Poll::Ready(end), "{name}");
        }
        assert_eq!(cache.get(&1), (left == Left::New).then_some(2), "{name}");
        assert!(heard.is_empty(), "{name}: nothing was there");
        let stats = cache.stats();
        assert_eq!(stats.loads_failed, u64::from(end == LoadEnd::Failed), "{name}");
        assert_eq!(stats.inserts, u64::from(end == LoadEnd::Stored), "{name}");
    }
}

#[test]
fn the_listener_hears_of_what_a_refresh_replaces() {
    for (name, end_it, _, left) in ENDINGS {
        let Stage { cache, heard, .. } = Stage::with_value();
        end_it(refresh(&cache));
        let (now, told) = match left {
            Left::New => (Some(2), vec![(1, 1, RemovalCause::Replaced)]),
            Left::Nothing => (None, vec![(1, 1, RemovalCause::Expired)]),
            Left::Old => (Some(1), vec![]),
        };
        assert_eq!((cache.get(&1), heard.take()), (now, told), "{name}");
    }
}

/// The value that was to be refreshed has expired meanwhile, and is not freed yet.
#[test]
fn a_refresh_may_come_after_the_end_of_its_value() {
    let _watchdog = Watchdog::start();
    for (name, end_it, end, left) in ENDINGS {
        let Stage { cache, clock, heard } = Stage::with_value();
        let ticket = refresh(&cache);
        clock.advance(2 * TTL);
        let load = loading(&cache, 1);
        end_it(ticket);
        assert_eq!(load.wait(Duration::MAX), end, "{name}");
        assert_eq!(cache.get(&1), (left == Left::New).then_some(2), "{name}");
        assert_eq!(heard.take(), [(1, 1, RemovalCause::Expired)], "{name}");
        assert_eq!((cache.stats().expired, cache.stats().replaced), (1, 0), "{name}");
    }
}

// ---- What overrules a ticket ----

/// Changes key 1, which is 1, and what it is then.
type Change = (&'static str, fn(&Tested), Option<u64>);

const OVERRULED: [Change; 11] = [
    ("insert", |cache| _ = cache.insert(1, 5), Some(5)),
    ("insert_with_ttl", |cache| _ = cache.insert_with_ttl(1, 5, SECOND), Some(5)),
    ("insert_with_ttl, zero", |cache| _ = cache.insert_with_ttl(1, 5, Duration::ZERO), None),
    ("insert_many", |cache| cache.insert_many([(7, 7), (1, 5), (8, 8)]), Some(5)),
    ("insert_many_with_ttl, zero", |it| it.insert_many_with_ttl([(1, 5)], Duration::ZERO), None),
    ("remove", |cache| _ = cache.remove(&1), None),
    ("retain", |cache| cache.retain(|&key, _| key != 1), None),
    ("clear", |cache| cache.clear(), None),
    ("set_ttl, zero", |cache| assert!(cache.set_ttl(&1, Duration::ZERO)), None),
    ("get_and_set_ttl, zero", |it| assert!(it.get_and_set_ttl(&1, Duration::ZERO).is_some()), None),
    ("update", |cache| assert!(cache.update(&1, |value| *value = 5).is_some()), Some(5)),
];

const NOT_OVERRULED: [Change; 13] = [
    ("get", |cache| _ = cache.get(&1), Some(1)),
    ("read", |cache| _ = cache.read(&1, |_| ()), Some(1)),
    ("peek", |cache| _ = cache.peek(&1), Some(1)),
    ("set_ttl", |cache| assert!(cache.set_ttl(&1, 2 * TTL)), Some(1)),
    ("set_ttl, never", |cache| assert!(cache.set_ttl(&1, Duration::MAX)), Some(1)),
    ("get_and_set_ttl", |it| assert!(it.get_and_set_ttl(&1, SECOND).is_some()), Some(1)),
    ("lookup", |cache| drop(cache.lookup(&1, Duration::MAX)), Some(1)),
    ("get_or_insert_with", |it| assert_eq!(it.get_or_insert_with(&1, || 5), 1), Some(1)),
    ("remove another", |cache| _ = cache.remove(&2), Some(1)),
    ("insert others", |cache| cache.insert_many((2..50).map(|key| (key, key))), Some(1)),
    ("update another", |cache| _ = cache.update(&2, |value| *value = 5), Some(1)),
    ("retain", |cache| cache.retain(|&key, _| key == 1), Some(1)),
    ("evict", |cache| cache.insert_many((2..5_000).map(|key| (key, key))), None),
];

#[test]
fn a_written_key_overrules_a_refresh() {
    let _watchdog = Watchdog::start();
    for (name, write, left) in OVERRULED {
        // Whatever it brings.
        for ttl in [TTL, Duration::ZERO, Duration::MAX] {
            let Stage { cache, heard, .. } = Stage::with_value();
            cache.insert(2, 2);
            let ticket = refresh(&cache);
            write(&cache);
            heard.take();
            assert!(!ticket.store(10, ttl), "{name}");
            assert_eq!((cache.get(&1), heard.len()), (left, 0), "{name}");
        }
    }
}

/// The same of a key without a value, as far as there is something to write.
#[test]
fn a_written_key_overrules_a_miss() {
    let _watchdog = Watchdog::start();
    for (name, write, left) in &OVERRULED[..6] {
        let Stage { cache, .. } = Stage::new(8);
        let ticket = miss(&cache, 1);
        let load = loading(&cache, 1);
        write(&cache);
        assert!(!ticket.store(10, TTL), "{name}");
        assert_eq!(load.wait(Duration::MAX), LoadEnd::NotStored, "{name}");
        assert_eq!(cache.get(&1), *left, "{name}");
        // Those that looked, and found nothing to change, have changed nothing.
        assert_eq!(cache.stats().loads, 1);
    }
}

#[test]
fn other_calls_do_not_overrule_a_ticket() {
    for (name, call, left) in NOT_OVERRULED {
        let Stage { cache, .. } = Stage::with_value();
        let ticket = refresh(&cache);
        call(&cache);
        assert_eq!(cache.peek(&1), left, "{name}");
        assert!(ticket.store(10, TTL), "{name}");
        assert_eq!(cache.get(&1), Some(10), "{name}");
    }
    // Calls that find nothing to change.
    let Stage { cache, clock, .. } = Stage::with_value();
    let ticket = refresh(&cache);
    clock.advance(2 * TTL);
    assert!(!cache.set_ttl(&1, Duration::ZERO));
    assert_eq!(cache.update(&1, |value| *value = 5), None);
    cache.retain(|_, _| unreachable!("it has expired"));
    assert_eq!(cache.reap(10), 0);
    assert!(ticket.store(10, TTL));
}

// ---- Keys, rooms, callers' code ----

#[test]
fn keys_are_looked_up_in_any_form() {
    #[derive(Debug, PartialEq, Eq, Hash)]
    struct NotClone(u64);
    let cache = Cache::<String, u64>::new(10);
    let Lookup::Miss(ticket) = cache.lookup("key", Duration::ZERO) else { panic!() };
    assert_eq!(ticket.key(), "key");
    assert_eq!(format!("{ticket:?}"), "LoadTicket { key: \"key\", .. }");
    assert!(ticket.store(1, TTL));
    assert!(matches!(cache.lookup_owned("key".to_owned(), SECOND), Lookup::Hit(1)));
    let cache = Cache::<NotClone, u64>::new(10);
    let Lookup::Miss(ticket) = cache.lookup_owned(NotClone(1), Duration::ZERO) else { panic!() };
    assert!(ticket.store(1, TTL));
    assert_eq!(cache.get(&NotClone(1)), Some(1));
}

/// A listener may ask for the key that it hears of, also where a lookup frees it.
#[test]
fn the_listener_of_a_lookup_may_load_its_key() {
    let _watchdog = Watchdog::start();
    for concurrent_loads in [0, 8] {
        let clock = ManualClock::new();
        let handle = Arc::new(Mutex::new(None::<Tested>));
        let reloads = handle.clone();
        let builder = Cache::builder().capacity(100).ttl(TTL).clock(clock.clone());
        let builder = builder.concurrent_loads(concurrent_loads).on_removal(move |&key, _, _| {
            let cache = reloads.lock().unwrap().clone();
            if let Some(cache) = cache {
                cache.get_or_insert_with(&key, || 7);
            }
        });
        let cache = builder.build().unwrap();
        *handle.lock().unwrap() = Some(cache.clone());
        cache.insert(1, 1);
        clock.advance(2 * TTL);
        drop(cache.lookup(&1, Duration::ZERO));
        assert_eq!(cache.get(&1), Some(7));
        *handle.lock().unwrap() = None;
    }
}

#[test]
fn more_loads_than_can_be_numbered_are_refused() {
    let build = |loads| Cache::<u64, u64>::builder().capacity(10).concurrent_loads(loads).build();
    for requested in [65_536, 1 << 20, usize::MAX] {
        let error = build(requested).map(drop).unwrap_err();
        assert_eq!(error, BuildError::TooManyLoads { requested, limit: 65_535 });
        let message = error.to_string();
        assert!(message.contains(&requested.to_string()) && message.contains("at most 65535"));
    }
    // All of them at once.
    let cache = build(65_535).unwrap();
    let tickets: Vec<_> = (0..65_535).map(|key| miss(&cache, key)).collect();
    let waits: Vec<_> = (0..65_535).step_by(997).map(|key| loading(&cache, key)).collect();
    let stats = cache.stats();
    assert_eq!((stats.loads, stats.loads_unshared), (65_535, 0));
    assert_eq!(stats.loads_joined, waits.len() as u64);
    drop(tickets);
}
