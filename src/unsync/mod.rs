//! The cache for one thread: references instead of clones, no lock, nothing
//! asked to be `Send` or `Sync`.
//!
//! ```
//! use std::time::Duration;
//! use punctual::unsync::Cache;
//!
//! let mut cache = Cache::builder().capacity(1_000).ttl(Duration::from_secs(60)).build()?;
//!
//! cache.insert(7, "seven".to_string());
//! assert_eq!(cache.get(&7).map(String::as_str), Some("seven"));
//!
//! let nine = cache.get_or_insert_with(&9, || "nine".to_string());
//! assert_eq!(nine, "nine");
//! # Ok::<(), punctual::BuildError>(())
//! ```

mod batch;
mod builder;
mod clock;
mod iter;
mod ops;

use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use equivalent::Equivalent;

pub use builder::Builder;
pub use iter::Iter;

use crate::footprint::Footprint;
use crate::hasher::RandomState;
use crate::removal::RemovalCause;
use crate::shard::Shard;
use crate::shard::key_hash::KeyHash;
use crate::stats::Stats;
use clock::MonotonicClock;

type Listener<K, V> = Box<dyn FnMut(&K, &V, RemovalCause)>;

/// A cache of fixed memory whose entries leave on time, for one thread.
///
/// Once built, it allocates nothing. It never holds more than
/// [`capacity`](Self::capacity) entries; when it is full, the
/// [`Eviction`](crate::Eviction) policy says which one leaves.
///
/// # MonotonicClock
///
/// An entry may be read until its TTL has passed, and never after it has passed
/// by one [`resolution`](Builder::resolution) (plus one step of the system's
/// coarse clock): from then on no call finds it.
///
/// There is no thread here, so the memory of an entry that is due comes back
/// with the calls: each call that takes `&mut self` also frees what is due in
/// the shard of its key, at most [`reap_limit`](Builder::reap_limit) entries.
/// [`reap`](Self::reap) frees what is due everywhere, and
/// [`next_expiry`](Self::next_expiry) tells an event loop when to call it.
///
/// # Panics
///
/// A panic in a key's `Hash` or `Eq`, in a `Drop`, in the listener or in a
/// closure reaches the caller and leaves the cache whole.
pub struct Cache<K, V, S = RandomState> {
    shards: Box<[Shard<K, V>]>,
    hasher: S,
    clock: MonotonicClock,
    ttl: Option<Duration>,
    reap_limit: usize,
    listener: Option<Listener<K, V>>,
    /// A value that was returned by reference but not stored, since its TTL is
    /// zero. Until the next call, somebody has to own it.
    uncached: Option<V>,
    /// Entries in all shards.
    len: usize,
    len_peak: usize,
    footprint: Footprint,
}

