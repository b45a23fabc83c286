//! Callers' code that calls the cache: listeners, `Drop` and loaders may; closures
//! that run under a lock may not, and are told so instead of waiting for
//! themselves.

#![cfg(not(any(punctual_loom, miri)))]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use punctual::{Builder, Cache, Compute, ManualClock, Reaper, Ttl};
use punctual_testing::instances::{Instance, Instances};
use punctual_testing::keys::Carrying;
use punctual_testing::panics::{Code, Key as Hooked, message_of, once, remove_hook, run};
use punctual_testing::watchdog::Watchdog;

const SECOND: Duration = Duration::from_secs(1);
const SHARDS: [usize; 2] = [1, 8];

// ---- Those that may: listeners, `Drop`, loaders ----

/// A handle that callers' code finds, and that is taken out at the end: a cache
/// that holds its own handle would live for ever.
type Handle = Arc<Mutex<Option<Cache<Key, Value>>>>;

/// Calls the cache when it is dropped, if it has a handle.
#[derive(Clone)]
struct Value {
    number: u64,
    handle: Option<Handle>,
}

impl Drop for Value {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            call_back(&handle, self.number);
        }
    }
}

type Key = Carrying<Value>;

fn value(number: u64, handle: &Handle) -> Value {
    Value { number, handle: Some(handle.clone()) }
}

fn key(number: u64, handle: &Handle) -> Key {
    Carrying(number, value(number, handle))
}

/// One that calls nobody.
fn quiet_value(number: u64) -> Value {
    Value { number, handle: None }
}

fn quiet_key(number: u64) -> Key {
    Carrying(number, quiet_value(number))
}

thread_local! {
    /// Callers' code within callers' code.
    static DEPTH: Cell<u64> = const { Cell::new(0) };
}

static CALLED_BACK: AtomicU64 = AtomicU64::new(0);

/// Calls the cache from a listener or a `Drop`, for the entry's own key and
/// others.
fn call_back(handle: &Handle, number: u64) {
    const DEPTH_MAX: u64 = 2;
    let depth = DEPTH.get();
    if depth == DEPTH_MAX {
        return;
    }
    let cache = handle.lock().unwrap().clone();
    if let Some(cache) = cache {
        CALLED_BACK.fetch_add(1, SeqCst);
        DEPTH.set(depth + 1);
        call_everything(&cache, handle, number);
        call_something(&cache, handle, number + 1);
        DEPTH.set(depth);
    }
}

fn call_everything(cache: &Cache<Key, Value>, handle: &Handle, number: u64) {
    call_something(cache, handle, number);
    cache.for_each(|key, value| assert_eq!(key.0, value.number));
    cache.retain(|key, _| key.0 % 16 != number % 16);
    cache.reap(5);
    if number % 8 == 0 {
        cache.clear();
    }
    assert!(cache.len() <= cache.capacity());
    let _ = cache.stats();
    let _ = cache.next_expiry();
}

