//! How often the reaper wakes, whom it serves, and what time it keeps.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use punctual_testing::instances::Instances;
use punctual_testing::watchdog::{Watchdog, wait_until};

use crate::cache::Cache;
use crate::cache::inner::Inner;
use crate::cache::reentrancy::CALLS_UNCHECKED;
use crate::entry::removal::RemovalCause;
use crate::hasher::RandomState;
use crate::reaper::mode::Reaper;
use crate::reaper::{Reapable, ReaperThread, Visit};
use crate::settings::Settings;
use crate::shard::eviction::Eviction;
use crate::shard::key_hash::KeyHash;
use crate::shard::{Bounds, Shard};
use crate::time::cached_clock::IDLE_PERIODS_MAX;
use crate::time::clock::{BootClock, Clock, SystemClock, Timescale, system_nanos};
use crate::time::tick::Deadline;
use crate::time::tsc::Tsc;
use crate::time::tsc_clock::max_lag;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A reaper of the test's own and its thread, which counts the rounds.
pub(super) struct OwnReaper {
    pub(super) reaper: &'static ReaperThread,
    rounds: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl OwnReaper {
    pub(super) fn start() -> Self {
        let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
        let rounds = Arc::new(AtomicUsize::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (rounds, is_over) = (rounds.clone(), is_over.clone());
            move || {
                while !is_over.load(SeqCst) {
                    rounds.fetch_add(1, SeqCst);
                    reaper.run_once(0, Timescale::now_nanos);
                }
            }
        });
        Self { reaper, rounds, is_over, thread: Some(thread) }
    }

    fn cache(&self, resolution: Duration) -> Cache<u64, u64> {
        cache_of(self.reaper, 1_000, resolution)
    }
}

fn cache_of(
    reaper: &'static ReaperThread,
    capacity: usize,
    resolution: Duration,
) -> Cache<u64, u64> {
    let builder = Cache::builder().capacity(capacity).resolution(resolution);
    builder.build_with_reaper(Some(reaper)).unwrap()
}

