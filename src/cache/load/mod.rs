//! Values that are made where there is none: one caller makes it, others of that
//! key wait.

#[cfg(feature = "async")]
mod future;
pub(crate) mod in_flight;
pub(crate) mod nested;
pub(crate) mod waiters;

use std::convert::Infallible;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use equivalent::Equivalent;

use super::Cache;
use super::inner::Inner;
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::key_hash::KeyHash;
use in_flight::{Claim, Loader, thread_number};
use nested::{NestedLoadScope, assert_not_nested};

/// # Loaders
///
/// One caller runs its loader for a key, and others that ask for the same key
/// through these calls wait for it; other keys go on. A loader that fails or
/// panics passes the turn to one of those that wait. It runs with no lock held
/// and may call the cache for other keys; if it asks for its own, that is a
/// panic. Loaders of different threads that wait for each other's keys wait for
/// ever.
///
/// A load is known by its key's hash, all 64 bits of it: a key is made only where a
/// value is stored. So keys of the same hash wait for each other's loads, and then
/// each is loaded; and a loader that asks for another key of the same hash panics,
/// as that could be its own. With a `Hash` that leaves nothing out and the default
/// hasher, that meets one pair of keys in 2<sup>64</sup>.
///
/// A load takes no entry's place before it is done. If its key is set, removed
/// or cleared meanwhile, what it brings goes to its own caller and is not
/// stored. Each shard keeps track of eight loads at once; beyond that, loaders run
/// without others waiting for them, and what they bring is stored only if no caller
/// has set or removed a key of the shard meanwhile. In a child that is forked,
/// nobody waits for the loads that its parent was at, and they store nothing there
/// once a loader is asked for.
impl<K: Hash + Eq, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// The value of a key; where there is none, `make` makes it and it is put in
    /// with the builder's TTL.
    ///
    /// ```
    /// let cache = punctual::Cache::<String, i32>::new(10);
    /// assert_eq!(cache.get_or_insert_with("key", || 1), 1);
    /// assert_eq!(cache.get_or_insert_with("key", || 2), 1);
    /// ```
    ///
    /// # Panics
    ///
    /// If `make` asks for the same key. A panic in `make` puts nothing in.
    pub fn get_or_insert_with<Q>(&self, key: &Q, make: impl FnOnce() -> V) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let ttl = self.inner.ttl;
        let Ok(value) = self.inner.load_with(key, || Ok::<_, Infallible>((make(), ttl)));
        value
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), for a value that may
    /// fail to come; the error is the caller's alone and nothing is put in.
    ///
    /// ```
    /// let cache = punctual::Cache::<String, i32>::new(10);
    /// assert!(cache.try_get_or_insert_with("key", || "no number".parse()).is_err());
    /// assert_eq!(cache.try_get_or_insert_with("key", || "1".parse()), Ok(1));
    /// ```
    ///
    /// # Errors
    ///
    /// What `make` returns.
    ///
    /// # Panics
    ///
    /// If `make` asks for the same key.
    pub fn try_get_or_insert_with<Q, E>(
        &self,
        key: &Q,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        let ttl = self.inner.ttl;
        self.inner.load_with(key, || Ok((make()?, ttl)))
    }

    /// The value of a key; where there is none, `load` gets it and says its TTL.
    /// With a TTL of zero the value is returned and not stored.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let cache = punctual::Cache::<String, [u8; 4]>::new(10);
    /// let address = cache.get_or_load("localhost", || {
    ///     Ok::<_, std::io::Error>(([127, 0, 0, 1], Duration::from_secs(300)))
    /// })?;
    /// assert_eq!(address, [127, 0, 0, 1]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `load` returns; nothing is put in.
    ///
    /// # Panics
    ///
    /// If `load` asks for the same key.
    pub fn get_or_load<Q, E>(
        &self,
        key: &Q,
        load: impl FnOnce() -> Result<(V, Duration), E>,
    ) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.inner.load_with(key, || load().map(|(value, ttl)| (value, Some(ttl))))
    }
}