/// What does not depend on the key.
impl<K, V, S> Cache<K, V, S> {
    /// The number of entries held: those that can be found, and those that are
    /// due and not yet freed. O(1).
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no entry is held.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// assert!(cache.is_empty());
    /// cache.insert("key", 1);
    /// assert!(!cache.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most entries ever held at once: what was asked for, or up to 3 %
    /// more where there are several shards.
    ///
    /// ```
    /// let cache = punctual::unsync::Cache::<u64, u64>::new(500_000);
    /// assert!((500_000..=515_000).contains(&cache.capacity()));
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shards.len() * self.shards[0].capacity()
    }

    /// The bytes that building the cache has requested.
    ///
    /// ```
    /// let cache = punctual::unsync::Cache::<u64, u64>::new(500_000);
    /// assert!(cache.footprint().total() < 24_000_000);
    /// ```
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// What the cache has done so far. O(shards).
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// cache.get("key");
    /// assert_eq!(cache.stats().hits, 1);
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        let sum = self.shards.iter().fold(Stats::default(), |sum, shard| sum.plus(&shard.stats()));
        Stats { live_peak: self.len_peak as u64, ..sum }
    }

    /// Calls `visit` for each live entry, in no particular order.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert('a', 1);
    /// cache.for_each(|key, value| println!("{key}: {value}"));
    /// ```
    pub fn for_each(&self, mut visit: impl FnMut(&K, &V)) {
        self.iter().for_each(|(key, value)| visit(key, value));
    }

    /// How long until [`reap`](Self::reap) may have something to free: never
    /// later than the first deadline, and earlier only if entries have to be
    /// moved within the timing wheel before. `None` if no entry has a deadline.
    /// O(shards).
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::unsync::Cache;
    ///
    /// let mut cache = Cache::new(10);
    /// assert_eq!(cache.next_expiry(), None);
    /// cache.insert_with_ttl("key", "value", Duration::from_secs(60));
    /// assert!(cache.next_expiry().unwrap() <= Duration::from_secs(61));
    /// ```
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        let tick = self.shards.iter().filter_map(Shard::next_expiry).min()?;
        Some(self.clock.timebase.until(tick, self.clock.peek()))
    }

    /// Frees at most `limit` due entries, from all shards, and returns how many;
    /// fewer than `limit` means that nothing more is due. O(freed + moved within
    /// the timing wheel + shards).
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{ManualClock, unsync::Cache};
    ///
    /// let clock = ManualClock::new();
    /// let mut cache = Cache::builder()
    ///     .capacity(100)
    ///     .ttl(Duration::from_secs(1))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// for key in 0..50 {
    ///     cache.insert(key, key);
    /// }
    /// clock.advance(Duration::from_secs(2));
    /// assert_eq!(cache.len(), 50);
    /// assert_eq!(cache.reap(30), 30);
    /// assert_eq!(cache.reap(30), 20);
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    pub fn reap(&mut self, limit: usize) -> usize {
        self.reap_all(limit)
    }

    /// Removes every entry for which `keep` says no. Entries that are due leave
    /// too, unasked.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// for number in 0..10 {
    ///     cache.insert(number, ());
    /// }
    /// cache.retain(|number, ()| number % 2 == 0);
    /// assert_eq!(cache.len(), 5);
    /// ```
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.remove_where(RemovalCause::Removed, |key, value| !keep(key, value));
    }

    /// Removes every entry.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// cache.clear();
    /// assert!(cache.is_empty());
    /// ```
    pub fn clear(&mut self) {
        self.remove_where(RemovalCause::Cleared, |_, _| true);
    }
}

