//! The cache of bytes for many threads: the calls of [`Cache`](crate::Cache), for keys and values
//! that lie in the cache's own memory.

mod builder;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::BuildHasher;
use std::time::Duration;

pub use builder::ByteBuilder;

use super::inner::Handle;
use super::insert_bytes::{Insertions, Stored};
use super::load::byte_ticket::ByteLookup;
use super::load::error::LoadError;
use super::locked_shard::State;
use crate::entry::removal::RemovalCause;
use crate::error::TooLarge;
use crate::footprint::Footprint;
use crate::hasher::RandomState;
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::ByteKey;
use crate::stats::Stats;
use crate::time::ttl::Ttl;

/// A concurrent cache of bytes whose whole memory is fixed, keys and values included.
///
/// A [`Cache`](crate::Cache) bounds the number of its entries; what `String`s and `Vec`s own on the
/// heap is the caller's. Here keys and values are byte strings that lie in memory which is reserved
/// when the cache is built, and known before. It never takes more. The copies of values that it
/// returns, and the keys of tickets, are the caller's.
///
/// ```
/// use std::time::Duration;
/// use punctual::ByteCache;
///
/// let pages = ByteCache::builder()
///     .memory_budget(64 << 20)
///     .mean_entry(2_000)
///     .ttl(Duration::from_secs(600))
///     .build()?;
/// assert!(pages.footprint().total() <= 64 << 20);
///
/// pages.insert("/index.html", b"<!doctype html>")?;
/// assert_eq!(pages.get("/index.html").as_deref(), Some(&b"<!doctype html>"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Keys are anything that is [`AsRef<[u8]>`](AsRef): `&str`, `String`, `[u8; N]`. `ByteCache` is a
/// handle; clones of it share the cache. Time, the reaper, loads, statistics and eviction are those
/// of [`Cache`](crate::Cache). There are no listeners.
///
/// # What fits
///
/// A key of up to 32,767 bytes, a value of up to 8 MiB - 1, and both together within the part of
/// one shard's memory that may be live, which [`entry_bytes_max`](Self::entry_bytes_max) returns.
/// What fits is stored, however the free room is scattered: entries are moved together, at most 64
/// KiB plus eight times the new entry's size for each insertion; if that is not enough, some are
/// evicted. What does not fit is [`TooLarge`], and nothing is changed.
///
/// # Large values
///
/// An insertion evicts at most 32 entries, moves at most 64 KiB or one entry, and copies the key
/// and at most 64 KiB of the value, before it gives the shard's lock to others for a moment. A new
/// entry appears as a whole. Until then its key has the old value, or none if that was evicted to
/// make room (then `insert` returns `false`). A call that sets or removes the key meanwhile takes
/// effect before the insertion.
///
/// # Secrets
///
/// The bytes of an entry that has been removed may stay in the cache's memory until others
/// overwrite them.
pub struct ByteCache<S = RandomState> {
    inner: Handle<(), (), S>,
    insertions: Insertions,
}

impl<S> Clone for ByteCache<S> {
    /// Returns another handle to the same cache.
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), insertions: self.insertions.clone() }
    }
}

impl ByteCache {
    /// Returns a builder, which sets the size and all else.
    ///
    /// ```
    /// use punctual::ByteCache;
    ///
    /// let cache = ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn builder() -> ByteBuilder {
        ByteBuilder::default()
    }
}

/// # One key
///
/// O(1) on average, besides the copying of keys and values, and what is moved, evicted and freed.
impl<S: BuildHasher> ByteCache<S> {
    /// Inserts a copy of a key-value pair with the builder's TTL. Returns whether it replaced a live
    /// entry.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert!(!cache.insert("key", b"one")?);
    /// assert!(cache.insert("key", b"two")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If key and value are too large: then nothing is changed.
    pub fn insert(&self, key: impl AsRef<[u8]>, value: &[u8]) -> Result<bool, TooLarge> {
        self.insert_with_ttl(key, value, Ttl::Default)
    }

