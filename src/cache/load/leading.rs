//! The right to load a key, and how a load ends.

use std::hash::{BuildHasher, Hash};
use std::ops::Deref;
use std::time::Duration;

use super::in_flight::{Claim, End, LoadId, Loader, Unshared};
use super::waiters::{HasLoads, SharedLoads};
use crate::cache::inner::Inner;
use crate::cache::locked_shard::Held as _;
use crate::entry::new_entry::NewEntry;
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::Probe;

/// Whether others wait for a load.
#[derive(Debug)]
pub(super) enum Sharing {
    /// It is in the shard's table.
    Shared(LoadId),
    /// It is not.
    Unshared(Unshared),
    /// It has ended.
    Done,
}

/// The right to load a key. However it ends, those that wait for it are woken.
#[derive(Debug)]
pub(super) struct Leading<H: Deref<Target: HasLoads>> {
    pub(super) cache: H,
    pub(super) hash: KeyHash,
    pub(super) sharing: Sharing,
    pub(super) began_nanos: u64,
    pub(super) if_dropped: IfDropped,
}

/// How a load ends whose right is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfDropped {
    /// Its future waits for something.
    Abandon,
    /// Callers' code of this load runs: it has panicked.
    Fail,
    /// The caller holds a ticket.
    FailIfUnwinding,
}

/// What [`Leading::claim`] came to.
pub(super) enum Claimed<H: Deref<Target: HasLoads>> {
    Leader(Leading<H>),
    Follower(LoadId),
}

impl<H: Deref<Target: HasLoads>> Leading<H> {
    pub(super) fn new(cache: H, hash: KeyHash, sharing: Sharing, began_nanos: u64) -> Self {
        Self { cache, hash, sharing, began_nanos, if_dropped: IfDropped::Abandon }
    }

    /// Claims the load of a key that has no value, or begins to load beside others without a
    /// `loader`. The caller holds the shard's lock.
    ///
    /// # Panics
    ///
    /// If this thread is loading the key already.
    pub(super) fn claim(
        cache: H,
        hash: KeyHash,
        loader: Option<Loader>,
        began_nanos: u64,
    ) -> Claimed<H> {
        let loads = cache.loads_of(hash);
        let claim = match loader {
            Some(loader) => loads.claim(hash, loader),
            None => Claim::Unshared(loads.begin_unshared()),
        };
        let sharing = match claim {
            Claim::Leader(load) => Sharing::Shared(load),
            Claim::Unshared(start) => Sharing::Unshared(start),
            Claim::Follower(load) => return Claimed::Follower(load),
        };
        Claimed::Leader(Self::new(cache, hash, sharing, began_nanos))
    }

    /// Ends the load without a value to store, and wakes the followers.
    pub(super) fn end(&mut self, end: End, panics: &mut FirstPanic) {
        // It may be the caller's clock.
        let now_nanos = panics.catch(|| self.cache.nanos()).unwrap_or(self.began_nanos);
        let loads = self.cache.loads_of(self.hash);
        let nanos = now_nanos.saturating_sub(self.began_nanos);
        let ended = std::mem::replace(&mut self.sharing, Sharing::Done).end(loads, end, nanos);
        self.wake(ended, panics);
    }

