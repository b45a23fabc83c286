//! The model test: random calls of the whole API, under a clock that misbehaves, compared
//! with a model made of std's map. After every call the structures of the cache are compared
//! with one another. It plays both caches; that for many threads, on one thread.
//!
//! The model does not know the eviction policy: it learns from the listener which entries
//! have been removed, and checks that they might be.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Choose;
use super::subject::Subject;
use crate::shard::batch::KEYS_PER_CHUNK;
use crate::time::tick::TTL_MAX;
use crate::{Cache, Eviction, ManualClock, Reaper, RemovalCause, unsync};

type Event = (u32, u64, RemovalCause);

const YEAR: Duration = Duration::from_secs(31_557_600);

/// The model's copy of an entry in the cache.
#[derive(Clone, Copy, Debug)]
struct Entry {
    value: u64,
    /// The end of its TTL, before which it must not be freed, and the time from which it must
    /// not be found any more; `None` for never.
    due: Option<(Duration, Duration)>,
    /// The latest that the TTL may end, where the time at which it began is not known exactly.
    ttl_end: Duration,
}

/// The bounds, both inclusive, of the time that the cache may assume in a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    least: Duration,
    most: Duration,
}

impl Now {
    fn may_be_due(self, entry: &Entry) -> bool {
        entry.due.is_some_and(|(first, _)| self.most >= first)
    }

    fn must_be_due(self, entry: &Entry) -> bool {
        entry.due.is_some_and(|(_, last)| self.least >= last)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    #[expect(dead_code, reason = "printed when a run fails")]
    seed: u64,
    capacity: usize,
    shards: usize,
    eviction: Eviction,
    reap_limit: usize,
    resolution: Duration,
    origin: Duration,
    ttl: Option<Duration>,
}

impl Run {
    fn tick_nanos(&self) -> u128 {
        1 << self.resolution.as_nanos().ilog2()
    }

    /// Returns the start of the tick that contains `time`.
    fn tick_start(&self, time: Duration) -> Duration {
        time - duration(time.as_nanos() % self.tick_nanos())
    }
}

fn duration(nanos: u128) -> Duration {
    Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
}

/// A cache that the model can play.
pub(crate) trait Played: Subject<u32, u64> {
    fn build(
        run: &Run,
        clock: ManualClock,
        listener: impl Fn(Event) + Send + Sync + 'static,
    ) -> Self;

    /// Compares all structures with one another.
    fn check(&self);

    /// Returns a value by another method than `get`.
    fn get_otherwise(&mut self, key: &u32) -> Option<u64>;

    /// Counts the entries that iteration visits.
    fn count_visible(&self) -> usize;

    /// Returns the bounds of a call's time, where the clock says `time` and the latest time
    /// that it has said is `latest`.
    fn now(run: &Run, time: Duration, latest: Duration) -> Now;

    /// Whether a call that changes no entry remembers the time as the latest.
    const READS_REMEMBER_TIME: bool;

    /// Whether a batch over several shards is inserted in its own order.
    const BATCHES_IN_ORDER: bool;
}

macro_rules! build {
    ($builder:expr, $run:expr, $clock:expr, $listener:expr) => {{
        let builder = $builder
            .capacity($run.capacity)
            .shards($run.shards)
            .eviction($run.eviction)
            .reap_limit($run.reap_limit)
            .resolution($run.resolution)
            .clock($clock)
            .on_removal(move |&key, &value, cause| $listener((key, value, cause)));
        match $run.ttl {
            Some(ttl) => builder.ttl(ttl).build().unwrap(),
            None => builder.build().unwrap(),
        }
    }};
}

impl Played for unsync::Cache<u32, u64> {
    const READS_REMEMBER_TIME: bool = false;
    const BATCHES_IN_ORDER: bool = true;

    fn build(
        run: &Run,
        clock: ManualClock,
        listener: impl Fn(Event) + Send + Sync + 'static,
    ) -> Self {
        build!(Self::builder(), run, clock, listener)
    }

    fn check(&self) {
        Self::check(self);
    }

    fn get_otherwise(&mut self, key: &u32) -> Option<u64> {
        self.get_mut(key).copied()
    }

    fn count_visible(&self) -> usize {
        self.iter().count()
    }

    fn now(_: &Run, time: Duration, latest: Duration) -> Now {
        Now { least: latest.max(time), most: latest.max(time) }
    }
}

impl Played for Cache<u32, u64> {
    const READS_REMEMBER_TIME: bool = true;
    const BATCHES_IN_ORDER: bool = false;

