//! What is held in memory: the only folder that knows how.
//!
//! Values are held parsed, a number of them; or as the server's bytes, in a block of memory.

mod bytes;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use punctual::{BuildError, ByteCache, Cache, LoadTicket, LoadWait, Lookup};

pub(crate) use self::bytes::AsIs;
use self::bytes::{Bytes, BytesTicket};
use crate::server_ttl::RESOLUTION;

type Key = Box<[u8]>;

/// How much is held, and in which form.
pub(crate) enum Size<V> {
    /// Parsed values.
    Entries(usize),
    /// The server's bytes.
    Bytes { budget: usize, mean_entry: usize, as_is: AsIs<V> },
}

/// Values by the bytes of their keys; `None` for a key that the server does not have.
pub(crate) enum Local<V> {
    Parsed(Cache<Key, Option<V>>),
    Bytes(Bytes<V>),
}

/// What a lookup has found.
pub(crate) enum Found<V> {
    Hit(Option<V>),
    Miss(Ticket<V>),
    /// Another caller loads it.
    Loading(LoadWait),
}

/// The right to load a key.
pub(crate) enum Ticket<V> {
    Parsed(LoadTicket<Key, Option<V>>),
    Bytes(BytesTicket<V>),
}

/// What has become of a value that was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is held, or would be, had it not a TTL of zero.
    Yes,
    /// The key was removed, or everything was cleared, since the lookup.
    Overruled,
    /// There can be no room for it.
    TooLarge,
}

impl<V: Clone + Send + Sync + 'static> Local<V> {
    pub(crate) fn new(size: Size<V>, concurrent_loads: Option<usize>) -> Result<Self, BuildError> {
        match size {
            Size::Entries(capacity) => {
                let builder = Cache::builder().capacity(capacity).resolution(RESOLUTION);
                let builder = match concurrent_loads {
                    Some(keys) => builder.concurrent_loads(keys),
                    None => builder,
                };
                Ok(Self::Parsed(builder.build()?))
            }
            Size::Bytes { budget, mean_entry, as_is } => {
                let builder = ByteCache::builder().memory_budget(budget).resolution(RESOLUTION);
                let builder = match concurrent_loads {
                    Some(keys) => builder.concurrent_loads(keys),
                    None => builder,
                };
                Ok(Self::Bytes(Bytes::new(builder, mean_entry, as_is)?))
            }
        }
    }

    /// Whether a key is short enough to be held, with a value as short as can be. Only such keys may
    /// be looked up.
    pub(crate) fn takes(&self, key: &[u8]) -> bool {
        match self {
            Self::Parsed(_) => true,
            Self::Bytes(bytes) => bytes.takes(key),
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<V>> {
        match self {
            Self::Parsed(cache) => cache.get(key),
            Self::Bytes(bytes) => bytes.get(key),
        }
    }

    pub(crate) fn get_many(&self, keys: &[&[u8]]) -> Vec<Option<Option<V>>> {
        match self {
            Self::Parsed(cache) => {
                let mut values = vec![None; keys.len()];
                cache.read_many(keys.iter().copied(), |at, value| values[at] = value.cloned());
                values
            }
            Self::Bytes(bytes) => keys.iter().map(|key| bytes.get(key)).collect(),
        }
    }

    /// As [`Cache::lookup`]; nothing is refreshed ahead.
    pub(crate) fn lookup(&self, key: &[u8]) -> Found<V> {
        match self {
            Self::Parsed(cache) => match cache.lookup(key, Duration::ZERO) {
                Lookup::Hit(value) | Lookup::Refresh(value, _) => Found::Hit(value),
                Lookup::Miss(ticket) => Found::Miss(Ticket::Parsed(ticket)),
                Lookup::Loading(load) => Found::Loading(load),
            },
            Self::Bytes(bytes) => bytes.lookup(key),
        }
    }

    /// Removes a key and overrules its load.
    pub(crate) fn remove(&self, key: &[u8]) -> bool {
        match self {
            Self::Parsed(cache) => {
                // A `Drop` that panics does so after the removal. It must not end the connection's
                // task.
                let removed = catch_unwind(AssertUnwindSafe(|| cache.remove(key).is_some()));
                removed.unwrap_or(true)
            }
            Self::Bytes(bytes) => bytes.cache().remove(key),
        }
    }

    /// Removes everything and overrules all loads.
    pub(crate) fn clear(&self) {
        match self {
            // A `Drop` that panics may leave some of it. Each panic takes one value away.
            Self::Parsed(cache) => {
                while catch_unwind(AssertUnwindSafe(|| cache.clear())).is_err() {}
            }
            Self::Bytes(bytes) => bytes.cache().clear(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        match self {
            Self::Parsed(cache) => cache.capacity(),
            Self::Bytes(bytes) => bytes.cache().capacity(),
        }
    }

    pub(crate) fn stats(&self) -> punctual::Stats {
        match self {
            Self::Parsed(cache) => cache.stats(),
            Self::Bytes(bytes) => bytes.cache().stats(),
        }
    }

    pub(crate) fn footprint(&self) -> usize {
        let footprint = match self {
            Self::Parsed(cache) => cache.footprint(),
            Self::Bytes(bytes) => bytes.cache().footprint(),
        };
        footprint.total()
    }
}

impl<V: Clone + Send + Sync + 'static> Ticket<V> {
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Parsed(ticket) => ticket.key(),
            Self::Bytes(ticket) => ticket.key(),
        }
    }

    /// Ends the load: stores the value, unless the load was overruled.
    pub(crate) fn store(self, value: &Option<V>, ttl: Duration) -> Stored {
        match self {
            Self::Parsed(ticket) => match ticket.store(value.clone(), ttl) {
                true => Stored::Yes,
                false => Stored::Overruled,
            },
            Self::Bytes(ticket) => ticket.store(value.as_ref(), ttl),
        }
    }

    /// Ends the load: it failed.
    pub(crate) fn fail(self) {
        match self {
            Self::Parsed(ticket) => ticket.fail(),
            Self::Bytes(ticket) => ticket.fail(),
        }
    }
}

impl<V> fmt::Debug for Local<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}
