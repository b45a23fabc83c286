//! What only the inside can show: that every shard is whole while threads fight
//! for it, and how often the reaper gets up.

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../../tests/support/watch.rs"]
mod watch;

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use super::Cache;
use super::inner::Inner;
use crate::hasher::RandomState;
use crate::reaper::mode::Reaper;
use crate::reaper::parker::Alarm;
use crate::reaper::{Reapable, ReaperThread};
use crate::removal::RemovalCause;
use crate::settings::Settings;
use crate::shard::Shard;
use crate::shard::eviction::Eviction;
use crate::shard::key_hash::KeyHash;
use crate::time::cached_clock::IDLE_PERIODS_MAX;
use crate::time::clock::{Clock, ManualClock, SystemClock, system_nanos};
use crate::time::tick::Deadline;
use crate::time::tsc::Tsc;
use crate::time::tsc_clock::max_lag;
use watch::{await_that, watched};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const POLICIES: [Eviction; 3] = [Eviction::S3Clock, Eviction::S3Fifo, Eviction::Fifo];

// ---- Threads ----

/// Counts a key's or value's birth, and its death.
struct Life(Arc<AtomicI64>);

impl Life {
    fn new(living: &Arc<AtomicI64>) -> Self {
        living.fetch_add(1, SeqCst);
        Self(living.clone())
    }
}

