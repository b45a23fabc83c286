//! A reaper that callers' code keeps from its work: what calls do meanwhile, and who takes over.

#![cfg(target_os = "linux")]
#![cfg(not(any(punctual_loom, miri)))]

#[path = "support/own_process.rs"]
mod own_process;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use punctual::{Cache, Reaper, RemovalCause};
use punctual_testing::watchdog::{Watchdog, wait_until};

use own_process::{in_a_process_of_its_own, reapers};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A cache whose one entry has a listener that keeps the reaper until the sender is dropped.
fn keep_the_reaper() -> (Cache<u64, u64>, mpsc::Sender<()>) {
    let (busy, is_busy) = mpsc::channel();
    let (release, is_released) = mpsc::channel::<()>();
    let is_released = Mutex::new(is_released);
    let listener = move |_: &u64, _: &u64, _| {
        busy.send(thread::current().name().map(str::to_owned)).unwrap();
        let _ = is_released.lock().unwrap().recv();
    };
    let blocks = Cache::builder().capacity(10).on_removal(listener).build().unwrap();
    blocks.insert_with_ttl(1, 1, MILLISECOND);
    assert_eq!(is_busy.recv().unwrap().as_deref(), Some("punctual-reaper"));
    (blocks, release)
}

/// While a listener keeps the reaper, calls go by the clock as ever, and those that insert or
/// remove free what is due in their shard.
#[test]
fn calls_that_insert_free_what_a_busy_reaper_does_not() {
    in_a_process_of_its_own("calls_that_insert_free_what_a_busy_reaper_does_not", || {
        let (blocks, release) = keep_the_reaper();
        let cache: Cache<u64, u64> =
            Cache::builder().capacity(100).shards(1).ttl(20 * MILLISECOND).build().unwrap();
        for key in 0..50 {
            cache.insert(key, key);
        }
        wait_until("their time is up", || (0..50).all(|key| !cache.contains_key(&key)));
        cache.insert_with_ttl(100, 100, HOUR);
        assert_eq!(cache.len(), 1);
        assert_eq!(cache.stats().expired, 50);
        // The cache that keeps it busy is no exception: no lock is held.
        blocks.insert(2, 2);
        assert_eq!(blocks.get(&2), Some(2));
        cache.insert(1, 1);
        drop(release);
        wait_until("the reaper goes on", || cache.len() == 1);
    });
}

/// Some calls later another thread has taken its place, and frees what nobody touches. Once the
/// first one is released, it ends.
#[test]
fn another_thread_takes_the_place_of_a_busy_reaper() {
    in_a_process_of_its_own("another_thread_takes_the_place_of_a_busy_reaper", || {
        // Each keeps one more thread. There is an end to that.
        let kept: Vec<_> = (0..3)
            .map(|number| {
                let kept = keep_the_reaper();
                let (untouched, other) = (Cache::new(100), Cache::<u64, u64>::new(100));
                for key in 0..50 {
                    untouched.insert_with_ttl(key, key, 20 * MILLISECOND);
                }
                wait_until("it is freed", || {
                    other.get(&1);
                    untouched.is_empty()
                });
                assert_eq!(reapers(), 2 + number);
                kept
            })
            .collect();
        let last = keep_the_reaper();
        let other = Cache::<u64, u64>::new(100);
        let start = Instant::now();
        while start.elapsed() < 500 * MILLISECOND {
            other.get(&1);
        }
        assert_eq!(reapers(), 4);
        drop((kept, last));
        wait_until("one is left", || reapers() == 1);
        other.insert_with_ttl(1, 1, 20 * MILLISECOND);
        wait_until("it does the work", || other.is_empty());
    });
}

/// It is replaced once, however long it is kept; and the other one misses nothing afterwards.
#[test]
fn a_busy_reaper_is_replaced_once() {
    in_a_process_of_its_own("a_busy_reaper_is_replaced_once", || {
        let kept = keep_the_reaper();
        let other = Cache::<u64, u64>::new(100);
        other.insert_with_ttl(0, 0, HOUR);
        let start = Instant::now();
        while start.elapsed() < 600 * MILLISECOND {
            other.get(&1);
        }
        assert_eq!(reapers(), 2);
        // Nobody calls, so that nobody is replaced any more.
        for _ in 0..5 {
            other.insert_with_ttl(1, 1, 20 * MILLISECOND);
            thread::sleep(200 * MILLISECOND);
            assert_eq!(other.len(), 1);
        }
        drop(kept);
        wait_until("one is left", || reapers() == 1);
        other.insert_with_ttl(1, 1, 20 * MILLISECOND);
        wait_until("it does the work", || other.len() == 1);
    });
}