/// What finds entries by their keys. All of it is O(1) on average, besides the
/// callers' code and what is freed within the `reap_limit`.
///
/// Keys may be asked for in any form that is [`Equivalent`] to them and hashes
/// alike: `&str` for `String`, for example.
impl<K: Hash + Eq, V, S: BuildHasher> Cache<K, V, S> {
    /// Puts a value in, with the builder's TTL, and returns the live value that
    /// it replaces.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// assert_eq!(cache.insert("key", 1), None);
    /// assert_eq!(cache.insert("key", 2), Some(1));
    /// ```
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.upsert(key, value, self.ttl).0
    }

    /// Puts a value in with a TTL of its own, and returns the live value that it
    /// replaces.
    ///
    /// With a TTL of zero the value is never to be found, what it replaces is
    /// gone, and the listener is told that it `Expired`. [`Duration::MAX`] is
    /// never.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert_with_ttl("key", 1, Duration::from_secs(60));
    /// assert_eq!(cache.insert_with_ttl("key", 2, Duration::ZERO), Some(1));
    /// assert_eq!(cache.get("key"), None);
    /// ```
    pub fn insert_with_ttl(&mut self, key: K, value: V, ttl: Duration) -> Option<V> {
        self.upsert(key, value, Some(ttl)).0
    }

    /// Puts many entries in, with the builder's TTL.
    ///
    /// The same as to [`insert`](Self::insert) them one after the other, but what is
    /// replaced is dropped, and faster: some hundred entries at a time are taken from
    /// `entries`, then put in. Their TTL counts from between the two. O(1) on average
    /// an entry. Up to 40 KiB lie on the stack.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert_many([("a", 1), ("b", 2), ("a", 3)]);
    /// assert_eq!(cache.get("a"), Some(&3));
    /// assert_eq!(cache.get("b"), Some(&2));
    /// ```
    ///
    /// # Panics
    ///
    /// If `entries` does, or callers' code as in `insert`: then some of the entries
    /// taken from it so far are in, and the others are dropped.
    pub fn insert_many(&mut self, entries: impl IntoIterator<Item = (K, V)>) {
        self.upsert_many(entries, self.ttl);
    }

    /// As [`insert_many`](Self::insert_many), with a TTL of their own for all of them.
    /// Zero is as in [`insert_with_ttl`](Self::insert_with_ttl).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert_many_with_ttl((0..5).map(|key| (key, key)), Duration::from_secs(60));
    /// assert!(cache.expires_in(&3).unwrap() <= Duration::from_secs(61));
    /// ```
    ///
    /// # Panics
    ///
    /// As `insert_many`.
    pub fn insert_many_with_ttl(
        &mut self,
        entries: impl IntoIterator<Item = (K, V)>,
        ttl: Duration,
    ) {
        self.upsert_many(entries, Some(ttl));
    }

    /// The value of a key. Counts as a use of the entry.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key".to_string(), 1);
    /// assert_eq!(cache.get("key"), Some(&1));
    /// ```
    #[inline]
    pub fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.get_entry(key).map(|(_, value)| &*value)
    }

    /// The value of a key, to be changed in place; the TTL stays. Counts as a
    /// use of the entry.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// if let Some(value) = cache.get_mut("key") {
    ///     *value += 1;
    /// }
    /// assert_eq!(cache.get("key"), Some(&2));
    /// ```
    #[inline]
    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.get_entry(key).map(|(_, value)| value)
    }

    /// Gives the value of a key to `read`, as [`get`](Self::get) finds it: the
    /// same call as that of the cache for many threads.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", vec![1, 2, 3]);
    /// assert_eq!(cache.read("key", |numbers| numbers.len()), Some(3));
    /// ```
    pub fn read<Q, R>(&mut self, key: &Q, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.get(key).map(read)
    }

    /// Gives `each` the values of many keys, in the order of `keys`: a key's position
    /// there, and its value if there is one. Counts as a use of each entry.
    ///
    /// The same as to [`get`](Self::get) them one after the other, and faster: some
    /// thousand keys at a time are taken from `keys`, then looked up together. Takes
    /// time O(1) on average a key, and up to 40 KiB of the stack.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("a", 1);
    /// cache.insert("c", 3);
    /// let mut values = Vec::new();
    /// cache.read_many(["a", "b", "c"], |_, value| values.push(value.copied()));
    /// assert_eq!(values, [Some(1), None, Some(3)]);
    /// ```
    pub fn read_many<'a, Q, I>(&mut self, keys: I, each: impl FnMut(usize, Option<&V>))
    where
        I: IntoIterator<Item = &'a Q>,
        Q: Hash + Equivalent<K> + ?Sized + 'a,
    {
        self.read_chunks(keys.into_iter().fuse(), each);
    }

    /// Gives the value of a key to `update`, as [`get_mut`](Self::get_mut) finds
    /// it: the same call as that of the cache for many threads.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// cache.update("key", |value| *value += 1);
    /// assert_eq!(cache.get("key"), Some(&2));
    /// ```
    pub fn update<Q, R>(&mut self, key: &Q, update: impl FnOnce(&mut V) -> R) -> Option<R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.get_mut(key).map(update)
    }

    /// The value of a key, looked at only: no use is counted, nothing is freed,
    /// the statistics stay.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.peek("key"), Some(&1));
    /// assert_eq!(cache.stats().hits, 0);
    /// ```
    pub fn peek<Q>(&self, key: &Q) -> Option<&V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let (shard, id) = self.peek_entry(key, self.clock.peek().tick)?;
        Some(self.shards[shard].value(id))
    }

    /// Whether a key has a live entry. No use is counted, nothing is freed.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert!(cache.contains_key("key"));
    /// ```
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.peek(key).is_some()
    }

    /// Takes a live entry out and returns its value.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.remove("key"), Some(1));
    /// assert_eq!(cache.remove("key"), None);
    /// ```
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.remove_key(key)
    }

    /// The value of a key; where there is none, `make` makes it and it is put in
    /// with the builder's TTL. A panic in `make` puts nothing in.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// assert_eq!(cache.get_or_insert_with("key", || 1), &1);
    /// assert_eq!(cache.get_or_insert_with("key", || 2), &1);
    /// # let _: &punctual::unsync::Cache<String, i32> = &cache;
    /// ```
    pub fn get_or_insert_with<Q>(&mut self, key: &Q, make: impl FnOnce() -> V) -> &V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let ttl = self.ttl;
        let Ok(value) = self.load_with(key, || Ok::<_, Infallible>((make(), ttl)));
        value
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), for a value that may
    /// fail to come; the error is the caller's and nothing is put in.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::<String, i32>::new(10);
    /// assert!(cache.try_get_or_insert_with("key", || "no number".parse()).is_err());
    /// assert_eq!(cache.try_get_or_insert_with("key", || "1".parse()), Ok(&1));
    /// ```
    ///
    /// # Errors
    ///
    /// What `make` returns.
    pub fn try_get_or_insert_with<Q, E>(
        &mut self,
        key: &Q,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<&V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let ttl = self.ttl;
        self.load_with(key, || Ok((make()?, ttl)))
    }

    /// The value of a key; where there is none, `load` gets it and says its TTL.
    /// With a TTL of zero the value is returned and not stored: the reference is
    /// to a place of its own, which the next call empties.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut cache = punctual::unsync::Cache::<String, [u8; 4]>::new(10);
    /// let address = cache.get_or_load("localhost", || {
    ///     Ok::<_, std::io::Error>(([127, 0, 0, 1], Duration::from_secs(300)))
    /// })?;
    /// assert_eq!(address, &[127, 0, 0, 1]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `load` returns; nothing is put in.
    pub fn get_or_load<Q, E>(
        &mut self,
        key: &Q,
        load: impl FnOnce() -> Result<(V, Duration), E>,
    ) -> Result<&V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.load_with(key, || load().map(|(value, ttl)| (value, Some(ttl))))
    }

    /// How long a live entry has still to live; [`Duration::MAX`] for ever. It
    /// is the time until the entry leaves, which may be up to one resolution
    /// more than is left of its TTL, or 2,048 ticks where that is 2^42 ticks or more
    /// (26 days at the finest resolution). No use is counted, nothing is freed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("for ever", 1);
    /// cache.insert_with_ttl("for a minute", 1, Duration::from_secs(60));
    /// assert_eq!(cache.expires_in("for ever"), Some(Duration::MAX));
    /// assert!(cache.expires_in("for a minute").unwrap() <= Duration::from_secs(61));
    /// assert_eq!(cache.expires_in("not at all"), None);
    /// ```
    pub fn expires_in<Q>(&self, key: &Q) -> Option<Duration>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let now = self.clock.peek();
        let (shard, id) = self.peek_entry(key, now.tick)?;
        let deadline = self.shards[shard].deadline(id);
        Some(deadline.map_or(Duration::MAX, |tick| self.clock.timebase.until(tick, now)))
    }

    /// Gives a live entry a new TTL, from now; zero expires it now. Says whether
    /// there was one. Counts as no use.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert!(cache.set_ttl("key", Duration::from_secs(60)));
    /// assert!(cache.set_ttl("key", Duration::ZERO));
    /// assert!(!cache.set_ttl("key", Duration::from_secs(60)));
    /// ```
    pub fn set_ttl<Q>(&mut self, key: &Q, ttl: Duration) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let find = |shard: &mut Shard<K, V>, hash: KeyHash, now| {
            shard.find_live(hash.slot_hash(), key, now)
        };
        self.reschedule(key, ttl, find).is_some()
    }

    /// The value of a key, which gets a new TTL, from now: for sessions that
    /// live as long as they are used. Zero expires it now; the value is returned
    /// all the same.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut sessions = punctual::unsync::Cache::new(10);
    /// sessions.insert_with_ttl("id", "user", Duration::from_secs(60));
    /// assert_eq!(sessions.get_and_set_ttl("id", Duration::from_secs(600)), Some(&"user"));
    /// assert!(sessions.expires_in("id").unwrap() > Duration::from_secs(60));
    /// ```
    pub fn get_and_set_ttl<Q>(&mut self, key: &Q, ttl: Duration) -> Option<&V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let find = |shard: &mut Shard<K, V>, hash, now| Some(shard.get(hash, key, now)?.0);
        match self.reschedule(key, ttl, find)? {
            (_, Some(expired)) => Some(self.lend_uncached(expired)),
            ((shard, id), None) => Some(self.shards[shard].value(id)),
        }
    }
}

impl<K, V, S> fmt::Debug for Cache<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("ttl", &self.ttl)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

#[cfg(any(test, fuzzing))]
impl<K, V, S> Cache<K, V, S> {
    /// Holds all structures against one another.
    pub(crate) fn check(&self) {
        for shard in &self.shards {
            shard.check();
        }
        assert_eq!(self.len, self.shards.iter().map(Shard::len).sum::<usize>());
    }
}
