//! Panics in every place where callers' code runs, at every position of a short
//! run: both caches stay whole, and no key or value is lost or dropped twice.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use punctual_testing::panics::{
    Code, Injector, Key, Value, assert_none_alive, injected, keys, run, without_hook,
};
use punctual_testing::policies;

use crate::fuzz::subject::Subject;
use crate::{Cache, Clock, Eviction, LoadTicket, Lookup, ManualClock, unsync};

const SECOND: Duration = Duration::from_secs(1);
const CAPACITY: usize = 4;

punctual_testing::clock_fn!(Clock);

type Step<C> = Box<dyn Fn(&mut C, &ManualClock)>;

trait Tested: Subject<Key, Value> + 'static {
    fn build(eviction: Eviction, clock: &ManualClock) -> Self;

    /// Compares all structures with one another.
    fn check(&self);

    /// Steps of this kind of cache alone.
    fn own_steps() -> Vec<Step<Self>>;
}

macro_rules! build {
    ($eviction:expr, $clock:expr) => {{
        let clock = $clock.clone();
        let builder = Self::builder().capacity(CAPACITY).ttl(SECOND).eviction($eviction);
        let builder = builder.on_removal(|_, _, _| run(Code::Listener));
        let clock = ClockFn(move || {
            run(Code::Closure);
            clock.now()
        });
        builder.clock(clock).build().unwrap()
    }};
}

type Unsync = unsync::Cache<Key, Value>;
type Shared = Cache<Key, Value>;

impl Tested for Unsync {
    fn build(eviction: Eviction, clock: &ManualClock) -> Self {
        build!(eviction, clock)
    }

    fn check(&self) {
        Self::check(self);
        assert!(self.iter().count() <= CAPACITY);
    }

    fn own_steps() -> Vec<Step<Self>> {
        vec![step(|cache: &mut Self, _| _ = cache.get_mut(&keys()[6]))]
    }
}

impl Tested for Shared {
    fn build(eviction: Eviction, clock: &ManualClock) -> Self {
        build!(eviction, clock)
    }

    fn check(&self) {
        Self::check(self);
        self.check_idle();
        assert!(self.len() <= CAPACITY);
    }

    /// Loads that are overruled, and tickets.
    fn own_steps() -> Vec<Step<Self>> {
        let keys = keys();
        let mut steps = vec![step(move |cache: &mut Self, _| {
            drop(Cache::get_or_insert_with(cache, &keys[0], || {
                Cache::remove(cache, &keys[0]);
                Value::new()
            }));
        })];
        steps.extend(ticket_steps());
        steps
    }
}

fn step<C>(call: impl Fn(&mut C, &ManualClock) + 'static) -> Step<C> {
    Box::new(call)
}

fn insert<C: Tested>(key: u64, ttl_seconds: u32) -> Step<C> {
    step(move |cache: &mut C, _| {
        let (key, value) = (Key::new(key), Value::new());
        drop(cache.insert_with_ttl(key, value, ttl_seconds * SECOND));
    })
}

fn insert_many<C: Tested>(count: u64, ttl_seconds: u32) -> Step<C> {
    step(move |cache: &mut C, _| cache.insert_many_with_ttl(entries(count), ttl_seconds * SECOND))
}

/// Made while they are asked for, so that none is dropped in the caller.
fn entries(count: u64) -> impl Iterator<Item = (Key, Value)> {
    (0..count).map(|number| {
        run(Code::Closure);
        (Key::new(number % 6), Value::new())
    })
}

fn get_twelve<C: Tested>(cache: &mut C) {
    let keys = (0..12).map(|number| &keys()[number % 8]);
    cache.read_many(keys, |_, _| run(Code::Closure));
}

// ---- Tickets ----

/// A task, all of whose methods are callers' code.
struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        run(Code::Closure);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        run(Code::Closure);
    }
}

/// Returns the ticket to load or refresh a key, unless another one is out.
fn ticket_of(cache: &Shared, key: &Key) -> Option<LoadTicket<Key, Value>> {
    match cache.lookup(key, Duration::MAX) {
        Lookup::Hit(_) | Lookup::Loading(_) => None,
        Lookup::Miss(ticket) => Some(ticket),
        Lookup::Refresh(value, ticket) => {
            drop(value);
            Some(ticket)
        }
    }
}

