//! Calls about one key where the cache has [rules](crate::settings::rules): TTLs by entry, idle
//! times, weights. All of it is out of line, so that a cache without rules pays for none.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use super::inner::Inner;
use super::load::waiters::HasLoads as _;
use super::locked_shard::{Guard, Held, HeldToLook, ReadGuard, State};
use super::reap::{Batch, batched};
use crate::entry::new_entry::NewEntry;
use crate::entry::removal::{RemovalCause, Removed};
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::Probe;
use crate::shard::slot_id::SlotId;
use crate::shard::{Found, Shard};
use crate::time::tick::{Deadline, Moment};
use crate::time::ttl::Ttl;

impl<K, V, S> Inner<K, V, S> {
    /// Returns the TTL of an entry; `None` for never.
    #[inline]
    pub(super) fn ttl_of(
        &self,
        ttl: Ttl,
        hash: KeyHash,
        key: &DropGuard<K>,
        value: &DropGuard<V>,
    ) -> Option<Duration> {
        match &self.rules {
            None => ttl.or(self.ttl),
            Some(rules) => rules.ttl(ttl, self.ttl, hash, (key.get(), value.get())),
        }
    }

    /// [`ttl_of`](Self::ttl_of) an entry that is held.
    #[cold]
    pub(super) fn ttl_of_held(
        &self,
        state: &State<K, V>,
        id: SlotId,
        ttl: Ttl,
        hash: KeyHash,
    ) -> Option<Duration> {
        let Some(rules) = &self.rules else { return ttl.or(self.ttl) };
        let _scope = self.closure_scope();
        rules.ttl(ttl, self.ttl, hash, state.shard.entry(id))
    }

    /// Returns the weight of an entry; zero where entries are not weighed.
    pub(super) fn weight_of(&self, key: &K, value: &V) -> u64 {
        let weigher = self.rules.as_ref().and_then(|rules| rules.weigher.as_ref());
        weigher.map_or(0, |weigher| weigher(key, value))
    }

