//! The cache of bytes for one thread.

mod builder;

use std::fmt;
use std::hash::BuildHasher;
use std::time::Duration;

pub use builder::ByteBuilder;

use super::Cache;
use crate::entry::removal::RemovalCause;
use crate::error::TooLarge;
use crate::footprint::Footprint;
use crate::hasher::RandomState;
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::bytes::{NewRecord, Work};
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::ByteKey;
use crate::shard::records::lengths_within;
use crate::stats::Stats;
use crate::time::tick::Deadline;
use crate::time::ttl::Ttl;

/// A cache of bytes whose whole memory is fixed, keys and values included, for one thread.
///
/// The same as [`punctual::ByteCache`](crate::ByteCache), but its methods take `&mut self`, and
/// values are lent where they lie.
///
/// ```
/// use std::time::Duration;
/// use punctual::unsync::ByteCache;
///
/// let mut pages = ByteCache::builder()
///     .memory_budget(1 << 20)
///     .mean_entry(200)
///     .ttl(Duration::from_secs(600))
///     .build()?;
/// pages.insert("/index.html", b"<!doctype html>")?;
/// assert_eq!(pages.get("/index.html"), Some(&b"<!doctype html>"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ByteCache<S = RandomState> {
    typed: Cache<(), (), S>,
    entry_bytes_max: usize,
    /// A value that was lent but not stored, until the next load.
    unstored: Vec<u8>,
}

impl ByteCache {
    /// Returns a builder, which sets the size and all else.
    ///
    /// ```
    /// use punctual::unsync::ByteCache;
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
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert!(!cache.insert("key", b"one")?);
    /// assert!(cache.insert("key", b"two")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If key and value are too large: then nothing is changed.
    pub fn insert(&mut self, key: impl AsRef<[u8]>, value: &[u8]) -> Result<bool, TooLarge> {
        self.insert_with_ttl(key, value, Ttl::Default)
    }

    /// [`insert`](Self::insert) with a TTL of its own. With zero, no call ever returns the value,
    /// and the old one is removed.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// use punctual::Ttl;
    ///
    /// cache.insert_with_ttl("key", b"value", Ttl::Never)?;
    /// assert_eq!(cache.expires_in("key"), Some(std::time::Duration::MAX));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If key and value are too large: then nothing is changed.
    pub fn insert_with_ttl(
        &mut self,
        key: impl AsRef<[u8]>,
        value: &[u8],
        ttl: impl Into<Ttl>,
    ) -> Result<bool, TooLarge> {
        let stored = self.store(key.as_ref(), value, ttl.into(), false)?;
        Ok(stored == Stored::In(Some(RemovalCause::Replaced)))
    }

    /// Inserts a copy of a key-value pair with the builder's TTL, unless the key has a live value.
    /// Returns whether it was inserted.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert!(cache.insert_if_absent("key", b"one")?);
    /// assert!(!cache.insert_if_absent("key", b"two")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If key and value are too large: then nothing is changed.
    pub fn insert_if_absent(
        &mut self,
        key: impl AsRef<[u8]>,
        value: &[u8],
    ) -> Result<bool, TooLarge> {
        self.insert_if_absent_with_ttl(key, value, Ttl::Default)
    }

    /// [`insert_if_absent`](Self::insert_if_absent) with a TTL of its own.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// use std::time::Duration;
    ///
    /// let lease = Duration::from_secs(30);
    /// assert!(cache.insert_if_absent_with_ttl("job", b"worker 1", lease)?);
    /// assert!(!cache.insert_if_absent_with_ttl("job", b"worker 2", lease)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If key and value are too large: then nothing is changed.
    pub fn insert_if_absent_with_ttl(
        &mut self,
        key: impl AsRef<[u8]>,
        value: &[u8],
        ttl: impl Into<Ttl>,
    ) -> Result<bool, TooLarge> {
        Ok(self.store(key.as_ref(), value, ttl.into(), true)? != Stored::Refused)
    }

