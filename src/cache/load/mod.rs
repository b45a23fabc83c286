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

use hashbrown::Equivalent;

use super::Cache;
use super::inner::Inner;
use crate::panic::{FirstPanic, Given};
use crate::shard::key_hash::KeyHash;
use in_flight::{Loader, Turn, thread_number};
use nested::{Running, assert_not_running};
use waiters::Ended;

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
        let Ok(value) = self.inner.find_or_load(key, || Ok::<_, Infallible>((make(), ttl)));
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
        self.inner.find_or_load(key, || Ok((make()?, ttl)))
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
        self.inner.find_or_load(key, || load().map(|(value, ttl)| (value, Some(ttl))))
    }
}

/// What a caller has got: the value, or the duty to bring it.
pub(super) enum Outcome<'a, K, V, S> {
    Found(V),
    /// Only futures wait like this; a thread waits before it returns.
    #[cfg(feature = "async")]
    Wait,
    Load(Ticket<'a, K, V, S>),
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Inner<K, V, S> {
    fn find_or_load<Q, E>(
        &self,
        key: &Q,
        load: impl FnOnce() -> Result<(V, Option<Duration>), E>,
    ) -> Result<V, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(value) = self.look_up(key, |inner, value| {
            let _mark = inner.mark_in_debug_builds();
            value.clone()
        }) {
            return Ok(value);
        }
        let hash = KeyHash::new(&self.hasher, key);
        let ticket = match self.find_or_take_turn(hash, key, Loader::Thread(thread_number())) {
            Outcome::Found(value) => return Ok(value),
            #[cfg(feature = "async")]
            Outcome::Wait => unreachable!("a thread has waited already"),
            Outcome::Load(ticket) => ticket,
        };
        let (value, ttl) = {
            let _running = ticket.note_running();
            load()?
        };
        Ok(ticket.store(key, value, ttl))
    }

    /// Looks once more, and takes the turn to load, or waits for whoever has it.
    /// The call has been counted as a miss.
    pub(super) fn find_or_take_turn<Q>(
        &self,
        hash: KeyHash,
        key: &Q,
        loader: Loader,
    ) -> Outcome<'_, K, V, S>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let shard = hash.shard(self.shards.len());
        let loads = &self.shards[shard].loads;
        loop {
            let mut state = self.lock(shard);
            let now = state.tick(self.read_clock());
            {
                let _mark = self.mark_in_debug_builds();
                if let Some(id) = state.shard.find_live(hash.slot_hash(), key, now) {
                    return Outcome::Found(state.shard.value(id).clone());
                }
            }
            if matches!(loader, Loader::Thread(_)) {
                assert_not_running(loads.address(), hash);
            }
            match loads.turn(hash, loader) {
                Turn::Wait => match loader {
                    Loader::Thread(_) => {
                        drop(state);
                        loads.wait(hash);
                    }
                    #[cfg(feature = "async")]
                    Loader::Future => return Outcome::Wait,
                },
                Turn::Load => {
                    let tracking = Tracking::Tracked(loader);
                    return Outcome::Load(Ticket { inner: self, hash, tracking });
                }
                Turn::LoadUnshared => {
                    let tracking = Tracking::Untracked(state.overrulings);
                    return Outcome::Load(Ticket { inner: self, hash, tracking });
                }
            }
        }
    }
}

/// The turn to load a key. However it ends, the next in turn is told.
pub(super) struct Ticket<'a, K, V, S> {
    inner: &'a Inner<K, V, S>,
    hash: KeyHash,
    tracking: Tracking,
}

/// What is known of a load while it runs.
enum Tracking {
    /// It is in the shard's table: others wait for it, or overrule it.
    Tracked(Loader),
    /// There was no room for it; keys had been overruled so often before.
    Untracked(u64),
    /// It has ended.
    Ended,
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Ticket<'_, K, V, S> {
    /// For a thread that is to run its loader now: notes that it does, if the table
    /// cannot.
    fn note_running(&self) -> Option<Running> {
        let loads = &self.inner.shards[self.hash.shard(self.inner.shards.len())].loads;
        matches!(self.tracking, Tracking::Untracked(_))
            .then(|| Running::new(loads.address(), self.hash))
    }

    /// Puts in what was loaded, unless it is out of date, and returns it.
    ///
    /// The load ends under the lock that the entry is put in under: who waits
    /// finds the entry, and a listener that hears of what makes room for it may
    /// ask for the same key.
    pub(super) fn store<Q>(mut self, key: &Q, value: V, ttl: Option<Duration>) -> V
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        if ttl == Some(Duration::ZERO) {
            return value;
        }
        let (inner, hash) = (self.inner, self.hash);
        inner.assert_unlocked();
        let shard = hash.shard(inner.shards.len());
        // `Clone`s and the clock run before the lock is taken.
        let value = Given::new(value);
        let (own_key, copy) = (Given::new(key.to_owned()), Given::new(value.get().clone()));
        let reading = inner.read_clock_for_deadline();
        let mut state = inner.lock(shard);
        let tracking = std::mem::replace(&mut self.tracking, Tracking::Ended);
        let mut panics = FirstPanic::default();
        let (is_wanted, ended) = match tracking {
            Tracking::Tracked(loader) => {
                let ended = inner.shards[shard].loads.end(hash, loader);
                (ended.is_wanted, Some(ended))
            }
            // What is there is newer, and so is what was set or removed
            // meanwhile, which may have been this key.
            Tracking::Untracked(before) => {
                let now = state.tick(reading);
                let _mark = inner.mark_in_debug_builds();
                let is_wanted = state.overrulings == before
                    && state.shard.find_live(hash.slot_hash(), key, now).is_none();
                (is_wanted, None)
            }
            Tracking::Ended => unreachable!("a load ends once"),
        };
        if is_wanted {
            let stored =
                panics.catch(|| inner.put_locked(hash, own_key, copy, ttl, reading, state));
            panics.drop(stored);
        } else {
            drop(state);
            panics.drop(own_key.take());
            panics.drop(copy.take());
        }
        if let Some(ended) = ended {
            ended.wake(&mut panics);
        }
        panics.finish(value.take())
    }
}

impl<K, V, S> Drop for Ticket<'_, K, V, S> {
    /// A loader that failed, panicked or was given up passes its turn on.
    fn drop(&mut self) {
        let Tracking::Tracked(loader) = self.tracking else { return };
        let shards = &self.inner.shards;
        let ended: Ended = shards[self.hash.shard(shards.len())].loads.end(self.hash, loader);
        let mut panics = FirstPanic::default();
        ended.wake(&mut panics);
        if std::thread::panicking() {
            panics.forget();
        } else {
            panics.finish(());
        }
    }
}
