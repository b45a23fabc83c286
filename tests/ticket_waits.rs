//! Tickets among threads and futures: who waits for them, what they keep alive, and how they
//! share keys with loaders.
//!
//! What a lookup gives is in `tickets.rs`.

#![cfg(not(any(punctual_loom, miri)))]

#[path = "support/tickets.rs"]
mod tickets;

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use punctual::{Cache, Clock, LoadEnd, LoadError, LoadTicket, LoadWait, Lookup, ManualClock, Ttl};
use punctual_testing::instances::{Instance, Instances};
use punctual_testing::panics::{catch, message_of, panic_silently};
use punctual_testing::threads::in_threads;
use punctual_testing::watchdog::{Watchdog, wait_until};
use tickets::{SECOND, Stage, TTL, Tested, Ticket, loading, lose_in_a_panic, miss, refresh};

const THREADS: u64 = 8;

fn await_joined(cache: &Tested, joined: u64) {
    wait_until("they have asked", || cache.stats().loads_joined == joined);
}

// ---- Threads ----

#[test]
fn tickets_and_waits_go_where_they_like() {
    fn everywhere<T: Send + Sync + 'static>() {}
    everywhere::<Ticket>();
    everywhere::<LoadWait>();
    everywhere::<Lookup<String, u64>>();
    fn unpin<T: Unpin>() {}
    unpin::<LoadWait>();
}

/// Another thread ends the ticket, in whatever way, and many wait for it.
#[test]
fn many_threads_wait_for_a_ticket_of_another() {
    let _watchdog = Watchdog::start();
    let endings: [(fn(Ticket), LoadEnd); 5] = [
        (|ticket| assert!(ticket.store(2, TTL)), LoadEnd::Stored),
        (|ticket| assert!(ticket.store(2, Duration::ZERO)), LoadEnd::NotStored),
        (LoadTicket::fail, LoadEnd::Failed),
        (drop, LoadEnd::Abandoned),
        (lose_in_a_panic, LoadEnd::Failed),
    ];
    for (end_it, end) in endings.into_iter().cycle().take(50) {
        let cache = Stage::new(8).cache;
        let ticket = miss(&cache, 1);
        thread::scope(|scope| {
            let waits = (0..THREADS).map(|number| {
                let load = loading(&cache, 1);
                let at_most = if number % 2 == 0 { Duration::MAX } else { 900 * SECOND };
                scope.spawn(move || load.wait(at_most))
            });
            let waits: Vec<_> = waits.collect();
            thread::spawn(move || end_it(ticket)).join().unwrap();
            waits.into_iter().for_each(|wait| assert_eq!(wait.join().unwrap(), end));
        });
    }
}

/// One of all that ask has the ticket, whatever becomes of it, and nobody waits for ever.
#[test]
fn a_key_has_one_ticket_at_a_time() {
    let _watchdog = Watchdog::start();
    for shards in [1, 4] {
        let builder = Cache::<u64, u64>::builder().capacity(100).shards(shards);
        let cache = builder.concurrent_loads(16).build().unwrap();
        let held: [AtomicUsize; 3] = Default::default();
        let stored = AtomicUsize::new(0);
        in_threads(THREADS, |number| {
            let mut random = fastrand::Rng::with_seed(number);
            for _ in 0..5_000 {
                let key = random.u64(..3);
                let held = &held[key as usize];
                let ticket = match cache.lookup(&key, Duration::MAX) {
                    Lookup::Hit(value) => {
                        assert_eq!(value, key);
                        if random.u8(..16) == 0 {
                            cache.remove(&key);
                        }
                        continue;
                    }
                    Lookup::Loading(load) => {
                        let end = load.wait(Duration::MAX);
                        assert_ne!(end, LoadEnd::TimedOut);
                        continue;
                    }
                    Lookup::Miss(ticket) | Lookup::Refresh(_, ticket) => ticket,
                };
                assert_eq!(held.fetch_add(1, SeqCst), 0, "two tickets for {key}");
                thread::yield_now();
                assert_eq!(held.fetch_sub(1, SeqCst), 1);
                match random.u8(..8) {
                    0 => drop(ticket),
                    1 => ticket.fail(),
                    2 => _ = ticket.store(key, Duration::ZERO),
                    3 => _ = ticket.store(key, Duration::from_micros(1)),
                    _ => _ = stored.fetch_add(ticket.store(key, 3_600 * SECOND).into(), SeqCst),
                }
            }
        });
        let stats = cache.stats();
        assert!(stored.into_inner() > 100, "{stats:?}");
        assert_eq!(stats.loads_unshared, 0);
        // Nothing is left in flight.
        cache.clear();
        (0..3).for_each(|key| drop(miss(&cache, key)));
    }
}

