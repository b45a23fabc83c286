//! Calls that look at an entry and decide what becomes of it, under one hold of its shard's lock.

use std::hash::{BuildHasher, Hash};

use equivalent::Equivalent;

use super::Cache;
use super::inner::Inner;
use super::load::waiters::HasLoads as _;
use super::locked_shard::{Guard, Held as _};
use crate::entry::compute::Compute;
use crate::entry::new_entry::NewEntry;
use crate::entry::removal::Removed;
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::key_hash::KeyHash;
use crate::shard::slot_id::SlotId;
use crate::time::tick::Moment;
use crate::time::ttl::Ttl;

impl<K: Hash + Eq, V, S: BuildHasher> Cache<K, V, S> {
    /// Inserts a key-value pair, with the [default TTL](super::Builder::ttl), unless the key has a
    /// live value.
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

    /// Shows the live value of a key, or `None`, to a closure, and does what it decides, all under
    /// one lock: no other call for the key comes in between. Returns what the decision carries.
    ///
    /// The closure may change the value in place: with [`Compute::Keep`], the changes and the TTL
    /// stay. Finding a value counts as a hit and as a use, finding none as a miss. What is set or
    /// removed overrules a load of the key that runs; [`Compute::Keep`] does not.
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
}

impl<K: Hash + Eq, V, S: BuildHasher> Inner<K, V, S> {
    /// Shows the live value of a key to `decide`, and does what that says.
    pub(super) fn compute<R>(
        &self,
        key: K,
        decide: impl FnOnce(Option<&mut V>) -> Compute<V, R>,
    ) -> R {
        // All that may have to be dropped is declared before the lock, which is released first
        // should callers' code panic.
        let key = DropGuard::new(key);
        let (value, ttl, result);
        self.begin_call();
        let hash = KeyHash::new(&self.hasher, key.get());
        let reading = self.now_for_ttl();
        let mut state = self.lock(self.shard_of(hash));
        let time = state.time(reading);
        let found = state.shard.find(hash.slot_hash(), key.get());
        let live = found.filter(|&id| !state.shard.is_due(id, time.tick));
        let seen = self.accesses.count(state.shard.record_access_mut(live, hash));
        let decide = || {
            let _scope = self.closure_scope();
            decide(seen.map(|(_, value)| value))
        };
        let decided = if self.rules.is_some() {
            let mut panics = FirstPanic::default();
            let Some(decided) = panics.catch(decide) else {
                // What it has changed in place stays, and is weighed.
                self.finish_update(state, live, hash, reading, panics);
                unreachable!("the panic goes on");
            };
            decided
        } else {
            decide()
        };
        match decided {
            Compute::Keep(kept) => {
                result = DropGuard::new(kept);
                if self.rules.is_some() {
                    self.finish_update(state, live, hash, reading, FirstPanic::default());
                } else {
                    self.settle(state, hash, time, self.reap_limit, None, |_| ());
                }
                // While the result is guarded: it would leak if this panicked on return.
                drop(key);
                return result.into_inner();
            }
            Compute::Remove(kept) => {
                result = DropGuard::new(kept);
                // Also where there is nothing yet, as `remove` does.
                self.loads_of(hash).overrule(hash);
                let removed = live.map(|id| state.shard.remove_found(id, false));
                drop(self.settle(state, hash, time, self.reap_limit, removed, |_| ()));
                drop(key);
                return result.into_inner();
            }
            Compute::Set(new, kept) => {
                (value, ttl, result) = (DropGuard::new(new), Ttl::Default, DropGuard::new(kept));
            }
            Compute::SetWithTtl(new, new_ttl, kept) => {
                (value, ttl, result) = (DropGuard::new(new), new_ttl, DropGuard::new(kept));
            }
        }
        self.set_found(found, (hash, key, value), ttl, time, state);
        result.into_inner()
    }

