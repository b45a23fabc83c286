//! Builds the cache for many threads.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::Cache;
use super::access_counters::AccessCounters;
use super::inner::{CloseOnDrop, Handle, Inner, Listener, SharedClock, SharedRules};
use super::insert_bytes::Insertions;
use super::load::table_size::TableSize;
use super::load::waiters::SharedLoads;
use super::locked_shard::LockedShard;
use crate::entry::removal::RemovalCause;
use crate::error::BuildError;
use crate::footprint::Footprint;
use crate::hasher::RandomState;
use crate::reaper::handle::ReaperHandle;
use crate::reaper::mode::Reaper;
use crate::reaper::{self, ReaperThread, process_reaper};
use crate::settings::rules::Rules;
use crate::settings::{Plan, Settings, check_clock, common_setters};
use crate::shard::Shard;
use crate::shard::eviction::Eviction;
use crate::shard::geometry::Geometry;
use crate::sync::shim::AtomicBool;
use crate::time::HAS_SYSTEM_CLOCK;
use crate::time::clock::{Clock, ClockSource, Timescale};
use crate::time::ttl::Ttl;

/// Configures and builds a [`Cache`]; returned by [`Cache::builder`].
///
/// ```
/// use std::time::Duration;
/// use punctual::Cache;
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
    clock: ClockSource<SharedClock>,
    reaper: Option<Reaper>,
    hasher: S,
    listener: Option<Listener<K, V>>,
    rules: SharedRules<K, V>,
    concurrent_loads: Option<usize>,
}

impl<K, V> Default for Builder<K, V> {
    fn default() -> Self {
        Self {
            settings: Settings { threads: threads(), ..Settings::default() },
            clock: ClockSource::SystemCoarse,
            reaper: None,
            hasher: RandomState::default(),
            listener: None,
            rules: Rules::default(),
            concurrent_loads: None,
        }
    }
}

impl<K, V> Cache<K, V> {
    /// Returns a builder, with which to configure a cache.
    ///
    /// ```
    /// use punctual::Cache;
    ///
    /// let cache: Cache<u64, String> = Cache::builder().capacity(1_000).build()?;
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn builder() -> Builder<K, V> {
        Builder::default()
    }
}

impl<K: Send + Sync + 'static, V: Send + Sync + 'static> Cache<K, V> {
    /// Builds a cache for `capacity` entries, which never expire unless they are inserted with a
    /// TTL, by [`insert_with_ttl`](Self::insert_with_ttl).
    ///
    /// ```
    /// let cache = punctual::Cache::new(1_000);
    /// cache.insert("key", "value");
    /// ```
    ///
    /// # Panics
    ///
    /// If [`Builder::build`] returns an error: the capacity is zero, the memory cannot be
    /// allocated, the reaper's thread cannot be started, or the system has no clock.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        match Self::builder().capacity(capacity).build() {
            Ok(cache) => cache,
            Err(error) => panic!("no cache for {capacity} entries: {error}"),
        }
    }
}

/// After so many ticks anything may be due. The latest tick plus this is less than 2^64.
const ALWAYS_DUE_TICKS: u64 = 1 << 63;

/// How many threads run at once, for the number of shards. The system is asked once.
fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

impl<K, V, S> Builder<K, V, S> {
    common_setters!("punctual::Cache");

    /// Plans for a machine of so many processors: for benches and tests that are to give the same
    /// numbers everywhere.
    #[doc(hidden)]
    pub fn processors(mut self, processors: usize) -> Self {
        self.settings.threads = processors;
        self
    }

    /// Sets the clock that TTLs are measured by; [`SystemClock`](crate::SystemClock) by
    /// default. With one that is neither that nor [`BootClock`](crate::BootClock),
    /// [`Reaper::Manual`] is the default.
    ///
    /// ```
    /// use punctual::ManualClock;
    ///
    /// let clock = ManualClock::new();
    /// let cache: punctual::Cache<u64, u64> =
    ///     punctual::Cache::builder().capacity(10).clock(clock.clone()).build()?;
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn clock(mut self, clock: impl Clock + Send + Sync + 'static) -> Self {
        self.clock = ClockSource::new(clock, |clock| Box::new(clock) as Box<SharedClock>);
        self
    }

    /// Sets what frees due entries while no call touches the cache: the process's reaper
    /// thread, or the calls alone.
    ///
    /// ```
    /// use punctual::{Cache, Reaper};
    ///
    /// let cache: Cache<u64, u64> =
    ///     Cache::builder().capacity(10).reaper(Reaper::Manual).build()?;
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn reaper(mut self, reaper: Reaper) -> Self {
        self.reaper = Some(reaper);
        self
    }

