//! Room for entries by their weight: what is evicted so that the limit is kept.
//!
//! The slot of an entry that leaves loses its weight with it. One that is reused keeps the old
//! weight until [`set_weight`](Shard::set_weight) replaces it, which the caller does under the same
//! lock.

use super::Shard;
use super::eviction::counts::Counts;
use super::key_hash::SlotHash;
use super::sizes::Sizes;
use super::slot_id::SlotId;
use super::slots::Slots;
use super::weights::Weights;
use crate::entry::removal::{RemovalCause, Removed};

/// The counts of a shard's slots, as if large entries had been used less often.
struct SizedCounts<'a, K, V> {
    slots: &'a mut Slots<K, V>,
    sizes: &'a Sizes,
    entries: usize,
}

impl<K, V> Counts for SizedCounts<'_, K, V> {
    fn count(&self, id: SlotId) -> u8 {
        match self.slots.count(id) {
            // Of most, whose size need not be fetched.
            0 => 0,
            count => count.checked_shr(self.sizes.handicap(id, self.entries)).unwrap_or(0),
        }
    }
    fn set_count(&mut self, id: SlotId, count: u8) {
        self.slots.set_count(id, count);
    }
    fn slot_hash(&self, id: SlotId) -> SlotHash {
        self.slots.slot_hash(id)
    }
    fn prefetch(&self, id: SlotId) {
        Counts::prefetch(self.slots, id);
    }
}

impl<K, V> Shard<K, V> {
    /// Returns whether an entry of that weight is held at all.
    pub(crate) fn can_hold(&self, weight: u64) -> bool {
        self.weights().is_none_or(|weights| weight <= weights.limit())
    }

    /// Returns whether there is room for an entry of that weight, in place of `found`.
    pub(crate) fn has_room(&self, found: Option<SlotId>, weight: u64) -> bool {
        self.weights().is_none_or(|weights| weights.have_room(found, weight))
    }

    /// Sets the weight of an entry that is held.
    pub(crate) fn set_weight(&mut self, id: SlotId, weight: u64) {
        if let Some(Sizes::Weights(weights)) = self.sizes.as_deref_mut() {
            weights.set(id, weight);
        }
    }

    /// Returns whether an entry has grown beyond the room that there was, and something has to be
    /// evicted for it.
    pub(crate) fn is_too_heavy(&self) -> bool {
        self.weights().is_some_and(Weights::exceed_limit)
    }

    /// Returns a slot if a live entry of that slot hash is still there, for all that can be told
    /// without its key.
    pub(crate) fn still_live(&self, id: SlotId, slot_hash: SlotHash, now: u64) -> Option<SlotId> {
        let id = self.slots.get_occupied(id.index())?;
        (self.slots.slot_hash(id) == slot_hash && !self.is_due(id, now)).then_some(id)
    }

    /// Removes a live entry that is too heavy to be held.
    pub(crate) fn evict_found(&mut self, id: SlotId) -> Removed<K, V> {
        self.remove_entry(id, false, RemovalCause::Evicted)
    }

    /// Removes a due entry if the wheel finds one within `budget`, else the policy's victim; but not
    /// `kept`, which is live. There is another entry.
    pub(crate) fn make_room(
        &mut self,
        kept: Option<SlotId>,
        now: u64,
        budget: &mut usize,
    ) -> Removed<K, V> {
        let (mut id, mut is_due) = self.next_to_leave(now, budget);
        if Some(id) == kept {
            // It is admitted again once another one has been found, so not found twice.
            let aside = id;
            (id, is_due) = self.next_to_leave(now, budget);
            self.policy.admit(aside, false);
        }
        self.wheel.remove(&mut self.slots, id);
        let cause = if is_due { RemovalCause::Expired } else { RemovalCause::Evicted };
        self.finish_removal(id, cause)
    }

    /// Takes an entry out of the policy, and if it is found to be due, out of the wheel.
    fn next_to_leave(&mut self, now: u64, budget: &mut usize) -> (SlotId, bool) {
        if let Some(id) = self.pop_expired(now, budget) {
            return (id, true);
        }
        let entries = self.slots.len();
        let id = match self.sizes.as_deref() {
            Some(sizes) => {
                let mut counts = SizedCounts { slots: &mut self.slots, sizes, entries };
                self.policy.evict_early(entries, &mut counts)
            }
            None => self.policy.evict_early(entries, &mut self.slots),
        };
        // The budget may have run out before it surfaced.
        (id, self.is_due(id, now))
    }
}
