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
use crate::{Cache, Compute, Eviction, ManualClock, Reaper, RemovalCause, Ttl, unsync};

type Event = (u32, u64, RemovalCause);

const YEAR: Duration = Duration::from_secs(31_557_600);

/// The model's copy of an entry in the cache.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    value: u64,
    /// The end of its TTL, before which it must not be freed, and the time from which it must
    /// not be found any more; `None` for never.
    due: Option<(Duration, Duration)>,
    /// The latest that the TTL may end, where the time at which it began is not known exactly.
    ttl_end: Duration,
    /// The same for the time to idle: `due` and `ttl_end`.
    idle_due: Option<(Duration, Duration)>,
    idle_end: Duration,
    weight: u64,
}

impl Entry {
    /// Returns the bounds of the time from which it is due, by its TTL or its time to idle.
    fn all_due(&self) -> impl Iterator<Item = (Duration, Duration)> {
        self.due.into_iter().chain(self.idle_due)
    }
}

/// The bounds, both inclusive, of the time that the cache may assume in a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    least: Duration,
    most: Duration,
}

impl Now {
    fn may_be_due(self, entry: &Entry) -> bool {
        entry.all_due().any(|(first, _)| self.most >= first)
    }

    fn must_be_due(self, entry: &Entry) -> bool {
        entry.all_due().any(|(_, last)| self.least >= last)
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
    /// The TTL depends on the value, see [`ttl_by`].
    has_ttl_by: bool,
    jitter: f64,
    time_to_idle: Option<Duration>,
    /// The weight is that of the value, see [`weight_of`].
    max_weight: Option<u64>,
}

/// Returns the TTL that a value asks for. Differs from that of any other value nearby.
fn ttl_by(resolution: Duration, value: u64) -> Ttl {
    match value % 7 {
        0 => Ttl::Never,
        1 => Ttl::After(Duration::ZERO),
        2 | 3 => Ttl::After(resolution * (value % 11 + 1) as u32),
        _ => Ttl::Default,
    }
}

/// Returns what a value weighs: now and then nothing, or more than any shard holds.
fn weight_of(value: u64) -> u64 {
    match value % 97 {
        0 => u64::MAX,
        1..20 => 0,
        other => other * other % 41,
    }
}

impl Run {
    /// Returns the TTL of a value; `None` for never.
    fn ttl_of(&self, ttl: Ttl, value: u64) -> Option<Duration> {
        match ttl {
            Ttl::Default if self.has_ttl_by => ttl_by(self.resolution, value).or(self.ttl),
            ttl => ttl.or(self.ttl),
        }
    }

    /// Returns by how much of itself a TTL may be shortened.
    fn jitter_of(&self, ttl: Ttl) -> f64 {
        if ttl == Ttl::Default { self.jitter } else { 0.0 }
    }

    /// Returns the most that each shard holds.
    fn weight_max(&self) -> u64 {
        let shards = self.shards.min(self.capacity) as u64;
        self.max_weight.map_or(u64::MAX, |most| most / shards.min(most)).min(u64::MAX / 2)
    }

    fn weight_of(&self, value: u64) -> u64 {
        if self.max_weight.is_some() { weight_of(value) } else { 0 }
    }

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
        let builder = match $run.ttl {
            Some(ttl) => builder.ttl(ttl),
            None => builder,
        };
        let resolution = $run.resolution;
        let builder = if $run.has_ttl_by {
            builder.ttl_by(move |_, &value| ttl_by(resolution, value))
        } else {
            builder
        };
        let builder = if $run.jitter > 0.0 { builder.ttl_jitter($run.jitter) } else { builder };
        let builder = match $run.time_to_idle {
            Some(time) => builder.time_to_idle(time),
            None => builder,
        };
        match $run.max_weight {
            Some(weight) => builder.weigher(|_, &value| weight_of(value)).max_weight(weight),
            None => builder,
        }
        .build()
        .unwrap()
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
        let is_freed =
            |key| events.iter().any(|event| event.0 == key && event.2 == RemovalCause::Expired);
        let must_be_due = self
            .held
            .iter()
            .filter(|&(&key, entry)| now.must_be_due(entry) && !is_freed(key))
            .count();
        // For its weight, an insertion looks for due ones more than once: each time some are moved, by
        // a level at least.
        let looks = if self.run.max_weight.is_some() { 11 } else { 1 };
        let limit_covers_all = (self.held.len() + self.unheld) * looks <= self.run.reap_limit;
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
        // Beyond the limit: an old entry of the key, and a newcomer with a TTL of zero; and what
        // leaves for its weight may turn out to be due.
        let is_weighed = self.run.max_weight.is_some();
        assert!(
            is_weighed || expired <= limit.saturating_add(2),
            "promise 8: {expired} freed in one call"
        );
    }