    fn build(
        run: &Run,
        clock: ManualClock,
        listener: impl Fn(Event) + Send + Sync + 'static,
    ) -> Self {
        build!(Self::builder().reaper(Reaper::Manual), run, clock, listener)
    }

    fn check(&self) {
        Self::check(self);
        self.check_idle();
    }

    fn get_otherwise(&mut self, key: &u32) -> Option<u64> {
        Cache::read(self, key, |&value| value)
    }

    fn count_visible(&self) -> usize {
        let mut count = 0;
        self.for_each(|_, _| count += 1);
        count
    }

    /// Each shard remembers the latest tick that it has seen.
    fn now(run: &Run, time: Duration, latest: Duration) -> Now {
        let most = time.max(run.tick_start(latest));
        // Where there are several shards, this one need not have seen it.
        Now { least: if run.shards == 1 { most } else { time }, most }
    }
}

fn copied(found: Option<impl Borrow<u64>>) -> Option<u64> {
    found.map(|value| *value.borrow())
}

struct Player<C, R> {
    run: Run,
    random: R,
    clock: ManualClock,
    /// What the clock says, and the latest time that the cache remembers.
    time: Duration,
    latest: Duration,
    cache: C,
    held: HashMap<u32, Entry>,
    events: Arc<Mutex<Vec<Event>>>,
    next_value: u64,
    counts: HashMap<RemovalCause, u64>,
    hits: u64,
    misses: u64,
    inserts: u64,
    /// Entries of a batch that may be in the cache but are not in `held` yet.
    unheld: usize,
}

impl<C: Played, R: Choose> Player<C, R> {
    fn new(run: Run, random: R) -> Self {
        let clock = ManualClock::new();
        clock.set(run.origin);
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = events.clone();
        let listener = move |event| sink.lock().unwrap().push(event);
        let cache = C::build(&run, clock.clone(), listener);
        Self {
            random,
            clock,
            time: run.origin,
            latest: run.origin,
            cache,
            held: HashMap::new(),
            events,
            next_value: 0,
            counts: HashMap::new(),
            hits: 0,
            misses: 0,
            inserts: 0,
            unheld: 0,
            run,
        }
    }

    fn key(&mut self) -> u32 {
        self.random.u32(..self.run.capacity as u32 * 2 + 1)
    }

    fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    fn ttl(&mut self) -> Duration {
        let resolution = self.run.resolution;
        match self.random.u8(..20) {
            0 => Duration::ZERO,
            1 => Duration::from_nanos(1),
            2 => Duration::MAX,
            3 => TTL_MAX + Duration::from_nanos(self.random.u64(..2)),
            4 => self.random.u32(1..24) * YEAR / 12,
            // On the boundary of a tick, and beside it.
            5 => {
                let tick = duration(self.run.tick_nanos());
                let to_boundary = tick - (self.time - self.run.tick_start(self.time));
                match self.random.u8(..3) {
                    0 => to_boundary,
                    1 => to_boundary + Duration::from_nanos(1),
                    _ => to_boundary - Duration::from_nanos(1),
                }
            }
            6..=12 => resolution * self.random.u32(1..10),
            _ => resolution * self.random.u32(1..5_000),
        }
    }

    fn move_clock(&mut self) {
        let resolution = self.run.resolution;
        self.time = match self.random.u16(..1000) {
            0..500 => self.time,
            500..800 => self.time + resolution * self.random.u32(..4),
            800..900 => self.time + Duration::from_nanos(self.random.u64(..3)),
            900..960 => self.time + resolution * self.random.u32(..2_000),
            960..980 => self.time.saturating_sub(resolution * self.random.u32(..1_000)),
            980..990 => self.latest.max(self.time),
            990..999 => self.time + resolution * 64u32.pow(self.random.u32(1..5)),
            _ => self.time + YEAR * self.random.u32(1..40),
        };
        self.clock.set(self.time);
    }

    /// Returns the time of a call that remembers it as the latest.
    fn now(&mut self) -> Now {
        self.latest = self.latest.max(self.time);
        self.peek_now()
    }

    /// Returns the time of a call that does not remember it, or does not read the clock.
    fn peek_now(&self) -> Now {
        C::now(&self.run, self.time, self.latest)
    }

    fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    fn count(&mut self, answer: Option<u64>) {
        *if answer.is_some() { &mut self.hits } else { &mut self.misses } += 1;
    }