    /// Sets how many keys may be loading at once with their callers sharing the load. It is no
    /// limit: further loads run, too, each by itself. To limit what reaches a backend, use a
    /// semaphore, or a few workers.
    ///
    /// The default is the capacity up to 64, from there one for every 32 entries, but 64 to 1,024.
    /// (Around 14,000 entries it may be as few as 50, so that no entry costs more than 16 bytes
    /// besides its slot.) More than 65,535 is an error.
    ///
    /// Memory for so many is reserved when the cache is built, about 30 bytes each, and at least
    /// 2,304 in all if this is set: [`Footprint::loads`]. Further loads run *unshared*: nobody
    /// waits for them, each is stored unless its key was set or removed meanwhile, and
    /// [`Stats`](crate::Stats) counts them. Nor does [`lookup`](Cache::lookup) refresh values then.
    /// With 0, all loads run unshared, and nothing is refreshed.
    ///
    /// ```
    /// let cache: punctual::Cache<u64, u64> =
    ///     punctual::Cache::builder().capacity(1_000).concurrent_loads(512).build()?;
    /// assert!(cache.footprint().loads() < 20_000);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[doc(alias = "single flight")]
    pub fn concurrent_loads(mut self, keys: usize) -> Self {
        self.concurrent_loads = Some(keys);
        self
    }

    /// Sets the hasher of the keys; by default a fast one with a random seed.
    ///
    /// ```
    /// let cache: punctual::Cache<u64, u64, _> = punctual::Cache::builder()
    ///     .capacity(10)
    ///     .hasher(std::collections::hash_map::RandomState::new())
    ///     .build()?;
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn hasher<H>(self, hasher: H) -> Builder<K, V, H> {
        let Self { settings, clock, reaper, hasher: _, listener, rules, concurrent_loads } = self;
        Builder { settings, clock, reaper, hasher, listener, rules, concurrent_loads }
    }

    /// Sets a function that gives each entry its TTL. It is called where no TTL is given: by
    /// `insert` and the like, and where a loader returns or a call is given [`Ttl::Default`]. If it
    /// returns [`Ttl::Default`] itself, the [`ttl`](Self::ttl) holds.
    ///
    /// It runs before any lock is taken, except for `compute` and `set_ttl`, which know the value
    /// only under the shard's lock: it must not call the cache.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{Cache, Ttl};
    ///
    /// // What is not there may be there soon.
    /// let answers = Cache::builder()
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
    pub fn ttl_by(mut self, ttl: impl Fn(&K, &V) -> Ttl + Send + Sync + 'static) -> Self {
        self.rules.ttl_by = Some(Box::new(ttl));
        self
    }

    /// Sets a function that weighs an entry: the bytes, say, that it owns on the heap. Give
    /// [`max_weight`](Self::max_weight) with it.
    ///
    /// It is called when an entry is inserted, before any lock is taken, and again after `update` and
    /// `compute`, under the shard's lock: it must not call the cache. The weight is kept with the
    /// entry, so a weigher that returns something else later breaks nothing. An entry of weight zero
    /// counts towards the capacity alone. If the weigher panics after an `update`, the entry keeps the
    /// weight that it had.
    ///
    /// ```
    /// let cache = punctual::Cache::builder()
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
    pub fn weigher(mut self, weigh: impl Fn(&K, &V) -> u64 + Send + Sync + 'static) -> Self {
        self.rules.weigher = Some(Box::new(weigh));
        self
    }

    /// Sets a function that is called for every removed entry, with the cause, just before
    /// the entry is dropped or returned. It is not called for entries that are dropped with
    /// the whole cache.
    ///
    /// It runs on the thread whose call removed the entry, or on the reaper's, with no lock
    /// held: it may call the cache. It is called for the entries that one call removes in
    /// order; between threads there is no order. While it runs on the reaper's thread, nothing
    /// else is freed there: keep it short. If it has not returned within 100 ms, another thread
    /// [takes over](Reaper::Thread).
    ///
    /// A panic in it reaches the caller; on the reaper's thread, the panic hook.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use std::sync::Arc;
    /// use punctual::Cache;
    ///
    /// let departures = Arc::new(AtomicUsize::new(0));
    /// let counter = departures.clone();
    /// let cache = Cache::builder()
    ///     .capacity(10)
    ///     .on_removal(move |_: &u32, _: &char, _| {
    ///         counter.fetch_add(1, Ordering::Relaxed);
    ///     })
    ///     .build()?;
    /// cache.insert(1, 'a');
    /// cache.remove(&1);
    /// assert_eq!(departures.load(Ordering::Relaxed), 1);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[doc(alias = "eviction_listener")]
    pub fn on_removal(
        mut self,
        listener: impl Fn(&K, &V, RemovalCause) + Send + Sync + 'static,
    ) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    fn resolve_reaper(&self) -> Result<Reaper, BuildError> {
        match (self.reaper, self.clock.timescale()) {
            (Some(Reaper::Thread), None) => Err(BuildError::ReaperNeedsSystemClock),
            (Some(reaper), _) => Ok(reaper),
            (None, Some(_)) => Ok(Reaper::Thread),
            (None, None) => Ok(Reaper::Manual),
        }
    }