    /// Sets the value of a key whose slot is known, if it has one.
    fn set_found(
        &self,
        found: Option<SlotId>,
        (hash, key, value): (KeyHash, DropGuard<K>, DropGuard<V>),
        ttl: Ttl,
        time: Moment,
        state: Guard<'_, K, V>,
    ) {
        let (ttl, weight) = if self.rules.is_some() {
            let _scope = self.closure_scope();
            (self.ttl_of(ttl, hash, &key, &value), self.weight_of(key.get(), value.get()))
        } else {
            (ttl.or(self.ttl), 0)
        };
        self.loads_of(hash).overrule(hash);
        let mut panics = FirstPanic::default();
        let mut budget = self.reap_limit;
        let new = NewEntry { hash, key, value, ttl, weight };
        let replaced = self.upsert_found(new, found, time, state, &mut budget, |_| (), &mut panics);
        panics.drop(replaced);
        panics.resume_or(());
    }

    /// Inserts an entry, if its key has no live one. Gives it back otherwise.
    pub(super) fn insert_if_absent(&self, key: K, value: V, ttl: Ttl) -> Result<(), (K, V)> {
        let new = self.new_entry(key, value, ttl);
        let hash = new.hash;
        let reading = self.now_for_ttl();
        let mut budget = self.reap_limit;
        let mut panics = FirstPanic::default();
        let state = self.lock_with_room(&new, reading, true, &mut budget, &mut panics);
        let time = state.time(reading);
        let found = panics.require(|| state.shard.find(hash.slot_hash(), new.key.get()));
        if found.is_some_and(|id| !state.shard.is_due(id, time.tick)) {
            let has_work = Self::unlock(state, time, budget, true);
            if has_work {
                self.reap_shard(self.shard_of(hash), time, budget, &mut panics);
            }
            return Err(panics.resume_or((new.key, new.value)))
                .map_err(|(key, value)| (key.into_inner(), value.into_inner()));
        }
        self.loads_of(hash).overrule(hash);
        let replaced = self.upsert_found(new, found, time, state, &mut budget, |_| (), &mut panics);
        debug_assert!(replaced.is_none(), "nothing live is replaced");
        panics.resume_or(Ok(()))
    }

    /// Removes the live entry of a key if `predicate` says so. Returns its value.
    pub(super) fn remove_if(
        &self,
        key: &(impl Hash + Equivalent<K> + ?Sized),
        predicate: impl FnOnce(&V) -> bool,
    ) -> Option<V> {
        self.begin_call();
        let hash = KeyHash::new(&self.hasher, key);
        let now = self.estimate();
        let mut state = self.lock(self.shard_of(hash));
        let time = state.time(now);
        let found = state.shard.find(hash.slot_hash(), key);
        let live = found.filter(|&id| !self.is_due(&state, id, now));
        let chosen = live.filter(|&id| {
            let _scope = self.closure_scope();
            predicate(state.shard.value(id))
        });
        let removed = chosen.map(|id| {
            self.loads_of(hash).overrule(hash);
            state.shard.remove_found(id, false)
        });
        self.settle(state, hash, time, self.reap_limit, removed, |_| ())
    }

    /// Removes the entry of a key. Returns it if it was live.
    pub(super) fn remove_entry(
        &self,
        key: &(impl Hash + Equivalent<K> + ?Sized),
    ) -> Option<(K, V)> {
        self.begin_call();
        let hash = KeyHash::new(&self.hasher, key);
        let now = self.estimate();
        let mut state = self.lock_for_write(self.shard_of(hash), hash);
        let time = state.time(now);
        let removed = state.shard.find(hash.slot_hash(), key).map(|id| {
            let is_due = self.is_due(&state, id, now);
            state.shard.remove_found(id, is_due)
        });
        let has_work = Self::unlock(state, time, self.reap_limit, removed.is_none());
        let mut panics = FirstPanic::default();
        let listener = self.listener.as_deref();
        let entry =
            removed.and_then(|removed: Removed<_, _>| removed.deliver_entry(listener, &mut panics));
        if has_work {
            self.reap_shard(self.shard_of(hash), time, self.reap_limit, &mut panics);
        }
        let (key, value) = panics.resume_or(entry)?;
        Some((key.into_inner(), value.into_inner()))
    }
}
