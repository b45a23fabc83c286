//! What is asked of a builder, closures included, of either cache, so that one test serves them
//! both.

use std::borrow::Cow;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use punctual::{
    BuildError, Cache, Compute, EntryRef, Eviction, Footprint, LoadError, ManualClock,
    RemovalCause, Stats, Ttl, unsync,
};

#[path = "../../src/fuzz/subject.rs"]
mod subject;
pub(crate) use subject::Subject;

pub(crate) trait Key: Clone + Eq + Hash + Send + Sync + 'static {}
impl<T: Clone + Eq + Hash + Send + Sync + 'static> Key for T {}

pub(crate) trait Value: Clone + Send + Sync + 'static {}
impl<T: Clone + Send + Sync + 'static> Value for T {}

pub(crate) type TtlBy<K, V> = Arc<dyn Fn(&K, &V) -> Ttl + Send + Sync>;
pub(crate) type Weigher<K, V> = Arc<dyn Fn(&K, &V) -> u64 + Send + Sync>;
pub(crate) type Listener<K, V> = Arc<dyn Fn(&K, &V, RemovalCause) + Send + Sync>;

/// What is asked of a builder; what is `None` is not asked at all. The clock is always its own, so
/// that there is no reaper.
pub(crate) struct Setup<K, V> {
    pub(crate) clock: ManualClock,
    pub(crate) capacity: usize,
    pub(crate) shards: Option<usize>,
    pub(crate) eviction: Option<Eviction>,
    pub(crate) resolution: Option<Duration>,
    pub(crate) reap_limit: Option<usize>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) ttl_by: Option<TtlBy<K, V>>,
    pub(crate) ttl_jitter: Option<f64>,
    pub(crate) time_to_idle: Option<Duration>,
    pub(crate) weigher: Option<Weigher<K, V>>,
    pub(crate) max_weight: Option<u64>,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) listener: Option<Listener<K, V>>,
}

impl<K, V> Setup<K, V> {
    pub(crate) fn of_capacity(capacity: usize) -> Self {
        Self {
            clock: ManualClock::new(),
            capacity,
            shards: None,
            eviction: None,
            resolution: None,
            reap_limit: None,
            ttl: None,
            ttl_by: None,
            ttl_jitter: None,
            time_to_idle: None,
            weigher: None,
            max_weight: None,
            name: None,
            listener: None,
        }
    }

    /// Bounds the weight, as the closure weighs an entry.
    pub(crate) fn weighed(
        self,
        max_weight: u64,
        weigher: impl Fn(&K, &V) -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self { weigher: Some(Arc::new(weigher)), max_weight: Some(max_weight), ..self }
    }

    pub(crate) fn on_removal(
        self,
        listener: impl Fn(&K, &V, RemovalCause) + Send + Sync + 'static,
    ) -> Self {
        Self { listener: Some(Arc::new(listener)), ..self }
    }

    pub(crate) fn ttl_by(self, ttl_by: impl Fn(&K, &V) -> Ttl + Send + Sync + 'static) -> Self {
        Self { ttl_by: Some(Arc::new(ttl_by)), ..self }
    }
}

/// A kind of cache, for whatever keys and values.
pub(crate) trait Family {
    type Cache<K: Key, V: Value>: Built<K, V>;

    fn build<K: Key, V: Value>(setup: &Setup<K, V>) -> Self::Cache<K, V> {
        Self::Cache::<K, V>::build(setup).unwrap()
    }
}

/// A cache that can be built to a setup.
pub(crate) trait Built<K: 'static, V: 'static>: Subject<K, V> + Sized {
    fn build(setup: &Setup<K, V>) -> Result<Self, BuildError>;

    /// Asks the builder alone.
    fn plan(setup: &Setup<K, V>) -> Result<Footprint, BuildError>;
    fn footprint(&self) -> Footprint;
}

macro_rules! family {
    ($(#[$doc:meta])+ $family:ident, $cache:ident) => {
        $(#[$doc])+
        pub(crate) struct $family;

        impl Family for $family {
            type Cache<K: Key, V: Value> = $cache<K, V>;
        }

        impl<K: Key, V: Value> Built<K, V> for $cache<K, V> {
            fn build(setup: &Setup<K, V>) -> Result<Self, BuildError> {
                family!(@builder $cache, setup).build()
            }

            fn plan(setup: &Setup<K, V>) -> Result<Footprint, BuildError> {
                family!(@builder $cache, setup).footprint()
            }

            fn footprint(&self) -> Footprint {
                $cache::footprint(self)
            }
        }
    };
    (@builder $cache:ident, $setup:ident) => {{
        let builder = $cache::<K, V>::builder().capacity($setup.capacity);
        let mut builder = builder.clock($setup.clock.clone());
        family!(@ask builder, $setup,
            shards eviction resolution reap_limit ttl ttl_jitter time_to_idle max_weight name);
        if let Some(ttl_by) = $setup.ttl_by.clone() {
            builder = builder.ttl_by(move |key, value| ttl_by(key, value));
        }
        if let Some(weigher) = $setup.weigher.clone() {
            builder = builder.weigher(move |key, value| weigher(key, value));
        }
        if let Some(listener) = $setup.listener.clone() {
            builder = builder.on_removal(move |key, value, cause| listener(key, value, cause));
        }
        builder
    }};
    (@ask $builder:ident, $setup:ident, $($setting:ident)+) => {
        $(if let Some(setting) = $setup.$setting.clone() {
            $builder = $builder.$setting(setting);
        })+
    };
}

use unsync::Cache as UnsyncCache;
family! {
    /// The caches for many threads.
    Shared, Cache
}
family! {
    /// The caches for one thread.
    Unsync, UnsyncCache
}
