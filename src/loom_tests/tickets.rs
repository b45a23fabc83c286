//! Loads without a closure: tickets, and waiting for them.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use super::*;
use crate::{LoadEnd, LoadTicket, Lookup};

type Tested = Cache<u64, u64, FixedState>;
type Ticket = LoadTicket<u64, u64, FixedState>;

fn cache(concurrent_loads: usize) -> Tested {
    builder(2).concurrent_loads(concurrent_loads).build_with_reaper(None).unwrap()
}

fn ticket(cache: &Tested, key: u64) -> Ticket {
    let Lookup::Miss(ticket) = cache.lookup(&key, Duration::ZERO) else {
        panic!("nobody loads it")
    };
    ticket
}

/// Looks until there is a value. Loads it if nobody else does.
fn load(cache: &Tested, key: u64, loads: &Note) -> u64 {
    loop {
        match cache.lookup(&key, Duration::ZERO) {
            Lookup::Hit(value) | Lookup::Refresh(value, _) => return value,
            Lookup::Miss(ticket) => {
                loads.fetch_add(1, SeqCst);
                // Not stored if it is unshared, and a load beside it has stored the same.
                if !ticket.store(10 * key, LATE) {
                    assert_eq!(cache.peek(&key), Some(10 * key));
                }
            }
            Lookup::Loading(load) => _ = load.wait(Duration::MAX),
        }
    }
}

/// Purpose: a table of one place, which two keys want. One of them may have to load unshared;
/// each is stored, since the other one's writes overrule nothing.
#[test]
fn two_keys_load_where_there_is_room_for_one() {
    explore(Some(3), || {
        let cache = cache(1);
        let loads = Arc::new(Note::new(0));
        let threads = [1, 2].map(|key| {
            let (cache, loads) = (cache.clone(), loads.clone());
            spawn(move || load(&cache, key, &loads))
        });
        assert_eq!(load(&cache, 1, &loads), 10);
        for (key, thread) in (1..).zip(threads) {
            assert_eq!(thread.join().unwrap(), 10 * key);
        }
        assert_eq!((cache.peek(&1), cache.peek(&2)), (Some(10), Some(20)));
        let stats = cache.stats();
        assert!(loads.load(SeqCst) == 2 || stats.loads_unshared > 0, "{stats:?}");
        cache.check_idle();
    });
}

/// Purpose: an unshared load is overruled by a removal of its key, and by that alone.
#[test]
fn an_unshared_load_is_overruled_by_its_own_key() {
    explore(Some(4), || {
        let cache = cache(0);
        let tickets = [1, 2].map(|key| ticket(&cache, key));
        let [one, two] = tickets.map(|ticket| spawn(move || ticket.store(7, LATE)));
        cache.remove(&1);
        one.join().unwrap();
        assert_eq!(cache.peek(&1), None);
        assert!(two.join().unwrap());
        assert_eq!(cache.peek(&2), Some(7));
        cache.check_idle();
    });
}

/// A ticket is given, or a value refreshed, before `overrule`: what it brings is not there after it.
fn a_ticket_is_overruled(overrule: fn(&Tested)) {
    for (concurrent_loads, is_refresh) in [(0, false), (1, false), (1, true)] {
        explore(None, move || {
            let cache = cache(concurrent_loads);
            if is_refresh {
                cache.insert_with_ttl(1, 1, LATE);
            }
            let (Lookup::Miss(ticket) | Lookup::Refresh(_, ticket)) =
                cache.lookup(&1, Duration::MAX)
            else {
                panic!("nobody loads it")
            };
            let thread = spawn(move || ticket.store(7, LATE));
            overrule(&cache);
            assert_ne!(cache.peek(&1), Some(7));
            thread.join().unwrap();
            assert_ne!(cache.peek(&1), Some(7));
            cache.check_idle();
        });
    }
}

/// Purpose: `clear` overrules what was given before.
#[test]
fn a_clear_overrules_a_ticket() {
    a_ticket_is_overruled(Cache::clear);
}

/// Purpose: so does a removal of the key.
#[test]
fn a_remove_overrules_a_ticket() {
    a_ticket_is_overruled(|cache| _ = cache.remove(&1));
}

/// Purpose: so does another value.
#[test]
fn an_insert_overrules_a_ticket() {
    a_ticket_is_overruled(|cache| _ = cache.insert(1, 2));
}

