//! The cache for many threads: the public methods. What they do is in `ops` and `compute` (one
//! key), `batch` (many keys), `load` (loaders), `all_entries` and `reap`.

mod access_counters;
mod all_entries;
mod batch;
mod builder;
mod by_rules;
pub(crate) mod bytes;
mod clock;
mod compute;
mod inner;
pub(crate) mod insert_bytes;
pub(crate) mod load;
#[cfg(debug_assertions)]
mod lock_order;
mod locked_shard;
mod ops;
mod reap;
pub(crate) mod reentrancy;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use equivalent::Equivalent;

pub use builder::Builder;

use crate::entry::compute::Compute;
use crate::entry::entry_ref::EntryRef;
use crate::entry::removal::RemovalCause;
use crate::footprint::Footprint;
use crate::hasher::RandomState;
use crate::shard::Shard;
use crate::shard::key_hash::KeyHash;
use crate::stats::Stats;
use crate::time::tick::Moment;
use crate::time::ttl::Ttl;
use inner::Handle;
use load::error::LoadError;
use load::key::{Borrowed, Owned};
use load::single_flight::IfLeaderFails;
use load::ticket::Lookup;

/// A concurrent cache of fixed memory that frees expired entries on time.
///
/// ```
/// use std::time::Duration;
/// use punctual::Cache;
///
/// let sessions: Cache<String, u64> = Cache::builder()
///     .capacity(10_000)
///     .ttl(Duration::from_secs(30 * 60))
///     .build()?;
///
/// sessions.insert("a4f1".to_owned(), 7);
/// assert_eq!(sessions.get("a4f1"), Some(7));
///
/// let user = sessions.get_or_insert_with("b200", || 8); // one caller loads, others wait
/// assert_eq!(user, 8);
/// # Ok::<(), punctual::BuildError>(())
/// ```
///
/// Once built, it allocates nothing, except for futures that wait for a load, and for
/// [another reaper thread](crate::Reaper::Thread) where a listener does not return. It never holds
/// more than [`capacity`](Self::capacity) entries; when it is full, the
/// [`Eviction`](crate::Eviction) policy chooses which one is evicted.
///
/// `Cache` is a handle: [`clone`](Clone::clone) returns another one to the same cache, at about the
/// cost of an atomic addition. Dropping the last handle (a ticket is one, too) drops every entry
/// before it returns, and calls no listener. The exception is a batch that the reaper is delivering
/// at that moment: it is delivered and dropped as usual.
///
/// # Threads
///
/// It can be sent and shared where keys, values and the hasher can: `Send` and `Sync`. Calls that
/// only look (`get`, `read`, `read_many`, `peek`, `contains_key`, `expires_in`, `for_each`, `len`,
/// `stats`, a loader's hit) share the lock of a shard and do not wait for each other, so callers'
/// code that they run, such as `Clone`, may run in several threads at a time. Calls that change
/// anything, `update` among them, hold it alone, and wait for those that look.
///
/// # Time
///
/// An entry can be read until its TTL has passed. A call that begins one
/// [`resolution`](Builder::resolution) later, plus one step of the system's coarse clock, does not
/// return it, however long the system has kept the reaper or the whole process from the processor.
/// There is one exception: after more than a second of that, each thread's next 32 calls may return
/// what fell due meanwhile.
///
/// Its memory is freed within two resolutions even if no call touches the cache: the
/// [reaper](crate::Reaper::Thread), a thread of the process, does that. There is none with
/// [`Reaper::Manual`](crate::Reaper::Manual), nor in a forked child until it builds a cache.
///
/// A call that inserts or removes frees due entries of its shard besides its own work, at most
/// [`reap_limit`](Builder::reap_limit), in a batch for each key. Lookups (`get`, `read`, `update`,
/// `read_many`, `lookup`, a loader's hit) do so only where there is no reaper. `peek`,
/// `contains_key`, `expires_in` and iteration free nothing.
///
/// # Callers' code
///
/// - The listener and the `Drop` of keys and values run with no lock held and may call the
///   cache.
/// - Keys' `Hash` runs before a lock is taken.
/// - Keys' `Eq`, values' `Clone`, the weigher and `ttl_by` where they look at a value in the cache,
///   and the closures of [`read`](Self::read), [`read_many`](Self::read_many),
///   [`update`](Self::update), [`compute`](Self::compute), [`remove_if`](Self::remove_if),
///   [`retain`](Self::retain), [`for_each`](Self::for_each) and
///   [`for_each_entry`](Self::for_each_entry) run under the lock of one shard, and must not call
///   the cache, which would deadlock. From the closures such a call panics and says so; from `Eq`
///   and `Clone` it panics in debug builds, and may deadlock in release builds.
/// - They may call other caches, nested up to eight deep, if all threads do so in one order. If a
///   thread calls cache B in a closure (or `Eq`, or `Clone`) of cache A, and another one A in one
///   of B, each may hold the lock that the other waits for: they deadlock. So may longer cycles. In
///   debug builds, a call that would close such a cycle panics and says so, even if the other calls
///   were long ago and by the same thread, and even if a lock of yours keeps them apart; in release
///   builds nothing is checked.
/// - A panic in callers' code reaches the caller and leaves the cache consistent; of several in one
///   call, the first does. On the reaper's thread the panic hook reports it and the work goes on.
///
/// # Fork
///
/// A child that is forked without `exec` has its parent's caches, but not its reaper. They
/// keep working; due entries are freed by the calls, until the child builds a cache of its
/// own and so starts a reaper. A key that another thread of the parent was loading is loaded
/// again by the next caller that asks for it in the child. But if such a thread held a lock
/// at the moment of the fork, a call in the child that needs that lock deadlocks: no thread could
/// release it.
pub struct Cache<K, V, S = RandomState> {
    inner: Handle<K, V, S>,
}

