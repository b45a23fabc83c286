//! Single flight: of the callers that find no value for a key, one (the leader) loads it, and
//! the others (the followers) wait.

use std::hash::{BuildHasher, Hash};
use std::ops::Deref;
use std::time::Duration;

use equivalent::Equivalent;

use super::error::LoadError;
use super::in_flight::{End, LoadId, Loader, thread_number};
use super::key::LoadKey;
use super::leading::{Claimed, IfDropped, Leading, Sharing};
use super::nested::{NestedLoadScope, assert_not_nested};
use super::waiters::{HasLoads as _, WaitLimit, Waiting};
use crate::cache::inner::Inner;
use crate::cache::locked_shard::Held as _;
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::key_hash::KeyHash;
use crate::time::ttl::Ttl;

/// What a look-up for a load came to.
pub(super) enum Found<'a, K, V, S> {
    Hit(V),
    /// This caller is to load the key.
    Leader(Leading<&'a Inner<K, V, S>>),
    /// Another caller loads the key.
    Follower(LoadId),
}

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
        if let Some(value) = self.get_to_load(key.query(), |_, value| value.clone()) {
            return Ok(key.discard(value));
        }
        let hash = KeyHash::new(&self.hasher, key.query());
        let mut loader = Some(Loader::Thread(thread_number()));
        let mut leading = loop {
            let load = match self.get_or_claim(hash, key.query(), loader) {
                Found::Hit(value) => return Ok(key.discard(value)),
                Found::Leader(leading) => break leading,
                Found::Follower(load) => load,
            };
            let waiting = Waiting::new(self, hash, load);
            let end = waiting.wait(WaitLimit::Never).expect("there is no limit");
            match if_leader_fails.then(end) {
                Then::LookAgain => {}
                Then::LoadAlone => loader = None,
                Then::Fail => return Err(LoadError::LeaderFailed),
            }
        };
        leading.if_dropped = IfDropped::Fail;
        let loaded = {
            // The table detects recursion only of the loads that it has room for.
            let _nested = matches!(leading.sharing, Sharing::Unshared(_))
                .then(|| NestedLoadScope::new(self.loads_of(hash).address(), hash));
            load()
        };
        leading.finish(key, DropGuard::new(loaded))
    }

    /// Looks once more, and claims the load if no other caller has it; without a `loader`,
    /// loads side by side with others. The call has been counted as a miss.
    pub(super) fn get_or_claim(
        &self,
        hash: KeyHash,
        key: &(impl Equivalent<K> + ?Sized),
        loader: Option<Loader>,
    ) -> Found<'_, K, V, S> {
        // Not under the lock, since a clock may be the caller's.
        let reading = self.now_for_ttl();
        let state = self.lock_for_read(self.shard_of(hash));
        let now = state.tick(reading);
        if let Some(id) = state.shard.find_live(hash.slot_hash(), key, now) {
            let value = match self.idle_end(state.time(reading)) {
                Some(end) => state.shard.access_until(id, end),
                None => state.shard.value(id),
            };
            return Found::Hit(value.clone());
        }
        if matches!(loader, Some(Loader::Thread(_))) {
            assert_not_nested(self.loads_of(hash).address(), hash);
        }
        match Leading::claim(self, hash, loader, self.timebase.nanos_of(reading)) {
            Claimed::Leader(leading) => Found::Leader(leading),
            Claimed::Follower(load) => Found::Follower(load),
        }
    }
}

impl<K: Hash + Eq, V: Clone, S: BuildHasher, H: Deref<Target = Inner<K, V, S>>> Leading<H> {
    /// Ends the load with a value that is not to be stored.
    fn store_nothing(&mut self, key: impl Sized, panics: &mut FirstPanic) {
        self.end(End::NotStored, panics);
        panics.drop(key);
        self.cache.reap_after_load(self.hash, panics);
    }

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
                let error = DropGuard::new(error);
                self.end(End::Failed, &mut panics);
                panics.drop(key);
                self.cache.reap_after_load(self.hash, &mut panics);
                Err(LoadError::Failed(panics.resume_or(error.into_inner())))
            }
        }
    }
}
