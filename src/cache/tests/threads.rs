//! Every shard is whole while threads fight for it, and a reader sees what was written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use punctual_testing::instances::{Instance, Instances};
use punctual_testing::keys::Carrying;
use punctual_testing::policies;
use punctual_testing::watchdog::{Watchdog, wait_until};

use crate::time::clock::system_nanos;
use crate::{Cache, Clock, Eviction, ManualClock, RemovalCause, SystemClock};

const MILLISECOND: Duration = Duration::from_millis(1);

type Key = Carrying<Instance>;

#[derive(Clone)]
struct Value {
    key: usize,
    /// The number of the write that has brought it; of a loaded one, the last
    /// write that had begun when it was loaded.
    version: u64,
    is_loaded: bool,
    _instance: Instance,
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
    instances: Instances,
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
        Value { key, version, is_loaded, _instance: self.stage.instances.make() }
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
                // load that is under way is not invalidated.
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
                Some(loaded.unwrap_or_else(|_| self.value(number, written(), true)))
            }),
            1 => self.look(number, |cache, key| {
                let made = cache
                    .try_get_or_insert_with(key, || if fails { Err(()) } else { Ok(load(false)) });
                Some(made.unwrap_or_else(|_| self.value(number, written(), true)))
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
                    let _ = cache.expires_in(&self.keys[number]);
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
                    assert_eq!(key.0, value.key as u64);
                    seen += 1;
                });
                // One that is taken out and put in again may be seen twice.
                assert!(scene.only_time_removes || seen <= Scene::KEYS * 2);
            }
            36 if self.random.u8(..100) == 0 && !scene.only_time_removes => {
                let rest = self.random.usize(..4);
                cache.retain(|key, _| key.0 % 4 != rest as u64);
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
    let instances = Instances::default();
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
            assert_eq!(key.0, value.key as u64);
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
        instances: instances.clone(),
        seen: AtomicU64::new(0),
        seen_in_peace: AtomicU64::new(0),
        missed_in_peace: AtomicU64::new(0),
    };
    let acting = AtomicUsize::new(Scene::THREADS);
    thread::scope(|scope| {
        for number in 0..Scene::THREADS {
            let (stage, acting) = (&stage, &acting);
            scope.spawn(move || {
                let keys = (0..).take(Scene::KEYS).map(|key| Carrying(key, stage.instances.make()));
                let keys = keys.collect();
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
            assert_eq!(stats.inserts, stats.held + left, "{stats:?}: {scene:?}");
            thread::sleep(MILLISECOND);
        }
    });

    assert!(stage.is_enough());
    let Stage { cache, known, .. } = stage;
    cache.check();
    cache.check_idle();
    // The reaper may be about to hand out what it has taken out.
    wait_until("the listener has heard of all that left", || {
        let stats = cache.stats();
        let told = causes.each_ref().map(|count| count.load(SeqCst));
        told[..3] == [stats.expired, stats.evicted, stats.replaced]
            && told[3] + told[4] == stats.removed
    });
    assert!(!scene.only_time_removes || cache.stats().evicted == 0, "{scene:?}");
    drop((cache, known));
    wait_until("everything is dropped", || instances.live() == 0);
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
    let _watchdog = Watchdog::start();
    for eviction in policies!(Eviction) {
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
}

#[test]
fn threads_leave_every_shard_whole_beside_the_reaper() {
    let _watchdog = Watchdog::start();
    for eviction in policies!(Eviction) {
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
}