/// Whatever a load brings, it is no older than what was removed or set before it began: with
/// tickets that are shared, and ones that are not, to load and to refresh.
#[test]
fn what_is_removed_does_not_come_back() {
    const KEYS: u64 = 3;
    let _watchdog = Watchdog::start();
    for concurrent_loads in [0, 1, 2, 16] {
        let builder = Cache::<u64, u64>::builder().capacity(100).shards(1).ttl(3_600 * SECOND);
        let cache = builder.concurrent_loads(concurrent_loads).build().unwrap();
        // What the database says, and what the cache has been told.
        let [written, told]: [[AtomicU64; KEYS as usize]; 2] = Default::default();
        let (is_over, stored, overruled) =
            (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let write = |version: u64, random: &mut fastrand::Rng| {
            let key = random.u64(..KEYS);
            written[key as usize].store(version, SeqCst);
            match random.u8(..32) {
                0..20 => _ = cache.remove(&key),
                20..26 => _ = cache.insert(key, version),
                26..31 => cache.insert_many([(key, version)]),
                _ => cache.clear(),
            }
            told[key as usize].store(version, SeqCst);
            // Others have a chance to store what they have begun to load.
            thread::yield_now();
        };
        let load = |random: &mut fastrand::Rng| {
            let key = random.u64(..KEYS);
            let least = told[key as usize].load(SeqCst);
            let refresh_before = if random.bool() { Duration::MAX } else { Duration::ZERO };
            let ticket = match cache.lookup(&key, refresh_before) {
                Lookup::Hit(version) => return assert!(version >= least, "{version} of {least}"),
                Lookup::Loading(load) => {
                    let _ = load.wait(Duration::from_millis(1));
                    return;
                }
                Lookup::Miss(ticket) => ticket,
                Lookup::Refresh(version, ticket) => {
                    assert!(version >= least, "{version} of {least}");
                    ticket
                }
            };
            let version = written[key as usize].load(SeqCst);
            if random.bool() {
                thread::yield_now();
            }
            let count = if ticket.store(version, Ttl::Default) { &stored } else { &overruled };
            count.fetch_add(1, SeqCst);
        };
        in_threads(4, |number| {
            let mut random = fastrand::Rng::with_seed(number);
            if number > 0 {
                while !is_over.load(SeqCst) {
                    load(&mut random);
                }
                return;
            }
            let mut version = 0;
            while version < 20_000 || stored.load(SeqCst) < 500 || overruled.load(SeqCst) < 20 {
                version += 1;
                write(version, &mut random);
            }
            is_over.store(true, SeqCst);
        });
    }
}

#[test]
fn a_wait_with_a_limit_ends_and_the_load_goes_on() {
    let _watchdog = Watchdog::start();
    let Stage { cache, clock, .. } = Stage::new(8);
    let ticket = miss(&cache, 1);
    for at_most in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(2)] {
        assert_eq!(loading(&cache, 1).wait(at_most), LoadEnd::TimedOut);
    }
    in_threads(THREADS, |_| {
        assert_eq!(loading(&cache, 1).wait(Duration::from_millis(1)), LoadEnd::TimedOut);
    });
    assert_eq!(clock.now(), Duration::ZERO, "waits go by the system's clock");
    let load = loading(&cache, 1);
    assert!(ticket.store(1, TTL));
    assert_eq!(load.wait(Duration::ZERO), LoadEnd::Stored);
}

/// Nobody knows for ever how a load has ended.
#[test]
fn an_end_of_long_ago_is_told_as_abandoned() {
    let cache = Stage::new(2).cache;
    let ticket = miss(&cache, 1);
    let (early, late) = (loading(&cache, 1), loading(&cache, 1));
    ticket.fail();
    miss(&cache, 2).fail();
    assert_eq!(early.wait(Duration::MAX), LoadEnd::Failed, "there was another record to use");
    miss(&cache, 3).fail();
    assert_eq!(late.wait(Duration::MAX), LoadEnd::Abandoned);
}

// ---- What is kept alive ----

