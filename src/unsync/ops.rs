//! What the calls do: read the clock, have the shard do it, then run listeners and drops,
//! and free what is due.
//!
//! A call that lends a reference frees what is due *first*: nothing may change the shard
//! while the reference lives. (The cache for many threads, which clones, does so after.)

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use arrayvec::ArrayVec;
use equivalent::Equivalent;

use super::Cache;
use crate::entry::new_entry::NewEntry;
use crate::entry::removal::{RemovalCause, Removed};
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::Shard;
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::Probe;
use crate::shard::slot_id::SlotId;
use crate::time::tick::Deadline;
use crate::time::ttl::Ttl;

/// Where an entry is: the number of its shard, and its slot.
pub(super) type Location = (usize, SlotId);

impl<K, V, S> Cache<K, V, S> {
    /// The first step of every call that may change the cache. Returns the tick it is.
    #[inline]
    pub(super) fn start_write(&mut self, panics: &mut FirstPanic) -> u64 {
        let now = self.clock.read();
        self.drop_uncached(panics);
        now
    }

    /// The same, where a TTL is to be counted from now.
    #[inline]
    pub(super) fn start_write_with_ttl(&mut self, panics: &mut FirstPanic) -> u64 {
        let now = self.clock.read_for_ttl();
        self.drop_uncached(panics);
        now
    }

    #[inline]
    fn drop_uncached(&mut self, panics: &mut FirstPanic) {
        if let Some(uncached) = self.uncached.take() {
            panics.drop(uncached);
        }
    }

    /// Owns a value that is lent but not held, until the next call.
    pub(super) fn lend_uncached(&mut self, value: V) -> &V {
        // The next call must take the slow path, which drops the value.
        self.clock.invalidate();
        self.uncached.insert(value)
    }

    #[inline]
    pub(super) fn shard_of(&self, hash: KeyHash) -> usize {
        hash.shard(self.shards.len())
    }

    /// Frees what is due in a shard, within `budget`.
    #[inline]
    pub(super) fn reap_shard(
        &mut self,
        shard: usize,
        now: u64,
        budget: usize,
        panics: &mut FirstPanic,
    ) {
        if self.shards[shard].has_work(now) {
            self.reap_shard_slow(shard, now, budget, usize::MAX, panics);
        }
    }

    /// Frees at most `limit` due entries of a shard, within `budget`. Returns how many.
    #[cold]
    fn reap_shard_slow(
        &mut self,
        shard: usize,
        now: u64,
        mut budget: usize,
        limit: usize,
        panics: &mut FirstPanic,
    ) -> usize {
        for freed in 0..limit {
            let Some(expired) = self.shards[shard].reap_one(now, &mut budget) else { return freed };
            self.notify_and_drop(expired, panics);
        }
        limit
    }

    /// Frees at most `limit` due entries in all shards. Returns how many.
    pub(super) fn reap_all(&mut self, limit: usize) -> usize {
        let mut panics = FirstPanic::default();
        let now = self.start_write(&mut panics);
        let freed = (0..self.shards.len()).fold(0, |freed, shard| {
            freed + self.reap_shard_slow(shard, now, usize::MAX, limit - freed, &mut panics)
        });
        panics.resume_or(freed)
    }

    /// Removes what is due and, of the rest, what `predicate` asks for. A panic in
    /// `predicate` ends it.
    pub(super) fn remove_where(
        &mut self,
        cause: RemovalCause,
        mut predicate: impl FnMut(&Shard<K, V>, SlotId) -> bool,
    ) {
        let mut panics = FirstPanic::default();
        let now = self.start_write(&mut panics);
        for number in 0..self.shards.len() {
            let mut left = 0..self.shards[number].capacity();
            while !left.is_empty() {
                let mut batch = ArrayVec::<_, 1>::new();
                let shard = &mut self.shards[number];
                let outcome = panics.catch(|| {
                    shard.remove_where(left, now, cause, &mut predicate, |_| (), &mut batch)
                });
                for removed in batch {
                    self.notify_and_drop(removed, &mut panics);
                }
                match outcome {
                    Some(not_looked_at) => left = not_looked_at,
                    None => return panics.resume_or(()),
                }
            }
        }
        panics.resume_or(());
    }

