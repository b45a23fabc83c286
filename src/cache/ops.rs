//! Calls about one key: hash, read the clock, lock, have the shard do it, unlock; then run
//! listeners and drops, and free what is due.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use super::inner::Inner;
use super::load::waiters::HasLoads as _;
use super::locked_shard::{Guard, Held, HeldToLook, ReadGuard, State};
use crate::entry::new_entry::NewEntry;
use crate::entry::removal::{RemovalCause, Removed};
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::Probe;
use crate::shard::slot_id::SlotId;
use crate::shard::{Found, Shard};
use crate::time::tick::{Deadline, Moment};
use crate::time::ttl::Ttl;

impl<K: Hash + Eq, V, S: BuildHasher> Inner<K, V, S> {
    /// Finds a live entry and gives it to `use_value` under the lock, which counts as a
    /// use; then frees what is due.
    #[inline(always)]
    pub(super) fn get_with<R>(
        &self,
        key: &(impl Hash + Probe<K> + ?Sized),
        use_value: impl FnOnce(&Self, Found<'_, K, V>) -> R,
    ) -> Option<R> {
        self.get_and_reap::<_, true>(key, use_value)
    }

    /// [`get_with`](Self::get_with) for a call that inserts what it does not find: that frees what
    /// is due, and one call must not do so twice.
    #[inline(always)]
    pub(super) fn get_to_load<R>(
        &self,
        key: &(impl Hash + Probe<K> + ?Sized),
        use_value: impl FnOnce(&Self, Found<'_, K, V>) -> R,
    ) -> Option<R> {
        self.get_and_reap::<_, false>(key, use_value)
    }

    #[inline(always)]
    fn get_and_reap<R, const AFTER_MISS: bool>(
        &self,
        key: &(impl Hash + Probe<K> + ?Sized),
        use_value: impl FnOnce(&Self, Found<'_, K, V>) -> R,
    ) -> Option<R> {
        self.begin_call();
        let hash = KeyHash::new(&self.hasher, key);
        let now = self.estimate();
        match self.shards[self.shard_of(hash)].lock_biased(&self.reaper) {
            Some(state) => self.look_up::<_, _, AFTER_MISS>(state, hash, key, now, use_value),
            None => self.get_plain::<_, AFTER_MISS>(hash, key, now, use_value),
        }
    }

    /// Out of line: keeps the fast path free of what may wait for writers.
    #[inline(never)]
    fn get_plain<R, const AFTER_MISS: bool>(
        &self,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        now: Moment,
        use_value: impl FnOnce(&Self, Found<'_, K, V>) -> R,
    ) -> Option<R> {
        let state = self.shards[self.shard_of(hash)].lock_plain(&self.reaper);
        self.look_up::<_, _, AFTER_MISS>(state, hash, key, now, use_value)
    }

    #[inline(always)]
    fn look_up<'a, G, R, const AFTER_MISS: bool>(
        &'a self,
        state: G,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        now: Moment,
        use_value: impl FnOnce(&Self, Found<'_, K, V>) -> R,
    ) -> Option<R>
    where
        K: 'a,
        V: 'a,
        G: HeldToLook<K, V> + Into<ReadGuard<'a, K, V>>,
    {
        let tick = state.tick(now);
        if self.may_have_due(&state, tick) {
            if self.rules.is_some() {
                return self.get_by_rules::<_, _, AFTER_MISS>(state, hash, key, now, use_value);
            }
            return self.get_slow::<_, AFTER_MISS>(state.into(), hash, key, now, use_value);
        }
        let found = state.shard.access(hash, key);
        let found = self.accesses.count_of(state.thread(), found);
        found.map(|found| use_value(self, found))
    }

    /// The second half of a lookup under a shared lock: counts a use, which postpones the end of an
    /// entry that expires if nobody uses it, and a hit or a miss. The time is that [for a
    /// use](Self::now_for_use).
    pub(super) fn record_access<'a>(
        &self,
        state: &'a impl Held<K, V>,
        live: Option<SlotId>,
        hash: KeyHash,
        now: Moment,
    ) -> Option<Found<'a, K, V>>
    where
        K: 'a,
    {
        if self.rules.is_some() {
            return self.record_access_by_rules(state, live, hash, now);
        }
        self.accesses.count(state.shard.record_access(live, hash))
    }

    /// Out of line: keeps the fast path free of what looks at deadlines.
    #[inline(never)]
    pub(super) fn get_slow<R, const AFTER_MISS: bool>(
        &self,
        state: ReadGuard<'_, K, V>,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        now: Moment,
        use_value: impl FnOnce(&Self, Found<'_, K, V>) -> R,
    ) -> Option<R> {
        let now = self.now_for_use(now);
        let found = state.shard.find(hash.slot_hash(), key);
        let live = found.filter(|&id| !self.is_due(&state, id, now));
        let tick = state.tick(now);
        let has_work = state.shard.has_work(tick);
        let result =
            self.record_access(&state, live, hash, now).map(|found| use_value(self, found));
        if !has_work {
            return result;
        }
        drop(state);
        if result.is_none() && !AFTER_MISS {
            return None;
        }
        self.reap_after_look(self.shard_of(hash), now, result)
    }

    /// Gives a live entry to `update`, which counts as a use; then frees what is due. What a
    /// refresh brings is not to replace what `update` makes of the value.
    pub(super) fn update<R>(
        &self,
        key: &(impl Hash + Probe<K> + ?Sized),
        update: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        self.begin_call();
        let hash = KeyHash::new(&self.hasher, key);
        if self.rules.is_some() {
            return self.update_by_rules(hash, key, update);
        }
        let now = self.estimate();
        let mut state = self.lock(self.shard_of(hash));
        let time = state.time(now);
        let found = state.shard.find(hash.slot_hash(), key);
        let live = found.filter(|&id| !self.is_due(&state, id, now));
        let found = self.accesses.count(state.shard.record_access_mut(live, hash));
        let result = found.map(|(_, value)| {
            self.loads_of(hash).overrule(hash);
            let _scope = self.closure_scope();
            update(value)
        });
        let has_work = state.shard.has_work(time.tick);
        drop(state);
        if has_work {
            return self.reap_after_look(self.shard_of(hash), time, result);
        }
        result
    }

    /// Finds a live entry and gives it to `look`, for a call that changes nothing.
    #[inline]
    pub(super) fn peek_with<R>(
        &self,
        key: &(impl Hash + Probe<K> + ?Sized),
        look: impl FnOnce(&State<K, V>, SlotId) -> R,
    ) -> Option<R> {
        self.begin_call();
        let hash = KeyHash::new(&self.hasher, key);
        let now = self.estimate();
        let state = self.lock_for_read(self.shard_of(hash));
        let found = state.shard.find(hash.slot_hash(), key)?;
        if self.is_due(&state, found, now) {
            return None;
        }
        Some(look(&state, found))
    }

    /// Returns the time to the deadline of a live entry; [`Duration::MAX`] without one.
    pub(super) fn expires_in(&self, key: &(impl Hash + Probe<K> + ?Sized)) -> Option<Duration> {
        self.begin_call();
        let hash = KeyHash::new(&self.hasher, key);
        let reading = self.now_for_ttl();
        let state = self.lock_for_read(self.shard_of(hash));
        let now = state.time(reading);
        let id = state.shard.find_live(hash.slot_hash(), key, now.tick)?;
        Some(self.timebase.ttl_left(state.shard.deadline_min(id), now))
    }

    /// Inserts an entry, or replaces that of its key. Returns the live value that it
    /// replaces.
    #[inline(always)]
    pub(super) fn insert(&self, key: K, value: V, ttl: Ttl) -> Option<V> {
        if self.rules.is_some() {
            return self.insert_by_rules(key, value, ttl);
        }
        self.upsert(key, value, ttl.or(self.ttl))
    }

    /// [`insert`](Self::insert)s where there are no rules.
    #[inline]
    pub(super) fn upsert(&self, key: K, value: V, ttl: Option<Duration>) -> Option<V> {
        let (key, value) = (DropGuard::new(key), DropGuard::new(value));
        self.begin_call();
        let hash = KeyHash::new(&self.hasher, key.get());
        let reading = self.now_for_ttl();
        let state = self.lock_for_write(self.shard_of(hash), hash);
        self.upsert_locked(hash, (key, value), ttl, reading, state, |_| ())
    }

    /// [`upsert`](Self::upsert) with the lock held already, where there are no rules. Calls
    /// `once_unlocked` before any listener.
    ///
    /// The lock comes after key and value: should `Eq` panic, it is released first, and they are
    /// dropped then.
    #[inline(always)]
    pub(super) fn upsert_locked(
        &self,
        hash: KeyHash,
        (mut key, mut value): (DropGuard<K>, DropGuard<V>),
        ttl: Option<Duration>,
        reading: Moment,
        mut state: Guard<'_, K, V>,
        once_unlocked: impl FnOnce(&mut FirstPanic),
    ) -> Option<V> {
        let time = state.time(reading);
        let deadline = self.timebase.deadline(time, ttl);
        if deadline == Deadline::Now {
            let new = NewEntry { hash, key, value, ttl, weight: 0 };
            return self.insert_expired(new, time, state);
        }
        let mut budget = self.reap_limit;
        let (_, displaced) =
            state.shard.upsert(hash, &mut key, &mut value, deadline, time.tick, &mut budget);
        self.settle(state, hash, time, budget, displaced, once_unlocked)
    }

    /// Inserts an entry whose TTL is zero: what it replaces leaves, and the listener hears
    /// of both.
    #[cold]
    fn insert_expired(
        &self,
        new: NewEntry<K, V>,
        time: Moment,
        state: Guard<'_, K, V>,
    ) -> Option<V> {
        let mut panics = FirstPanic::default();
        let found = state.shard.find(new.hash.slot_hash(), new.key.get());
        let budget = self.reap_limit;
        let expired = RemovalCause::Expired;
        let replaced =
            self.pass_through(new, found, expired, time, state, budget, |_| (), &mut panics);
        panics.resume_or(replaced)
    }

    /// Removes the entry of a key. Returns its value if it was live.
    pub(super) fn remove(&self, key: &(impl Hash + Probe<K> + ?Sized)) -> Option<V> {
        self.begin_call();
        let hash = KeyHash::new(&self.hasher, key);
        let now = self.estimate();
        let mut state = self.lock_for_write(self.shard_of(hash), hash);
        let time = state.time(now);
        let removed = state.shard.find(hash.slot_hash(), key).map(|id| {
            let is_due = self.is_due(&state, id, now);
            state.shard.remove_found(id, is_due)
        });
        self.settle(state, hash, time, self.reap_limit, removed, |_| ())
    }

    /// Gives the live entry that `find` returns another TTL. Returns what else `find` does.
    pub(super) fn set_ttl<R>(
        &self,
        key: &(impl Hash + ?Sized),
        ttl: Ttl,
        find: impl FnOnce(&mut Shard<K, V>, KeyHash, Moment) -> Option<(SlotId, R)>,
    ) -> Option<R> {
        self.begin_call();
        let hash = KeyHash::new(&self.hasher, key);
        let reading = self.now_for_ttl();
        // Declared first: should callers' code panic, it is dropped after the lock is released.
        let found;
        let mut state = self.lock(self.shard_of(hash));
        let time = state.time(reading);
        let (id, value) = find(&mut state.shard, hash, time).unzip();
        found = value.map(DropGuard::new);
        let ttl = match id.filter(|_| self.rules.is_some()) {
            Some(id) => self.ttl_of_held(&state, id, ttl, hash),
            None => ttl.or(self.ttl),
        };
        let deadline = self.timebase.deadline(time, ttl);
        let expired = id.and_then(|id| state.shard.set_deadline(id, deadline, time.tick));
        if expired.is_some() {
            state.loads().overrule(hash);
        }
        self.settle(state, hash, time, self.reap_limit, expired, |_| ());
        found.map(DropGuard::into_inner)
    }

    /// Unlocks a shard that a call has changed. Returns whether the call is to free what is due.
    ///
    /// By the scope of `state`: a call of `drop` would copy the guard.
    #[inline(always)]
    pub(super) fn unlock(
        mut state: Guard<'_, K, V>,
        time: Moment,
        budget: usize,
        none_removed: bool,
    ) -> bool {
        let has_work = state.shard.has_work(time.tick) && budget > 0;
        // Where something was removed, there are no more entries than before.
        if !has_work && none_removed {
            state.shard.record_peak();
        }
        has_work
    }

    /// The last step of a call that has changed a shard: unlocks, calls `once_unlocked`, tells
    /// the listener of what was removed, and frees what is due within `budget`. Returns the
    /// removed value if it is the caller's.
    #[inline(always)]
    pub(super) fn settle(
        &self,
        state: Guard<'_, K, V>,
        hash: KeyHash,
        time: Moment,
        budget: usize,
        removed: Option<Removed<K, V>>,
        once_unlocked: impl FnOnce(&mut FirstPanic),
    ) -> Option<V> {
        let has_work = Self::unlock(state, time, budget, removed.is_none());
        let mut panics = FirstPanic::default();
        once_unlocked(&mut panics);
        let value = removed.and_then(|removed| self.deliver(removed, &mut panics));
        if has_work {
            self.reap_shard(self.shard_of(hash), time, budget, &mut panics);
        }
        panics.resume_or(value)
    }
}
