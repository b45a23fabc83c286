//! The cache for one thread: references instead of clones, no lock, no thread; nothing has to
//! be `Send` or `Sync`.
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

mod accesses;
mod batch;
mod builder;
mod by_rules;
mod bytes;
mod clock;
mod compute;
mod iter;
mod ops;

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use equivalent::Equivalent;

pub use builder::Builder;
pub use bytes::{ByteBuilder, ByteCache};
pub use iter::Iter;

use crate::entry::compute::Compute;
use crate::entry::entry_ref::EntryRef;
use crate::entry::removal::RemovalCause;
use crate::footprint::Footprint;
use crate::hasher::RandomState;
use crate::settings::rules::Rules;
use crate::shard::Shard;
use crate::shard::key_hash::KeyHash;
use crate::stats::Stats;
use crate::time::ttl::Ttl;
use accesses::Accesses;
use clock::MonotonicClock;

type Listener<K, V> = Box<dyn FnMut(&K, &V, RemovalCause)>;
type TtlBy<K, V> = dyn Fn(&K, &V) -> Ttl;
type Weigher<K, V> = dyn Fn(&K, &V) -> u64;
type OwnRules<K, V> = Rules<TtlBy<K, V>, Weigher<K, V>>;

/// A cache of fixed memory that frees expired entries on time, for one thread.
///
/// The same as [`punctual::Cache`](crate::Cache), but its methods take `&mut self` and return
/// references. It is neither `Send` nor `Sync`, so that its listener and its clock need not be
/// either: they may hold an `Rc`.
///
/// ```
/// use std::time::Duration;
/// use punctual::unsync::Cache;
///
/// let mut cache: Cache<&str, u64> =
///     Cache::builder().capacity(100).ttl(Duration::from_secs(60)).build()?;
/// cache.insert("key", 1);
/// assert_eq!(cache.get("key"), Some(&1));
/// # Ok::<(), punctual::BuildError>(())
/// ```
///
/// # Time
///
/// An entry can be read until its TTL has passed, and no call returns it once its TTL has
/// passed by one [`resolution`](Builder::resolution) (plus one step of the system's coarse
/// clock).
///
/// There is no thread that frees due entries, so the calls do: each call that takes
/// `&mut self` also frees due entries of its key's shard, at most
/// [`reap_limit`](Builder::reap_limit). [`reap`](Self::reap) frees them in all shards, and
/// [`next_expiry`](Self::next_expiry) returns when an event loop should call it.
///
/// # Panics
///
/// A panic in a key's `Hash` or `Eq`, in a `Drop`, in the listener or in a closure reaches the
/// caller and leaves the cache consistent.
pub struct Cache<K, V, S = RandomState> {
    shards: Box<[Shard<K, V>]>,
    hasher: S,
    clock: MonotonicClock,
    ttl: Option<Duration>,
    /// If there are any.
    rules: Option<Box<OwnRules<K, V>>>,
    name: Option<Cow<'static, str>>,
    reap_limit: usize,
    listener: Option<Listener<K, V>>,
    /// A value that was returned by reference but not inserted, since its TTL is zero. It is
    /// dropped by the next call.
    uncached: Option<V>,
    /// Entries in all shards.
    len: usize,
    len_peak: usize,
    /// See [`Stats`].
    loads: u64,
    loads_failed: u64,
    accesses: Accesses,
    load_nanos: u64,
    footprint: Footprint,
}

