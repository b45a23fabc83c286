//! When entries end that expire if nobody uses them: two ticks a slot, beside the slots.
//!
//! The timing wheel has the earlier one, as it was when the entry was linked. A use only moves the
//! end here, which threads that share the shard may do; where the wheel's deadline comes first, the
//! entry is linked again for the later one.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::slot_id::SlotId;
use crate::error::{BuildError, allocate_with};
use crate::time::tick::Deadline;

/// The ends of one entry, as ticks.
#[derive(Debug)]
struct Ends {
    /// The end of its TTL; `u64::MAX` for never.
    ttl: u64,
    /// So long after its last use.
    idle: AtomicU64,
}

/// The ends of all entries of a shard.
#[derive(Debug)]
pub(crate) struct IdleEnds {
    of_slots: Box<[Ends]>,
}

impl IdleEnds {
    pub(super) fn new(slots: usize) -> Result<Self, BuildError> {
        let none = || Ends { ttl: u64::MAX, idle: AtomicU64::new(u64::MAX) };
        Ok(Self { of_slots: allocate_with(slots, none)? })
    }

    /// Returns the bytes that the ends of so many slots request from the allocator.
    pub(super) fn heap_bytes(slots: usize) -> usize {
        slots.saturating_mul(size_of::<Ends>())
    }

    /// Returns the tick from which an entry is due.
    #[inline]
    pub(super) fn end(&self, id: SlotId) -> u64 {
        let ends = &self.of_slots[id.index()];
        ends.ttl.min(ends.idle.load(Relaxed))
    }

    /// Returns the tick at which its TTL ends; `u64::MAX` for never.
    pub(super) fn ttl_end(&self, id: SlotId) -> u64 {
        self.of_slots[id.index()].ttl
    }

    /// Sets both ends of a new entry.
    pub(super) fn set(&mut self, id: SlotId, ttl: Deadline, idle: Deadline) {
        let ends = &mut self.of_slots[id.index()];
        *ends = Ends { ttl: tick(ttl), idle: AtomicU64::new(tick(idle)) };
    }

    /// Sets the end of the TTL. Returns the tick from which the entry is due.
    pub(super) fn set_ttl(&mut self, id: SlotId, ttl: Deadline) -> u64 {
        self.of_slots[id.index()].ttl = tick(ttl);
        self.end(id)
    }

    /// Postpones the end of an entry that is used, perhaps beside other threads. It never comes
    /// closer: of several uses at a time, the latest counts.
    #[inline]
    pub(super) fn renew(&self, id: SlotId, idle: Deadline) {
        let end = &self.of_slots[id.index()].idle;
        let renewed = tick(idle);
        // The line of an entry that is used often stays clean within a tick.
        if end.load(Relaxed) < renewed {
            end.fetch_max(renewed, Relaxed);
        }
    }
}

fn tick(deadline: Deadline) -> u64 {
    match deadline {
        Deadline::Now => 0,
        Deadline::At(tick) => tick,
        Deadline::Never => u64::MAX,
    }
}