impl Clone for Life {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[derive(Clone)]
struct Key(usize, #[expect(dead_code, reason = "for its drop")] Life);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

#[derive(Clone)]
struct Value {
    key: usize,
    /// The number of the write that has brought it; of a loaded one, the last
    /// write that had begun when it was loaded.
    version: u64,
    is_loaded: bool,
    _life: Life,
}

/// The clock that the cache goes by, and how to read it from outside.
#[derive(Clone)]
enum Time {
    Manual(ManualClock),
    System,
}

impl Time {
    fn now(&self) -> Duration {
        match self {
            Self::Manual(clock) => clock.now(),
            Self::System => Duration::from_nanos(system_nanos()),
        }
    }
}

/// What is known of one key. It has one writer, so that everybody else can tell
/// what may be seen.
#[derive(Default)]
struct Known {
    /// Writes: the number of the last that has begun, and that has returned.
    write_begun: AtomicU64,
    write_done: AtomicU64,
    /// The same of all that the writer does, changes of the TTL included.
    step_begun: AtomicU64,
    step_done: AtomicU64,
    /// In nanoseconds: the entry is to be seen before, if only time takes it out,
    /// and never from then on.
    there_until: AtomicU64,
    gone_by: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Scene {
    is_manual: bool,
    eviction: Eviction,
    shards: usize,
    capacity: usize,
    /// There is room for all keys, and nobody takes any out but their writers.
    only_time_removes: bool,
    resolution: Duration,
}

impl Scene {
    const THREADS: usize = 8;
    const KEYS: usize = 512;
    /// At least; more if what the scene is about has not happened by then.
    const STEPS: usize = 25_000;

    /// Whether its calls see by an exact clock what is due. The coarse one, and the
    /// time that the reaper keeps in its place, may be as late as the system has the
    /// reaper run: seconds, if it is asked for too much.
    fn is_exact(&self) -> bool {
        let lag = SystemClock.lag();
        self.is_manual || lag.is_zero() || self.resolution < lag * 2
    }
}

type Causes = [AtomicU64; 5];

fn number(cause: RemovalCause) -> usize {
    match cause {
        RemovalCause::Expired => 0,
        RemovalCause::Evicted => 1,
        RemovalCause::Replaced => 2,
        RemovalCause::Removed => 3,
        RemovalCause::Cleared => 4,
    }
}

struct Stage {
    scene: Scene,
    time: Time,
    cache: Cache<Key, Value>,
    known: Vec<Known>,
    living: Arc<AtomicI64>,
    seen: AtomicU64,
    seen_in_peace: AtomicU64,
    missed_in_peace: AtomicU64,
}

impl Stage {
    /// Whether the scene was one: what it is about has happened.
    fn is_enough(&self) -> bool {
        let stats = self.cache.stats();
        self.seen.load(SeqCst) > 10_000
            && self.seen_in_peace.load(SeqCst) > 5_000
            && (stats.expired > 1_000 && stats.removed > 100)
            && if self.scene.only_time_removes {
                self.missed_in_peace.load(SeqCst) > 500
            } else {
                stats.evicted > 1_000
            }
    }
}

/// One of the threads.
struct Actor<'a> {
    stage: &'a Stage,
    number: usize,
    random: fastrand::Rng,
    keys: Vec<Key>,
}

impl Actor<'_> {
    fn value(&self, key: usize, version: u64, is_loaded: bool) -> Value {
        Value { key, version, is_loaded, _life: Life::new(&self.stage.living) }
    }

    fn some_ttl(&mut self) -> Duration {
        match self.random.u8(..16) {
            0 => Duration::ZERO,
            1 => Duration::from_nanos(1),
            2 => Duration::MAX,
            3..=7 => Duration::from_millis(self.random.u64(1..40)),
            _ => Duration::from_millis(self.random.u64(40..400)),
        }
    }

    /// Reads a key, and holds what it sees against what is known.
    fn look(&self, number: usize, look: impl FnOnce(&Cache<Key, Value>, &Key) -> Option<Value>) {
        let Stage { time, cache, known, .. } = self.stage;
        let known = &known[number];
        let write_done = known.write_done.load(SeqCst);
        let step_done = known.step_done.load(SeqCst);
        let there_until = known.there_until.load(SeqCst);
        let gone_by = known.gone_by.load(SeqCst);
        let before = time.now();
        let seen = look(cache, &self.keys[number]);
        let after = time.now();
        let write_begun = known.write_begun.load(SeqCst);
        // In peace, nothing was begun since what had been done before.
        let in_peace = known.step_begun.load(SeqCst) == step_done;
        let scene = self.stage.scene;
        match seen {
            Some(Value { key, version, is_loaded, .. }) => {
                assert_eq!(key, number, "another key's value");
                assert!(
                    (write_done..=write_begun).contains(&version),
                    "saw write {version} of key {number}, after {write_done} and before \
                     {write_begun}: {scene:?}"
                );
                if in_peace && !is_loaded {
                    let gone_by = Duration::from_nanos(gone_by);
                    assert!(
                        before < gone_by || !scene.is_exact(),
                        "seen at {before:?}, gone by {gone_by:?}: {scene:?}"
                    );
                    self.stage.seen_in_peace.fetch_add(1, SeqCst);
                }
                self.stage.seen.fetch_add(1, SeqCst);
            }
            None if in_peace && scene.only_time_removes => {
                let there_until = Duration::from_nanos(there_until);
                assert!(after >= there_until, "missed at {after:?} of {there_until:?}: {scene:?}");
                self.stage.missed_in_peace.fetch_add(1, SeqCst);
            }
            None => {}
        }
    }

    /// The writer of a key does something to it, which returns the moments from
    /// before to after which the entry is there, if that has changed.
    fn step(
        &self,
        number: usize,
        is_write: bool,
        act: impl FnOnce(u64) -> Option<(Duration, Duration)>,
    ) {
        let known = &self.stage.known[number];
        let step = known.step_begun.fetch_add(1, SeqCst) + 1;
        let write = known.write_begun.fetch_add(u64::from(is_write), SeqCst) + 1;
        if let Some((there_until, gone_by)) = act(write) {
            let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            known.there_until.store(nanos(there_until), SeqCst);
            known.gone_by.store(nanos(gone_by), SeqCst);
        }
        if is_write {
            known.write_done.store(write, SeqCst);
        }
        known.step_done.store(step, SeqCst);
    }

    /// Runs a call that gives an entry a TTL, and tells from when to when it may
    /// be seen.
    fn timed(&self, ttl: Duration, call: impl FnOnce()) -> Option<(Duration, Duration)> {
        let Stage { time, scene, .. } = self.stage;
        let before = time.now();
        call();
        if ttl.is_zero() {
            return Some((Duration::ZERO, Duration::ZERO));
        }
        let after = time.now();
        Some((before.saturating_add(ttl), after.saturating_add(ttl + scene.resolution)))
    }

    fn write_own(&mut self) {
        let cache = &self.stage.cache;
        let own = Scene::KEYS / Scene::THREADS;
        let number = self.number * own + self.random.usize(..own);
        let ttl = self.some_ttl().min(Duration::from_secs(1_000));
        let key = self.keys[number].clone();
        match self.random.u8(..8) {
            0 => self.step(number, true, |write| {
                let batch = (0..5).map(|_| (key.clone(), self.value(number, write, false)));
                self.timed(ttl, || cache.insert_many_with_ttl(batch, ttl))
            }),
            1..=3 => self.step(number, true, |write| {
                let value = self.value(number, write, false);
                self.timed(ttl, || {
                    if let Some(replaced) = cache.insert_with_ttl(key, value, ttl) {
                        assert_eq!(replaced.key, number);
                        assert!(replaced.version < write || replaced.is_loaded);
                    }
                })
            }),
            4 => self.step(number, true, |write| {
                if let Some(removed) = cache.remove(&key) {
                    assert!(removed.version <= write);
                }
                Some((Duration::ZERO, Duration::ZERO))
            }),
            5 => {
                // Counts as a write only if there is something to write to: a
                // load that is under way is not overruled.
                let known = &self.stage.known[number];
                let write = known.write_begun.fetch_add(1, SeqCst) + 1;
                if cache.update(&key, |value| value.version = write).is_some() {
                    known.write_done.store(write, SeqCst);
                }
            }
            6 => self.step(number, false, |_| {
                let mut is_there = false;
                let times = self.timed(ttl, || is_there = cache.set_ttl(&key, ttl));
                times.filter(|_| is_there)
            }),
            _ => self.step(number, false, |_| {
                let mut is_there = false;
                let times =
                    self.timed(ttl, || is_there = cache.get_and_set_ttl(&key, ttl).is_some());
                times.filter(|_| is_there)
            }),
        }
    }

    fn load(&mut self, number: usize) {
        let ttl = self.some_ttl();
        let fails = self.random.u8(..8) == 0;
        let nested = (number + 1..Scene::KEYS).nth(self.random.usize(..64));
        let which = self.random.u8(..3);
        let written = || self.version(number);
        let load = |nests: bool| {
            let value = self.value(number, written(), true);
            if let Some(nested) = nested.filter(|_| nests) {
                // Upwards only: otherwise two threads may wait for each other.
                self.look(nested, |cache, key| {
                    let made = || self.value(nested, self.version(nested), true);
                    Some(cache.get_or_insert_with(key, made))
                });
            }
            value
        };
        match which {
            0 => self.look(number, |cache, key| {
                let loaded =
                    cache.get_or_load(key, || if fails { Err(()) } else { Ok((load(true), ttl)) });
                // An error: nobody knows whether the entry was there.
                Some(loaded.unwrap_or_else(|()| self.value(number, written(), true)))
            }),
            1 => self.look(number, |cache, key| {
                let made = cache
                    .try_get_or_insert_with(key, || if fails { Err(()) } else { Ok(load(false)) });
                Some(made.unwrap_or_else(|()| self.value(number, written(), true)))
            }),
            _ => {
                let make = || load(false);
                self.look(number, |cache, key| Some(cache.get_or_insert_with(key, make)));
            }
        }
    }

    fn version(&self, number: usize) -> u64 {
        self.stage.known[number].write_begun.load(SeqCst)
    }

    fn act(&mut self) {
        let Stage { scene, time, cache, .. } = self.stage;
        let number = self.random.usize(..Scene::KEYS);
        match self.random.u8(..40) {
            0..=12 => self.write_own(),
            13..=19 => self.look(number, |cache, key| cache.get(key)),
            20 => self.look(number, |cache, key| {
                let mut last = None;
                cache.read_many(std::iter::repeat_n(key, 20), |_, value| last = value.cloned());
                last
            }),
            21..=22 => self.look(number, |cache, key| cache.peek(key)),
            23..=24 => self.look(number, |cache, key| cache.read(key, Value::clone)),
            25..=31 => self.load(number),
            32 => {
                if cache.contains_key(&self.keys[number]) {
                    cache.expires_in(&self.keys[number]);
                }
            }
            33 => {
                let limit = self.random.usize(..40);
                assert!(cache.reap(limit) <= limit);
            }
            34 => {
                let _ = cache.next_expiry();
                assert!(cache.len() <= cache.capacity());
            }
            35 if self.random.u8(..100) == 0 => {
                let mut seen = 0;
                cache.for_each(|key, value| {
                    assert_eq!(key.0, value.key);
                    seen += 1;
                });
                // One that is taken out and put in again may be seen twice.
                assert!(scene.only_time_removes || seen <= Scene::KEYS * 2);
            }
            36 if self.random.u8(..100) == 0 && !scene.only_time_removes => {
                let rest = self.random.usize(..4);
                cache.retain(|key, _| key.0 % 4 != rest);
            }
            37 if self.random.u16(..1_000) == 0 && !scene.only_time_removes => cache.clear(),
            38..=39 => {
                if let Time::Manual(clock) = time {
                    let is_jump = self.random.u8(..64) == 0;
                    let micros = self.random.u64(..if is_jump { 60_000 } else { 400 });
                    clock.advance(Duration::from_micros(micros));
                }
            }
            _ => thread::yield_now(),
        }
    }
}

/// Eight threads, each the only writer of its keys and a reader and loader of
/// all, and one that looks at the inside all the while.
fn perform(scene: Scene) {
    let living = Arc::new(AtomicI64::new(0));
    let causes: Arc<Causes> = Arc::default();
    let told = causes.clone();
    let builder = Cache::builder()
        .capacity(scene.capacity)
        .shards(scene.shards)
        .eviction(scene.eviction)
        .ttl(150 * MILLISECOND)
        .resolution(scene.resolution)
        // By a manual clock, what is due stays for a while.
        .reap_limit(if scene.is_manual { 1 } else { 64 })
        .on_removal(move |key: &Key, value: &Value, cause| {
            assert_eq!(key.0, value.key);
            told[number(cause)].fetch_add(1, SeqCst);
        });
    let (builder, time) = if scene.is_manual {
        let clock = ManualClock::new();
        (builder.clock(clock.clone()), Time::Manual(clock))
    } else {
        (builder, Time::System)
    };
    let cache = builder.build().unwrap();
    let stage = Stage {
        scene,
        time,
        cache,
        known: (0..Scene::KEYS).map(|_| Known::default()).collect(),
        living: living.clone(),
        seen: AtomicU64::new(0),
        seen_in_peace: AtomicU64::new(0),
        missed_in_peace: AtomicU64::new(0),
    };
    let acting = AtomicUsize::new(Scene::THREADS);
    thread::scope(|scope| {
        for number in 0..Scene::THREADS {
            let (stage, acting) = (&stage, &acting);
            scope.spawn(move || {
                let keys = (0..Scene::KEYS).map(|key| Key(key, Life::new(&stage.living))).collect();
                let random = fastrand::Rng::with_seed(number as u64);
                let mut actor = Actor { stage, number, random, keys };
                // Also told if the thread panics.
                let _done = Finally(|| _ = acting.fetch_sub(1, SeqCst));
                for step in 0.. {
                    if step >= Scene::STEPS && step % 64 == 0 && stage.is_enough() {
                        break;
                    }
                    actor.act();
                }
            });
        }
        while acting.load(SeqCst) > 0 {
            stage.cache.check();
            let stats = stage.cache.stats();
            let left = stats.expired + stats.evicted + stats.removed + stats.replaced;
            assert_eq!(stats.inserts, stats.live + left, "{stats:?}: {scene:?}");
            thread::sleep(MILLISECOND);
        }
    });

    assert!(stage.is_enough());
    let Stage { cache, known, .. } = stage;
    cache.check();
    cache.check_idle();
    // The reaper may be about to hand out what it has taken out.
    await_that("the listener has heard of all that left", || {
        let stats = cache.stats();
        let told = causes.each_ref().map(|count| count.load(SeqCst));
        told[..3] == [stats.expired, stats.evicted, stats.replaced]
            && told[3] + told[4] == stats.removed
    });
    assert!(!scene.only_time_removes || cache.stats().evicted == 0, "{scene:?}");
    drop((cache, known));
    await_that("everything is dropped", || living.load(SeqCst) == 0);
}

/// Runs something at the end of a scope.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn threads_leave_every_shard_whole_by_a_manual_clock() {
    watched(|| {
        for eviction in POLICIES {
            for shards in [1, 4] {
                let scene = Scene {
                    is_manual: true,
                    eviction,
                    shards,
                    capacity: 200,
                    only_time_removes: false,
                    resolution: 10 * MILLISECOND,
                };
                perform(scene);
                perform(Scene { capacity: 4_000, only_time_removes: true, ..scene });
            }
        }
    });
}