    fn assert_answer(&self, key: u32, answer: Option<u64>, now: Now) {
        match (answer, self.held.get(&key)) {
            (Some(value), Some(entry)) => {
                assert_eq!(value, entry.value);
                assert!(!now.must_be_due(entry), "{key} outlives its TTL: {entry:?}");
            }
            (None, Some(entry)) => {
                assert!(now.may_be_due(entry), "{key} expired early: {entry:?} at {now:?}");
            }
            (Some(value), None) => panic!("{key} was removed, but {value} was found"),
            (None, None) => {}
        }
    }

    /// Removes from the model the entries of which the listener was notified. Besides
    /// expiry and eviction, the call may have removed entries for the causes in `own`.
    fn note_events(&mut self, own: &[RemovalCause], now: Now) {
        let events = self.take_events();
        self.note(events, own, now);
    }

    fn note(&mut self, events: Vec<Event>, own: &[RemovalCause], now: Now) {
        let must_be_due = self.held.values().filter(|entry| now.must_be_due(entry)).count();
        let limit_covers_all = self.held.len() + self.unheld <= self.run.reap_limit;
        let mut expired = 0;
        for (key, value, cause) in events {
            *self.counts.entry(cause).or_default() += 1;
            let entry = self.held.remove(&key).expect("an entry is removed once");
            assert_eq!(entry.value, value);
            match cause {
                RemovalCause::Expired => {
                    assert!(now.may_be_due(&entry), "{key} freed early: {entry:?}");
                    expired += 1;
                }
                RemovalCause::Evicted => {
                    assert!(!now.must_be_due(&entry), "{key} was due, and evicted");
                    assert!(
                        self.run.shards > 1 || !limit_covers_all || must_be_due == 0,
                        "promise 7: {key} evicted with {must_be_due} due"
                    );
                }
                _ => assert!(own.contains(&cause), "{key} was removed as {cause:?}"),
            }
        }
        let limit = if own.is_empty() { usize::MAX } else { self.run.reap_limit };
        // Beyond the limit: an old entry of the key, and a newcomer with a TTL of zero.
        assert!(expired <= limit.saturating_add(2), "promise 8: {expired} freed in one call");
    }

    fn hold(&mut self, key: u32, value: u64, ttl: Option<Duration>, now: Now) {
        let resolution = self.run.resolution;
        // Promise 9: from 2^36 ticks on, a thousandth. Here a 2^25th, rounded up.
        let is_exact = ttl.is_none_or(|ttl| ttl.as_nanos() >> 36 < resolution.as_nanos() / 2);
        let entry = Entry {
            value,
            ttl_end: ttl.map_or(Duration::MAX, |ttl| now.most.saturating_add(ttl)),
            due: ttl.filter(|&ttl| ttl <= TTL_MAX).map(|ttl| {
                (now.least + ttl, now.most + ttl + resolution * if is_exact { 1 } else { 2_049 })
            }),
        };
        self.held.insert(key, entry);
        self.inserts += 1;
    }

    fn insert(&mut self) {
        let (key, value) = (self.key(), self.value());
        let explicit = self.random.bool().then(|| self.ttl());
        let now = self.now();
        let replaced = match explicit {
            Some(ttl) => self.cache.insert_with_ttl(key, value, ttl),
            None => self.cache.insert(key, value),
        };
        let ttl = explicit.or(self.run.ttl);
        self.assert_answer(key, replaced, now);
        // Removals of others, and of an older entry of this key, come before the insertion.
        let (older, newer): (Vec<_>, Vec<_>) =
            self.take_events().into_iter().partition(|event| event.1 != value);
        self.note(older, &[RemovalCause::Replaced], now);
        self.hold_new(key, value, ttl, now);
        if ttl == Some(Duration::ZERO) {
            assert_eq!(newer, [(key, value, RemovalCause::Expired)]);
            self.note(newer, &[RemovalCause::Replaced], now);
        } else {
            assert!(newer.is_empty(), "the newcomer was removed at once: {newer:?}");
            assert_eq!(copied(self.cache.peek(&key)), Some(value), "a new entry is found");
        }
    }

    fn hold_new(&mut self, key: u32, value: u64, ttl: Option<Duration>, now: Now) {
        assert!(!self.held.contains_key(&key), "{key} was replaced without a notification");
        self.hold(key, value, ttl, now);
    }

    /// Returns up to three times the capacity; in one case of 32, up to two chunks and more.
    fn batch_size(&mut self) -> usize {
        if self.random.u8(..32) == 0 {
            self.random.usize(..KEYS_PER_CHUNK * 2 + 2)
        } else {
            self.random.usize(..self.run.capacity * 3 + 1)
        }
    }

