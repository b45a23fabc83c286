//! Single flight: of the callers that find no value for a key, one (the leader) loads it, and
//! the others (the followers) wait.

#[cfg(feature = "async")]
mod future;
pub(crate) mod in_flight;
pub(crate) mod nested;
pub(crate) mod waiters;

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use equivalent::Equivalent;

use super::inner::Inner;
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::key_hash::KeyHash;
use in_flight::{Claim, Loader, thread_number};
use nested::{NestedLoadScope, assert_not_nested};

/// What a look-up for a load came to.
pub(super) enum Lookup<'a, K, V, S> {
    Hit(V),
    /// Another caller loads the key. Only futures get this; a thread waits before it returns.
    Pending,
    /// This caller is to load the key.
    Miss(LoadTicket<'a, K, V, S>),
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Inner<K, V, S> {
    pub(super) fn load_with<E>(
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
    /// The load ends under the lock under which the entry is inserted: the followers find
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
