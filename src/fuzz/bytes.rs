//! The model test of the caches of bytes: random calls of the whole API, compared with a map.
//!
//! The map does not know what is evicted: it learns that from what is missing, and holds it against
//! the statistics.

use std::collections::HashMap;
use std::time::Duration;

use super::Choose;
use crate::error::BuildError;
use crate::{ByteCache, Eviction, ManualClock, Reaper, Stats, TooLarge, Ttl, unsync};

const KEYS: u8 = 40;
const RESOLUTION: Duration = Duration::from_millis(10);
const STEPS_MAX: usize = 2_000;

/// A span of time that contains the end of an entry.
type End = Option<(Duration, Duration)>;

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    ttl_end: End,
    idle_end: End,
}

impl Entry {
    fn ends(&self) -> impl Iterator<Item = (Duration, Duration)> {
        self.ttl_end.into_iter().chain(self.idle_end)
    }
    fn may_be_due(&self, now: Duration) -> bool {
        self.ends().any(|(first, _)| now >= first)
    }
    fn must_be_due(&self, now: Duration) -> bool {
        self.ends().any(|(_, last)| now >= last + RESOLUTION)
    }
}

#[derive(Clone, Debug)]
struct Setup {
    budget: usize,
    mean: usize,
    live_percent: usize,
    shards: usize,
    eviction: Eviction,
    reap_limit: usize,
    ttl: Option<Duration>,
    jitter: f64,
    time_to_idle: Option<Duration>,
    concurrent_loads: usize,
    clock: ManualClock,
}

impl Setup {
    fn choose(choices: &mut impl Choose) -> Self {
        let is_large = choices.usize(..8) == 0 && !cfg!(miri);
        let budget = if is_large { 400 << 10 } else { 4_096 + choices.usize(..60_000) };
        let means = [1, 40, 300, 2_000, 30_000, 200_000];
        let evictions = [Eviction::Adaptive, Eviction::S3Clock, Eviction::S3Fifo, Eviction::Fifo];
        let time = |choices: usize| Some(RESOLUTION * (3 + choices as u32));
        Self {
            budget,
            mean: means[choices.usize(..means.len())],
            live_percent: 50 + choices.usize(..49),
            shards: 1 + choices.usize(..3),
            eviction: evictions[choices.usize(..4)],
            reap_limit: [0, 1, 5, 64][choices.usize(..4)],
            ttl: if choices.bool() { time(choices.usize(..20)) } else { None },
            jitter: if choices.bool() { 0.3 } else { 0.0 },
            time_to_idle: if choices.bool() { time(choices.usize(..20)) } else { None },
            concurrent_loads: choices.usize(..3),
            clock: ManualClock::new(),
        }
    }
}

macro_rules! build {
    ($builder:expr, $setup:expr) => {{
        let setup = $setup;
        let builder = $builder
            .memory_budget(setup.budget)
            .mean_entry(setup.mean)
            .live_percent(setup.live_percent)
            .shards(setup.shards)
            .eviction(setup.eviction)
            .reap_limit(setup.reap_limit)
            .ttl_jitter(setup.jitter)
            .resolution(RESOLUTION)
            .clock(setup.clock.clone());
        let builder = match setup.ttl {
            Some(ttl) => builder.ttl(ttl),
            None => builder,
        };
        let builder = match setup.time_to_idle {
            Some(time) => builder.time_to_idle(time),
            None => builder,
        };
        let planned = builder.footprint();
        let built = builder.build();
        match (&planned, &built) {
            (Ok(planned), Ok(built)) => assert_eq!(*planned, built.footprint()),
            (Err(planned), Err(built)) => assert_eq!(planned, built),
            _ => panic!("{planned:?}, and then {built:?}"),
        }
        built
    }};
}