    /// [`insert`](Self::insert) with a TTL of its own. With zero, no call ever returns the value,
    /// and the old one is removed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert_with_ttl("key", b"value", Duration::from_secs(60))?;
    /// assert!(cache.expires_in("key").unwrap() <= Duration::from_secs(60));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If key and value are too large: then nothing is changed.
    pub fn insert_with_ttl(
        &self,
        key: impl AsRef<[u8]>,
        value: &[u8],
        ttl: impl Into<Ttl>,
    ) -> Result<bool, TooLarge> {
        let entry = (key.as_ref(), value);
        let stored = self.inner.insert_bytes(&self.insertions, entry, ttl.into(), false)?;
        Ok(stored == Stored::In(Some(RemovalCause::Replaced)))
    }

    /// Inserts a copy of a key-value pair with the builder's TTL, unless the key has a live value.
    /// Returns whether it was inserted.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert!(cache.insert_if_absent("key", b"one")?);
    /// assert!(!cache.insert_if_absent("key", b"two")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If key and value are too large: then nothing is changed.
    pub fn insert_if_absent(&self, key: impl AsRef<[u8]>, value: &[u8]) -> Result<bool, TooLarge> {
        self.insert_if_absent_with_ttl(key, value, Ttl::Default)
    }

    /// [`insert_if_absent`](Self::insert_if_absent) with a TTL of its own.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert!(cache.insert_if_absent_with_ttl("job", b"worker 1", Duration::from_secs(30))?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If key and value are too large: then nothing is changed.
    pub fn insert_if_absent_with_ttl(
        &self,
        key: impl AsRef<[u8]>,
        value: &[u8],
        ttl: impl Into<Ttl>,
    ) -> Result<bool, TooLarge> {
        let entry = (key.as_ref(), value);
        let stored = self.inner.insert_bytes(&self.insertions, entry, ttl.into(), true)?;
        Ok(stored != Stored::Refused)
    }

    /// Returns a copy of the value for `key`. Counts as a use of the entry.
    ///
    /// The copy is made under the shard's lock, which readers share. [`get_into`](Self::get_into)
    /// and [`read`](Self::read) allocate nothing.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert_eq!(cache.get("key"), Some(b"value".to_vec()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.inner.get_with(&ByteKey(key.as_ref()), |_, found| found.bytes().to_vec())
    }

    /// Appends the value for `key` to `into`. Returns its length. Counts as a use of the entry.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// let mut buffer = Vec::new();
    /// assert_eq!(cache.get_into("key", &mut buffer), Some(5));
    /// assert_eq!(buffer, b"value");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_into(&self, key: impl AsRef<[u8]>, into: &mut Vec<u8>) -> Option<usize> {
        self.inner.get_with(&ByteKey(key.as_ref()), |_, found| {
            into.extend_from_slice(found.bytes());
            found.bytes().len()
        })
    }

    /// Calls `read` with the value for `key`, where it lies, without a copy. Returns what `read`
    /// returns. Counts as a use of the entry.
    ///
    /// It runs under the shard's lock, which readers share.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert_eq!(cache.read("key", |value| value.len()), Some(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `read` calls the cache; in debug builds also if it calls other caches [out of
    /// order](crate::Cache#callers-code).
    pub fn read<R>(&self, key: impl AsRef<[u8]>, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.inner.get_with(&ByteKey(key.as_ref()), |inner, found| {
            let _scope = inner.closure_scope();
            read(found.bytes())
        })
    }

    /// Returns a copy of the value for `key` without counting a use or updating the statistics.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert_eq!(cache.peek("key"), Some(b"value".to_vec()));
    /// assert_eq!(cache.stats().hits, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn peek(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        let value = |state: &State<(), ()>, id| state.shard.record(id).1.to_vec();
        self.inner.peek_with(&ByteKey(key.as_ref()), value)
    }

    /// Returns whether `key` has a live entry, without counting a use.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert!(cache.contains_key("key"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> bool {
        self.inner.peek_with(&ByteKey(key.as_ref()), |_, _| ()).is_some()
    }

    /// Removes a key. Returns whether it had a live value.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert!(cache.remove("key"));
    /// assert!(!cache.remove("key"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&self, key: impl AsRef<[u8]>) -> bool {
        self.inner.remove(&ByteKey(key.as_ref())).is_some()
    }

    /// Returns the time until a live entry expires, by its TTL or idle time, and never more;
    /// [`Duration::MAX`] if it never does. See [`Cache::expires_in`](crate::Cache::expires_in).
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert_eq!(cache.expires_in("key"), Some(std::time::Duration::MAX));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn expires_in(&self, key: impl AsRef<[u8]>) -> Option<Duration> {
        self.inner.expires_in(&ByteKey(key.as_ref()))
    }

    /// Gives a live entry another TTL, from now; zero expires it now. Returns whether there was a
    /// live entry. Counts as no use.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert!(cache.set_ttl("key", Duration::from_secs(60)));
    /// assert!(cache.set_ttl("key", Duration::ZERO));
    /// assert!(!cache.set_ttl("key", Duration::from_secs(60)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_ttl(&self, key: impl AsRef<[u8]>, ttl: impl Into<Ttl>) -> bool {
        let key = ByteKey(key.as_ref());
        let found = self.inner.set_ttl(&key, ttl.into(), |shard, hash: KeyHash, now| {
            Some((shard.find_live(hash.slot_hash(), &key, now.tick)?, ()))
        });
        found.is_some()
    }
}