    /// Wakes the futures that wait.
    pub(super) fn wake(&self, ended: Ended, panics: &mut FirstPanic) {
        if let Some(load) = ended.shared {
            self.cache.loads_of(self.hash).wake_futures(load, panics);
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Ended {
    /// Whether it was shared and not overruled.
    is_valid: bool,
    /// The load whose futures are to be woken.
    shared: Option<LoadId>,
}

impl Sharing {
    /// Ends a load that took so long, and wakes the threads that wait.
    pub(super) fn end(self, loads: &SharedLoads, end: End, nanos: u64) -> Ended {
        match self {
            Self::Shared(load) => {
                Ended { is_valid: loads.end(load, end, nanos), shared: Some(load) }
            }
            Self::Unshared(load) => {
                loads.end_unshared(load, end, nanos);
                Ended { is_valid: false, shared: None }
            }
            Self::Done => unreachable!("a load ends once"),
        }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher, H: Deref<Target = Inner<K, V, S>>> Leading<H> {
    /// Ends the load with a value to store. Returns whether it was stored, rather than
    /// overruled.
    ///
    /// The load ends under the lock under which the entry is inserted: the followers find
    /// the entry, and a listener that hears of what was evicted for it may ask for the same
    /// key.
    pub(super) fn store(
        &mut self,
        key: DropGuard<K>,
        value: DropGuard<V>,
        ttl: Option<Duration>,
        panics: &mut FirstPanic,
    ) -> bool {
        let hash = self.hash;
        if self.cache.rules.is_some() {
            return self.store_by_rules(key, value, ttl, panics);
        }
        self.store_new::<false>(NewEntry { hash, key, value, ttl, weight: 0 }, panics)
    }

    #[cold]
    #[inline(never)]
    fn store_by_rules(
        &mut self,
        key: DropGuard<K>,
        value: DropGuard<V>,
        ttl: Option<Duration>,
        panics: &mut FirstPanic,
    ) -> bool {
        let (hash, weight) = (self.hash, self.cache.weight_of(key.get(), value.get()));
        self.store_new::<true>(NewEntry { hash, key, value, ttl, weight }, panics)
    }

    #[inline(always)]
    fn store_new<const BY_RULES: bool>(
        &mut self,
        new: NewEntry<K, V>,
        panics: &mut FirstPanic,
    ) -> bool {
        self.cache.begin_call();
        let reading = self.cache.now_for_ttl();
        let (inner, hash) = (&*self.cache, self.hash);
        let loads = inner.loads_of(hash);
        let nanos = inner.timebase.nanos_of(reading).saturating_sub(self.began_nanos);
        let mut budget = inner.reap_limit;
        // Room for its weight is made afterwards: what is evicted is told of when the load has ended.
        let state = inner.lock(inner.shard_of(hash));
        let sharing = std::mem::replace(&mut self.sharing, Sharing::Done);
        let time = state.tick(reading);
        // `Eq` runs first: should it panic, the load fails.
        let found = panics.catch(|| state.shard.find_live(hash.slot_hash(), new.key.get(), time));
        let is_valid_if_unshared = match (&sharing, found) {
            // A live entry was stored by another load since this one began: it stays.
            (&Sharing::Unshared(load), Some(None)) if loads.is_valid(load, hash) => {
                loads.overrule_older(load, hash);
                true
            }
            _ => false,
        };
        let end = if found.is_some() { End::Stored } else { End::Failed };
        let ended = sharing.end(loads, end, nanos);
        let is_valid = found.is_some() && (ended.is_valid || is_valid_if_unshared);
        let wake = |panics: &mut FirstPanic| self.wake(ended, panics);
        if is_valid {
            let stored = panics.catch(|| {
                if BY_RULES {
                    let mut panics = FirstPanic::default();
                    let replaced = inner.upsert_locked_by_rules(
                        new,
                        reading,
                        state,
                        &mut budget,
                        wake,
                        &mut panics,
                    );
                    panics.resume_or(replaced)
                } else {
                    let entry = (new.key, new.value);
                    inner.upsert_locked(hash, entry, new.ttl, reading, state, wake)
                }
            });
            if stored.is_none() {
                // `Eq` may have panicked this time.
                wake(panics);
            }
            panics.drop(stored);
        } else {
            drop(state);
            wake(panics);
            panics.drop(new.key.into_inner());
            panics.drop(new.value.into_inner());
        }
        is_valid
    }

    /// Ends the load with a TTL of zero: an entry that was to be refreshed leaves as expired.
    /// Returns whether the key was not set or removed meanwhile.
    pub(super) fn store_expired(
        &mut self,
        key: &(impl Probe<K> + ?Sized),
        panics: &mut FirstPanic,
    ) -> bool {
        self.cache.begin_call();
        let reading = self.cache.now_for_ttl();
        let (inner, hash) = (&*self.cache, self.hash);
        let loads = inner.loads_of(hash);
        let nanos = inner.timebase.nanos_of(reading).saturating_sub(self.began_nanos);
        let mut state = inner.lock(inner.shard_of(hash));
        let sharing = std::mem::replace(&mut self.sharing, Sharing::Done);
        if let Sharing::Unshared(load) = sharing {
            // What is there was stored by another load.
            let is_valid = loads.is_valid(load, hash);
            sharing.end(loads, End::NotStored, nanos);
            return is_valid;
        }
        let ended = sharing.end(loads, End::NotStored, nanos);
        let mut expired = None;
        if ended.is_valid {
            let time = state.tick(reading);
            expired = panics.catch(|| state.shard.expire_key(hash, key, time)).flatten();
        }
        drop(state);
        self.wake(ended, panics);
        if let Some(expired) = expired {
            inner.notify_and_drop(expired, panics);
        }
        ended.is_valid
    }
}

impl<H: Deref<Target: HasLoads>> Drop for Leading<H> {
    /// The loader panicked, or its future or ticket was dropped.
    fn drop(&mut self) {
        if matches!(self.sharing, Sharing::Done) {
            return;
        }
        let mut panics = FirstPanic::default();
        let has_failed = match self.if_dropped {
            IfDropped::Abandon => false,
            IfDropped::Fail => true,
            IfDropped::FailIfUnwinding => std::thread::panicking(),
        };
        self.end(if has_failed { End::Failed } else { End::Abandoned }, &mut panics);
        panics.resume_unless_unwinding();
    }
}