#[test]
fn threads_leave_every_shard_whole_beside_the_reaper() {
    watched(|| {
        for eviction in POLICIES {
            for shards in [1, 4] {
                let scene = Scene {
                    is_manual: false,
                    eviction,
                    shards,
                    capacity: 200,
                    only_time_removes: false,
                    resolution: 10 * MILLISECOND,
                };
                perform(scene);
                let roomy = Scene { capacity: 4_000, only_time_removes: true, ..scene };
                perform(roomy);
                let exact = Scene { resolution: SystemClock.lag().max(MILLISECOND), ..roomy };
                assert!(exact.is_exact());
                perform(exact);
            }
        }
    });
}

// ---- The reaper ----

/// A reaper of the test's own and its thread, which counts the rounds.
struct OwnReaper {
    reaper: &'static ReaperThread,
    rounds: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl OwnReaper {
    fn start() -> Self {
        let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
        let rounds = Arc::new(AtomicUsize::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (rounds, is_over) = (rounds.clone(), is_over.clone());
            move || {
                while !is_over.load(SeqCst) {
                    rounds.fetch_add(1, SeqCst);
                    reaper.run_once(system_nanos);
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
        self.reaper.alarm.wake();
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

/// Each level of the wheel is passed once at most.
const ROUNDS_MAX: usize = 11;

#[test]
fn an_idle_reaper_sleeps_while_the_cache_is_read() {
    watched(|| {
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
    });
}

/// Under many calls the reaper keeps the time, and when they end it goes back to
/// sleep.
#[test]
fn the_reaper_keeps_the_time_while_calls_come_in() {
    watched(|| {
        let own = OwnReaper::start();
        let cache = own.cache(10 * MILLISECOND);
        cache.insert_with_ttl(1, 1, 3_600 * SECOND);
        cache.insert_with_ttl(2, 2, 100 * MILLISECOND);
        let rounds = || own.rounds.load(SeqCst);
        let before = rounds();
        let handle = cache.inner.reaper.as_ref().unwrap();
        await_that("the reaper keeps the time, and calls go by it", || {
            for _ in 0..10_000 {
                assert_eq!(cache.get(&1), Some(1));
            }
            let is_kept = !handle.has_clocks() || handle.cached_now().is_some();
            is_kept && rounds() > before + 50
        });
        await_that("time goes on", || cache.get(&2).is_none());
        // One keeping that is under way, one that has been asked for, and no further
        // ones, however long that takes. Those would be 250 in a second.
        let before = rounds();
        thread::sleep(SECOND);
        let rounds = rounds() - before;
        assert!(
            rounds <= 2 * IDLE_PERIODS_MAX as usize + ROUNDS_MAX,
            "up {rounds} times for no calls"
        );
    });
}

/// What a TTL counts from while the reaper keeps the time: never ahead of the clock, and
/// behind it by no more than every deadline makes up for.
#[test]
fn the_time_told_without_the_clock_is_within_its_bounds() {
    watched(|| {
        let own = OwnReaper::start();
        let cache = own.cache(4 * SystemClock.lag());
        let handle = cache.inner.reaper.as_ref().unwrap();
        if Tsc::new().is_none() || !handle.has_clocks() {
            return;
        }
        let max_lag = max_lag(SystemClock.lag()).as_nanos() as u64;
        let mut told = 0;
        await_that("it is told often", || {
            for key in 0..10_000 {
                cache.insert_with_ttl(key, key, 3_600 * SECOND);
                let earlier = system_nanos();
                let Some(nanos) = handle.tsc_nanos() else { continue };
                assert!(nanos <= system_nanos(), "ahead of the clock");
                assert!(nanos + max_lag >= earlier, "{} ns behind", earlier - nanos);
                told += 1;
            }
            told > 100_000
        });
    });
}

/// All that is due, of several shards, however much it is: only then the reaper
/// goes back to sleep. It is awake once, since it has been woken before.
#[test]
fn one_round_frees_all_that_is_due() {
    const ENTRIES: u64 = 200_000;
    watched(|| {
        let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
        let cache = cache_of(reaper, ENTRIES as usize * 6 / 5, 10 * MILLISECOND);
        cache.insert_with_ttl(ENTRIES, 0, 3_600 * SECOND);
        for key in 0..ENTRIES {
            cache.insert_with_ttl(key, key, Duration::from_millis(500 + key % 50));
        }
        await_that("all are due", || (0..ENTRIES).all(|key| !cache.contains_key(&key)));
        assert!(cache.len() > 1, "that has freed them all");
        reaper.alarm.wake();
        reaper.run_once(system_nanos);
        assert_eq!(cache.len(), 1);
        assert_eq!(cache.stats().expired, ENTRIES);
    });
}

/// The reaper means to get up before the first of all deadlines has passed by a
/// tick; and not at once.
#[test]
fn the_alarm_is_set_to_the_first_deadline_of_all() {
    watched(|| {
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
                reaper.alarm.wake();
                reaper.run_once(system_nanos);
                let deadline_nanos = reaper.alarm.deadline_nanos();
                assert!(deadline_nanos <= first_nanos, "{deadline_nanos} is after {first_nanos}");
                assert!(
                    deadline_nanos > now_nanos,
                    "{deadline_nanos} is no later than {now_nanos}"
                );
            }
        }
        assert!(caches.iter().all(|cache| cache.len() == 6));
    });
}

#[test]
fn a_reaper_gets_up_once_a_level_in_real_time() {
    watched(|| {
        let own = OwnReaper::start();
        // Two million ticks of half a microsecond: four levels.
        let cache = own.cache(Duration::from_micros(1));
        thread::sleep(50 * MILLISECOND);
        let before = own.rounds.load(SeqCst);
        cache.insert_with_ttl(1, 1, SECOND);
        await_that("the entry is freed", || cache.is_empty());
        // One for the insertion, and one that frees.
        let rounds = own.rounds.load(SeqCst) - before;
        assert!(rounds <= ROUNDS_MAX + 2, "{rounds} rounds");
    });
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

    fn next_event(&self, _: usize) -> u64 {
        let next_event = self.shard.lock().unwrap().next_event();
        self.next.store(next_event, SeqCst);
        next_event
    }

    fn reap_batch(&self, _: usize, now_nanos: u64) {
        let mut shard = self.shard.lock().unwrap();
        assert_eq!(now_nanos, self.now.load(SeqCst));
        while let Some(expired) = shard.reap_one(now_nanos, &mut usize::MAX.clone()) {
            assert_eq!(expired.cause, RemovalCause::Expired);
            self.freed.fetch_add(1, SeqCst);
        }
        shard.check();
    }
}

/// The rounds of a reaper that serves one entry, due after so many ticks, until
/// it is freed.
fn rounds_until_freed(origin: u64, ttl: u64) -> usize {
    // What is far ahead the wheel rounds up itself.
    let is_far = ttl >= 1 << 42;
    let due = if is_far { (origin + ttl).next_multiple_of(2_048) } else { origin + ttl };
    let settings = Settings { capacity: Some(10), ..Settings::default() };
    let (geometry, _) =
        settings.plan::<u64, u64>(Inner::<u64, u64, RandomState>::SHARD_BYTES, 0).unwrap();
    let shards = Shard::allocate(&geometry, Eviction::default(), origin, |shard| shard);
    let mut shard = shards.unwrap().into_vec().pop().expect("one shard");
    let hash = KeyHash::new(&RandomState::default(), &1u64);
    shard.insert(hash, 1, 1, Deadline::At(due), origin, &mut 64);
    let simulated = Arc::new(InSimulatedTime {
        next: AtomicU64::new(shard.next_event()),
        shard: Mutex::new(shard),
        now: AtomicU64::new(origin),
        freed: AtomicU64::new(0),
    });
    let reaper = ReaperThread::new();
    reaper.register(simulated.clone());
    let mut rounds = 0;
    while simulated.freed.load(SeqCst) == 0 {
        // The time to get up comes at once.
        let next = simulated.next.load(SeqCst);
        assert!((origin..=due).contains(&next), "up at {next}: {origin} + {ttl}");
        simulated.now.store(next, SeqCst);
        reaper.alarm.wake();
        reaper.run_once(|| next);
        rounds += 1;
        assert!(rounds < 1_000, "still not freed: {origin} + {ttl}");
    }
    assert_eq!(simulated.now.load(SeqCst), due, "freed at another time");
    rounds
}

#[test]
fn a_reaper_gets_up_once_a_level_until_the_entry_is_due() {
    watched(|| {
        let hour = (3_600 * SECOND).as_millis() as u64;
        let mut random = fastrand::Rng::with_seed(1);
        let mut most = 0;
        for ttl in [1, 63, 64, 65, hour / 4, hour, hour * 1_000, hour << 20, (1 << 52) - 1] {
            let origins = [0, 1, 63, 64, (1 << 36) - 1, (1 << 60) - 1, (1 << 62) - 1];
            for origin in origins.into_iter().chain((0..500).map(|_| random.u64(..1 << 62))) {
                let rounds = rounds_until_freed(origin, ttl);
                assert!(rounds <= ROUNDS_MAX, "{rounds} rounds: {origin} + {ttl}");
                most = most.max(rounds);
            }
        }
        assert!(most > 5, "levels were passed: {most}");
    });
}

/// Stands in for a cache of which something falls due once.
struct Standin {
    reaper: &'static ReaperThread,
    due_nanos: AtomicU64,
    /// Whether the reaper has come in time, and how often it has come.
    served: AtomicBool,
    visits: AtomicUsize,
    /// Drops its last handle when it is served, on the reaper's thread.
    leaves: OnceLock<Weak<Standin>>,
}

impl Standin {
    fn new(reaper: &'static ReaperThread, due_nanos: u64) -> Arc<Self> {
        Arc::new(Self {
            reaper,
            due_nanos: AtomicU64::new(due_nanos),
            served: AtomicBool::new(false),
            visits: AtomicUsize::new(0),
            leaves: OnceLock::new(),
        })
    }
}

impl Reapable for Standin {
    fn shards(&self) -> usize {
        1
    }

    fn next_event(&self, _: usize) -> u64 {
        self.visits.fetch_add(1, SeqCst);
        if self.served.load(SeqCst) { Alarm::NEVER } else { self.due_nanos.load(SeqCst) }
    }

    fn reap_batch(&self, _: usize, now_nanos: u64) {
        assert!(now_nanos >= self.due_nanos.load(SeqCst), "reaped before it is due");
        self.served.store(true, SeqCst);
        if let Some(this) = self.leaves.get().and_then(Weak::upgrade) {
            let this: Arc<dyn Reapable> = this;
            self.reaper.unregister(&this);
        }
    }
}

#[test]
fn the_list_of_caches_shrinks() {
    watched(|| {
        let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
        let standins: Vec<_> = (0..3).map(|_| Standin::new(reaper, u64::MAX)).collect();
        for standin in &standins {
            reaper.register(standin.clone());
        }
        for (gone, standin) in standins.iter().enumerate() {
            reaper.alarm.wake();
            reaper.run_once(system_nanos);
            let visits = standins.iter().map(|standin| standin.visits.load(SeqCst));
            let expected = (1..=gone + 1).map(|visits| visits.min(gone + 1));
            assert!(visits.zip(expected).all(|(visits, expected)| visits == expected));
            let listed: Arc<dyn Reapable> = standin.clone();
            assert_eq!(Arc::strong_count(standin), 3);
            reaper.unregister(&listed);
            assert_eq!(Arc::strong_count(standin), 2, "it is still in the list");
            // Once more is nothing to worry about.
            reaper.unregister(&listed);
        }
    });
}

#[test]
fn the_one_behind_a_cache_that_leaves_is_not_forgotten() {
    watched(|| {
        let reaper: &'static ReaperThread = Box::leak(Box::new(ReaperThread::new()));
        let leaver = Standin::new(reaper, u64::MAX);
        leaver.leaves.set(Arc::downgrade(&leaver)).unwrap();
        let next = Standin::new(reaper, u64::MAX);
        reaper.register(leaver.clone());
        reaper.register(next.clone());
        // Uses up the wake-up that registering has left behind.
        reaper.run_once(system_nanos);
        leaver.due_nanos.store(0, SeqCst);
        next.due_nanos.store(0, SeqCst);
        // As the first leaves, the second takes its place in the list and may be
        // skipped. This would sleep for ever if the departure woke nobody.
        reaper.run_once(system_nanos);
        reaper.alarm.wake();
        reaper.run_once(system_nanos);
        assert!(leaver.served.load(SeqCst) && next.served.load(SeqCst));
        assert_eq!(Arc::strong_count(&leaver), 1);
    });
}

#[test]
fn no_wake_up_is_lost_while_caches_come_and_go() {
    watched(|| {
        let own = OwnReaper::start();
        let reaper = own.reaper;
        thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(number);
                    for _ in 0..400 {
                        let due_nanos = system_nanos() + random.u64(..1_500_000);
                        let standin = Standin::new(reaper, due_nanos);
                        let leaves = random.bool();
                        if leaves {
                            standin.leaves.set(Arc::downgrade(&standin)).unwrap();
                        }
                        reaper.register(standin.clone());
                        await_that("a cache is served", || standin.served.load(SeqCst));
                        if !leaves {
                            let listed: Arc<dyn Reapable> = standin.clone();
                            reaper.unregister(&listed);
                        }
                        await_that("the reaper lets go", || Arc::strong_count(&standin) == 1);
                    }
                });
            }
        });
    });
}

