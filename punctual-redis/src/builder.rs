//! Settings of a near-cache.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, ConnectionInfo, IntoConnectionInfo, RedisError};

use crate::connect::{connect, with_resp3};
use crate::error::Error;
use crate::keeper::{keep, publish};
use crate::link::Link;
use crate::local::{AsIs, Local, Size};
use crate::near_cache::NearCache;
use crate::server_ttl::Limits;
use crate::shared::{Settings, Shared, WhileAway};
use crate::stats::Counters;

enum Server {
    Url(Result<ConnectionInfo, RedisError>),
    Client(Client),
}

/// Sets up a [`NearCache`]; returned by [`NearCache::builder`].
///
/// A server must be given, and either a [`capacity`](Self::capacity) or, for a `NearCache<Vec<u8>>`,
/// a [`memory_budget`](Self::memory_budget).
///
/// ```no_run
/// use std::time::Duration;
/// use punctual_redis::{Error, NearCache, WhileAway};
///
/// # async fn example() -> Result<(), Error> {
/// let prices: NearCache<f64> = NearCache::builder()
///     .url("redis://[::1]:6379")
///     .capacity(100_000)
///     .longest_ttl(Duration::from_secs(60))
///     .absent_ttl(Duration::from_secs(1))
///     .while_away(WhileAway::Stale { at_most: Duration::from_secs(10) })
///     .build()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "it does nothing until it is built"]
pub struct NearCacheBuilder<V> {
    server: Option<Server>,
    capacity: Option<usize>,
    budget: Option<(usize, AsIs<V>)>,
    mean_entry: Option<usize>,
    concurrent_loads: Option<usize>,
    settings: Settings,
}

impl<V> NearCacheBuilder<V> {
    pub(crate) fn new() -> Self {
        let limits = Limits { longest: Duration::from_secs(600), absent: Duration::from_secs(10) };
        let settings = Settings {
            limits,
            while_away: WhileAway::Error,
            prefixes: Vec::new(),
            response_timeout: Duration::from_secs(1),
            probe_every: Duration::from_secs(1),
            reconnect_delays: (Duration::from_millis(20), Duration::from_secs(5)),
            no_evict: false,
        };
        Self {
            server: None,
            capacity: None,
            budget: None,
            mean_entry: None,
            concurrent_loads: None,
            settings,
        }
    }

    /// Sets the server by a URL such as `redis://user:password@host:6379/0`, or anything else that
    /// says where it is; an invalid one is an error of [`build`](Self::build). RESP3 is used,
    /// whatever the URL says. A host's name is resolved anew for each connection.
    pub fn url(mut self, url: impl IntoConnectionInfo) -> Self {
        self.server = Some(Server::Url(url.into_connection_info()));
        self
    }

    /// Sets the server, by a client; for TLS with certificates of one's own, for example.
    pub fn client(mut self, client: Client) -> Self {
        self.server = Some(Server::Client(client));
        self
    }

    /// Sets how many entries are held at most (up to 15 % more, see [`punctual::Cache::capacity`]).
    /// Memory for so many is reserved at once, without what keys and values keep on the heap.
    pub fn capacity(mut self, entries: usize) -> Self {
        self.capacity = Some(entries);
        self
    }

    /// Sets how long a value is kept at most; ten minutes by default. Keys that have a TTL on the
    /// server are kept until that has passed, or for this time, whichever ends first.
    pub fn longest_ttl(mut self, ttl: Duration) -> Self {
        self.settings.limits.longest = ttl;
        self
    }

    /// Sets how long the absence of a key is kept at most; ten seconds by default. (The server
    /// tells when the key is set.) With zero, each call asks the server, and calls at the same time
    /// do not all share one load.
    pub fn absent_ttl(mut self, ttl: Duration) -> Self {
        self.settings.limits.absent = ttl;
        self
    }

    /// Switches to broadcast mode: the server tells of all keys that begin with one of these
    /// prefixes, whoever has read them, and keeps no list of what this client holds.
    ///
    /// Only such keys are held. Others are read from the server each time. By default, the server
    /// tells of the keys that were read. No prefix may begin with another one; the empty prefix
    /// stands for all keys.
    pub fn broadcast<P: AsRef<[u8]>>(mut self, prefixes: impl IntoIterator<Item = P>) -> Self {
        self.settings.prefixes =
            prefixes.into_iter().map(|prefix| Box::from(prefix.as_ref())).collect();
        self
    }

    /// Sets what calls do while the connection is lost; by default they return errors.
    pub fn while_away(mut self, policy: WhileAway) -> Self {
        self.settings.while_away = policy;
        self
    }

