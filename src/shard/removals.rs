//! How entries leave a shard: due ones, removed ones, and those that are evicted to make room.
//!
//! A removal takes an entry out of the wheel and the policy first, then out of the index and its
//! slot. It returns key and value: none is dropped here.

use super::Shard;
use super::eviction::counts::Counts;
use super::key_hash::{KeyHash, SlotHash};
use super::probe::Probe;
use super::slot_id::SlotId;
use crate::entry::removal::{RemovalCause, Removed};

impl<K, V> Shard<K, V> {
    /// Removes an entry, as `Expired` if it is due, else as `cause`.
    #[inline]
    pub(super) fn remove(&mut self, id: SlotId, now: u64, cause: RemovalCause) -> Removed<K, V> {
        self.remove_entry(id, self.is_due(id, now), cause)
    }

    #[inline]
    pub(super) fn remove_entry(
        &mut self,
        id: SlotId,
        is_due: bool,
        cause: RemovalCause,
    ) -> Removed<K, V> {
        if is_due {
            self.wheel.remove(&mut self.slots, id);
            self.policy.expire(id, &self.slots);
            return self.finish_removal(id, RemovalCause::Expired);
        }
        self.wheel.remove(&mut self.slots, id);
        self.policy.remove(id);
        self.finish_removal(id, cause)
    }

    /// Removes the entry of a key, as `Expired`.
    pub(crate) fn expire_key(
        &mut self,
        hash: KeyHash,
        key: &(impl Probe<K> + ?Sized),
        now: u64,
    ) -> Option<Removed<K, V>> {
        let id = self.find(hash.slot_hash(), key)?;
        Some(self.remove(id, now, RemovalCause::Expired))
    }

    /// Returns whether [`reap_one`](Self::reap_one) has anything to do.
    #[inline]
    pub(crate) fn has_work(&self, now: u64) -> bool {
        self.wheel.has_work(now)
    }

    /// Removes a due entry. Each entry removed, or moved within the wheel, costs one of
    /// `budget`.
    #[inline]
    pub(crate) fn reap_one(&mut self, now: u64, budget: &mut usize) -> Option<Removed<K, V>> {
        let id = self.pop_expired(now, budget)?;
        Some(self.finish_removal(id, RemovalCause::Expired))
    }

    /// Chooses the entry of a full shard that makes room for one with this slot hash: a due
    /// one if the wheel finds one within the budget, else the policy's victim.
    ///
    /// On return the index has lost the old entry, the policy has admitted the new one, and
    /// the slot still holds the old one: the caller reuses it. Its timer may still be
    /// linked; the caller reschedules it, which usually touches no other timer.
    #[inline(always)]
    pub(super) fn evict_one(
        &mut self,
        slot_hash: SlotHash,
        now: u64,
        budget: &mut usize,
    ) -> (SlotId, RemovalCause) {
        let (id, cause) = if self.has_work(now) {
            self.evict_one_after_expiry(slot_hash, now, budget)
        } else {
            // Nothing is due, so the victim is not either.
            (self.policy.replace(slot_hash, &mut self.slots), RemovalCause::Evicted)
        };
        self.count_removal(cause);
        self.index.remove(id, self.slots.slot_hash(id));
        (id, cause)
    }

    #[inline(never)]
    fn evict_one_after_expiry(
        &mut self,
        slot_hash: SlotHash,
        now: u64,
        budget: &mut usize,
    ) -> (SlotId, RemovalCause) {
        let is_ghost_hit = self.policy.take_ghost(slot_hash);
        let (id, is_due) = if let Some(id) = self.pop_expired(now, budget) {
            (id, true)
        } else {
            // The budget may have run out before a due entry surfaced, and the victim may
            // be one.
            let id = self.policy.evict(&mut self.slots);
            (id, self.is_due(id, now))
        };
        self.policy.admit(id, is_ghost_hit);
        (id, if is_due { RemovalCause::Expired } else { RemovalCause::Evicted })
    }

    /// Takes a due entry out of wheel and policy.
    #[inline]
    pub(super) fn pop_expired(&mut self, now: u64, budget: &mut usize) -> Option<SlotId> {
        let id = self.wheel.pop_expired(&mut self.slots, now, budget)?;
        self.policy.expire(id, &self.slots);
        Some(id)
    }

    /// The last step of every removal, once the entry is out of wheel and policy.
    #[inline]
    pub(super) fn finish_removal(&mut self, id: SlotId, cause: RemovalCause) -> Removed<K, V> {
        self.count_removal(cause);
        if let Some(sizes) = self.sizes.as_deref_mut() {
            sizes.forget(id);
        }
        self.index.remove(id, self.slots.slot_hash(id));
        let (key, value) = self.slots.remove(id);
        Removed { key, value, cause }
    }

    #[inline]
    pub(super) fn count_removal(&mut self, cause: RemovalCause) {
        match cause {
            RemovalCause::Expired => self.counters.expired += 1,
            RemovalCause::Evicted => self.counters.evicted += 1,
            RemovalCause::Removed | RemovalCause::Cleared => self.counters.removed += 1,
            RemovalCause::Replaced => self.counters.replaced += 1,
        }
    }
}
