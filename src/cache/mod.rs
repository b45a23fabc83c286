//! The cache for many threads.

mod all_entries;
mod batch;
mod builder;
mod clock;
mod inner;
pub(crate) mod load;
mod locked_shard;
mod ops;
mod reap;
pub(crate) mod reentrancy;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use equivalent::Equivalent;

pub use builder::Builder;

use crate::footprint::Footprint;
use crate::hasher::RandomState;
use crate::removal::RemovalCause;
use crate::shard::Shard;
use crate::shard::key_hash::KeyHash;
use crate::stats::Stats;
use crate::time::tick::Moment;
use inner::{CloseOnDrop, Inner};

/// A cache of fixed memory whose entries leave on time, for many threads.
///
/// Once built, it allocates nothing. It never holds more than
/// [`capacity`](Self::capacity) entries; when it is full, the
/// [`Eviction`](crate::Eviction) policy says which one leaves.
///
/// `Cache` is a handle: [`clone`](Clone::clone) gives another one to the same
/// cache, for little more than an atomic addition. Dropping the last handle
/// drops every entry before it returns (except the few that the reaper is
/// handing out just then), and tells no listener.
///
/// # Time
///
/// An entry may be read until its TTL has passed, and never after it has passed
/// by one [`resolution`](Builder::resolution) (plus one step of the system's
/// coarse clock): from then on no call finds it. Its memory comes back within
/// two resolutions even if nobody touches the cache: the process's reaper thread
/// sees to that. With [`Reaper::Manual`], and after a `fork`, the calls do: each
/// one that may change a shard first does its own work and then frees what is
/// due there, at most [`reap_limit`](Builder::reap_limit) entries.
///
/// # Callers' code
///
/// - The listener and the `Drop` of keys and values run with no lock held and
///   may call the cache.
/// - Keys' `Hash` runs before a lock is taken.
/// - Keys' `Eq`, values' `Clone` and the closures of [`read`](Self::read),
///   [`update`](Self::update), [`retain`](Self::retain) and
///   [`for_each`](Self::for_each) run under the lock of one shard, and must not
///   call the cache. From the closures that is a panic that says so; from `Eq`
///   and `Clone` it is caught in debug builds, and in release builds may wait
///   for itself for ever.
/// - A panic in any of it reaches the caller and leaves the cache whole. In the
///   reaper's thread the panic hook reports it and the work goes on.
///
/// # Fork
///
/// A child that is forked without `exec` has its parent's caches, but not its
/// reaper. They go on; what is due there is freed by the calls, until the child
/// builds a cache of its own and so starts a reaper anew. A key that another thread
/// of the parent was loading is loaded anew by whoever asks for it in the child. But
/// if such a thread held a lock at the moment of the fork, the child will wait for
/// that for ever: nothing in it could release it.
pub struct Cache<K, V, S = RandomState> {
    inner: Arc<Inner<K, V, S>>,
    /// Dropped with the last handle, which closes the cache.
    close_guard: Arc<CloseOnDrop<K, V, S>>,
}

impl<K, V, S> Clone for Cache<K, V, S> {
    /// Another handle to the same cache.
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), close_guard: Arc::clone(&self.close_guard) }
    }
}

