//! Panics in every place where callers' code runs, at every position of a short
//! run: both caches stay whole, and no key or value is lost or dropped twice.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use punctual_testing::panics::{
    Code, Injector, Key, Value, assert_none_alive, injected, keys, run, without_hook,
};
use punctual_testing::policies;

use super::FirstPanic;
use crate::fuzz::subject::Subject;
use crate::{Cache, Clock, Compute, Eviction, LoadTicket, Lookup, ManualClock, Ttl, unsync};

const SECOND: Duration = Duration::from_secs(1);
const CAPACITY: usize = 4;

punctual_testing::clock_fn!(Clock);

type Step<C> = Box<dyn Fn(&mut C, &ManualClock)>;

trait Tested: Subject<Key, Value> + 'static {
    /// With closures that give TTLs and weights, if there are `rules`.
    fn build(eviction: Eviction, clock: &ManualClock, rules: bool) -> Self;

    /// Compares all structures with one another.
    fn check(&self);

    /// Steps of this kind of cache alone.
    fn own_steps() -> Vec<Step<Self>>;
}

macro_rules! build {
    ($eviction:expr, $clock:expr, $rules:expr) => {{
        let clock = $clock.clone();
        let builder = Self::builder().capacity(CAPACITY).ttl(SECOND).eviction($eviction);
        let builder = builder.on_removal(|_, _, _| run(Code::Listener));
        let clock = ClockFn(move || {
            run(Code::Closure);
            clock.now()
        });
        let builder = builder.clock(clock);
        let builder = if $rules {
            builder
                .ttl_by(ttl_by)
                .ttl_jitter(0.1)
                .time_to_idle(5 * SECOND)
                .weigher(weigh)
                .max_weight(8)
        } else {
            builder
        };
        builder.build().unwrap()
    }};
}

fn ttl_by(key: &Key, _: &Value) -> Ttl {
    run(Code::Closure);
    if key.0 == 7 { Ttl::After(Duration::ZERO) } else { Ttl::Default }
}

thread_local! {
    /// What the next values weigh that are weighed.
    static WEIGHT: Cell<u64> = const { Cell::new(1) };
}

fn weigh(_: &Key, _: &Value) -> u64 {
    run(Code::Closure);
    WEIGHT.get()
}

type Unsync = unsync::Cache<Key, Value>;
type Shared = Cache<Key, Value>;