/// A listener that takes its time with each entry is no reason for another thread.
#[test]
fn a_slow_reaper_is_not_replaced() {
    in_a_process_of_its_own("a_slow_reaper_is_not_replaced", || {
        let builder = Cache::builder().capacity(100).shards(1);
        let listener = |_: &u64, _: &u64, _| thread::sleep(30 * MILLISECOND);
        let slow = builder.on_removal(listener).build().unwrap();
        for key in 0..16 {
            slow.insert_with_ttl(key, key, 20 * MILLISECOND);
        }
        let other = Cache::<u64, u64>::new(100);
        wait_until("all are freed", || {
            other.get(&1);
            slow.is_empty()
        });
        assert_eq!(reapers(), 1);
    });
}

/// While the reaper is kept, the time that it has cached gets old. A thread notices that, whatever
/// caches its calls are of.
#[test]
fn an_old_time_is_noticed_by_calls_of_any_cache() {
    in_a_process_of_its_own("an_old_time_is_noticed_by_calls_of_any_cache", || {
        let manual: Cache<u64, u64> =
            Cache::builder().capacity(10).reaper(Reaper::Manual).build().unwrap();
        let cache: Cache<u64, u64> = Cache::new(100);
        cache.insert_with_ttl(0, 0, HOUR);
        let blocks = thread::spawn({
            let cache = cache.clone();
            move || {
                // So often that the time is cached when the reaper is kept.
                let is_over = AtomicBool::new(false);
                thread::scope(|scope| {
                    scope.spawn(|| {
                        while !is_over.load(SeqCst) {
                            cache.get(&0);
                        }
                    });
                    thread::sleep(100 * MILLISECOND);
                    let kept = keep_the_reaper();
                    is_over.store(true, SeqCst);
                    kept
                })
            }
        });
        // Due too late for the cached time to be doubted at first.
        let ttl = 2_500 * MILLISECOND;
        cache.insert_with_ttl(1, 1, ttl);
        let inserted = Instant::now();
        let kept = blocks.join().unwrap();
        let mut late = 0;
        while inserted.elapsed() < 3 * SECOND {
            manual.get(&1);
            for _ in 0..32 {
                let is_late = inserted.elapsed() > ttl + 100 * MILLISECOND;
                late += usize::from(cache.get(&1).is_some() && is_late);
            }
        }
        assert!(late <= 64, "returned {late} times");
        drop(kept);
    });
}

/// Calls that only look leave listeners and drops to the reaper, however much is due.
#[test]
fn look_ups_run_no_stranger_s_code() {
    let _watchdog = Watchdog::start();
    let strangers = Arc::new(AtomicUsize::new(0));
    let listener = {
        let strangers = strangers.clone();
        move |_: &u64, _: &u64, cause| {
            assert_eq!(cause, RemovalCause::Expired);
            if thread::current().name() != Some("punctual-reaper") {
                strangers.fetch_add(1, SeqCst);
            }
            thread::sleep(MILLISECOND);
        }
    };
    let cache = Cache::builder().capacity(1_000).shards(1).on_removal(listener).build().unwrap();
    cache.insert_with_ttl(0, 0, HOUR);
    for key in 1..100 {
        cache.insert_with_ttl(key, key, 20 * MILLISECOND);
    }
    wait_until("all are freed", || {
        assert_eq!(cache.get(&0), Some(0));
        assert_eq!(cache.read(&0, |&value| value), Some(0));
        assert_eq!(cache.update(&0, |value| *value), Some(0));
        cache.read_many(&[0, 1], |_, _| ());
        assert_eq!(cache.get_or_insert_with(&0, || 1), 0);
        cache.len() == 1
    });
    assert_eq!(strangers.load(SeqCst), 0);
}

/// While a listener takes the reaper's time nobody keeps the time for the calls:
/// they see by the clock what is due.
#[test]
fn a_listener_that_blocks_the_reaper_stops_no_clock() {
    let _watchdog = Watchdog::start();
    let (begun, has_begun) = mpsc::channel();
    let (ends, may_end) = mpsc::channel::<()>();
    let may_end = Mutex::new(may_end);
    let listener = move |_: &u64, _: &u64, _| {
        begun.send(()).unwrap();
        let _ = may_end.lock().unwrap().recv();
    };
    let blocks: Cache<u64, u64> =
        Cache::builder().capacity(10).on_removal(listener).build().unwrap();
    let busy: Cache<u64, u64> = Cache::new(10);
    busy.insert_with_ttl(1, 1, 3_600 * SECOND);
    blocks.insert_with_ttl(1, 1, 100 * MILLISECOND);
    // So often that the reaper keeps the time when it comes to the listener, unless
    // it comes late.
    wait_until("the listener blocks", || {
        (0..100_000).for_each(|_| assert!(busy.contains_key(&1)));
        has_begun.try_recv().is_ok()
    });
    busy.insert_with_ttl(2, 2, 50 * MILLISECOND);
    wait_until("what is due cannot be seen", || !busy.contains_key(&2));
    drop(ends);
}