/// Purpose: a key is looked up while it is removed, by a thread that brings what its origin said
/// before. The claim and the removal are one after the other, whatever else the table does.
#[test]
fn a_claim_and_a_remove_are_ordered() {
    for concurrent_loads in [0, 1] {
        explore(Some(4), move || {
            let cache = cache(concurrent_loads);
            let origin = Arc::new(AtomicU64::new(1));
            let thread = {
                let (cache, origin) = (cache.clone(), origin.clone());
                spawn(move || {
                    let ticket = ticket(&cache, 1);
                    let value = origin.load(Relaxed);
                    let _ = ticket.store(value, LATE);
                })
            };
            origin.store(2, Relaxed);
            cache.remove(&1);
            assert_ne!(cache.peek(&1), Some(1));
            thread.join().unwrap();
            assert_ne!(cache.peek(&1), Some(1));
            cache.check_idle();
        });
    }
}

/// A ticket ends in another thread; one thread waits, and a future that is dropped.
fn a_ticket_ends(end: fn(Ticket), expected: LoadEnd) {
    explore(Some(4), move || {
        let cache = cache(1);
        let ticket = ticket(&cache, 1);
        let [waits, is_dropped] = [(); 2].map(|()| {
            let Lookup::Loading(load) = cache.lookup(&1, Duration::ZERO) else {
                panic!("it is being loaded")
            };
            load
        });
        let ends = spawn(move || end(ticket));
        let cancelled = spawn(move || {
            let mut is_dropped = pin!(is_dropped);
            let _ = is_dropped.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
        assert_eq!(waits.wait(Duration::MAX), expected);
        ends.join().unwrap();
        cancelled.join().unwrap();
        cache.check_idle();
    });
}

/// Purpose: those that wait for a ticket that is dropped in another thread are woken.
#[test]
fn a_ticket_that_is_dropped_wakes_those_that_wait() {
    a_ticket_ends(drop, LoadEnd::Abandoned);
}

/// Purpose: the same for a load that fails.
#[test]
fn a_ticket_that_fails_wakes_those_that_wait() {
    a_ticket_ends(Ticket::fail, LoadEnd::Failed);
}

/// Purpose: a place that is given to another key while a waiter is about to look. It learns that
/// the load has ended, if not how.
#[test]
fn a_place_is_reused_while_a_waiter_looks() {
    explore(Some(4), || {
        let cache = cache(1);
        let first = ticket(&cache, 1);
        let Lookup::Loading(load) = cache.lookup(&1, Duration::ZERO) else {
            panic!("it is being loaded")
        };
        let thread = {
            let cache = cache.clone();
            spawn(move || {
                drop(first);
                ticket(&cache, 2).fail();
            })
        };
        assert_eq!(load.wait(Duration::MAX), LoadEnd::Abandoned);
        thread.join().unwrap();
        cache.check_idle();
    });
}

/// Purpose: a waiter whose time is up leaves nothing behind.
#[test]
fn a_wait_may_time_out() {
    explore(Some(4), || {
        let cache = cache(1);
        let ticket = ticket(&cache, 1);
        let Lookup::Loading(load) = cache.lookup(&1, Duration::ZERO) else {
            panic!("it is being loaded")
        };
        let thread = spawn(move || assert!(ticket.store(7, LATE)));
        let end = load.wait(Duration::ZERO);
        assert!(matches!(end, LoadEnd::TimedOut | LoadEnd::Stored), "{end:?}");
        thread.join().unwrap();
        assert_eq!(cache.peek(&1), Some(7));
        cache.check_idle();
    });
}

/// Purpose: of the readers of an entry that is due for refresh, one gets the ticket, and what it
/// brings is what later readers get.
#[test]
fn one_reader_refreshes() {
    explore(Some(4), || {
        // With room for another one.
        let cache = cache(2);
        cache.insert_with_ttl(1, 1, LATE);
        let refreshes = Arc::new(Note::new(0));
        let read = {
            let (cache, refreshes) = (cache.clone(), refreshes.clone());
            move || match cache.lookup(&1, Duration::MAX) {
                Lookup::Hit(value) => value,
                Lookup::Refresh(value, ticket) => {
                    assert_eq!((value, refreshes.fetch_add(1, SeqCst)), (1, 0));
                    // Never due for refresh again.
                    assert!(ticket.store(2, crate::Ttl::Never));
                    value
                }
                other => panic!("it has a value: {other:?}"),
            }
        };
        let threads = [spawn(read.clone()), spawn(read.clone())];
        assert!([1, 2].contains(&read()));
        threads.into_iter().for_each(|thread| assert!([1, 2].contains(&thread.join().unwrap())));
        assert_eq!((read(), refreshes.load(SeqCst)), (2, 1));
        cache.check_idle();
    });
}