    /// Returns the value for `key`, where it lies. Counts as a use of the entry.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert_eq!(cache.get("key"), Some(&b"value"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&mut self, key: impl AsRef<[u8]>) -> Option<&[u8]> {
        let ((shard, id), _) = self.typed.get_entry(&ByteKey(key.as_ref()))?;
        Some(self.typed.shards[shard].record(id).1)
    }

    /// Appends the value for `key` to `into`. Returns its length. Counts as a use of the entry.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// let mut page = b"the ".to_vec();
    /// assert_eq!(cache.get_into("key", &mut page), Some(5));
    /// assert_eq!(page, b"the value");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_into(&mut self, key: impl AsRef<[u8]>, into: &mut Vec<u8>) -> Option<usize> {
        self.read(key, |value| {
            into.extend_from_slice(value);
            value.len()
        })
    }

    /// Calls `read` with the value for `key`: [`get`](Self::get) for code that works with both
    /// caches.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert_eq!(cache.read("key", |value| value.len()), Some(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read<R>(&mut self, key: impl AsRef<[u8]>, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.get(key).map(read)
    }

    /// Returns the value for `key` without counting a use or updating the statistics. Frees nothing.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert_eq!(cache.peek("key"), Some(&b"value"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn peek(&self, key: impl AsRef<[u8]>) -> Option<&[u8]> {
        let now = self.typed.clock.peek().tick;
        let (shard, id) = self.typed.peek_entry(&ByteKey(key.as_ref()), now)?;
        Some(self.typed.shards[shard].record(id).1)
    }

    /// Returns whether `key` has a live entry, without counting a use. Frees nothing.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert!(cache.contains_key("key"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> bool {
        self.peek(key).is_some()
    }

    /// Removes a key. Returns whether it had a live value.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert!(cache.remove("key"));
    /// assert!(!cache.remove("key"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> bool {
        self.typed.remove_key(&ByteKey(key.as_ref())).is_some()
    }

    /// Returns the time until a live entry expires, by its TTL or idle time, and never more;
    /// [`Duration::MAX`] if it never does.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// use std::time::Duration;
    ///
    /// cache.insert_with_ttl("key", b"value", Duration::from_secs(60))?;
    /// assert!(cache.expires_in("key") <= Some(Duration::from_secs(60)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn expires_in(&self, key: impl AsRef<[u8]>) -> Option<Duration> {
        self.typed.time_left(&ByteKey(key.as_ref()))
    }

    /// Gives a live entry another TTL, from now; zero expires it now. Returns whether there was a
    /// live entry. Counts as no use.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// use std::time::Duration;
    ///
    /// cache.insert("key", b"value")?;
    /// assert!(cache.set_ttl("key", Duration::from_secs(60)));
    /// assert!(!cache.set_ttl("other", Duration::from_secs(60)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_ttl(&mut self, key: impl AsRef<[u8]>, ttl: impl Into<Ttl>) -> bool {
        let key = ByteKey(key.as_ref());
        let found = self.typed.reschedule(&key, ttl.into(), |shard, hash: KeyHash, now| {
            shard.find_live(hash.slot_hash(), &key, now)
        });
        found.is_some()
    }

    /// Returns the value for `key`; where there is none, stores the value with the TTL that `load`
    /// returns. One that is too large, or has a TTL of zero, is returned and not stored.
    ///
    /// ```
    /// use punctual::{Ttl, unsync::ByteCache};
    ///
    /// let mut cache = ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// let load = || Ok::<_, std::io::Error>((b"value".to_vec(), Ttl::Never));
    /// assert_eq!(cache.get_or_load("key", load)?, b"value");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `load` returns; nothing is inserted.
    pub fn get_or_load<T, E>(
        &mut self,
        key: impl AsRef<[u8]>,
        load: impl FnOnce() -> Result<(Vec<u8>, T), E>,
    ) -> Result<&[u8], E>
    where
        T: Into<Ttl>,
    {
        let query = &ByteKey(key.as_ref());
        self.unstored = Vec::new();
        let found = self.typed.get_entry_to_load(query).map(|(location, _)| location);
        if let Some((shard, id)) = found {
            return Ok(self.typed.shards[shard].record(id).1);
        }
        let (value, ttl) = match self.typed.time_load(load) {
            Ok((value, ttl)) => (value, ttl.into()),
            Err(error) => {
                // Guarded while what is due is freed.
                let error = DropGuard::new(error);
                self.typed.reap_after_load(query);
                return Err(error.into_inner());
            }
        };
        let is_zero = ttl == Ttl::After(Duration::ZERO);
        if is_zero || self.store(query.0, &value, ttl, false).is_err() {
            self.typed.reap_after_load(query);
            self.unstored = value;
            return Ok(&self.unstored);
        }
        let location = self.typed.peek_entry(query, self.typed.clock.latest_tick());
        let (shard, id) = location.expect("a TTL above zero inserts the value");
        Ok(self.typed.shards[shard].record(id).1)
    }

    fn store(
        &mut self,
        key: &[u8],
        value: &[u8],
        ttl: Ttl,
        only_if_absent: bool,
    ) -> Result<Stored, TooLarge> {
        let lengths = lengths_within(self.entry_bytes_max, key, value)?;
        let cache = &mut self.typed;
        let hash = KeyHash::new(&cache.hasher, &ByteKey(key));
        let ttl = match &cache.rules {
            Some(rules) => rules.ttl(ttl, cache.ttl, hash, (&(), &())),
            None => ttl.or(cache.ttl),
        };
        let mut panics = FirstPanic::default();
        let now = cache.start_write_with_ttl(&mut panics);
        let deadline = cache.clock.deadline(ttl);
        let idle_end = cache.time_to_idle().map(|time| cache.clock.deadline(Some(time)).tick());
        let number = cache.shard_of(hash);
        let shard = &mut cache.shards[number];
        let held_before = shard.len();
        let mut work = Work::at_once(lengths, cache.reap_limit);
        let found = shard.find(hash.slot_hash(), &ByteKey(key));
        let stored = if only_if_absent && found.is_some_and(|id| !shard.is_due(id, now)) {
            Stored::Refused
        } else if deadline == Deadline::Now {
            let replaced = shard.pass_through(found, now, RemovalCause::Expired);
            Stored::In(replaced.map(|removed| removed.cause))
        } else {
            let new = NewRecord { hash, key, value, lengths };
            let id = shard.put(found, new, deadline, now, &mut work).expect("there is no limit");
            if let Some(idle_end) = idle_end {
                shard.start_idle(id, deadline, idle_end, now);
            }
            Stored::In(work.displaced)
        };
        cache.len = cache.len - held_before + shard.len();
        cache.reap_shard(number, now, work.reap_budget, &mut panics);
        cache.shards[number].record_peak();
        cache.len_peak = cache.len_peak.max(cache.len);
        Ok(panics.resume_or(stored))
    }
}

