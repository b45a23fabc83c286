//! Builds the cache for one thread.

use std::fmt;
use std::time::Duration;

use super::accesses::Accesses;
use super::clock::MonotonicClock;
use super::{Cache, Listener, OwnRules};
use crate::entry::removal::RemovalCause;
use crate::error::BuildError;
use crate::footprint::Footprint;
use crate::hasher::RandomState;
use crate::settings::rules::Rules;
use crate::settings::{Plan, Settings, check_clock, common_setters};
use crate::shard::Shard;
use crate::shard::eviction::Eviction;
use crate::time::HAS_SYSTEM_CLOCK;
use crate::time::clock::{Clock, ClockSource};
use crate::time::ttl::Ttl;

/// Configures and builds a [`Cache`]; returned by [`Cache::builder`].
///
/// ```
/// use std::time::Duration;
/// use punctual::unsync::Cache;
///
/// let cache: Cache<String, String> = Cache::builder()
///     .capacity(10_000)
///     .ttl(Duration::from_secs(30 * 60))
///     .build()?;
/// # Ok::<(), punctual::BuildError>(())
/// ```
#[must_use = "nothing is built before `build`"]
pub struct Builder<K, V, S = RandomState> {
    pub(super) settings: Settings,
    clock: ClockSource<dyn Clock>,
    hasher: S,
    listener: Option<Listener<K, V>>,
    rules: OwnRules<K, V>,
}

impl<K, V> Default for Builder<K, V> {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            clock: ClockSource::SystemCoarse,
            hasher: RandomState::default(),
            listener: None,
            rules: Rules::default(),
        }
    }
}

impl<K, V> Cache<K, V> {
    /// Returns a builder, with which to configure a cache.
    ///
    /// ```
    /// use punctual::unsync::Cache;
    ///
    /// let cache: Cache<u64, String> = Cache::builder().capacity(1_000).build()?;
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn builder() -> Builder<K, V> {
        Builder::default()
    }

    /// Builds a cache for `capacity` entries, which never expire unless they are inserted with a
    /// TTL, by [`insert_with_ttl`](Self::insert_with_ttl).
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(1_000);
    /// cache.insert("key", "value");
    /// ```
    ///
    /// # Panics
    ///
    /// If [`Builder::build`] returns an error: the capacity is zero, the memory cannot be
    /// allocated, or the system has no clock.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        match Self::builder().capacity(capacity).build() {
            Ok(cache) => cache,
            Err(error) => panic!("no cache for {capacity} entries: {error}"),
        }
    }
}

impl<K, V, S> Builder<K, V, S> {
    common_setters!("punctual::unsync::Cache");