    /// Returns the bounds of the time from which an entry is due whose TTL begins now, and the
    /// latest that the TTL ends.
    fn due(&self, ttl: Option<Duration>, now: Now) -> (Option<(Duration, Duration)>, Duration) {
        let resolution = self.run.resolution;
        // Promise 9: from 2^36 ticks on, a thousandth. Here a 2^25th, rounded up.
        let is_exact = ttl.is_none_or(|ttl| ttl.as_nanos() >> 36 < resolution.as_nanos() / 2);
        let due = ttl.filter(|&ttl| ttl <= TTL_MAX).map(|ttl| {
            (now.least + ttl, now.most + ttl + resolution * if is_exact { 1 } else { 2_049 })
        });
        (due, ttl.map_or(Duration::MAX, |ttl| now.most.saturating_add(ttl)))
    }

    /// [`due`](Self::due) of an entry that is given this TTL.
    fn due_by(&self, value: u64, ttl: Ttl, now: Now) -> (Option<(Duration, Duration)>, Duration) {
        let jitter = self.run.jitter_of(ttl);
        let ttl = self.run.ttl_of(ttl, value);
        let (due, ttl_end) = self.due(ttl, now);
        let due = due.map(|(first, last)| {
            (first - ttl.unwrap_or_default().mul_f64(jitter * 1.000_001), last)
        });
        if jitter > 0.0 && ttl.is_some_and(|ttl| ttl > TTL_MAX) {
            // Shortened, it may end after all.
            let (shortest, _) = self.due(Some(TTL_MAX / 2), now);
            return (shortest.map(|(first, _)| (first, Duration::MAX)), ttl_end);
        }
        (due, ttl_end)
    }

    fn hold(&mut self, key: u32, value: u64, ttl: Ttl, now: Now) {
        let (due, ttl_end) = self.due_by(value, ttl, now);
        let weight = self.run.weight_of(value);
        let (idle_due, idle_end) = self.due(self.run.time_to_idle, now);
        self.held.insert(key, Entry { value, due, ttl_end, idle_due, idle_end, weight });
        self.inserts += 1;
    }

    /// Notes that an entry was used, if it was found.
    fn use_entry(&mut self, key: u32, found: Option<u64>, now: Now) {
        let (idle_due, idle_end) = self.due(self.run.time_to_idle, now);
        if let Some(entry) = self.held.get_mut(&key).filter(|_| found.is_some()) {
            entry.idle_due = idle_due.zip(entry.idle_due).map(|(now, before)| {
                // Each of the bounds: of two uses, the later time may count.
                (now.0.max(before.0), now.1.max(before.1))
            });
            entry.idle_end = entry.idle_end.max(idle_end);
        }
    }

    /// Notes that the value of an entry was changed in place.
    fn change(&mut self, key: u32, value: u64) {
        let entry = self.held.get_mut(&key).expect("it was found");
        entry.value = value;
        entry.weight = self.run.weight_of(value);
    }

    /// Returns a TTL of its own, or the default.
    fn any_ttl(&mut self) -> Ttl {
        match self.random.u8(..16) {
            0..8 => Ttl::Default,
            8 => Ttl::Never,
            _ => Ttl::After(self.ttl()),
        }
    }

    /// Whether an entry leaves as it arrives, and why.
    fn leaves_at_once(&self, value: u64, ttl: Ttl) -> Option<RemovalCause> {
        if self.run.ttl_of(ttl, value) == Some(Duration::ZERO) {
            Some(RemovalCause::Expired)
        } else if self.run.weight_of(value) > self.run.weight_max() {
            Some(RemovalCause::Evicted)
        } else {
            None
        }
    }