/// What does not depend on the key.
impl<K, V, S> Cache<K, V, S> {
    /// The number of entries held: those that can be found, and those that are
    /// due and not yet freed. O(shards).
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.assert_not_reentrant();
        self.inner.len()
    }

    /// Whether no entry is held. O(shards).
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

    /// The most entries ever held at once: what was asked for, or up to 3 %
    /// more where there are several shards.
    ///
    /// ```
    /// let cache = punctual::Cache::<u64, u64>::new(500_000);
    /// assert!((500_000..=515_000).contains(&cache.capacity()));
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.capacity
    }

    /// The bytes that building the cache has requested.
    ///
    /// ```
    /// let cache = punctual::Cache::<u64, u64>::new(500_000);
    /// assert!(cache.footprint().total() < 24_000_000);
    /// ```
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        self.inner.footprint
    }

    /// What the cache has done so far. O(shards).
    ///
    /// The shards are asked one after the other, so under concurrent calls the
    /// figures are of slightly different moments. `live_peak` is the sum of the
    /// shards' own peaks: at least the peak of the whole, and as a rule a few
    /// hundredths more.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// cache.get("key");
    /// assert_eq!(cache.stats().hits, 1);
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.assert_not_reentrant();
        self.inner.stats()
    }

    /// How long until [`reap`](Self::reap) may have something to free: never
    /// later than the first deadline, and earlier only if entries have to be
    /// moved within the timing wheel before. `None` if no entry has a deadline.
    /// O(shards). For event loops, with [`Reaper::Manual`].
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
        self.inner.assert_not_reentrant();
        self.inner.next_expiry()
    }

    /// Frees at most `limit` due entries, from all shards, and returns how many;
    /// fewer than `limit` means that nothing more was due. O(freed + moved within
    /// the timing wheel + shards), a few entries at a time under each lock.
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
    pub fn reap(&self, limit: usize) -> usize {
        self.inner.assert_not_reentrant();
        self.inner.reap(limit)
    }

    /// Calls `visit` for each live entry, in no particular order. Frees nothing
    /// and counts as no use.
    ///
    /// A few entries are visited at a time under their shard's lock. An entry
    /// that stays all the while is visited once; one that comes or goes
    /// meanwhile may be missed, and one that is taken out and put in again may
    /// be visited twice.
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
    /// If `visit` calls the cache.
    pub fn for_each(&self, visit: impl FnMut(&K, &V)) {
        self.inner.assert_not_reentrant();
        self.inner.for_each(visit);
    }

    /// Removes every entry for which `keep` says no. Entries that are due leave
    /// too, unasked. Goes through the entries as [`for_each`](Self::for_each)
    /// does; the listener and `Drop` run with no lock held.
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
    /// If `keep` calls the cache.
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.inner.assert_not_reentrant();
        self.inner.remove_where(RemovalCause::Removed, |key, value| !keep(key, value));
    }

    /// Removes every entry, a few at a time; what is put in meanwhile by others
    /// may stay. What loaders bring that are at work just now is not stored.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// cache.clear();
    /// assert!(cache.is_empty());
    /// ```
    pub fn clear(&self) {
        self.inner.assert_not_reentrant();
        self.inner.remove_where(RemovalCause::Cleared, |_, _| true);
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
    /// let cache = punctual::Cache::new(10);
    /// assert_eq!(cache.insert("key", 1), None);
    /// assert_eq!(cache.insert("key", 2), Some(1));
    /// ```
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        self.inner.upsert(key, value, self.inner.ttl)
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
    /// let cache = punctual::Cache::new(10);
    /// cache.insert_with_ttl("key", 1, Duration::from_secs(60));
    /// assert_eq!(cache.insert_with_ttl("key", 2, Duration::ZERO), Some(1));
    /// assert_eq!(cache.get("key"), None);
    /// ```
    pub fn insert_with_ttl(&self, key: K, value: V, ttl: Duration) -> Option<V> {
        self.inner.upsert(key, value, Some(ttl))
    }

    /// Puts many entries in, with the builder's TTL.
    ///
    /// The same as to [`insert`](Self::insert) them one after the other (of equal keys
    /// the last one stays), but what is replaced is dropped before the call returns,
    /// and faster where they are many: some hundred entries at a time are taken from
    /// `entries`, then put in, together where they belong into the same shard. Their
    /// TTL counts from between the two. From a source that waits, such as a channel,
    /// `insert` each: until then nobody sees what was taken. O(1) on average an entry. Up to 40 KiB lie on
    /// the stack.
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
    /// If `entries` does, or callers' code as in `insert`: then some of the entries
    /// taken from it so far are in, and the others are dropped.
    pub fn insert_many(&self, entries: impl IntoIterator<Item = (K, V)>) {
        self.inner.insert_many(entries, self.inner.ttl);
    }

    /// As [`insert_many`](Self::insert_many), with a TTL of their own for all of them.
    /// Zero is as in [`insert_with_ttl`](Self::insert_with_ttl).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let cache = punctual::Cache::new(10);
    /// cache.insert_many_with_ttl((0..5).map(|key| (key, key)), Duration::from_secs(60));
    /// assert!(cache.expires_in(&3).unwrap() <= Duration::from_secs(61));
    /// ```
    ///
    /// # Panics
    ///
    /// As `insert_many`.
    pub fn insert_many_with_ttl(&self, entries: impl IntoIterator<Item = (K, V)>, ttl: Duration) {
        self.inner.insert_many(entries, Some(ttl));
    }

    /// A clone of the value of a key. Counts as a use of the entry.
    ///
    /// The clone is made under the shard's lock: wrap what is costly to clone in
    /// an [`Arc`], or use [`read`](Self::read).
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
        self.inner.get_with(key, |_, value| value.clone())
    }

    /// Gives the value of a key to `read`, in place. Counts as a use of the
    /// entry.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", vec![1, 2, 3]);
    /// assert_eq!(cache.read("key", |numbers| numbers.len()), Some(3));
    /// ```
    ///
    /// # Panics
    ///
    /// If `read` calls the cache.
    pub fn read<Q, R>(&self, key: &Q, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.inner.get_with(key, |inner, value| {
            let _scope = inner.closure_scope();
            read(value)
        })
    }

    /// Gives `each` the values of many keys in place, once for each key: its position
    /// among `keys`, and the value if there is one. Counts as a use of each entry.
    ///
    /// Not in the order of `keys`, though it may look so for few of them: go by the
    /// position. Else the same as to [`read`](Self::read) them one after the other, and
    /// faster where they are many for the number of shards, a few dozen as a rule:
    /// up to some thousand keys at a time are taken from `keys` and looked up together
    /// where they belong into the same shard, whose lock is held until `each` has
    /// returned for all of these: what expires meanwhile may still be shown. Takes time
    /// O(1) on average a key, and up to 40 KiB of the stack.
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
    /// If `each` calls the cache. The iterator may.
    pub fn read_many<'a, Q, I>(&self, keys: I, each: impl FnMut(usize, Option<&V>))
    where
        I: IntoIterator<Item = &'a Q>,
        Q: Hash + Equivalent<K> + ?Sized + 'a,
    {
        self.inner.read_many(keys, each);
    }

    /// Gives the value of a key to `update`, to be changed in place; the TTL
    /// stays. Counts as a use of the entry.
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
    /// If `update` calls the cache.
    pub fn update<Q, R>(&self, key: &Q, update: impl FnOnce(&mut V) -> R) -> Option<R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.inner.get_with(key, |inner, value| {
            let _scope = inner.closure_scope();
            update(value)
        })
    }

    /// A clone of the value of a key, looked at only: no use is counted, nothing
    /// is freed, the statistics stay.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.peek("key"), Some(1));
    /// assert_eq!(cache.stats().hits, 0);
    /// ```
    pub fn peek<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
        V: Clone,
    {
        self.inner.peek_with(key, |_, state, id| state.shard.value(id).clone())
    }

    /// Whether a key has a live entry. No use is counted, nothing is freed.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert!(cache.contains_key("key"));
    /// ```
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.inner.peek_with(key, |_, _, _| ()).is_some()
    }

    /// Takes a live entry out and returns its value. If the key is being loaded
    /// just now, what that brings is not stored.
    ///
    /// ```
    /// let cache = punctual::Cache::new(10);
    /// cache.insert("key", 1);
    /// assert_eq!(cache.remove("key"), Some(1));
    /// assert_eq!(cache.remove("key"), None);
    /// ```
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.inner.remove(key)
    }

    /// How long a live entry has still to live; [`Duration::MAX`] for ever. It
    /// is the time until the entry leaves, which may be up to one resolution
    /// more than is left of its TTL, or 2,048 ticks where that is 2^42 ticks or more
    /// (26 days at the finest resolution). No use is counted, nothing is freed.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let cache = punctual::Cache::new(10);
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
        self.inner.peek_with(key, |inner, state, id| match state.shard.deadline(id) {
            None => Duration::MAX,
            Some(tick) => inner.timebase.until(tick, state.time(Moment::start_of(0))),
        })
    }

    /// Gives a live entry a new TTL, from now; zero expires it now. Says whether
    /// there was one. Counts as no use.
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
    pub fn set_ttl<Q>(&self, key: &Q, ttl: Duration) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let find = |shard: &mut Shard<K, V>, hash: KeyHash, now| {
            Some((shard.find_live(hash.slot_hash(), key, now)?, ()))
        };
        self.inner.set_ttl(key, ttl, find).is_some()
    }

    /// A clone of the value of a key, which gets a new TTL, from now: for
    /// sessions that live as long as they are used. Zero expires it now; the
    /// value is returned all the same.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let sessions = punctual::Cache::new(10);
    /// sessions.insert_with_ttl("id", "user", Duration::from_secs(60));
    /// assert_eq!(sessions.get_and_set_ttl("id", Duration::from_secs(600)), Some("user"));
    /// assert!(sessions.expires_in("id").unwrap() > Duration::from_secs(60));
    /// ```
    pub fn get_and_set_ttl<Q>(&self, key: &Q, ttl: Duration) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
        V: Clone,
    {
        self.inner.set_ttl(key, ttl, |shard, hash, now| {
            shard.get(hash, key, now).map(|(id, value)| (id, value.clone()))
        })
    }
}

impl<K, V, S> fmt::Debug for Cache<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing that needs a lock: it may be printed from anywhere.
        f.debug_struct("Cache")
            .field("capacity", &self.capacity())
            .field("ttl", &self.inner.ttl)
            .field("clock", &self.inner.source)
            .field("reaper", &self.inner.reaper_mode())
            .field("handles", &Arc::strong_count(&self.close_guard))
            .finish_non_exhaustive()
    }
}
