//! Calls that look at an entry and decide what becomes of it, under one hold of its shard's lock.

use std::hash::{BuildHasher, Hash};

use equivalent::Equivalent;

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