    fn insert(&mut self) {
        let (key, value, ttl) = (self.key(), self.value(), self.any_ttl());
        let now = self.now();
        let replaced = match ttl {
            Ttl::Default => self.cache.insert(key, value),
            ttl => self.cache.insert_with_ttl(key, value, ttl),
        };
        self.assert_answer(key, replaced, now);
        self.note_insertion(key, value, ttl, now);
    }

    /// Notes an insertion that the cache has made.
    fn note_insertion(&mut self, key: u32, value: u64, ttl: Ttl, now: Now) {
        self.assert_evicts_little(key, value);
        // Removals of others, and of an older entry of this key, come before the insertion.
        let (older, newer): (Vec<_>, Vec<_>) =
            self.take_events().into_iter().partition(|event| event.1 != value);
        self.note(older, &[RemovalCause::Replaced], now);
        self.hold_new(key, value, ttl, now);
        if let Some(cause) = self.leaves_at_once(value, ttl) {
            assert_eq!(newer, [(key, value, cause)]);
            self.note(newer, &[RemovalCause::Replaced], now);
        } else {
            assert!(newer.is_empty(), "the newcomer was removed at once: {newer:?}");
            assert_eq!(copied(self.cache.peek(&key)), Some(value), "a new entry is found");
        }
    }

    /// An insertion evicts no more than its weight asks for: without the last one, or the last
    /// two if there was no slot, there would not be room for it.
    fn assert_evicts_little(&self, key: u32, value: u64) {
        if self.run.shards > 1 || self.leaves_at_once(value, Ttl::Never).is_some() {
            return;
        }
        let events = self.events.lock().unwrap();
        let evicted = events.iter().filter(|&&(.., cause)| cause == RemovalCause::Evicted);
        let weights: Vec<_> = evicted.map(|&(_, value, _)| self.run.weight_of(value)).collect();
        let Some(count) = weights.len().checked_sub(2).filter(|&count| count > 0) else { return };
        let held: u64 = self.held.values().map(|entry| entry.weight).sum();
        let replaced = self.held.get(&key).map_or(0, |entry| entry.weight);
        let without: u64 = weights[..count].iter().sum();
        let weight = self.run.weight_of(value);
        let room = self.run.weight_max();
        assert!(held - replaced - without + weight > room, "{weights:?} of {held} for {weight}");
    }

    fn insert_if_absent(&mut self) {
        let (key, value, ttl) = (self.key(), self.value(), self.any_ttl());
        let now = self.now();
        let answer = match ttl {
            Ttl::Default => self.cache.insert_if_absent(key, value),
            ttl => self.cache.insert_if_absent_with_ttl(key, value, ttl),
        };
        if let Err(given_back) = answer {
            assert_eq!(given_back, (key, value));
            let entry = self.held.get(&key).expect("there is another one");
            assert!(!now.must_be_due(entry));
            self.note_events(&[RemovalCause::Cleared], now);
        } else {
            self.assert_answer(key, None, now);
            self.note_insertion(key, value, ttl, now);
        }
    }

    fn compute(&mut self) {
        let (key, value, ttl) = (self.key(), self.value(), self.any_ttl());
        let decision = self.random.u8(..5);
        let now = self.now();
        let seen = self.cache.compute(key, |live| {
            let seen = live.as_deref().copied();
            match (decision, live) {
                (0, _) => Compute::Remove(seen),
                (1, Some(live)) => {
                    *live = value;
                    Compute::Keep(seen)
                }
                (2, _) => Compute::Keep(seen),
                (3, _) => Compute::SetWithTtl(value, ttl, seen),
                _ => Compute::Set(value, seen),
            }
        });
        self.assert_answer(key, seen, now);
        self.count(seen);
        self.use_entry(key, seen, now);
        match decision {
            0 => {
                self.note_events(&[RemovalCause::Removed], now);
                assert!(seen.is_none() || !self.held.contains_key(&key));
            }
            1 if seen.is_some() => self.note_change(key, value, now),
            2 => self.note_events(&[RemovalCause::Cleared], now),
            3 => self.note_insertion(key, value, ttl, now),
            _ => self.note_insertion(key, value, Ttl::Default, now),
        }
    }