#[test]
fn the_reaper_lets_go_of_a_cache_whose_last_handle_is_dropped() {
    watched(|| {
        let living = Arc::new(AtomicI64::new(0));
        let cache = Cache::new(1_000);
        let inner = Arc::downgrade(&cache.inner);
        for key in 0..500 {
            cache.insert_with_ttl(key, Life::new(&living), 3_600 * SECOND);
        }
        let other = cache.clone();
        drop(cache);
        assert_eq!(living.load(SeqCst), 500);
        assert_eq!(other.inner.reaper_mode(), Reaper::Thread);
        drop(other);
        assert_eq!(living.load(SeqCst), 0, "not before the last handle was dropped");
        // Unless it is just looking in.
        await_that("nobody holds the cache", || inner.strong_count() == 0);
    });
}

// ---- Panics of callers' code ----

mod panics {
    //! Panics in every place where callers' code runs, at every position of a
    //! short run: as `unsync::panic_tests`, for what this cache does otherwise.

    use std::cell::{Cell, RefCell};
    use std::collections::HashSet;

    use super::*;

    thread_local! {
        /// Calls of callers' code until the first panic, and how many panic then.
        static FUSE: Cell<Option<u32>> = const { Cell::new(None) };
        static PANICS: Cell<u32> = const { Cell::new(0) };
        /// Only drops and listeners panic: those may do so several times in a call.
        static ONLY_AFTERWARDS: Cell<bool> = const { Cell::new(false) };
        static NEXT_INSTANCE: Cell<u64> = const { Cell::new(0) };
        static ALIVE: RefCell<HashSet<u64>> = RefCell::new(HashSet::new());
    }

