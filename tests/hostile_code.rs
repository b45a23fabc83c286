//! Callers' code that does not behave: a `Drop` that starts threads, a listener
//! that blocks, loaders that never return, a cache that goes while its thread
//! panics. Who waits for it, and who does not?
//!
//! What may call the cache and what may not is in `reentry.rs`, who loads and who
//! waits in `loaders.rs`, panics at every position within the crate.

#![cfg(not(any(punctual_loom, miri)))]

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use punctual::{Cache, ManualClock, Reaper, RemovalCause, unsync};
use punctual_testing::instances::{Instance, Instances};
use punctual_testing::panics::{catch, message_of, panic_silently};
use punctual_testing::threads::in_threads;
use punctual_testing::watchdog::{Watchdog, wait_until};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

// ---- `Drop` ----

/// Where a value that starts a thread finds its cache; emptied at the end.
type Handle = Arc<Mutex<Option<Cache<u64, Spawning>>>>;

/// When dropped, allocates, and has a thread call the cache, for which it waits.
#[derive(Clone)]
struct Spawning {
    handle: Handle,
    /// Dropped last.
    _instance: Instance,
}

impl Drop for Spawning {
    fn drop(&mut self) {
        let handle = self.handle.clone();
        let thread = thread::spawn(move || {
            let cache = handle.lock().unwrap().clone();
            if let Some(cache) = cache {
                // All keys, so that the shard that the value has left is among them.
                let found = (0..20).filter(|key| cache.contains_key(key)).count();
                assert!(found <= cache.capacity());
                cache.remove(&u64::MAX);
                cache.reap(1);
            }
        });
        // Then the thread has let go of its handle of the cache.
        thread.join().expect("the thread ends");
    }
}

/// A `Drop` that waits for a thread which calls the cache: no lock is held, in
/// whatever way the value leaves.
#[test]
fn a_value_may_wait_for_a_thread_that_calls_the_cache() {
    let _watchdog = Watchdog::start();
    for reaper in [Reaper::Manual, Reaper::Thread] {
        let handle = Handle::default();
        let values = Instances::default();
        let value = || Spawning { handle: handle.clone(), _instance: values.make() };
        let cache = Cache::builder().capacity(10).shards(1).reaper(reaper).build().unwrap();
        *handle.lock().unwrap() = Some(cache.clone());
        for key in 0..15 {
            cache.insert(key, value());
        }
        drop(cache.insert(14, value()));
        cache.insert_with_ttl(16, value(), Duration::ZERO);
        drop(cache.remove(&14));
        drop(cache.get(&13));
        cache.set_ttl(&12, Duration::ZERO);
        cache.retain(|key, _| key % 2 == 0);
        cache.insert_with_ttl(17, value(), 10 * MILLISECOND);
        wait_until("it is freed", || cache.reap(1) < 1 && !cache.contains_key(&17));
        cache.clear();
        // The reaper may still be at one that it has taken out.
        wait_until("all are dropped", || values.live() == 0);
        assert!(cache.is_empty());
        for key in 0..5 {
            cache.insert(key, value());
        }
        handle.lock().unwrap().take();
        assert_eq!(values.live(), 5);
        drop(cache);
        assert_eq!(values.live(), 0, "dropped with the last handle");
    }
}

