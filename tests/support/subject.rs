//! The caches of this crate behind one trait, so that one test serves them all.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash, Hasher};
use std::hint::black_box;
use std::time::Duration;

use foldhash::fast::{FixedState, FoldHasher};
use punctual::{
    BuildError, Clock, Eviction, Footprint, ManualClock, Reaper, RemovalCause, Stats, unsync,
};

pub(crate) const POLICIES: [Eviction; 4] =
    [Eviction::Fifo, Eviction::S3Fifo, Eviction::S3Clock, Eviction::Adaptive];

pub(crate) trait Key: Clone + Debug + Eq + Hash + Send + Sync + 'static {}
impl<T: Clone + Debug + Eq + Hash + Send + Sync + 'static> Key for T {}

pub(crate) trait Value: Clone + Debug + Send + Sync + 'static {}
impl<T: Clone + Debug + Send + Sync + 'static> Value for T {}

/// What is asked of a builder; what is `None` or the default is not asked at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) capacity: Option<usize>,
    pub(crate) memory_budget: Option<usize>,
    pub(crate) shards: Option<usize>,
    pub(crate) eviction: Eviction,
    pub(crate) ttl: Option<Duration>,
    pub(crate) resolution: Option<Duration>,
    pub(crate) clock: ClockChoice,
    pub(crate) listener: ListenerChoice,
    pub(crate) hasher: KeyHasher,
}

impl Plan {
    pub(crate) fn of_capacity(capacity: usize) -> Self {
        Self { capacity: Some(capacity), ..Self::default() }
    }

    pub(crate) fn of_budget(bytes: usize) -> Self {
        Self { memory_budget: Some(bytes), ..Self::default() }
    }

    pub(crate) fn shards(self, shards: impl Into<Option<usize>>) -> Self {
        Self { shards: shards.into(), ..self }
    }

    pub(crate) fn eviction(self, eviction: Eviction) -> Self {
        Self { eviction, ..self }
    }

    pub(crate) fn resolution(self, resolution: Duration) -> Self {
        Self { resolution: Some(resolution), ..self }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) enum ClockChoice {
    #[default]
    System,
    Manual(ManualClock),
    /// One of the caller's own, of 40 bytes.
    Own,
    /// One of the caller's own, of no bytes.
    OwnEmpty,
    /// One of 40 bytes, and then another one in its place.
    OwnTwice,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum ListenerChoice {
    #[default]
    None,
    /// Captures 72 bytes.
    Capturing,
    /// Captures nothing.
    Empty,
    /// One of 72 bytes, and then another one in its place.
    Twice,
}

/// A clock with a state; it stands still.
pub(crate) struct OwnClock([u64; 5]);

impl Clock for OwnClock {
    fn now(&self) -> Duration {
        Duration::from_secs(black_box(self.0).iter().sum())
    }
}

/// A clock without a state; it stands still.
pub(crate) struct EmptyClock;

impl Clock for EmptyClock {
    fn now(&self) -> Duration {
        Duration::from_secs(15)
    }
}

pub(crate) fn capturing_listener<K, V>() -> impl Fn(&K, &V, RemovalCause) + Send + Sync + 'static {
    let captured = [7u64; 9];
    move |_: &K, _: &V, _| {
        black_box(captured);
    }
}

pub(crate) fn empty_listener<K, V>(_: &K, _: &V, _: RemovalCause) {}

/// A hasher that is the same in every run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyHasher {
    /// The crate's default one, with this seed.
    Seeded(u64),
    /// The worst one: all keys meet in one place.
    Constant,
}

impl Default for KeyHasher {
    fn default() -> Self {
        Self::Seeded(1)
    }
}

impl BuildHasher for KeyHasher {
    type Hasher = KeyHasherState;

    fn build_hasher(&self) -> KeyHasherState {
        match *self {
            Self::Seeded(seed) => {
                KeyHasherState::Seeded(FixedState::with_seed(seed).build_hasher())
            }
            Self::Constant => KeyHasherState::Constant,
        }
    }
}

pub(crate) enum KeyHasherState {
    Seeded(FoldHasher<'static>),
    Constant,
}

impl Hasher for KeyHasherState {
    fn write(&mut self, bytes: &[u8]) {
        if let Self::Seeded(hasher) = self {
            hasher.write(bytes);
        }
    }

    fn write_u64(&mut self, value: u64) {
        if let Self::Seeded(hasher) = self {
            hasher.write_u64(value);
        }
    }