    fn is_weighed(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.weigher.is_some())
    }

    /// Returns the time to [record a use](Self::record_access), given an estimate: where that
    /// postpones the end of an entry, the time that a TTL counts from. Runs no callers' code, so that
    /// a lock may be held.
    #[inline]
    pub(super) fn now_for_use(&self, estimate: Moment) -> Moment {
        match &self.rules {
            Some(rules) if rules.time_to_idle.is_some() => {
                self.reaper.tsc_now().unwrap_or_else(|| self.refine(estimate))
            }
            _ => estimate,
        }
    }

    /// Of a caller's clock, the estimate is the time.
    #[cold]
    #[inline(never)]
    fn refine(&self, estimate: Moment) -> Moment {
        if self.source.timescale().is_some() { self.now_for_ttl() } else { estimate }
    }

    /// Returns when an entry expires that nobody uses from now on; `None` if that makes no
    /// difference.
    #[inline]
    pub(super) fn idle_end(&self, time: Moment) -> Option<u64> {
        let time_to_idle = self.rules.as_ref().and_then(|rules| rules.time_to_idle);
        time_to_idle.map(|time_to_idle| self.timebase.end_after(time, time_to_idle))
    }

    /// [`record_access`](Self::record_access)es an entry by the rules.
    #[inline(never)]
    pub(super) fn record_access_by_rules<'a>(
        &self,
        state: &'a impl Held<K, V>,
        live: Option<SlotId>,
        hash: KeyHash,
        now: Moment,
    ) -> Option<Found<'a, K, V>>
    where
        K: 'a,
    {
        let found = match self.idle_end(state.time(now)) {
            Some(end) => state.shard.record_access_until(live, hash, end),
            None => state.shard.record_access(live, hash),
        };
        self.accesses.count(found)
    }

    /// Postpones the end of an entry that is used, unless its TTL ends before.
    #[inline(never)]
    pub(super) fn renew(&self, shard: &mut Shard<K, V>, id: SlotId, time: Moment) {
        if let Some(end) = self.idle_end(time) {
            shard.renew(id, end, time.tick);
        }
    }

    /// The last step of an insertion, under its lock: idle time and weight.
    pub(super) fn finish_insertion(
        &self,
        state: &mut State<K, V>,
        id: SlotId,
        ttl: Deadline,
        time: Moment,
        weight: u64,
    ) {
        if let Some(end) = self.idle_end(time) {
            state.shard.start_idle(id, ttl, end, time.tick);
        }
        state.shard.set_weight(id, weight);
    }

    /// Has an entry leave as it arrives: its TTL is zero, or it is too heavy. What it replaces, which
    /// is in slot `found`, leaves, too, and is returned if it was live.
    #[expect(clippy::too_many_arguments, reason = "all that one insertion knows")]
    pub(super) fn pass_through(
        &self,
        new: NewEntry<K, V>,
        found: Option<SlotId>,
        cause: RemovalCause,
        time: Moment,
        mut state: Guard<'_, K, V>,
        budget: usize,
        once_unlocked: impl FnOnce(&mut FirstPanic),
        panics: &mut FirstPanic,
    ) -> Option<V> {
        let replaced = state.shard.pass_through(found, time.tick, cause);
        drop(state);
        once_unlocked(panics);
        let replaced = replaced.and_then(|removed| self.deliver(removed, panics));
        let (key, value) = (new.key.into_inner(), new.value.into_inner());
        self.notify_and_drop(Removed { key, value, cause }, panics);
        self.reap_shard(self.shard_of(new.hash), time, budget, panics);
        replaced
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Inner<K, V, S> {
    /// [`insert`](Self::insert)s an entry by the rules.
    #[cold]
    #[inline(never)]
    pub(super) fn insert_by_rules(&self, key: K, value: V, ttl: Ttl) -> Option<V> {
        let new = self.new_entry(key, value, ttl);
        let reading = self.now_for_ttl();
        let mut budget = self.reap_limit;
        let mut panics = FirstPanic::default();
        let state = self.lock_with_room(&new, reading, false, &mut budget, &mut panics);
        self.loads_of(new.hash).overrule(new.hash);
        let replaced =
            self.upsert_locked_by_rules(new, reading, state, &mut budget, |_| (), &mut panics);
        panics.resume_or(replaced)
    }

    /// The first steps of a call that inserts an entry: all of callers' code that runs before the lock.
    pub(super) fn new_entry(&self, key: K, value: V, ttl: Ttl) -> NewEntry<K, V> {
        let (key, value) = (DropGuard::new(key), DropGuard::new(value));
        self.begin_call();
        let hash = KeyHash::new(&self.hasher, key.get());
        let ttl = self.ttl_of(ttl, hash, &key, &value);
        let weight = self.weight_of(key.get(), value.get());
        NewEntry { hash, key, value, ttl, weight }
    }

    /// Locks the shard of a new entry once it has room for its weight, for which it evicts others, a
    /// few under each lock. Also returns where the entry is too heavy for any room; and, with
    /// `if_absent`, where there is a live one of its key.
    ///
    /// Listeners, `Drop`s and other threads may use the room up as fast as it is made. So this evicts
    /// no more entries than there were at first, and leaves the rest to [`shed`](Self::shed): those
    /// who insert meanwhile make room for what is over the limit, too.
    pub(super) fn lock_with_room(
        &self,
        new: &NewEntry<K, V>,
        reading: Moment,
        if_absent: bool,
        budget: &mut usize,
        panics: &mut FirstPanic,
    ) -> Guard<'_, K, V> {
        batched!(self.lock_with_room_in_batches(new, reading, if_absent, budget, panics))
    }

    fn lock_with_room_in_batches<const N: usize>(
        &self,
        new: &NewEntry<K, V>,
        reading: Moment,
        if_absent: bool,
        budget: &mut usize,
        panics: &mut FirstPanic,
    ) -> Guard<'_, K, V> {
        let (slot_hash, weight) = (new.hash.slot_hash(), new.weight);
        let mut evictions_left = None;
        loop {
            let mut batch = Batch::<K, V, N>::new();
            let mut state = self.lock(self.shard_of(new.hash));
            if !self.is_weighed() || !state.shard.can_hold(weight) {
                return state;
            }
            let now = state.tick(reading);
            let live = panics.require(|| state.shard.find_live(slot_hash, new.key.get(), now));
            if (if_absent && live.is_some()) || state.shard.has_room(live, weight) {
                return state;
            }
            let evictions_left = evictions_left.get_or_insert(state.shard.len());
            if *evictions_left == 0 {
                return state;
            }
            while !batch.is_full() && *evictions_left > 0 && !state.shard.has_room(live, weight) {
                batch.push(state.shard.make_room(live, now, budget));
                *evictions_left -= 1;
            }
            drop(state);
            for removed in batch {
                self.notify_and_drop(removed, panics);
            }
        }
    }

    /// Inserts an entry, or replaces that of its key, with the lock held already. Evicts others
    /// afterwards, if that was not taken [with room](Self::lock_with_room). Calls `once_unlocked`
    /// before any listener. Returns the live value that it replaces.
    pub(super) fn upsert_locked_by_rules(
        &self,
        new: NewEntry<K, V>,
        reading: Moment,
        state: Guard<'_, K, V>,
        budget: &mut usize,
        once_unlocked: impl FnOnce(&mut FirstPanic),
        panics: &mut FirstPanic,
    ) -> Option<V> {
        let time = state.time(reading);
        let slot_hash = new.hash.slot_hash();
        let found = panics.require(|| state.shard.find(slot_hash, new.key.get()));
        self.upsert_found(new, found, time, state, budget, once_unlocked, panics)
    }

    /// Inserts an entry, or replaces the one in slot `found`, which is that of its key. Evicts others
    /// until the weight is kept, if the lock was not taken [with room](Self::lock_with_room). Calls
    /// `once_unlocked` before any listener. Returns the live value that it replaces.
    #[expect(clippy::too_many_arguments, reason = "all that one insertion knows")]
    pub(super) fn upsert_found(
        &self,
        mut new: NewEntry<K, V>,
        found: Option<SlotId>,
        time: Moment,
        mut state: Guard<'_, K, V>,
        budget: &mut usize,
        once_unlocked: impl FnOnce(&mut FirstPanic),
        panics: &mut FirstPanic,
    ) -> Option<V> {
        let deadline = self.timebase.deadline(time, new.ttl);
        let cause = match deadline {
            Deadline::Now => Some(RemovalCause::Expired),
            _ if !state.shard.can_hold(new.weight) => Some(RemovalCause::Evicted),
            _ => None,
        };
        if let Some(cause) = cause {
            let budget = *budget;
            return self.pass_through(
                new,
                found,
                cause,
                time,
                state,
                budget,
                once_unlocked,
                panics,
            );
        }
        let NewEntry { hash, key, value, weight, .. } = &mut new;
        let entry = (key.take(), value.take());
        let shard = &mut state.shard;
        let (id, displaced) = shard.upsert_found(found, *hash, entry, deadline, time.tick, budget);
        self.finish_insertion(&mut state, id, deadline, time, *weight);
        let is_too_heavy = state.shard.is_too_heavy();
        let has_work = Self::unlock(state, time, *budget, displaced.is_none());
        once_unlocked(panics);
        let replaced = displaced.and_then(|removed| self.deliver(removed, panics));
        if is_too_heavy {
            self.shed(*hash, id, time, budget, panics);
        }
        if has_work {
            self.reap_shard(self.shard_of(*hash), time, *budget, panics);
        }
        replaced
    }

    /// Finds an entry and gives it to `use_value`: the short way for uses that postpone the end, where
    /// nothing is due in the shard.
    #[inline(never)]
    pub(super) fn get_by_rules<'a, G, R, const AFTER_MISS: bool>(
        &'a self,
        state: G,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        estimate: Moment,
        use_value: impl FnOnce(&Self, Found<'_, K, V>) -> R,
    ) -> Option<R>
    where
        K: 'a,
        V: 'a,
        G: HeldToLook<K, V> + Into<ReadGuard<'a, K, V>>,
    {
        let renewing =
            self.rules.as_ref().and_then(|rules| rules.time_to_idle).map(|time_to_idle| {
                let time =
                    state.time(self.reaper.tsc_now().unwrap_or_else(|| self.refine(estimate)));
                (time.tick, self.timebase.end_after(time, time_to_idle))
            });
        let renewing = renewing.filter(|&(tick, _)| !state.shard.has_work(tick));
        let Some((_, end)) = renewing else {
            return self.get_slow::<_, AFTER_MISS>(state.into(), hash, key, estimate, use_value);
        };
        let live = state.shard.find(hash.slot_hash(), key);
        let found = state.shard.record_access_until(live, hash, end);
        let found = self.accesses.count_of(state.thread(), found);
        found.map(|found| use_value(self, found))
    }

    /// [`update`](Self::update)s an entry by the rules.
    #[cold]
    #[inline(never)]
    pub(super) fn update_by_rules<R>(
        &self,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        update: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        let now = self.now_for_use(self.estimate());
        let mut state = self.lock(self.shard_of(hash));
        let found = state.shard.find(hash.slot_hash(), key);
        let live = found.filter(|&id| !self.is_due(&state, id, now));
        let found = self.accesses.count(state.shard.record_access_mut(live, hash));
        // What it makes of the value before a panic stays, and is weighed.
        let mut panics = FirstPanic::default();
        let result = found.and_then(|(_, value)| {
            self.loads_of(hash).overrule(hash);
            let _scope = self.closure_scope();
            panics.catch(|| update(value))
        });
        let result = DropGuard::new(result);
        self.finish_update(state, live, hash, now, panics);
        result.into_inner()
    }

    /// The last steps of [`update`](Self::update): what was used ends later, and what is heavier now
    /// than there is room for has others evicted, or leaves.
    #[inline(never)]
    pub(super) fn finish_update(
        &self,
        mut state: Guard<'_, K, V>,
        live: Option<SlotId>,
        hash: KeyHash,
        now: Moment,
        mut panics: FirstPanic,
    ) {
        let time = state.time(now);
        if let Some(id) = live {
            self.renew(&mut state.shard, id, time);
        }
        let weighed = panics.catch(|| self.weigh_again(&mut state, live)).flatten();
        let is_too_heavy = state.shard.is_too_heavy();
        let has_work = state.shard.has_work(time.tick);
        drop(state);
        if let Some(evicted) = weighed {
            self.notify_and_drop(evicted, &mut panics);
        }
        let mut budget = self.reap_limit;
        if let Some(id) = live.filter(|_| is_too_heavy) {
            self.shed(hash, id, time, &mut budget, &mut panics);
        }
        let shard = self.shard_of(hash);
        if has_work && !self.reaper.serves(self.shards[shard].source()) {
            self.reap_shard(shard, time, budget, &mut panics);
        }
        panics.resume_or(());
    }

    /// Sets the weight of an entry anew. Returns the entry if it is too heavy now to be held.
    pub(super) fn weigh_again(
        &self,
        state: &mut State<K, V>,
        live: Option<SlotId>,
    ) -> Option<Removed<K, V>> {
        let id = live.filter(|_| self.is_weighed())?;
        let weight = {
            let _scope = self.closure_scope();
            let (key, value) = state.shard.entry(id);
            self.weight_of(key, value)
        };
        if !state.shard.can_hold(weight) {
            return Some(state.shard.evict_found(id));
        }
        state.shard.set_weight(id, weight);
        None
    }

    /// Evicts others, a few under each lock, until the shard of the entry in slot `id`, which has
    /// grown, is within its weight again.
    fn shed(
        &self,
        hash: KeyHash,
        id: SlotId,
        time: Moment,
        budget: &mut usize,
        panics: &mut FirstPanic,
    ) {
        batched!(self.shed_in_batches(hash, id, time, budget, panics));
    }

    fn shed_in_batches<const N: usize>(
        &self,
        hash: KeyHash,
        id: SlotId,
        time: Moment,
        budget: &mut usize,
        panics: &mut FirstPanic,
    ) {
        let mut is_too_heavy = true;
        while is_too_heavy {
            let mut batch = Batch::<K, V, N>::new();
            let mut state = self.lock(self.shard_of(hash));
            let now = state.tick(time);
            let grown = state.shard.still_live(id, hash.slot_hash(), now);
            while !batch.is_full() && state.shard.is_too_heavy() {
                batch.push(state.shard.make_room(grown, now, budget));
            }
            is_too_heavy = state.shard.is_too_heavy();
            drop(state);
            for removed in batch {
                self.notify_and_drop(removed, panics);
            }
        }
    }
}