/// A cache that goes because its thread panics, and whose values panic as well
/// when dropped: the first panic arrives, nothing aborts, every value is dropped.
#[test]
fn dropping_a_cache_during_unwind_is_fine() {
    struct Panicky(#[expect(dead_code, reason = "for its drop")] Instance);
    impl Drop for Panicky {
        fn drop(&mut self) {
            panic_silently("a value's");
        }
    }
    for is_unsync in [false, true] {
        let values = Instances::default();
        let text = message_of(|| {
            let shared: Cache<u64, Panicky> = Cache::new(100);
            let mut single: unsync::Cache<u64, Panicky> = unsync::Cache::new(100);
            for key in 0..50 {
                if is_unsync {
                    single.insert(key, Panicky(values.make()));
                } else {
                    shared.insert(key, Panicky(values.make()));
                }
            }
            panic_silently("the thread's");
        });
        assert_eq!(text.as_deref(), Some("the thread's"));
        assert_eq!(values.dropped(), 50);
    }
}

// ---- Listeners ----

/// A listener that blocks keeps the call waiting that it was called by, and
/// nobody else: not on its shard, not for its key.
#[test]
fn a_listener_that_blocks_keeps_its_own_caller_waiting_and_nobody_else() {
    let _watchdog = Watchdog::start();
    let (blocked, is_blocked) = mpsc::channel();
    let (release, is_released) = mpsc::channel::<()>();
    let is_released = Mutex::new(is_released);
    let clock = ManualClock::new();
    let listener = move |_: &u64, value: &u64, cause: RemovalCause| {
        if *value == 666 {
            blocked.send(cause).unwrap();
            let _ = is_released.lock().unwrap().recv();
        }
    };
    let builder = Cache::builder().capacity(10).shards(1).clock(clock.clone());
    let cache: Cache<u64, u64> = builder.on_removal(listener).build().unwrap();
    type Call = fn(&Cache<u64, u64>);
    let evict_key_1: Call = |cache| {
        for key in (2..).take_while(|_| cache.contains_key(&1)) {
            cache.insert(key, 2);
        }
    };
    let calls: [(Call, RemovalCause); 5] = [
        (|cache| _ = cache.insert(1, 2), RemovalCause::Replaced),
        (|cache| _ = cache.remove(&1), RemovalCause::Removed),
        (|cache| cache.clear(), RemovalCause::Cleared),
        (|cache| _ = cache.set_ttl(&1, Duration::ZERO), RemovalCause::Expired),
        (evict_key_1, RemovalCause::Evicted),
    ];
    for (call, cause) in calls {
        cache.clear();
        cache.insert(1, 666);
        thread::scope(|scope| {
            let waits = scope.spawn(|| call(&cache));
            assert_eq!(is_blocked.recv().unwrap(), cause);
            // The same shard, the same key, every kind of call.
            cache.insert(1, 7);
            assert_eq!(cache.get(&1), Some(7));
            assert_eq!(cache.update(&1, |value| *value += 1), Some(()));
            // Not among the keys above, however many it takes to evict one.
            let [loaded, inserted] = [u64::MAX, u64::MAX - 1];
            assert_eq!(cache.get_or_insert_with(&loaded, || 40), 40);
            cache.insert_with_ttl(inserted, 41, SECOND);
            clock.advance(2 * SECOND);
            cache.reap(usize::MAX);
            cache.retain(|_, _| true);
            cache.for_each(|_, _| ());
            assert_eq!(cache.remove(&1), Some(8));
            cache.clear();
            assert!(!waits.is_finished(), "{cause:?}: it waits for its listener");
            release.send(()).unwrap();
        });
    }
}

/// The last handle to a cache goes in a listener of another one, whatever that one
/// is told of: with all its entries, before the call returns.
#[test]
fn the_last_handle_may_go_in_a_listener() {
    let _watchdog = Watchdog::start();
    let values = Instances::default();
    let held: Arc<Mutex<Option<Cache<u64, Instance>>>> = Arc::default();
    let taken = held.clone();
    let listener = move |_: &u64, _: &u64, _| {
        let last = taken.lock().unwrap().take();
        drop(last);
    };
    let cache: Cache<u64, u64> =
        Cache::builder().capacity(1).reaper(Reaper::Manual).on_removal(listener).build().unwrap();
    type Call = fn(&Cache<u64, u64>);
    let calls: [(&str, Call); 7] = [
        ("replaced", |cache| _ = cache.insert(1, 2)),
        ("evicted", |cache| _ = cache.insert(2, 2)),
        ("removed", |cache| _ = cache.remove(&1)),
        ("retained", |cache| cache.retain(|_, _| false)),
        ("cleared", |cache| cache.clear()),
        ("expired", |cache| _ = cache.set_ttl(&1, Duration::ZERO)),
        ("loaded", |cache| _ = cache.get_or_insert_with(&2, || 2)),
    ];
    for (number, (name, call)) in calls.into_iter().enumerate() {
        cache.clear();
        cache.insert(1, 1);
        let last: Cache<u64, Instance> = Cache::new(10);
        for key in 0..5 {
            last.insert_with_ttl(key, values.make(), HOUR);
        }
        *held.lock().unwrap() = Some(last);
        call(&cache);
        assert_eq!(values.dropped(), 5 * (number + 1), "{name}");
    }
}

// ---- Loaders ----

/// Loaders that do not return, more of them than a shard keeps track of: who asks
/// for those keys through loaders waits, everybody else goes on. The keys
/// themselves can be set, read and removed; the cache fills up and evicts.
#[test]
fn loaders_that_never_return_keep_only_those_waiting_who_ask_for_the_same() {
    const LOADERS: u64 = 12;
    let _watchdog = Watchdog::start();
    let cache: Cache<u64, u64> =
        Cache::builder().capacity(20).shards(1).reaper(Reaper::Manual).build().unwrap();
    let (started, is_started) = mpsc::channel();
    let end = Arc::new(std::sync::Barrier::new(LOADERS as usize + 1));
    thread::scope(|scope| {
        for key in 0..LOADERS {
            let (cache, started, end) = (&cache, started.clone(), end.clone());
            scope.spawn(move || {
                cache.get_or_insert_with(&key, || {
                    started.send(()).unwrap();
                    end.wait();
                    key
                })
            });
            // One after the other, so that it is the last ones that the table
            // has no room for.
            is_started.recv().unwrap();
        }
        // It cannot end before the load does: nobody sets its key.
        let waits = scope.spawn(|| cache.get_or_insert_with(&0, || 1_000));

        assert_eq!(cache.get(&1), None);
        assert_eq!(cache.len(), 0, "a pending load takes no entry's place");
        for key in 100..200 {
            assert_eq!(cache.get_or_insert_with(&key, || key), key);
            cache.insert(key + 1_000, key);
        }
        assert_eq!(cache.len(), 20);
        cache.insert(1, 500);
        assert_eq!(cache.peek(&1), Some(500));
        assert_eq!(cache.get_or_insert_with(&1, || unreachable!("it is there")), 500);
        assert_eq!(cache.remove(&1), Some(500));
        cache.clear();
        assert!(!waits.is_finished(), "it waits for the load, whatever happens meanwhile");
        end.wait();
        // Clearing overruled the load: so it loads itself.
        assert_eq!(waits.join().unwrap(), 1_000);
    });
    assert_eq!(cache.peek(&0), Some(1_000));
    assert_eq!(cache.peek(&1), None, "what the load of a key removed meanwhile brought");
}

/// One load of a shard ends while another is under way, whose key is then set or
/// removed: what that one brings is out of date all the same.
#[test]
fn a_load_is_overruled_though_another_has_ended() {
    let cache: Cache<u64, u64> =
        Cache::builder().capacity(10).shards(1).reaper(Reaper::Manual).build().unwrap();
    let load = |change: &dyn Fn()| {
        cache.get_or_insert_with(&1, || {
            assert_eq!(cache.get_or_insert_with(&2, || 2), 2);
            change();
            10
        })
    };
    assert_eq!(load(&|| _ = cache.remove(&1)), 10);
    assert_eq!(cache.peek(&1), None);
    cache.clear();
    assert_eq!(load(&|| _ = cache.insert(1, 5)), 10);
    assert_eq!(cache.peek(&1), Some(5));
}

/// A load that never ends holds a handle: the other handles may go, and their
/// threads do not wait. What its loader brings in the end goes to its caller.
#[test]
fn handles_may_go_while_a_loader_runs() {
    let _watchdog = Watchdog::start();
    let values = Instances::default();
    let cache: Cache<u64, Instance> = Cache::new(10);
    cache.insert_with_ttl(1, values.make(), HOUR);
    let (started, is_started) = mpsc::channel();
    let (release, is_released) = mpsc::channel::<()>();
    let loads = thread::spawn({
        let (cache, values) = (cache.clone(), values.clone());
        move || {
            let loaded = cache.get_or_insert_with(&2, || {
                started.send(()).unwrap();
                let _ = is_released.recv();
                values.make()
            });
            drop(cache);
            loaded
        }
    });
    is_started.recv().unwrap();
    drop(cache);
    assert_eq!(values.dropped(), 0, "the loader's handle keeps it");
    drop(release);
    let loaded = loads.join().unwrap();
    assert_eq!(values.dropped(), 2, "what was in the cache has gone with it");
    drop(loaded);
    assert_eq!(values.dropped(), 3);
}

/// A thread that waits for a load and is killed by a panic of its own, in the
/// loader that it runs in its turn, a whole queue of them: the last one is served.
#[test]
fn waiting_threads_that_panic_in_turn_lose_no_wakeup() {
    const THREADS: u64 = 16;
    let _watchdog = Watchdog::start();
    let cache: Cache<u64, u64> =
        Cache::builder().capacity(10).reaper(Reaper::Manual).build().unwrap();
    let turns = AtomicU64::new(0);
    let load = || {
        // Not before all others can be waiting.
        wait_until("all ask", || cache.stats().misses >= THREADS);
        if turns.fetch_add(1, SeqCst) + 1 < THREADS {
            panic_silently("dies");
        }
        42
    };
    let results = in_threads(THREADS, |_| catch(|| cache.get_or_insert_with(&1, load)).ok());
    assert_eq!(turns.load(SeqCst), THREADS, "each had its turn, one after the other");
    assert_eq!(results.iter().flatten().collect::<Vec<_>>(), [&42]);
    assert_eq!(cache.get(&1), Some(42));
}

thread_local! {
    /// Whether this thread panics in the callers' code below.
    static DIES: Cell<bool> = const { Cell::new(false) };
}

fn die_if_told() {
    if DIES.get() {
        panic_silently("dies");
    }
}

/// Threads that wait for a load and are killed by a panic as soon as they get up:
/// in the `Eq` of the key that they look for, or in the `Clone` of the value that
/// they get; or who loads, in the `Clone` of what it is to give back, which passes
/// the turn on. The others are served.
#[test]
fn a_waiter_that_panics_on_wakeup_does_not_poison_others() {
    #[derive(Clone)]
    struct Key;
    impl Hash for Key {
        fn hash<H: Hasher>(&self, _: &mut H) {}
    }
    impl PartialEq for Key {
        fn eq(&self, _: &Self) -> bool {
            die_if_told();
            true
        }
    }
    impl Eq for Key {}

    struct Value(u64);
    impl Clone for Value {
        fn clone(&self) -> Self {
            die_if_told();
            Self(self.0)
        }
    }

    fn ask<K, V>(key: K, value: V)
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        const THREADS: usize = 16;
        let cache: Cache<K, V> =
            Cache::builder().capacity(10).reaper(Reaper::Manual).build().unwrap();
        let loads = AtomicUsize::new(0);
        let load = || {
            wait_until("all ask", || cache.stats().misses >= THREADS as u64);
            loads.fetch_add(1, SeqCst);
            // Made without a `Clone` that panics.
            let dies = DIES.replace(false);
            let value = value.clone();
            DIES.set(dies);
            value
        };
        let has_died = in_threads(THREADS as u64, |number| {
            DIES.set(number % 2 == 1);
            catch(|| cache.get_or_insert_with(&key, load)).is_err()
        });
        let loads = loads.load(SeqCst);
        for (number, has_died) in has_died.iter().enumerate() {
            assert!(number % 2 == 1 || !has_died, "thread {number} died of another's panic");
        }
        // Who loads meets no entry and may live.
        let deaths = has_died.iter().filter(|&&it| it).count();
        assert!(deaths >= THREADS / 2 - loads, "{deaths} of {} died", THREADS / 2);
        assert!((1..=THREADS / 2 + 1).contains(&loads), "{loads} loads");
        assert!(cache.get(&key).is_some());
        assert_eq!(cache.len(), 1);
    }
    let _watchdog = Watchdog::start();
    for _ in 0..20 {
        ask(Key, 1u64);
        ask(1u64, Value(1));
    }
}
