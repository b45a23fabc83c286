//! The cache for many threads.

mod batch;
mod builder;
mod inner;
pub(crate) mod load;
mod locked_shard;
pub(crate) mod reentrancy;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::Equivalent;

pub use builder::Builder;

use crate::error::BuildError;
use crate::footprint::Footprint;
use crate::hasher::RandomState;
use crate::panic::{FirstPanic, Given};
use crate::reaper::Reapable;
use crate::removal::{RemovalCause, Removed};
use crate::shard::key_hash::KeyHash;
use crate::shard::slot_id::SlotId;
use crate::shim::MutexGuard;
use crate::stats::Stats;
use crate::time::tick::Moment;
use inner::Inner;
use locked_shard::{Guard, State};

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
    /// Goes with the last handle, and closes the cache.
    last: Arc<Last<K, V, S>>,
}

/// Lives as long as there is a handle; the reaper has none.
struct Last<K, V, S> {
    inner: Arc<Inner<K, V, S>>,
    in_reaper: Option<Arc<dyn Reapable>>,
}

impl<K, V, S> Drop for Last<K, V, S> {
    fn drop(&mut self) {
        if let (Some(reaper), Some(cache)) = (self.inner.reaper, self.in_reaper.take()) {
            reaper.unregister(&cache);
        }
        self.inner.close();
    }
}

impl<K, V, S> Clone for Cache<K, V, S> {
    /// Another handle to the same cache.
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), last: Arc::clone(&self.last) }
    }
}

impl<K: Send + 'static, V: Send + 'static, S: Send + Sync + 'static> Cache<K, V, S> {
    /// Makes the first handle, and lets the reaper know of the cache.
    fn start(inner: Inner<K, V, S>) -> Result<Self, BuildError> {
        BuildError::probe(Self::HANDLE_BYTES)?;
        let inner = Arc::new(inner);
        let mut in_reaper = None;
        if let Some(reaper) = inner.reaper {
            let reapable: Arc<dyn Reapable> = inner.clone();
            reaper.register(Arc::clone(&reapable));
            in_reaper = Some(reapable);
        }
        let last = Arc::new(Last { inner: Arc::clone(&inner), in_reaper });
        Ok(Self { inner, last })
    }
}

/// What does not depend on the key.
impl<K, V, S> Cache<K, V, S> {
    const SHARD_BYTES: usize = Inner::<K, V, S>::SHARD_BYTES;

