//! What is asked of a builder, of either cache, so that one test serves them both.

use std::hash::{BuildHasher, Hash, Hasher};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::{FixedState, FoldHasher};
use punctual::unsync::Cache as UnsyncCache;
use punctual::{
    BuildError, Cache, Clock, Compute, EntryRef, Eviction, Footprint, LoadError, ManualClock,
    Reaper, RemovalCause, Stats, Ttl, unsync,
};

#[path = "../../src/fuzz/subject.rs"]
mod subject;
pub(crate) use subject::Subject;

pub(crate) const POLICIES: [Eviction; 4] = punctual_testing::policies!(Eviction);

punctual_testing::clock_fn!(Clock);

pub(crate) trait Key: Clone + Eq + Hash + Send + Sync + 'static {}
impl<T: Clone + Eq + Hash + Send + Sync + 'static> Key for T {}

pub(crate) trait Value: Clone + Send + Sync + 'static {}
impl<T: Clone + Send + Sync + 'static> Value for T {}

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

#[derive(Clone, Default)]
pub(crate) enum ClockChoice {
    #[default]
    System,
    Manual(ManualClock),
    /// One of the caller's own.
    Shared(Arc<dyn Clock + Send + Sync>),
    /// One of the caller's own, of 40 bytes.
    Own,
    /// One of the caller's own, of no bytes.
    OwnEmpty,
    /// One of 40 bytes, and then another one in its place.
    OwnTwice,
}

impl std::fmt::Debug for ClockChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Manual(_) => "Manual",
            Self::Shared(_) => "Shared",
            Self::Own => "Own",
            Self::OwnEmpty => "OwnEmpty",
            Self::OwnTwice => "OwnTwice",
        })
    }
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

/// A clock of 40 bytes, which stands still.
fn own_clock(second: u64) -> impl Clock + Send + Sync {
    let state = [second; 5];
    ClockFn(move || Duration::from_secs(black_box(state).iter().sum()))
}

fn capturing_listener<K, V>() -> impl Fn(&K, &V, RemovalCause) + Send + Sync + 'static {
    let captured = [7u64; 9];
    move |_: &K, _: &V, _| {
        black_box(captured);
    }
}

fn empty_listener<K, V>(_: &K, _: &V, _: RemovalCause) {}

/// A hasher that is the same in every run: the crate's default one, of which the bits
/// in the mask are used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHasher {
    seed: u64,
    mask: u64,
}

impl KeyHasher {
    /// The worst one: all keys meet in one place.
    pub(crate) const CONSTANT: Self = Self { seed: 1, mask: 0 };

    pub(crate) fn seeded(seed: u64) -> Self {
        Self { seed, mask: u64::MAX }
    }
}

impl Default for KeyHasher {
    fn default() -> Self {
        Self::seeded(1)
    }
}

impl BuildHasher for KeyHasher {
    type Hasher = KeyHasherState;

    fn build_hasher(&self) -> KeyHasherState {
        KeyHasherState(FixedState::with_seed(self.seed).build_hasher(), self.mask)
    }
}

pub(crate) struct KeyHasherState(FoldHasher<'static>, u64);

impl Hasher for KeyHasherState {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn write_u64(&mut self, value: u64) {
        self.0.write_u64(value);
    }

    fn finish(&self) -> u64 {
        self.0.finish() & self.1
    }
}

/// A kind of cache, for whatever keys and values.
pub(crate) trait Family {
    const NAME: &str;
    type Cache<K: Key, V: Value>: Planned<K, V>;
}

/// A cache that can be built to a plan.
pub(crate) trait Planned<K: 'static, V: 'static>: Subject<K, V> + Sized {
    /// Asks the builder alone.
    fn plan(plan: &Plan) -> Result<Footprint, BuildError>;
    fn build(plan: &Plan) -> Result<Self, BuildError>;
    fn footprint(&self) -> Footprint;
}

/// A kind of cache, and what every builder of it is asked besides.
macro_rules! family {
    ($(#[$doc:meta])+ $family:ident, $name:literal, $cache:ident, |$builder:ident| $first:expr) => {
        $(#[$doc])+
        pub(crate) struct $family;

        impl Family for $family {
            const NAME: &str = $name;
            type Cache<K: Key, V: Value> = $cache<K, V, KeyHasher>;
        }

        impl<K: Key, V: Value> Planned<K, V> for $cache<K, V, KeyHasher> {
            fn plan(plan: &Plan) -> Result<Footprint, BuildError> {
                family!(@builder $cache, plan, |$builder| $first).footprint()
            }
            fn build(plan: &Plan) -> Result<Self, BuildError> {
                family!(@builder $cache, plan, |$builder| $first).build()
            }
            fn footprint(&self) -> Footprint {
                $cache::footprint(self)
            }
        }
    };
    (@builder $cache:ident, $plan:ident, |$builder:ident| $first:expr) => {{
        let $builder = $cache::<K, V>::builder();
        let mut builder = $first.hasher($plan.hasher).eviction($plan.eviction);
        if let Some(entries) = $plan.capacity {
            builder = builder.capacity(entries);
        }
        if let Some(bytes) = $plan.memory_budget {
            builder = builder.memory_budget(bytes);
        }
        if let Some(shards) = $plan.shards {
            builder = builder.shards(shards);
        }
        if let Some(ttl) = $plan.ttl {
            builder = builder.ttl(ttl);
        }
        if let Some(resolution) = $plan.resolution {
            builder = builder.resolution(resolution);
        }
        builder = match $plan.clock.clone() {
            ClockChoice::System => builder,
            ClockChoice::Manual(clock) => builder.clock(clock),
            ClockChoice::Shared(clock) => builder.clock(clock),
            ClockChoice::Own => builder.clock(own_clock(3)),
            ClockChoice::OwnEmpty => builder.clock(ClockFn(|| Duration::from_secs(15))),
            ClockChoice::OwnTwice => builder.clock(own_clock(2)).clock(own_clock(3)),
        };
        match $plan.listener {
            ListenerChoice::None => builder,
            ListenerChoice::Capturing => builder.on_removal(capturing_listener()),
            ListenerChoice::Empty => builder.on_removal(empty_listener),
            ListenerChoice::Twice => {
                builder.on_removal(empty_listener).on_removal(capturing_listener())
            }
        }
    }};
}

family! {
    /// The caches for one thread.
    Unsync, "unsync::Cache", UnsyncCache, |builder| builder
}

family! {
    /// The caches for many threads, without the reaper: what it allocates is the
    /// process's. As on a machine of few processors.
    Shared, "Cache", Cache, |builder| builder.reaper(Reaper::Manual).processors(4)
}
