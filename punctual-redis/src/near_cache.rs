//! The near-cache: the public methods.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{FromRedisValue, ToRedisArgs, cmd};
use tokio::task::JoinHandle;

use crate::builder::NearCacheBuilder;
use crate::error::Error;
use crate::shared::Shared;
use crate::stats::{Stats, count};

/// Values of a Redis or Valkey server, held in memory for as long as they are current.
///
/// The first [`get`](Self::get) of a key asks the server; the following ones are answered from
/// memory, until the server tells that the key has changed, or its TTL has passed. [What is
/// promised](crate#what-is-promised).
///
/// `V` is any type that redis-rs can make of a reply: `String`, `Vec<u8>`, numbers, or one of yours
/// that implements [`FromRedisValue`]. It is made once for each load; a hit clones it, so wrap what
/// is costly to clone in an [`Arc`]. A `NearCache<Vec<u8>>` can also hold the bytes within a
/// [memory budget](NearCacheBuilder::memory_budget).
///
/// `NearCache` is a handle: a clone is another one to the same cache. When the last handle is
/// dropped, the connection is closed. It must be built, and used, in a tokio runtime; a hit needs
/// none.
///
/// ```no_run
/// use std::time::Duration;
/// use punctual_redis::{Error, NearCache};
///
/// # async fn example() -> Result<(), Error> {
/// let users: NearCache<String> =
///     NearCache::builder().url("redis://[::1]:6379").capacity(10_000).build().await?;
///
/// users.set_with_ttl("user:7", &"Ada".to_owned(), Duration::from_secs(60)).await?;
/// assert_eq!(users.get("user:7").await?.as_deref(), Some("Ada")); // asks the server
/// assert_eq!(users.get("user:7").await?.as_deref(), Some("Ada")); // does not
/// # Ok(())
/// # }
/// ```
///
/// # Callers' code
///
/// Values are cloned under a lock: their `Clone` must not call the cache. They are dropped wherever
/// they leave: by a call, on the task that reads the connection, or on the thread that frees expired
/// entries. So keep their `Drop` short.
///
/// # Cancellation
///
/// The futures may be dropped at any time. If one loads, another caller of that key takes the load
/// over. A `set` that is dropped may or may not reach the server; the cache is right either way.
pub struct NearCache<V: Clone + Send + Sync + 'static> {
    shared: Arc<Shared<V>>,
    /// Dropped with the last handle.
    keeper: Arc<Keeper<V>>,
}

struct Keeper<V: Clone + Send + Sync + 'static> {
    shared: Arc<Shared<V>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl<V: Clone + Send + Sync + 'static> Keeper<V> {
    /// Closes the link, and returns the task that is coming to its end.
    fn stop(&self) -> Option<JoinHandle<()>> {
        if self.shared.link.close() {
            self.shared.local.clear();
        }
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        task.abort();
        Some(task)
    }
}

