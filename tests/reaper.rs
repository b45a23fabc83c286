//! The reaper's thread, by the real clock and with nobody touching the cache.

#![cfg(not(any(punctual_loom, miri)))]

#[path = "support/own_process.rs"]
mod own_process;

use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use punctual::{
    BootClock, BuildError, Cache, Clock, ManualClock, Reaper, RemovalCause, SystemClock,
};
use punctual_testing::instances::{Instance, Instances};
use punctual_testing::keys::Carrying;
use punctual_testing::log::Log;
use punctual_testing::panics::{message_of, panic_silently};
use punctual_testing::watchdog::{Watchdog, wait_until};

use own_process::{in_a_process_of_its_own, in_a_process_with_stacks_of, reapers};

punctual_testing::clock_fn!(Clock);

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

// ---- Promptness ----

/// 200,000 entries that fall due together, with nobody touching the cache: all are
/// freed, none before its time, and the listener hears of each.
///
/// How late the last of them is lies with the system too, which may have other things
/// to run. That the reaper means to get up in time, and goes back to sleep when all
/// that is due is freed, is held within the crate: `the_alarm_is_set_to_the_first_…`,
/// `one_round_frees_all_that_is_due`.
#[test]
fn two_hundred_thousand_due_together_are_freed() {
    const ENTRIES: usize = 200_000;
    let _watchdog = Watchdog::start();
    for listens in [false, true] {
        let (values, told) = (Instances::default(), Log::default());
        let builder = Cache::builder().capacity(ENTRIES * 6 / 5);
        let builder = if listens {
            let told = told.clone();
            builder.on_removal(move |_: &usize, (due, _): &(Instant, Instance), cause| {
                assert_eq!(cause, RemovalCause::Expired);
                told.push(Instant::now() < *due);
            })
        } else {
            builder
        };
        let cache = builder.build().unwrap();
        let due = Instant::now() + SECOND;
        for key in 0..ENTRIES {
            let now = Instant::now();
            let ttl = due.saturating_duration_since(now).max(MILLISECOND);
            cache.insert_with_ttl(key, (now + ttl, values.make()), ttl);
        }
        wait_until("all are freed", || values.dropped() == ENTRIES);
        println!("listener: {listens}, the last is freed {:?} late", due.elapsed());
        assert!(cache.is_empty());
        assert_eq!(cache.stats().expired, ENTRIES as u64);
        let told = told.take();
        assert_eq!(told.len(), if listens { ENTRIES } else { 0 });
        assert!(!told.contains(&true), "one left early");
    }
}

/// By the precise clock, from before an entry was put in to when it leaves.
#[test]
fn nothing_leaves_before_its_time() {
    const ENTRIES: u32 = 2_000;
    let _watchdog = Watchdog::start();
    let log = Log::default();
    let told = log.clone();
    let listener = move |_: &u32, &(inserted, ttl): &(Instant, Duration), cause: RemovalCause| {
        let lived = inserted.elapsed();
        assert_eq!(cause, RemovalCause::Expired);
        told.push(ttl.saturating_sub(lived));
    };
    let cache = Cache::builder().capacity(10_000).on_removal(listener).build().unwrap();
    for key in 0..ENTRIES {
        let ttl = Duration::from_millis(1 + u64::from(key) % 30);
        cache.insert_with_ttl(key, (Instant::now(), ttl), ttl);
        // At every phase of the coarse clock.
        thread::sleep(Duration::from_micros(500));
    }
    wait_until("all have left", || log.len() == ENTRIES as usize);
    let early_by: Vec<_> = log.take().into_iter().filter(|early_by| !early_by.is_zero()).collect();
    let most = early_by.iter().max();
    assert!(most.is_none(), "{} of {ENTRIES} left early, by {most:?} at most", early_by.len());
}

// ---- Waking up ----