    fn finish(&self) -> u64 {
        match self {
            Self::Seeded(hasher) => hasher.finish(),
            Self::Constant => 0,
        }
    }
}

/// A kind of cache, for whatever keys and values.
pub(crate) trait Family {
    type Cache<K: Key, V: Value>: Subject<K, V>;
}

/// A cache under test. What the kinds return differently (references, clones) is
/// reduced to what they have in common.
pub(crate) trait Subject<K, V>: Sized {
    /// Asks the builder alone.
    fn plan(plan: &Plan) -> Result<Footprint, BuildError>;
    fn build(plan: &Plan) -> Result<Self, BuildError>;

    fn footprint(&self) -> Footprint;
    fn capacity(&self) -> usize;
    fn len(&self) -> usize;
    fn stats(&self) -> Stats;
    fn next_expiry(&self) -> Option<Duration>;
    fn for_each(&self, visit: impl FnMut(&K, &V));
    fn peek(&self, key: &K) -> bool;
    fn contains_key(&self, key: &K) -> bool;
    fn expires_in(&self, key: &K) -> Option<Duration>;

    fn insert(&mut self, key: K, value: V) -> Option<V>;
    fn insert_with_ttl(&mut self, key: K, value: V, ttl: Duration) -> Option<V>;
    fn insert_many(&mut self, entries: impl IntoIterator<Item = (K, V)>);
    fn insert_many_with_ttl(&mut self, entries: impl IntoIterator<Item = (K, V)>, ttl: Duration);
    fn get(&mut self, key: &K) -> bool;
    fn read_many<'a>(
        &mut self,
        keys: impl IntoIterator<Item = &'a K>,
        each: impl FnMut(usize, Option<&V>),
    ) where
        K: 'a;
    fn read<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R>;
    fn update<R>(&mut self, key: &K, update: impl FnOnce(&mut V) -> R) -> Option<R>;
    fn remove(&mut self, key: &K) -> Option<V>;
    fn get_or_insert_with(&mut self, key: &K, make: impl FnOnce() -> V);
    fn try_get_or_insert_with(&mut self, key: &K, make: impl FnOnce() -> Result<V, ()>) -> bool;
    fn get_or_load(&mut self, key: &K, load: impl FnOnce() -> Result<(V, Duration), ()>) -> bool;
    fn set_ttl(&mut self, key: &K, ttl: Duration) -> bool;
    fn get_and_set_ttl(&mut self, key: &K, ttl: Duration) -> bool;
    fn retain(&mut self, keep: impl FnMut(&K, &V) -> bool);
    fn clear(&mut self);
    fn reap(&mut self, limit: usize) -> usize;
}

/// A builder with the setters called that a plan asks for, and before them those
/// that all plans for this kind of cache need.
macro_rules! builder_for {
    ($cache:ident, $plan:expr $(, $setter:ident($($argument:expr),*))*) => {{
        let plan: &Plan = $plan;
        let mut builder = $cache::<K, V>::builder()
            $(.$setter($($argument),*))*
            .hasher(plan.hasher)
            .eviction(plan.eviction);
        if let Some(entries) = plan.capacity {
            builder = builder.capacity(entries);
        }
        if let Some(bytes) = plan.memory_budget {
            builder = builder.memory_budget(bytes);
        }
        if let Some(shards) = plan.shards {
            builder = builder.shards(shards);
        }
        if let Some(ttl) = plan.ttl {
            builder = builder.ttl(ttl);
        }
        if let Some(resolution) = plan.resolution {
            builder = builder.resolution(resolution);
        }
        builder = match plan.clock.clone() {
            ClockChoice::System => builder,
            ClockChoice::Manual(clock) => builder.clock(clock),
            ClockChoice::Own => builder.clock(OwnClock([3; 5])),
            ClockChoice::OwnEmpty => builder.clock(EmptyClock),
            ClockChoice::OwnTwice => builder.clock(OwnClock([2; 5])).clock(OwnClock([3; 5])),
        };
        match plan.listener {
            ListenerChoice::None => builder,
            ListenerChoice::Capturing => builder.on_removal(capturing_listener()),
            ListenerChoice::Empty => builder.on_removal(empty_listener),
            ListenerChoice::Twice => {
                builder.on_removal(empty_listener).on_removal(capturing_listener())
            }
        }
    }};
}