/// # Loads
///
/// One caller loads a key, the others of that key wait for it (single flight).
impl<S: BuildHasher> ByteCache<S> {
    /// Returns a copy of the value for `key`; where there is none, stores the value with the TTL
    /// that `load` returns, a [`Duration`] or a [`Ttl`], and returns it. One that is too large, or
    /// has a TTL of zero, is returned and not stored.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::LoadError;
    ///
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// let load = || Ok::<_, std::io::Error>((b"value".to_vec(), Duration::from_secs(60)));
    /// assert_eq!(cache.get_or_load("key", load)?, b"value");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LoadError::Failed`] with what `load` returned; [`LoadError::LeaderFailed`] if the load that
    /// this call waited for failed or panicked.
    ///
    /// # Panics
    ///
    /// If `load` asks for the same key.
    pub fn get_or_load<T, E>(
        &self,
        key: impl AsRef<[u8]>,
        load: impl FnOnce() -> Result<(Vec<u8>, T), E>,
    ) -> Result<Vec<u8>, LoadError<E>>
    where
        T: Into<Ttl>,
    {
        let load = || load().map(|(value, ttl)| (value, ttl.into()));
        self.inner.load_bytes(&self.insertions, key.as_ref(), load)
    }

    /// As [`get_or_load`](Self::get_or_load), with a future, for any async runtime.
    ///
    /// ```
    /// use punctual::{ByteCache, Ttl};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let cache = ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// let load = || async { Ok::<_, std::io::Error>((b"value".to_vec(), Ttl::Never)) };
    /// assert_eq!(cache.get_or_load_async("key", load).await?, b"value");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get_or_load`](Self::get_or_load).
    #[cfg(feature = "async")]
    pub async fn get_or_load_async<T, E, F>(
        &self,
        key: impl AsRef<[u8]>,
        load: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, LoadError<E>>
    where
        T: Into<Ttl>,
        F: Future<Output = Result<(Vec<u8>, T), E>>,
    {
        let load = || async { load().await.map(|(value, ttl)| (value, ttl.into())) };
        self.inner.load_bytes_async(&self.insertions, key.as_ref(), load).await
    }
}

impl<S: BuildHasher + Send + Sync + 'static> ByteCache<S> {
    /// Looks `key` up and, if there is no live value or its TTL ends in less than `refresh_before`,
    /// gives one caller the ticket to load it. Counts as a use. See
    /// [`Cache::lookup`](crate::Cache::lookup).
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{ByteLookup, Ttl};
    ///
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// if let ByteLookup::Miss(ticket) = cache.lookup("key", Duration::ZERO) {
    ///     ticket.store(b"value", Ttl::Default)?;
    /// }
    /// assert!(matches!(cache.lookup("key", Duration::ZERO), ByteLookup::Hit(value) if value == b"value"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lookup(&self, key: impl AsRef<[u8]>, refresh_before: Duration) -> ByteLookup<S> {
        self.inner.lookup_bytes(&self.insertions, key.as_ref(), refresh_before)
    }
}