type Shortening = (&'static str, fn(&Cache<u64, u64>));

/// Everything that makes an entry due earlier than the reaper means to get up.
const SHORTENINGS: [Shortening; 6] = [
    ("insert", |cache| _ = cache.insert_with_ttl(2, 2, 20 * MILLISECOND)),
    ("replace", |cache| _ = cache.insert_with_ttl(1, 2, 20 * MILLISECOND)),
    ("set_ttl", |cache| assert!(cache.set_ttl(&1, 20 * MILLISECOND))),
    ("get_and_set_ttl", |cache| {
        assert_eq!(cache.get_and_set_ttl(&1, 20 * MILLISECOND), Some(1));
    }),
    ("get_or_load", |cache| {
        assert_eq!(cache.get_or_load(&2, || Ok::<_, ()>((2, 20 * MILLISECOND))), Ok(2));
    }),
    ("get_or_insert_with", |cache| {
        cache.get_or_insert_with(&2, || 2);
        cache.set_ttl(&2, MILLISECOND);
    }),
];

#[test]
fn a_sleeping_reaper_is_woken_for_what_is_due_earlier() {
    let _watchdog = Watchdog::start();
    for ttl in [HOUR, Duration::from_secs(1_000_000_000), Duration::MAX] {
        for (name, shorten) in SHORTENINGS {
            let cache = Cache::builder().capacity(100).shards(4).ttl(HOUR).build().unwrap();
            for key in 1000..1020 {
                cache.insert_with_ttl(key, key, ttl);
            }
            cache.insert_with_ttl(1, 1, ttl);
            // It goes back to sleep meanwhile, with luck.
            thread::sleep(5 * MILLISECOND);
            shorten(&cache);
            wait_until(name, || cache.stats().expired == 1);
        }
    }
}

/// Each entry may find the reaper just going to sleep: none is forgotten.
#[test]
fn no_deadline_is_lost_on_a_reaper_going_to_sleep() {
    let _watchdog = Watchdog::start();
    thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                let values = Instances::default();
                let resolution = Duration::from_micros(20 << (2 * number));
                let cache = Cache::builder().capacity(100).resolution(resolution);
                let cache = cache.build().unwrap();
                let mut random = fastrand::Rng::with_seed(number);
                for round in 1..=600 {
                    let ttl = Duration::from_micros(random.u64(..400));
                    cache.insert_with_ttl(random.u64(..1_000), values.make(), ttl);
                    wait_until("it is freed", || values.dropped() == round);
                }
            });
        }
    });
}

#[test]
fn one_reaper_serves_all_caches_as_they_come_and_go() {
    let _watchdog = Watchdog::start();
    let values = Instances::default();
    thread::scope(|scope| {
        for number in 0..6 {
            let values = values.clone();
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                let mut caches: Vec<Cache<u64, Instance>> = Vec::new();
                for _ in 0..300 {
                    if caches.len() < 5 {
                        let shards = random.usize(1..4);
                        let cache = Cache::builder().capacity(100).shards(shards);
                        caches.push(cache.build().unwrap());
                    }
                    let some = random.usize(..caches.len());
                    for key in 0..10 {
                        let ttl = Duration::from_micros(random.u64(1..8_000));
                        caches[some].insert_with_ttl(key, values.make(), ttl);
                    }
                    if random.bool() {
                        caches.swap_remove(random.usize(..caches.len()));
                    }
                }
                for cache in &caches {
                    wait_until("what is due is freed", || cache.is_empty());
                }
            });
        }
    });
    wait_until("all are dropped", || values.dropped() == 6 * 300 * 10);
}

#[cfg(target_os = "linux")]
#[test]
fn there_is_one_reaper_and_only_if_it_is_needed() {
    in_a_process_of_its_own("there_is_one_reaper_and_only_if_it_is_needed", || {
        let _manual: Cache<u64, u64> =
            Cache::builder().capacity(10).reaper(Reaper::Manual).build().unwrap();
        let _simulated: Cache<u64, u64> =
            Cache::builder().capacity(10).clock(ManualClock::new()).build().unwrap();
        let asked = Cache::<u64, u64>::builder().capacity(10).footprint();
        assert!(asked.is_ok());
        let failed = Cache::<u64, u64>::builder().build();
        assert_eq!(failed.unwrap_err(), BuildError::NoCapacity);
        thread::sleep(20 * MILLISECOND);
        assert_eq!(reapers(), 0);
        let caches: Vec<Cache<u64, u64>> = thread::scope(|scope| {
            let builds: Vec<_> =
                (0..8).map(|_| scope.spawn(|| [Cache::new(10), Cache::new(10)])).collect();
            builds.into_iter().flat_map(|builds| builds.join().unwrap()).collect()
        });
        wait_until("the reaper runs", || reapers() > 0);
        for cache in &caches {
            cache.insert_with_ttl(1, 1, MILLISECOND);
        }
        for cache in caches {
            wait_until("it is freed", || cache.is_empty());
        }
        assert_eq!(reapers(), 1);
        let again = Cache::new(10);
        again.insert_with_ttl(1, 1, MILLISECOND);
        wait_until("it is freed", || again.is_empty());
        assert_eq!(reapers(), 1);
    });
}