impl<V: Clone + Send + Sync + 'static> Drop for Keeper<V> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<V: Clone + Send + Sync + 'static> NearCache<V> {
    /// Returns a builder, which sets the server, the size and all else.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), punctual_redis::Error> {
    /// let builder = punctual_redis::NearCache::<String>::builder();
    /// let users = builder.url("redis://[::1]:6379").capacity(100_000).build().await?;
    /// assert!(users.capacity() >= 100_000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> NearCacheBuilder<V> {
        NearCacheBuilder::new()
    }

    pub(crate) fn new(shared: Arc<Shared<V>>, task: JoinHandle<()>) -> Self {
        let keeper = Keeper { shared: shared.clone(), task: Mutex::new(Some(task)) };
        Self { shared, keeper: Arc::new(keeper) }
    }

    /// Returns the value of a key, `None` if the server does not have it.
    ///
    /// From memory if it is held; else one caller asks the server, however many want the key at that
    /// time, and the others wait.
    ///
    /// ```no_run
    /// # async fn example(users: punctual_redis::NearCache<String>)
    /// # -> Result<(), punctual_redis::Error> {
    /// let name = users.get("user:7").await?;
    /// println!("{}", name.as_deref().unwrap_or("unknown"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Redis`] if the server or the connection fails, the answer takes longer than the
    ///   [`response_timeout`](NearCacheBuilder::response_timeout), or it is not a `V`.
    /// - [`Error::LeaderFailed`] if that happened to the caller that this one waited for.
    /// - [`Error::Away`] while the connection is lost, see [`WhileAway`](crate::WhileAway).
    /// - [`Error::Closed`] after [`close`](Self::close).
    #[inline]
    pub async fn get<K: AsRef<[u8]> + ?Sized>(&self, key: &K) -> Result<Option<V>, Error>
    where
        V: FromRedisValue,
    {
        // Not a `match`, whose value the future would hold across the `await`.
        if let Some(value) = self.shared.hit(key.as_ref()) {
            return Ok(value);
        }
        // Boxed, so that the future of a hit is small.
        self.counted(Box::pin(self.shared.get_missing(key.as_ref())).await)
    }

    /// Returns the values of many keys, in their order. What is not held, and nobody else loads, is
    /// asked for in one round trip, by `MGET`.
    ///
    /// ```no_run
    /// # async fn example(users: punctual_redis::NearCache<String>)
    /// # -> Result<(), punctual_redis::Error> {
    /// let names = users.get_many(&["user:7", "user:8"]).await?;
    /// assert_eq!(names.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), if there is no answer for one of the keys.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<V>>, Error>
    where
        V: FromRedisValue,
    {
        let keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        self.counted(self.shared.get_many(&keys).await)
    }

    /// Sets a key on the server, without a TTL there.
    ///
    /// What is held of the key is dropped, so that the next [`get`](Self::get), of any task of this
    /// process, returns this value or a later one.
    ///
    /// ```no_run
    /// # async fn example(users: punctual_redis::NearCache<String>)
    /// # -> Result<(), punctual_redis::Error> {
    /// users.set("user:7", &"Ada".to_owned()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Redis`] if the server refuses it (as it does without memory), or does not confirm
    ///   it in time: then it may have been set nevertheless, or be set later.
    /// - [`Error::Away`] while the connection is lost: nothing was sent.
    /// - [`Error::Closed`] after [`close`](Self::close).
    pub async fn set<K: AsRef<[u8]> + ?Sized>(&self, key: &K, value: &V) -> Result<(), Error>
    where
        V: ToRedisArgs,
    {
        self.counted(self.write(key.as_ref(), value, None).await)
    }

    /// As [`set`](Self::set), with a TTL on the server, rounded down to milliseconds, at least one.
    ///
    /// ```no_run
    /// # async fn example(users: punctual_redis::NearCache<String>)
    /// # -> Result<(), punctual_redis::Error> {
    /// let day = std::time::Duration::from_secs(86_400);
    /// users.set_with_ttl("user:7", &"Ada".to_owned(), day).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub async fn set_with_ttl<K: AsRef<[u8]> + ?Sized>(
        &self,
        key: &K,
        value: &V,
        ttl: Duration,
    ) -> Result<(), Error>
    where
        V: ToRedisArgs,
    {
        let millis = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX / 4).clamp(1, i64::MAX / 4);
        self.counted(self.write(key.as_ref(), value, Some(millis)).await)
    }

    async fn write(&self, key: &[u8], value: &V, ttl_millis: Option<i64>) -> Result<(), Error>
    where
        V: ToRedisArgs,
    {
        let mut request = cmd("SET");
        request.arg(key).arg(value);
        if let Some(millis) = ttl_millis {
            request.arg("PX").arg(millis);
        }
        let mut line = self.shared.line()?;
        count(&self.shared.counters.writes, 1);
        let reply = request.exec_async(&mut line.connection).await;
        // For this caller's next `get`. For all others, and if this future is dropped before, the
        // server's invalidation does it.
        self.shared.local.remove(key);
        reply.map_err(|error| self.shared.failed(&line, error.into()))
    }

    /// Drops what is held of a key, and overrules a load of it: the next [`get`](Self::get) asks the
    /// server. Returns whether anything was held.
    ///
    /// ```no_run
    /// # async fn example(users: punctual_redis::NearCache<String>)
    /// # -> Result<(), punctual_redis::Error> {
    /// users.get("user:7").await?;
    /// assert!(users.forget("user:7"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn forget<K: AsRef<[u8]> + ?Sized>(&self, key: &K) -> bool {
        self.shared.local.remove(key.as_ref())
    }

    /// Returns how many entries are held at most; with a
    /// [`memory_budget`](NearCacheBuilder::memory_budget), however small they are.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.local.capacity()
    }

    /// Returns the bytes that were reserved for entries when the cache was built, see
    /// [`punctual::Cache::footprint`].
    ///
    /// With a [`memory_budget`](NearCacheBuilder::memory_budget) that is all that entries ever take;
    /// else keys and values keep more on the heap. The connection's buffers and the copies that
    /// calls return come on top.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.shared.local.footprint()
    }

    /// Returns counts of what has happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Shared { local, link, counters, .. } = &*self.shared;
        counters.with(local.stats(), link.epoch().is_live())
    }

    /// Closes the connection and drops all that is held, for all handles. What is asked for
    /// afterwards, or still loading, is [`Error::Closed`] or the error of a lost connection.
    ///
    /// To drop the last handle does the same, but does not wait for the task that kept the
    /// connection.
    pub async fn close(&self) {
        if let Some(task) = self.keeper.stop() {
            // It was aborted, and says so.
            let _ = task.await;
        }
    }

    fn counted<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            count(&self.shared.counters.errors, 1);
        }
        result
    }
}

impl<V: Clone + Send + Sync + 'static> Clone for NearCache<V> {
    /// Returns another handle to the same cache.
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), keeper: self.keeper.clone() }
    }
}

impl<V: Clone + Send + Sync + 'static> fmt::Debug for NearCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearCache")
            .field("capacity", &self.capacity())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