/// # The whole cache
impl<S> ByteCache<S> {
    /// Returns the number of entries held, due entries that are not freed yet included. O(shards).
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert_eq!(cache.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.begin_call();
        self.inner.len()
    }

    /// Returns the number of entries held that are due and not freed yet. O(capacity).
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert_eq!(cache.due_len(), 0);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn due_len(&self) -> usize {
        self.inner.begin_call();
        self.inner.due_len()
    }

    /// Returns whether no entry is held. O(shards).
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert!(cache.is_empty());
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the most entries that can be held at once, however small they are: a quarter more
    /// than fit at the mean size that the builder was given.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// // At 100 bytes an entry in the mean.
    /// assert!(cache.capacity() > 6_000);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.capacity
    }

    /// Returns the most bytes that key and value of one entry may take together.
    ///
    /// ```
    /// use punctual::ByteCache;
    ///
    /// let cache = ByteCache::builder().memory_budget(1 << 20).mean_entry(100).shards(1).build()?;
    /// assert!(cache.entry_bytes_max() > 700_000);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn entry_bytes_max(&self) -> usize {
        self.insertions.entry_bytes_max()
    }

    /// Returns the name that the [builder](ByteBuilder::name) gave the cache.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert_eq!(cache.name(), None);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.inner.name.as_deref()
    }

    /// Returns the bytes that building the cache has requested from the allocator: all that it ever
    /// takes, keys and values included.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert!(cache.footprint().total() <= 1 << 20);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        self.inner.footprint
    }

    /// Returns what the cache has done since it was built. O(shards).
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert_eq!(cache.stats().live_bytes, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.begin_call();
        self.inner.stats()
    }

    /// Calls `visit` with key and value of each live entry, in no particular order. Frees nothing
    /// and counts as no use. See [`Cache::for_each`](crate::Cache::for_each).
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// cache.for_each(|key, value| assert_eq!((key, value), (&b"key"[..], &b"value"[..])));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `visit` calls the cache; in debug builds also if it calls other caches [out of
    /// order](crate::Cache#callers-code).
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], &[u8])) {
        self.inner.begin_call();
        self.inner.for_each_slot(|shard, id, _| {
            let (key, value) = shard.record(id);
            visit(key, value);
        });
    }

    /// Removes every entry for which `keep` returns `false`, and every due entry.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("a", b"1")?;
    /// cache.insert("b", b"2")?;
    /// cache.retain(|key, _| key == b"a");
    /// assert_eq!(cache.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `keep` calls the cache; in debug builds also if it calls other caches [out of
    /// order](crate::Cache#callers-code). If `keep` panics, what it has refused so far is removed.
    pub fn retain(&self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        self.inner.begin_call();
        self.inner.remove_where(RemovalCause::Removed, |shard, id| {
            let (key, value) = shard.record(id);
            !keep(key, value)
        });
    }

    /// Removes every entry.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// cache.clear();
    /// assert!(cache.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&self) {
        self.inner.begin_call();
        self.inner.remove_where(RemovalCause::Cleared, |_, _| true);
    }

    /// Frees at most `limit` due entries, from all shards. Returns how many; fewer than `limit`
    /// means that no more are due.
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert_eq!(cache.reap(usize::MAX), 0);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn reap(&self, limit: usize) -> usize {
        self.inner.begin_call();
        self.inner.reap(limit)
    }

    /// Returns how long until [`reap`](Self::reap) may have something to free; `None` if no entry
    /// has a deadline. O(shards).
    ///
    /// ```
    /// # let cache = punctual::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// use std::time::Duration;
    ///
    /// assert_eq!(cache.next_expiry(), None);
    /// cache.insert_with_ttl("key", b"value", Duration::from_secs(60))?;
    /// assert!(cache.next_expiry() <= Some(Duration::from_secs(61)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        self.inner.begin_call();
        self.inner.next_expiry()
    }
}

impl<S> fmt::Debug for ByteCache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteCache")
            .field("name", &self.name())
            .field("capacity", &self.capacity())
            .field("footprint", &self.footprint().total())
            .finish_non_exhaustive()
    }
}

#[cfg(any(test, fuzzing))]
impl<S> ByteCache<S> {
    /// Holds all structures against one another.
    pub(crate) fn check(&self) {
        self.inner.check();
    }
}