/// # One key, or several
///
/// O(1) on average a key, besides callers' code and what is freed within the
/// [`reap_limit`](Builder::reap_limit).
///
/// Keys can be looked up in any form that is [`Equivalent`] to them and hashes alike: `&str`
/// for `String`, for example.
impl<K: Hash + Eq, V, S: BuildHasher> Cache<K, V, S> {
    /// Inserts a key-value pair with the builder's TTL. Returns the live value that it
    /// replaces.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// assert_eq!(cache.insert("key", 1), None);
    /// assert_eq!(cache.insert("key", 2), Some(1));
    /// ```
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.upsert(key, value, Ttl::Default).0
    }

    /// Inserts a key-value pair with a TTL of its own. Returns the live value that it
    /// replaces.
    ///
    /// [`Duration::MAX`] means never. With a TTL of zero no call ever returns the new
    /// value, and the listener is told `Expired`; the live value that was there is returned, and
    /// reported as `Replaced`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert_with_ttl("key", 1, Duration::from_secs(60));
    /// assert_eq!(cache.insert_with_ttl("key", 2, Duration::ZERO), Some(1));
    /// assert_eq!(cache.get("key"), None);
    /// ```
    pub fn insert_with_ttl(&mut self, key: K, value: V, ttl: impl Into<Ttl>) -> Option<V> {
        self.upsert(key, value, ttl.into()).0
    }

    /// Inserts a key-value pair with the builder's [TTL](Builder::ttl), unless the key has a live
    /// value.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// assert_eq!(cache.insert_if_absent("key", 1), Ok(()));
    /// assert_eq!(cache.insert_if_absent("key", 2), Err(("key", 2)));
    /// assert_eq!(cache.get("key"), Some(&1));
    /// ```
    ///
    /// # Errors
    ///
    /// Gives key and value back if the key has a live value already. That counts as no use of it.
    #[doc(alias = "try_insert")]
    #[doc(alias = "put_if_absent")]
    pub fn insert_if_absent(&mut self, key: K, value: V) -> Result<(), (K, V)> {
        self.insert_if_absent_with_ttl(key, value, Ttl::Default)
    }

    /// [`insert_if_absent`](Self::insert_if_absent) with a TTL of its own.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut leases = punctual::unsync::Cache::new(10);
    /// let lease = Duration::from_secs(30);
    /// assert!(leases.insert_if_absent_with_ttl("job", "worker 1", lease).is_ok());
    /// assert!(leases.insert_if_absent_with_ttl("job", "worker 2", lease).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// Gives key and value back if the key has a live value already. That counts as no use of it.
    pub fn insert_if_absent_with_ttl(
        &mut self,
        key: K,
        value: V,
        ttl: impl Into<Ttl>,
    ) -> Result<(), (K, V)> {
        self.insert_absent(key, value, ttl.into())
    }

    /// Returns a reference to the value for `key`. Counts as a use of the entry.
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

    /// Returns a mutable reference to the value for `key`. The TTL stays, and so does the weight,
    /// whatever becomes of the value: with a [`weigher`](Builder::weigher), use
    /// [`update`](Self::update). Counts as a use of the entry.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// *cache.get_mut("key").unwrap() += 1;
    /// assert_eq!(cache.get("key"), Some(&2));
    /// ```
    #[inline]
    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.get_entry(key).map(|(_, value)| value)
    }

    /// Calls `read` with a reference to the value for `key`: [`get`](Self::get) for code that
    /// works with both caches.
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

    /// Calls `update` with a mutable reference to the value for `key`:
    /// [`get_mut`](Self::get_mut) for code that works with both caches.
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
        self.update_entry(key, update)
    }

    /// Shows the live value of a key, or `None`, to a closure, and does what it decides. Returns what
    /// the decision carries.
    ///
    /// The closure may change the value in place: with [`Compute::Keep`], the changes and the TTL
    /// stay. Finding a value counts as a hit and as a use, finding none as a miss.
    ///
    /// ```
    /// use punctual::{Compute, unsync::Cache};
    ///
    /// // A counter that starts anew once its TTL has passed.
    /// let mut requests: Cache<u32, u32> = Cache::new(1_000);
    /// let mut count = |client| {
    ///     requests.compute(client, |live| match live {
    ///         Some(count) => {
    ///             *count += 1;
    ///             Compute::Keep(*count)
    ///         }
    ///         None => Compute::Set(1, 1),
    ///     })
    /// };
    /// assert_eq!((count(7), count(7), count(8)), (1, 2, 1));
    /// ```
    ///
    /// # Panics
    ///
    /// If the closure does. The entry keeps what was changed in place.
    #[doc(alias = "entry")]
    #[doc(alias = "and_compute_with")]
    #[doc(alias = "upsert")]
    pub fn compute<R>(
        &mut self,
        key: K,
        decide: impl FnOnce(Option<&mut V>) -> Compute<V, R>,
    ) -> R {
        self.compute_entry(key, decide)
    }

    /// Removes a key. Returns its value if it was present and not expired.
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

    /// Removes a key if its live value fulfils a condition. Returns the value if it was removed.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.remove_if("key", |&value| value == 2), None);
    /// assert_eq!(cache.remove_if("key", |&value| value == 1), Some(1));
    /// ```
    pub fn remove_if<Q>(&mut self, key: &Q, condition: impl FnOnce(&V) -> bool) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.remove_key_if(key, condition)
    }

    /// Removes a key. Returns the key that the cache held and its value if that was live.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key".to_string(), 1);
    /// assert_eq!(cache.remove_entry("key"), Some(("key".to_string(), 1)));
    /// ```
    pub fn remove_entry<Q>(&mut self, key: &Q) -> Option<(K, V)>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.remove_with_key(key)
    }

    /// Returns a reference to the value for `key` without counting a use or updating the
    /// statistics. Frees nothing.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.peek("key"), Some(&1));
    /// assert_eq!(cache.stats().hits, 0);
    /// ```
    #[must_use]
    pub fn peek<Q>(&self, key: &Q) -> Option<&V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let (shard, id) = self.peek_entry(key, self.clock.peek().tick)?;
        Some(self.shards[shard].value(id))
    }

    /// Returns whether `key` has a live entry, without counting a use. Frees nothing.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert!(cache.contains_key("key"));
    /// ```
    #[must_use]
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.peek(key).is_some()
    }

    /// Returns the time until a live entry expires, by its TTL or idle time, and never more;
    /// [`Duration::MAX`] if it never expires. See
    /// [`punctual::Cache::expires_in`](crate::Cache::expires_in).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert("no TTL", 1);
    /// cache.insert_with_ttl("a minute", 1, Duration::from_secs(60));
    /// assert_eq!(cache.expires_in("no TTL"), Some(Duration::MAX));
    /// assert!(cache.expires_in("a minute").unwrap() <= Duration::from_secs(60));
    /// assert_eq!(cache.expires_in("absent"), None);
    /// ```
    #[must_use]
    pub fn expires_in<Q>(&self, key: &Q) -> Option<Duration>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.time_left(key)
    }

    /// Gives a live entry another TTL ([`Ttl::Default`] is the builder's), from now; zero expires
    /// it now. Returns whether there was a live entry. Counts as no use.
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
    pub fn set_ttl<Q>(&mut self, key: &Q, ttl: impl Into<Ttl>) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let find = |shard: &mut Shard<K, V>, hash: KeyHash, now| {
            shard.find_live(hash.slot_hash(), key, now)
        };
        self.reschedule(key, ttl.into(), find).is_some()
    }

    /// Returns a reference to the value for `key` and gives its entry another TTL, from now:
    /// for sessions that live as long as they are used. Counts as a use.
    ///
    /// A TTL of zero expires the entry now; the value is returned all the same.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut sessions = punctual::unsync::Cache::new(10);
    /// sessions.insert_with_ttl("id", "user", Duration::from_secs(60));
    /// assert_eq!(sessions.get_and_set_ttl("id", Duration::from_secs(600)), Some(&"user"));
    /// assert!(sessions.expires_in("id").unwrap() > Duration::from_secs(60));
    /// ```
    pub fn get_and_set_ttl<Q>(&mut self, key: &Q, ttl: impl Into<Ttl>) -> Option<&V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let time_to_idle = self.time_to_idle();
        let idle_end = self.clock.peek_deadline(time_to_idle);
        let find = |shard: &mut Shard<K, V>, hash, now| {
            let (id, _) = shard.get(hash, key, now)?;
            shard.renew(id, idle_end.tick(), now);
            Some(id)
        };
        let found = self.reschedule(key, ttl.into(), find);
        match self.accesses.count(found)? {
            (_, Some(expired)) => Some(self.lend_uncached(expired)),
            ((shard, id), None) => Some(self.shards[shard].value(id)),
        }
    }

    /// Calls `each` once for every key, in order, with its position in `keys` and a reference
    /// to its value if it has one. Counts as a use of each entry.
    ///
    /// The same as [`read`](Self::read) of one key after the other, and faster where there are
    /// many: up to 1,024 keys at a time are taken from `keys`, then looked up together. O(1)
    /// on average a key. Uses up to 40 KiB of the stack.
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

    /// Inserts many key-value pairs with the builder's TTL. [`extend`](Extend::extend) does
    /// the same.
    ///
    /// The same as [`insert`](Self::insert) of one after the other, but what is replaced is
    /// dropped. It is faster: up to 512 pairs at a time are taken from `entries`, then inserted;
    /// their TTL counts from then on. O(1) on average an entry. Uses up to 40 KiB of the stack.
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
    /// If `entries` or callers' code does. Some of the pairs taken so far are inserted then, and
    /// the others are dropped.
    pub fn insert_many(&mut self, entries: impl IntoIterator<Item = (K, V)>) {
        self.upsert_many(entries, Ttl::Default);
    }

    /// As [`insert_many`](Self::insert_many), with a TTL of their own for all of them. Zero is
    /// as in [`insert_with_ttl`](Self::insert_with_ttl).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert_many_with_ttl((0..5).map(|key| (key, key)), Duration::from_secs(60));
    /// assert!(cache.expires_in(&3).unwrap() <= Duration::from_secs(60));
    /// ```
    ///
    /// # Panics
    ///
    /// As `insert_many`.
    pub fn insert_many_with_ttl(
        &mut self,
        entries: impl IntoIterator<Item = (K, V)>,
        ttl: impl Into<Ttl>,
    ) {
        self.upsert_many(entries, ttl.into());
    }

    /// Returns a reference to the value for `key`; where there is none, inserts the one that
    /// `make` returns, with the builder's TTL.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::<String, i32>::new(10);
    /// assert_eq!(cache.get_or_insert_with("key", || 1), &1);
    /// assert_eq!(cache.get_or_insert_with("key", || 2), &1);
    /// ```
    pub fn get_or_insert_with<Q>(&mut self, key: &Q, make: impl FnOnce() -> V) -> &V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized,
    {
        let Ok(value) = self.load_with(key, || Ok::<_, Infallible>((make(), Ttl::Default)));
        value
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), with a loader that may fail.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::<String, i32>::new(10);
    /// assert!(cache.try_get_or_insert_with("key", || "no number".parse()).is_err());
    /// assert_eq!(cache.try_get_or_insert_with("key", || "1".parse()), Ok(&1));
    /// ```
    ///
    /// # Errors
    ///
    /// What `make` returns; nothing is inserted.
    pub fn try_get_or_insert_with<Q, E>(
        &mut self,
        key: &Q,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<&V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized,
    {
        self.load_with(key, || Ok((make()?, Ttl::Default)))
    }

    /// Returns a reference to the value for `key`; where there is none, inserts the value with
    /// the TTL that `load` returns: a [`Duration`] or a [`Ttl`]. With a TTL of zero the value is
    /// returned and not stored.
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
    /// What `load` returns; nothing is inserted.
    pub fn get_or_load<Q, T, E>(
        &mut self,
        key: &Q,
        load: impl FnOnce() -> Result<(V, T), E>,
    ) -> Result<&V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized,
        T: Into<Ttl>,
    {
        self.load_with(key, || load().map(|(value, ttl)| (value, ttl.into())))
    }
}