impl<K, V, S> Clone for Cache<K, V, S> {
    /// Returns another handle to the same cache.
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
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
    /// let cache = punctual::Cache::new(10);
    /// assert_eq!(cache.insert("key", 1), None);
    /// assert_eq!(cache.insert("key", 2), Some(1));
    /// ```
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        self.inner.insert(key, value, Ttl::Default)
    }

    /// Inserts a key-value pair with a TTL of its own: a [`Duration`], or a [`Ttl`]. Returns the
    /// live value that it replaces.
    ///
    /// [`Duration::MAX`] means never, as [`Ttl::Never`] does. With a TTL of zero no call ever returns the new
    /// value, and the listener is told `Expired`; the live value that was there is returned, and
    /// reported as `Replaced`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let cache = punctual::Cache::new(10);
    /// cache.insert_with_ttl("key", 1, Duration::from_secs(60));
    /// assert_eq!(cache.insert_with_ttl("key", 2, Duration::ZERO), Some(1));
    /// assert_eq!(cache.get("key"), None);
    /// ```
    pub fn insert_with_ttl(&self, key: K, value: V, ttl: impl Into<Ttl>) -> Option<V> {
        self.inner.insert(key, value, ttl.into())
    }

    /// Inserts a key-value pair with the builder's [TTL](Builder::ttl), unless the key has a live
    /// value.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// assert_eq!(cache.insert_if_absent("key", 1), Ok(()));
    /// assert_eq!(cache.insert_if_absent("key", 2), Err(("key", 2)));
    /// assert_eq!(cache.get("key"), Some(1));
    /// ```
    ///
    /// # Errors
    ///
    /// Gives key and value back if the key has a live value already. That counts as no use of it.
    #[doc(alias = "try_insert")]
    #[doc(alias = "put_if_absent")]
    pub fn insert_if_absent(&self, key: K, value: V) -> Result<(), (K, V)> {
        self.inner.insert_if_absent(key, value, Ttl::Default)
    }

    /// [`insert_if_absent`](Self::insert_if_absent) with a TTL of its own.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let leases = punctual::Cache::new(10);
    /// let lease = Duration::from_secs(30);
    /// assert!(leases.insert_if_absent_with_ttl("job", "worker 1", lease).is_ok());
    /// assert!(leases.insert_if_absent_with_ttl("job", "worker 2", lease).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// Gives key and value back if the key has a live value already. That counts as no use of it.
    pub fn insert_if_absent_with_ttl(
        &self,
        key: K,
        value: V,
        ttl: impl Into<Ttl>,
    ) -> Result<(), (K, V)> {
        self.inner.insert_if_absent(key, value, ttl.into())
    }

    /// Returns a clone of the value for `key`. Counts as a use of the entry.
    ///
    /// The clone is made under the shard's lock: wrap what is costly to clone in an [`Arc`](std::sync::Arc),
    /// or use [`read`](Self::read).
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key".to_string(), 1);
    /// assert_eq!(cache.get("key"), Some(1));
    /// ```
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
        V: Clone,
    {
        self.inner.get_with(key, |_, found| found.value.clone())
    }

    /// Calls `read` with a reference to the value for `key`, without cloning it. Returns what
    /// `read` returns. Counts as a use of the entry.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", vec![1, 2, 3]);
    /// assert_eq!(cache.read("key", |numbers| numbers.len()), Some(3));
    /// ```
    ///
    /// # Panics
    ///
    /// If `read` calls the cache; in debug builds also if it calls other caches
    /// [out of order](Self#callers-code).
    pub fn read<Q, R>(&self, key: &Q, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.inner.get_with(key, |inner, found| {
            let _scope = inner.closure_scope();
            read(found.value)
        })
    }

    /// Calls `update` with a mutable reference to the value for `key`. Returns what `update`
    /// returns. The TTL stays. Counts as a use of the entry. The result of a refresh of the key
    /// that is in flight is not stored.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// cache.update("key", |value| *value += 1);
    /// assert_eq!(cache.get("key"), Some(2));
    /// ```
    ///
    /// # Panics
    ///
    /// If `update` calls the cache; in debug builds also if it calls other caches
    /// [out of order](Self#callers-code).
    #[doc(alias = "get_mut")]
    #[doc(alias = "and_upsert_with")]
    pub fn update<Q, R>(&self, key: &Q, update: impl FnOnce(&mut V) -> R) -> Option<R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.inner.update(key, update)
    }

    /// Shows the live value of a key, or `None`, to a closure, and does what it decides, all under
    /// one lock: no other call for the key comes in between. Returns what the decision carries.
    ///
    /// The closure may change the value in place: with [`Compute::Keep`], the changes and the TTL
    /// stay. Finding a value counts as a hit and as a use, finding none as a miss. If it sets or
    /// removes the value, a load of the key that is in flight is not stored; [`Compute::Keep`]
    /// leaves loads alone.
    ///
    /// ```
    /// use punctual::{Cache, Compute};
    ///
    /// // A counter that starts anew once its TTL has passed.
    /// let requests: Cache<u32, u32> = Cache::new(1_000);
    /// let count = |client| {
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
    /// If the closure calls the cache; in debug builds also if it calls other caches
    /// [out of order](Self#callers-code). If the closure panics, the entry stays with what was
    /// changed in place.
    #[doc(alias = "entry")]
    #[doc(alias = "and_compute_with")]
    #[doc(alias = "upsert")]
    pub fn compute<R>(&self, key: K, decide: impl FnOnce(Option<&mut V>) -> Compute<V, R>) -> R {
        self.inner.compute(key, decide)
    }

    /// Removes a key. Returns its value if it was present and not expired. A load of the key that
    /// is in flight goes on, and its value is not stored.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.remove("key"), Some(1));
    /// assert_eq!(cache.remove("key"), None);
    /// ```
    #[doc(alias = "invalidate")]
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.inner.remove(key)
    }

    /// Removes a key if its live value fulfils a condition, under one lock. Returns the value if it
    /// was removed.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.remove_if("key", |&value| value == 2), None);
    /// assert_eq!(cache.remove_if("key", |&value| value == 1), Some(1));
    /// ```
    ///
    /// # Panics
    ///
    /// If the condition calls the cache; in debug builds also if it calls other caches
    /// [out of order](Self#callers-code).
    pub fn remove_if<Q>(&self, key: &Q, condition: impl FnOnce(&V) -> bool) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.inner.remove_if(key, condition)
    }

    /// Removes a key. Returns the key that the cache held and its value if that was live.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key".to_string(), 1);
    /// assert_eq!(cache.remove_entry("key"), Some(("key".to_string(), 1)));
    /// ```
    pub fn remove_entry<Q>(&self, key: &Q) -> Option<(K, V)>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.inner.remove_entry(key)
    }

    /// Returns a clone of the value for `key` without counting a use or updating the
    /// statistics. Frees nothing.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.peek("key"), Some(1));
    /// assert_eq!(cache.stats().hits, 0);
    /// ```
    #[must_use]
    pub fn peek<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
        V: Clone,
    {
        self.inner.peek_with(key, |state, id| state.shard.value(id).clone())
    }

    /// Returns whether `key` has a live entry, without counting a use. Frees nothing.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert!(cache.contains_key("key"));
    /// ```
    #[must_use]
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.inner.peek_with(key, |_, _| ()).is_some()
    }

    /// Returns the time until a live entry expires, by its TTL or [idle
    /// time](Builder::time_to_idle); [`Duration::MAX`] if it never does. Counts as no use, and
    /// frees nothing.
    ///
    /// It is never too long, so it may be the TTL of a copy (with an idle time, use
    /// [`EntryRef::ttl_left`]). It is too short by at most one resolution; by 9 s for TTLs above
    /// nine years, or 1.1 ms above nine hours at the finest resolution. Zero: it expires within a
    /// resolution.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let cache = punctual::Cache::new(10);
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
        self.inner.expires_in(key)
    }

    /// Gives a live entry another TTL ([`Ttl::Default`] is the builder's), from now; zero expires
    /// it now. Returns whether there was a live entry. Counts as no use.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert!(cache.set_ttl("key", Duration::from_secs(60)));
    /// assert!(cache.set_ttl("key", Duration::ZERO));
    /// assert!(!cache.set_ttl("key", Duration::from_secs(60)));
    /// ```
    #[doc(alias = "touch")]
    pub fn set_ttl<Q>(&self, key: &Q, ttl: impl Into<Ttl>) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let find = |shard: &mut Shard<K, V>, hash: KeyHash, now: Moment| {
            Some((shard.find_live(hash.slot_hash(), key, now.tick)?, ()))
        };
        self.inner.set_ttl(key, ttl.into(), find).is_some()
    }

    /// Returns a clone of the value for `key` and gives its entry another TTL, from now: for
    /// sessions that live as long as they are used. Counts as a use.
    ///
    /// A TTL of zero expires the entry now; the value is returned all the same.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let sessions = punctual::Cache::new(10);
    /// sessions.insert_with_ttl("id", "user", Duration::from_secs(60));
    /// assert_eq!(sessions.get_and_set_ttl("id", Duration::from_secs(600)), Some("user"));
    /// assert!(sessions.expires_in("id").unwrap() > Duration::from_secs(60));
    /// ```
    pub fn get_and_set_ttl<Q>(&self, key: &Q, ttl: impl Into<Ttl>) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
        V: Clone,
    {
        self.inner.set_ttl(key, ttl.into(), |shard, hash, now| {
            let found = self.inner.accesses.count(shard.get(hash, key, now.tick));
            let (id, value) = found.map(|(id, value)| (id, value.clone()))?;
            if self.inner.rules.is_some() {
                self.inner.renew(shard, id, now);
            }
            Some((id, value))
        })
    }

    /// Calls `each` once for every key, with its position in `keys` and a reference to its
    /// value if it has one. Counts as a use of each entry.
    ///
    /// The same as [`read`](Self::read) of one key after the other, but the order is not that
    /// of `keys`: go by the position. It is faster where there are several keys for each
    /// shard. Up to 1,024 keys at a time are taken from `keys`, and those of one shard are
    /// looked up together. Its lock is held until `each` has returned for all of these: what
    /// expires meanwhile may still be shown.
    ///
    /// O(1) on average a key. Uses up to 40 KiB of the stack.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("a", 1);
    /// cache.insert("c", 3);
    /// let mut values = [None; 3];
    /// cache.read_many(["a", "b", "c"], |position, value| values[position] = value.copied());
    /// assert_eq!(values, [Some(1), None, Some(3)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If `each` calls the cache, which the iterator may; in debug builds also if it calls other
    /// caches [out of order](Self#callers-code).
    #[doc(alias = "get_many")]
    pub fn read_many<'a, Q, I>(&self, keys: I, each: impl FnMut(usize, Option<&V>))
    where
        I: IntoIterator<Item = &'a Q>,
        Q: Hash + Equivalent<K> + ?Sized + 'a,
    {
        self.inner.read_many(keys, each);
    }

    /// Inserts many key-value pairs with the builder's TTL. [`extend`](Extend::extend) does
    /// the same.
    ///
    /// The same as [`insert`](Self::insert) of one after the other (of equal keys the last one
    /// stays), but what is replaced is dropped before the call returns. It is faster where there
    /// are several pairs for each shard. Up to 512 pairs at a time are taken from `entries`, then
    /// inserted shard by shard; their TTL counts from then on, and no other call sees them before.
    /// From an iterator that blocks, such as a channel's, `insert` each.
    ///
    /// O(1) on average an entry. Uses up to 40 KiB of the stack.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert_many([("a", 1), ("b", 2), ("a", 3)]);
    /// assert_eq!(cache.get("a"), Some(3));
    /// assert_eq!(cache.get("b"), Some(2));
    /// ```
    ///
    /// # Panics
    ///
    /// If `entries` or [callers' code](Self#callers-code) does. Some of the pairs taken so far are
    /// inserted then, and the others are dropped.
    pub fn insert_many(&self, entries: impl IntoIterator<Item = (K, V)>) {
        self.inner.insert_many(entries, Ttl::Default);
    }

    /// As [`insert_many`](Self::insert_many), with a TTL of their own for all of them. Zero is
    /// as in [`insert_with_ttl`](Self::insert_with_ttl).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let cache = punctual::Cache::new(10);
    /// cache.insert_many_with_ttl((0..5).map(|key| (key, key)), Duration::from_secs(60));
    /// assert!(cache.expires_in(&3).unwrap() <= Duration::from_secs(60));
    /// ```
    ///
    /// # Panics
    ///
    /// As `insert_many`.
    pub fn insert_many_with_ttl(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
        ttl: impl Into<Ttl>,
    ) {
        self.inner.insert_many(entries, ttl.into());
    }
}