/// All calls that are about a key.
fn call_something(cache: &Cache<Key, Value>, handle: &Handle, number: u64) {
    let number = number % 32;
    let new_key = || key(number, handle);
    let new_value = || value(number, handle);
    let known = quiet_key(number);
    cache.insert(new_key(), new_value());
    cache.insert(new_key(), new_value());
    cache.insert_with_ttl(new_key(), new_value(), Duration::ZERO);
    cache.insert_with_ttl(new_key(), new_value(), Duration::from_millis(1));
    drop(cache.get(&known));
    // The iterators may call the cache too.
    let count = if DEPTH.get() == 0 { 20 } else { 2 };
    cache.insert_many((0..count).map(|offset| {
        let number = (number + offset) % 32;
        let key = key(number, handle);
        drop(cache.insert(key.clone(), value(number, handle)));
        (key, quiet_value(number))
    }));
    cache.insert_many_with_ttl([(new_key(), new_value())], Duration::ZERO);
    let looked_at = std::iter::repeat_n(&known, 16).inspect(|known| drop(cache.get(*known)));
    cache.read_many(looked_at, |_, value| {
        assert!(value.is_none_or(|value| value.number == number));
    });
    drop(cache.peek(&known));
    cache.read(&known, |value| assert_eq!(value.number, number));
    cache.update(&known, |value| value.number = number);
    let _ = cache.contains_key(&known);
    let _ = cache.expires_in(&known);
    cache.set_ttl(&known, SECOND);
    drop(cache.get_and_set_ttl(&known, SECOND));
    if DEPTH.get() == 0 {
        // Each call has several more: it would be too many further down.
        decide_something(cache, handle, number);
    }
    drop(cache.remove(&known));
    // Loads within loads go from low keys to high ones: threads that waited for
    // each other would do so for ever, and the docs say so.
    let number = number + 100 * (1 + DEPTH.get());
    let known = quiet_key(number);
    let loaded = || value(number, handle);
    drop(cache.get_or_insert_with(&known, || {
        let number = number + 50;
        let other = quiet_key(number);
        cache.insert(other.clone(), quiet_value(number));
        drop(cache.get_or_insert_with(&other, || quiet_value(number)));
        loaded()
    }));
    drop(cache.try_get_or_insert_with(&known, || Err::<Value, _>("no value")));
    drop(cache.get_or_load(&known, || Ok::<_, ()>((loaded(), Duration::ZERO))));
    cache.set_ttl(&known, Duration::ZERO);
    drop(cache.get_or_load(&known, || Ok::<_, ()>((loaded(), Duration::ZERO))));
    drop(cache.get_or_load(&known, || Ok::<_, ()>((loaded(), Duration::from_nanos(1)))));
}

/// All calls that decide about a key under its lock.
fn decide_something(cache: &Cache<Key, Value>, handle: &Handle, number: u64) {
    let new_key = || key(number, handle);
    let new_value = || value(number, handle);
    let known = quiet_key(number);
    cache.set_ttl(&known, Ttl::Default);
    // Nothing of the caller's is dropped in the closures themselves.
    drop(cache.compute(new_key(), |_| Compute::Set(quiet_value(number), new_value())));
    drop(cache.insert_if_absent(new_key(), new_value()));
    let ttl = Ttl::After(Duration::from_millis(1));
    cache.compute(new_key(), |_| Compute::SetWithTtl(new_value(), ttl, ()));
    let zero = Ttl::After(Duration::ZERO);
    cache.compute(new_key(), |_| Compute::SetWithTtl(new_value(), zero, ()));
    drop(cache.insert_if_absent_with_ttl(new_key(), new_value(), Duration::ZERO));
    drop(cache.insert_if_absent(new_key(), new_value()));
    drop(cache.compute(new_key(), |_| Compute::Keep(new_value())));
    drop(cache.remove_if(&known, |value| value.number == number));
    drop(cache.insert_if_absent(new_key(), new_value()));
    drop(cache.remove_entry(&known));
    drop(cache.insert_if_absent(new_key(), new_value()));
    drop(cache.compute(new_key(), |_| Compute::Remove(new_value())));
    cache.for_each_entry(|entry| assert_eq!(entry.key().0, entry.value().number));
}

fn reentrant(builder: Builder<Key, Value>, shards: usize, listens: bool, is_ruled: bool) -> Handle {
    let handle = Handle::default();
    let told = handle.clone();
    let builder = builder.capacity(40).ttl(SECOND).shards(shards);
    let builder = if is_ruled {
        let builder = builder.ttl_by(|_, _| Ttl::Default).ttl_jitter(0.1).time_to_idle(SECOND);
        builder.weigher(|_, value| value.number % 16).max_weight(200)
    } else {
        builder
    };
    let builder = if listens {
        builder.on_removal(move |key, value, _| {
            assert_eq!(key.0, value.number);
            call_back(&told, key.0);
        })
    } else {
        builder
    };
    *handle.lock().unwrap() = Some(builder.build().unwrap());
    handle
}