/// The methods of one kind of cache, whether it lends values or clones them.
macro_rules! subject {
    ($family:ident, $cache:ident $(, $setter:ident($($argument:expr),*))*) => {
        impl Family for $family {
            type Cache<K: Key, V: Value> = $cache<K, V, KeyHasher>;
        }

        impl<K: Key, V: Value> Subject<K, V> for $cache<K, V, KeyHasher> {
            fn plan(plan: &Plan) -> Result<Footprint, BuildError> {
                builder_for!($cache, plan $(, $setter($($argument),*))*).footprint()
            }
            fn build(plan: &Plan) -> Result<Self, BuildError> {
                builder_for!($cache, plan $(, $setter($($argument),*))*).build()
            }

            fn footprint(&self) -> Footprint {
                $cache::footprint(self)
            }
            fn capacity(&self) -> usize {
                $cache::capacity(self)
            }
            fn len(&self) -> usize {
                $cache::len(self)
            }
            fn stats(&self) -> Stats {
                $cache::stats(self)
            }
            fn next_expiry(&self) -> Option<Duration> {
                $cache::next_expiry(self)
            }
            fn for_each(&self, visit: impl FnMut(&K, &V)) {
                $cache::for_each(self, visit);
            }
            fn peek(&self, key: &K) -> bool {
                $cache::peek(self, key).is_some()
            }
            fn contains_key(&self, key: &K) -> bool {
                $cache::contains_key(self, key)
            }
            fn expires_in(&self, key: &K) -> Option<Duration> {
                $cache::expires_in(self, key)
            }

            fn insert(&mut self, key: K, value: V) -> Option<V> {
                $cache::insert(self, key, value)
            }
            fn insert_with_ttl(&mut self, key: K, value: V, ttl: Duration) -> Option<V> {
                $cache::insert_with_ttl(self, key, value, ttl)
            }
            fn insert_many(&mut self, entries: impl IntoIterator<Item = (K, V)>) {
                $cache::insert_many(self, entries);
            }
            fn insert_many_with_ttl(
                &mut self,
                entries: impl IntoIterator<Item = (K, V)>,
                ttl: Duration,
            ) {
                $cache::insert_many_with_ttl(self, entries, ttl);
            }
            fn read_many<'a>(
                &mut self,
                keys: impl IntoIterator<Item = &'a K>,
                each: impl FnMut(usize, Option<&V>),
            ) where
                K: 'a,
            {
                $cache::read_many(self, keys, each);
            }
            fn get(&mut self, key: &K) -> bool {
                $cache::get(self, key).is_some()
            }
            fn read<R>(&mut self, key: &K, read: impl FnOnce(&V) -> R) -> Option<R> {
                $cache::read(self, key, read)
            }
            fn update<R>(&mut self, key: &K, update: impl FnOnce(&mut V) -> R) -> Option<R> {
                $cache::update(self, key, update)
            }
            fn remove(&mut self, key: &K) -> Option<V> {
                $cache::remove(self, key)
            }
            fn get_or_insert_with(&mut self, key: &K, make: impl FnOnce() -> V) {
                let _ = $cache::get_or_insert_with(self, key, make);
            }
            fn try_get_or_insert_with(
                &mut self,
                key: &K,
                make: impl FnOnce() -> Result<V, ()>,
            ) -> bool {
                $cache::try_get_or_insert_with(self, key, make).is_ok()
            }
            fn get_or_load(
                &mut self,
                key: &K,
                load: impl FnOnce() -> Result<(V, Duration), ()>,
            ) -> bool {
                $cache::get_or_load(self, key, load).is_ok()
            }
            fn set_ttl(&mut self, key: &K, ttl: Duration) -> bool {
                $cache::set_ttl(self, key, ttl)
            }
            fn get_and_set_ttl(&mut self, key: &K, ttl: Duration) -> bool {
                $cache::get_and_set_ttl(self, key, ttl).is_some()
            }
            fn retain(&mut self, keep: impl FnMut(&K, &V) -> bool) {
                $cache::retain(self, keep);
            }
            fn clear(&mut self) {
                $cache::clear(self);
            }
            fn reap(&mut self, limit: usize) -> usize {
                $cache::reap(self, limit)
            }
        }
    };
}

/// The caches for one thread.
pub(crate) struct Unsync;
use unsync::Cache as UnsyncCache;
subject!(Unsync, UnsyncCache);

/// The caches for many threads, without the reaper: what it allocates is the
/// process's.
pub(crate) struct Shared;
use punctual::Cache as SharedCache;
subject!(Shared, SharedCache, reaper(Reaper::Manual));