/// # Loaders
///
/// Where a key has no value, one caller runs its loader (single flight, which prevents a cache
/// stampede), and others that ask for the same key through these methods wait for it; callers
/// of other keys go on. A loader runs with no lock held and may call the cache for other keys;
/// asking for its own key panics. Loaders of different threads that ask for each other's keys
/// deadlock.
///
/// If the load fails or panics, those that wait for it are told [`LoadError::LeaderFailed`] at
/// once, and their own loaders do not run: a backend that times out keeps no caller waiting for
/// longer than one load. Those that wait in [`get_or_insert_with`](Self::get_or_insert_with), which
/// cannot fail, load the key instead, one of them for all. If the loader returns a TTL of zero, or
/// its value has left the cache before they look, all that waited load at the same time, each for
/// itself. If a future that loads is dropped before it is done, or the key is set or removed
/// meanwhile, one of those that wait loads again, unless there is a value now. (If a key is written
/// during every load, its callers load it one after the other.)
///
/// An error is not cached: the next caller loads again. To spare a backend that fails fast, return
/// `Ok` with a value that says so and a short TTL (negative caching).
///
/// What is asked for becomes a key (by [`ToOwned`], then [`Into`]) only when a value is stored:
/// a `&str` serves keys of type `String`, `Box<str>` and `Arc<str>`.
///
/// A load in flight takes no slot and evicts nothing. If its key is set, removed or cleared
/// meanwhile, its value is returned to its own caller and not stored: it is overruled. As many keys
/// as [`concurrent_loads`](Builder::concurrent_loads) may be loading at once. Beyond that a load
/// runs unshared: nobody waits for it, and its value is stored unless its key was set or removed
/// meanwhile, or may have been.
///
/// A load is identified by its key's 64-bit hash, since a key is made only when a value is stored.
/// So callers of two keys with the same hash wait for each other and share a failure; otherwise
/// each key is loaded. A loader that asks for another key with the same hash panics, as it does for
/// its own. With a `Hash` that leaves nothing out and the default hasher, that happens to one pair
/// of keys in 2<sup>64</sup>.
///
/// In a forked child no caller waits for the parent's loads, and they store nothing there.
impl<K: Hash + Eq, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// Returns a clone of the value for `key`. If there is none, inserts the one that `make`
    /// returns, with the builder's TTL.
    ///
    /// ```
    /// let cache = punctual::Cache::<String, i32>::new(10);
    /// assert_eq!(cache.get_or_insert_with("key", || 1), 1);
    /// assert_eq!(cache.get_or_insert_with("key", || 2), 1);
    /// ```
    ///
    /// # Panics
    ///
    /// If `make` asks for the same key. A panic in `make` inserts nothing.
    #[doc(alias = "get_with")]
    #[doc(alias = "single flight")]
    #[doc(alias = "stampede")]
    pub fn get_or_insert_with<Q>(&self, key: &Q, make: impl FnOnce() -> V) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized,
    {
        let load = || Ok::<_, Infallible>((make(), Ttl::Default));
        infallible(self.inner.load_with(Borrowed(key), IfLeaderFails::TakeOver, load))
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), with a loader that may fail.
    ///
    /// ```
    /// use punctual::LoadError;
    ///
    /// let cache = punctual::Cache::<String, i32>::new(10);
    /// let failed = cache.try_get_or_insert_with("key", || Err("timeout"));
    /// assert_eq!(failed, Err(LoadError::Failed("timeout")));
    /// assert_eq!(cache.try_get_or_insert_with("key", || Ok::<_, &str>(1)), Ok(1));
    /// ```
    ///
    /// # Errors
    ///
    /// [`LoadError::Failed`] with what `make` returns; [`LoadError::LeaderFailed`] if this
    /// call waited for another caller's load, and that failed. Nothing is inserted.
    ///
    /// # Panics
    ///
    /// If `make` asks for the same key.
    #[doc(alias = "try_get_with")]
    pub fn try_get_or_insert_with<Q, E>(
        &self,
        key: &Q,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, LoadError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized,
    {
        let load = || Ok((make()?, Ttl::Default));
        self.inner.load_with(Borrowed(key), IfLeaderFails::Fail, load)
    }

    /// Returns a clone of the value for `key`. If there is none, inserts the value with the TTL
    /// that `load` returns: a [`Duration`] or a [`Ttl`]. With a TTL of zero the value is returned
    /// and not stored.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::LoadError;
    ///
    /// let cache = punctual::Cache::<String, [u8; 4]>::new(10);
    /// let address = cache.get_or_load("localhost", || {
    ///     Ok::<_, std::io::Error>(([127, 0, 0, 1], Duration::from_secs(300)))
    /// })?;
    /// assert_eq!(address, [127, 0, 0, 1]);
    /// # Ok::<(), LoadError<std::io::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`try_get_or_insert_with`](Self::try_get_or_insert_with).
    ///
    /// # Panics
    ///
    /// If `load` asks for the same key.
    pub fn get_or_load<Q, T, E>(
        &self,
        key: &Q,
        load: impl FnOnce() -> Result<(V, T), E>,
    ) -> Result<V, LoadError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized,
        T: Into<Ttl>,
    {
        let load = || load().map(|(value, ttl)| (value, ttl.into()));
        self.inner.load_with(Borrowed(key), IfLeaderFails::Fail, load)
    }

    /// As [`get_or_load`](Self::get_or_load), for a key that the caller owns, or that cannot be
    /// made from a borrowed form. If nothing is stored, the key is dropped.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{Cache, LoadError};
    ///
    /// #[derive(PartialEq, Eq, Hash)] // not `Clone`
    /// struct Id(u64);
    ///
    /// let cache = Cache::<Id, String>::new(10);
    /// let load = || Ok::<_, std::io::Error>(("Ada".to_owned(), Duration::from_secs(60)));
    /// assert_eq!(cache.get_or_load_owned(Id(7), load)?, "Ada");
    /// # Ok::<(), LoadError<std::io::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`try_get_or_insert_with`](Self::try_get_or_insert_with).
    ///
    /// # Panics
    ///
    /// If `load` asks for the same key.
    pub fn get_or_load_owned<T, E>(
        &self,
        key: K,
        load: impl FnOnce() -> Result<(V, T), E>,
    ) -> Result<V, LoadError<E>>
    where
        T: Into<Ttl>,
    {
        let load = || load().map(|(value, ttl)| (value, ttl.into()));
        self.inner.load_with(Owned::new(key), IfLeaderFails::Fail, load)
    }
}

