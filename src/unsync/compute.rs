//! Calls that look at an entry and decide what becomes of it.

use std::hash::{BuildHasher, Hash};

use equivalent::Equivalent;

use super::Cache;
use crate::entry::compute::Compute;
use crate::entry::removal::Removed;
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::key_hash::KeyHash;
use crate::time::ttl::Ttl;

impl<K: Hash + Eq, V, S: BuildHasher> Cache<K, V, S> {
    /// Inserts an entry, if its key has no live one. Gives it back otherwise.
    pub(super) fn insert_absent(&mut self, key: K, value: V, ttl: Ttl) -> Result<(), (K, V)> {
        let (key, value) = (DropGuard::new(key), DropGuard::new(value));
        let hash = KeyHash::new(&self.hasher, key.get());
        let new = self.by_rules(hash, key, value, ttl);
        let mut panics = FirstPanic::default();
        let now = self.start_write_with_ttl(&mut panics);
        let number = self.shard_of(hash);
        let shard = &self.shards[number];
        let found = panics.require(|| shard.find(hash.slot_hash(), new.key.get()));
        if found.is_some_and(|id| !self.shards[number].is_due(id, now)) {
            self.reap_shard(number, now, self.reap_limit, &mut panics);
            let (key, value) = panics.resume_or((new.key, new.value));
            return Err((key.into_inner(), value.into_inner()));
        }
        let (replaced, _) = self.insert_found(new, found, now, &mut panics);
        debug_assert!(replaced.is_none(), "nothing live is replaced");
        panics.resume_or(Ok(()))
    }

    /// Shows the live value of a key to `decide`, and does what that says.
    pub(super) fn compute_entry<R>(
        &mut self,
        key: K,
        decide: impl FnOnce(Option<&mut V>) -> Compute<V, R>,
    ) -> R {
        let key = DropGuard::new(key);
        let hash = KeyHash::new(&self.hasher, key.get());
        let mut panics = FirstPanic::default();
        let now = self.start_write_with_ttl(&mut panics);
        panics.resume_or(());
        let number = self.shard_of(hash);
        let found = self.shards[number].find(hash.slot_hash(), key.get());
        let live = found.filter(|&id| !self.shards[number].is_due(id, now));
        self.renew(number, live, now);
        let seen = self.accesses.count(self.shards[number].record_access_mut(live, hash));
        let mut panics = FirstPanic::default();
        let Some(decided) = panics.catch(|| decide(seen.map(|(_, value)| value))) else {
            // What it has changed in place stays, and is weighed.
            if let Some(id) = live {
                self.weigh_again(number, id, now, &mut self.reap_limit.clone(), &mut panics);
            }
            panics.resume_or(());
            unreachable!("the panic goes on");
        };
        let (value, ttl, result) = match decided {
            Compute::Keep(result) => {
                let result = DropGuard::new(result);
                let mut budget = self.reap_limit;
                if let Some(id) = live {
                    self.weigh_again(number, id, now, &mut budget, &mut panics);
                }
                self.reap_shard(number, now, budget, &mut panics);
                // While the result is guarded: it would leak if this panicked on return.
                panics.drop(key);
                panics.resume_or(());
                return result.into_inner();
            }
            Compute::Remove(result) => {
                let result = DropGuard::new(result);
                if let Some(id) = live {
                    let removed = self.shards[number].remove_found(id, false);
                    self.notify_and_drop(removed, &mut panics);
                }
                self.reap_shard(number, now, self.reap_limit, &mut panics);
                panics.drop(key);
                panics.resume_or(());
                return result.into_inner();
            }
            Compute::Set(value, result) => (value, Ttl::Default, result),
            Compute::SetWithTtl(value, ttl, result) => (value, ttl, result),
        };
        let (value, result) = (DropGuard::new(value), DropGuard::new(result));
        let new = self.by_rules(hash, key, value, ttl);
        let (replaced, _) = self.insert_found(new, found, now, &mut panics);
        panics.drop(replaced);
        panics.resume_or(());
        result.into_inner()
    }

    /// Removes a key, if its live value fulfils a condition.
    pub(super) fn remove_key_if<Q>(
        &mut self,
        key: &Q,
        condition: impl FnOnce(&V) -> bool,
    ) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = KeyHash::new(&self.hasher, key);
        let mut panics = FirstPanic::default();
        let now = self.start_write(&mut panics);
        panics.resume_or(());
        let number = self.shard_of(hash);
        let shard = &mut self.shards[number];
        let live = shard.find_live(hash.slot_hash(), key, now);
        let chosen = live.filter(|&id| condition(shard.value(id)));
        let removed = chosen.map(|id| shard.remove_found(id, false));
        let mut panics = FirstPanic::default();
        let value = removed.and_then(|removed| self.deliver(removed, &mut panics));
        self.reap_shard(number, now, self.reap_limit, &mut panics);
        panics.resume_or(value)
    }

    /// Removes a key. Returns it as it was held, with its value if that was live.
    pub(super) fn remove_with_key<Q>(&mut self, key: &Q) -> Option<(K, V)>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = KeyHash::new(&self.hasher, key);
        let mut panics = FirstPanic::default();
        let now = self.start_write(&mut panics);
        let number = self.shard_of(hash);
        let removed = self.shards[number].remove_key(hash, key, now);
        self.len -= usize::from(removed.is_some());
        let entry = removed.and_then(|removed: Removed<_, _>| {
            removed.deliver_entry(self.listener.as_mut(), &mut panics)
        });
        self.reap_shard(number, now, self.reap_limit, &mut panics);
        let (key, value) = panics.resume_or(entry)?;
        Some((key.into_inner(), value.into_inner()))
    }

    /// Gives a live entry to `update`, which counts as a use, and weighs it again.
    pub(super) fn update_entry<R>(
        &mut self,
        key: &(impl Hash + Equivalent<K> + ?Sized),
        update: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        if self.rules.is_none() {
            return self.get_entry(key).map(|(_, value)| update(value));
        }
        let ((shard, id), value) = self.get_entry(key)?;
        // What it makes of the value before a panic stays, and is weighed.
        let mut panics = FirstPanic::default();
        let result = DropGuard::new(panics.catch(|| update(value)));
        let now = self.clock.latest_tick();
        // `get_entry` may have freed as much as one call may.
        self.weigh_again(shard, id, now, &mut 0, &mut panics);
        panics.resume_or(());
        result.into_inner()
    }
}
