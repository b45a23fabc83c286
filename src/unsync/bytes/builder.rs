//! Builds the cache of bytes for one thread.

use std::fmt;
use std::time::Duration;

use super::ByteCache;
use crate::error::BuildError;
use crate::footprint::Footprint;
use crate::hasher::RandomState;
use crate::settings::{ByteSettings, byte_setters};
use crate::shard::eviction::Eviction;
use crate::time::clock::Clock;
use crate::unsync::builder::Builder;

/// Configures and builds a [`ByteCache`]; returned by [`ByteCache::builder`].
///
/// ```
/// use punctual::unsync::ByteCache;
///
/// let cache = ByteCache::builder().memory_budget(64 << 20).mean_entry(240).build()?;
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
    byte_setters!("punctual::unsync::ByteCache");

    /// Sets the clock that TTLs are measured by, see
    /// [`Builder::clock`](crate::unsync::Builder::clock).
    ///
    /// ```
    /// use punctual::{ManualClock, unsync::ByteCache};
    ///
    /// let clock = ManualClock::new();
    /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
    /// let mut cache = builder.clock(clock.clone()).build()?;
    /// cache.insert_with_ttl("key", b"value", std::time::Duration::from_secs(1))?;
    /// clock.advance(std::time::Duration::from_secs(2));
    /// assert!(!cache.contains_key("key"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.typed = self.typed.clock(clock);
        self
    }

    /// Sets the hasher of the keys; by default a fast one with a random seed.
    ///
    /// ```
    /// use std::hash::RandomState;
    /// use punctual::unsync::ByteCache;
    ///
    /// let builder = ByteCache::builder().memory_budget(1 << 20).mean_entry(240);
    /// let cache = builder.hasher(RandomState::new()).build()?;
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn hasher<H>(self, hasher: H) -> ByteBuilder<H> {
        ByteBuilder { typed: self.typed.hasher(hasher) }
    }

    /// Builds the cache: allocates all its memory. It allocates nothing afterwards.
    ///
    /// ```
    /// use punctual::unsync::ByteCache;
    ///
    /// let too_small = ByteCache::builder().memory_budget(100).mean_entry(240).build();
    /// assert!(too_small.is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// A [`BuildError`] that says what to change, if the configuration is impossible, the memory
    /// cannot be allocated or the system has no clock.
    pub fn build(self) -> Result<ByteCache<S>, BuildError> {
        let plan = self.typed.plan()?;
        let entry_bytes_max = plan.bounds.arena.map_or(0, |arena| arena.entry_bytes_max());
        Ok(ByteCache { typed: self.typed.build()?, entry_bytes_max, unstored: Vec::new() })
    }
}

impl<S> fmt::Debug for ByteBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteBuilder").field("typed", &self.typed).finish()
    }
}
