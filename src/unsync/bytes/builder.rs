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
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.typed = self.typed.clock(clock);
        self
    }

    /// Sets the hasher of the keys; by default a fast one with a random seed.
    pub fn hasher<H>(self, hasher: H) -> ByteBuilder<H> {
        ByteBuilder { typed: self.typed.hasher(hasher) }
    }

    /// Builds the cache: allocates all its memory. It allocates nothing afterwards.
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