/// # Loads without a closure
///
/// What the loaders are built on: one caller gets a ticket and brings the value, from another thread or
/// task if need be; the other callers of that key wait, or do something else meanwhile.
///
/// They share their loads with the loaders above. A ticket belongs to no thread: a caller that holds
/// one and waits for its key deadlocks.
impl<K, V, S> Cache<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// Looks up `key` and, if there is no live value or its TTL ends in less than
    /// `refresh_before`, gives one caller the ticket to load it. Counts as a use.
    ///
    /// While one caller refreshes a value, the others get it as a hit until its TTL has passed;
    /// nothing is ever returned late. For stale-while-revalidate, give entries a TTL of the whole
    /// time that they may be served, and refresh before that. Nothing is refreshed if
    /// `refresh_before` is zero, or if there is no [room](Builder::concurrent_loads) for the load.
    ///
    /// Without a reaper, it frees what is due first, within the
    /// [`reap_limit`](Builder::reap_limit). Reads the precise clock, which [`get`](Self::get) need not. O(1) on average.
    ///
    /// ```
    /// use std::thread;
    /// use std::time::Duration;
    /// use punctual::{Cache, LoadEnd, LoadTicket, Lookup};
    ///
    /// const TTL: Duration = Duration::from_secs(60);
    /// const REFRESH_BEFORE: Duration = Duration::from_secs(20);
    ///
    /// /// Asks a database.
    /// fn query(id: u64) -> Option<String> {
    ///     Some(format!("user {id}"))
    /// }
    ///
    /// fn load(ticket: LoadTicket<u64, String>) -> Option<String> {
    ///     let Some(user) = query(*ticket.key()) else {
    ///         ticket.fail(); // those that wait are told
    ///         return None;
    ///     };
    ///     ticket.store(user.clone(), TTL);
    ///     Some(user)
    /// }
    ///
    /// fn user(users: &Cache<u64, String>, id: u64) -> Option<String> {
    ///     loop {
    ///         match users.lookup(&id, REFRESH_BEFORE) {
    ///             Lookup::Hit(user) => return Some(user),
    ///             Lookup::Refresh(user, ticket) => {
    ///                 thread::spawn(|| load(ticket));
    ///                 return Some(user); // the one that is still good
    ///             }
    ///             Lookup::Miss(ticket) => return load(ticket),
    ///             Lookup::Loading(load) => {
    ///                 if load.wait(Duration::MAX) == LoadEnd::Failed {
    ///                     return None; // do not queue up to fail, too
    ///                 } // else look again
    ///             }
    ///         }
    ///     }
    /// }
    ///
    /// assert_eq!(user(&Cache::new(10), 7).unwrap(), "user 7");
    /// ```
    #[doc(alias = "refresh ahead")]
    #[doc(alias = "stale-while-revalidate")]
    #[doc(alias = "get_value_or_guard")]
    pub fn lookup<Q>(&self, key: &Q, refresh_before: Duration) -> Lookup<K, V, S>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized,
    {
        self.inner.lookup(Borrowed(key), refresh_before)
    }

    /// As [`lookup`](Self::lookup), for a key that the caller owns, or that cannot be made from a
    /// borrowed form. Without a ticket, the key is dropped.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{Cache, Lookup};
    ///
    /// #[derive(PartialEq, Eq, Hash)] // not `Clone`
    /// struct Id(u64);
    ///
    /// let cache = Cache::<Id, String>::new(10);
    /// let looked_up = cache.lookup_owned(Id(7), Duration::ZERO);
    /// assert!(matches!(looked_up, Lookup::Miss(ticket) if ticket.key().0 == 7));
    /// ```
    pub fn lookup_owned(&self, key: K, refresh_before: Duration) -> Lookup<K, V, S> {
        self.inner.lookup(Owned::new(key), refresh_before)
    }
}

