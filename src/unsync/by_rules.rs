//! Calls about one key where the cache has [rules](crate::settings::rules): TTLs by entry, idle
//! times, weights.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use super::Cache;
use super::ops::Location;
use crate::entry::new_entry::NewEntry;
use crate::entry::removal::{RemovalCause, Removed};
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::Probe;
use crate::shard::slot_id::SlotId;
use crate::time::tick::Deadline;
use crate::time::ttl::Ttl;

impl<K, V, S> Cache<K, V, S> {
    pub(super) fn time_to_idle(&self) -> Option<Duration> {
        self.rules.as_ref().and_then(|rules| rules.time_to_idle)
    }

    fn is_weighed(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.weigher.is_some())
    }

    /// Reads the clock to count a use: where that postpones the end of an entry, the one that a TTL
    /// counts from. Returns the tick it is.
    #[inline]
    pub(super) fn read_for_use(&mut self) -> u64 {
        if self.time_to_idle().is_some() { self.clock.read_for_ttl() } else { self.clock.read() }
    }

    /// [`start_write`](Self::start_write), [for a use](Self::read_for_use).
    #[inline]
    pub(super) fn start_use(&mut self, panics: &mut FirstPanic) -> u64 {
        if self.time_to_idle().is_some() {
            self.start_write_with_ttl(panics)
        } else {
            self.start_write(panics)
        }
    }

    /// Postpones the end of an entry that is used, if it is not for its TTL. The clock has been [read
    /// for a use](Self::read_for_use).
    #[inline]
    pub(super) fn renew(&mut self, shard: usize, live: Option<SlotId>, now: u64) {
        if let (Some(id), Some(time)) = (live, self.time_to_idle()) {
            self.shards[shard].renew(id, self.clock.deadline(Some(time)).tick(), now);
        }
    }

    /// Returns an entry with the TTL and the weight that the rules give it.
    pub(super) fn by_rules(
        &self,
        hash: KeyHash,
        key: DropGuard<K>,
        value: DropGuard<V>,
        ttl: Ttl,
    ) -> NewEntry<K, V> {
        let Some(rules) = &self.rules else {
            return NewEntry { hash, key, value, ttl: ttl.or(self.ttl), weight: 0 };
        };
        let ttl = rules.ttl(ttl, self.ttl, hash, (key.get(), value.get()));
        let weight = rules.weigher.as_ref().map_or(0, |weigh| weigh(key.get(), value.get()));
        NewEntry { hash, key, value, ttl, weight }
    }

    /// Has an entry leave as it arrives: its TTL is zero, or it is too heavy. What it replaces, which
    /// is in slot `found`, leaves, too, and is returned if it was live.
    pub(super) fn pass_through(
        &mut self,
        new: NewEntry<K, V>,
        found: Option<SlotId>,
        cause: RemovalCause,
        now: u64,
        budget: usize,
        panics: &mut FirstPanic,
    ) -> Option<V> {
        let shard = self.shard_of(new.hash);
        let replaced = self.shards[shard].pass_through(found, now, cause);
        let replaced = replaced.and_then(|removed| self.deliver(removed, panics));
        let (key, value) = (new.key.into_inner(), new.value.into_inner());
        self.len += 1;
        self.notify_and_drop(Removed { key, value, cause }, panics);
        self.reap_shard(shard, now, budget, panics);
        replaced
    }

    /// Weighs an entry again that may have grown, and evicts others until the weight is kept, or the
    /// entry if it is too heavy to be held.
    pub(super) fn weigh_again(
        &mut self,
        shard: usize,
        id: SlotId,
        now: u64,
        budget: &mut usize,
        panics: &mut FirstPanic,
    ) {
        let Some(weigher) = self.rules.as_ref().and_then(|rules| rules.weigher.as_ref()) else {
            return;
        };
        let (key, value) = self.shards[shard].entry(id);
        let Some(weight) = panics.catch(|| weigher(key, value)) else { return };
        if self.shards[shard].can_hold(weight) {
            self.shards[shard].set_weight(id, weight);
            self.shed(shard, id, now, budget, panics);
        } else {
            let evicted = self.shards[shard].evict_found(id);
            self.notify_and_drop(evicted, panics);
        }
    }

    /// Evicts others than the entry in slot `id` until the weight is kept.
    fn shed(
        &mut self,
        shard: usize,
        id: SlotId,
        now: u64,
        budget: &mut usize,
        panics: &mut FirstPanic,
    ) {
        while self.shards[shard].is_too_heavy() {
            let removed = self.shards[shard].make_room(Some(id), now, budget);
            self.notify_and_drop(removed, panics);
        }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Cache<K, V, S> {
    /// Finds a live entry in its shard, and counts a use, which postpones its end, and a hit or a
    /// miss. The clock has been [read for a use](Self::read_for_use).
    pub(super) fn look_up_and_renew(
        &mut self,
        shard: usize,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        now: u64,
    ) -> Option<(Location, &mut V)> {
        let live = self.shards[shard].find_live(hash.slot_hash(), key, now);
        self.renew(shard, live, now);
        let found = self.accesses.count(self.shards[shard].record_access_mut(live, hash));
        found.map(|(id, value)| ((shard, id), value))
    }

    /// Inserts an entry, or replaces that of its key, and evicts what its weight asks for. Returns the
    /// live value that it replaces, and where it is, unless it leaves at once.
    pub(super) fn insert_new(&mut self, new: NewEntry<K, V>) -> (Option<V>, Option<Location>) {
        let mut panics = FirstPanic::default();
        let now = self.start_write_with_ttl(&mut panics);
        let shard = &self.shards[self.shard_of(new.hash)];
        let found = panics.require(|| shard.find(new.hash.slot_hash(), new.key.get()));
        let (replaced, location) = self.insert_found(new, found, now, &mut panics);
        (panics.resume_or(replaced), location)
    }

    /// The second half of [`insert_new`](Self::insert_new): `found` is the slot of the key, if it has
    /// one.
    pub(super) fn insert_found(
        &mut self,
        mut new: NewEntry<K, V>,
        found: Option<SlotId>,
        now: u64,
        panics: &mut FirstPanic,
    ) -> (Option<V>, Option<Location>) {
        let number = self.shard_of(new.hash);
        let mut budget = self.reap_limit;
        let deadline = self.clock.deadline(new.ttl);
        let cause = match deadline {
            Deadline::Now => Some(RemovalCause::Expired),
            _ if !self.shards[number].can_hold(new.weight) => Some(RemovalCause::Evicted),
            _ => None,
        };
        if let Some(cause) = cause {
            return (self.pass_through(new, found, cause, now, budget, panics), None);
        }
        let idle_end = self.clock.deadline(self.time_to_idle());
        let entry = (new.key.take(), new.value.take());
        let shard = &mut self.shards[number];
        let (id, displaced) =
            shard.upsert_found(found, new.hash, entry, deadline, now, &mut budget);
        shard.start_idle(id, deadline, idle_end.tick(), now);
        shard.set_weight(id, new.weight);
        self.len += 1;
        let replaced = displaced.and_then(|removed| self.deliver(removed, panics));
        if self.is_weighed() {
            self.shed(number, id, now, &mut budget, panics);
        }
        self.reap_shard(number, now, budget, panics);
        self.len_peak = self.len_peak.max(self.len);
        (replaced, Some((number, id)))
    }
}