/// What has become of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    Refused,
    /// It is in. Why the entry left that its key had.
    In(Option<RemovalCause>),
}

/// # The whole cache
impl<S> ByteCache<S> {
    /// Returns the number of entries held, due entries that are not freed yet included. O(1).
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert_eq!(cache.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.typed.len()
    }

    /// Returns the number of entries held that are due and not freed yet. O(capacity).
    ///
    /// ```
    /// # let cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert_eq!(cache.due_len(), 0);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn due_len(&self) -> usize {
        self.typed.due_len()
    }

    /// Returns whether no entry is held. O(1).
    ///
    /// ```
    /// # let cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert!(cache.is_empty());
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.typed.is_empty()
    }

    /// Returns the most entries that can be held at once, however small they are.
    ///
    /// ```
    /// # let cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// // At 100 bytes an entry in the mean.
    /// assert!(cache.capacity() > 6_000);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.typed.capacity()
    }

    /// Returns the most bytes that key and value of one entry may take together.
    ///
    /// ```
    /// use punctual::unsync::ByteCache;
    ///
    /// let cache = ByteCache::builder().memory_budget(1 << 20).mean_entry(100).shards(1).build()?;
    /// assert!(cache.entry_bytes_max() > 700_000);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn entry_bytes_max(&self) -> usize {
        self.entry_bytes_max
    }

    /// Returns the name that the [builder](ByteBuilder::name) gave the cache.
    ///
    /// ```
    /// # let cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert_eq!(cache.name(), None);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.typed.name()
    }

    /// Returns the bytes that building the cache has requested from the allocator: all that it ever
    /// takes, keys and values included.
    ///
    /// ```
    /// # let cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert!(cache.footprint().total() <= 1 << 20);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        self.typed.footprint()
    }

    /// Returns what the cache has done since it was built. O(shards).
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// assert_eq!(cache.stats().live_bytes, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.typed.stats()
    }

    /// Calls `visit` with key and value of each live entry, in no particular order. Counts as no
    /// use.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// cache.for_each(|key, value| assert_eq!((key, value), (&b"key"[..], &b"value"[..])));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], &[u8])) {
        let now = self.typed.clock.peek().tick;
        for shard in &self.typed.shards {
            for id in shard.live_slots(0..shard.capacity(), now) {
                let (key, value) = shard.record(id);
                visit(key, value);
            }
        }
    }

    /// Removes every entry for which `keep` returns `false`, and every due entry.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("a", b"1")?;
    /// cache.insert("b", b"2")?;
    /// cache.retain(|key, _| key == b"a");
    /// assert_eq!(cache.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        self.typed.remove_where(RemovalCause::Removed, |shard, id| {
            let (key, value) = shard.record(id);
            !keep(key, value)
        });
    }

    /// Removes every entry.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// cache.insert("key", b"value")?;
    /// cache.clear();
    /// assert!(cache.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&mut self) {
        self.typed.clear();
    }

    /// Frees at most `limit` due entries, from all shards. Returns how many; fewer than `limit`
    /// means that no more are due.
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// assert_eq!(cache.reap(usize::MAX), 0);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn reap(&mut self, limit: usize) -> usize {
        self.typed.reap(limit)
    }

    /// Returns how long until [`reap`](Self::reap) may have something to free; `None` if no entry
    /// has a deadline. O(shards).
    ///
    /// ```
    /// # let mut cache =
    /// #     punctual::unsync::ByteCache::builder().memory_budget(1 << 20).mean_entry(100).build()?;
    /// use std::time::Duration;
    ///
    /// assert_eq!(cache.next_expiry(), None);
    /// cache.insert_with_ttl("key", b"value", Duration::from_secs(60))?;
    /// assert!(cache.next_expiry() <= Some(Duration::from_secs(61)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        self.typed.next_expiry()
    }
}

impl<S> fmt::Debug for ByteCache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteCache")
            .field("name", &self.name())
            .field("len", &self.len())
            .field("footprint", &self.footprint().total())
            .finish_non_exhaustive()
    }
}

#[cfg(any(test, fuzzing))]
impl<S> ByteCache<S> {
    /// Holds all structures against one another.
    pub(crate) fn check(&self) {
        self.typed.check();
    }
}