    /// What an injected panic carries: how many were still to come, it included.
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
            Self(self.0, Instance::new())
        }
    }

    impl Drop for Key {
        fn drop(&mut self) {
            callers_code(true);
        }
    }

    struct Value(#[expect(dead_code, reason = "for its drop")] Instance);

    impl Clone for Value {
        fn clone(&self) -> Self {
            callers_code(false);
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
    type Step = Box<dyn Fn(&TestCache, &ManualClock)>;

    /// Looks keys up that live as long as the run, so that none is dropped in the
    /// caller while a panic unwinds: a second panic there would end the process.
    fn keys() -> &'static [Key; 8] {
        thread_local! {
            static KEYS: &'static [Key; 8] =
                Box::leak(Box::new(std::array::from_fn(|key| Key(key as u32, Instance(u64::MAX)))));
        }
        KEYS.with(|keys| *keys)
    }

    fn value() -> Value {
        Value(Instance::new())
    }

    /// Made while they are asked for, so that none is dropped in the caller.
    fn entries(count: u32) -> impl Iterator<Item = (Key, Value)> {
        (0..count).map(|number| {
            callers_code(false);
            (Key(number % 6, Instance::new()), value())
        })
    }

    /// One call each, in an order that meets every way for an entry to leave.
    fn script() -> Vec<Step> {
        fn step(call: impl Fn(&TestCache, &ManualClock) + 'static) -> Step {
            Box::new(call)
        }
        fn insert(key: u32, ttl_seconds: u32) -> Step {
            step(move |cache, _| {
                let (key, value) = (Key(key, Instance::new()), value());
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
            step(move |cache, _| drop(cache.get(&keys[3]))),
            step(move |cache, _| drop(cache.peek(&keys[3]))),
            step(move |cache, _| _ = cache.read(&keys[3], |_| callers_code(false))),
            step(move |cache, _| _ = cache.contains_key(&keys[3])),
            insert(4, 3),
            step(move |cache, clock| {
                clock.advance(2 * SECOND);
                drop(cache.get(&keys[7]));
            }),
            insert(5, 3),
            insert(5, 0),
            step(move |cache, _| {
                drop(cache.get_or_insert_with(&keys[6], || {
                    callers_code(false);
                    value()
                }));
            }),
            step(move |cache, _| drop(cache.get_or_insert_with(&keys[6], value))),
            step(move |cache, _| {
                drop(cache.get_or_load(&keys[7], || {
                    callers_code(false);
                    Ok::<_, ()>((value(), Duration::ZERO))
                }));
            }),
            step(move |cache, _| {
                drop(cache.try_get_or_insert_with(&keys[0], || {
                    callers_code(false);
                    Err(())
                }));
            }),
            // Overruled while it loads.
            step(move |cache, _| {
                drop(cache.get_or_insert_with(&keys[0], || {
                    cache.remove(&keys[0]);
                    value()
                }));
            }),
            step(move |cache, _| drop(cache.remove(&keys[3]))),
            step(move |cache, _| drop(cache.get_and_set_ttl(&keys[6], SECOND))),
            insert(1, 1),
            insert(2, 1),
            step(move |cache, _| {
                cache.set_ttl(&keys[1], Duration::ZERO);
                cache.expires_in(&keys[1]);
            }),
            step(move |cache, _| _ = cache.update(&keys[2], |_| callers_code(false))),
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
        let cache: TestCache = Cache::builder()
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
            guarded(&mut || call(&cache, &clock));
            let fuse = FUSE.take();
            cache.check();
            cache.check_idle();
            assert!(cache.len() <= 4);
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
        for eviction in POLICIES {
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

    /// The clone that `get_and_set_ttl` would have returned is dropped on the way,
    /// after a first panic: a second one in its `Drop` must not end the process.
    #[test]
    fn a_clone_that_nobody_gets_is_dropped_with_care() {
        let cache: TestCache =
            Cache::builder().capacity(4).on_removal(|_, _, _| callers_code(true)).build().unwrap();
        cache.insert(Key(0, Instance::new()), value());
        ONLY_AFTERWARDS.set(true);
        FUSE.set(Some(0));
        PANICS.set(5);
        let call = || cache.get_and_set_ttl(&keys()[0], Duration::ZERO);
        let panic = catch_unwind(AssertUnwindSafe(call)).err().expect("the listener panics");
        FUSE.set(None);
        assert_eq!(panic.downcast_ref(), Some(&Injected(5)), "not the first panic");
        drop(cache);
        ALIVE.with_borrow(|alive| assert!(alive.is_empty(), "leaked: {alive:?}"));
    }

    /// `Hash` or `Eq` panics, and then the `Drop` of what was to be put in: the second
    /// panic must not end the process.
    #[test]
    fn what_a_panic_keeps_out_is_dropped_with_care() {
        // The first call is that of `Hash`, the second that of `Eq`.
        for panics_at in [0, 1] {
            for ttl in [Duration::ZERO, Duration::MAX] {
                let cache: TestCache = Cache::new(4);
                cache.insert(Key(0, Instance::new()), value());
                let (key, value) = (Key(0, Instance::new()), value());
                FUSE.set(Some(panics_at));
                PANICS.set(3);
                let insert = || cache.insert_with_ttl(key, value, ttl);
                let panic = catch_unwind(AssertUnwindSafe(insert));
                FUSE.set(None);
                assert_eq!(panic.err().expect("it panics").downcast_ref(), Some(&Injected(3)));
                drop(cache);
                ALIVE.with_borrow(|alive| assert!(alive.is_empty(), "leaked: {alive:?}"));
            }
        }
    }
}
