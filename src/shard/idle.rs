//! What is known of entries that expire if nobody uses them, besides their deadline: two ticks a slot,
//! beside the slots.
//!
//! An entry's deadline, which is in its slot, is the earlier of two ends: that of its TTL, and that
//! of the idle time after its last use. A use postpones the deadline. Only where it is the TTL's end,
//! the other one is noted here.

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
    /// So long after its last use, where that is not before the end of the TTL. Else it is the
    /// deadline, and this is not after it.
    idle: AtomicU64,
}

/// The ends of all entries of a shard.
#[derive(Debug)]
pub(crate) struct IdleEnds {
    /// No entry's TTL ends before this tick.
    ttl_min: u64,
    of_slots: Box<[Ends]>,
}

impl IdleEnds {
    pub(super) fn new(slots: usize) -> Result<Self, BuildError> {
        let none = || Ends { ttl: u64::MAX, idle: AtomicU64::new(0) };
        Ok(Self { ttl_min: u64::MAX, of_slots: allocate_with(slots, none)? })
    }

    /// Returns the bytes that the ends of so many slots request from the allocator.
    pub(super) fn heap_bytes(slots: usize) -> usize {
        slots.saturating_mul(size_of::<Ends>())
    }

    /// Returns the tick at which its TTL ends; `u64::MAX` for never.
    pub(super) fn ttl_end(&self, id: SlotId) -> u64 {
        self.of_slots[id.index()].ttl
    }

    /// Sets both ends of a new entry. Returns its deadline.
    pub(super) fn start(&mut self, id: SlotId, ttl: Deadline, idle_end: u64) -> u64 {
        let ttl = ttl.tick();
        self.ttl_min = self.ttl_min.min(ttl);
        self.of_slots[id.index()] = Ends { ttl, idle: AtomicU64::new(idle_end) };
        ttl.min(idle_end)
    }

    /// Sets the end of the TTL of an entry with that deadline. Returns the new deadline.
    pub(super) fn set_ttl(&mut self, id: SlotId, ttl: Deadline, deadline: u64) -> u64 {
        let idle_end = deadline.max(*self.of_slots[id.index()].idle.get_mut());
        self.start(id, ttl, idle_end)
    }

    /// Returns the deadline of an entry that is used, perhaps beside other threads.
    #[inline]
    pub(super) fn renewed(&self, id: SlotId, idle_end: u64) -> u64 {
        // Mostly, the entry's own line of memory need not be fetched.
        if idle_end <= self.ttl_min {
            return idle_end;
        }
        self.renewed_before(id, idle_end)
    }

    #[inline(never)]
    fn renewed_before(&self, id: SlotId, idle_end: u64) -> u64 {
        let Ends { ttl, idle } = &self.of_slots[id.index()];
        if *ttl < idle_end {
            // Of several uses at a time, the latest counts. Within a tick, the line stays clean.
            if idle.load(Relaxed) < idle_end {
                idle.fetch_max(idle_end, Relaxed);
            }
            return *ttl;
        }
        idle_end
    }
}
