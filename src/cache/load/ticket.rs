//! Loads without a closure: a lookup gives a ticket to one caller, who brings the value from
//! wherever it likes.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use super::in_flight::{End, Loader};
use super::key::LoadKey;
use super::leading::{Claimed, IfDropped, Leading, Sharing};
use super::wait::LoadWait;
use super::waiters::HasLoads as _;
use crate::cache::inner::Handle;
use crate::cache::locked_shard::Held as _;
use crate::hasher::RandomState;
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::Found;
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::Probe;
use crate::time::ttl::Ttl;

/// What [`Cache::lookup`](crate::Cache::lookup) has found.
#[must_use = "a ticket that is dropped abandons the load"]
pub enum Lookup<K, V, S = RandomState> {
    /// A live value.
    Hit(V),
    /// A live value that expires soon. This caller is to refresh it. Until it has, the others get
    /// `Hit`, and once the value has expired, `Loading`: so do not keep the ticket for longer than
    /// that.
    Refresh(V, LoadTicket<K, V, S>),
    /// No value. This caller is to load it; until it has, the others get `Loading`. (Where there
    /// is no room for the load, they get `Miss`, too.)
    Miss(LoadTicket<K, V, S>),
    /// No value. Another caller loads it.
    Loading(LoadWait),
}

/// The right to load a key, which one caller has at a time, as long as there is
/// [room](crate::Builder::concurrent_loads); returned by [`lookup`](crate::Cache::lookup).
///
/// It may be moved to another thread or task. It counts as a handle of the cache, which is not
/// closed while there is one, and owns its key.
///
/// Dropping it abandons the load: those that wait look again, and one of them has the next ticket.
/// So does a `?` that returns early: call [`fail`](Self::fail) where the load has failed, else
/// those that wait try one after the other. If it is dropped by a panic, the load has failed. In a
/// closure that runs under the cache's lock it may be dropped, but then the wakers of futures that
/// wait run there, too.
///
/// ```
/// use std::time::Duration;
/// use punctual::{Cache, Lookup};
///
/// let cache = Cache::<String, usize>::new(10);
/// if let Lookup::Miss(ticket) = cache.lookup("key", Duration::ZERO) {
///     let length = ticket.key().len();
///     ticket.store(length, Duration::from_secs(60));
/// }
/// assert_eq!(cache.get("key"), Some(3));
/// ```
#[must_use = "dropping a ticket abandons the load"]
pub struct LoadTicket<K, V, S = RandomState> {
    /// Dropped before the key: it may be the last handle, which drops every entry, and the load
    /// must end first.
    leading: Leading<Handle<K, V, S>>,
    /// Taken when the value is stored.
    key: DropGuard<K>,
}

impl<K, V, S> LoadTicket<K, V, S> {
    /// Returns the key to load.
    #[must_use]
    pub fn key(&self) -> &K {
        self.key.get()
    }

    /// Ends the load: it failed. Those that wait are told at once
    /// ([`LoadError::LeaderFailed`](crate::LoadError::LeaderFailed),
    /// [`LoadEnd::Failed`](crate::LoadEnd::Failed)). A value that was to be refreshed stays until
    /// its TTL has passed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{Cache, LoadEnd, Lookup};
    ///
    /// let cache = Cache::<String, u64>::new(10);
    /// let Lookup::Miss(ticket) = cache.lookup("key", Duration::ZERO) else { unreachable!() };
    /// let Lookup::Loading(load) = cache.lookup("key", Duration::ZERO) else { unreachable!() };
    /// ticket.fail();
    /// assert_eq!(load.wait(Duration::MAX), LoadEnd::Failed);
    /// ```
    pub fn fail(mut self) {
        let mut panics = FirstPanic::default();
        self.leading.end(End::Failed, &mut panics);
        panics.drop(self);
        panics.resume_or(());
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> LoadTicket<K, V, S> {
    /// Ends the load: stores the value with that TTL, a [`Duration`] or a [`Ttl`]. Returns `false`
    /// if it was discarded, since the key was set, removed or cleared after the lookup. Also, if
    /// the load ran unshared (see [`concurrent_loads`](crate::Builder::concurrent_loads)), where
    /// another load has stored a value; and, in a forked child, if the parent gave the ticket.
    ///
    /// With a TTL of zero nothing is stored, and a value that was to be refreshed leaves as
    /// `Expired`; that is `true`, too, unless the key was changed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use punctual::{Cache, Lookup, Ttl};
    ///
    /// let cache = Cache::<String, u64>::new(10);
    /// let Lookup::Miss(ticket) = cache.lookup("key", Duration::ZERO) else { unreachable!() };
    /// cache.insert("key".to_owned(), 2);
    /// assert!(!ticket.store(1, Ttl::Default), "it is out of date");
    /// assert_eq!(cache.get("key"), Some(2));
    /// ```
    ///
    /// # Panics
    ///
    /// In a closure that runs under one of the cache's locks.
    pub fn store(self, value: V, ttl: impl Into<Ttl>) -> bool {
        let value = DropGuard::new(value);
        let Self { mut leading, key } = self;
        // Callers' code that panics from here on: the load has failed.
        leading.if_dropped = IfDropped::Fail;
        let ttl = leading.cache.ttl_of(ttl.into(), leading.hash, &key, &value);
        let mut panics = FirstPanic::default();
        let is_stored = if ttl.is_some_and(|ttl| ttl.is_zero()) {
            let is_stored = leading.store_expired(key.get(), &mut panics);
            panics.drop((key, value));
            is_stored
        } else {
            leading.store(key, value, ttl, &mut panics)
        };
        // The last handle, perhaps.
        panics.drop(leading);
        panics.resume_or(is_stored)
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for Lookup<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit(value) => f.debug_tuple("Hit").field(value).finish(),
            Self::Refresh(value, ticket) => {
                f.debug_tuple("Refresh").field(value).field(ticket).finish()
            }
            Self::Miss(ticket) => f.debug_tuple("Miss").field(ticket).finish(),
            Self::Loading(load) => f.debug_tuple("Loading").field(load).finish(),
        }
    }
}

impl<K: fmt::Debug, V, S> fmt::Debug for LoadTicket<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadTicket").field("key", self.key()).finish_non_exhaustive()
    }
}