    /// Sets the clock that TTLs are measured by; [`SystemClock`](crate::SystemClock) by
    /// default.
    ///
    /// ```
    /// use punctual::ManualClock;
    ///
    /// let clock = ManualClock::new();
    /// let cache: punctual::unsync::Cache<u64, u64> =
    ///     punctual::unsync::Cache::builder().capacity(10).clock(clock.clone()).build()?;
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = ClockSource::new(clock, |clock| Box::new(clock) as Box<dyn Clock>);
        self
    }

    /// Sets the hasher of the keys; by default a fast one with a random seed.
    ///
    /// ```
    /// let cache: punctual::unsync::Cache<u64, u64, _> = punctual::unsync::Cache::builder()
    ///     .capacity(10)
    ///     .hasher(std::collections::hash_map::RandomState::new())
    ///     .build()?;
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn hasher<H>(self, hasher: H) -> Builder<K, V, H> {
        let Self { settings, clock, hasher: _, listener, rules } = self;
        Builder { settings, clock, hasher, listener, rules }
    }

    /// Sets a function that gives each entry its TTL. It is asked wherever none is given: by
    /// `insert` and the like, by a loader that returns [`Ttl::Default`], and where that is given to
    /// another call. Its own [`Ttl::Default`] means the [`ttl`](Self::ttl).
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{Ttl, unsync::Cache};
    ///
    /// let mut answers = Cache::builder()
    ///     .capacity(1_000)
    ///     .ttl(Duration::from_secs(600))
    ///     .ttl_by(|_: &u64, answer: &Option<String>| match answer {
    ///         Some(_) => Ttl::Default,
    ///         None => Ttl::After(Duration::from_secs(5)),
    ///     })
    ///     .build()?;
    /// answers.insert(7, None);
    /// assert!(answers.expires_in(&7).unwrap() <= Duration::from_secs(5));
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[doc(alias = "expire_after")]
    pub fn ttl_by(mut self, ttl: impl Fn(&K, &V) -> Ttl + 'static) -> Self {
        self.rules.ttl_by = Some(Box::new(ttl));
        self
    }

    /// Sets a function that weighs an entry: the bytes, say, that it owns on the heap. Give
    /// [`max_weight`](Self::max_weight) with it.
    ///
    /// It is asked when an entry is inserted, and again after `update` and `compute`, but not after
    /// `get_mut`, which lends the value. The weight is kept with the entry, so a weigher that
    /// returns something else later breaks nothing. An entry of weight zero counts towards the
    /// capacity alone. If the weigher panics after an `update`, the entry keeps the weight that it
    /// had.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::builder()
    ///     .capacity(10_000)
    ///     .weigher(|_: &u64, page: &Vec<u8>| page.capacity() as u64)
    ///     .max_weight(1 << 20)
    ///     .build()?;
    /// for id in 0..100 {
    ///     cache.insert(id, vec![0; 100_000]);
    /// }
    /// assert!(cache.stats().weight <= 1 << 20);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[doc(alias = "cost")]
    pub fn weigher(mut self, weigh: impl Fn(&K, &V) -> u64 + 'static) -> Self {
        self.rules.weigher = Some(Box::new(weigh));
        self
    }

    /// Sets a function that is called for every removed entry, with the cause, just before
    /// the entry is dropped or returned. It is not called for entries that are dropped with
    /// the whole cache.
    ///
    /// It runs once the cache is consistent again, so a panic in it reaches the caller and
    /// breaks nothing.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// use punctual::{RemovalCause, unsync::Cache};
    ///
    /// let log = Rc::new(RefCell::new(Vec::new()));
    /// let sink = log.clone();
    /// let mut cache = Cache::builder()
    ///     .capacity(10)
    ///     .on_removal(move |key: &u32, value: &char, cause| {
    ///         sink.borrow_mut().push((*key, *value, cause));
    ///     })
    ///     .build()?;
    /// cache.insert(1, 'a');
    /// cache.insert(1, 'b');
    /// cache.remove(&1);
    /// assert_eq!(*log.borrow(), [(1, 'a', RemovalCause::Replaced), (1, 'b', RemovalCause::Removed)]);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[doc(alias = "eviction_listener")]
    pub fn on_removal(mut self, listener: impl FnMut(&K, &V, RemovalCause) + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Builds the cache: allocates all its memory. It allocates nothing afterwards.
    ///
    /// ```
    /// let cache = punctual::unsync::Cache::<u64, u64>::builder().capacity(100).build()?;
    /// assert!(cache.is_empty());
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`BuildError`] that says what to change, if the configuration is
    /// impossible, the memory cannot be allocated or the system has no clock.
    pub fn build(self) -> Result<Cache<K, V, S>, BuildError> {
        let Plan { geometry, bounds, footprint } = self.plan()?;
        BuildError::probe(footprint.total())?;
        let source = self.clock.for_resolution(self.settings.resolution());
        let timebase = source.timebase(self.settings.resolution());
        let is_cached = self.settings.time_to_idle().is_none();
        let clock = MonotonicClock::new(source, timebase, is_cached);
        let now = clock.peek().tick;
        let shards = Shard::allocate(&geometry, bounds, self.settings.eviction, now, Ok)?;
        Ok(Cache {
            shards,
            hasher: self.hasher,
            clock,
            ttl: self.settings.ttl,
            rules: self.rules.boxed(self.settings.jitter(), self.settings.time_to_idle()),
            name: self.settings.name,
            reap_limit: self.settings.reap_limit,
            listener: self.listener,
            uncached: None,
            len: 0,
            len_peak: 0,
            loads: 0,
            loads_failed: 0,
            accesses: Accesses::default(),
            load_nanos: 0,
            footprint,
        })
    }

    pub(super) fn plan(&self) -> Result<Plan, BuildError> {
        check_clock(&self.clock, HAS_SYSTEM_CLOCK)?;
        self.settings.check_weights(self.rules.weigher.is_some())?;
        let listener_bytes = self.listener.as_deref().map_or(0, size_of_val);
        let rules_bytes =
            self.rules.heap_bytes(self.settings.jitter(), self.settings.time_to_idle());
        let once_bytes = listener_bytes + rules_bytes + self.settings.name_bytes();
        self.settings.plan::<K, V>(
            size_of::<Shard<K, V>>(),
            |_| once_bytes + self.clock.heap_bytes(),
            |_, _| 0,
        )
    }
}

impl<K, V, S> fmt::Debug for Builder<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