// ---- Who frees ----

#[test]
fn the_clock_decides_who_frees_if_nobody_else_does() {
    let own = || ClockFn(|| SystemClock.now());
    let _watchdog = Watchdog::start();
    let builder = || Cache::<u64, u64>::builder().capacity(10).ttl(MILLISECOND);
    for cache in [
        builder().build(),
        builder().clock(SystemClock).build(),
        builder().clock(SystemClock).reaper(Reaper::Thread).build(),
        builder().clock(ManualClock::new()).clock(SystemClock).build(),
    ] {
        let cache = cache.unwrap();
        cache.insert(1, 1);
        wait_until("the reaper frees it", || cache.is_empty());
    }
    for cache in [
        builder().reaper(Reaper::Manual).build(),
        builder().clock(SystemClock).reaper(Reaper::Manual).build(),
        builder().clock(own()).build(),
        builder().clock(own()).reaper(Reaper::Manual).build(),
    ] {
        let cache = cache.unwrap();
        cache.insert(1, 1);
        wait_until("its time is up", || cache.peek(&1).is_none());
        thread::sleep(50 * MILLISECOND);
        assert_eq!(cache.len(), 1, "somebody has freed it");
        assert_eq!((cache.reap(10), cache.len()), (1, 0));
    }
    for failed in [
        builder().clock(ManualClock::new()).reaper(Reaper::Thread).build(),
        builder().reaper(Reaper::Thread).clock(own()).build(),
        builder().reaper(Reaper::Thread).clock(Arc::new(SystemClock)).build(),
    ] {
        let error = failed.unwrap_err();
        assert_eq!(error, BuildError::ReaperNeedsSystemClock);
        assert!(error.to_string().contains("Reaper::Manual"), "{error}");
    }
}

/// `BootClock` is the system's, too.
#[cfg(target_os = "linux")]
#[test]
fn a_cache_by_the_boot_clock_is_served() {
    let _watchdog = Watchdog::start();
    let now = BootClock.now();
    assert!(now >= SystemClock.now() && BootClock.now() >= now);
    for builder in [Cache::builder(), Cache::builder().reaper(Reaper::Thread)] {
        let cache: Cache<u64, u64> = builder.capacity(100).clock(BootClock).build().unwrap();
        cache.insert_with_ttl(1, 1, 20 * MILLISECOND);
        cache.insert_with_ttl(2, 2, HOUR);
        let left = cache.expires_in(&2).unwrap();
        assert!(left <= HOUR && left > HOUR - SECOND);
        wait_until("it is freed", || cache.len() == 1);
    }
}

/// A listener that puts back what expires, to expire at once, and takes its time
/// over it: its cache is never done, and must not keep the reaper from others.
#[test]
fn a_cache_that_is_never_done_keeps_no_other_waiting() {
    in_a_process_of_its_own("a_cache_that_is_never_done_keeps_no_other_waiting", || {
        let handle: Arc<Mutex<Option<Cache<u64, u64>>>> = Arc::default();
        let (slot, heard) = (handle.clone(), Arc::new(AtomicUsize::new(0)));
        let hears = heard.clone();
        let listener = move |&key: &u64, &value: &u64, _| {
            let cache = slot.lock().unwrap().clone();
            if let (Some(cache), true) = (cache, is_reaper()) {
                cache.insert_with_ttl(key, value + 1, Duration::from_micros(1));
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(100) {}
                hears.fetch_add(1, SeqCst);
            }
        };
        let builder = Cache::builder().capacity(10).resolution(Duration::from_micros(1));
        let busy = builder.on_removal(listener).build().unwrap();
        *handle.lock().unwrap() = Some(busy.clone());
        busy.insert_with_ttl(1, 1, Duration::from_micros(1));
        wait_until("the reaper is kept busy", || heard.load(SeqCst) > 10);
        let other: Cache<u64, u64> = Cache::new(100);
        for key in 0..50 {
            other.insert_with_ttl(key, key, MILLISECOND);
        }
        wait_until("the other one is served", || other.is_empty());
        handle.lock().unwrap().take();
    });
}