/// What a look-up for a load came to.
pub(super) enum Lookup<'a, K, V, S> {
    Hit(V),
    /// Another caller loads the key. Only futures get this; a thread waits before it returns.
    Pending,
    /// This caller is to load the key.
    Miss(LoadTicket<'a, K, V, S>),
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Inner<K, V, S> {
    fn load_with<E>(
        &self,
        key: &(impl Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized),
        load: impl FnOnce() -> Result<(V, Option<Duration>), E>,
    ) -> Result<V, E> {
        if let Some(value) = self.get_with(key, |_, value| value.clone()) {
            return Ok(value);
        }
        let hash = KeyHash::new(&self.hasher, key);
        let ticket = match self.get_or_claim(hash, key, Loader::Thread(thread_number())) {
            Lookup::Hit(value) => return Ok(value),
            Lookup::Pending => unreachable!("a thread has waited already"),
            Lookup::Miss(ticket) => ticket,
        };
        let (value, ttl) = {
            // The table detects recursion only of the loads that it has room for.
            let _nested = matches!(ticket.tracking, Tracking::Untracked { .. })
                .then(|| NestedLoadScope::new(self.loads_of(hash).address(), hash));
            load()?
        };
        Ok(ticket.store(key, value, ttl))
    }

    /// Looks once more, and claims the load or waits for the caller that has it. The call
    /// has been counted as a miss.
    pub(super) fn get_or_claim(
        &self,
        hash: KeyHash,
        key: &(impl Equivalent<K> + ?Sized),
        loader: Loader,
    ) -> Lookup<'_, K, V, S> {
        let loads = self.loads_of(hash);
        loop {
            // Not under the lock, since a clock may be the caller's.
            let reading = self.now();
            let mut state = self.lock(self.shard_of(hash));
            let now = state.tick(reading);
            if let Some(id) = state.shard.find_live(hash.slot_hash(), key, now) {
                return Lookup::Hit(state.shard.value(id).clone());
            }
            if matches!(loader, Loader::Thread(_)) {
                assert_not_nested(loads.address(), hash);
            }
            let tracking = match loads.claim(hash, loader) {
                Claim::Leader => Tracking::Tracked(loader),
                Claim::Untracked => Tracking::Untracked { epoch: state.write_epoch },
                Claim::Follower => match loader {
                    Loader::Thread(_) => {
                        drop(state);
                        loads.wait(hash);
                        continue;
                    }
                    Loader::Future => return Lookup::Pending,
                },
            };
            return Lookup::Miss(LoadTicket { inner: self, hash, tracking });
        }
    }
}

/// The right to load a key. However it ends, those that wait for it are woken.
pub(super) struct LoadTicket<'a, K, V, S> {
    inner: &'a Inner<K, V, S>,
    hash: KeyHash,
    tracking: Tracking,
}

enum Tracking {
    /// In the shard's table: others wait for it, and writes of its key invalidate it.
    Tracked(Loader),
    /// There was no room in the table. Holds the shard's write epoch of when the load began:
    /// the value is stored only if that has not changed.
    Untracked { epoch: u64 },
    /// The load has ended.
    Done,
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher> LoadTicket<'_, K, V, S> {
    /// Stores what was loaded, unless it is out of date, and returns it.
    ///
    /// The load ends under the lock under which the entry is inserted: whoever waits finds
    /// the entry, and a listener that hears of what was evicted for it may ask for the same
    /// key.
    pub(super) fn store(
        mut self,
        key: &(impl Equivalent<K> + ToOwned<Owned = K> + ?Sized),
        value: V,
        ttl: Option<Duration>,
    ) -> V {
        if ttl == Some(Duration::ZERO) {
            return value;
        }
        let (inner, hash) = (self.inner, self.hash);
        inner.assert_not_reentrant();
        // `Clone`s and the clock run before the lock is taken.
        let value = DropGuard::new(value);
        let own_key = DropGuard::new(key.to_owned());
        let copy = DropGuard::new(value.get().clone());
        let reading = inner.now_for_ttl();
        let mut state = inner.lock(inner.shard_of(hash));
        let mut panics = FirstPanic::default();
        let (is_valid, ended) = match std::mem::replace(&mut self.tracking, Tracking::Done) {
            Tracking::Tracked(loader) => {
                let ended = inner.loads_of(hash).end(hash, loader);
                (ended.is_valid, Some(ended))
            }
            // What is there is newer, and so is what was set or removed meanwhile, which may
            // have been this key.
            Tracking::Untracked { epoch } => {
                let now = state.tick(reading);
                let is_valid = state.write_epoch == epoch
                    && state.shard.find_live(hash.slot_hash(), key, now).is_none();
                (is_valid, None)
            }
            Tracking::Done => unreachable!("a load ends once"),
        };
        if is_valid {
            let stored =
                panics.catch(|| inner.upsert_locked(hash, own_key, copy, ttl, reading, state));
            panics.drop(stored);
        } else {
            drop(state);
            panics.drop(own_key.into_inner());
            panics.drop(copy.into_inner());
        }
        if let Some(ended) = ended {
            ended.wake(&mut panics);
        }
        panics.resume_or(value.into_inner())
    }
}

impl<K, V, S> Drop for LoadTicket<'_, K, V, S> {
    /// A load that failed, panicked or was dropped: one of those that wait takes over.
    fn drop(&mut self) {
        let Tracking::Tracked(loader) = self.tracking else { return };
        let mut panics = FirstPanic::default();
        self.inner.loads_of(self.hash).end(self.hash, loader).wake(&mut panics);
        panics.resume_unless_unwinding();
    }
}