    fn insert_many(&mut self) {
        let count = self.batch_size();
        let batch: Vec<_> = (0..count).map(|_| (self.key(), self.value())).collect();
        let explicit = self.random.bool().then(|| self.ttl());
        // An empty batch does not read the clock.
        let now = if count > 0 { self.now() } else { self.peek_now() };
        match explicit {
            Some(ttl) => self.cache.insert_many_with_ttl(batch.iter().copied(), ttl),
            None => self.cache.insert_many(batch.iter().copied()),
        }
        let ttl = explicit.or(self.run.ttl);
        let is_in_order = C::BATCHES_IN_ORDER || self.run.shards == 1;
        let mut rest = VecDeque::from(batch);
        // The order of insertions and removals is not known. Each entry counts as inserted as
        // late as possible: when the listener was notified of its removal, or at the end.
        for event in self.take_events() {
            while self.held.get(&event.0).is_none_or(|entry| entry.value != event.1) {
                // With several shards, only entries of the same key keep their order.
                let is_next = |&(key, _): &(u32, u64)| is_in_order || key == event.0;
                let next = rest.iter().position(is_next).and_then(|next| rest.remove(next));
                let (key, value) = next.expect("what is removed was inserted");
                self.hold_new(key, value, ttl, now);
            }
            self.unheld = rest.len();
            self.note(vec![event], &[RemovalCause::Replaced], now);
        }
        for (key, value) in rest {
            self.hold_new(key, value, ttl, now);
        }
        self.unheld = 0;
    }

    fn read_many(&mut self) {
        let count = self.batch_size();
        let keys: Vec<_> = (0..count).map(|_| self.key()).collect();
        let now = if count > 0 { self.now() } else { self.peek_now() };
        let mut answers = vec![None; count];
        let mut order = Vec::new();
        self.cache.read_many(&keys, |position, value| {
            order.push(position);
            answers[position] = value.copied();
        });
        if !(C::BATCHES_IN_ORDER || self.run.shards == 1) {
            order.sort_unstable();
        }
        assert!(order.into_iter().eq(0..count), "each key is answered once");
        // All reaping of the call comes before its answers, within one limit for each key.
        let limit = self.run.reap_limit;
        self.run.reap_limit = limit.saturating_mul(count).min(usize::MAX - 2);
        self.note_events(&[RemovalCause::Cleared], now);
        self.run.reap_limit = limit;
        for (key, answer) in keys.into_iter().zip(answers) {
            self.assert_answer(key, answer, now);
            self.count(answer);
        }
    }

    fn get_or_load(&mut self) {
        let (key, value, ttl) = (self.key(), self.value(), self.ttl());
        let now = self.now();
        let mut loaded = false;
        let clock = self.clock.clone();
        let takes = self.run.resolution * self.random.u32(..3);
        let fails = self.random.u8(..8) == 0;
        let time = self.time;
        let answer = self.cache.get_or_load(&key, || {
            loaded = true;
            clock.set(time + takes);
            if fails { Err("no") } else { Ok((value, ttl)) }
        });
        let answer = answer.map(|value| *value.borrow());
        if !loaded {
            self.hits += 1;
            self.assert_answer(key, Some(answer.unwrap()), now);
            self.note_events(&[RemovalCause::Cleared], now);
            return;
        }
        self.misses += 1;
        self.assert_answer(key, None, now);
        self.time += takes;
        let puts_in = !fails && !ttl.is_zero();
        let frees_nothing = C::READS_REMEMBER_TIME && self.run.reap_limit == 0;
        let now = if puts_in || !frees_nothing { self.now() } else { self.peek_now() };
        if fails {
            assert_eq!(answer, Err("no"));
        } else {
            assert_eq!(answer, Ok(value));
        }
        self.note_events(&[RemovalCause::Cleared], now);
        if puts_in {
            self.hold(key, value, Some(ttl), now);
        }
    }

    fn set_ttl(&mut self) {
        let (key, ttl) = (self.key(), self.ttl());
        let now = self.now();
        let before = self.held.get(&key).copied();
        let found = if self.random.bool() {
            let answer = copied(self.cache.get_and_set_ttl(&key, ttl));
            self.assert_answer(key, answer, now);
            self.count(answer);
            answer.is_some()
        } else {
            let found = self.cache.set_ttl(&key, ttl);
            self.assert_answer(key, before.filter(|_| found).map(|entry| entry.value), now);
            found
        };
        if found {
            let entry = before.expect("found in the model, too");
            self.hold(key, entry.value, Some(ttl), now);
            self.inserts -= 1;
        }
        self.note_events(&[RemovalCause::Cleared], now);
        assert!(!(found && ttl.is_zero() && self.held.contains_key(&key)));
    }