/// # Loaders for async code
///
/// The same as those above, with a loader that returns a future, for any async runtime.
/// Futures and threads that ask for the same key wait for one load.
///
/// Set a time-out within the loader: then it is an error, which is shared. A time-out around these
/// methods abandons the load, and one of those that wait begins it anew.
///
/// A future that waits for a load may allocate: wakers are kept in a list.
///
/// A loader that awaits its own key deadlocks: it looks like any other task. So does a thread that
/// blocks in `get_or_load` on a load that only this thread can poll.
#[cfg(feature = "async")]
impl<K: Hash + Eq, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// As [`get_or_insert_with`](Self::get_or_insert_with), with a future.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let cache = punctual::Cache::<String, u16>::new(10);
    /// assert_eq!(cache.get_or_insert_with_async("https", || async { 443 }).await, 443);
    /// # });
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub async fn get_or_insert_with_async<Q, F>(&self, key: &Q, make: impl FnOnce() -> F) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized,
        F: Future<Output = V>,
    {
        let load = || async { Ok::<_, Infallible>((make().await, Ttl::Default)) };
        infallible(self.inner.load_async(Borrowed(key), IfLeaderFails::TakeOver, load).await)
    }

    /// As [`try_get_or_insert_with`](Self::try_get_or_insert_with), with a future.
    ///
    /// ```
    /// use punctual::LoadError;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let cache = punctual::Cache::<String, u16>::new(10);
    /// let failed = cache.try_get_or_insert_with_async("https", || async { Err("timeout") }).await;
    /// assert_eq!(failed, Err(LoadError::Failed("timeout")));
    /// # });
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`try_get_or_insert_with`](Self::try_get_or_insert_with).
    pub async fn try_get_or_insert_with_async<Q, E, F>(
        &self,
        key: &Q,
        make: impl FnOnce() -> F,
    ) -> Result<V, LoadError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized,
        F: Future<Output = Result<V, E>>,
    {
        let load = || async { Ok((make().await?, Ttl::Default)) };
        self.inner.load_async(Borrowed(key), IfLeaderFails::Fail, load).await
    }

    /// As [`get_or_load`](Self::get_or_load), with a future.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::LoadError;
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let cache = punctual::Cache::<String, u16>::new(10);
    /// let port = cache
    ///     .get_or_load_async("https", || async {
    ///         Ok::<_, std::io::Error>((443, Duration::from_secs(60)))
    ///     })
    ///     .await?;
    /// assert_eq!(port, 443);
    /// # Ok::<_, LoadError<std::io::Error>>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn get_or_load_async<Q, T, E, F>(
        &self,
        key: &Q,
        load: impl FnOnce() -> F,
    ) -> Result<V, LoadError<E>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized,
        T: Into<Ttl>,
        F: Future<Output = Result<(V, T), E>>,
    {
        let load = || async { load().await.map(|(value, ttl)| (value, ttl.into())) };
        self.inner.load_async(Borrowed(key), IfLeaderFails::Fail, load).await
    }

    /// As [`get_or_load_owned`](Self::get_or_load_owned), with a future.
    ///
    /// ```
    /// use punctual::{LoadError, Ttl};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let cache = punctual::Cache::<String, u16>::new(10);
    /// let load = || async { Ok::<_, std::io::Error>((443, Ttl::Never)) };
    /// assert_eq!(cache.get_or_load_owned_async("https".to_owned(), load).await?, 443);
    /// # Ok::<_, LoadError<std::io::Error>>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn get_or_load_owned_async<T, E, F>(
        &self,
        key: K,
        load: impl FnOnce() -> F,
    ) -> Result<V, LoadError<E>>
    where
        T: Into<Ttl>,
        F: Future<Output = Result<(V, T), E>>,
    {
        let load = || async { load().await.map(|(value, ttl)| (value, ttl.into())) };
        self.inner.load_async(Owned::new(key), IfLeaderFails::Fail, load).await
    }
}

