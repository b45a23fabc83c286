//! The model test of loads: random calls on one thread, with tickets and waits held across all
//! of them, compared with a model made of std's maps. It predicts exactly what each lookup
//! gives, which loads are stored, how waits end, and the statistics.

mod model;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foldhash::fast::FixedState;
use punctual_testing::panics::{catch, panic_silently};

use self::model::{
    Entry, Expected, KEYS, Player, RESOLUTION, Sharing, TICK_NANOS, Table, Tested, Ticket, Waiter,
};
use crate::shard::key_hash::KeyHash;
use crate::{Cache, LoadEnd, LoadError, Lookup, ManualClock, Stats, Ttl};

const HELD_MAX: usize = 40;
const DEPTH_MAX: usize = 3;

impl Player {
    fn key(&mut self) -> u64 {
        self.random.u64(..KEYS)
    }

    fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    fn ttl(&mut self) -> Duration {
        match self.random.u8(..16) {
            0 => Duration::ZERO,
            1 => Duration::MAX,
            2 => Duration::from_nanos(self.random.u64(1..3)),
            3 => Duration::from_nanos(TICK_NANOS * self.random.u64(1..9)),
            _ => RESOLUTION * self.random.u32(1..60),
        }
    }

    fn look_up(&mut self) {
        let key = self.key();
        let refresh_before = match self.random.u8(..4) {
            0 => Duration::ZERO,
            1 => Duration::MAX,
            _ => Duration::from_nanos(self.random.u64(..30_000_000)),
        };
        let expected = self.expect_lookup(key, refresh_before);
        let looked_up = match self.random.bool() {
            true => self.cache.lookup(&key, refresh_before),
            false => self.cache.lookup_owned(key, refresh_before),
        };
        match (looked_up, expected) {
            (Lookup::Hit(value), Expected::Hit(held)) => assert_eq!(value, held),
            (Lookup::Refresh(value, ticket), Expected::Refresh(held, load)) => {
                assert_eq!((value, *ticket.key()), (held, key));
                self.see("refresh");
                self.tickets.push(Ticket { ticket, load });
            }
            (Lookup::Miss(ticket), Expected::Miss(load)) => {
                assert_eq!(*ticket.key(), key);
                self.tickets.push(Ticket { ticket, load });
            }
            (Lookup::Loading(wait), Expected::Loading(load)) => {
                let sleeper = Arc::default();
                self.waiters.push(Waiter { wait, load, sleeper, sleeps: false, wakes: 0 });
            }
            (looked_up, expected) => panic!("{looked_up:?}, and not {expected:?}"),
        }
    }

    fn end_a_ticket(&mut self) {
        let Some(last) = self.tickets.len().checked_sub(1) else { return };
        let Ticket { ticket, load } = self.tickets.swap_remove(self.random.usize(..=last));
        match self.random.u8(..8) {
            0 => {
                self.end(load, LoadEnd::Failed);
                ticket.fail();
            }
            1 => {
                self.end(load, LoadEnd::Abandoned);
                drop(ticket);
            }
            2 => {
                let is_shared = matches!(self.loads[load].sharing, Sharing::Shared { .. });
                let is_valid = self.end(load, LoadEnd::NotStored);
                if is_valid && is_shared {
                    // A value that was to be refreshed leaves. Another load's stays.
                    self.entries.remove(&self.loads[load].key);
                }
                assert_eq!(ticket.store(0, Duration::ZERO), is_valid);
            }
            how => {
                let value = self.value();
                let (ttl, resolved) = match how {
                    3 => (Ttl::Default, self.ttl),
                    4 => (Ttl::Never, None),
                    _ => {
                        let ttl = self.ttl().max(Duration::from_nanos(1));
                        (Ttl::After(ttl), Some(ttl))
                    }
                };
                let is_stored = self.end_with_value(load, value, resolved);
                assert_eq!(ticket.store(value, ttl), is_stored, "{:?}", self.loads[load]);
            }
        }
    }

    fn look_at_a_wait(&mut self) {
        let Some(last) = self.waiters.len().checked_sub(1) else { return };
        let position = self.random.usize(..=last);
        let end = self.end_of(self.waiters[position].load);
        match self.random.u8(..4) {
            0 => drop(self.waiters.swap_remove(position)),
            1 => {
                let waiter = self.waiters.swap_remove(position);
                let seen = waiter.wait.wait(Duration::ZERO);
                assert_eq!(seen, end.unwrap_or(LoadEnd::TimedOut));
            }
            _ => {
                let waiter = &mut self.waiters[position];
                let waker = Waker::from(waiter.sleeper.clone());
                let polled = Pin::new(&mut waiter.wait).poll(&mut Context::from_waker(&waker));
                assert_eq!(polled, end.map_or(Poll::Pending, Poll::Ready));
                waiter.sleeps = polled.is_pending();
                if polled.is_ready() {
                    drop(self.waiters.swap_remove(position));
                }
            }
        }
    }