impl Drop for OwnReaper {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        self.reaper.wake();
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

/// Each level of the wheel is passed once at most.
const ROUNDS_MAX: usize = 11;

/// The same in a cache of few entries, whose wheel has more levels.
const ROUNDS_SMALL_MAX: usize = 22;

#[test]
fn an_idle_reaper_sleeps_while_the_cache_is_read() {
    let _watchdog = Watchdog::start();
    let own = OwnReaper::start();
    let cache = own.cache(10 * MILLISECOND);
    cache.insert_with_ttl(1, 1, 3_600 * SECOND);
    // The rounds that building and inserting have made for.
    thread::sleep(50 * MILLISECOND);
    let before = own.rounds.load(SeqCst);
    // Too few calls for the time to be kept.
    for _ in 0..200 {
        for _ in 0..10 {
            assert_eq!(cache.get(&1), Some(1));
            assert_eq!(cache.get(&2), None);
        }
        thread::sleep(MILLISECOND);
    }
    // What leaves later than the first gets nobody up either, nor do these few calls.
    for key in 2..300 {
        cache.insert_with_ttl(key, key, 7_200 * SECOND);
        cache.set_ttl(&key, 8_000 * SECOND);
        cache.remove(&key);
    }
    thread::sleep(50 * MILLISECOND);
    let rounds = own.rounds.load(SeqCst) - before;
    assert!(rounds <= ROUNDS_MAX, "{rounds} rounds");
}

/// Under many calls the reaper keeps the time, and when they end it goes back to
/// sleep.
#[test]
fn the_reaper_keeps_the_time_while_calls_come_in() {
    let _watchdog = Watchdog::start();
    let own = OwnReaper::start();
    let cache = own.cache(10 * MILLISECOND);
    cache.insert_with_ttl(1, 1, 3_600 * SECOND);
    cache.insert_with_ttl(2, 2, 100 * MILLISECOND);
    let rounds = || own.rounds.load(SeqCst);
    let before = rounds();
    let handle = &cache.inner.reaper;
    wait_until("the reaper keeps the time, and calls go by it", || {
        for _ in 0..10_000 {
            assert_eq!(cache.get(&1), Some(1));
        }
        let is_kept = !handle.has_clocks() || handle.cached_now().is_some();
        is_kept && rounds() > before + 50
    });
    wait_until("time goes on", || cache.get(&2).is_none());
    // One keeping that is under way, one that has been asked for, and no further
    // ones, however long that takes. Those would be 250 in a second.
    let before = rounds();
    thread::sleep(SECOND);
    let rounds = rounds() - before;
    assert!(rounds <= 2 * IDLE_PERIODS_MAX as usize + ROUNDS_MAX, "up {rounds} times for no calls");
}

/// However long the reaper is kept from the processor: here it has cached the time once and then
/// does not run.
#[test]
fn what_is_due_is_found_while_the_reaper_starves() {
    let _watchdog = Watchdog::start();
    let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
    let cache = cache_of(reaper, 1_000, 10 * MILLISECOND);
    let handle = &cache.inner.reaper;
    if !handle.has_clocks() {
        return;
    }
    for key in 0..20 {
        cache.insert_with_ttl(key, key, 3_600 * SECOND);
    }
    wait_until("the time is cached", || {
        for _ in 0..10_000 {
            assert_eq!(cache.get(&0), Some(0));
        }
        reaper.run_once(0, Timescale::now_nanos);
        handle.cached_now().is_some()
    });
    let cached = handle.cached_now();
    for key in 0..20 {
        cache.set_ttl(&key, 20 * MILLISECOND);
    }
    thread::sleep(60 * MILLISECOND);
    assert_eq!(handle.cached_now(), cached);
    // Fewer calls than there are before one compares the cached time.
    assert_eq!((0..20).filter(|key| cache.get(key).is_some()).count(), 0);
    // After that it is not read any more.
    for _ in 0..=CALLS_UNCHECKED {
        cache.get(&0);
    }
    assert_eq!(handle.cached_now(), None);
}

/// What a TTL counts from while the reaper keeps the time: never ahead of the clock, and
/// behind it by no more than every deadline makes up for.
#[test]
fn the_time_told_without_the_clock_is_within_its_bounds() {
    let _watchdog = Watchdog::start();
    let own = OwnReaper::start();
    let cache = own.cache(4 * SystemClock.lag());
    let handle = &cache.inner.reaper;
    if Tsc::new().is_none() || !handle.has_clocks() {
        return;
    }
    let max_lag = max_lag(SystemClock.lag()).as_nanos() as u64;
    let mut told = 0;
    wait_until("it is told often", || {
        for key in 0..10_000 {
            cache.insert_with_ttl(key, key, 3_600 * SECOND);
            let earlier = system_nanos();
            let Some(nanos) = own.reaper.cached_clock.precise() else { continue };
            assert!(nanos <= system_nanos(), "ahead of the clock");
            assert!(nanos + max_lag >= earlier, "{} ns behind", earlier - nanos);
            told += 1;
        }
        told > 100_000
    });
}

/// All that is due, of several shards, however much it is: only then the reaper
/// goes back to sleep. It is awake once, since it has been woken before.
#[test]
fn one_round_frees_all_that_is_due() {
    const ENTRIES: u64 = 200_000;
    let _watchdog = Watchdog::start();
    let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
    let cache = cache_of(reaper, ENTRIES as usize * 6 / 5, 10 * MILLISECOND);
    cache.insert_with_ttl(ENTRIES, 0, 3_600 * SECOND);
    for key in 0..ENTRIES {
        cache.insert_with_ttl(key, key, Duration::from_millis(500 + key % 50));
    }
    wait_until("all are due", || (0..ENTRIES).all(|key| !cache.contains_key(&key)));
    assert!(cache.len() > 1, "that has freed them all");
    reaper.wake();
    reaper.run_once(0, Timescale::now_nanos);
    assert_eq!(cache.len(), 1);
    assert_eq!(cache.stats().expired, ENTRIES);
}

/// The reaper means to get up before the first of all deadlines has passed by a
/// tick; and not at once.
#[test]
fn the_alarm_is_set_to_the_first_deadline_of_all() {
    let _watchdog = Watchdog::start();
    let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
    let resolutions = [Duration::from_micros(1), MILLISECOND, 10 * MILLISECOND, SECOND];
    let caches = resolutions.map(|resolution| cache_of(reaper, 1_000, resolution));
    let mut first_nanos = u64::MAX;
    // Each is due before all that are there already.
    for (key, seconds) in (0..).zip([100_000, 70_000, 50_000, 5_000, 2_000, 1_000]) {
        for (cache, resolution) in caches.iter().zip(resolutions) {
            let ttl = Duration::from_secs(seconds - key);
            cache.insert_with_ttl(key, key, ttl);
            let latest = Duration::from_nanos(system_nanos()) + ttl + resolution;
            first_nanos = first_nanos.min(latest.as_nanos() as u64);
            let now_nanos = system_nanos();
            reaper.wake();
            reaper.run_once(0, Timescale::now_nanos);
            let deadline_nanos = reaper.first_event_nanos(Timescale::Monotonic);
            assert!(deadline_nanos <= first_nanos, "{deadline_nanos} is after {first_nanos}");
            assert!(deadline_nanos > now_nanos, "{deadline_nanos} is no later than {now_nanos}");
        }
    }
    assert!(caches.iter().all(|cache| cache.len() == 6));
}

#[test]
fn reaper_wakes_at_most_once_per_level() {
    let _watchdog = Watchdog::start();
    let own = OwnReaper::start();
    // Two million ticks of half a microsecond: four levels.
    let cache = own.cache(Duration::from_micros(1));
    thread::sleep(50 * MILLISECOND);
    let before = own.rounds.load(SeqCst);
    cache.insert_with_ttl(1, 1, SECOND);
    wait_until("the entry is freed", || cache.is_empty());
    // One for the insertion, and one that frees.
    let rounds = own.rounds.load(SeqCst) - before;
    assert!(rounds <= ROUNDS_MAX + 2, "{rounds} rounds");
}

/// A shard in a time that passes at will: one tick is one nanosecond.
struct InSimulatedTime {
    shard: Mutex<Shard<u64, u64>>,
    now: AtomicU64,
    freed: AtomicU64,
    next: AtomicU64,
}

impl Reapable for InSimulatedTime {
    fn shards(&self) -> usize {
        1
    }