    /// Notes that the cache has changed the value of an entry in place.
    fn note_change(&mut self, key: u32, value: u64, now: Now) {
        self.change(key, value);
        self.note_events(&[RemovalCause::Cleared], now);
        let is_held = self.run.weight_of(value) <= self.run.weight_max();
        assert_eq!(self.held.contains_key(&key), is_held, "others make room for it");
    }

    fn update(&mut self) {
        let (key, value) = (self.key(), self.value());
        let now = self.now();
        let seen = self.cache.update(&key, |live| std::mem::replace(live, value));
        self.assert_answer(key, seen, now);
        self.count(seen);
        self.use_entry(key, seen, now);
        if seen.is_some() {
            self.note_change(key, value, now);
        } else {
            self.note_events(&[RemovalCause::Cleared], now);
        }
    }

    fn remove(&mut self) {
        let key = self.key();
        let now = self.now();
        match self.random.u8(..4) {
            0 => {
                let mut seen = None;
                let wanted = self.random.bool();
                let answer = self.cache.remove_if(&key, |&value| {
                    seen = Some(value);
                    wanted
                });
                self.assert_answer(key, seen, now);
                assert_eq!(answer, seen.filter(|_| wanted));
                self.note_events(&[RemovalCause::Removed], now);
                assert!(answer.is_none() || !self.held.contains_key(&key));
                return;
            }
            1 => {
                let answer = self.cache.remove_entry(&key);
                assert!(answer.is_none_or(|entry| entry.0 == key));
                self.assert_answer(key, answer.map(|entry| entry.1), now);
            }
            _ => {
                let answer = self.cache.remove(&key);
                self.assert_answer(key, answer, now);
            }
        }
        self.note_events(&[RemovalCause::Removed], now);
        assert!(!self.held.contains_key(&key));
    }

