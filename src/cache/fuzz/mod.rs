//! Scenes of two threads that play scripts on one cache.
//!
//! Each thread has keys that only it writes, so it knows what it must find
//! there; a third of the keys is written by both.

mod scene;

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use scene::{Outcome, Policy, Scene, Step, TicketEnd};

use super::Cache;
use super::inner::Inner;
use super::load::error::LoadError;
use super::load::ticket::{LoadTicket, Lookup};
use crate::entry::removal::RemovalCause;
use crate::reaper::mode::Reaper;
use crate::shard::eviction::Eviction;
use crate::time::clock::{Clock, ManualClock};

const THREADS: usize = 2;
const KEYS: u8 = 24;
const STEPS_MAX: usize = 64;
const RESOLUTION: Duration = Duration::from_millis(10);

/// Tickets that a thread holds at once.
const TICKETS_MAX: usize = 8;

/// Counts how many there are.
struct Value {
    key: u8,
    writer: usize,
    number: u64,
    living: Arc<AtomicI64>,
}

impl Clone for Value {
    fn clone(&self) -> Self {
        self.living.fetch_add(1, SeqCst);
        Self { living: self.living.clone(), ..*self }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.living.fetch_sub(1, SeqCst);
    }
}

/// What is known of a key, whoever writes it.
#[derive(Default)]
struct Known {
    begun: AtomicUsize,
    ended: AtomicUsize,
    /// The latest deadline that it was ever given, in nanoseconds.
    latest_nanos: AtomicU64,
}

struct Stage {
    cache: Cache<u8, Value>,
    clock: ManualClock,
    ttl: Option<Duration>,
    keys: [Known; KEYS as usize],
    living: Arc<AtomicI64>,
}

struct Actor<'a> {
    stage: &'a Stage,
    me: usize,
    next_number: u64,
    /// The number last written under each key of its own, if it may be there.
    own: [Option<u64>; KEYS as usize],
    tickets: Vec<LoadTicket<u8, Value>>,
}

impl<K, V, S> Cache<K, V, S> {
    /// Compares all structures of all shards, one after the other.
    pub(crate) fn check(&self) {
        self.inner.check();
    }

    /// Holds that no load is recorded as in flight.
    pub(crate) fn check_idle(&self) {
        for shard in 0..self.inner.shards.len() {
            self.inner.shards[shard].loads.assert_idle();
        }
    }
}

impl<K, V, S> Inner<K, V, S> {
    /// Compares all structures of all shards, one after the other.
    pub(crate) fn check(&self) {
        for shard in 0..self.shards.len() {
            self.lock(shard).shard.check();
            self.shards[shard].loads.check();
        }
    }
}

pub(crate) fn run(scene: Scene) {
    let clock = ManualClock::new();
    let told = Arc::new(AtomicU64::new(0));
    let living = Arc::new(AtomicI64::new(0));
    let telling = told.clone();
    let mut builder = Cache::builder()
        .capacity(usize::from(scene.capacity % 32) + 1)
        .shards(usize::from(scene.shards % 4) + 1)
        .reap_limit(usize::from(scene.reap_limit % 16))
        .concurrent_loads(usize::from(scene.concurrent_loads % 8))
        .resolution(RESOLUTION)
        .eviction(match scene.eviction {
            Policy::Adaptive => Eviction::Adaptive,
            Policy::S3Clock => Eviction::S3Clock,
            Policy::S3Fifo => Eviction::S3Fifo,
            Policy::Fifo => Eviction::Fifo,
        })
        .clock(clock.clone())
        .reaper(Reaper::Manual)
        .on_removal(move |key: &u8, value: &Value, _: RemovalCause| {
            assert_eq!(*key, value.key);
            telling.fetch_add(1, SeqCst);
        });
    // Three times the resolution at least.
    let ttl = scene.ttl.map(|ttl| halves(ttl.max(6)));
    if let Some(ttl) = ttl {
        builder = builder.ttl(ttl);
    }
    let stage = Stage {
        cache: builder.build().unwrap(),
        clock,
        ttl,
        keys: std::array::from_fn(|_| Known::default()),
        living: living.clone(),
    };
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        let play = |(me, script): (usize, Vec<Step>)| {
            let (stage, start) = (&stage, &start);
            scope.spawn(move || {
                let own = [None; KEYS as usize];
                let mut actor = Actor { stage, me, next_number: 0, own, tickets: Vec::new() };
                start.wait();
                for step in script.into_iter().take(STEPS_MAX) {
                    actor.step(step);
                    stage.cache.check();
                }
            })
        };
        let actors: Vec<_> = scene.scripts.into_iter().enumerate().map(play).collect();
        // The scope waits for their code alone, not for what a thread does in the
        // end, which a search for leaks could meet halfway.
        actors.into_iter().for_each(|actor| actor.join().unwrap());
    });
    stage.cache.check_idle();
    let stats = stage.cache.stats();
    assert_eq!(stats.held, stage.cache.len() as u64);
    assert_eq!(
        told.load(SeqCst),
        stats.expired + stats.evicted + stats.removed + stats.replaced,
        "the listener hears of all that leave: {stats:?}"
    );
    assert_eq!(living.load(SeqCst), stats.held as i64, "values live in the cache alone");
    drop(stage);
    assert_eq!(living.load(SeqCst), 0, "none is left, none was dropped twice");
}

