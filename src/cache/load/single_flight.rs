//! Single flight: of the callers that find no value for a key, one (the leader) loads it, and
//! the others (the followers) wait.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use equivalent::Equivalent;

use super::error::LoadError;
use super::in_flight::{Claim, End, LoadId, Loader, thread_number};
use super::nested::{NestedLoadScope, assert_not_nested};
use crate::cache::inner::Inner;
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::key_hash::KeyHash;
use crate::time::ttl::Ttl;

/// What a look-up for a load came to.
pub(in crate::cache) enum Lookup<'a, K, V, S> {
    Hit(V),
    /// This caller is to load the key.
    Miss(LoadTicket<'a, K, V, S>),
    /// Another caller loads the key.
    Loading(LoadId),
}

/// What a follower does once the load has ended that it waited for.
pub(super) enum Then {
    LookAgain,
    /// Load without others waiting.
    LoadAlone,
    /// Return [`LoadError::LeaderFailed`].
    Fail,
}

/// What a follower makes of a failed load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum IfLeaderFails {
    /// It fails, too.
    Fail,
    /// It looks again, and may be the next leader: it cannot fail.
    TakeOver,
}

impl IfLeaderFails {
    pub(super) fn then(self, end: End) -> Then {
        match (end, self) {
            (End::Failed, Self::Fail) => Then::Fail,
            (End::NotStored, _) => Then::LoadAlone,
            (End::Failed | End::Stored | End::Abandoned, _) => Then::LookAgain,
        }
    }
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Inner<K, V, S> {
    /// Returns the value of a key; where there is none, the one that `load` makes.
    pub(in crate::cache) fn load_with<E>(
        &self,
        key: &(impl Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized),
        if_leader_fails: IfLeaderFails,
        load: impl FnOnce() -> Result<(V, Ttl), E>,
    ) -> Result<V, LoadError<E>> {
        if let Some(value) = self.get_with(key, |_, value| value.clone()) {
            return Ok(value);
        }
        let hash = KeyHash::new(&self.hasher, key);
        let mut loader = Some(Loader::Thread(thread_number()));
        let mut ticket = loop {
            let load = match self.get_or_claim(hash, key, loader) {
                Lookup::Hit(value) => return Ok(value),
                Lookup::Miss(ticket) => break ticket,
                Lookup::Loading(load) => load,
            };
            match if_leader_fails.then(self.loads_of(hash).wait(load)) {
                Then::LookAgain => {}
                Then::LoadAlone => loader = None,
                Then::Fail => return Err(LoadError::LeaderFailed),
            }
        };
        let loaded = {
            // The table detects recursion only of the loads that it has room for.
            ticket.is_running = true;
            let _nested = matches!(ticket.tracking, Tracking::Untracked { .. })
                .then(|| NestedLoadScope::new(self.loads_of(hash).address(), hash));
            load()
        };
        ticket.finish(key, loaded)
    }

    /// Looks once more, and claims the load if no other caller has it; without a `loader`,
    /// loads side by side with others. The call has been counted as a miss.
    pub(super) fn get_or_claim(
        &self,
        hash: KeyHash,
        key: &(impl Equivalent<K> + ?Sized),
        loader: Option<Loader>,
    ) -> Lookup<'_, K, V, S> {
        let loads = self.loads_of(hash);
        // Not under the lock, since a clock may be the caller's.
        let reading = self.now();
        let mut state = self.lock(self.shard_of(hash));
        let now = state.tick(reading);
        if let Some(id) = state.shard.find_live(hash.slot_hash(), key, now) {
            return Lookup::Hit(state.shard.value(id).clone());
        }
        if matches!(loader, Some(Loader::Thread(_))) {
            assert_not_nested(loads.address(), hash);
        }
        let claim = loader.map_or(Claim::Untracked, |loader| loads.claim(hash, loader));
        let tracking = match claim {
            Claim::Leader(load) => Tracking::Tracked(load),
            Claim::Untracked => Tracking::Untracked { epoch: state.write_epoch },
            Claim::Follower(load) => return Lookup::Loading(load),
        };
        Lookup::Miss(LoadTicket { inner: self, hash, tracking, is_running: false })
    }
}

/// The right to load a key. However it ends, those that wait for it are woken.
pub(in crate::cache) struct LoadTicket<'a, K, V, S> {
    inner: &'a Inner<K, V, S>,
    hash: KeyHash,
    tracking: Tracking,
    /// Whether the loader runs, or other callers' code of this load: if the ticket is dropped
    /// then, that has panicked.
    pub(super) is_running: bool,
}

enum Tracking {
    /// In the shard's table: others wait for it, and writes of its key invalidate it.
    Tracked(LoadId),
    /// There was no room in the table. Holds the shard's write epoch of when the load began:
    /// the value is stored only if that has not changed.
    Untracked { epoch: u64 },
    /// The load has ended.
    Done,
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher> LoadTicket<'_, K, V, S> {
    /// Ends the load with what its loader returned.
    pub(super) fn finish<E>(
        mut self,
        key: &(impl Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized),
        loaded: Result<(V, Ttl), E>,
    ) -> Result<V, LoadError<E>> {
        match loaded {
            Ok((value, ttl)) => {
                let ttl = ttl.or(self.inner.ttl);
                Ok(self.store(key, value, ttl))
            }
            Err(error) => {
                let error = DropGuard::new(error);
                self.end(End::Failed);
                Err(LoadError::Failed(error.into_inner()))
            }
        }
    }

    /// Stores what was loaded, unless it is out of date, and returns it.
    ///
    /// The load ends under the lock under which the entry is inserted: the followers find
    /// the entry, and a listener that hears of what was evicted for it may ask for the same
    /// key.
    fn store(
        mut self,
        key: &(impl Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized),
        value: V,
        ttl: Option<Duration>,
    ) -> V {
        // While wakers run.
        let value = DropGuard::new(value);
        if ttl == Some(Duration::ZERO) {
            self.end(End::NotStored);
            return value.into_inner();
        }
        let (inner, hash) = (self.inner, self.hash);
        inner.assert_not_reentrant();
        // `Clone`s and the clock run before the lock is taken.
        let own_key = DropGuard::new(key.to_owned().into());
        let copy = DropGuard::new(value.get().clone());
        let reading = inner.now_for_ttl();
        let mut state = inner.lock(inner.shard_of(hash));
        let mut panics = FirstPanic::default();
        let (is_valid, ended) = match std::mem::replace(&mut self.tracking, Tracking::Done) {
            Tracking::Tracked(load) => {
                let ended = inner.loads_of(hash).end(load, End::Stored);
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
            // An untracked load may be beside a tracked one of its key, whose value would
            // replace what callers do to this entry from now on.
            inner.loads_of(hash).invalidate(Some(hash));
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

impl<K, V, S> LoadTicket<'_, K, V, S> {
    /// Ends the load without a value to store, and wakes the followers.
    fn end(&mut self, end: End) {
        let tracking = std::mem::replace(&mut self.tracking, Tracking::Done);
        let Tracking::Tracked(load) = tracking else { return };
        let mut panics = FirstPanic::default();
        self.inner.loads_of(self.hash).end(load, end).wake(&mut panics);
        panics.resume_unless_unwinding();
    }
}

impl<K, V, S> Drop for LoadTicket<'_, K, V, S> {
    /// The loader panicked, or its future was dropped.
    fn drop(&mut self) {
        self.end(if self.is_running { End::Failed } else { End::Abandoned });
    }
}