#[test]
fn listeners_drops_and_loaders_may_call_the_cache() {
    let _watchdog = Watchdog::start();
    for shards in SHARDS {
        for (listens, is_ruled) in [(false, false), (false, true), (true, false), (true, true)] {
            let clock = ManualClock::new();
            let builder = Cache::builder().clock(clock.clone());
            let handle = reentrant(builder, shards, listens, is_ruled);
            let before = CALLED_BACK.load(SeqCst);
            let cache = handle.lock().unwrap().clone().unwrap();
            // Where room is made for weights, each call makes for many more.
            for number in (0..32).step_by(if is_ruled { 5 } else { 1 }) {
                call_everything(&cache, &handle, number);
                clock.advance(Duration::from_millis(100));
            }
            assert!(CALLED_BACK.load(SeqCst) - before > 1_000);
            // Those that are left must not find the handle.
            drop(handle.lock().unwrap().take());
            drop(cache);
        }
    }
}

#[test]
fn listeners_drops_and_loaders_may_call_the_cache_from_many_threads_and_the_reaper() {
    let _watchdog = Watchdog::start();
    for (shards, is_ruled) in SHARDS.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let builder = Cache::builder().reaper(Reaper::Thread);
        let handle = reentrant(builder, shards, true, is_ruled);
        let cache = handle.lock().unwrap().clone().unwrap();
        thread::scope(|scope| {
            for thread in 0..4 {
                let (handle, cache) = (&handle, &cache);
                scope.spawn(move || {
                    for number in thread * 8..thread * 8 + 8 {
                        call_everything(cache, handle, number);
                    }
                    for number in 0..200 {
                        let (key, value) = (key(number, handle), value(number, handle));
                        cache.insert_with_ttl(key, value, Duration::from_millis(5));
                    }
                });
            }
        });
        drop(handle.lock().unwrap().take());
        drop(cache);
    }
}

/// A cache whose handle lies in a value of another: the one goes with the other,
/// wherever that is.
#[test]
fn the_last_handle_goes_with_a_value() {
    let _watchdog = Watchdog::start();
    let instances = Instances::default();
    let inner = || {
        let cache: Cache<u64, Instance> = Cache::new(10);
        for key in 0..5 {
            cache.insert(key, instances.make());
        }
        cache
    };
    let outer: Cache<u64, Cache<u64, Instance>> = Cache::new(10);
    outer.insert(1, inner());
    drop(outer.remove(&1));
    assert_eq!(instances.dropped(), 5);
    outer.insert(1, inner());
    outer.clear();
    assert_eq!(instances.dropped(), 10);
    outer.insert(1, inner());
    outer.insert(1, inner());
    assert_eq!(instances.dropped(), 15);
    // In place, under the outer cache's lock.
    outer.update(&1, |cache| *cache = inner());
    assert_eq!(instances.dropped(), 20);
    drop(outer);
    assert_eq!(instances.dropped(), 25);
}

/// Thread-locals are dropped when most of what a thread has is gone already.
#[test]
fn a_handle_may_be_the_last_thing_that_a_thread_drops() {
    struct Farewell(Cache<u64, u64>);
    impl Drop for Farewell {
        fn drop(&mut self) {
            self.0.insert(2, 2);
            assert_eq!(self.0.get(&1), Some(1));
            assert_eq!(self.0.get_or_insert_with(&3, || self.0.get(&2).unwrap()), 2);
        }
    }
    thread_local! {
        static LOCAL: RefCell<Vec<Farewell>> = const { RefCell::new(Vec::new()) };
    }
    let _watchdog = Watchdog::start();
    let kept = Cache::new(10);
    kept.insert(1, 1);
    thread::spawn({
        let kept = kept.clone();
        move || {
            let own = Cache::new(10);
            own.insert(1, 1);
            LOCAL.with_borrow_mut(|local| local.extend([Farewell(own), Farewell(kept)]));
        }
    })
    .join()
    .unwrap();
    assert_eq!(kept.get(&3), Some(2));
}

