//! Single flight: of the callers that find no value for a key, one (the leader) loads it, and
//! the others (the followers) wait.

use std::hash::{BuildHasher, Hash};
use std::ops::Deref;
use std::time::Duration;

use super::error::LoadError;
use super::in_flight::{End, LoadId, Loader, thread_number};
use super::key::LoadKey;
use super::leading::{Claimed, IfDropped, Leading, Sharing};
use super::nested::{NestedLoadScope, assert_not_nested};
use super::waiters::{HasLoads as _, WaitLimit, Waiting};
use crate::cache::inner::Inner;
use crate::cache::locked_shard::Held as _;
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::Found;
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::Probe;
use crate::time::ttl::Ttl;

/// What a lookup for a load came to.
pub(super) enum LookedUp<'a, R, K, V, S> {
    Hit(R),
    /// This caller is to load the key.
    Leader(Leading<&'a Inner<K, V, S>>),
    /// Another caller loads the key.
    Follower(LoadId),
}

/// What waiting for a value has come to.
pub(super) enum Turn<'a, R, K, V, S> {
    Hit(R),
    /// This caller is to load the key.
    Lead(Leading<&'a Inner<K, V, S>>),
}

/// The load that a caller waited for has failed.
pub(super) struct LeaderFailed;

/// What a follower does once the load has ended that it waited for.
pub(super) enum Then {
    LookAgain,
    /// Look again, and load without others waiting.
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
    /// Returns what a follower does now that the load has ended.
    pub(super) fn then(self, end: End) -> Then {
        match (end, self) {
            (End::Failed, Self::Fail) => Then::Fail,
            // There is a value, unless it has left already, which the next one would, too.
            (End::Stored | End::NotStored, _) => Then::LoadAlone,
            (End::Failed | End::Unknown | End::Overruled | End::Abandoned, _) => Then::LookAgain,
        }
    }
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher> Inner<K, V, S> {
    /// Returns the value of a key; where there is none, the one that `load` makes.
    pub(in crate::cache) fn load_with<E>(
        &self,
        key: impl LoadKey<K>,
        if_leader_fails: IfLeaderFails,
        load: impl FnOnce() -> Result<(V, Ttl), E>,
    ) -> Result<V, LoadError<E>> {
        if let Some(value) = self.get_to_load(key.query(), |_, found| found.value.clone()) {
            return Ok(key.discard(value));
        }
        let hash = KeyHash::new(&self.hasher, key.query());
        let copy = |found: Found<'_, K, V>| found.value.clone();
        let mut leading = match self.wait_for_turn(hash, key.query(), if_leader_fails, copy) {
            Ok(Turn::Hit(value)) => return Ok(key.discard(value)),
            Ok(Turn::Lead(leading)) => leading,
            Err(LeaderFailed) => return Err(LoadError::LeaderFailed),
        };
        let loaded = leading.run(load);
        leading.finish(key, DropGuard::new(loaded))
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Inner<K, V, S> {
    /// Looks once more, and waits while another caller loads the key.
    pub(super) fn wait_for_turn<R>(
        &self,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        if_leader_fails: IfLeaderFails,
        copy: impl Fn(Found<'_, K, V>) -> R,
    ) -> Result<Turn<'_, R, K, V, S>, LeaderFailed> {
        let mut loader = Some(Loader::Thread(thread_number()));
        loop {
            let load = match self.get_or_claim(hash, key, loader, &copy) {
                LookedUp::Hit(value) => return Ok(Turn::Hit(value)),
                LookedUp::Leader(leading) => return Ok(Turn::Lead(leading)),
                LookedUp::Follower(load) => load,
            };
            let waiting = Waiting::new(self, hash, load);
            let end = waiting.wait(WaitLimit::Never).expect("there is no limit");
            match if_leader_fails.then(end) {
                Then::LookAgain => {}
                Then::LoadAlone => loader = None,
                Then::Fail => return Err(LeaderFailed),
            }
        }
    }

    /// Looks once more, and claims the load if no other caller has it; without a `loader`,
    /// loads side by side with others. The call has been counted as a miss.
    pub(super) fn get_or_claim<R>(
        &self,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        loader: Option<Loader>,
        copy: impl FnOnce(Found<'_, K, V>) -> R,
    ) -> LookedUp<'_, R, K, V, S> {
        // Not under the lock, since a clock may be the caller's.
        let reading = self.now_for_ttl();
        let state = self.lock_for_read(self.shard_of(hash));
        let now = state.tick(reading);
        if let Some(id) = state.shard.find_live(hash.slot_hash(), key, now) {
            let found = match self.idle_end(state.time(reading)) {
                Some(end) => state.shard.access_until(id, end),
                None => state.shard.found(id),
            };
            return LookedUp::Hit(copy(found));
        }
        if matches!(loader, Some(Loader::Thread(_))) {
            assert_not_nested(self.loads_of(hash).address(), hash);
        }
        match Leading::claim(self, hash, loader, self.timebase.nanos_of(reading)) {
            Claimed::Leader(leading) => LookedUp::Leader(leading),
            Claimed::Follower(load) => LookedUp::Follower(load),
        }
    }
}

impl<K, V, S> Leading<&Inner<K, V, S>> {
    /// Runs the loader on this thread.
    pub(super) fn run<R>(&mut self, load: impl FnOnce() -> R) -> R {
        self.if_dropped = IfDropped::Fail;
        // The table detects recursion only of the loads that it has room for.
        let _nested = matches!(self.sharing, Sharing::Unshared(_))
            .then(|| NestedLoadScope::new(self.cache.loads_of(self.hash).address(), self.hash));
        load()
    }
}

impl<K: Hash + Eq, V, S: BuildHasher, H: Deref<Target = Inner<K, V, S>>> Leading<H> {
    /// Ends the load with an error.
    pub(super) fn fail_with<E>(
        &mut self,
        error: E,
        key: impl Sized,
        panics: &mut FirstPanic,
    ) -> DropGuard<E> {
        let error = DropGuard::new(error);
        self.end(End::Failed, panics);
        panics.drop(key);
        self.cache.reap_after_load(self.hash, panics);
        error
    }

    /// Ends the load with a value that is not to be stored.
    pub(super) fn store_nothing(&mut self, key: impl Sized, panics: &mut FirstPanic) {
        self.end(End::NotStored, panics);
        panics.drop(key);
        self.cache.reap_after_load(self.hash, panics);
    }
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher, H: Deref<Target = Inner<K, V, S>>> Leading<H> {
    /// Ends the load with what its loader returned, which is also returned.
    pub(super) fn finish<E>(
        mut self,
        key: impl LoadKey<K>,
        loaded: DropGuard<Result<(V, Ttl), E>>,
    ) -> Result<V, LoadError<E>> {
        // Clocks, wakers, `Clone`s and `Drop`s may panic: what is returned is guarded.
        let mut panics = FirstPanic::default();
        match loaded.into_inner() {
            Ok((value, ttl)) => {
                let value = DropGuard::new(value);
                if ttl == Ttl::After(Duration::ZERO) {
                    self.store_nothing(key, &mut panics);
                    return Ok(panics.resume_or(value).into_inner());
                }
                let own_key = DropGuard::new(key.into_key());
                let ttl = self.cache.ttl_of(ttl, self.hash, &own_key, &value);
                if ttl == Some(Duration::ZERO) {
                    self.store_nothing(own_key, &mut panics);
                } else {
                    let copy = DropGuard::new(value.get().clone());
                    self.store(own_key, copy, ttl, &mut panics);
                }
                Ok(panics.resume_or(value.into_inner()))
            }
            Err(error) => {
                let error = self.fail_with(error, key, &mut panics);
                Err(LoadError::Failed(panics.resume_or(error.into_inner())))
            }
        }
    }
}
