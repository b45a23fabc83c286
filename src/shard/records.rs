//! Keys and values of a shard's entries, by slot, in its arena.
//!
//! There is one owner of a record more than there are slots: an insertion that takes several holds
//! of the shard's lock prepares its record there, unseen, and gives it to a slot when it is whole.

use super::arena::header::Lengths;
use super::arena::{Arena, NoRoom};
use super::slot_id::SlotId;
use crate::error::{BuildError, TooLarge};

/// The shape of a shard's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArenaShape {
    pub(crate) bytes: usize,
    /// The most that may be live, headers included.
    pub(crate) live_bytes_max: usize,
}

impl ArenaShape {
    /// Returns the most that key and value may take together.
    pub(crate) fn entry_bytes_max(self) -> usize {
        let longest = Lengths::KEY_MAX + Lengths::VALUE_MAX;
        Arena::payload_bytes_max(self.live_bytes_max).min(longest)
    }
}

/// Returns the lengths of an entry, if key and value take at most `limit` bytes together, and each
/// is no longer than a header can tell.
pub(crate) fn lengths_within(limit: usize, key: &[u8], value: &[u8]) -> Result<Lengths, TooLarge> {
    if key.len() > Lengths::KEY_MAX {
        return Err(TooLarge { bytes: key.len(), limit: Lengths::KEY_MAX });
    }
    let bytes = key.len().saturating_add(value.len());
    let limit = limit.min(key.len() + Lengths::VALUE_MAX);
    let lengths = Lengths::new(key.len(), value.len()).filter(|_| bytes <= limit);
    lengths.ok_or(TooLarge { bytes, limit })
}

#[derive(Debug)]
pub(crate) struct Records {
    pub(super) arena: Arena,
    /// Who owns the record of an insertion in progress.
    in_progress: SlotId,
    /// Of all keys and values.
    live_bytes: u64,
    live_bytes_peak: u64,
}

impl Records {
    /// Allocates the arena of a shard of so many slots.
    pub(super) fn new(shape: ArenaShape, slots: usize) -> Result<Self, BuildError> {
        Ok(Self {
            arena: Arena::new(shape.bytes, shape.live_bytes_max, slots + 1)?,
            in_progress: SlotId::new(slots),
            live_bytes: 0,
            live_bytes_peak: 0,
        })
    }

    /// Returns the bytes that [`new`](Self::new) requests from the allocator.
    pub(crate) fn heap_bytes(shape: ArenaShape, slots: usize) -> usize {
        Arena::heap_bytes(shape.bytes, slots.saturating_add(1))
    }

    pub(super) fn in_progress(&self) -> SlotId {
        self.in_progress
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    pub(super) fn live_bytes_peak(&self) -> u64 {
        self.live_bytes_peak
    }

    pub(super) fn moved_bytes(&self) -> u64 {
        self.arena.moved_bytes()
    }

    #[inline]
    pub(super) fn key(&self, id: SlotId) -> &[u8] {
        self.arena.key(id)
    }

    #[inline]
    pub(super) fn record(&self, id: SlotId) -> (&[u8], &[u8]) {
        self.arena.record(id)
    }

    /// Counts the record that a slot has got.
    pub(super) fn count(&mut self, id: SlotId) {
        self.live_bytes += payload_bytes(self.arena.lengths(id));
        self.live_bytes_peak = self.live_bytes_peak.max(self.live_bytes);
    }

    /// Returns the bytes of key and value of a slot; none, if its record is gone.
    pub(super) fn payload_bytes(&self, id: SlotId) -> u64 {
        if self.arena.contains(id) { payload_bytes(self.arena.lengths(id)) } else { 0 }
    }

    /// Replaces the value in a slot's record where it is, if there is room.
    pub(super) fn overwrite(&mut self, id: SlotId, value: &[u8]) -> Result<(), NoRoom> {
        let before = payload_bytes(self.arena.lengths(id));
        self.arena.overwrite(id, value)?;
        self.live_bytes -= before;
        self.count(id);
        Ok(())
    }

    /// Frees the record of a slot, unless it is gone already: a replacement may have found no room
    /// under one hold of the lock.
    pub(super) fn free(&mut self, id: SlotId) {
        if self.arena.contains(id) {
            self.live_bytes -= payload_bytes(self.arena.lengths(id));
            self.arena.free(id);
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn check(&self, occupied: &std::collections::BTreeSet<usize>) {
        self.arena.check();
        let slots = 0..self.in_progress.index();
        let with_record = slots.filter(|&slot| self.arena.contains(SlotId::new(slot)));
        assert!(with_record.eq(occupied.iter().copied()), "invariant 7");
        let bytes = |&slot: &usize| payload_bytes(self.arena.lengths(SlotId::new(slot)));
        assert_eq!(self.live_bytes, occupied.iter().map(bytes).sum::<u64>());
        assert!(self.live_bytes <= self.live_bytes_peak);
    }
}

fn payload_bytes(lengths: Lengths) -> u64 {
    (lengths.key() + lengths.value()) as u64
}