// ---- Those that may not: closures under a lock ----

type Plain = Cache<u64, u64>;
type Call = (&'static str, fn(&Plain, u64));

/// Every call that takes a lock.
const CALLS: [Call; 37] = [
    ("insert", |cache, key| _ = cache.insert(key, 0)),
    ("insert_with_ttl", |cache, key| _ = cache.insert_with_ttl(key, 0, SECOND)),
    ("insert_with_ttl, zero", |cache, key| _ = cache.insert_with_ttl(key, 0, Duration::ZERO)),
    ("insert_many", |cache, key| cache.insert_many([(key, 0)])),
    ("insert_many_with_ttl", |cache, key| cache.insert_many_with_ttl([(key, 0); 20], SECOND)),
    ("get", |cache, key| _ = cache.get(&key)),
    ("read_many", |cache, key| cache.read_many(&[key], |_, _| ())),
    ("read_many, in chunks", |cache, key| cache.read_many(&[key; 20], |_, _| ())),
    ("read", |cache, key| _ = cache.read(&key, |_| ())),
    ("update", |cache, key| _ = cache.update(&key, |_| ())),
    ("peek", |cache, key| _ = cache.peek(&key)),
    ("contains_key", |cache, key| _ = cache.contains_key(&key)),
    ("remove", |cache, key| _ = cache.remove(&key)),
    ("get_or_insert_with", |cache, key| _ = cache.get_or_insert_with(&key, || 0)),
    ("try_get_or_insert_with", |cache, key| {
        _ = cache.try_get_or_insert_with(&key, || Ok::<_, ()>(0));
    }),
    ("get_or_load", |cache, key| _ = cache.get_or_load(&key, || Ok::<_, ()>((0, SECOND)))),
    ("expires_in", |cache, key| _ = cache.expires_in(&key)),
    ("set_ttl", |cache, key| _ = cache.set_ttl(&key, SECOND)),
    ("set_ttl, zero", |cache, key| _ = cache.set_ttl(&key, Duration::ZERO)),
    ("insert_if_absent", |cache, key| _ = cache.insert_if_absent(key, 0)),
    ("insert_if_absent_with_ttl", |cache, key| {
        _ = cache.insert_if_absent_with_ttl(key, 0, SECOND);
    }),
    ("compute", |cache, key| cache.compute(key, |_| Compute::Keep(()))),
    ("compute that sets", |cache, key| cache.compute(key, |_| Compute::Set(0, ()))),
    ("remove_if", |cache, key| _ = cache.remove_if(&key, |_| false)),
    ("remove_entry", |cache, key| _ = cache.remove_entry(&key)),
    ("lookup", |cache, key| drop(cache.lookup(&key, SECOND))),
    ("for_each_entry", |cache, _| cache.for_each_entry(|_| ())),
    ("due_len", |cache, _| _ = cache.due_len()),
    ("get_and_set_ttl", |cache, key| _ = cache.get_and_set_ttl(&key, SECOND)),
    ("retain", |cache, _| cache.retain(|_, _| true)),
    ("for_each", |cache, _| cache.for_each(|_, _| ())),
    ("clear", |cache, _| cache.clear()),
    ("len", |cache, _| _ = cache.len()),
    ("is_empty", |cache, _| _ = cache.is_empty()),
    ("stats", |cache, _| _ = cache.stats()),
    ("reap", |cache, _| _ = cache.reap(1)),
    ("next_expiry", |cache, _| _ = cache.next_expiry()),
];

type Closure = (&'static str, fn(&Plain, &mut dyn FnMut()));

/// Every call that runs a closure under a lock; key 1 is there.
const CLOSURES: [Closure; 11] = [
    ("read", |cache, call| _ = cache.read(&1, |_| call())),
    ("update", |cache, call| _ = cache.update(&1, |_| call())),
    ("read_many", |cache, call| cache.read_many(&[1], |_, _| call())),
    ("read_many, not there", |cache, call| cache.read_many(&[77], |_, _| call())),
    ("read_many, in chunks", |cache, call| cache.read_many(&[1; 20], |_, _| call())),
    ("read_many, in chunks, not there", |cache, call| cache.read_many(&[77; 20], |_, _| call())),
    ("for_each", |cache, call| cache.for_each(|_, _| call())),
    ("for_each_entry", |cache, call| cache.for_each_entry(|_| call())),
    ("compute", |cache, call| {
        cache.compute(1, |_| {
            call();
            Compute::Keep(())
        });
    }),
    ("remove_if", |cache, call| {
        cache.remove_if(&1, |_| {
            call();
            false
        });
    }),
    ("retain", |cache, call| {
        cache.retain(|_, _| {
            call();
            true
        });
    }),
];

fn plain(shards: usize) -> Plain {
    let cache = Cache::builder().capacity(100).shards(shards).build().unwrap();
    for key in 0..20 {
        cache.insert(key, key);
    }
    cache
}

/// Runs a test on caches of one shard and of several.
fn for_shards(test: impl Fn(&Plain)) {
    let _watchdog = Watchdog::start();
    SHARDS.map(plain).iter().for_each(test);
}

#[test]
fn a_closure_that_calls_its_cache_panics_and_says_so() {
    for_shards(|cache| {
        for (closure_name, closure) in CLOSURES {
            for (name, call) in CALLS {
                // The closure's own key, others of whatever shard, and none.
                for key in [1, 2, 3, 4, 5, 6, 7, 8, 9, 99] {
                    let text = message_of(|| closure(cache, &mut || call(cache, key)));
                    let text = text
                        .unwrap_or_else(|| panic!("`{closure_name}` let `{name}` pass, key {key}"));
                    assert!(
                        text.contains("punctual") && text.contains("from within a closure"),
                        "`{name}` in `{closure_name}`: {text}"
                    );
                }
                // Nothing has happened, and everything goes on.
                assert_eq!(cache.len(), 20, "`{name}` in `{closure_name}`");
                for key in 0..20 {
                    assert_eq!(cache.get(&key), Some(key));
                }
            }
        }
        for (_, call) in CALLS {
            for key in [1, 2, 99] {
                call(cache, key);
            }
        }
    });
}

/// The builder's rules that run under a lock: of the TTL where the value is known under it only, of
/// the weight where the value has been changed in place.
#[test]
fn a_rule_that_calls_its_cache_panics_and_names_it() {
    type Ruled = (&'static str, Code, fn(&Cache<u64, u64>));
    let ruled: [Ruled; 7] = [
        ("set_ttl", Code::Closure, |cache| _ = cache.set_ttl(&1, Ttl::Default)),
        ("get_and_set_ttl", Code::Closure, |cache| _ = cache.get_and_set_ttl(&1, Ttl::Default)),
        ("compute that sets", Code::Closure, |cache| cache.compute(1, |_| Compute::Set(1, ()))),
        ("compute that inserts", Code::Closure, |cache| {
            cache.compute(50, |_| Compute::SetWithTtl(1, Ttl::Default, ()));
        }),
        ("weigher, update", Code::Hash, |cache| _ = cache.update(&1, |value| *value += 1)),
        ("weigher, compute", Code::Hash, |cache| cache.compute(1, |_| Compute::Keep(()))),
        ("weigher, compute that sets", Code::Hash, |cache| {
            cache.compute(1, |_| Compute::Set(1, ()));
        }),
    ];
    let _watchdog = Watchdog::start();
    for shards in SHARDS {
        let cache: Cache<u64, u64> = Cache::builder()
            .capacity(100)
            .shards(shards)
            .reaper(Reaper::Manual)
            .name("sessions")
            .time_to_idle(60 * SECOND)
            // What is run in each of the two is told apart by that.
            .ttl_by(|_, _| {
                run(Code::Closure);
                Ttl::Default
            })
            .weigher(|_, _| {
                run(Code::Hash);
                1
            })
            .max_weight(1_000)
            .build()
            .unwrap();
        for key in 0..20 {
            cache.insert(key, key);
        }
        for (rule, code, ruled) in ruled {
            for (name, call) in CALLS {
                for key in [1, 2, 99] {
                    let meddler = cache.clone();
                    let has_called = once(code, move || call(&meddler, key));
                    let text = message_of(|| ruled(&cache));
                    remove_hook();
                    assert!(has_called.get(), "{rule}");
                    let text = text.unwrap_or_else(|| panic!("`{rule}` let `{name}` pass"));
                    let says = ["from within a closure", "`sessions`", "punctual: the cache"];
                    assert!(says.iter().all(|&said| text.contains(said)), "{rule}, {name}: {text}");
                }
                assert_eq!((cache.len(), cache.stats().weight), (20, 20), "`{name}` in `{rule}`");
                assert!((2..20).all(|key| cache.get(&key) == Some(key)));
            }
            ruled(&cache);
            cache.remove(&50);
            cache.insert(1, 1);
        }
    }
}

/// As above, from a closure that would rather not hear of it.
#[test]
fn a_closure_that_catches_the_panic_goes_on() {
    for_shards(|cache| {
        let mut caught = 0;
        cache.update(&1, |value| {
            for (_, call) in CALLS {
                caught += usize::from(message_of(|| call(cache, 1)).is_some());
            }
            *value = 7;
        });
        assert_eq!(caught, CALLS.len());
        assert_eq!(cache.get(&1), Some(7));
        let mut visited = 0;
        cache.for_each(|_, _| {
            visited += 1;
            assert!(message_of(|| cache.clear()).is_some());
        });
        assert_eq!(visited, 20);
    });
}

#[test]
fn a_closure_may_ask_what_takes_no_lock() {
    for_shards(|cache| {
        for (_, closure) in CLOSURES {
            closure(cache, &mut || {
                let other = cache.clone();
                assert_eq!(other.capacity(), cache.capacity());
                assert_eq!(other.footprint(), cache.footprint());
                assert!(format!("{other:?}").contains("Cache"));
            });
        }
    });
}

#[test]
fn a_closure_of_one_cache_may_call_others() {
    let _watchdog = Watchdog::start();
    for shards in SHARDS {
        let caches: [Plain; 4] = std::array::from_fn(|_| plain(shards));
        for (_, closure) in CLOSURES {
            for (_, call) in CALLS {
                closure(&caches[0], &mut || call(&caches[1], 1));
                assert_eq!(caches[0].len(), 20);
                caches[1].insert(1, 1);
            }
        }
        // Closures within closures, and a call of each of those outside.
        for cache in &caches {
            cache.insert(1, 1);
        }
        caches[0].read(&1, |_| {
            caches[1].update(&1, |_| {
                caches[2].for_each(|_, _| {
                    assert_eq!(caches[3].get(&1), Some(1));
                    for outer in &caches[..3] {
                        assert!(message_of(|| _ = outer.get(&1)).is_some());
                    }
                });
                // That one is free again.
                assert_eq!(caches[2].get(&1), Some(1));
            });
        });
        for cache in &caches {
            assert_eq!(cache.get(&1), Some(1));
        }
    }
}

/// Closures of so many caches within one another that nobody can mean it: either
/// it works, or it is a panic that says so.
#[test]
fn closures_of_many_caches_within_one_another() {
    fn nest(caches: &[Plain], inside: &mut dyn FnMut()) {
        match caches.split_first() {
            None => inside(),
            Some((cache, others)) => _ = cache.update(&1, |_| nest(others, inside)),
        }
    }
    let _watchdog = Watchdog::start();
    let caches: Vec<Plain> = (0..40).map(|_| plain(1)).collect();
    let free = plain(1);
    for depth in [1, 2, 7, 8, 9, 20, 40] {
        let mut is_inside = false;
        let nested = message_of(|| {
            nest(&caches[..depth], &mut || {
                is_inside = true;
                assert!(message_of(|| _ = caches[depth - 1].get(&1)).is_some());
                assert!(message_of(|| _ = caches[0].get(&1)).is_some());
            });
        });
        match nested {
            None => assert!(is_inside),
            Some(text) => {
                assert!(depth > 7 && text.contains("in one another"), "{depth}: {text}");
            }
        }
        // Nothing of it is left.
        for cache in caches.iter().chain([&free]) {
            assert_eq!(cache.get(&1), Some(1));
            cache.insert(1, 1);
        }
    }
}

/// Builds and drops caches under another one's lock.
#[test]
fn a_closure_may_build_and_drop_others() {
    let _watchdog = Watchdog::start();
    let cache = plain(1);
    let mut kept = Vec::new();
    cache.for_each(|_, _| {
        let built = plain(8);
        assert_eq!(built.get(&1), Some(1));
        kept.push(plain(1));
        drop(built);
    });
    cache.read(&1, |_| kept.clear());
    assert_eq!(cache.len(), 20);
}

/// The mark belongs to the thread: others wait instead.
#[test]
fn a_closure_keeps_no_other_thread_from_calling() {
    for_shards(|cache| {
        thread::scope(|scope| {
            cache.update(&1, |value| {
                let others: Vec<_> = CALLS
                    .iter()
                    .filter(|(name, _)| !["clear", "remove", "remove_entry"].contains(name))
                    .map(|&(_, call)| (call, cache.clone()))
                    .collect();
                for (call, cache) in others {
                    scope.spawn(move || call(&cache, 2));
                }
                *value = 8;
            });
        });
        assert_eq!(cache.get(&1), Some(8));
    });
}

/// A panic in a closure is the caller's, and unlocks.
#[test]
fn a_closure_that_panics_leaves_the_cache_as_it_was() {
    for_shards(|cache| {
        for (name, closure) in CLOSURES {
            let text = message_of(|| closure(cache, &mut || panic!("the closure's own")));
            assert_eq!(text.as_deref(), Some("the closure's own"), "{name}");
            for (_, call) in CALLS {
                call(cache, 1);
            }
            for key in 0..20 {
                cache.insert(key, key);
            }
            cache.remove(&99);
            assert_eq!(cache.len(), 20);
        }
    });
}

// ---- `Eq` and `Clone`, which may not either ----

/// Only in debug builds; in release builds such a call may wait for itself.
#[cfg(debug_assertions)]
#[test]
fn eq_and_clone_that_call_the_cache_are_caught() {
    type Tried = (&'static str, Code, fn(&Cache<Hooked, Hooked>, &Hooked));
    let tried: [Tried; 22] = [
        ("insert_if_absent", Code::Eq, |cache, _| {
            drop(cache.insert_if_absent(Hooked::new(1), Hooked::new(0)));
        }),
        ("compute", Code::Eq, |cache, _| cache.compute(Hooked::new(1), |_| Compute::Keep(()))),
        ("remove_if", Code::Eq, |cache, key| _ = cache.remove_if(key, |_| false)),
        ("remove_entry", Code::Eq, |cache, key| _ = cache.remove_entry(key)),
        ("lookup", Code::Clone, |cache, key| drop(cache.lookup(key, SECOND))),
        ("insert", Code::Eq, |cache, _| _ = cache.insert(Hooked::new(1), Hooked::new(0))),
        ("insert, zero", Code::Eq, |cache, _| {
            _ = cache.insert_with_ttl(Hooked::new(1), Hooked::new(0), Duration::ZERO);
        }),
        ("get", Code::Eq, |cache, key| _ = cache.get(key)),
        ("get", Code::Clone, |cache, key| _ = cache.get(key)),
        ("peek", Code::Eq, |cache, key| _ = cache.peek(key)),
        ("peek", Code::Clone, |cache, key| _ = cache.peek(key)),
        ("read", Code::Eq, |cache, key| _ = cache.read(key, |_| ())),
        ("update", Code::Eq, |cache, key| _ = cache.update(key, |_| ())),
        ("contains_key", Code::Eq, |cache, key| _ = cache.contains_key(key)),
        ("remove", Code::Eq, |cache, key| _ = cache.remove(key)),
        ("expires_in", Code::Eq, |cache, key| _ = cache.expires_in(key)),
        ("set_ttl", Code::Eq, |cache, key| _ = cache.set_ttl(key, SECOND)),
        ("get_and_set_ttl", Code::Eq, |cache, key| _ = cache.get_and_set_ttl(key, SECOND)),
        ("get_and_set_ttl", Code::Clone, |cache, key| _ = cache.get_and_set_ttl(key, SECOND)),
        ("get_or_insert_with", Code::Eq, |cache, key| {
            _ = cache.get_or_insert_with(key, || Hooked::new(0));
        }),
        ("get_or_insert_with", Code::Clone, |cache, key| {
            _ = cache.get_or_insert_with(key, || Hooked::new(0));
        }),
        ("get_or_load", Code::Eq, |cache, key| {
            _ = cache.get_or_load(key, || Ok::<_, ()>((Hooked::new(0), SECOND)));
        }),
    ];
    let _watchdog = Watchdog::start();
    for shards in SHARDS {
        let builder = Cache::builder().capacity(100).shards(shards).reaper(Reaper::Manual);
        let cache: Cache<Hooked, Hooked> = builder.build().unwrap();
        let key = Hooked::new(1);
        for (name, code, call) in tried {
            for other in 1..10 {
                cache.insert(Hooked::new(1), Hooked::new(1));
                let meddler = cache.clone();
                let has_called = once(code, move || _ = meddler.contains_key(&Hooked::new(other)));
                let text = message_of(|| call(&cache, &key)).unwrap_or_else(|| {
                    panic!("`{name}` let it pass");
                });
                assert!(text.contains("punctual"), "{name}: {text}");
                assert!(has_called.get());
                assert_eq!(cache.get(&key).map(|value| value.0), Some(1), "{name}");
            }
        }
    }
}

/// A `Clone` of what a loader has made runs with no lock held, and so does that of
/// its key.
#[test]
fn a_loader_s_value_is_cloned_outside() {
    let _watchdog = Watchdog::start();
    let cache: Cache<Hooked, Hooked> = Cache::new(10);
    let (meddler, mut has_called) = (cache.clone(), None);
    let loaded = cache.get_or_insert_with(&Hooked::new(1), || {
        let insert = move || _ = meddler.insert(Hooked::new(2), Hooked::new(2));
        has_called = Some(once(Code::Clone, insert));
        Hooked::new(1)
    });
    assert_eq!(loaded.0, 1);
    assert!(has_called.is_some_and(|has_called| has_called.get()));
    assert_eq!(cache.len(), 2);
}

/// `Eq` panics, and so key and value are dropped while the panic unwinds: not
/// under the lock.
#[test]
fn a_drop_after_a_panic_in_eq_may_call_the_cache() {
    let _watchdog = Watchdog::start();
    let cache: Cache<Hooked, Hooked> = Cache::new(10);
    cache.insert(Hooked::new(1), Hooked::new(1));
    for ttl in [Duration::ZERO, Duration::MAX] {
        let meddler = cache.clone();
        let has_called = Rc::new(Cell::new(None));
        let dropped = has_called.clone();
        let panicking = move || {
            let cache = meddler.clone();
            dropped.set(Some(once(Code::DropKey, move || _ = cache.len())));
            panic!("in `Eq`");
        };
        once(Code::Eq, panicking);
        let text = message_of(|| _ = cache.insert_with_ttl(Hooked::new(1), Hooked::new(2), ttl));
        assert_eq!(text.as_deref(), Some("in `Eq`"));
        assert!(has_called.take().is_some_and(|has_called| has_called.get()));
        assert_eq!(cache.get(&Hooked::new(1)).map(|value| value.0), Some(1));
    }
}