    fn timescale(&self) -> Timescale {
        Timescale::Monotonic
    }

    fn set_source(&self, _: usize, source: usize) {
        assert_eq!(source, 0);
    }

    fn source(&self, _: usize) -> usize {
        0
    }

    fn visit(&self, _: usize, visit: &mut dyn Visit) {
        let now_nanos = visit.now_nanos();
        let mut shard = self.shard.lock().unwrap();
        assert_eq!(now_nanos, self.now.load(SeqCst));
        while let Some(expired) = shard.reap_one(now_nanos, &mut usize::MAX.clone()) {
            assert_eq!(expired.cause, RemovalCause::Expired);
            self.freed.fetch_add(1, SeqCst);
        }
        shard.check();
        self.next.store(shard.next_event(), SeqCst);
        visit.put_back(shard.next_event());
    }
}

/// The rounds of a reaper that serves one entry of such a cache, due after so many ticks, until
/// it is freed.
fn rounds_until_freed(capacity: usize, entries: u64, origin: u64, ttl: u64) -> usize {
    // What is far ahead the wheel rounds up itself.
    let is_far = ttl >= 1 << 42;
    let due = if is_far { (origin + ttl).next_multiple_of(2_048) } else { origin + ttl };
    let settings = Settings { capacity: Some(capacity), ..Settings::default() };
    let geometry = settings
        .plan::<u64, u64>(Inner::<u64, u64, RandomState>::SHARD_BYTES, |_| 0, |_, _| 0)
        .unwrap()
        .geometry;
    let shards = Shard::allocate(&geometry, Bounds::default(), Eviction::default(), origin, Ok);
    let mut shard = shards.unwrap().into_vec().pop().expect("one shard");
    for key in 0..entries {
        let hash = KeyHash::new(&RandomState::default(), &key);
        shard.insert(hash, key, key, Deadline::At(due), origin, &mut 64);
    }
    let simulated = Arc::new(InSimulatedTime {
        next: AtomicU64::new(shard.next_event()),
        shard: Mutex::new(shard),
        now: AtomicU64::new(origin),
        freed: AtomicU64::new(0),
    });
    let reaper = ReaperThread::new();
    let cache: Arc<dyn Reapable> = simulated.clone();
    reaper.register(&cache);
    reaper.schedule(0, Timescale::Monotonic, simulated.next.load(SeqCst));
    let mut rounds = 0;
    while simulated.freed.load(SeqCst) < entries {
        // The time to get up comes at once.
        let next = simulated.next.load(SeqCst);
        assert!((origin..=due).contains(&next), "up at {next}: {origin} + {ttl}");
        simulated.now.store(next, SeqCst);
        reaper.wake();
        reaper.run_once(0, |_| next);
        rounds += 1;
        assert!(rounds < 1_000, "still not freed: {origin} + {ttl}");
    }
    assert_eq!(simulated.now.load(SeqCst), due, "freed at another time");
    rounds
}

/// Entries that are due together are moved down once a level; one that is alone is not moved.
#[test]
fn a_reaper_gets_up_once_a_level_until_the_entry_is_due() {
    let _watchdog = Watchdog::start();
    let hour = (3_600 * SECOND).as_millis() as u64;
    let mut random = fastrand::Rng::with_seed(1);
    for (capacity, rounds_max) in [(1_000, ROUNDS_MAX), (10, ROUNDS_SMALL_MAX)] {
        let mut most = 0;
        for ttl in [1, 63, 64, 65, hour / 4, hour, hour * 1_000, hour << 20, (1 << 52) - 1] {
            let origins = [0, 1, 63, 64, (1 << 36) - 1, (1 << 60) - 1, (1 << 62) - 1];
            for origin in origins.into_iter().chain((0..500).map(|_| random.u64(..1 << 62))) {
                let rounds = rounds_until_freed(capacity, 2, origin, ttl);
                assert!(rounds <= rounds_max, "{rounds} rounds of {capacity}: {origin} + {ttl}");
                most = most.max(rounds);
                assert_eq!(rounds_until_freed(capacity, 1, origin, ttl), 1);
            }
        }
        assert!(most > rounds_max / 2, "levels were passed: {most}");
    }
}

/// While the machine is suspended, the clock by which the reaper sleeps stands still, and that of
/// `BootClock` goes on.
#[test]
fn what_fell_due_while_the_machine_was_suspended_is_freed() {
    let _watchdog = Watchdog::start();
    let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
    let jump_nanos = AtomicU64::new(0);
    let now_nanos = |timescale: Timescale| {
        let jump_nanos = if timescale == Timescale::Boot { jump_nanos.load(SeqCst) } else { 0 };
        timescale.now_nanos() + jump_nanos
    };
    let builder = Cache::<u64, u64>::builder().capacity(10).clock(BootClock);
    let booted = builder.build_with_reaper(Some(reaper)).unwrap();
    let awake = cache_of(reaper, 10, 10 * MILLISECOND);
    for cache in [&booted, &awake] {
        cache.insert_with_ttl(1, 1, 3_600 * SECOND);
    }
    reaper.run_once(0, now_nanos);
    assert_eq!((booted.len(), awake.len()), (1, 1), "it looks at the clock once in a while");
    jump_nanos.store(7_200_000_000_000, SeqCst);
    reaper.wake();
    reaper.run_once(0, now_nanos);
    assert_eq!((booted.len(), awake.len()), (0, 1));
    assert_eq!(booted.stats().expired, 1);
}

#[test]
fn the_reaper_lets_go_of_a_cache_whose_last_handle_is_dropped() {
    let _watchdog = Watchdog::start();
    let instances = Instances::default();
    let cache = Cache::new(1_000);
    let inner = Arc::downgrade(&cache.inner.inner());
    for key in 0..500 {
        cache.insert_with_ttl(key, instances.make(), 3_600 * SECOND);
    }
    let other = cache.clone();
    drop(cache);
    assert_eq!(instances.live(), 500);
    assert_eq!(other.inner.reaper_mode(), Reaper::Thread);
    drop(other);
    assert_eq!(instances.live(), 0, "not before the last handle was dropped");
    // Unless it is just looking in.
    wait_until("nobody holds the cache", || inner.strong_count() == 0);
}