    /// Sets how long the server may take to answer, and to accept a connection; a second by
    /// default. A call that loads or writes returns an error then.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.settings.response_timeout = timeout;
        self
    }

    /// Sets how often the connection is probed; every second by default. If a probe is not answered
    /// within the [`response_timeout`](Self::response_timeout), the connection counts as lost: so
    /// on a network that drops everything silently, a change stays unnoticed for at most the sum of
    /// both.
    pub fn probe_every(mut self, interval: Duration) -> Self {
        self.settings.probe_every = interval;
        self
    }

    /// Sets how long to wait before an attempt to reconnect: `min` before the first, then twice as
    /// long each time, up to `max`, and a random time of up to as much again. 20 ms and 5 s by
    /// default.
    pub fn reconnect_delays(mut self, min: Duration, max: Duration) -> Self {
        self.settings.reconnect_delays = (min, max);
        self
    }

    /// Asks the server not to disconnect this client when all clients' buffers need too much
    /// memory (`maxmemory-clients`). The user needs the permission for `CLIENT NO-EVICT`, which
    /// Redis has since 7.0. Off by default: to be disconnected is safe.
    pub fn no_evict(mut self, is_on: bool) -> Self {
        self.settings.no_evict = is_on;
        self
    }

    /// Sets how many keys may be loading at once with their callers sharing the load, see
    /// [`punctual::Builder::concurrent_loads`].
    pub fn concurrent_loads(mut self, keys: usize) -> Self {
        self.concurrent_loads = Some(keys);
        self
    }

    /// How much is held, and in which form.
    fn size(&self) -> Result<Size<V>, Error> {
        match (self.capacity, self.budget, self.mean_entry) {
            (Some(_), Some(_), _) => {
                Err(Error::Setting("both a capacity and a memory budget: choose one of them"))
            }
            (_, None, Some(_)) => Err(Error::Setting(
                "a mean size of entries, and no budget: call `memory_budget`, or leave it out",
            )),
            (None, None, None) => Err(Error::Setting(
                "neither a capacity nor a memory budget: call `capacity`, or `memory_budget` for \
                 values of `Vec<u8>`",
            )),
            (None, Some(_), None) => Err(Error::Setting(
                "a memory budget, and no mean size of entries: call `mean_entry`, with the bytes \
                 that key and value take together in the mean",
            )),
            (Some(entries), None, None) => Ok(Size::Entries(entries)),
            (None, Some((budget, as_is)), Some(mean_entry)) => {
                Ok(Size::Bytes { budget, mean_entry, as_is })
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        let Settings { limits, response_timeout, probe_every, reconnect_delays, .. } =
            &self.settings;
        let senseless = [
            (limits.longest.is_zero(), "a longest TTL of zero: nothing would be kept"),
            (response_timeout.is_zero(), "a response timeout of zero: give the server time"),
            (probe_every.is_zero(), "an interval of zero between probes: choose a longer one"),
            (reconnect_delays.0.is_zero(), "no delay between attempts to reconnect: choose one"),
            (reconnect_delays.0 > reconnect_delays.1, "the least delay is above the longest"),
        ];
        match senseless.into_iter().find(|&(is_senseless, _)| is_senseless) {
            Some((_, message)) => Err(Error::Setting(message)),
            None => Ok(()),
        }
    }
}

/// # Bytes
impl NearCacheBuilder<Vec<u8>> {
    /// Sets the memory that is taken for what is held, in bytes, instead of a
    /// [`capacity`](Self::capacity): keys and values, as the server has them, lie in memory that is
    /// reserved at once, see [`punctual::ByteCache`]. The [`mean_entry`](Self::mean_entry) must be
    /// given, too.
    ///
    /// Values too large for it (see [there](punctual::ByteCache#what-fits)) are returned, not held,
    /// and counted in [`Stats::too_large`](crate::Stats::too_large).
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), punctual_redis::Error> {
    /// let pages = punctual_redis::NearCache::builder()
    ///     .url("redis://[::1]:6379")
    ///     .memory_budget(64 << 20)
    ///     .mean_entry(2_000)
    ///     .build()
    ///     .await?;
    /// assert!(pages.footprint() <= 64 << 20);
    /// # Ok(())
    /// # }
    /// ```
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.budget = Some((bytes, AsIs::BYTES));
        self
    }

    /// Sets how many bytes key and value of an entry take together in the mean; see
    /// [`punctual::ByteBuilder::mean_entry`]. Keys that the server does not have are entries without
    /// a value.
    pub fn mean_entry(mut self, bytes: usize) -> Self {
        self.mean_entry = Some(bytes);
        self
    }
}

impl<V: Clone + Send + Sync + 'static> NearCacheBuilder<V> {
    /// Connects to the server, and builds the cache. Must be awaited within a tokio runtime with
    /// time and I/O, else it panics; the connection lives as long as that runtime.
    ///
    /// # Errors
    ///
    /// - [`Error::NoServer`], [`Error::Setting`] or [`Error::Local`] that say what to change.
    /// - [`Error::Redis`] if there is no connection at the first attempt, if the server does not
    ///   know RESP3 or `CLIENT TRACKING` (Redis has both since 6.0), or if it refuses the prefixes
    ///   or `NO-EVICT`.
    pub async fn build(self) -> Result<NearCache<V>, Error> {
        self.check()?;
        let size = self.size()?;
        let client = match self.server.ok_or(Error::NoServer)? {
            Server::Url(info) => Client::open(info?)?,
            Server::Client(client) => client,
        };
        let client = with_resp3(&client)?;
        let shared = Arc::new(Shared {
            local: Local::new(size, self.concurrent_loads)?,
            link: Link::new(),
            counters: Counters::default(),
            settings: self.settings,
        });
        let line = connect(&client, &shared, shared.link.epoch().next()).await?;
        publish(&shared, line.clone());
        let keeper = tokio::spawn(keep(shared.clone(), client, line));
        Ok(NearCache::new(shared, keeper))
    }
}

impl<V> fmt::Debug for NearCacheBuilder<V> {
    /// Without the server, whose URL may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearCacheBuilder")
            .field("capacity", &self.capacity)
            .field("memory_budget", &self.budget.map(|(bytes, _)| bytes))
            .field("mean_entry", &self.mean_entry)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
