//! The two caches that the replays compare, behind one trait.

use std::collections::VecDeque;
use std::hash::Hash;
use std::time::Duration;

use foldhash::fast::FixedState;
use punctual::original::LocalCache;
use punctual::{BuildError, Clock, ManualClock, Stats, unsync};

/// A cache under replay. A key is stored only after a lookup has missed it, as a service does.
pub(crate) trait Subject<K, V> {
    /// Looks `key` up: is it answered from the cache?
    fn answers(&mut self, key: &K) -> bool;

    fn store(&mut self, key: K, value: V, ttl: Duration);

    /// What the service's timer does: lets the cache free what is due.
    fn tick(&mut self);

    /// Entries in memory, whether or not a lookup would still find them.
    fn held(&self) -> usize;

    /// Entries that a lookup would find now. May walk the whole cache.
    fn live(&self) -> usize;
}

/// The original. It cannot be asked how much of what it holds is alive, so the replay keeps the
/// deadlines beside it; they are borrowed, so that their memory is not taken for the cache's.
pub(crate) struct Original<'a, K, V> {
    cache: LocalCache<K, V>,
    clock: ManualClock,
    deadlines: &'a mut Deadlines,
}

impl<'a, K: Hash + Eq + Clone, V: Clone> Original<'a, K, V> {
    pub(crate) fn new(capacity: usize, clock: &ManualClock, deadlines: &'a mut Deadlines) -> Self {
        Self {
            cache: LocalCache::with_clock(capacity, clock.clone()),
            clock: clock.clone(),
            deadlines,
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Subject<K, V> for Original<'_, K, V> {
    fn answers(&mut self, key: &K) -> bool {
        self.cache.get_ex(key).is_some()
    }

    fn store(&mut self, key: K, value: V, ttl: Duration) {
        self.deadlines.push(self.clock.now() + ttl);
        self.cache.set_ex(key, value, ttl);
    }

    /// Nothing: the original has no way to free what has expired. That was the fault.
    fn tick(&mut self) {}

    fn held(&self) -> usize {
        self.cache.strong_len()
    }

    fn live(&self) -> usize {
        self.deadlines.not_passed_by(self.clock.now())
    }
}

/// The deadlines of the newest `capacity` stores: of the entries which the original holds.
///
/// The original serves an entry while `now <= deadline`, unless its key was stored again since. But
/// the replays store a key only where a lookup has missed it, so an entry that was stored over had
/// passed its deadline before: the deadlines alone tell exactly how many entries are live.
pub(crate) struct Deadlines {
    newest_last: VecDeque<Duration>,
    capacity: usize,
}

impl Deadlines {
    /// Reserves room for all at once, so that nothing is allocated while a cache's bytes are read.
    /// `stores_max` is the most stores there can be, where that is known to be fewer.
    pub(crate) fn new(capacity: usize, stores_max: usize) -> Self {
        Self { newest_last: VecDeque::with_capacity(capacity.min(stores_max)), capacity }
    }

    fn push(&mut self, deadline: Duration) {
        if self.newest_last.len() == self.capacity {
            self.newest_last.pop_front();
        }
        self.newest_last.push_back(deadline);
    }

    fn not_passed_by(&self, now: Duration) -> usize {
        self.newest_last.iter().filter(|&&deadline| now <= deadline).count()
    }
}

/// punctual's cache of bytes for one thread: the ids lie in the cache's own memory.
pub(crate) struct Bytes {
    cache: unsync::ByteCache<FixedState>,
}

impl Bytes {
    pub(crate) fn new(
        budget_bytes: usize,
        mean_entry_bytes: usize,
        clock: &ManualClock,
    ) -> Result<Self, BuildError> {
        let cache = unsync::ByteCache::builder()
            .memory_budget(budget_bytes)
            .mean_entry(mean_entry_bytes)
            .clock(clock.clone())
            .hasher(FixedState::default())
            .build()?;
        Ok(Self { cache })
    }

    pub(crate) fn stats(&self) -> Stats {
        self.cache.stats()
    }

    pub(crate) fn footprint_bytes(&self) -> usize {
        self.cache.footprint().total()
    }
}

impl Subject<String, String> for Bytes {
    fn answers(&mut self, key: &String) -> bool {
        self.cache.get(key).is_some()
    }

    fn store(&mut self, key: String, value: String, ttl: Duration) {
        let stored = self.cache.insert_with_ttl(key, value.as_bytes(), ttl);
        stored.expect("an id is not too large");
    }

    fn tick(&mut self) {
        self.cache.reap(usize::MAX);
    }

    fn held(&self) -> usize {
        self.cache.len()
    }

    fn live(&self) -> usize {
        self.cache.len() - self.cache.due_len()
    }
}

/// punctual's cache for one thread, as an event loop would use it.
pub(crate) struct Punctual<K, V> {
    /// With a hasher that is seeded alike in each run: which entries are evicted depends a little
    /// on hashes, and the output shall not vary.
    cache: unsync::Cache<K, V, FixedState>,
}

impl<K: Hash + Eq, V> Punctual<K, V> {
    pub(crate) fn new(capacity: usize, clock: &ManualClock) -> Result<Self, BuildError> {
        let cache = unsync::Cache::builder()
            .capacity(capacity)
            .clock(clock.clone())
            .hasher(FixedState::default())
            .build()?;
        Ok(Self { cache })
    }

    pub(crate) fn stats(&self) -> Stats {
        self.cache.stats()
    }

    /// What the cache itself says that building it took.
    pub(crate) fn footprint_bytes(&self) -> usize {
        self.cache.footprint().total()
    }
}

impl<K: Hash + Eq, V> Subject<K, V> for Punctual<K, V> {
    fn answers(&mut self, key: &K) -> bool {
        self.cache.get(key).is_some()
    }

    fn store(&mut self, key: K, value: V, ttl: Duration) {
        self.cache.insert_with_ttl(key, value, ttl);
    }

    fn tick(&mut self) {
        self.cache.reap(usize::MAX);
    }

    fn held(&self) -> usize {
        self.cache.len()
    }

    /// Iteration skips what is due and not yet freed; `len` counts it.
    fn live(&self) -> usize {
        self.cache.iter().count()
    }
}