/// Returns the value of a loader that cannot fail, and takes over where another one did.
fn infallible<V>(loaded: Result<V, LoadError<Infallible>>) -> V {
    loaded.unwrap_or_else(|_| unreachable!("the load was taken over"))
}

/// # The whole cache
impl<K, V, S> Cache<K, V, S> {
    /// Returns the number of entries held, due entries that are not freed yet included.
    /// O(shards).
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.len(), 1);
    /// ```
    #[must_use]
    #[doc(alias = "entry_count")]
    pub fn len(&self) -> usize {
        self.inner.begin_call();
        self.inner.len()
    }

    /// Returns the number of entries held that are due and not freed yet. Without a reaper thread
    /// they wait for calls; with it, more than a few mean that the thread is not scheduled, or that
    /// a listener does not return. O(capacity).
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{Cache, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// let cache = Cache::builder().capacity(10).clock(clock.clone()).build()?;
    /// cache.insert_with_ttl("key", 1, Duration::from_secs(1));
    /// clock.advance(Duration::from_secs(2));
    /// assert_eq!((cache.len(), cache.due_len()), (1, 1));
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
    /// let cache = punctual::Cache::new(10);
    /// assert!(cache.is_empty());
    /// cache.insert("key", 1);
    /// assert!(!cache.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the most entries that can be held at once: what was asked for, or up to 3 %
    /// more if there are several shards; on more than four processors, 15 %.
    ///
    /// ```
    /// let cache = punctual::Cache::<u64, u64>::new(500_000);
    /// assert!((500_000..=575_000).contains(&cache.capacity()));
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.capacity
    }

    /// Returns the name that the [builder](Builder::name) gave the cache.
    ///
    /// ```
    /// assert_eq!(punctual::Cache::<u64, u64>::new(10).name(), None);
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.inner.name.as_deref()
    }

    /// Returns the bytes that building the cache has requested from the allocator.
    ///
    /// ```
    /// let cache = punctual::Cache::<u64, u64>::new(500_000);
    /// assert!(cache.footprint().total() < 24_000_000);
    /// ```
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        self.inner.footprint
    }

    /// Returns what the cache has done since it was built. O(shards).
    ///
    /// The shards are read one after the other, so under concurrent calls the figures are of
    /// slightly different moments. `live_peak` is the sum of the shards' own peaks: at least the
    /// peak of the whole, and usually a few per cent more.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// cache.get("key");
    /// assert_eq!(cache.stats().hits, 1);
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.begin_call();
        self.inner.stats()
    }

    /// Calls `visit` for each live entry, in no particular order. Frees nothing and counts as no
    /// use. O(capacity).
    ///
    /// At most 64 slots are visited at a time under their shard's lock. An entry that stays
    /// all the while is visited once; one that is inserted or removed meanwhile may be
    /// missed, and one that is removed and inserted again may be visited twice.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert('a', 1);
    /// cache.insert('b', 2);
    /// let mut sum = 0;
    /// cache.for_each(|_, value| sum += value);
    /// assert_eq!(sum, 3);
    /// ```
    ///
    /// # Panics
    ///
    /// If `visit` calls the cache; in debug builds also if it calls other caches
    /// [out of order](Self#callers-code).
    #[doc(alias = "iter")]
    pub fn for_each(&self, mut visit: impl FnMut(&K, &V)) {
        self.inner.begin_call();
        self.inner.for_each_entry(|entry| visit(entry.key, entry.value));
    }

    /// Calls `visit` for each live entry, as [`for_each`](Self::for_each) does, and also shows how
    /// long it has left to live.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let cache = punctual::Cache::new(10);
    /// cache.insert_with_ttl('a', 1, Duration::from_secs(60));
    /// let mut snapshot = Vec::new();
    /// cache.for_each_entry(|entry| {
    ///     snapshot.push((*entry.key(), *entry.value(), entry.ttl_left()));
    /// });
    ///
    /// let restored = punctual::Cache::new(10);
    /// for (key, value, ttl) in snapshot {
    ///     restored.insert_with_ttl(key, value, ttl);
    /// }
    /// assert_eq!(restored.get(&'a'), Some(1));
    /// ```
    ///
    /// # Panics
    ///
    /// If `visit` calls the cache; in debug builds also if it calls other caches
    /// [out of order](Self#callers-code).
    pub fn for_each_entry(&self, visit: impl FnMut(EntryRef<'_, K, V>)) {
        self.inner.begin_call();
        self.inner.for_each_entry(visit);
    }

    /// Removes every entry for which `keep` returns `false`, and every due entry. Visits them as
    /// [`for_each`](Self::for_each) does, in O(capacity); the listener and `Drop` run with no lock
    /// held.
    ///
    /// Loads of the removed keys that are in flight are not stored (nor, for one removed key in
    /// 2<sup>24</sup>, a load of another key). Loads of keys without a value go on:
    /// [`remove`](Self::remove) and [`clear`](Self::clear) overrule those, too.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// for number in 0..10 {
    ///     cache.insert(number, ());
    /// }
    /// cache.retain(|number, ()| number % 2 == 0);
    /// assert_eq!(cache.len(), 5);
    /// ```
    ///
    /// # Panics
    ///
    /// If `keep` calls the cache; in debug builds also if it calls other caches
    /// [out of order](Self#callers-code).
    #[doc(alias = "invalidate_entries_if")]
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.inner.begin_call();
        let mut removes = |(key, value): (&K, &V)| !keep(key, value);
        self.inner.remove_where(RemovalCause::Removed, |shard, id| removes(shard.entry(id)));
    }

    /// Removes every entry, at most 64 slots at a time; what is inserted meanwhile by other threads
    /// may stay. Loads in flight are not stored. O(capacity).
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// cache.clear();
    /// assert!(cache.is_empty());
    /// ```
    #[doc(alias = "invalidate_all")]
    pub fn clear(&self) {
        self.inner.begin_call();
        self.inner.remove_where(RemovalCause::Cleared, |_, _| true);
    }

    /// Frees at most `limit` due entries, from all shards. Returns how many; fewer than
    /// `limit` means that no more were due.
    ///
    /// O(freed + moved within the timing wheel + shards), a few entries at a time under each
    /// lock. Not needed where the reaper's thread serves the cache (in a forked child it does
    /// not).
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{Cache, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// let cache = Cache::builder()
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
    #[doc(alias = "run_pending_tasks")]
    pub fn reap(&self, limit: usize) -> usize {
        self.inner.begin_call();
        self.inner.reap(limit)
    }

    /// Returns how long until [`reap`](Self::reap) may have something to free; `None` if no
    /// entry has a deadline. O(shards).
    ///
    /// Never later than the first deadline, and earlier only if entries have to be moved
    /// within the timing wheel before. For event loops, with
    /// [`Reaper::Manual`](crate::Reaper::Manual).
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::Cache;
    ///
    /// let cache = Cache::new(10);
    /// assert_eq!(cache.next_expiry(), None);
    /// cache.insert_with_ttl("key", "value", Duration::from_secs(60));
    /// assert!(cache.next_expiry().unwrap() <= Duration::from_secs(61));
    /// ```
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        self.inner.begin_call();
        self.inner.next_expiry()
    }
}

impl<K, V, S> fmt::Debug for Cache<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing that needs a lock: it may be printed from anywhere.
        f.debug_struct("Cache")
            .field("name", &self.name())
            .field("capacity", &self.capacity())
            .field("ttl", &self.inner.ttl)
            .field("clock", &self.inner.source)
            .field("reaper", &self.inner.reaper_mode())
            .field("handles", &self.inner.count())
            .finish_non_exhaustive()
    }
}
