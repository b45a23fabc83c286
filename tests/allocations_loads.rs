//! Promise 1 with a thousand loads in flight at once: tickets, loaders and threads that wait
//! allocate nothing. Futures that wait may.

// Elsewhere the platform's locks may allocate when they are first fought for.
#![cfg(target_os = "linux")]
#![cfg(not(any(punctual_loom, miri)))]

use std::thread;
use std::time::Duration;

use punctual::{Cache, LoadEnd, LoadTicket, LoadWait, Lookup, ManualClock};
use punctual_testing::alloc::{Counting, PerThread, Traffic, measure};
use punctual_testing::watchdog::Watchdog;

#[global_allocator]
static ALLOCATOR: Counting<PerThread> = Counting(PerThread);

const LOADS: u64 = 1_000;
const SECOND: Duration = Duration::from_secs(1);

type Tested = Cache<u64, u64>;
type Ticket = LoadTicket<u64, u64>;

fn build(shards: usize) -> (Tested, ManualClock) {
    let clock = ManualClock::new();
    let builder = Cache::builder().capacity(4 * LOADS as usize).shards(shards).clock(clock.clone());
    let cache = builder.ttl(60 * SECOND).concurrent_loads(LOADS as usize).build().unwrap();
    (cache, clock)
}

/// Asserts that the call allocates and frees nothing.
fn without_allocation<R>(what: &str, call: impl FnOnce() -> R) -> R {
    let (traffic, result) = measure(call);
    assert_eq!(traffic, Traffic::NONE, "{what}");
    result
}

/// Takes all tickets at once, and half as many that are unshared, and ends them.
fn load_all(cache: &Tested, tickets: &mut Vec<Ticket>, waits: &mut Vec<LoadWait>) {
    without_allocation("lookups", || {
        for key in 0..LOADS * 3 / 2 {
            match cache.lookup(&key, Duration::MAX) {
                Lookup::Miss(ticket) | Lookup::Refresh(_, ticket) => tickets.push(ticket),
                Lookup::Hit(_) => assert!(key >= LOADS, "there is room for a refresh"),
                Lookup::Loading(load) => panic!("{key} is loaded already: {load:?}"),
            }
        }
        for key in 0..LOADS {
            match cache.lookup_owned(key, Duration::MAX) {
                Lookup::Loading(load) => waits.push(load),
                Lookup::Hit(value) => assert_eq!(value, key),
                other => panic!("{key}: {other:?}"),
            }
        }
    });
    without_allocation("writes meanwhile", || {
        for key in (0..LOADS).step_by(5) {
            cache.remove(&key);
            cache.insert(key, key);
        }
    });
    without_allocation("ends of tickets", || {
        while let Some(ticket) = tickets.pop() {
            let key = *ticket.key();
            match key % 6 {
                0 => ticket.fail(),
                1 => drop(ticket),
                2 => _ = ticket.store(key, Duration::ZERO),
                _ => _ = ticket.store(key, 60 * SECOND),
            }
        }
    });
    without_allocation("waits", || {
        while let Some(load) = waits.pop() {
            assert_ne!(load.wait(Duration::MAX), LoadEnd::TimedOut);
        }
    });
}

/// Runs loaders within each other, down from `key`.
fn nest(cache: &Tested, key: u64) {
    if key == 0 {
        return;
    }
    let loaded = cache.get_or_load(&key, || {
        nest(cache, key - 1);
        if key % 7 == 0 { Err(()) } else { Ok((key, 60 * SECOND)) }
    });
    assert_eq!(loaded.is_ok(), key % 7 != 0);
}

/// Each waits for a ticket of this thread.
fn wait_in_threads(cache: &Tested) {
    let Lookup::Miss(ticket) = cache.lookup(&0, SECOND) else { panic!("it was cleared") };
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let Lookup::Loading(load) = cache.lookup(&0, SECOND) else { panic!("a ticket") };
                let end = without_allocation("a thread that waits", || match number % 2 {
                    0 => load.wait(Duration::MAX),
                    _ => load.wait(900 * SECOND),
                });
                assert_eq!(end, LoadEnd::Stored);
            });
        }
        while cache.stats().loads_joined < 8 {
            thread::yield_now();
        }
        without_allocation("the end of their wait", || assert!(ticket.store(0, SECOND)));
    });
}

fn play() {
    for shards in [1, 8] {
        let (cache, clock) = build(shards);
        let footprint = cache.footprint().total();
        wait_in_threads(&cache);
        // Room for them is made before.
        let mut tickets = Vec::with_capacity(2 * LOADS as usize);
        let mut waits = Vec::with_capacity(2 * LOADS as usize);
        for round in 0..6 {
            load_all(&cache, &mut tickets, &mut waits);
            if round % 2 == 1 {
                clock.advance(100 * SECOND);
            }
        }
        let before = cache.stats();
        assert!(before.loads_unshared > 0, "{before:?}");
        assert!(before.loads_joined > LOADS && before.replaced > LOADS, "{before:?}");
        let unshared = [LOADS, 2 * LOADS].map(|loads| {
            cache.clear();
            without_allocation("nested loaders", || nest(&cache, loads));
            cache.stats().loads_unshared - before.loads_unshared
        });
        assert!(unshared[0] == 0 && unshared[1] > 0, "{unshared:?}");
        assert_eq!(cache.footprint().total(), footprint);
    }
}

#[test]
fn a_thousand_loads_at_once_allocate_nothing() {
    let _watchdog = Watchdog::start();
    // Loaders lie deep within each other.
    let thread = thread::Builder::new().stack_size(64 << 20);
    thread.spawn(play).unwrap().join().unwrap();
}