macro_rules! played {
    ($(fn $name:ident$(<$generic:tt>)?($this:ident: $self:ty $(, $argument:ident: $type:ty)*)
        $(-> $returned:ty)?;)+) => {
        /// The methods of a cache of bytes.
        trait Played: Sized {
            fn build(setup: &Setup) -> Result<Self, BuildError>;
            fn get(&mut self, key: &[u8]) -> Option<Vec<u8>>;
            fn peek(&self, key: &[u8]) -> Option<Vec<u8>>;
            fn load(&mut self, key: &[u8], loaded: Option<(Vec<u8>, Ttl)>) -> Option<Vec<u8>>;
            $(fn $name$(<$generic>)?($this: $self $(, $argument: $type)*) $(-> $returned)?;)+
        }
        played!(@for SharedCache: $(fn $name$(<$generic>)?(
            $this: $self $(, $argument: $type)*) $(-> $returned)?;)+);
        played!(@for UnsyncCache: $(fn $name$(<$generic>)?(
            $this: $self $(, $argument: $type)*) $(-> $returned)?;)+);
    };
    (@for $cache:ident: $(fn $name:ident$(<$generic:tt>)?(
        $this:ident: $self:ty $(, $argument:ident: $type:ty)*) $(-> $returned:ty)?;)+) => {
        impl Played for $cache {
            fn build(setup: &Setup) -> Result<Self, BuildError> {
                build!(played!(@builder $cache, setup), setup)
            }
            fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
                $cache::get(self, key).map(|value| value.to_vec())
            }
            fn peek(&self, key: &[u8]) -> Option<Vec<u8>> {
                $cache::peek(self, key).map(|value| value.to_vec())
            }
            fn load(&mut self, key: &[u8], loaded: Option<(Vec<u8>, Ttl)>) -> Option<Vec<u8>> {
                let value = $cache::get_or_load(self, key, || loaded.ok_or(()));
                value.ok().map(|value| value.to_vec())
            }
            $(fn $name$(<$generic>)?($this: $self $(, $argument: $type)*) $(-> $returned)? {
                $cache::$name($this $(, $argument)*)
            })+
        }
    };
    (@builder SharedCache, $setup:ident) => {
        SharedCache::builder()
            .reaper(Reaper::Manual)
            .concurrent_loads($setup.concurrent_loads)
    };
    (@builder UnsyncCache, $setup:ident) => { UnsyncCache::builder() };
}