impl<K, V, S> Handle<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// Looks a key up. Gives a ticket if there is no live value, or one that has less than
    /// `refresh_before` of its TTL left, and nobody else loads it.
    pub(in crate::cache) fn lookup(
        &self,
        key: impl LoadKey<K>,
        refresh_before: Duration,
    ) -> Lookup<K, V, S> {
        self.begin_call();
        let hash = KeyHash::new(&self.hasher, key.query());
        let copy = |found: Found<'_, K, V>| found.value.clone();
        let (value, claimed) = self.look_up_to_load(hash, key.query(), refresh_before, copy);
        // Callers' code may panic: value and ticket are dropped then.
        let value = value.map(DropGuard::new);
        let ticket = |mut leading: Leading<_>, key: DropGuard<K>| {
            leading.if_dropped = IfDropped::FailIfUnwinding;
            LoadTicket { leading, key }
        };
        match (value, claimed) {
            (Some(value), Some(Claimed::Leader(leading))) => {
                let key = DropGuard::new(key.into_key());
                Lookup::Refresh(value.into_inner(), ticket(leading, key))
            }
            (Some(value), _) => Lookup::Hit(key.discard(value.into_inner())),
            (None, Some(Claimed::Leader(leading))) => {
                let key = DropGuard::new(key.into_key());
                Lookup::Miss(ticket(leading, key))
            }
            (None, Some(Claimed::Follower(load))) => {
                Lookup::Loading(key.discard(LoadWait::new(self.inner(), hash, load)))
            }
            (None, None) => unreachable!("without a value there is a load"),
        }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Handle<K, V, S> {
    /// Looks a key up, and claims its load if there is no live value, or one that has less than
    /// `refresh_before` of its TTL left, and nobody else loads it.
    pub(super) fn look_up_to_load<R>(
        &self,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        refresh_before: Duration,
        copy: impl FnOnce(Found<'_, K, V>) -> R,
    ) -> (Option<R>, Option<Claimed<Self>>) {
        let reading = self.now_for_ttl();
        let (shard, began_nanos) = (self.shard_of(hash), self.timebase.nanos_of(reading));
        let mut state = self.lock_for_read(shard);
        let tick = state.tick(reading);
        if state.shard.has_work(tick) {
            drop(state);
            // First of all: a listener may ask for this key, and must not wait for this caller.
            self.reap_after_look(shard, reading, ());
            state = self.lock_for_read(shard);
        }
        let now = state.time(reading);
        let id = state.shard.find_live(hash.slot_hash(), key, now.tick);
        let value = self.record_access(&state, id, hash, now).map(copy);
        let claimed = match id {
            None => Some(Leading::claim(self.clone(), hash, Some(Loader::Anywhere), began_nanos)),
            Some(id) => state
                .shard
                .ttl_deadline_min(id)
                .filter(|&deadline| self.timebase.ttl_left_min(deadline, now) < refresh_before)
                .and_then(|_| self.loads_of(hash).claim_refresh(hash))
                .map(|load| {
                    let sharing = Sharing::Shared(load);
                    Claimed::Leader(Leading::new(self.clone(), hash, sharing, began_nanos))
                }),
        };
        (value, claimed)
    }
}
