//! Promise 1 with many threads: once built, the cache allocates nothing, whatever
//! four threads and the reaper do to it at once.
//!
//! One test alone: the counters are of the whole process, but for the thread that it
//! began with. That is the test harness's own, which has things of its own to do.

// Elsewhere the platform's locks may allocate when they are first fought for.
#![cfg(target_os = "linux")]
#![cfg(not(any(punctual_loom, miri)))]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use punctual::{Cache, Compute, Eviction, RemovalCause, Stats, Ttl};
use punctual_testing::alloc::{Counting, Process, Scope, process_traffic as traffic};
use punctual_testing::watchdog::wait_until;

/// All threads but the process's first.
struct OtherThreads;

impl Scope for OtherThreads {
    fn is_counted(&self) -> bool {
        rustix::thread::gettid() != rustix::process::getpid()
    }
}

#[global_allocator]
static ALLOCATOR: Counting<Process<OtherThreads>> = Counting(Process(OtherThreads));

const THREADS: usize = 4;
const CALLS: u32 = 150_000;

/// Entries that have left on the reaper's thread while others called.
static REAPED: AtomicU64 = AtomicU64::new(0);
thread_local! {
    /// This thread is one of those that call.
    static CALLING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

fn listen(key: &u64, value: &u64, _: RemovalCause) {
    assert_eq!(key, value);
    REAPED.fetch_add(u64::from(!CALLING.get()), SeqCst);
}

type Tested = Cache<u64, u64>;

/// Loads one of two keys whose values are not stored, so that threads wait for
/// each other.
fn load_what_does_not_stay(cache: &Tested, key: u64) {
    let loaded = cache.get_or_load(&key, || {
        let nested = cache.get_or_load(&(key + 2), || {
            thread::yield_now();
            Ok::<_, ()>((key, Duration::ZERO))
        });
        nested.map(|value| (value, Duration::ZERO))
    });
    assert!(loaded.is_ok());
}

/// The same for a key that nobody puts in, and all threads at once: whoever comes
/// first loads until all others have looked for it in vain, and so wait.
fn load_while_all_others_wait(cache: &Tested, misses_before: u64) {
    let loaded = cache.get_or_load(&u64::MAX, || {
        while cache.stats().misses < misses_before + THREADS as u64 {
            thread::yield_now();
        }
        Ok::<_, ()>((0, Duration::ZERO))
    });
    assert!(loaded.is_ok());
}

/// One call of any kind.
fn call(cache: &Tested, random: &mut fastrand::Rng) {
    let key = random.u64(..2 * cache.capacity() as u64);
    let ttl = match random.u8(..8) {
        0 => Duration::ZERO,
        1 => Duration::MAX,
        2 => Duration::from_secs(3_600),
        _ => Duration::from_micros(random.u64(..40_000)),
    };
    match random.u8(..64) {
        0..=15 => _ = cache.insert(key, key),
        16..=23 => _ = cache.insert_with_ttl(key, key, ttl),
        24..=31 => _ = cache.get(&key),
        32..=33 => _ = cache.read(&key, |&value| assert_eq!(value, key)),
        34..=35 => _ = cache.update(&key, |value| *value = key),
        36..=37 => _ = cache.peek(&key).is_some() && cache.contains_key(&key),
        38..=41 => _ = cache.remove(&key),
        42..=44 => _ = cache.get_or_insert_with(&key, || key),
        45..=46 => {
            // Not of the keys below, whose waiters would be told of the failure.
            let make = || if key % 2 == 0 && key > 3 { Err(()) } else { Ok(key) };
            _ = cache.try_get_or_insert_with(&key, make);
        }
        47..=48 => _ = cache.get_or_load(&key, || Ok::<_, ()>((key, ttl))),
        49..=51 => load_what_does_not_stay(cache, random.u64(..2)),
        52..=53 => _ = cache.set_ttl(&key, ttl),
        54..=55 => _ = cache.get_and_set_ttl(&key, ttl),
        56 => _ = cache.expires_in(&key),
        57 => _ = cache.reap(random.usize(..30)),
        58 => _ = (cache.next_expiry(), cache.len(), cache.is_empty()),
        59 => _ = (cache.stats(), cache.footprint(), cache.capacity()),
        60 => match random.u8(..8) {
            0 => drop(cache.clone()),
            1 => _ = cache.insert_if_absent(key, key),
            2 => cache.compute(key, |_| Compute::Set(key, ())),
            3 => cache.compute(key, |_| Compute::SetWithTtl(key, ttl.into(), ())),
            4 => cache.compute(key, |live| {
                assert!(live.is_none_or(|&mut value| value == key));
                Compute::Keep(())
            }),
            5 => cache.compute(key, |_| Compute::Remove(())),
            6 => _ = cache.remove_if(&key, |&value| value % 2 == 0),
            _ => _ = cache.remove_entry(&key),
        },
        61 if random.u8(..100) == 0 => cache.retain(|&key, _| key % 8 != 0),
        62 if random.u8(..100) == 0 => {
            cache.for_each(|key, value| assert_eq!(key, value));
        }
        63 if random.u16(..1_000) == 0 => cache.clear(),
        _ => {}
    }
}

fn allocates_nothing(
    eviction: Eviction,
    capacity: usize,
    shards: Option<usize>,
    has_rules: bool,
) -> Stats {
    let builder = Cache::builder()
        .capacity(capacity)
        .eviction(eviction)
        .ttl(Duration::from_millis(20))
        .on_removal(listen);
    let builder = match shards {
        Some(shards) => builder.shards(shards),
        None => builder,
    };
    let builder = if has_rules {
        let builder = builder.ttl_by(|key, _| if key % 9 == 0 { Ttl::Never } else { Ttl::Default });
        let builder = builder.ttl_jitter(0.3).time_to_idle(Duration::from_millis(30));
        // Half of the entries have room by their weight.
        builder.weigher(|key, _| key % 8).max_weight(capacity as u64 * 7 / 4)
    } else {
        builder
    };
    let cache: Tested = builder.build().unwrap();
    let (is_ready, is_over) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    let have_called = Barrier::new(THREADS);
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads = std::array::from_fn::<_, THREADS, _>(|number| {
            let (cache, is_ready, is_over, failed) = (&cache, &is_ready, &is_over, &failed);
            let have_called = &have_called;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(number as u64);
                CALLING.set(true);
                // What std makes for a thread when it is first used.
                thread::yield_now();
                is_ready.wait();
                let before = traffic();
                is_ready.wait();
                for _ in 0..CALLS {
                    call(cache, &mut random);
                }
                have_called.wait();
                let misses = cache.stats().misses;
                have_called.wait();
                load_while_all_others_wait(cache, misses);
                // All have stopped before anybody looks, and nobody ends before.
                is_over.wait();
                failed.fetch_or(traffic() != before, SeqCst);
                is_over.wait();
            })
        });
        is_ready.wait();
        let before = traffic();
        is_ready.wait();
        is_over.wait();
        let after = traffic();
        is_over.wait();
        assert_eq!(after, before, "{eviction:?}, {capacity} entries, {shards:?} shards");
        // To their very end, at which they free what std has made for them.
        for thread in threads {
            thread.join().unwrap();
        }
    });
    assert!(!failed.into_inner());
    // The reaper alone allocates nothing either, nor does it free.
    CALLING.set(true);
    cache.clear();
    let before = traffic();
    for key in 0..500 {
        cache.insert_with_ttl(key, key, Duration::from_millis(key % 20));
    }
    wait_until("the reaper has freed all", || cache.is_empty());
    assert_eq!(traffic(), before, "the reaper alone: {eviction:?}");
    cache.stats()
}