    pub(super) fn plan(&self) -> Result<Plan, BuildError> {
        check_clock(&self.clock, HAS_SYSTEM_CLOCK)?;
        self.resolve_reaper()?;
        self.settings.check_weights(self.rules.weigher.is_some())?;
        let listener_bytes = self.listener.as_deref().map_or(0, size_of_val);
        let handle_bytes = CloseOnDrop::<K, V, S>::HANDLE_BYTES;
        let named_bytes = self.settings.name_bytes() + self.rules_bytes();
        let once_bytes = listener_bytes + self.clock.heap_bytes() + handle_bytes + named_bytes;
        let other_bytes = |geometry: &Geometry| {
            let counters = AccessCounters::heap_bytes(geometry.capacity(), self.settings.threads);
            let for_bytes =
                self.settings.bytes.map_or(0, |_| Insertions::heap_bytes(geometry.shards));
            once_bytes + counters + for_bytes
        };
        let limit = TableSize::LOADS_MAX;
        if let Some(requested) = self.concurrent_loads.filter(|&loads| loads > limit) {
            return Err(BuildError::TooManyLoads { requested, limit });
        }
        let loads_bytes = |geometry: &Geometry, others: &Footprint| {
            geometry.shards.saturating_mul(self.table_size(geometry, others).heap_bytes())
        };
        self.settings.plan::<K, V>(Inner::<K, V, S>::SHARD_BYTES, other_bytes, loads_bytes)
    }

    /// Returns the bytes on the heap that the rules take.
    fn rules_bytes(&self) -> usize {
        self.rules.heap_bytes(self.settings.jitter(), self.settings.time_to_idle())
    }

    /// Returns the size of each shard's table of loads.
    fn table_size(&self, geometry: &Geometry, footprint: &Footprint) -> TableSize {
        let Geometry { shards, .. } = *geometry;
        match self.concurrent_loads {
            Some(loads) => TableSize::new(loads, shards),
            None => {
                let others =
                    Footprint { slots_bytes: 0, loads_bytes: 0, data_bytes: 0, ..*footprint }
                        .total();
                TableSize::default_for(geometry.capacity(), shards, others)
            }
        }
    }
}

impl<K: Send + Sync + 'static, V: Send + Sync + 'static, S: Send + Sync + 'static>
    Builder<K, V, S>
{
    /// Builds the cache: allocates all its memory. Afterwards it allocates nothing
    /// ([exceptions](Cache)).
    ///
    /// ```
    /// let cache = punctual::Cache::<u64, u64>::builder().capacity(100).build()?;
    /// assert!(cache.is_empty());
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`BuildError`] that says what to change, if the configuration is
    /// impossible, the memory cannot be allocated, the reaper's thread cannot be started or the
    /// system has no clock.
    pub fn build(self) -> Result<Cache<K, V, S>, BuildError> {
        let mode = self.resolve_reaper()?;
        let inner = self.allocate((mode == Reaper::Thread).then(process_reaper))?;
        if mode == Reaper::Thread {
            // First: in a forked child, it replaces what the parent has left.
            reaper::start()
                .map_err(|error| BuildError::ThreadNotStarted { reason: error.kind() })?;
        }
        Ok(Cache { inner: Handle::first(inner) })
    }

    /// [`build`](Self::build) with any reaper, whose thread it does not start.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn build_with_reaper(
        self,
        reaper: Option<&'static ReaperThread>,
    ) -> Result<Cache<K, V, S>, BuildError> {
        Ok(Cache { inner: Handle::first(self.allocate(reaper)?) })
    }

    fn allocate(
        self,
        reaper: Option<&'static ReaperThread>,
    ) -> Result<Arc<Inner<K, V, S>>, BuildError> {
        let Plan { geometry, bounds, footprint } = self.plan()?;
        let table_size = self.table_size(&geometry, &footprint);
        BuildError::probe(footprint.total())?;
        let source = self.clock.for_resolution(self.settings.resolution());
        let timebase = source.timebase(self.settings.resolution());
        let now = source.now(&timebase).tick;
        let shards = Shard::allocate(&geometry, bounds, self.settings.eviction, now, |shard| {
            let loads = SharedLoads::new(table_size)?;
            Ok(CachePadded::new(LockedShard::new(shard, now, loads, reaper.is_some())))
        })?;
        let is_coarse = matches!(source, ClockSource::SystemCoarse);
        let timescale = source.timescale().unwrap_or(Timescale::Monotonic);
        let reaper = ReaperHandle::new(reaper, timescale, timebase, is_coarse);
        let renews = self.settings.time_to_idle().is_some();
        let inner = Inner {
            shards,
            accesses: AccessCounters::new(geometry.capacity(), self.settings.threads)?,
            hasher: self.hasher,
            look_ahead_ticks: if renews { ALWAYS_DUE_TICKS } else { reaper.lag_ticks() },
            reaper,
            source,
            timebase,
            ttl: self.settings.ttl,
            rules: self.rules.boxed(self.settings.jitter(), self.settings.time_to_idle()),
            name: self.settings.name,
            reap_limit: self.settings.reap_limit,
            listener: self.listener,
            footprint,
            capacity: geometry.capacity(),
            is_closed: AtomicBool::new(false),
        };
        BuildError::probe(CloseOnDrop::<K, V, S>::HANDLE_BYTES)?;
        Ok(Arc::new(inner))
    }
}

impl<K, V, S> fmt::Debug for Builder<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .field("clock", &self.clock)
            .field("reaper", &self.reaper)
            .finish_non_exhaustive()
    }
}
