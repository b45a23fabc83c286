//! Panics in every place where callers' code runs, at every position of a short
//! run: the cache stays whole, and no key or value is lost or dropped twice.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::Cache;
use crate::shard::eviction::Eviction;
use crate::time::clock::{Clock, ManualClock};

thread_local! {
    /// Calls of callers' code until the first panic, and how many panic then.
    static FUSE: Cell<Option<u32>> = const { Cell::new(None) };
    static PANICS: Cell<u32> = const { Cell::new(0) };
    /// Only drops and listeners panic: those may do so several times in a call.
    static ONLY_AFTERWARDS: Cell<bool> = const { Cell::new(false) };
    static NEXT_INSTANCE: Cell<u64> = const { Cell::new(0) };
    static ALIVE: RefCell<HashSet<u64>> = RefCell::new(HashSet::new());
}

/// What an injected panic carries: how many came before it.
#[derive(Debug, PartialEq)]
struct Injected(u32);

/// Callers' code runs here; it may panic.
fn callers_code(afterwards: bool) {
    if ONLY_AFTERWARDS.get() && !afterwards {
        return;
    }
    match FUSE.get() {
        Some(0) if PANICS.get() > 0 => {
            let number = PANICS.get();
            PANICS.set(number - 1);
            std::panic::panic_any(Injected(number));
        }
        Some(0) | None => {}
        Some(left) => FUSE.set(Some(left - 1)),
    }
}

/// Knows when it is born, and that it dies once.
struct Instance(u64);

impl Instance {
    fn new() -> Self {
        let number = NEXT_INSTANCE.get();
        NEXT_INSTANCE.set(number + 1);
        ALIVE.with_borrow_mut(|alive| assert!(alive.insert(number)));
        Self(number)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        ALIVE.with_borrow_mut(|alive| assert!(alive.remove(&self.0), "dropped twice"));
    }
}