use ByteCache as SharedCache;
use unsync::ByteCache as UnsyncCache;
played! {
    fn check(self: &Self);
    fn len(self: &Self) -> usize;
    fn due_len(self: &Self) -> usize;
    fn capacity(self: &Self) -> usize;
    fn stats(self: &Self) -> Stats;
    fn entry_bytes_max(self: &Self) -> usize;
    fn next_expiry(self: &Self) -> Option<Duration>;
    fn contains_key(self: &Self, key: &[u8]) -> bool;
    fn expires_in(self: &Self, key: &[u8]) -> Option<Duration>;
    fn for_each(self: &Self, visit: impl FnMut(&[u8], &[u8]));
    fn get_into(self: &mut Self, key: &[u8], into: &mut Vec<u8>) -> Option<usize>;
    fn read<R>(self: &mut Self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R>;
    fn insert(self: &mut Self, key: &[u8], value: &[u8]) -> Result<bool, TooLarge>;
    fn insert_with_ttl(self: &mut Self, key: &[u8], value: &[u8], ttl: Ttl)
        -> Result<bool, TooLarge>;
    fn insert_if_absent_with_ttl(self: &mut Self, key: &[u8], value: &[u8], ttl: Ttl)
        -> Result<bool, TooLarge>;
    fn remove(self: &mut Self, key: &[u8]) -> bool;
    fn set_ttl(self: &mut Self, key: &[u8], ttl: Ttl) -> bool;
    fn retain(self: &mut Self, keep: impl FnMut(&[u8], &[u8]) -> bool);
    fn clear(self: &mut Self);
    fn reap(self: &mut Self, limit: usize) -> usize;
}

/// Plays both caches.
pub(crate) fn play(mut choices: impl Choose) {
    if choices.bool() {
        Player::<SharedCache>::new(&mut choices).play(&mut choices);
    } else {
        Player::<UnsyncCache>::new(&mut choices).play(&mut choices);
    }
}

struct Player<C> {
    setup: Setup,
    cache: C,
    now: Duration,
    entries: HashMap<u8, Entry>,
    next_value: usize,
    hits: u64,
    misses: u64,
    before: Stats,
}

fn key_bytes(key: u8) -> Vec<u8> {
    match key {
        0 => Vec::new(),
        1..30 => vec![key; usize::from(key)],
        _ => vec![key; 10 * usize::from(key)],
    }
}

impl<C: Played> Player<C> {
    fn new(choices: &mut impl Choose) -> Self {
        let mut setup = Setup::choose(choices);
        let cache = C::build(&setup).unwrap_or_else(|error| {
            let BuildError::BudgetTooSmall { needed_bytes, .. } = error else { panic!("{error}") };
            assert!(needed_bytes > setup.budget);
            setup.budget = needed_bytes;
            C::build(&setup).expect("the error has said what is needed")
        });
        assert!(cache.entry_bytes_max() >= setup.mean);
        let before = cache.stats();
        let entries = HashMap::new();
        let now = Duration::ZERO;
        Self { setup, cache, now, entries, next_value: 0, hits: 0, misses: 0, before }
    }

    fn play(&mut self, choices: &mut impl Choose) {
        for _ in 0..STEPS_MAX {
            if choices.is_exhausted() {
                break;
            }
            self.before = self.cache.stats();
            self.step(choices);
            self.compare();
        }
        self.cache.clear();
        assert_eq!((self.cache.len(), self.cache.stats().live_bytes), (0, 0));
    }

    fn step(&mut self, choices: &mut impl Choose) {
        let key = choices.u8(..KEYS);
        let bytes = &key_bytes(key)[..];
        match choices.usize(..24) {
            0..=7 => self.insert(key, choices),
            8 => self.insert_if_absent(key, choices),
            9..=11 => {
                let found = match choices.usize(..3) {
                    0 => self.cache.get(bytes),
                    1 => self.cache.read(bytes, <[u8]>::to_vec),
                    _ => {
                        let mut into = vec![7];
                        let length = self.cache.get_into(bytes, &mut into);
                        assert_eq!(length.unwrap_or(0), into.len() - 1);
                        length.map(|_| into.split_off(1))
                    }
                };
                self.was_used(key, found.as_deref());
                self.freed_at_most(self.setup.reap_limit);
            }
            12 | 13 => self.load(key, choices),
            14 | 15 => {
                let was_live = self.cache.peek(bytes).is_some();
                assert_eq!(self.cache.remove(bytes), was_live);
                self.entries.remove(&key);
                self.freed_at_most(self.setup.reap_limit + usize::from(!was_live));
            }
            16 => self.set_ttl(key, choices),
            17 => self.expires_in(key),
            18..=20 => {
                let by = RESOLUTION / 2 * choices.u32(0..12);
                self.now += by;
                self.setup.clock.advance(by);
            }
            21 => {
                let limit = choices.usize(..10);
                let freed = self.cache.reap(limit);
                assert!(freed <= limit);
                assert!(freed == limit || self.cache.due_len() == 0);
            }
            22 => {
                let next = self.cache.next_expiry();
                let first = self.entries.values().flat_map(Entry::ends).map(|(_, last)| last).min();
                if let Some(first) = first {
                    assert!(self.now + next.expect("there is one") <= first + RESOLUTION);
                }
            }
            _ => match choices.usize(..6) {
                0 => self.cache.clear(),
                1 => {
                    self.cache.retain(|key, _| key.len() % 2 == 0);
                    self.entries.retain(|&key, _| key_bytes(key).len() % 2 == 0);
                    assert_eq!(self.cache.due_len(), 0);
                }
                _ => {}
            },
        }
    }

    fn choose_value(&mut self, key: u8, choices: &mut impl Choose) -> Vec<u8> {
        let most = self.cache.entry_bytes_max().saturating_sub(key_bytes(key).len());
        let length = match choices.usize(..16) {
            0 => 0,
            1 => most,
            2 => most + 1 + choices.usize(..100),
            3 | 4 => choices.usize(..most + 1),
            5..10 => choices.usize(..self.setup.mean / 2 + 1),
            _ => choices.usize(..2 * self.setup.mean),
        };
        self.next_value += 1;
        let seed = self.next_value;
        (0..length).map(|at| (seed * 31 + at + (at >> 8)) as u8).collect()
    }

    fn choose_ttl(&self, choices: &mut impl Choose) -> Ttl {
        match choices.usize(..8) {
            0..=3 => Ttl::Default,
            4 => Ttl::Never,
            5 => Ttl::After(Duration::ZERO),
            _ => Ttl::After(RESOLUTION / 2 * choices.u32(1..60)),
        }
    }

    fn ttl_end(&self, ttl: Ttl) -> End {
        let most = ttl.or(self.setup.ttl)?;
        let jitter = if ttl == Ttl::Default { self.setup.jitter } else { 0.0 };
        Some((self.now + most.mul_f64(1.0 - jitter - 1e-9), self.now + most))
    }

    fn idle_end(&self) -> End {
        self.setup.time_to_idle.map(|time| (self.now + time, self.now + time))
    }

    fn insert(&mut self, key: u8, choices: &mut impl Choose) {
        let value = self.choose_value(key, choices);
        let ttl = self.choose_ttl(choices);
        let bytes = key_bytes(key);
        let was_live = self.cache.peek(&bytes).is_some();
        let result = match ttl {
            Ttl::Default => self.cache.insert(&bytes, &value),
            _ => self.cache.insert_with_ttl(&bytes, &value, ttl),
        };
        if self.check_result(&bytes, &value, result.err()) {
            // What it is to replace may be evicted for it, where that takes several holds.
            let evicted = self.cache.stats().evicted - self.before.evicted;
            let may_be_gone = was_live && evicted > 0 && value.len() > 64 << 10;
            assert!(result == Ok(was_live) || may_be_gone);
            self.was_inserted(key, value, ttl);
        }
    }

    fn insert_if_absent(&mut self, key: u8, choices: &mut impl Choose) {
        let value = self.choose_value(key, choices);
        let ttl = self.choose_ttl(choices);
        let bytes = key_bytes(key);
        let was_live = self.cache.peek(&bytes).is_some();
        let result = self.cache.insert_if_absent_with_ttl(&bytes, &value, ttl);
        if self.check_result(&bytes, &value, result.err()) {
            assert_eq!(result, Ok(!was_live));
            if !was_live {
                self.was_inserted(key, value, ttl);
            }
        }
    }

    /// What is too large changes nothing.
    fn check_result(&self, key: &[u8], value: &[u8], error: Option<TooLarge>) -> bool {
        let bytes = key.len() + value.len();
        let limit = self.cache.entry_bytes_max();
        assert_eq!(error, (bytes > limit).then_some(TooLarge { bytes, limit }));
        if error.is_some() {
            assert_eq!(self.cache.stats(), self.before);
        }
        error.is_none()
    }

    fn was_inserted(&mut self, key: u8, value: Vec<u8>, ttl: Ttl) {
        let bytes = key_bytes(key);
        let moved_bytes = self.cache.stats().bytes_moved - self.before.bytes_moved;
        let size = bytes.len() + value.len();
        assert!(moved_bytes as usize <= (64 << 10) + 8 * size, "{moved_bytes} for {size}");
        if ttl == Ttl::After(Duration::ZERO) {
            assert!(!self.cache.contains_key(&bytes));
            self.entries.remove(&key);
            return;
        }
        assert!(
            self.cache.peek(&bytes).as_ref() == Some(&value),
            "what was just inserted is there"
        );
        let entry = Entry { value, ttl_end: self.ttl_end(ttl), idle_end: self.idle_end() };
        self.entries.insert(key, entry);
    }

    fn was_used(&mut self, key: u8, found: Option<&[u8]>) {
        match found {
            Some(value) => {
                self.hits += 1;
                let idle_end = self.idle_end();
                let entry = self.entries.get_mut(&key).expect("it was never inserted");
                assert!(entry.value == value, "another value");
                assert!(!entry.must_be_due(self.now), "{entry:?} is due");
                entry.idle_end = idle_end;
            }
            None => {
                self.misses += 1;
                self.is_missing(key);
            }
        }
    }

    /// No call has found a key.
    fn is_missing(&mut self, key: u8) {
        assert!(!self.cache.contains_key(&key_bytes(key)));
    }

    fn load(&mut self, key: u8, choices: &mut impl Choose) {
        let bytes = key_bytes(key);
        let was_live = self.cache.peek(&bytes).is_some();
        let value = self.choose_value(key, choices);
        let ttl = self.choose_ttl(choices);
        let loaded = (choices.usize(..4) > 0).then(|| (value.clone(), ttl));
        let found = self.cache.load(&bytes, loaded.clone());
        if was_live {
            self.was_used(key, found.as_deref());
            return;
        }
        self.misses += 1;
        assert!(found.as_ref() == loaded.as_ref().map(|(value, _)| value), "not what was loaded");
        let fits = bytes.len() + value.len() <= self.cache.entry_bytes_max();
        if loaded.is_some() && fits && ttl != Ttl::After(Duration::ZERO) {
            self.was_inserted(key, value, ttl);
        } else {
            assert_eq!(self.cache.stats().inserts, self.before.inserts);
            self.freed_at_most(self.setup.reap_limit);
        }
    }

    fn set_ttl(&mut self, key: u8, choices: &mut impl Choose) {
        let bytes = key_bytes(key);
        let was_live = self.cache.peek(&bytes).is_some();
        let ttl = self.choose_ttl(choices);
        assert_eq!(self.cache.set_ttl(&bytes, ttl), was_live);
        if !was_live {
            return;
        }
        let ttl_end = self.ttl_end(ttl);
        if ttl == Ttl::After(Duration::ZERO) {
            self.entries.remove(&key);
        } else {
            self.entries.get_mut(&key).expect("it is there").ttl_end = ttl_end;
        }
    }

    fn expires_in(&mut self, key: u8) {
        let bytes = key_bytes(key);
        let Some(left) = self.cache.expires_in(&bytes) else { return self.is_missing(key) };
        let entry = &self.entries[&key];
        let Some(last) = entry.ends().map(|(_, last)| last).min() else {
            assert_eq!(left, Duration::MAX);
            return;
        };
        let first = entry.ends().map(|(first, _)| first).min().expect("there is one");
        assert!(
            left.is_zero() || self.now + left <= last,
            "{left:?} of {entry:?} at {:?}",
            self.now
        );
        assert!(self.now + left + RESOLUTION >= first, "{left:?} of {entry:?} at {:?}", self.now);
    }

    fn freed_at_most(&self, limit: usize) {
        let freed = self.cache.stats().expired - self.before.expired;
        assert!(freed as usize <= limit, "{freed} freed by one call: {:?}", self.setup);
    }

    /// Compares everything. What is missing has left since the last time.
    fn compare(&mut self) {
        self.cache.check();
        let stats = self.cache.stats();
        let (mut evicted, mut live_bytes) = (0, 0);
        for key in 0..KEYS {
            let found = self.cache.peek(&key_bytes(key));
            assert_eq!(self.cache.contains_key(&key_bytes(key)), found.is_some());
            match (found, self.entries.get(&key)) {
                (Some(value), Some(entry)) => {
                    assert!(value == entry.value, "another value of #{key}");
                    assert!(!entry.must_be_due(self.now), "{entry:?} is due");
                    live_bytes += (value.len() + key_bytes(key).len()) as u64;
                }
                (Some(_), None) => panic!("#{key} is back"),
                (None, Some(entry)) => {
                    evicted += u64::from(!entry.may_be_due(self.now));
                    self.entries.remove(&key);
                }
                (None, None) => {}
            }
        }
        let left = stats.evicted - self.before.evicted + stats.removed - self.before.removed;
        assert!(evicted <= left, "{evicted} are missing, {left} have left");
        let due = self.cache.due_len();
        assert_eq!(self.cache.len(), self.entries.len() + due);
        assert_eq!(stats.held, self.cache.len() as u64);
        assert!(self.cache.len() <= self.cache.capacity());
        assert!(stats.live_bytes >= live_bytes && stats.live_bytes <= stats.live_bytes_peak);
        assert!(due > 0 || stats.live_bytes == live_bytes);
        assert_eq!((stats.hits, stats.misses), (self.hits, self.misses));
        let mut visited = 0;
        self.cache.for_each(|key, value| {
            let number = key.first().copied().unwrap_or(0);
            assert!(key == key_bytes(number) && value == self.entries[&number].value);
            visited += 1;
        });
        assert_eq!(visited, self.entries.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_runs() {
        struct Limited(fastrand::Rng, usize);
        impl Choose for Limited {
            fn below(&mut self, bound: u64) -> u64 {
                self.1 = self.1.saturating_sub(1);
                self.0.u64(..bound)
            }
            fn is_exhausted(&self) -> bool {
                self.1 == 0
            }
        }
        let (runs, choices) = if cfg!(miri) { (2, 60) } else { (50, 3_000) };
        for seed in 0..runs {
            play(Limited(fastrand::Rng::with_seed(seed), choices));
        }
    }
}