/// Ends the ticket of a key, for which futures wait if it has no value.
fn with_ticket(cache: &Shared, key: &Key, end: impl Fn(LoadTicket<Key, Value>)) {
    let Some(ticket) = ticket_of(cache, key) else { return };
    let mut waits: [_; 3] = std::array::from_fn(|_| match cache.lookup(key, Duration::ZERO) {
        Lookup::Loading(load) => Some(load),
        _ => None,
    });
    for load in waits.iter_mut().flatten() {
        let waker = Waker::from(Arc::new(Task));
        let polled = Pin::new(load).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    let [first, ..] = &mut waits;
    drop(first.take());
    end(ticket);
    let waker = Waker::from(Arc::new(Task));
    for load in waits.iter_mut().flatten() {
        let polled = Pin::new(load).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_ready());
    }
}

fn ticket_steps() -> Vec<Step<Shared>> {
    type Ticket = LoadTicket<Key, Value>;
    let keys = keys();
    let mut steps = Vec::new();
    let endings: [fn(&Shared, Ticket); 6] = [
        |_, ticket| _ = ticket.store(Value::new(), SECOND),
        |_, ticket| _ = ticket.store(Value::new(), Duration::ZERO),
        |_, ticket| ticket.fail(),
        |_, ticket| drop(ticket),
        |cache, ticket| {
            drop(cache.remove(ticket.key()));
            let _ = ticket.store(Value::new(), SECOND);
        },
        |_, ticket| {
            run(Code::Closure);
            drop(ticket);
        },
    ];
    for end in endings {
        // Without a value, and with one.
        steps.extend([
            step(move |cache: &mut Shared, _| drop(cache.remove(&keys[5]))),
            step(move |cache: &mut Shared, _| {
                with_ticket(cache, &keys[5], |ticket| end(cache, ticket));
            }),
            insert(5, 1),
            step(move |cache: &mut Shared, _| {
                with_ticket(cache, &keys[5], |ticket| end(cache, ticket));
            }),
        ]);
    }
    steps.extend([
        // The look-up frees what is due first.
        step(move |cache: &mut Shared, clock| {
            clock.advance(2 * SECOND);
            drop(ticket_of(cache, &keys[5]));
        }),
        // More than there is room for, and so more than one of a key.
        step(move |cache: &mut Shared, _| {
            let tickets: Vec<_> = (0..7).map(|key| ticket_of(cache, &keys[key.min(5)])).collect();
            for ticket in tickets.into_iter().flatten() {
                let _ = ticket.store(Value::new(), SECOND);
            }
        }),
        // Keys that the caller owns.
        step(move |cache: &mut Shared, _| drop(cache.lookup_owned(Key::new(5), Duration::MAX))),
        step(move |cache: &mut Shared, _| drop(cache.lookup_owned(Key::new(6), Duration::MAX))),
        step(move |cache: &mut Shared, _| {
            let load = || Ok::<_, ()>((Value::new(), SECOND));
            drop(cache.get_or_load_owned(Key::new(7), load));
        }),
    ]);
    steps
}

// ---- All calls ----