#[test]
fn a_ticket_is_a_handle_and_a_wait_is_none() {
    let endings: [fn(LoadTicket<u64, Instance>); 3] = [
        drop,
        LoadTicket::fail,
        // What it stores leaves with the rest.
        |ticket| assert!(ticket.store(Instances::default().make(), TTL)),
    ];
    for end_it in endings {
        let values = Instances::default();
        let cache = Cache::<u64, Instance>::new(10);
        cache.insert(1, values.make());
        let Lookup::Miss(ticket) = cache.lookup(&2, SECOND) else { panic!() };
        let Lookup::Loading(load) = cache.lookup(&2, SECOND) else { panic!() };
        assert!(format!("{cache:?}").contains("handles: 2"), "{cache:?}");
        drop(cache);
        assert_eq!((values.live(), *ticket.key()), (1, 2));
        thread::spawn(move || end_it(ticket)).join().unwrap();
        assert_eq!(values.live(), 0, "the last handle closes the cache");
        assert_ne!(load.wait(Duration::MAX), LoadEnd::TimedOut);
    }
}

// ---- Futures ----

/// Counts how often it is woken; alive as long as somebody means to wake it.
#[derive(Default)]
struct Sleeper {
    wakes: AtomicUsize,
    panics: bool,
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, SeqCst);
        if self.panics {
            panic_silently("the waker's own");
        }
    }
}

fn poll(load: &mut LoadWait, sleeper: &Arc<Sleeper>) -> Poll<LoadEnd> {
    Pin::new(load).poll(&mut Context::from_waker(&Waker::from(sleeper.clone())))
}

fn is_kept(sleeper: &Arc<Sleeper>) -> bool {
    Arc::strong_count(sleeper) > 1
}

#[test]
fn the_task_that_has_polled_last_is_woken_once() {
    let cache = Stage::new(8).cache;
    let ticket = miss(&cache, 1);
    // More than are woken under one hold of the lock.
    let mut waits: Vec<_> = (0..200).map(|_| loading(&cache, 1)).collect();
    let tasks: [Vec<Arc<Sleeper>>; 3] = Default::default();
    let tasks = tasks.map(|_| (0..200).map(|_| Arc::default()).collect::<Vec<_>>());
    for sleepers in &tasks {
        for (load, sleeper) in waits.iter_mut().zip(sleepers) {
            assert_eq!(poll(load, sleeper), Poll::Pending);
        }
    }
    let [first, second, last] = &tasks;
    assert!(!first.iter().chain(second).any(is_kept) && last.iter().all(is_kept));
    assert!(ticket.store(1, TTL));
    assert!(!last.iter().any(is_kept));
    assert!(last.iter().all(|sleeper| sleeper.wakes.load(SeqCst) == 1));
    assert!(first.iter().chain(second).all(|sleeper| sleeper.wakes.load(SeqCst) == 0));
    for (load, sleeper) in waits.iter_mut().zip(last) {
        assert_eq!(poll(load, sleeper), Poll::Ready(LoadEnd::Stored));
    }
}

#[test]
fn a_wait_may_be_dropped_at_any_time() {
    let cache = Stage::new(8).cache;
    let ticket = miss(&cache, 1);
    let sleeper = Arc::default();
    let [not_polled, mut pending, mut dropped_later] = [(); 3].map(|()| loading(&cache, 1));
    assert_eq!(poll(&mut pending, &sleeper), Poll::Pending);
    drop((not_polled, pending));
    assert!(!is_kept(&sleeper));
    assert_eq!(poll(&mut dropped_later, &sleeper), Poll::Pending);
    ticket.fail();
    assert_eq!((sleeper.wakes.load(SeqCst), is_kept(&sleeper)), (1, false));
    // Its place among the wakers is another's now.
    let ticket = miss(&cache, 2);
    let (mut other, others) = (loading(&cache, 2), Arc::default());
    assert_eq!(poll(&mut other, &others), Poll::Pending);
    drop(dropped_later);
    assert!(is_kept(&others));
    drop(ticket);
    assert_eq!(poll(&mut other, &others), Poll::Ready(LoadEnd::Abandoned));
}