impl Tested for Unsync {
    fn build(eviction: Eviction, clock: &ManualClock, rules: bool) -> Self {
        build!(eviction, clock, rules)
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
    fn build(eviction: Eviction, clock: &ManualClock, rules: bool) -> Self {
        build!(eviction, clock, rules)
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
        // The lookup frees what is due first.
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

// ---- Decisions ----

type Decision = Compute<Value, Value>;

fn compute<C: Tested>(key: u64, decide: fn(Option<&mut Value>) -> Decision) -> Step<C> {
    step(move |cache: &mut C, _| {
        drop(cache.compute(Key::new(key), |live| {
            run(Code::Closure);
            let decision = decide(live);
            if !matches!(decision, Compute::Keep(_)) {
                return decision;
            }
            // What it returns is dropped before, so that not several panic in the closure itself.
            drop(decision);
            run(Code::Closure);
            Compute::Keep(Value::new())
        }));
    })
}

/// Drops what a call has given back, one after the other: a second panic in one and the same `drop`
/// would end the process.
fn drop_both(entry: Option<(Key, Value)>) {
    let mut panics = FirstPanic::default();
    if let Some((key, value)) = entry {
        panics.drop(key);
        panics.drop(value);
    }
    panics.resume_or(());
}

/// Changes the value in place.
fn change<C: Tested>(key: u64) -> Step<C> {
    step(move |cache: &mut C, _| {
        cache.update(&keys()[key as usize], |value| {
            run(Code::Closure);
            *value = Value::new();
            run(Code::Closure);
        });
    })
}

/// As `step`s of this weight.
fn weighing<C: Tested>(weight: u64, inner: Step<C>) -> Step<C> {
    step(move |cache: &mut C, clock| {
        /// Resets the weight, also if the step panics.
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                WEIGHT.set(1);
            }
        }
        let _reset = Reset;
        WEIGHT.set(weight);
        inner(cache, clock);
    })
}

fn deciding_steps<C: Tested>() -> Vec<Step<C>> {
    let keys = keys();
    let keep: fn(Option<&mut Value>) -> Decision = |_| Compute::Keep(Value::new());
    let set: fn(Option<&mut Value>) -> Decision = |_| Compute::Set(Value::new(), Value::new());
    let absent = |key| {
        step(move |cache: &mut C, _| {
            drop_both(cache.insert_if_absent(Key::new(key), Value::new()).err());
        })
    };
    let mut steps = vec![
        compute(0, keep),
        compute(0, set),
        compute(0, keep),
        compute(0, |live| {
            if let Some(value) = live {
                *value = Value::new();
            }
            Compute::Keep(Value::new())
        }),
        compute(0, set),
        compute(1, |_| Compute::SetWithTtl(Value::new(), Ttl::After(SECOND), Value::new())),
        compute(1, |_| Compute::SetWithTtl(Value::new(), Ttl::After(Duration::ZERO), Value::new())),
        // Where there are rules, this one gets a TTL of zero.
        compute(7, set),
        absent(1),
        absent(1),
        absent(7),
        step(move |cache: &mut C, _| {
            drop(cache.remove_if(&keys[1], |_| {
                run(Code::Closure);
                false
            }));
        }),
        step(move |cache: &mut C, _| {
            drop(cache.remove_if(&keys[1], |_| {
                run(Code::Closure);
                true
            }));
        }),
        absent(2),
        step(move |cache: &mut C, _| drop_both(cache.remove_entry(&keys[2]))),
        compute(0, |_| Compute::Remove(Value::new())),
        compute(0, |_| Compute::Remove(Value::new())),
        // What is due is replaced, or removed.
        absent(3),
        step(|_: &mut C, clock| clock.advance(2 * SECOND)),
        absent(3),
        step(|_: &mut C, clock| clock.advance(2 * SECOND)),
        compute(3, set),
        step(|_: &mut C, clock| clock.advance(2 * SECOND)),
        step(move |cache: &mut C, _| drop_both(cache.remove_entry(&keys[3]))),
        step(move |cache: &mut C, _| {
            cache.for_each_entry(|entry| {
                assert!(entry.key().0 < 8);
                run(Code::Closure);
            });
        }),
    ];
    // Others are evicted for what comes, and for what grows; what is too heavy leaves.
    for weight in [7, 9] {
        steps.extend((0..4).map(|key| insert(key, 1)));
        steps.push(weighing(weight, change(3)));
        steps.extend((0..4).map(|key| insert(key, 1)));
        steps.push(weighing(weight, compute(2, keep)));
        steps.extend((0..4).map(|key| insert(key, 1)));
        steps.push(weighing(weight, compute(1, set)));
        steps.extend((0..4).map(|key| insert(key, 1)));
        steps.push(weighing(weight, insert(0, 1)));
        steps.extend((0..4).map(|key| insert(key, 1)));
        steps.push(weighing(weight, absent(4)));
        steps.extend((0..4).map(|key| insert(key, 1)));
        steps.push(weighing(weight, insert_many(3, 1)));
        steps.push(weighing(
            weight,
            step(move |cache: &mut C, _| drop(cache.get_or_insert_with(&keys[6], Value::new))),
        ));
    }
    steps.push(step(move |cache: &mut C, _| _ = cache.set_ttl(&keys[0], Ttl::Default)));
    steps.push(step(move |cache: &mut C, _| {
        drop(cache.get_and_set_ttl(&keys[1], Ttl::Default));
    }));
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

/// What is run with panics at each position.
struct Trial<C> {
    script: fn() -> Vec<Step<C>>,
    has_rules: bool,
}

/// Runs a script with panics at that position, and returns whether there were any.
fn panics_at<C: Tested>(
    trial: &Trial<C>,
    position: u32,
    panics: u32,
    counts: fn(Code) -> bool,
    eviction: Eviction,
) -> bool {
    let clock = ManualClock::new();
    let mut cache = C::build(eviction, &clock, trial.has_rules);
    let injector = Injector::new(position, panics, counts);
    let guarded = |call: &mut dyn FnMut()| {
        let before = injector.left();
        match injected(call) {
            Err(first) => assert_eq!(first.number, before, "not the first panic"),
            Ok(()) => assert_eq!(injector.left(), before, "a panic was swallowed"),
        }
    };
    for call in (trial.script)() {
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

fn at_every_position<C: Tested>(
    trial: &Trial<C>,
    panics: u32,
    counts: fn(Code) -> bool,
    positions_min: u32,
) {
    for eviction in policies!(Eviction) {
        let mut positions = 0;
        while panics_at::<C>(trial, positions, panics, counts, eviction) {
            positions += 1;
        }
        assert!(positions >= positions_min, "only {positions} under {eviction:?}");
    }
}

fn one_panic_at_every_position<C: Tested>() {
    at_every_position(&Trial::<C> { script, has_rules: false }, 1, |_| true, 150);
}

/// Only of what the cache runs last: of that, several may panic in one call.
fn several_panics_in_one_call_and_the_first_arrives<C: Tested>() {
    at_every_position(&Trial::<C> { script, has_rules: false }, 5, Code::runs_last, 60);
}

/// The same calls where TTLs and weights are asked for.
fn one_panic_at_every_position_under_rules<C: Tested>() {
    at_every_position(&Trial::<C> { script, has_rules: true }, 1, |_| true, 150);
}

fn one_panic_at_every_position_of_decisions<C: Tested>() {
    for has_rules in [false, true] {
        let trial = Trial::<C> { script: deciding_steps, has_rules };
        at_every_position(&trial, 1, |_| true, 150);
    }
}

fn several_panics_in_one_decision_and_the_first_arrives<C: Tested>() {
    for has_rules in [false, true] {
        let trial = Trial::<C> { script: deciding_steps, has_rules };
        at_every_position(&trial, 5, Code::runs_last, 60);
    }
}

/// `Eq` runs again after listeners and `Drop`s have, where room is made step by step.
fn a_panic_in_eq_after_others_is_not_the_first<C: Tested>() {
    let trial = Trial::<C> { script: deciding_steps, has_rules: true };
    at_every_position(&trial, 3, |code| code.runs_last() || code == Code::Eq, 60);
}

punctual_testing::test_both_caches! {
    one_panic_at_every_position_under_rules
    one_panic_at_every_position_of_decisions
    several_panics_in_one_decision_and_the_first_arrives
    a_panic_in_eq_after_others_is_not_the_first
    one_panic_at_every_position
    several_panics_in_one_call_and_the_first_arrives
}