/// One call each, in an order that meets every way for an entry to leave.
fn script<C: Tested>() -> Vec<Step<C>> {
    let keys = keys();
    let mut script: Vec<Step<C>> = vec![
        insert(0, 1),
        insert(1, 1),
        insert(2, 1),
        insert(3, 3),
        insert(3, 3),
        step(move |cache: &mut C, _| drop(cache.get(&keys[3]))),
        step(move |cache: &mut C, _| drop(cache.peek(&keys[3]))),
        step(move |cache: &mut C, _| _ = cache.read(&keys[3], |_| run(Code::Closure))),
        step(move |cache: &mut C, _| _ = cache.contains_key(&keys[3])),
        insert(4, 3),
        step(move |cache: &mut C, clock| {
            clock.advance(2 * SECOND);
            drop(cache.get(&keys[7]));
        }),
        insert(5, 3),
        insert(5, 0),
        step(move |cache: &mut C, _| {
            drop(cache.get_or_insert_with(&keys[6], || {
                run(Code::Closure);
                Value::new()
            }));
        }),
        step(move |cache: &mut C, _| drop(cache.get_or_insert_with(&keys[6], Value::new))),
        step(move |cache: &mut C, _| {
            drop(cache.get_or_load(&keys[7], || {
                run(Code::Closure);
                Ok::<_, ()>((Value::new(), Duration::ZERO))
            }));
        }),
        step(move |cache: &mut C, _| {
            drop(cache.try_get_or_insert_with(&keys[0], || {
                run(Code::Closure);
                Err(())
            }));
        }),
    ];
    script.extend(C::own_steps());
    script.extend([
        step(move |cache: &mut C, _| drop(cache.remove(&keys[3]))),
        step(move |cache: &mut C, _| drop(cache.get_and_set_ttl(&keys[6], SECOND))),
        step(move |cache: &mut C, _| drop(cache.get_and_set_ttl(&keys[6], Duration::ZERO))),
        insert(1, 1),
        insert(2, 1),
        step(move |cache: &mut C, _| {
            cache.set_ttl(&keys[1], Duration::ZERO);
            cache.expires_in(&keys[1]);
        }),
        step(move |cache: &mut C, _| _ = cache.update(&keys[2], |_| run(Code::Closure))),
        insert(0, 9),
        insert(1, 9),
        insert(2, 9),
        insert(3, 9),
        step(|cache: &mut C, _| {
            cache.retain(|key, _| {
                run(Code::Closure);
                key.0 != 1
            });
        }),
        step(|cache: &mut C, _| cache.for_each(|_, _| run(Code::Closure))),
        insert(4, 1),
        insert(5, 1),
        step(|cache: &mut C, clock| {
            clock.advance(2 * SECOND);
            cache.reap(usize::MAX);
        }),
        insert_many(9, 1),
        insert_many(3, 0),
        step(move |cache: &mut C, clock| {
            clock.advance(2 * SECOND);
            get_twelve(cache);
        }),
        insert_many(9, 9),
        step(|cache: &mut C, _| get_twelve(cache)),
        insert_many(2, 9),
        step(|cache: &mut C, clock| {
            clock.advance(10 * SECOND);
            cache.insert_many(entries(6));
        }),
        insert(6, 1),
        step(|cache: &mut C, _| cache.clear()),
        insert(0, 9),
        insert(1, 9),
        insert(2, 9),
    ]);
    script
}

/// Runs the script with panics at that position, and returns whether there were any.
fn panics_at<C: Tested>(
    position: u32,
    panics: u32,
    counts: fn(Code) -> bool,
    eviction: Eviction,
) -> bool {
    let clock = ManualClock::new();
    let mut cache = C::build(eviction, &clock);
    let injector = Injector::new(position, panics, counts);
    let guarded = |call: &mut dyn FnMut()| {
        let before = injector.left();
        match injected(call) {
            Err(first) => assert_eq!(first.number, before, "not the first panic"),
            Ok(()) => assert_eq!(injector.left(), before, "a panic was swallowed"),
        }
    };
    for call in script::<C>() {
        guarded(&mut || call(&mut cache, &clock));
        without_hook(|_| cache.check());
    }
    let mut cache = Some(cache);
    guarded(&mut || drop(cache.take()));
    let has_panicked = injector.left() < panics;
    drop(injector);
    assert_none_alive();
    has_panicked
}

fn at_every_position<C: Tested>(panics: u32, counts: fn(Code) -> bool, positions_min: u32) {
    for eviction in policies!(Eviction) {
        let mut positions = 0;
        while panics_at::<C>(positions, panics, counts, eviction) {
            positions += 1;
        }
        assert!(positions >= positions_min, "only {positions} under {eviction:?}");
    }
}

fn one_panic_at_every_position<C: Tested>() {
    at_every_position::<C>(1, |_| true, 150);
}

/// Only of what the cache runs last: of that, several may panic in one call.
fn several_panics_in_one_call_and_the_first_arrives<C: Tested>() {
    at_every_position::<C>(5, Code::runs_last, 60);
}

punctual_testing::test_both_caches! {
    one_panic_at_every_position
    several_panics_in_one_call_and_the_first_arrives
}