/// Entries are handed out in batches that lie on the stack: large ones must fit,
/// too, wherever they are freed.
#[test]
fn large_values_are_freed_on_the_stack_there_is() {
    const BYTES: usize = 160 << 10;
    in_a_process_of_its_own("large_values_are_freed_on_the_stack_there_is", || {
        // So that only the reaper's stack is the usual one.
        let large = thread::Builder::new().stack_size(64 << 20).spawn(|| {
            let cache: Cache<u64, [u8; BYTES]> = Cache::new(20);
            for key in 0..16 {
                cache.insert_with_ttl(key, [1; BYTES], 100 * MILLISECOND);
            }
            wait_until("the reaper frees them", || cache.is_empty());
        });
        large.unwrap().join().unwrap();
    });
}

// ---- Panics ----

/// What the tests below throw: the panic hook counts them, and prints nothing.
struct Thrown(Arc<AtomicUsize>);

fn count_what_is_thrown_on_the_reaper() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match info.payload().downcast_ref() {
            Some(Thrown(count)) => {
                assert_eq!(thread::current().name(), Some("punctual-reaper"));
                count.fetch_add(1, SeqCst);
            }
            None => next(info),
        }));
    });
}

fn is_reaper() -> bool {
    thread::current().name() == Some("punctual-reaper")
}

/// A part of a key or value whose `Drop` panics on the reaper.
struct Throwing(Arc<AtomicUsize>);

impl Drop for Throwing {
    fn drop(&mut self) {
        if is_reaper() {
            panic_any(Thrown(self.0.clone()));
        }
    }
}

type ThrowingKey = Carrying<Throwing>;

#[test]
fn a_panic_on_the_reaper_is_reported_and_the_work_goes_on() {
    count_what_is_thrown_on_the_reaper();
    let _watchdog = Watchdog::start();
    let thrown = Arc::new(AtomicUsize::new(0));
    let heard = Arc::new(AtomicUsize::new(0));
    let (throws, hears) = (thrown.clone(), heard.clone());
    // Each entry panics three times: listener, key and value.
    let listener = move |_: &ThrowingKey, _: &Throwing, _| {
        if is_reaper() {
            hears.fetch_add(1, SeqCst);
            panic_any(Thrown(throws.clone()));
        }
    };
    let cache: Cache<ThrowingKey, Throwing> =
        Cache::builder().capacity(1_000).shards(2).on_removal(listener).build().unwrap();
    let others: Vec<Cache<u64, Instance>> = (0..3).map(|_| Cache::new(1_000)).collect();
    let values = Instances::default();
    for round in 1..=3 {
        for key in 0..100 {
            let throwing = Carrying(key, Throwing(thrown.clone()));
            cache.insert_with_ttl(throwing, Throwing(thrown.clone()), 10 * MILLISECOND);
            for other in &others {
                other.insert_with_ttl(key, values.make(), 10 * MILLISECOND);
            }
        }
        wait_until("all are freed", || cache.is_empty() && values.dropped() == round * 300);
    }
    assert!(heard.load(SeqCst) > 0);
    wait_until("all panics are reported", || thrown.load(SeqCst) == 3 * heard.load(SeqCst));
}

/// The worst that can be thrown: what `catch_unwind` gives panics when it is
/// dropped, with its like.
#[test]
fn the_reaper_survives_panics_that_panic() {
    struct Hydra;
    impl Drop for Hydra {
        fn drop(&mut self) {
            panic_any(Hydra);
        }
    }
    in_a_process_of_its_own("the_reaper_survives_panics_that_panic", || {
        std::panic::set_hook(Box::new(|_| ()));
        let listener = |_: &u64, _: &u64, _| {
            if is_reaper() {
                panic_any(Hydra);
            }
        };
        let cache: Cache<u64, u64> =
            Cache::builder().capacity(100).on_removal(listener).build().unwrap();
        let other: Cache<u64, u64> = Cache::new(100);
        for _ in 0..3 {
            for key in 0..20 {
                cache.insert_with_ttl(key, key, 5 * MILLISECOND);
                other.insert_with_ttl(key, key, 5 * MILLISECOND);
            }
            wait_until("the reaper goes on", || cache.is_empty() && other.is_empty());
        }
    });
}

// ---- The end ----

/// Far more than the reaper hands out at a time.
const BATCH_MAX: usize = 64;

