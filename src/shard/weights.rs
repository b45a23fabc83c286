//! The weights of a shard's entries, which together stay within a limit.
//!
//! A weight is stored, at eight bytes a slot: what is subtracted when an entry leaves is what was
//! added when it came, whatever the caller's weigher says by then.

use super::slot_id::SlotId;
use crate::error::{BuildError, allocate};

#[derive(Debug)]
pub(crate) struct Weights {
    of_slots: Box<[u64]>,
    sum: u64,
    peak: u64,
    limit: u64,
}

impl Weights {
    /// Returns the weights of a shard of so many slots. The limit is at most half of what a `u64`
    /// holds, so that no sum overflows.
    pub(super) fn new(slots: usize, limit: u64) -> Result<Self, BuildError> {
        let limit = limit.min(u64::MAX / 2);
        Ok(Self { of_slots: allocate(slots, 0)?, sum: 0, peak: 0, limit })
    }

    /// Returns the bytes that the weights of so many slots request from the allocator.
    pub(super) fn heap_bytes(slots: usize) -> usize {
        slots.saturating_mul(size_of::<u64>())
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the sum, and the greatest that it was between two calls.
    pub(super) fn sum_and_peak(&self) -> (u64, u64) {
        (self.sum, self.peak)
    }

    /// Returns whether there is room for an entry of that weight, in place of the one in a slot.
    pub(super) fn have_room(&self, replaced: Option<SlotId>, weight: u64) -> bool {
        let replaced = replaced.map_or(0, |id| self.of_slots[id.index()]);
        (self.sum - replaced).saturating_add(weight) <= self.limit
    }

    /// Sets the weight of the entry in a slot, at most the limit; of one that leaves: to zero.
    pub(super) fn set(&mut self, id: SlotId, weight: u64) {
        let of_slot = &mut self.of_slots[id.index()];
        self.sum = self.sum - *of_slot + weight;
        *of_slot = weight;
        if !self.exceed_limit() {
            self.peak = self.peak.max(self.sum);
        }
    }

    pub(super) fn get(&self, id: SlotId) -> u64 {
        self.of_slots[id.index()]
    }

    pub(super) fn exceed_limit(&self) -> bool {
        self.sum > self.limit
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn check(&self, occupied: &std::collections::BTreeSet<usize>) {
        let counted: u64 = occupied.iter().map(|&slot| self.of_slots[slot]).sum();
        assert_eq!(counted, self.sum, "the sum is that of the entries");
        let all: u64 = self.of_slots.iter().sum();
        assert_eq!(all, self.sum, "a vacant slot weighs nothing");
        assert!(self.sum <= self.limit, "{} of {}", self.sum, self.limit);
    }
}
