//! What all handles, loads and tasks of one cache share.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::link::{Epoch, Line, Link};
use crate::local::Local;
use crate::server_ttl::Limits;
use crate::stats::{Counters, count};

/// What [`get`](crate::NearCache::get) and [`get_many`](crate::NearCache::get_many) do while the
/// connection to the server is lost.
///
/// ```
/// use std::time::Duration;
/// use punctual_redis::{NearCache, WhileAway};
///
/// let prices = NearCache::<f64>::builder()
///     .url("redis://[::1]:6379")
///     .capacity(10_000)
///     .while_away(WhileAway::Stale { at_most: Duration::from_secs(30) });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhileAway {
    /// All that was held is dropped, and calls return [`Error::Away`].
    #[default]
    Error,
    /// Values that were held when the connection was lost are served until `at_most` after the last
    /// answered probe (see [`probe_every`](crate::NearCacheBuilder::probe_every)), and not past the
    /// end of their TTL. After that, and for other keys, calls return [`Error::Away`]. Once there
    /// is a connection again, they are dropped.
    Stale {
        /// How long after that probe was sent.
        at_most: Duration,
    },
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) while_away: WhileAway,
    /// Of the keys that the server tells of. Empty: of those that were read.
    pub(crate) prefixes: Vec<Box<[u8]>>,
    pub(crate) response_timeout: Duration,
    pub(crate) probe_every: Duration,
    pub(crate) reconnect_delays: (Duration, Duration),
    pub(crate) no_evict: bool,
}

pub(crate) struct Shared<V> {
    pub(crate) local: Local<V>,
    pub(crate) link: Link,
    pub(crate) counters: Counters,
    pub(crate) settings: Settings,
}

impl<V: Clone + Send + Sync + 'static> Shared<V> {
    /// Notes that the connection of that epoch is lost: nothing that is held is served as current
    /// from here on.
    pub(crate) fn lose(&self, epoch: Epoch) {
        if self.link.lose(epoch) {
            count(&self.counters.losses, 1);
            if self.settings.while_away == WhileAway::Error {
                self.local.clear();
            }
        }
    }

    /// The connection to ask.
    pub(crate) fn line(&self) -> Result<Line, Error> {
        self.link.line().ok_or_else(|| self.absence())
    }

    /// Why there is no connection.
    pub(crate) fn absence(&self) -> Error {
        if self.link.epoch().is_closed() { Error::Closed } else { Error::Away }
    }

    /// Draws the consequences of an error that came over a connection.
    pub(crate) fn failed(&self, line: &Line, error: Error) -> Error {
        if error.is_loss() || error.is_refusal() {
            self.lose(line.epoch);
        }
        error
    }

    /// Whether there is room for a key, and the server tells of its changes.
    pub(crate) fn may_be_held(&self, key: &[u8]) -> bool {
        let prefixes = &self.settings.prefixes;
        let is_tracked =
            prefixes.is_empty() || prefixes.iter().any(|prefix| key.starts_with(prefix));
        is_tracked && self.local.takes(key)
    }

    /// A value that is held and current.
    // Each copy of the value on its way out counts.
    #[inline(always)]
    pub(crate) fn hit(&self, key: &[u8]) -> Option<Option<V>> {
        let epoch = self.link.epoch();
        let value = self.local.get(key)?;
        if self.link.is_still(epoch) {
            return Some(value);
        }
        self.unserved(value);
        None
    }

    #[cold]
    fn unserved(&self, value: Option<V>) {
        count(&self.counters.other_hits, 1);
        drop(value);
    }

    /// A value that may be served although the server is away.
    pub(crate) fn stale(&self, key: &[u8]) -> Result<Option<V>, Error> {
        let error = self.absence();
        match self.settings.while_away {
            WhileAway::Stale { at_most }
                if !matches!(error, Error::Closed) && self.link.verified().elapsed() <= at_most =>
            {
                let value = self.local.get(key).ok_or(error)?;
                count(&self.counters.other_hits, 1);
                count(&self.counters.stale_served, 1);
                Ok(value)
            }
            _ => Err(error),
        }
    }
}

impl<V> fmt::Debug for Shared<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("link", &self.link).finish_non_exhaustive()
    }
}