struct Key(u32, #[expect(dead_code, reason = "for its drop")] Instance);

impl Key {
    fn new(key: u32) -> Self {
        Self(key, Instance::new())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        callers_code(false);
        self.0.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        callers_code(false);
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Clone for Key {
    fn clone(&self) -> Self {
        callers_code(false);
        Self::new(self.0)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        callers_code(true);
    }
}

struct Value(#[expect(dead_code, reason = "for its drop")] Instance);

impl Value {
    fn new() -> Self {
        Self(Instance::new())
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        callers_code(true);
    }
}

struct PanickyClock(ManualClock);

impl Clock for PanickyClock {
    fn now(&self) -> Duration {
        callers_code(false);
        self.0.now()
    }
}

type TestCache = Cache<Key, Value>;
type Step = Box<dyn Fn(&mut TestCache, &ManualClock)>;

const SECOND: Duration = Duration::from_secs(1);

/// Looks keys up that live as long as the run, so that none is dropped in the
/// caller while a panic unwinds: a second panic there would end the process.
fn keys() -> &'static [Key; 8] {
    thread_local! {
        static KEYS: &'static [Key; 8] =
            Box::leak(Box::new(std::array::from_fn(|key| Key(key as u32, Instance(u64::MAX)))));
    }
    KEYS.with(|keys| *keys)
}

/// Made while they are asked for, so that none is dropped in the caller.
fn entries(count: u32) -> impl Iterator<Item = (Key, Value)> {
    (0..count).map(|number| {
        callers_code(false);
        (Key::new(number % 6), Value::new())
    })
}

/// One call each, in an order that meets every way for an entry to leave.
fn script() -> Vec<Step> {
    fn step(call: impl Fn(&mut TestCache, &ManualClock) + 'static) -> Step {
        Box::new(call)
    }
    fn insert(key: u32, ttl_seconds: u32) -> Step {
        step(move |cache, _| {
            let (key, value) = (Key::new(key), Value::new());
            cache.insert_with_ttl(key, value, ttl_seconds * SECOND);
        })
    }
    fn insert_many(count: u32, ttl_seconds: u32) -> Step {
        step(move |cache, _| {
            cache.insert_many_with_ttl(entries(count), ttl_seconds * SECOND);
        })
    }
    let keys = keys();
    vec![
        insert(0, 1),
        insert(1, 1),
        insert(2, 1),
        insert(3, 3),
        insert(3, 3),
        step(move |cache, _| assert!(cache.get(&keys[3]).is_none_or(|_| true))),
        insert(4, 3),
        step(move |cache, clock| {
            clock.advance(2 * SECOND);
            let _ = cache.get(&keys[7]);
        }),
        insert(5, 3),
        insert(5, 0),
        step(move |cache, _| {
            let _ = cache.get_or_insert_with(&keys[6], || {
                callers_code(false);
                Value::new()
            });
        }),
        step(move |cache, _| {
            let _ = cache.get_or_load(&keys[7], || {
                callers_code(false);
                Ok::<_, ()>((Value::new(), Duration::ZERO))
            });
        }),
        step(move |cache, _| {
            let _ = cache.try_get_or_insert_with(&keys[0], || {
                callers_code(false);
                Err::<Value, ()>(())
            });
        }),
        step(move |cache, _| drop(cache.remove(&keys[3]))),
        step(move |cache, _| {
            let _ = cache.get_and_set_ttl(&keys[6], SECOND);
        }),
        step(move |cache, _| {
            let _ = cache.get_and_set_ttl(&keys[6], Duration::ZERO);
        }),
        insert(1, 1),
        insert(2, 1),
        step(move |cache, _| {
            cache.set_ttl(&keys[1], Duration::ZERO);
            let _ = cache.expires_in(&keys[1]);
        }),
        step(move |cache, _| {
            let _ = cache.update(&keys[2], |_| callers_code(false));
        }),
        insert(0, 9),
        insert(1, 9),
        insert(2, 9),
        insert(3, 9),
        step(|cache, _| {
            cache.retain(|key, _| {
                callers_code(false);
                key.0 != 1
            });
        }),
        step(|cache, _| cache.for_each(|_, _| callers_code(false))),
        insert(4, 1),
        insert(5, 1),
        step(|cache, clock| {
            clock.advance(2 * SECOND);
            cache.reap(usize::MAX);
        }),
        insert_many(9, 1),
        insert_many(3, 0),
        step(move |cache, clock| {
            clock.advance(2 * SECOND);
            let keys = (0..12).map(|number| &keys[number % 8]);
            cache.read_many(keys, |_, _| callers_code(false));
        }),
        insert_many(9, 9),
        step(move |cache, _| {
            let keys = (0..12).map(|number| &keys[number % 8]);
            cache.read_many(keys, |_, _| callers_code(false));
        }),
        insert_many(2, 9),
        step(|cache, clock| {
            clock.advance(10 * SECOND);
            cache.insert_many(entries(6));
        }),
        insert(6, 1),
        step(|cache, _| cache.clear()),
        insert(0, 9),
        insert(1, 9),
        insert(2, 9),
    ]
}

/// Runs the script with a fuse of that length; whether it burned down.
fn run(fuse: u32, panics: u32, only_afterwards: bool, eviction: Eviction) -> bool {
    let clock = ManualClock::new();
    let mut cache: TestCache = Cache::builder()
        .capacity(4)
        .ttl(SECOND)
        .eviction(eviction)
        .clock(PanickyClock(clock.clone()))
        .on_removal(|_, _, _| callers_code(true))
        .build()
        .unwrap();
    ONLY_AFTERWARDS.set(only_afterwards);
    FUSE.set(Some(fuse));
    PANICS.set(panics);
    let guarded = |call: &mut dyn FnMut()| {
        let before = PANICS.get();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
            match panic.downcast_ref::<Injected>() {
                Some(first) => assert_eq!(*first, Injected(before), "not the first panic"),
                None => std::panic::resume_unwind(panic),
            }
        } else {
            assert_eq!(PANICS.get(), before, "a panic was swallowed");
        }
    };
    for call in script() {
        guarded(&mut || call(&mut cache, &clock));
        let fuse = FUSE.take();
        cache.check();
        assert!(cache.iter().count() <= 4);
        FUSE.set(fuse);
    }
    let mut cache = Some(cache);
    guarded(&mut || drop(cache.take()));
    let burned_down = PANICS.get() < panics;
    FUSE.set(None);
    ALIVE.with_borrow(|alive| assert!(alive.is_empty(), "leaked: {alive:?}"));
    burned_down
}

fn at_every_position(panics: u32, only_afterwards: bool) {
    let silent = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload().is::<Injected>() {
            silent(info);
        }
    }));
    for eviction in [Eviction::Adaptive, Eviction::S3Fifo, Eviction::Fifo] {
        let mut positions = 0;
        while run(positions, panics, only_afterwards, eviction) {
            positions += 1;
        }
        assert!(positions >= if only_afterwards { 60 } else { 150 }, "only {positions}");
    }
}

#[test]
fn one_panic_at_every_position() {
    at_every_position(1, false);
}

#[test]
fn several_panics_in_one_call_and_the_first_arrives() {
    at_every_position(5, true);
}