    /// Tells the listener of a removed entry, and drops it.
    pub(super) fn notify_and_drop(&mut self, removed: Removed<K, V>, panics: &mut FirstPanic) {
        let value = self.notify(removed, panics);
        panics.drop(value);
    }

    /// Tells the listener of a removed entry. Returns its value if it is the caller's.
    #[inline]
    pub(super) fn deliver(&mut self, removed: Removed<K, V>, panics: &mut FirstPanic) -> Option<V> {
        self.len -= 1;
        removed.deliver(self.listener.as_mut(), panics)
    }

    /// Tells the listener of a removed entry. Returns its value, also where it is not the caller's.
    fn notify(&mut self, removed: Removed<K, V>, panics: &mut FirstPanic) -> V {
        self.len -= 1;
        removed.notify(self.listener.as_mut(), panics)
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Cache<K, V, S> {
    /// Finds a live entry for a call that counts as its use.
    #[inline(always)]
    pub(super) fn get_entry(
        &mut self,
        key: &(impl Hash + Probe<K> + ?Sized),
    ) -> Option<(Location, &mut V)> {
        let hash = KeyHash::new(&self.hasher, key);
        let Some(now) = self.clock.cached_tick() else {
            return self.get_entry_slow(key, hash);
        };
        let number = self.shard_of(hash);
        if self.shards[number].has_work(now) {
            return self.get_entry_slow(key, hash);
        }
        self.look_up(number, hash, key, now)
    }

    /// [`get_entry`](Self::get_entry) for a call that inserts what it does not find: that frees
    /// what is due, and one call must not do so twice.
    pub(super) fn get_entry_to_load(
        &mut self,
        key: &(impl Hash + Probe<K> + ?Sized),
    ) -> Option<(Location, &mut V)> {
        let hash = KeyHash::new(&self.hasher, key);
        let number = self.shard_of(hash);
        let cached_tick = self.clock.cached_tick();
        if let Some(now) = cached_tick.filter(|&now| !self.shards[number].has_work(now)) {
            return self.look_up(number, hash, key, now);
        }
        let mut panics = FirstPanic::default();
        let now = self.start_use(&mut panics);
        let shard = &self.shards[number];
        if shard.has_work(now) && shard.find_live(hash.slot_hash(), key, now).is_some() {
            self.reap_shard(number, now, self.reap_limit, &mut panics);
        }
        panics.resume_or(());
        self.look_up_and_renew(number, hash, key, now)
    }

    /// Out of line: keeps the fast path free of the clock and of the reaping code.
    #[inline(never)]
    fn get_entry_slow(
        &mut self,
        key: &(impl Probe<K> + ?Sized),
        hash: KeyHash,
    ) -> Option<(Location, &mut V)> {
        let number = self.shard_of(hash);
        let mut panics = FirstPanic::default();
        let now = self.start_use(&mut panics);
        self.reap_shard(number, now, self.reap_limit, &mut panics);
        panics.resume_or(());
        self.look_up_and_renew(number, hash, key, now)
    }

    /// Finds a live entry in its shard, and counts a use, and a hit or a miss.
    #[inline(always)]
    fn look_up(
        &mut self,
        number: usize,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        now: u64,
    ) -> Option<(Location, &mut V)> {
        let found = self.accesses.count(self.shards[number].get(hash, key, now));
        found.map(|(id, value)| ((number, id), value))
    }

    /// Finds a live entry, for a call that changes nothing.
    pub(super) fn peek_entry(
        &self,
        key: &(impl Hash + Probe<K> + ?Sized),
        now: u64,
    ) -> Option<Location> {
        let hash = KeyHash::new(&self.hasher, key);
        let number = self.shard_of(hash);
        let id = self.shards[number].find_live(hash.slot_hash(), key, now)?;
        Some((number, id))
    }

    /// Returns the time to the deadline of a live entry; [`Duration::MAX`] without one.
    pub(super) fn time_left(&self, key: &(impl Hash + Probe<K> + ?Sized)) -> Option<Duration> {
        // By the clock that TTLs count from: the other one may lag.
        let now = self.clock.peek_for_ttl();
        let (shard, id) = self.peek_entry(key, now.tick)?;
        Some(self.clock.timebase.ttl_left(self.shards[shard].deadline_min(id), now))
    }

    /// Runs a loader, and counts it.
    pub(super) fn time_load<T, E>(&mut self, load: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.loads += 1;
        // Until it has brought a value: it may panic.
        self.loads_failed += 1;
        let began = self.clock.peek();
        // Guarded while the clock is read.
        let loaded = DropGuard::new(load());
        let took_nanos = self.clock.timebase.nanos_between(began, self.clock.peek());
        self.load_nanos = self.load_nanos.saturating_add(took_nanos);
        self.loads_failed -= u64::from(loaded.get().is_ok());
        loaded.into_inner()
    }

    /// Returns the value of a key; where there is none, the one that `load` makes.
    pub(super) fn load_with<E>(
        &mut self,
        key: &(impl Hash + Equivalent<K> + ToOwned<Owned: Into<K>> + ?Sized),
        load: impl FnOnce() -> Result<(V, Ttl), E>,
    ) -> Result<&V, E> {
        if let Some(((shard, id), _)) = self.get_entry_to_load(key) {
            return Ok(self.shards[shard].value(id));
        }
        // Guarded while what is due is freed, and the key is cloned, hashed and compared.
        let (value, ttl) = match self.time_load(load) {
            Ok((value, ttl)) => (DropGuard::new(value), ttl),
            Err(error) => {
                let error = DropGuard::new(error);
                self.reap_after_load(key);
                return Err(error.into_inner());
            }
        };
        if ttl == Ttl::After(Duration::ZERO) {
            self.reap_after_load(key);
            return Ok(self.lend_uncached(value.into_inner()));
        }
        let own_key = DropGuard::new(key.to_owned().into());
        let hash = KeyHash::new(&self.hasher, own_key.get());
        let new = self.by_rules(hash, own_key, value, ttl);
        if new.ttl == Some(Duration::ZERO) || !self.shards[0].can_hold(new.weight) {
            drop(new.key);
            self.reap_after_load(key);
            return Ok(self.lend_uncached(new.value.into_inner()));
        }
        let (replaced, location) = self.insert_new(new);
        // Nothing, unless the key's `Eq` has changed its mind.
        drop(replaced);
        let (shard, id) = location.expect("a TTL above zero inserts the value");
        Ok(self.shards[shard].value(id))
    }

    /// Frees what is due in the shard of a key that is not inserted, which would have freed it.
    pub(super) fn reap_after_load(&mut self, key: &(impl Hash + ?Sized)) {
        let shard = self.shard_of(KeyHash::new(&self.hasher, key));
        let mut panics = FirstPanic::default();
        let now = self.start_write(&mut panics);
        self.reap_shard(shard, now, self.reap_limit, &mut panics);
        panics.resume_or(());
    }

    /// Inserts an entry, or replaces that of its key. Returns the live value that it
    /// replaces, and where it is, unless its TTL is zero.
    #[inline]
    pub(super) fn upsert(&mut self, key: K, value: V, ttl: Ttl) -> (Option<V>, Option<Location>) {
        let (key, value) = (DropGuard::new(key), DropGuard::new(value));
        let hash = KeyHash::new(&self.hasher, key.get());
        if self.rules.is_some() {
            let new = self.by_rules(hash, key, value, ttl);
            return self.insert_new(new);
        }
        let ttl = ttl.or(self.ttl);
        let mut panics = FirstPanic::default();
        let now = self.start_write_with_ttl(&mut panics);
        self.upsert_at(hash, key, value, ttl, now, panics)
    }

    /// [`upsert`](Self::upsert) with the clock read already, where there are no rules.
    #[inline(always)]
    pub(super) fn upsert_at(
        &mut self,
        hash: KeyHash,
        mut key: DropGuard<K>,
        mut value: DropGuard<V>,
        ttl: Option<Duration>,
        now: u64,
        mut panics: FirstPanic,
    ) -> (Option<V>, Option<Location>) {
        let deadline = self.clock.deadline(ttl);
        if deadline == Deadline::Now {
            return (self.insert_expired(hash, key, value, now, panics), None);
        }
        let shard = self.shard_of(hash);
        let mut budget = self.reap_limit;
        let (id, displaced) =
            self.shards[shard].upsert(hash, &mut key, &mut value, deadline, now, &mut budget);
        self.len += 1;
        let replaced = displaced.and_then(|removed| self.deliver(removed, &mut panics));
        self.reap_shard(shard, now, budget, &mut panics);
        self.len_peak = self.len_peak.max(self.len);
        (panics.resume_or(replaced), Some((shard, id)))
    }

    /// Inserts an entry whose TTL is zero: what it replaces leaves, and the listener hears
    /// of both.
    #[cold]
    fn insert_expired(
        &mut self,
        hash: KeyHash,
        key: DropGuard<K>,
        value: DropGuard<V>,
        now: u64,
        mut panics: FirstPanic,
    ) -> Option<V> {
        let found = self.shards[self.shard_of(hash)].find(hash.slot_hash(), key.get());
        let new = NewEntry { hash, key, value, ttl: Some(Duration::ZERO), weight: 0 };
        let budget = self.reap_limit;
        let replaced =
            self.pass_through(new, found, RemovalCause::Expired, now, budget, &mut panics);
        panics.resume_or(replaced)
    }

    /// Removes the entry of a key. Returns its value if it was live.
    pub(super) fn remove_key(&mut self, key: &(impl Hash + Probe<K> + ?Sized)) -> Option<V> {
        let hash = KeyHash::new(&self.hasher, key);
        let mut panics = FirstPanic::default();
        let now = self.start_write(&mut panics);
        let shard = self.shard_of(hash);
        let removed = self.shards[shard].remove_key(hash, key, now);
        let value = removed.and_then(|removed| self.deliver(removed, &mut panics));
        self.reap_shard(shard, now, self.reap_limit, &mut panics);
        panics.resume_or(value)
    }

    /// Gives the live entry that `find` returns another TTL. Returns where it is, and its
    /// value if it has expired by that.
    pub(super) fn reschedule(
        &mut self,
        key: &(impl Hash + ?Sized),
        ttl: Ttl,
        find: impl FnOnce(&mut Shard<K, V>, KeyHash, u64) -> Option<SlotId>,
    ) -> Option<(Location, Option<V>)> {
        let hash = KeyHash::new(&self.hasher, key);
        let mut panics = FirstPanic::default();
        let now = self.start_write_with_ttl(&mut panics);
        let number = self.shard_of(hash);
        let shard = &mut self.shards[number];
        let found = find(shard, hash, now);
        let ttl = match (found, &self.rules) {
            (Some(id), Some(rules)) => rules.ttl(ttl, self.ttl, hash, shard.entry(id)),
            _ => ttl.or(self.ttl),
        };
        let deadline = self.clock.deadline(ttl);
        let expired = found.and_then(|id| shard.set_deadline(id, deadline, now));
        let expired = expired.map(|expired| self.notify(expired, &mut panics));
        self.reap_shard(number, now, self.reap_limit, &mut panics);
        let expired = panics.resume_or(expired);
        found.map(|id| ((number, id), expired))
    }
}