fn halves(count: u8) -> Duration {
    RESOLUTION / 2 * u32::from(count)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Actor<'_> {
    fn is_own(&self, key: u8) -> bool {
        usize::from(key) % 3 == self.me
    }

    /// A key that this thread may write: the other's own ones are turned into
    /// shared ones.
    fn writable(&self, key: u8) -> u8 {
        let key = key % KEYS;
        let of_the_other = usize::from(key) % 3 == 1 - self.me;
        if of_the_other { key / 3 * 3 + 2 } else { key }
    }

    fn value(&mut self, key: u8) -> Value {
        self.next_number += 1;
        self.stage.living.fetch_add(1, SeqCst);
        Value { key, writer: self.me, number: self.next_number, living: self.stage.living.clone() }
    }

    /// A call that may give a key a deadline, or a new one.
    fn write<T>(&mut self, key: u8, ttl: Option<Duration>, call: impl FnOnce(&mut Self) -> T) -> T {
        let known = &self.stage.keys[usize::from(key)];
        known.begun.fetch_add(1, SeqCst);
        let result = call(self);
        let deadline = ttl.map_or(Duration::MAX, |ttl| self.stage.clock.now() + ttl);
        known.latest_nanos.fetch_max(nanos(deadline), SeqCst);
        known.ended.fetch_add(1, SeqCst);
        result
    }

    /// A call that may find a key, whose answer is judged.
    fn look(&mut self, key: u8, call: impl FnOnce(&Cache<u8, Value>) -> Option<Value>) {
        self.look_all(&[key], |cache| vec![call(cache)]);
    }

    /// The same of several keys.
    fn look_all(
        &mut self,
        keys: &[u8],
        call: impl FnOnce(&Cache<u8, Value>) -> Vec<Option<Value>>,
    ) {
        let known = |key: u8| &self.stage.keys[usize::from(key)];
        let known_before = keys.iter().map(|&key| {
            let known = known(key);
            (key, known.ended.load(SeqCst), known.latest_nanos.load(SeqCst))
        });
        let known_before: Vec<_> = known_before.collect();
        let before = self.stage.clock.now();
        let found = call(&self.stage.cache);
        assert_eq!(found.len(), keys.len());
        for ((key, ended, latest_nanos), found) in known_before.into_iter().zip(found) {
            self.judge(key, found.as_ref());
            let undisturbed = known(key).begun.load(SeqCst) == ended;
            if found.is_some() && undisturbed {
                let end_nanos = latest_nanos.saturating_add(nanos(RESOLUTION));
                assert!(nanos(before) < end_nanos, "{key} was found at {before:?}, too late");
            }
        }
    }

    /// Whether a value may be what is under a key, whenever it was found.
    fn judge(&self, key: u8, found: Option<&Value>) {
        let Some(found) = found else { return };
        assert_eq!(found.key, key);
        if self.is_own(key) {
            let expected = self.own[usize::from(key)];
            assert_eq!((found.writer, Some(found.number)), (self.me, expected), "of {key}");
        }
    }

    fn insert(&mut self, key: u8, ttl: Option<Duration>) {
        let value = self.value(key);
        let number = value.number;
        let replaced = self.write(key, ttl, |actor| match ttl {
            Some(ttl) if actor.stage.ttl != Some(ttl) => {
                actor.stage.cache.insert_with_ttl(key, value, ttl)
            }
            _ => actor.stage.cache.insert(key, value),
        });
        self.judge(key, replaced.as_ref());
        if self.is_own(key) {
            self.own[usize::from(key)] = (ttl != Some(Duration::ZERO)).then_some(number);
        }
    }

    fn insert_many(&mut self, keys: &[u8], ttl: Option<Duration>) {
        let keys: Vec<u8> = keys.iter().map(|&key| self.writable(key)).collect();
        let values: Vec<Value> = keys.iter().map(|&key| self.value(key)).collect();
        let numbers: Vec<u64> = values.iter().map(|value| value.number).collect();
        let batch = keys.iter().copied().zip(values);
        self.write_all(&keys, ttl, |actor| match ttl {
            Some(ttl) if actor.stage.ttl != Some(ttl) => {
                actor.stage.cache.insert_many_with_ttl(batch, ttl);
            }
            _ => actor.stage.cache.insert_many(batch),
        });
        for (key, number) in keys.into_iter().zip(numbers) {
            if self.is_own(key) {
                self.own[usize::from(key)] = (ttl != Some(Duration::ZERO)).then_some(number);
            }
        }
    }

    /// [`write`](Self::write) of several keys at once.
    fn write_all(&mut self, keys: &[u8], ttl: Option<Duration>, call: impl FnOnce(&mut Self)) {
        match keys {
            [] => call(self),
            [first, rest @ ..] => {
                self.write(*first, ttl, |actor| actor.write_all(rest, ttl, call));
            }
        }
    }

    /// [`look`](Self::look) for several keys at once.
    fn read_many(&mut self, keys: &[u8]) {
        let keys: Vec<u8> = keys.iter().map(|&key| key % KEYS).collect();
        self.look_all(&keys, |cache| {
            let mut found: Vec<Option<Option<Value>>> = keys.iter().map(|_| None).collect();
            cache.read_many(&keys, |position, value| {
                assert!(found[position].is_none(), "{position} is shown twice");
                found[position] = Some(value.cloned());
            });
            found.into_iter().map(|found| found.expect("every key is shown")).collect()
        });
    }

    fn lookup(&mut self, key: u8, refresh_before: Duration) {
        let (value, ticket) = match self.stage.cache.lookup(&key, refresh_before) {
            Lookup::Hit(value) => (Some(value), None),
            Lookup::Refresh(value, ticket) => (Some(value), Some(ticket)),
            Lookup::Miss(ticket) => (None, Some(ticket)),
            Lookup::Loading(load) => {
                let _ = load.wait(Duration::ZERO);
                (None, None)
            }
        };
        self.judge(key, value.as_ref());
        if self.tickets.len() < TICKETS_MAX {
            self.tickets.extend(ticket);
        }
    }

    fn end_ticket(&mut self, number: usize, end: &TicketEnd) {
        if self.tickets.is_empty() {
            return;
        }
        let ticket = self.tickets.swap_remove(number % self.tickets.len());
        let key = *ticket.key();
        match *end {
            TicketEnd::Drop => drop(ticket),
            TicketEnd::Fail => ticket.fail(),
            TicketEnd::Store { ttl } => {
                let (ttl, value) = (halves(ttl), self.value(key));
                let number = value.number;
                let is_stored = self.write(key, Some(ttl), |_| ticket.store(value, ttl));
                if is_stored && self.is_own(key) {
                    self.own[usize::from(key)] = (!ttl.is_zero()).then_some(number);
                }
            }
        }
    }

    fn load(&mut self, key: u8, ttl: Duration, outcome: &Outcome) {
        // Whoever holds tickets and waits for others may deadlock.
        self.tickets.clear();
        let value = self.value(key);
        let number = value.number;
        let own = self.is_own(key);
        let mut is_loaded = false;
        let loaded = self.write(key, Some(ttl), |actor| {
            let stage = actor.stage;
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                stage.cache.get_or_load(&key, || {
                    is_loaded = true;
                    match outcome {
                        Outcome::Value => Ok((value, ttl)),
                        Outcome::Error => Err(()),
                        // Says nothing: it is caught.
                        Outcome::Panic => std::panic::resume_unwind(Box::new(())),
                        Outcome::Overruled { by_removal: true } => {
                            stage.cache.remove(&key);
                            Ok((value, ttl))
                        }
                        Outcome::Overruled { by_removal: false } => {
                            actor.insert(key, Some(RESOLUTION * 4));
                            Ok((value, ttl))
                        }
                    }
                })
            }))
        });
        match loaded {
            Ok(Ok(found)) if is_loaded => {
                assert_eq!(found.key, key);
                // What happened meanwhile invalidates a load; an invalidated one may
                // or may not be stored, so nothing is known of an own key.
                if own && matches!(outcome, Outcome::Value) && !ttl.is_zero() {
                    self.own[usize::from(key)] = Some(number);
                } else if own && !matches!(outcome, Outcome::Overruled { by_removal: false }) {
                    self.own[usize::from(key)] = None;
                }
            }
            Ok(Ok(found)) => self.judge(key, Some(&found)),
            Ok(Err(LoadError::Failed(()))) => assert!(matches!(outcome, Outcome::Error)),
            Ok(Err(LoadError::LeaderFailed)) => assert!(!is_loaded),
            Err(_) => assert!(matches!(outcome, Outcome::Panic)),
        }
    }

    fn step(&mut self, step: Step) {
        let stage = self.stage;
        let cache = &stage.cache;
        match step {
            Step::Insert { key } => self.insert(self.writable(key), stage.ttl),
            Step::InsertWithTtl { key, ttl } => {
                self.insert(self.writable(key), Some(halves(ttl)));
            }
            Step::InsertMany { keys, ttl } => {
                self.insert_many(&keys, ttl.map(halves).or(stage.ttl));
            }
            Step::GetMany { keys } => self.read_many(&keys),
            Step::Get { key } => self.look(key % KEYS, |cache| cache.get(&(key % KEYS))),
            Step::Peek { key } => self.look(key % KEYS, |cache| cache.peek(&(key % KEYS))),
            Step::Read { key } => {
                self.look(key % KEYS, |cache| cache.read(&(key % KEYS), Value::clone));
            }
            Step::Update { key } => self.look(key % KEYS, |cache| {
                cache.update(&(key % KEYS), |value| {
                    *value = value.clone();
                    value.clone()
                })
            }),
            Step::Contains { key } => {
                let _ = cache.contains_key(&(key % KEYS));
            }
            Step::ExpiresIn { key } => {
                if let (None, Some(left)) = (stage.ttl, cache.expires_in(&(key % KEYS))) {
                    assert!(left == Duration::MAX || left <= Duration::from_secs(3600));
                }
            }
            Step::Remove { key } => {
                let key = key % KEYS;
                self.look(key, |cache| cache.remove(&key));
                if self.is_own(key) {
                    self.own[usize::from(key)] = None;
                }
            }
            Step::SetTtl { key, ttl } => {
                let key = self.writable(key);
                self.write(key, Some(halves(ttl)), |_| cache.set_ttl(&key, halves(ttl)));
            }
            Step::GetAndSetTtl { key, ttl } => {
                let key = self.writable(key);
                let found = self
                    .write(key, Some(halves(ttl)), |_| cache.get_and_set_ttl(&key, halves(ttl)));
                self.judge(key, found.as_ref());
            }
            Step::GetOrInsert { key } => {
                let key = self.writable(key);
                let value = self.value(key);
                let number = value.number;
                self.tickets.clear();
                let found =
                    self.write(key, stage.ttl, |_| cache.get_or_insert_with(&key, || value));
                if self.is_own(key) && found.number == number {
                    self.own[usize::from(key)] = Some(number);
                }
                self.judge(key, Some(&found));
            }
            Step::Load { key, ttl, outcome } => {
                self.load(self.writable(key), halves(ttl), &outcome);
            }
            Step::Lookup { key, refresh_before } => {
                self.lookup(self.writable(key), halves(refresh_before));
            }
            Step::EndTicket { number, end } => self.end_ticket(number.into(), &end),
            Step::Advance { by } => stage.clock.advance(halves(by)),
            Step::Reap { limit } => assert!(cache.reap(limit.into()) <= limit.into()),
            Step::NextExpiry => {
                let _ = cache.next_expiry();
            }
            Step::Retain { odd } => cache.retain(|key, value| {
                self.judge(*key, Some(value));
                (key % 2 == 1) == odd
            }),
            Step::ForEach => cache.for_each(|key, value| self.judge(*key, Some(value))),
            Step::Clear => cache.clear(),
            Step::Ask => {
                assert!(cache.len() <= cache.capacity());
                let _ = (cache.is_empty(), cache.stats(), cache.footprint());
            }
        }
    }
}
