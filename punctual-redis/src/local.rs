//! What is held in memory: the only file that knows how.
//!
//! Values are held parsed. A form that holds the server's bytes in one block of memory, with a
//! budget in bytes, would be a second type with the methods of this one.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use punctual::{BuildError, Cache, LoadTicket, Lookup};

use crate::server_ttl::RESOLUTION;

type Key = Box<[u8]>;

/// The right to load a key.
pub(crate) type Ticket<V> = LoadTicket<Key, Option<V>>;

/// What a look-up has found; `None` for a key that the server does not have.
pub(crate) type Found<V> = Lookup<Key, Option<V>>;

/// Values by the bytes of their keys.
pub(crate) struct Local<V> {
    cache: Cache<Key, Option<V>>,
}

impl<V: Clone + Send + Sync + 'static> Local<V> {
    pub(crate) fn new(
        capacity: usize,
        concurrent_loads: Option<usize>,
    ) -> Result<Self, BuildError> {
        let builder = Cache::builder().capacity(capacity).resolution(RESOLUTION);
        let builder = match concurrent_loads {
            Some(keys) => builder.concurrent_loads(keys),
            None => builder,
        };
        Ok(Self { cache: builder.build()? })
    }

    #[inline(always)]
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<V>> {
        self.cache.get(key)
    }

    pub(crate) fn get_many(&self, keys: &[&[u8]]) -> Vec<Option<Option<V>>> {
        let mut values = vec![None; keys.len()];
        self.cache.read_many(keys.iter().copied(), |at, value| values[at] = value.cloned());
        values
    }

    /// As [`Cache::lookup`]; nothing is refreshed ahead.
    pub(crate) fn lookup(&self, key: &[u8]) -> Found<V> {
        self.cache.lookup(key, Duration::ZERO)
    }

    /// Removes a key and overrules its load.
    pub(crate) fn remove(&self, key: &[u8]) -> bool {
        // A `Drop` that panics does so after the removal. It must not end the connection's task.
        let removed = catch_unwind(AssertUnwindSafe(|| self.cache.remove(key).is_some()));
        removed.unwrap_or(true)
    }

    /// Removes everything and overrules all loads.
    pub(crate) fn clear(&self) {
        // A `Drop` that panics may leave some of it. Each panic takes one value away.
        while catch_unwind(AssertUnwindSafe(|| self.cache.clear())).is_err() {}
    }

    pub(crate) fn capacity(&self) -> usize {
        self.cache.capacity()
    }

    pub(crate) fn stats(&self) -> punctual::Stats {
        self.cache.stats()
    }

    pub(crate) fn footprint(&self) -> usize {
        self.cache.footprint().total()
    }
}

impl<V> fmt::Debug for Local<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}