    fn reap(&mut self) {
        let limit = match self.random.u8(..4) {
            0 => self.random.usize(..3),
            1 => self.random.usize(..self.run.capacity * 2),
            _ => usize::MAX,
        };
        // With a limit of zero, `Cache` locks no shard.
        let now = if C::READS_REMEMBER_TIME && limit == 0 { self.peek_now() } else { self.now() };
        let freed = self.cache.reap(limit);
        assert_eq!(freed, self.events.lock().unwrap().len());
        self.note_events(&[], now);
        assert!(freed <= limit);
        if freed < limit {
            assert!(!self.held.values().any(|entry| now.must_be_due(entry)));
        }
    }

    fn look(&mut self) {
        let key = self.key();
        let now = if C::READS_REMEMBER_TIME { self.now() } else { self.peek_now() };
        let answer = copied(self.cache.peek(&key));
        self.assert_answer(key, answer, now);
        assert_eq!(self.cache.contains_key(&key), answer.is_some());
        match self.cache.expires_in(&key) {
            None => assert!(answer.is_none()),
            Some(Duration::MAX) => assert_eq!(self.held[&key].due, None),
            Some(left) => {
                let Entry { due, ttl_end, .. } = self.held[&key];
                let (first, last) = due.unwrap();
                assert!(now.least + left <= ttl_end.max(now.least), "more than is left");
                let slack = self.run.resolution + (last - first);
                assert!(now.most + left + slack >= first, "less by more than a resolution");
            }
        }
        let mut found = 0;
        self.cache.for_each(|&key, &value| {
            found += 1;
            self.assert_answer(key, Some(value), now);
        });
        let certainly = self.held.values().filter(|entry| !now.may_be_due(entry)).count();
        assert!(found >= certainly, "{found} visited, {certainly} are live");
        assert_eq!(found, self.cache.count_visible());
        assert_eq!(self.cache.due_len(), self.held.len() - found);

        let next = self.cache.next_expiry();
        match self.held.values().filter_map(|entry| Some(entry.due?.1)).min() {
            Some(first) => {
                let next = next.expect("an entry has a deadline");
                assert!(now.least + next <= first.max(now.least), "late");
            }
            None => assert_eq!(next, None),
        }
        assert!(self.events.lock().unwrap().is_empty(), "reads free nothing");
    }

    fn step(&mut self) {
        self.move_clock();
        match self.random.u16(..1000) {
            0..340 => self.insert(),
            340..350 => self.insert_many(),
            350..360 => self.read_many(),
            360..550 => {
                let key = self.key();
                let now = self.now();
                let answer = if self.random.bool() {
                    copied(self.cache.get(&key))
                } else {
                    self.cache.get_otherwise(&key)
                };
                self.assert_answer(key, answer, now);
                self.count(answer);
                self.note_events(&[RemovalCause::Cleared], now);
            }
            550..650 => {
                let key = self.key();
                let now = self.now();
                let answer = self.cache.remove(&key);
                self.assert_answer(key, answer, now);
                self.note_events(&[RemovalCause::Removed], now);
                assert!(!self.held.contains_key(&key));
            }
            650..740 => self.get_or_load(),
            740..840 => self.set_ttl(),
            840..900 => self.reap(),
            900..994 => self.look(),
            994..998 => {
                let now = self.now();
                let odd = self.random.bool();
                self.cache.retain(|key, _| (key % 2 == 1) == odd);
                self.note_unbounded(&[RemovalCause::Removed], now);
                assert!(self.held.keys().all(|key| (key % 2 == 1) == odd));
            }
            _ => {
                let now = self.now();
                self.cache.clear();
                self.note_unbounded(&[RemovalCause::Cleared], now);
                assert!(self.held.is_empty());
            }
        }
        self.compare();
    }

    /// Notes the events of a call that is not bounded by the reap limit.
    fn note_unbounded(&mut self, own: &[RemovalCause], now: Now) {
        let limit = std::mem::replace(&mut self.run.reap_limit, usize::MAX - 2);
        self.note_events(own, now);
        self.run.reap_limit = limit;
    }