    fn get_or_load(&mut self) {
        let key = self.key();
        let is_live = self.live(key).is_some();
        if !is_live && (self.table(key).running.contains_key(&key) || self.loaders.contains(&key)) {
            return; // It would wait for this thread.
        }
        let cache = self.cache.clone();
        let Some(Entry { value, .. }) = self.hit(key) else {
            let (value, ttl, how) = (self.value(), self.ttl(), self.random.u8(..6));
            let load = self.begin(key);
            let loaded = catch(|| {
                cache.get_or_load(&key, || {
                    self.loaders.push(key);
                    (0..self.random.usize(..4)).for_each(|_| self.step());
                    assert_eq!(self.loaders.pop(), Some(key));
                    match how {
                        0 => Err("no"),
                        1 => panic_silently("the loader's own"),
                        _ => Ok((value, ttl)),
                    }
                })
            });
            match loaded {
                Ok(Ok(loaded)) => {
                    assert_eq!(loaded, value);
                    match ttl {
                        Duration::ZERO => _ = self.end(load, LoadEnd::NotStored),
                        ttl => _ = self.end_with_value(load, value, Some(ttl)),
                    }
                }
                Ok(Err(error)) => {
                    assert_eq!(error, LoadError::Failed("no"));
                    self.end(load, LoadEnd::Failed);
                }
                Err(panic) => {
                    assert_eq!(panic.downcast_ref(), Some(&"the loader's own"));
                    self.end(load, LoadEnd::Failed);
                }
            }
            return;
        };
        let found = cache.get_or_load_owned(key, || -> Result<(u64, Ttl), ()> { unreachable!() });
        assert_eq!(found, Ok(value));
    }

    fn insert(&mut self) {
        let (key, value) = (self.key(), self.value());
        let explicit = self.random.bool().then(|| self.ttl());
        let before = self.live(key).map(|entry| entry.value);
        self.write(key);
        self.put(key, value, explicit.or(self.ttl));
        let replaced = match explicit {
            Some(ttl) => self.cache.insert_with_ttl(key, value, ttl),
            None => self.cache.insert(key, value),
        };
        assert_eq!(replaced, before);
    }

    fn insert_many(&mut self) {
        let count = self.random.usize(..7);
        let batch: Vec<_> = (0..count).map(|_| (self.key(), self.value())).collect();
        let ttl = self.ttl();
        for &(key, value) in &batch {
            self.write(key);
            self.put(key, value, Some(ttl));
        }
        self.cache.insert_many_with_ttl(batch, ttl);
    }

    fn set_ttl(&mut self) {
        let (key, ttl) = (self.key(), self.ttl());
        let found = if self.random.bool() {
            let found = self.hit(key);
            let answer = self.cache.get_and_set_ttl(&key, ttl);
            assert_eq!(answer, found.map(|entry| entry.value));
            found
        } else {
            let found = self.live(key);
            assert_eq!(self.cache.set_ttl(&key, ttl), found.is_some());
            found
        };
        let Some(Entry { value, .. }) = found else { return };
        if ttl.is_zero() {
            self.write(key);
            self.entries.remove(&key);
        } else {
            self.entries.insert(key, Entry { value, deadline: self.deadline(Some(ttl)) });
        }
    }

    fn use_one(&mut self) {
        let (key, how) = (self.key(), self.random.u8(..4));
        let found = if how == 0 { self.live(key) } else { self.hit(key) };
        let answer = match how {
            0 => self.cache.peek(&key),
            1 => self.cache.get(&key),
            2 => self.cache.read(&key, |&value| value),
            _ => {
                let new = self.value();
                if let Some(Entry { deadline, .. }) = found {
                    self.write(key);
                    self.entries.insert(key, Entry { value: new, deadline });
                }
                self.cache.update(&key, |value| std::mem::replace(value, new))
            }
        };
        assert_eq!(answer, found.map(|entry| entry.value));
    }

    fn remove(&mut self) {
        let key = self.key();
        let before = self.live(key).map(|entry| entry.value);
        self.write(key);
        self.expected.removed += u64::from(before.is_some());
        self.entries.remove(&key);
        assert_eq!(self.cache.remove(&key), before);
    }