    /// What the two `Arc`s of the handles point at: two counters before each.
    const HANDLE_BYTES: usize =
        4 * size_of::<usize>() + size_of::<Inner<K, V, S>>() + size_of::<Last<K, V, S>>();

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
        self.inner.assert_unlocked();
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
        self.inner.capacity()
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
        self.inner.assert_unlocked();
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
        self.inner.assert_unlocked();
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
        self.inner.assert_unlocked();
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
        self.inner.assert_unlocked();
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
        self.inner.assert_unlocked();
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
        self.inner.assert_unlocked();
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
        self.inner.put(key, value, self.inner.ttl)
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
        self.inner.put(key, value, Some(ttl))
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
        self.inner.put_many(entries, self.inner.ttl);
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
        self.inner.put_many(entries, Some(ttl));
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
        self.inner.look_up(key, |inner, value| {
            let _mark = inner.mark_in_debug_builds();
            value.clone()
        })
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
        self.inner.look_up(key, |inner, value| {
            let _mark = inner.mark();
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
    /// cache.get_many(["a", "b", "c"], |position, value| values[position] = value.copied());
    /// assert_eq!(values, [Some(1), None, Some(3)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If `each` calls the cache. The iterator may.
    pub fn get_many<'a, Q, I>(&self, keys: I, each: impl FnMut(usize, Option<&V>))
    where
        I: IntoIterator<Item = &'a Q>,
        Q: Hash + Equivalent<K> + ?Sized + 'a,
    {
        self.inner.look_up_many(keys, each);
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
        self.inner.look_up(key, |inner, value| {
            let _mark = inner.mark();
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
        self.inner.look_at(key, |inner, state, id| {
            let _mark = inner.mark_in_debug_builds();
            state.shard.value(id).clone()
        })
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
        self.inner.look_at(key, |_, _, _| ()).is_some()
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
        let inner = &*self.inner;
        let ((), removed) = inner.change(key, inner.read_clock(), |hash, now, state| {
            state.overrule(hash);
            let found = {
                let _mark = inner.mark_in_debug_builds();
                state.shard.find(hash.slot_hash(), key)
            };
            ((), found.map(|id| state.shard.remove(id, now.tick, RemovalCause::Removed)))
        });
        removed
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
        self.inner.look_at(key, |inner, state, id| match state.shard.deadline(id) {
            None => Duration::MAX,
            Some(tick) => inner.base.until(tick, state.time(Moment::start_of(0))),
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
        let inner = &*self.inner;
        let (is_found, _) =
            inner.change(key, inner.read_clock_for_deadline(), |hash, now, state| {
                let found = {
                    let _mark = inner.mark_in_debug_builds();
                    state.shard.find_live(hash.slot_hash(), key, now.tick)
                };
                (found.is_some(), found.and_then(|id| inner.reschedule(state, id, ttl, now)))
            });
        is_found
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
        let inner = &*self.inner;
        let (value, _) = inner.change(key, inner.read_clock_for_deadline(), |hash, now, state| {
            let _mark = inner.mark_in_debug_builds();
            let Some((id, found)) = state.shard.look_up(hash, key, now.tick) else {
                return (None, None);
            };
            let value = found.clone();
            (Some(value), inner.reschedule(state, id, ttl, now))
        });
        value
    }
}

/// The shape of every call that is about one key.
impl<K: Hash + Eq, V, S: BuildHasher> Inner<K, V, S> {
    /// Finds a live entry for a call that counts as its use, and gives it to
    /// `use_it` under the lock; then frees what is due.
    #[inline(always)]
    fn look_up<Q, R>(&self, key: &Q, use_it: impl FnOnce(&Self, &mut V) -> R) -> Option<R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.assert_unlocked();
        let hash = KeyHash::new(&self.hasher, key);
        let reading = self.read_clock();
        let shard = hash.shard(self.shards.len());
        let mut state = self.shards[shard].lock_to_look();
        let now = state.tick(reading);
        if state.shard.has_work(now) {
            return self.look_up_and_reap(state, hash, key, reading, use_it);
        }
        self.look_up_in(state, hash, key, now, use_it)
    }

    /// Apart, so that where nothing is due, as in most calls, nothing asks twice.
    #[inline(never)]
    fn look_up_and_reap<Q, R>(
        &self,
        mut state: MutexGuard<'_, State<K, V>>,
        hash: KeyHash,
        key: &Q,
        reading: Moment,
        use_it: impl FnOnce(&Self, &mut V) -> R,
    ) -> Option<R>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let now = state.tick(reading);
        let result = self.look_up_in(state, hash, key, now, use_it);
        self.reap_after(hash.shard(self.shards.len()), reading, result)
    }

    #[inline(always)]
    fn look_up_in<Q, R>(
        &self,
        mut state: MutexGuard<'_, State<K, V>>,
        hash: KeyHash,
        key: &Q,
        now: u64,
        use_it: impl FnOnce(&Self, &mut V) -> R,
    ) -> Option<R>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let found = {
            let _mark = self.mark_in_debug_builds();
            state.shard.look_up(hash, key, now)
        };
        found.map(|(_, value)| use_it(self, value))
    }

    /// Frees what is due in a shard, for a call that is done but for that.
    #[cold]
    #[inline(never)]
    fn reap_after<R>(&self, shard: usize, reading: Moment, result: R) -> R {
        let mut panics = FirstPanic::default();
        self.reap_shard(shard, reading, self.reap_limit, &mut panics);
        panics.finish(result)
    }

    /// Finds a live entry and gives it to `look`, for a call that changes
    /// nothing.
    #[inline]
    fn look_at<Q, R>(
        &self,
        key: &Q,
        look: impl FnOnce(&Self, &mut State<K, V>, SlotId) -> R,
    ) -> Option<R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.assert_unlocked();
        let hash = KeyHash::new(&self.hasher, key);
        let reading = self.read_clock();
        let mut state = self.shards[hash.shard(self.shards.len())].lock_to_look();
        let now = state.tick(reading);
        let found = {
            let _mark = self.mark_in_debug_builds();
            state.shard.find_live(hash.slot_hash(), key, now)
        };
        found.map(|id| look(self, &mut state, id))
    }

    /// Runs `change` under the lock; then hands out what it has taken out, and
    /// frees what is due. Returns what `change` has found out, and the value that is
    /// gone, if it is the caller's.
    #[inline]
    fn change<Q, R>(
        &self,
        key: &Q,
        reading: Moment,
        change: impl FnOnce(KeyHash, Moment, &mut Guard<'_, K, V>) -> (R, Option<Removed<K, V>>),
    ) -> (R, Option<V>)
    where
        Q: Hash + ?Sized,
    {
        self.assert_unlocked();
        let hash = KeyHash::new(&self.hasher, key);
        let shard = hash.shard(self.shards.len());
        let mut state = self.lock(shard);
        let now = state.time(reading);
        let (result, removed) = change(hash, now, &mut state);
        let has_work = state.shard.has_work(now.tick);
        drop(state);
        let mut panics = FirstPanic::default();
        let value = removed.and_then(|removed| self.deliver(removed, &mut panics));
        if has_work {
            self.reap_shard(shard, reading, self.reap_limit, &mut panics);
        }
        panics.finish((result, value))
    }

    /// Puts an entry in and returns the live value that it replaces.
    #[inline]
    fn put(&self, key: K, value: V, ttl: Option<Duration>) -> Option<V> {
        let (key, value) = (Given::new(key), Given::new(value));
        self.assert_unlocked();
        let hash = KeyHash::new(&self.hasher, key.get());
        let reading = self.read_clock_for_deadline();
        let shard = hash.shard(self.shards.len());
        if ttl == Some(Duration::ZERO) {
            return self.put_for_no_time(hash, key, value, reading);
        }
        self.put_locked(hash, key, value, ttl, reading, self.lock_to_set(shard, hash))
    }

    /// [`put`](Self::put) with the lock held already, and a TTL above zero.
    ///
    /// The lock comes last: should `Eq` panic, it is released first, and key and
    /// value are dropped then.
    #[inline(always)]
    fn put_locked(
        &self,
        hash: KeyHash,
        key: Given<K>,
        value: Given<V>,
        ttl: Option<Duration>,
        reading: Moment,
        mut state: Guard<'_, K, V>,
    ) -> Option<V> {
        let time = state.time(reading);
        let deadline = ttl.and_then(|ttl| self.base.deadline(time, ttl));
        let found = {
            let _mark = self.mark_in_debug_builds();
            state.shard.find(hash.slot_hash(), key.get())
        };
        let (key, value) = (key.take(), value.take());
        let Some(id) = found else {
            self.put_new(hash, key, value, deadline, time, state);
            return None;
        };
        let replaced = state.shard.replace(hash, id, key, value, deadline, time.tick);
        let has_work = state.shard.has_work(time.tick);
        drop(state);
        let mut panics = FirstPanic::default();
        let replaced = self.deliver(replaced, &mut panics);
        if has_work {
            let shard = hash.shard(self.shards.len());
            self.reap_shard(shard, time, self.reap_limit, &mut panics);
        }
        panics.finish(replaced)
    }

    /// [`put_locked`](Self::put_locked) for a key that is not there.
    #[inline(always)]
    fn put_new(
        &self,
        hash: KeyHash,
        key: K,
        value: V,
        deadline: Option<u64>,
        time: Moment,
        mut state: Guard<'_, K, V>,
    ) {
        let mut budget = self.reap_limit;
        let (_, displaced) = state.shard.insert(hash, key, value, deadline, time.tick, &mut budget);
        let has_work = state.shard.has_work(time.tick) && budget > 0;
        if !has_work {
            state.shard.record_peak();
        }
        drop(state);
        let mut panics = FirstPanic::default();
        if let Some(displaced) = displaced {
            self.notify_and_drop(displaced, &mut panics);
        }
        if has_work {
            let shard = hash.shard(self.shards.len());
            self.reap_shard(shard, time, budget, &mut panics);
        }
        panics.finish(());
    }

    /// Puts an entry in that is due at once: what it replaces leaves, and the
    /// listener hears of both.
    #[cold]
    fn put_for_no_time(
        &self,
        hash: KeyHash,
        key: Given<K>,
        value: Given<V>,
        reading: Moment,
    ) -> Option<V> {
        let shard = hash.shard(self.shards.len());
        let mut panics = FirstPanic::default();
        let replaced = {
            let mut state = self.lock_to_set(shard, hash);
            let now = state.tick(reading);
            let found = {
                let _mark = self.mark_in_debug_builds();
                state.shard.find(hash.slot_hash(), key.get())
            };
            state.shard.record_expired_on_arrival();
            found.map(|id| state.shard.remove(id, now, RemovalCause::Replaced))
        };
        let replaced = replaced.and_then(|removed| self.deliver(removed, &mut panics));
        let (key, value) = (key.take(), value.take());
        self.notify_and_drop(Removed { key, value, cause: RemovalCause::Expired }, &mut panics);
        self.reap_shard(shard, reading, self.reap_limit, &mut panics);
        panics.finish(replaced)
    }

    /// Moves a live entry's deadline; at zero takes it out.
    fn reschedule(
        &self,
        state: &mut State<K, V>,
        id: SlotId,
        ttl: Duration,
        now: Moment,
    ) -> Option<Removed<K, V>> {
        if ttl.is_zero() {
            return Some(state.shard.remove(id, now.tick, RemovalCause::Expired));
        }
        let deadline = self.base.deadline(now, ttl);
        state.shard.set_deadline(id, deadline, now.tick);
        None
    }
}

impl<K, V, S> fmt::Debug for Cache<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing that needs a lock: it may be printed from anywhere.
        f.debug_struct("Cache")
            .field("capacity", &self.capacity())
            .field("ttl", &self.inner.ttl)
            .field("clock", self.inner.source())
            .field("reaper", &self.inner.mode())
            .field("handles", &Arc::strong_count(&self.last))
            .finish_non_exhaustive()
    }
}
