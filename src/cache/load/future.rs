//! The loader for asynchronous code, which depends on no runtime.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hash};
use std::task::Poll;
use std::time::Duration;

use equivalent::Equivalent;

use super::Lookup;
use super::in_flight::Loader;
use super::waiters::Waiting;
use crate::cache::Cache;
use crate::shard::key_hash::KeyHash;

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// The value of a key; where there is none, the future that `load` makes gets
    /// it and says its TTL. With a TTL of zero the value is returned and not
    /// stored.
    ///
    /// One future loads a key, and others that ask for it wait, whether they are
    /// futures or threads; see [`get_or_load`](Self::get_or_load). If the future
    /// that loads is dropped before it is done, it passes the turn on to one of
    /// those that wait.
    ///
    /// Those that wait may allocate: their wakers are kept in a list, as long as
    /// they wait. No other call of the cache does.
    ///
    /// A `load` that awaits the same key waits for itself for ever: it cannot be
    /// told from another task. So does a thread that calls `get_or_load` for a
    /// key which only that thread could go on to load.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let cache = punctual::Cache::<String, u16>::new(10);
    /// let port = cache
    ///     .get_or_load_async("https", || async {
    ///         Ok::<_, std::io::Error>((443, Duration::from_secs(60)))
    ///     })
    ///     .await?;
    /// assert_eq!(port, 443);
    /// # Ok::<_, std::io::Error>(())
    /// # })?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What the loading future returns; nothing is put in.
    pub async fn get_or_load_async<Q, E, F>(
        &self,
        key: &Q,
        load: impl FnOnce() -> F,
    ) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: Future<Output = Result<(V, Duration), E>>,
    {
        if let Some(value) = self.get(key) {
            return Ok(value);
        }
        let inner = &*self.inner;
        let hash = KeyHash::new(&inner.hasher, key);
        let ticket = loop {
            match inner.get_or_claim(hash, key, Loader::Future) {
                Lookup::Hit(value) => return Ok(value),
                Lookup::Miss(ticket) => break ticket,
                Lookup::Pending => {}
            }
            let mut wait = Waiting::new(inner.loads_of(hash), hash);
            poll_fn(|context| {
                inner.assert_not_reentrant();
                if wait.poll_ended(context.waker()) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        };
        let (value, ttl) = load().await?;
        Ok(ticket.store(key, value, Some(ttl)))
    }
}
