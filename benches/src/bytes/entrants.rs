//! Caches of byte strings, as one thread uses them, by a time that stands still until it is set.
//!
//! Peers bound the weight of their entries: key, value, and what an entry takes beside them,
//! roughly. Values of theirs are boxes with a deadline; what is past it is a miss, and removed.

use std::time::Duration;

use foldhash::fast::FixedState;
use punctual::{ByteCache, Eviction, ManualClock, Stats};

type Bytes = Box<[u8]>;
/// A value, and when it ends.
type Timed = (Duration, Bytes);

pub(crate) trait Entrant {
    /// Looks a key up. Returns whether it is there.
    fn get(&mut self, key: &[u8]) -> bool;
    fn put(&mut self, key: &[u8], value: &[u8], ttl: Option<Duration>);
    fn set_time(&mut self, now: Duration);
    /// What is done from time to time.
    fn settle(&mut self) {}
    fn stats(&self) -> Option<Stats> {
        None
    }
}

/// One of them, and what it may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Who {
    Ours(Eviction),
    QuickCache,
    Moka,
    Foyer,
}

/// How large a cache is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Of ours, all that it takes; of a peer, the greatest weight.
    pub(crate) bytes: usize,
    /// Of key and value.
    pub(crate) mean_entry: usize,
}

impl Who {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours(_) => "punctual",
            Self::QuickCache => "quick_cache",
            Self::Moka => "moka",
            Self::Foyer => "foyer",
        }
    }

    pub(crate) fn build(self, size: Size) -> Box<dyn Entrant> {
        match self {
            Self::Ours(eviction) => Box::new(Ours::new(size, eviction)),
            Self::QuickCache => Box::new(QuickCache::new(size)),
            Self::Moka => Box::new(Moka::new(size)),
            Self::Foyer => Box::new(Foyer::new(size)),
        }
    }
}

const HASHER: FixedState = FixedState::with_seed(7);

/// Of four processors on each machine, so that there are as many shards everywhere.
pub(crate) const PROCESSORS: usize = 4;

struct Ours {
    cache: ByteCache<FixedState>,
    clock: ManualClock,
}

impl Ours {
    fn new(size: Size, eviction: Eviction) -> Self {
        let clock = ManualClock::new();
        let builder = ByteCache::builder().memory_budget(size.bytes).mean_entry(size.mean_entry);
        let builder = builder.clock(clock.clone()).hasher(HASHER).eviction(eviction);
        let cache = builder.processors(PROCESSORS).build().expect("the size is possible");
        Self { cache, clock }
    }
}

impl Entrant for Ours {
    fn get(&mut self, key: &[u8]) -> bool {
        self.cache.read(key, |_| ()).is_some()
    }

    fn put(&mut self, key: &[u8], value: &[u8], ttl: Option<Duration>) {
        let inserted = match ttl {
            Some(ttl) => self.cache.insert_with_ttl(key, value, ttl),
            None => self.cache.insert(key, value),
        };
        inserted.expect("it fits");
    }

    fn set_time(&mut self, now: Duration) {
        self.clock.set(now);
    }

    fn settle(&mut self) {
        self.cache.reap(usize::MAX);
    }

    fn stats(&self) -> Option<Stats> {
        Some(self.cache.stats())
    }
}

fn deadline(now: Duration, ttl: Option<Duration>) -> Duration {
    ttl.map_or(Duration::MAX, |ttl| now + ttl)
}

const BESIDE_QUICK_CACHE: usize = 88;
const BESIDE_OTHERS: usize = 200;

struct QuickCache {
    cache: quick_cache::sync::Cache<Bytes, Timed, Weigher, FixedState>,
    now: Duration,
}

#[derive(Clone)]
struct Weigher;

impl quick_cache::Weighter<Bytes, Timed> for Weigher {
    fn weight(&self, key: &Bytes, (_, value): &Timed) -> u64 {
        (key.len() + value.len() + BESIDE_QUICK_CACHE) as u64
    }
}

impl QuickCache {
    fn new(size: Size) -> Self {
        let options = quick_cache::OptionsBuilder::new()
            .shards(4 * PROCESSORS)
            .estimated_items_capacity(size.bytes / (size.mean_entry + BESIDE_QUICK_CACHE))
            .weight_capacity(size.bytes as u64)
            .build()
            .expect("both sizes are set");
        let lifecycle = quick_cache::sync::DefaultLifecycle::default();
        let cache = quick_cache::sync::Cache::with_options(options, Weigher, HASHER, lifecycle);
        Self { cache, now: Duration::ZERO }
    }
}

impl Entrant for QuickCache {
    fn get(&mut self, key: &[u8]) -> bool {
        let Some((deadline, _)) = self.cache.get(key) else { return false };
        if deadline <= self.now {
            self.cache.remove(key);
        }
        deadline > self.now
    }

    fn put(&mut self, key: &[u8], value: &[u8], ttl: Option<Duration>) {
        self.cache.insert(key.into(), (deadline(self.now, ttl), value.into()));
    }

    fn set_time(&mut self, now: Duration) {
        self.now = now;
    }
}

struct Moka {
    cache: moka::sync::Cache<Bytes, Timed, FixedState>,
    now: Duration,
}

impl Moka {
    fn new(size: Size) -> Self {
        let cache = moka::sync::Cache::builder()
            .max_capacity(size.bytes as u64)
            .weigher(|key: &Bytes, (_, value): &Timed| {
                (key.len() + value.len() + BESIDE_OTHERS) as u32
            })
            .build_with_hasher(HASHER);
        Self { cache, now: Duration::ZERO }
    }
}

impl Entrant for Moka {
    fn get(&mut self, key: &[u8]) -> bool {
        let Some((deadline, _)) = self.cache.get(key) else { return false };
        if deadline <= self.now {
            self.cache.invalidate(key);
        }
        deadline > self.now
    }

    fn put(&mut self, key: &[u8], value: &[u8], ttl: Option<Duration>) {
        self.cache.insert(key.into(), (deadline(self.now, ttl), value.into()));
    }

    fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    fn settle(&mut self) {
        self.cache.run_pending_tasks();
    }
}

struct Foyer {
    cache: foyer_memory::Cache<Bytes, Timed, FixedState>,
    now: Duration,
}

impl Foyer {
    fn new(size: Size) -> Self {
        let cache = foyer_memory::Cache::builder(size.bytes)
            .with_weighter(|key: &Bytes, (_, value): &Timed| {
                key.len() + value.len() + BESIDE_OTHERS
            })
            .with_hash_builder(HASHER)
            .build();
        Self { cache, now: Duration::ZERO }
    }
}

impl Entrant for Foyer {
    fn get(&mut self, key: &[u8]) -> bool {
        let Some(deadline) = self.cache.get(key).map(|entry| entry.value().0) else { return false };
        if deadline <= self.now {
            self.cache.remove(key);
        }
        deadline > self.now
    }

    fn put(&mut self, key: &[u8], value: &[u8], ttl: Option<Duration>) {
        self.cache.insert(key.into(), (deadline(self.now, ttl), value.into()));
    }

    fn set_time(&mut self, now: Duration) {
        self.now = now;
    }
}