/// Everything is dropped before the last handle's `drop` returns, but for the
/// batch that the reaper is handing out; and from then on hardly anybody is told.
#[test]
fn the_last_handle_takes_everything_with_it() {
    const ENTRIES: usize = 2_000;
    let _watchdog = Watchdog::start();
    for round in 0..150 {
        let values = Instances::default();
        let is_gone = Arc::new(AtomicBool::new(false));
        let told_late = Arc::new(AtomicUsize::new(0));
        let (goes, late) = (is_gone.clone(), told_late.clone());
        let listener = move |_: &usize, _: &Instance, _| {
            if goes.load(SeqCst) {
                late.fetch_add(1, SeqCst);
            }
        };
        let builder = Cache::builder().capacity(ENTRIES * 2).resolution(MILLISECOND);
        let cache = builder.on_removal(listener).build().unwrap();
        for key in 0..ENTRIES {
            let ttl = if key % 2 == 0 { 5 * MILLISECOND } else { HOUR };
            cache.insert_with_ttl(key, values.make(), ttl);
        }
        // Just when the reaper is at work on it, more often than not.
        let (wait, start) = (Duration::from_micros(50 * (round % 40)), Instant::now());
        wait_until("it is due", || cache.len() < ENTRIES || start.elapsed() > SECOND);
        while start.elapsed() < wait {}
        let other = cache.clone();
        drop(cache);
        assert!(other.len() >= ENTRIES / 2, "gone with a handle that was not the last");
        drop(other);
        let left = ENTRIES - values.dropped();
        is_gone.store(true, SeqCst);
        assert!(left <= BATCH_MAX, "{left} left when the last handle is gone");
        wait_until("all are dropped", || values.dropped() == ENTRIES);
        let told_late = told_late.load(SeqCst);
        assert!(told_late <= left.min(BATCH_MAX), "{told_late} told of {left} after the end");
    }
}

/// The same where the reaper is provably at work: it stands in a listener all the
/// while, and the last handle waits neither for that nor for the reaper.
#[test]
fn the_last_handle_waits_for_no_reaper() {
    const ENTRIES: usize = 2_000;
    in_a_process_of_its_own("the_last_handle_waits_for_no_reaper", || {
        let values = Instances::default();
        let told = Arc::new(AtomicUsize::new(0));
        let (busy, is_busy) = mpsc::channel();
        let (release, is_released) = mpsc::channel::<()>();
        let (tells, is_released) = (told.clone(), Mutex::new(is_released));
        let listener = move |_: &usize, _: &Instance, _| {
            if is_reaper() {
                tells.fetch_add(1, SeqCst);
                let _ = busy.send(());
                let _ = is_released.lock().unwrap().recv();
            }
        };
        let cache =
            Cache::builder().capacity(ENTRIES * 2).shards(4).on_removal(listener).build().unwrap();
        // The last one to come is the reaper's in any case: no call follows that
        // could free it.
        for key in 0..ENTRIES {
            let ttl = if key < ENTRIES / 2 { HOUR } else { 50 * MILLISECOND };
            cache.insert_with_ttl(key, values.make(), ttl);
        }
        is_busy.recv().unwrap();
        drop(cache);
        let left = ENTRIES - values.dropped();
        assert!((1..=BATCH_MAX).contains(&left), "{left} left when the last handle is gone");
        drop(release);
        wait_until("all are dropped", || values.dropped() == ENTRIES);
        assert!((1..=left).contains(&told.load(SeqCst)), "{told:?} told of {left}");
    });
}

/// The last handle goes on the reaper's thread: with a value, or in a listener.
#[test]
fn last_handle_may_be_dropped_on_the_reaper_thread() {
    let _watchdog = Watchdog::start();
    let values = Instances::default();
    let filled = || {
        let cache: Cache<u64, Instance> = Cache::new(100);
        for key in 0..50 {
            // Some of them due just then.
            let ttl = if key % 2 == 0 { 10 * MILLISECOND } else { HOUR };
            cache.insert_with_ttl(key, values.make(), ttl);
        }
        cache
    };
    for round in 1..=20 {
        // In a value that expires.
        let holds: Cache<u64, Cache<u64, Instance>> = Cache::new(10);
        holds.insert_with_ttl(1, filled(), 10 * MILLISECOND);
        wait_until("it has gone with the value", || values.dropped() == (3 * round - 2) * 50);
        // In another cache's listener.
        let slot = Arc::new(Mutex::new(Some(filled())));
        let given = slot.clone();
        let listens = Cache::builder()
            .capacity(10)
            .on_removal(move |_: &u64, _: &u64, _| drop(given.lock().unwrap().take()))
            .build()
            .unwrap();
        listens.insert_with_ttl(1, 1, 10 * MILLISECOND);
        wait_until("it has gone there", || values.dropped() == (3 * round - 1) * 50);
        // In its own, for which the reaper is just at work on it.
        let slot = Arc::new(Mutex::new(None));
        let given: Arc<Mutex<Option<Cache<u64, Instance>>>> = slot.clone();
        let listener = move |_: &u64, _: &Instance, _| {
            // Not where this thread comes so late that its own calls free.
            if is_reaper() {
                let handle = given.lock().unwrap().take();
                drop(handle);
            }
        };
        let own = Cache::builder().capacity(100).on_removal(listener).build().unwrap();
        let mut slot = slot.lock().unwrap();
        // The last one is the reaper's in any case: no call follows.
        for key in 0..50 {
            let ttl = if key < 25 { HOUR } else { 10 * MILLISECOND };
            own.insert_with_ttl(key, values.make(), ttl);
        }
        *slot = Some(own);
        drop(slot);
        wait_until("it has gone by itself", || values.dropped() == 3 * round * 50);
    }
}