/// # The whole cache
impl<K, V, S> Cache<K, V, S> {
    /// Returns the number of entries held, due entries that are not freed yet included. O(1).
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

    /// Returns the number of entries held that are due and not freed yet. O(capacity).
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{ManualClock, unsync::Cache};
    ///
    /// let clock = ManualClock::new();
    /// let mut cache = Cache::builder().capacity(10).clock(clock.clone()).build()?;
    /// cache.insert_with_ttl("key", 1, Duration::from_secs(1));
    /// clock.advance(Duration::from_secs(2));
    /// assert_eq!((cache.len(), cache.due_len()), (1, 1));
    /// # Ok::<(), punctual::BuildError>(())
    /// ```
    #[must_use]
    pub fn due_len(&self) -> usize {
        let now = self.clock.peek().tick;
        let due = |shard: &Shard<K, V>| shard.count_due(0..shard.capacity(), now);
        self.shards.iter().map(due).sum()
    }

    /// Returns whether no entry is held. O(1).
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

    /// Returns the most entries that can be held at once: what was asked for, or up to 3 % more if
    /// there are several shards.
    ///
    /// ```
    /// let cache = punctual::unsync::Cache::<u64, u64>::new(500_000);
    /// assert!((500_000..=515_000).contains(&cache.capacity()));
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shards.len() * self.shards[0].capacity()
    }

    /// Returns the name that the [builder](Builder::name) gave the cache.
    ///
    /// ```
    /// assert_eq!(punctual::unsync::Cache::<u64, u64>::new(10).name(), None);
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the bytes that building the cache has requested from the allocator.
    ///
    /// ```
    /// let cache = punctual::unsync::Cache::<u64, u64>::new(500_000);
    /// assert!(cache.footprint().total() < 24_000_000);
    /// ```
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// Returns what the cache has done since it was built. O(shards).
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
        Stats {
            live_peak: self.len_peak as u64,
            loads: self.loads,
            loads_failed: self.loads_failed,
            load_nanos: self.load_nanos,
            hits: self.accesses.hits,
            misses: self.accesses.misses,
            ..sum
        }
    }

    /// Returns an iterator over the live entries, in no particular order. Frees nothing and counts
    /// as no use. All of it takes O(capacity).
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert('a', 1);
    /// cache.insert('b', 2);
    /// assert_eq!(cache.iter().map(|(_, value)| value).sum::<i32>(), 3);
    /// ```
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter::new(&self.shards, self.clock.peek().tick)
    }

    /// Calls `visit` for each live entry: [`iter`](Self::iter) for code that works with both
    /// caches.
    ///
    /// ```
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert('a', 1);
    /// cache.for_each(|key, value| println!("{key}: {value}"));
    /// ```
    pub fn for_each(&self, mut visit: impl FnMut(&K, &V)) {
        self.iter().for_each(|(key, value)| visit(key, value));
    }

    /// [`for_each`](Self::for_each) that also shows how long each entry has left to live.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut cache = punctual::unsync::Cache::new(10);
    /// cache.insert_with_ttl('a', 1, Duration::from_secs(60));
    /// cache.for_each_entry(|entry| assert!(entry.expires_in() <= Duration::from_secs(60)));
    /// ```
    pub fn for_each_entry(&self, mut visit: impl FnMut(EntryRef<'_, K, V>)) {
        let now = self.clock.peek_for_ttl();
        for shard in &self.shards {
            for id in shard.live_slots(0..shard.capacity(), now.tick) {
                let (key, value) = shard.entry(id);
                let expires_in = self.clock.timebase.ttl_left(shard.deadline_min(id), now);
                let ttl_left = self.clock.timebase.ttl_left(shard.ttl_deadline_min(id), now);
                visit(EntryRef { key, value, expires_in, ttl_left });
            }
        }
    }

    /// Removes every entry for which `keep` returns `false`, and every due entry. O(capacity).
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
        let mut removes = |(key, value): (&K, &V)| !keep(key, value);
        self.remove_where(RemovalCause::Removed, |shard, id| removes(shard.entry(id)));
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

    /// Frees at most `limit` due entries, from all shards. Returns how many; fewer than
    /// `limit` means that no more are due. O(freed + moved within the timing wheel + shards).
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

    /// Returns how long until [`reap`](Self::reap) may have something to free; `None` if no
    /// entry has a deadline. O(shards).
    ///
    /// Never later than the first deadline, and earlier only if entries have to be moved
    /// within the timing wheel before.
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
}

impl<K, V, S> fmt::Debug for Cache<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("name", &self.name())
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