/// It reaches whoever ends the load, which has ended all the same.
#[test]
fn a_waker_that_panics_keeps_nobody_asleep() {
    type Ends = fn(Ticket) -> bool;
    let endings: [(Ends, LoadEnd); 4] = [
        (|ticket| ticket.store(2, TTL), LoadEnd::Stored),
        (|ticket| ticket.store(2, Duration::ZERO), LoadEnd::NotStored),
        (|ticket| (ticket.fail(), true).1, LoadEnd::Failed),
        (|ticket| (drop(ticket), true).1, LoadEnd::Abandoned),
    ];
    for (end_it, end) in endings {
        let Stage { cache, heard, .. } = Stage::new(8);
        let ticket = miss(&cache, 1);
        let mut waits: Vec<_> = (0..9).map(|_| loading(&cache, 1)).collect();
        let sleepers: Vec<_> = (0..9)
            .map(|number| Arc::new(Sleeper { panics: number % 3 == 0, ..Sleeper::default() }))
            .collect();
        for (load, sleeper) in waits.iter_mut().zip(&sleepers) {
            assert_eq!(poll(load, sleeper), Poll::Pending);
        }
        let panic = catch(|| end_it(ticket)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the waker's own"));
        assert!(sleepers.iter().all(|sleeper| sleeper.wakes.load(SeqCst) == 1));
        for (load, sleeper) in waits.iter_mut().zip(&sleepers) {
            assert_eq!(poll(load, sleeper), Poll::Ready(end));
        }
        assert_eq!(cache.get(&1), (end == LoadEnd::Stored).then_some(2));
        assert!(heard.is_empty());
    }
}

/// A slow listener keeps nobody waiting for a load that has ended.
#[test]
fn futures_are_woken_before_a_listener_hears() {
    let sleeper = Arc::<Sleeper>::default();
    let heard = {
        let sleeper = sleeper.clone();
        move |_: &u64, _: &u64, _| assert_eq!(sleeper.wakes.load(SeqCst), 1)
    };
    let cache: Tested = Cache::builder().capacity(1).on_removal(heard).build().unwrap();
    cache.insert(1, 1);
    let ticket = miss(&cache, 2);
    let mut load = loading(&cache, 2);
    assert_eq!(poll(&mut load, &sleeper), Poll::Pending);
    assert!(ticket.store(2, TTL));
    assert_eq!(cache.stats().evicted, 1);
}

thread_local! {
    static EQ_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// A key whose `Eq` may panic.
#[derive(Debug)]
struct Fragile(u64);

impl Hash for Fragile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Fragile {
    fn eq(&self, other: &Self) -> bool {
        if EQ_PANICS.get() {
            panic_silently("the key's own");
        }
        self.0 == other.0
    }
}

impl Eq for Fragile {}

/// The value is lost, and nobody waits for it any more.
#[test]
fn futures_are_woken_where_eq_panics() {
    let clock = ManualClock::new();
    let builder = Cache::builder().capacity(8).ttl(TTL).reap_limit(0).clock(clock.clone());
    let cache: Cache<Fragile, u64> = builder.build().unwrap();
    cache.insert(Fragile(1), 1);
    let Lookup::Refresh(1, ticket) = cache.lookup_owned(Fragile(1), Duration::MAX) else {
        panic!("nobody refreshes it")
    };
    // It is due, and not freed: the new value's key is compared with it.
    clock.advance(2 * TTL);
    let Lookup::Loading(mut load) = cache.lookup_owned(Fragile(1), Duration::ZERO) else {
        panic!("it is being refreshed")
    };
    let sleeper = Arc::default();
    assert_eq!(poll(&mut load, &sleeper), Poll::Pending);
    EQ_PANICS.set(true);
    let panic = catch(|| ticket.store(2, TTL)).unwrap_err();
    EQ_PANICS.set(false);
    assert_eq!(panic.downcast_ref(), Some(&"the key's own"));
    assert_eq!(sleeper.wakes.load(SeqCst), 1);
    assert_eq!(poll(&mut load, &sleeper), Poll::Ready(LoadEnd::Failed));
    assert_eq!(cache.stats().loads_failed, 1);
    assert!(matches!(cache.lookup_owned(Fragile(1), Duration::ZERO), Lookup::Miss(_)));
}

// ---- Beside loaders ----

#[test]
fn a_loader_that_waits_for_its_own_key_panics_and_says_so() {
    let _watchdog = Watchdog::start();
    let cache = Stage::new(8).cache;
    let text = message_of(|| {
        cache.get_or_insert_with(&1, || {
            // It may look, but not wait.
            let _ = loading(&cache, 1).wait(Duration::ZERO);
            _ = loading(&cache, 1).wait(Duration::MAX);
            1
        })
    });
    assert!(text.is_some_and(|text| text.contains("recursive load") && text.contains("deadlock")));
    assert_eq!(cache.get_or_insert_with(&1, || 2), 2);
}

#[test]
fn loaders_wait_for_a_ticket() {
    let _watchdog = Watchdog::start();
    let cache = Stage::new(8).cache;
    let ticket = miss(&cache, 1);
    thread::scope(|scope| {
        let waits = (0..THREADS).map(|_| {
            scope.spawn(|| cache.get_or_insert_with(&1, || unreachable!("a ticket is out")))
        });
        let waits: Vec<_> = waits.collect();
        await_joined(&cache, THREADS);
        assert!(ticket.store(7, TTL));
        assert!(waits.into_iter().all(|wait| wait.join().unwrap() == 7));
    });
    assert_eq!(cache.stats().loads, 1);
}

#[test]
fn a_lookup_waits_for_a_loader() {
    let _watchdog = Watchdog::start();
    let cache = Stage::new(8).cache;
    let mut load = None;
    let value = cache.get_or_insert_with(&1, || {
        // A ticket belongs to no thread, so this is not a recursive load yet.
        load = Some(loading(&cache, 1));
        7
    });
    assert_eq!((value, load.unwrap().wait(Duration::MAX)), (7, LoadEnd::Stored));
    // Nor does a value that is being refreshed concern loaders.
    let ticket = refresh(&cache);
    assert_eq!(cache.get_or_insert_with(&1, || 8), 7);
    assert!(ticket.store(9, TTL));
}

/// Those that may fail are told; those that cannot load instead, one for the others.
#[test]
fn loaders_learn_of_a_ticket_that_fails() {
    let _watchdog = Watchdog::start();
    let endings: [(fn(Ticket), bool); 3] =
        [(LoadTicket::fail, true), (lose_in_a_panic, true), (drop, false)];
    for (end_it, has_failed) in endings {
        let cache = Stage::new(8).cache;
        let ticket = miss(&cache, 1);
        thread::scope(|scope| {
            let waits = (0..THREADS)
                .map(|_| scope.spawn(|| cache.try_get_or_insert_with(&1, || Ok::<_, ()>(7))));
            let waits: Vec<_> = waits.collect();
            await_joined(&cache, THREADS);
            end_it(ticket);
            let expected = if has_failed { Err(LoadError::LeaderFailed) } else { Ok(7) };
            assert!(waits.into_iter().all(|wait| wait.join().unwrap() == expected));
        });
    }
    let cache = Stage::new(8).cache;
    let ticket = miss(&cache, 1);
    let runs = AtomicUsize::new(0);
    thread::scope(|scope| {
        let waits = (0..THREADS).map(|_| {
            scope.spawn(|| cache.get_or_insert_with(&1, || runs.fetch_add(1, SeqCst) as u64))
        });
        let waits: Vec<_> = waits.collect();
        await_joined(&cache, THREADS);
        ticket.fail();
        assert!(waits.into_iter().all(|wait| wait.join().unwrap() == 0));
    });
    assert_eq!(runs.into_inner(), 1);
}

// ---- Under a lock ----

/// What may wait, or needs the lock, says so instead of waiting for ever. What has to end a
/// load wherever it is dropped does.
#[test]
fn calls_from_within_a_closure_panic_or_go_on() {
    let _watchdog = Watchdog::start();
    let cache = Stage::with_value().cache;
    let within = |call: &mut dyn FnMut()| {
        message_of(|| {
            cache.read(&1, |_| call());
        })
    };
    let assert_refused = |call: &mut dyn FnMut()| {
        let message = within(call).expect("it panics");
        assert!(message.contains("the cache was called from within a closure"), "{message}");
    };
    assert_refused(&mut || drop(cache.lookup(&2, Duration::ZERO)));
    assert_refused(&mut || drop(cache.lookup_owned(1, Duration::MAX)));
    let ticket = miss(&cache, 2);
    let [mut waits, mut polled] = [(); 2].map(|()| Some(loading(&cache, 2)));
    assert_refused(&mut || _ = waits.take().unwrap().wait(Duration::ZERO));
    let sleeper = Arc::default();
    assert_refused(&mut || _ = poll(polled.as_mut().unwrap(), &sleeper));
    assert!(!is_kept(&sleeper));
    // The load has failed then: nobody waits for it any more.
    let mut ticket = Some(ticket);
    assert_refused(&mut || _ = ticket.take().unwrap().store(2, TTL));
    assert_eq!(polled.unwrap().wait(Duration::MAX), LoadEnd::Failed);
    let mut ticket = Some(miss(&cache, 2));
    assert_refused(&mut || _ = ticket.take().unwrap().store(2, Duration::ZERO));
    assert_eq!(cache.get(&2), None);
    for (end_it, end) in
        [(LoadTicket::fail as fn(Ticket), LoadEnd::Failed), (drop, LoadEnd::Abandoned)]
    {
        let mut ticket = Some(miss(&cache, 2));
        let load = loading(&cache, 2);
        assert_eq!(within(&mut || end_it(ticket.take().unwrap())), None);
        assert_eq!(load.wait(Duration::MAX), end);
    }
}