    fn hold_new(&mut self, key: u32, value: u64, ttl: Ttl, now: Now) {
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
        let ttl = self.any_ttl();
        // An empty batch does not read the clock.
        let now = if count > 0 { self.now() } else { self.peek_now() };
        match ttl {
            Ttl::Default => self.cache.insert_many(batch.iter().copied()),
            ttl => self.cache.insert_many_with_ttl(batch.iter().copied(), ttl),
        }
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
            self.use_entry(key, answer, now);
        }
    }

    fn get_or_load(&mut self) {
        let (key, value, ttl) = (self.key(), self.value(), self.any_ttl());
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
            self.use_entry(key, Some(answer.unwrap()), now);
            self.note_events(&[RemovalCause::Cleared], now);
            return;
        }
        self.misses += 1;
        self.assert_answer(key, None, now);
        self.time += takes;
        let leaves_as = self.leaves_at_once(value, ttl);
        let puts_in = !fails && leaves_as.is_none();
        // In the cache for many threads, a copy of what is returned leaves.
        let passes_through =
            C::READS_REMEMBER_TIME && !fails && leaves_as == Some(RemovalCause::Evicted);
        let frees_nothing = C::READS_REMEMBER_TIME && self.run.reap_limit == 0;
        let now =
            if puts_in || passes_through || !frees_nothing { self.now() } else { self.peek_now() };
        if fails {
            assert_eq!(answer, Err("no"));
        } else {
            assert_eq!(answer, Ok(value));
        }
        if passes_through {
            self.note_insertion(key, value, ttl, now);
            return;
        }
        self.note_events(&[RemovalCause::Cleared], now);
        if puts_in {
            self.hold(key, value, ttl, now);
        }
    }

    fn set_ttl(&mut self) {
        let (key, ttl) = (self.key(), self.any_ttl());
        let now = self.now();
        let before = self.held.get(&key).copied();
        let found = if self.random.bool() {
            let answer = copied(self.cache.get_and_set_ttl(&key, ttl));
            self.assert_answer(key, answer, now);
            self.count(answer);
            self.use_entry(key, answer, now);
            answer.is_some()
        } else {
            let found = self.cache.set_ttl(&key, ttl);
            self.assert_answer(key, before.filter(|_| found).map(|entry| entry.value), now);
            found
        };
        if found {
            let entry = before.expect("found in the model, too");
            let (due, ttl_end) = self.due_by(entry.value, ttl, now);
            let held = self.held.get_mut(&key).expect("it is not told to leave yet");
            (held.due, held.ttl_end) = (due, ttl_end);
            let expires = self.run.ttl_of(ttl, entry.value) == Some(Duration::ZERO);
            self.note_events(&[RemovalCause::Cleared], now);
            assert!(!(expires && self.held.contains_key(&key)));
            return;
        }
        self.note_events(&[RemovalCause::Cleared], now);
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
            let late = self.held.iter().find(|(_, entry)| now.must_be_due(entry));
            assert_eq!(late, None, "at {now:?}");
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
            Some(left) => self.assert_left(key, left, now),
        }
        let mut found = 0;
        self.cache.for_each(|&key, &value| {
            found += 1;
            self.assert_answer(key, Some(value), now);
        });
        let mut found_again = 0;
        self.cache.for_each_entry(|entry| {
            found_again += 1;
            self.assert_answer(*entry.key(), Some(*entry.value()), now);
            self.assert_left(*entry.key(), entry.expires_in(), now);
            let Entry { due, ttl_end, .. } = self.held[entry.key()];
            let left = entry.ttl_left();
            assert!(left >= entry.expires_in());
            if left == Duration::MAX {
                assert!(due.is_none_or(|due| due.1 == Duration::MAX));
            } else {
                assert!(now.least + left <= ttl_end.max(now.least), "more than is left");
            }
        });
        assert_eq!(found, found_again);
        let certainly = self.held.values().filter(|entry| !now.may_be_due(entry)).count();
        assert!(found >= certainly, "{found} visited, {certainly} are live");
        assert_eq!(found, self.cache.count_visible());
        assert_eq!(self.cache.due_len(), self.held.len() - found);

        let next = self.cache.next_expiry();
        match self.held.values().flat_map(|entry| entry.all_due()).map(|due| due.1).min() {
            Some(first) => {
                let next = next.expect("an entry has a deadline");
                assert!(now.least + next <= first.max(now.least), "late");
            }
            None => assert_eq!(next, None),
        }
        assert!(self.events.lock().unwrap().is_empty(), "reads free nothing");
    }

    /// Checks what is left to live of an entry.
    fn assert_left(&self, key: u32, left: Duration, now: Now) {
        let entry = &self.held[&key];
        if left == Duration::MAX {
            assert_eq!(entry.all_due().filter(|due| due.1 < Duration::MAX).count(), 0);
            return;
        }
        let end = entry.ttl_end.min(entry.idle_end);
        assert!(
            now.least + left <= end.max(now.least),
            "more than is left: {left:?} of {entry:?} at {now:?}"
        );
        let (first, last) =
            entry.all_due().min_by_key(|due| due.0).expect("an entry that ends has an end");
        let slack = self.run.resolution + last.saturating_sub(first);
        assert!((now.most + left).saturating_add(slack) >= first, "less by more than a resolution");
    }

    fn step(&mut self) {
        self.move_clock();
        match self.random.u16(..1000) {
            0..260 => self.insert(),
            260..300 => self.compute(),
            300..320 => self.insert_if_absent(),
            320..340 => self.update(),
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
                self.use_entry(key, answer, now);
                self.note_events(&[RemovalCause::Cleared], now);
            }
            550..650 => self.remove(),
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
        let weight: u64 = self.held.values().map(|entry| entry.weight).sum();
        assert_eq!(stats.weight, weight);
        assert!(weight <= self.run.max_weight.unwrap_or(0) && weight <= stats.weight_peak);
        assert!(stats.weight_peak <= self.run.max_weight.unwrap_or(0));
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
        let has_rules = random.bool();
        let idle_ticks = [4, 40, 1_000][random.usize(..3)];
        let most = [7, 100, 1_000, u64::MAX][random.usize(..4)];
        Self {
            has_ttl_by: has_rules && random.bool(),
            jitter: if has_rules { [0.0, 0.1, 0.5][random.usize(..3)] } else { 0.0 },
            time_to_idle: (has_rules && random.bool()).then_some(resolution * idle_ticks),
            max_weight: (has_rules && random.bool()).then_some(most),
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