/// A listener on the reaper's thread may build caches, use them and drop them.
#[test]
fn a_listener_on_the_reaper_may_build_caches() {
    let _watchdog = Watchdog::start();
    let kept: Arc<Mutex<Vec<Cache<u64, Instance>>>> = Arc::default();
    let values = Instances::default();
    let (keeps, counts) = (kept.clone(), values.clone());
    let listener = move |&key: &u64, _: &u64, _| {
        let built: Cache<u64, Instance> = Cache::new(10);
        built.insert_with_ttl(1, counts.make(), 5 * MILLISECOND);
        built.insert(2, counts.make());
        if key % 2 == 0 {
            keeps.lock().unwrap().push(built);
        }
    };
    let cache = Cache::builder().capacity(100).on_removal(listener).build().unwrap();
    for key in 0..40 {
        cache.insert_with_ttl(key, key, Duration::from_millis(key + 1));
    }
    wait_until("all are freed", || cache.is_empty() && kept.lock().unwrap().len() == 20);
    wait_until("those built on the way too", || values.dropped() == 20 * 2 + 20);
    let kept = std::mem::take(&mut *kept.lock().unwrap());
    assert!(kept.iter().all(|cache| cache.len() == 1));
    drop(kept);
    assert_eq!(values.dropped(), 80);
}

/// A panic in a `Drop` at the end is the caller's, and keeps nothing alive.
#[test]
fn a_panic_of_a_value_does_not_keep_the_others() {
    struct Panicky(bool, #[expect(dead_code, reason = "for its drop")] Instance);
    impl Drop for Panicky {
        fn drop(&mut self) {
            if self.0 {
                // Without a word: the hook would print it.
                panic_silently("a value's own");
            }
        }
    }
    let _watchdog = Watchdog::start();
    let values = Instances::default();
    let cache = Cache::builder().capacity(1_000).shards(4).build().unwrap();
    for key in 0..100u64 {
        cache.insert(key, Panicky(key % 10 == 5, values.make()));
    }
    assert_eq!(message_of(|| drop(cache)).as_deref(), Some("a value's own"));
    assert_eq!(values.dropped(), 100);
}

// ---- No thread to be had ----

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn a_thread_that_cannot_be_started_is_an_error() {
    use punctual_testing::proc::kibibytes;
    use rustix::process::{Resource::As as ADDRESS_SPACE, Rlimit, getrlimit, setrlimit};

    /// Too large to be kept for the next thread once one has ended.
    const STACK_BYTES: u64 = 1 << 30;

    in_a_process_with_stacks_of(STACK_BYTES, "a_thread_that_cannot_be_started_is_an_error", || {
        let builder = || Cache::<u64, u64>::builder().capacity(10);
        let limit = getrlimit(ADDRESS_SPACE);
        // Room for what is allocated here, and none for a thread's stack.
        let mapped_kib = kibibytes("/proc/self/status", "VmSize:").unwrap() as u64;
        let little = Some((mapped_kib << 10) + STACK_BYTES / 2);
        setrlimit(ADDRESS_SPACE, Rlimit { current: little, ..limit }).unwrap();
        let failed = builder().build();
        let manual = builder().reaper(Reaper::Manual).build();
        setrlimit(ADDRESS_SPACE, limit).unwrap();

        let error = failed.expect_err("there is no room for a thread's stack");
        assert!(matches!(error, BuildError::ThreadNotStarted { .. }), "{error:?}");
        assert!(error.to_string().contains("Reaper::Manual"), "{error}");
        assert!(manual.is_ok());
        // Nothing is broken by it.
        let cache = builder().build().unwrap();
        cache.insert_with_ttl(1, 1, MILLISECOND);
        wait_until("the reaper frees it", || cache.is_empty());
    });
}