    fn compare(&self) {
        self.cache.check();
        assert_eq!(self.cache.len(), self.held.len());
        assert!(self.cache.len() <= self.cache.capacity());
        let stats = self.cache.stats();
        let count = |cause| self.counts.get(&cause).copied().unwrap_or(0);
        assert_eq!(stats.hits, self.hits);
        assert_eq!(stats.misses, self.misses);
        assert_eq!(stats.inserts, self.inserts);
        assert_eq!(stats.expired, count(RemovalCause::Expired));
        assert_eq!(stats.evicted, count(RemovalCause::Evicted));
        assert_eq!(stats.replaced, count(RemovalCause::Replaced));
        assert_eq!(stats.removed, count(RemovalCause::Removed) + count(RemovalCause::Cleared));
        assert_eq!(stats.held, self.held.len() as u64);
        assert!(stats.live_peak >= stats.held && stats.live_peak <= self.cache.capacity() as u64);
    }
}

/// Prints the run and the step that failed, beside the message of the panic.
struct Announce(Run, u32);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("step {} of {:?}", self.1, self.0);
        }
    }
}

impl Run {
    fn choose(random: &mut impl Choose, seed: u64, eviction: Eviction) -> Self {
        let resolution =
            [Duration::from_micros(1), Duration::from_millis(10), Duration::from_secs(86_400)]
                [random.usize(..3)];
        // Shortly before a carry into a bit of the tick: the lowest of each level, and those
        // around the width of a packed deadline.
        let bit = [0, 6, 12, 18, 24, 30, 36, 42, 48, 53, 54, 57][random.usize(..12)];
        let before = random.u64(..2_000.min(1 << bit));
        let ticks = (1u128 << bit) - u128::from(before);
        let origin = duration(ticks << resolution.as_nanos().ilog2());
        let capacity = [1, 2, 3, 7, 20, 64, 100, 300][random.usize(..8)];
        Self {
            seed,
            capacity,
            shards: [1, 1, 1, 3][random.usize(..4)],
            eviction,
            reap_limit: [0, 1, 2, 16, 64, usize::MAX - 2][random.usize(..6)],
            resolution,
            origin,
            ttl: [
                None,
                Some(resolution * 20),
                Some((resolution * 3).max(Duration::from_secs(1800))),
            ][random.usize(..3)],
        }
    }
}

/// Plays a run with all choices from `random`, until they run out.
pub(crate) fn play_input<C: Played>(mut random: impl Choose) {
    const STEPS_MAX: u32 = 400;

    let eviction = [Eviction::Adaptive, Eviction::S3Clock, Eviction::S3Fifo, Eviction::Fifo]
        [random.usize(..4)];
    let run = Run::choose(&mut random, 0, eviction);
    let mut player = Player::<C, _>::new(run, random);
    let mut announce = Announce(run, 0);
    while announce.1 < STEPS_MAX && !player.random.is_exhausted() {
        player.step();
        announce.1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Shared = Cache<u32, u64>;
    type Unsync = unsync::Cache<u32, u64>;

    fn play<C: Played>(eviction: Eviction, seeds: std::ops::Range<u64>) -> u64 {
        const STEPS: u32 = 12_000;

        let mut steps = 0;
        for seed in seeds {
            let mut random = fastrand::Rng::with_seed(seed);
            let run = Run::choose(&mut random, seed, eviction);
            let mut player = Player::<C, _>::new(run, random);
            let mut announce = Announce(run, 0);
            for step in 0..STEPS {
                announce.1 = step;
                player.step();
            }
            steps += u64::from(STEPS);
        }
        steps
    }

    fn agrees_with_the_model_under_adaptive<C: Played>() {
        assert!(play::<C>(Eviction::Adaptive, 0..40) >= 480_000);
    }

    fn agrees_with_the_model_under_s3_clock<C: Played>() {
        assert!(play::<C>(Eviction::S3Clock, 3_000..3_030) >= 360_000);
    }

    fn agrees_with_the_model_under_s3_fifo<C: Played>() {
        assert!(play::<C>(Eviction::S3Fifo, 1_000..1_030) >= 360_000);
    }

    fn agrees_with_the_model_under_fifo<C: Played>() {
        assert!(play::<C>(Eviction::Fifo, 2_000..2_030) >= 360_000);
    }

    punctual_testing::test_both_caches! {
        agrees_with_the_model_under_adaptive
        agrees_with_the_model_under_s3_clock
        agrees_with_the_model_under_s3_fifo
        agrees_with_the_model_under_fifo
    }
}
