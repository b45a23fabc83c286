//! Builds the cache of bytes for many threads.

use std::fmt;
use std::time::Duration;

use super::ByteCache;
use crate::cache::builder::Builder;
use crate::cache::insert_bytes::Insertions;
use crate::error::BuildError;
use crate::footprint::Footprint;
use crate::hasher::RandomState;
use crate::reaper::mode::Reaper;
use crate::settings::{ByteSettings, byte_setters};
use crate::shard::eviction::Eviction;
use crate::time::clock::Clock;

/// Configures and builds a [`ByteCache`]; returned by [`ByteCache::builder`].
///
/// ```
/// use std::time::Duration;
/// use punctual::ByteCache;
///
/// let cache = ByteCache::builder()
///     .memory_budget(64 << 20)
///     .mean_entry(240)
///     .ttl(Duration::from_secs(30 * 60))
///     .build()?;
/// # Ok::<(), punctual::BuildError>(())
/// ```
#[must_use = "nothing is built before `build`"]
pub struct ByteBuilder<S = RandomState> {
    typed: Builder<(), (), S>,
}

impl Default for ByteBuilder {
    fn default() -> Self {
        Self { typed: Builder::default() }.with_bytes(|_| ())
    }
}

impl<S> ByteBuilder<S> {
    byte_setters!("punctual::ByteCache");

    /// Sets the clock that TTLs are measured by, see [`Builder::clock`](crate::Builder::clock).
    ///
    /// ```
    /// use punctual::{ByteCache, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
    /// let cache = builder.clock(clock.clone()).build()?;
    /// cache.insert_with_ttl("key", b"value", std::time::Duration::from_secs(1))?;
    /// clock.advance(std::time::Duration::from_secs(2));
    /// assert!(!cache.contains_key("key"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clock(mut self, clock: impl Clock + Send + Sync + 'static) -> Self {
        self.typed = self.typed.clock(clock);
        self
    }

    /// Sets what frees due entries while no call touches the cache, see
    /// [`Builder::reaper`](crate::Builder::reaper).
    ///
    /// ```
    /// use punctual::{ByteCache, Reaper};
    ///
    /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
    /// let cache = builder.reaper(Reaper::Manual).build()?;
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn reaper(mut self, reaper: Reaper) -> Self {
        self.typed = self.typed.reaper(reaper);
        self
    }

    /// Sets how many keys may be loading at once with their callers sharing the load, see
    /// [`Builder::concurrent_loads`](crate::Builder::concurrent_loads).
    ///
    /// ```
    /// use punctual::ByteCache;
    ///
    /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
    /// let cache = builder.concurrent_loads(1_000).build()?;
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn concurrent_loads(mut self, keys: usize) -> Self {
        self.typed = self.typed.concurrent_loads(keys);
        self
    }

    /// Sets the hasher of the keys; by default a fast one with a random seed.
    ///
    /// ```
    /// use std::hash::RandomState;
    /// use punctual::ByteCache;
    ///
    /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
    /// let cache = builder.hasher(RandomState::new()).build()?;
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn hasher<H>(self, hasher: H) -> ByteBuilder<H> {
        ByteBuilder { typed: self.typed.hasher(hasher) }
    }

    /// Plans for a machine of so many processors: for benches and tests that are to give the same
    /// numbers everywhere.
    #[doc(hidden)]
    pub fn processors(mut self, processors: usize) -> Self {
        self.typed = self.typed.processors(processors);
        self
    }
}

impl<S: Send + Sync + 'static> ByteBuilder<S> {
    /// Builds the cache: allocates all its memory. It allocates nothing afterwards.
    ///
    /// ```
    /// use punctual::ByteCache;
    ///
    /// let too_small = ByteCache::builder().memory_budget(100).mean_entry(240).build();
    /// assert!(too_small.is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// A [`BuildError`] that says what to change, if the configuration is impossible, the memory
    /// cannot be allocated, the reaper's thread cannot be started or the system has no clock.
    pub fn build(self) -> Result<ByteCache<S>, BuildError> {
        let plan = self.typed.plan()?;
        let entry_bytes_max = plan.bounds.arena.map_or(0, |arena| arena.entry_bytes_max());
        let inner = self.typed.build()?.inner;
        Ok(ByteCache { inner, insertions: Insertions::new(plan.geometry.shards, entry_bytes_max) })
    }
}

impl<S> fmt::Debug for ByteBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteBuilder").field("typed", &self.typed).finish()
    }
}