#[test]
fn nothing_is_allocated_by_many_threads_and_the_reaper() {
    // What the reaper's thread needs to begin with, it has when it is at work.
    let first: Tested = Cache::builder().capacity(10).on_removal(listen).build().unwrap();
    first.insert_with_ttl(1, 1, Duration::from_millis(1));
    wait_until("the reaper is at work", || REAPED.load(SeqCst) > 0);
    for eviction in [Eviction::S3Clock, Eviction::S3Fifo, Eviction::Fifo] {
        // The first and the last have tables as full as they get.
        let reaped = REAPED.load(SeqCst);
        let [small, large, default] = [(761, Some(1)), (3_000, Some(8)), (16_667, None)]
            .map(|(capacity, shards)| allocates_nothing(eviction, capacity, shards, false));
        let ruled = allocates_nothing(eviction, 3_000, Some(4), true);
        assert!(ruled.evicted > 1_000 && ruled.expired > 1_000, "{eviction:?}: {ruled:?}");
        assert!(ruled.weight <= 3_000 * 7 / 4 && ruled.weight_peak > 3_000, "{ruled:?}");
        // It was as wild as it should be.
        assert!(small.rebuilds > 0 && small.evicted > 1_000, "{eviction:?}: {small:?}");
        assert!(large.replaced > 1_000 && large.removed > 1_000, "{eviction:?}: {large:?}");
        assert!(default.expired > 1_000, "{eviction:?}: {default:?}");
        assert!(REAPED.load(SeqCst) > reaped, "the reaper was not at work: {eviction:?}");
    }
}