    fn remove_some(&mut self) {
        let (part, of) = (self.random.u64(..8), 8);
        let all = self.random.bool();
        for key in (0..KEYS).filter(|key| all || key % of == part) {
            let is_live = self.live(key).is_some();
            self.expected.removed += u64::from(is_live);
            self.entries.remove(&key);
            if is_live && !all {
                self.write(key);
            }
        }
        if all {
            self.write_all();
            self.cache.clear();
        } else {
            self.cache.retain(|key, _| key % of != part);
        }
    }

    fn step(&mut self) {
        match self.random.u16(..640) {
            0..160 if self.tickets.len() < HELD_MAX => self.look_up(),
            160..240 => self.end_a_ticket(),
            240..290 => self.look_at_a_wait(),
            290..330 if self.loaders.len() < DEPTH_MAX => self.get_or_load(),
            330..370 => self.insert(),
            370..380 => self.insert_many(),
            380..420 => self.set_ttl(),
            420..500 => self.use_one(),
            500..520 => self.remove(),
            520..525 => self.remove_some(),
            525..600 => self.clock.advance(match self.random.u8(..4) {
                0 => Duration::from_nanos(self.random.u64(..3)),
                1 => {
                    let to_the_tick = TICK_NANOS - self.nanos() % TICK_NANOS;
                    Duration::from_nanos(to_the_tick - self.random.u64(..2))
                }
                _ => Duration::from_nanos(self.random.u64(..8_000_000)),
            }),
            600..620 => _ = self.cache.reap(self.random.usize(..4)),
            _ => self.end_a_ticket(),
        }
        self.check();
    }

    /// Compares the cache with the model.
    fn check(&mut self) {
        self.cache.check();
        let stats = self.cache.stats();
        let Stats { expired, held, live_peak, rebuilds, .. } = stats;
        self.expected = Stats { expired, held, live_peak, rebuilds, ..self.expected };
        assert_eq!(stats, self.expected);
        assert!(self.waiters.iter().all(|waiter| waiter.sleeper.0.load(SeqCst) == waiter.wakes));
        let key = self.key();
        assert_eq!(self.cache.peek(&key), self.live(key).map(|entry| entry.value), "of {key}");
    }
}

fn play(seed: u64, concurrent_loads: usize, shards: usize, steps: usize) -> Player {
    let clock = ManualClock::new();
    clock.set(Duration::from_nanos(seed * 1_234_567));
    let ttl = (seed % 2 == 0).then_some(RESOLUTION * 20);
    // With room for all keys in one shard, nothing is evicted.
    let builder = Cache::builder().capacity(KEYS as usize * 2 * shards).shards(shards);
    let builder = builder.concurrent_loads(concurrent_loads).clock(clock.clone());
    let builder = builder.resolution(RESOLUTION).hasher(FixedState::with_seed(seed));
    let cache: Tested = match ttl {
        Some(ttl) => builder.ttl(ttl).build().unwrap(),
        None => builder.build().unwrap(),
    };
    let hashes = (0..KEYS).map(|key| (key, KeyHash::new(&FixedState::with_seed(seed), &key)));
    let shards_of = hashes.map(|(key, hash)| (key, cache.inner.shard_of(hash))).collect();
    let tables = cache.inner.shards.iter().map(|shard| {
        let (loads, log_size) = shard.loads.room();
        Table {
            queue: (0..loads).collect(),
            latest: vec![None; loads],
            running: HashMap::new(),
            log_size: log_size as u64,
            writes: 0,
            last_written: HashMap::new(),
        }
    });
    let mut player = Player {
        random: fastrand::Rng::with_seed(seed),
        clock,
        ttl,
        entries: HashMap::new(),
        shards: shards_of,
        tables: tables.collect(),
        loads: Vec::new(),
        tickets: Vec::new(),
        waiters: Vec::new(),
        loaders: Vec::new(),
        next_value: 0,
        expected: Stats::default(),
        seen: HashMap::new(),
        cache,
    };
    (0..steps).for_each(|_| player.step());
    while !player.tickets.is_empty() {
        player.end_a_ticket();
        player.check();
    }
    player.waiters.clear();
    player.cache.check_idle();
    assert!(player.loads.iter().all(|load| load.end.is_some()));
    player
}

#[test]
fn loads_in_flight_across_all_calls_agree_with_a_model() {
    let mut seen = HashMap::<&str, u64>::new();
    for (seed, loads) in (0..6).flat_map(|seed| [0, 1, 3, 16].map(|loads| (seed, loads))) {
        for shards in [1, 3] {
            for (what, count) in play(seed, loads, shards, 6_000).seen {
                *seen.entry(what).or_default() += count;
            }
        }
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
    assert!(seen.values().all(|&count| count > 300), "{seen:?}");
}
