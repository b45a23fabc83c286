//! Entries of bytes: what one hold of the lock does to insert one.
//!
//! As a rule one hold will do. An insertion for which much has to be moved or evicted, or whose
//! value is large, goes on in several holds: it [claims](super::arena::claim) its room, fills its
//! record in parts, and puts it in when it is whole. Meanwhile nobody sees it.

use super::arena::NoRoom;
use super::arena::claim::{Claim, Step};
use super::arena::header::Lengths;
use super::key_hash::KeyHash;
use super::records::Records;
use super::sizes::Sizes;
use super::slot_id::SlotId;
use super::{Found, Shard};
use crate::entry::removal::RemovalCause;
use crate::time::tick::Deadline;

/// An entry to insert.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRecord<'a> {
    pub(crate) hash: KeyHash,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Of both; they fit.
    pub(crate) lengths: Lengths,
}

/// What an insertion may still do, and what it has done.
#[derive(Debug)]
pub(crate) struct Work {
    /// How many due entries it frees, or timers it moves to find them.
    pub(crate) reap_budget: usize,
    /// How many bytes it moves.
    moves_left_bytes: usize,
    /// How many entries it evicts under this hold of the lock, and how many bytes it moves.
    evictions_left: usize,
    step_bytes: usize,
    is_ghost_hit: Option<bool>,
    /// Why the entry left that its key had.
    pub(crate) displaced: Option<RemovalCause>,
}

impl Work {
    /// The most entries that are evicted under one hold of the lock, one of them for a slot.
    const EVICTIONS: usize = 32;

    /// Returns the work of an insertion that gives the lock away from time to time.
    pub(crate) fn in_steps(lengths: Lengths, reap_budget: usize) -> Self {
        let (evictions_left, step_bytes) = (Self::EVICTIONS, Claim::STEP_BYTES);
        Self { evictions_left, step_bytes, ..Self::at_once(lengths, reap_budget) }
    }

    /// Returns the work of an insertion that nobody waits for.
    pub(crate) fn at_once(lengths: Lengths, reap_budget: usize) -> Self {
        Self {
            reap_budget,
            moves_left_bytes: Claim::budget_bytes(lengths),
            evictions_left: usize::MAX,
            step_bytes: usize::MAX,
            is_ghost_hit: None,
            displaced: None,
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn is_at_once(&self) -> bool {
        self.step_bytes == usize::MAX
    }

    /// The lock was given away in between.
    pub(crate) fn begin_hold(&mut self) {
        // The last one is kept for a slot.
        self.evictions_left = Self::EVICTIONS - 1;
    }
}

impl Found<'_, (), ()> {
    /// Returns the value of an entry of bytes.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.shard.record(self.id).1
    }
}

impl Shard<(), ()> {
    /// Returns key and value of an entry of bytes.
    #[inline]
    pub(crate) fn record(&self, id: SlotId) -> (&[u8], &[u8]) {
        self.records().map_or((&[], &[]), |records| records.record(id))
    }

    /// Inserts an entry, or replaces the one in slot `found`, which is that of its key. Returns its
    /// slot; `None` if there is more to do than one hold of the lock may: then what it replaces may
    /// be gone.
    pub(crate) fn put(
        &mut self,
        found: Option<SlotId>,
        new: NewRecord<'_>,
        deadline: Deadline,
        now: u64,
        work: &mut Work,
    ) -> Option<SlotId> {
        if let Some(id) = self.remove_if_due(found, now, work) {
            if self.records_mut().overwrite(id, new.value).is_err() {
                self.records_mut().free(id);
                if !self.make_record(id, Some(id), new, now, work) {
                    // Its record is gone, and so must it be.
                    work.displaced = Some(RemovalCause::Replaced);
                    self.remove_entry(id, false, RemovalCause::Replaced);
                    return None;
                }
            }
            self.finish_replacement(id, new.hash, deadline, now, work);
            return Some(id);
        }
        let id = self.take_slot(new.hash, now, work)?;
        if !self.make_record(id, None, new, now, work) {
            self.slots.remove(id);
            return None;
        }
        self.finish_insertion(id, new.hash, deadline, now, work);
        Some(id)
    }

    /// Begins an insertion in several holds of the lock. One at a time does so in each shard.
    pub(crate) fn begin_record(&mut self, lengths: Lengths, work: &Work) -> Claim {
        let moves_left_bytes = work.moves_left_bytes;
        let records = self.records_mut();
        records.arena.claim(records.in_progress(), lengths, moves_left_bytes)
    }

    /// Goes on with an insertion in several holds. Returns whether its record is there, to be
    /// filled.
    pub(crate) fn go_on(&mut self, claim: &mut Claim, now: u64, work: &mut Work) -> bool {
        let evictable = |shard: &Self| shard.len();
        self.step(claim, None, evictable, now, work)
    }

    /// Writes a part of the record of an insertion in several holds: `at` counts from the start of
    /// its key, which the value follows.
    pub(crate) fn fill_record(&mut self, at: usize, bytes: &[u8]) {
        let records = self.records_mut();
        records.arena.fill(records.in_progress(), at, bytes);
    }

    /// Gives up an insertion in several holds whose record is there.
    pub(crate) fn drop_record(&mut self) {
        let records = self.records_mut();
        records.arena.free(records.in_progress());
    }

    /// Ends an insertion in several holds, whose record is whole: [`put`](Self::put)s it in. Returns
    /// its slot.
    pub(crate) fn put_record(
        &mut self,
        found: Option<SlotId>,
        hash: KeyHash,
        deadline: Deadline,
        now: u64,
        work: &mut Work,
    ) -> SlotId {
        if let Some(id) = self.remove_if_due(found, now, work) {
            self.records_mut().free(id);
            self.hand_over(id);
            self.finish_replacement(id, hash, deadline, now, work);
            return id;
        }
        work.evictions_left = 1;
        let id = self.take_slot(hash, now, work).expect("the entry of a full shard can be evicted");
        self.hand_over(id);
        self.finish_insertion(id, hash, deadline, now, work);
        id
    }

    fn hand_over(&mut self, id: SlotId) {
        let records = self.records_mut();
        records.arena.hand_over(records.in_progress(), id);
        records.count(id);
    }

    /// Returns the slot of a key if its entry is not due; removes it if it is.
    fn remove_if_due(
        &mut self,
        found: Option<SlotId>,
        now: u64,
        work: &mut Work,
    ) -> Option<SlotId> {
        let id = found?;
        if !self.is_due(id, now) {
            return Some(id);
        }
        work.displaced = Some(RemovalCause::Expired);
        self.remove_entry(id, true, RemovalCause::Expired);
        None
    }

    /// Takes a vacant slot, which is in neither index, policy nor wheel, and evicts an entry if there
    /// is none.
    fn take_slot(&mut self, hash: KeyHash, now: u64, work: &mut Work) -> Option<SlotId> {
        let slot_hash = hash.slot_hash();
        if work.is_ghost_hit.is_none() {
            work.is_ghost_hit = Some(self.policy.take_ghost(slot_hash));
        }
        if self.slots.is_full() && !self.evict_for(None, self.len(), now, work) {
            return None;
        }
        Some(self.slots.insert((), (), slot_hash))
    }

    fn finish_insertion(
        &mut self,
        id: SlotId,
        hash: KeyHash,
        deadline: Deadline,
        now: u64,
        work: &Work,
    ) {
        self.record_insertion(hash);
        self.policy.admit(id, work.is_ghost_hit.unwrap_or(false));
        if self.index.is_full() {
            self.rebuild_index();
        } else {
            self.index.insert(id, hash.slot_hash());
        }
        self.reschedule(id, deadline, now);
    }

    fn finish_replacement(
        &mut self,
        id: SlotId,
        hash: KeyHash,
        deadline: Deadline,
        now: u64,
        work: &mut Work,
    ) {
        self.record_insertion(hash);
        self.count_removal(RemovalCause::Replaced);
        work.displaced = Some(RemovalCause::Replaced);
        self.slots.access_mut(id);
        self.reschedule(id, deadline, now);
    }

    /// Makes the record of a slot that has none, and evicts for it, but not the entry in slot `kept`.
    /// Returns whether that was possible under this hold of the lock.
    fn make_record(
        &mut self,
        id: SlotId,
        kept: Option<SlotId>,
        new: NewRecord<'_>,
        now: u64,
        work: &mut Work,
    ) -> bool {
        // All but the one in this slot.
        let evictable = |shard: &Self| shard.len() - 1;
        loop {
            match self.records_mut().arena.put(id, new.key, new.value) {
                Ok(()) => break,
                Err(NoRoom::Live) if self.evict_for(kept, evictable(self), now, work) => {}
                Err(NoRoom::Live) => return false,
                Err(NoRoom::Hole) => {
                    let moves_left_bytes = work.moves_left_bytes;
                    let arena = &mut self.records_mut().arena;
                    let mut claim = arena.claim(id, new.lengths, moves_left_bytes);
                    if !self.step(&mut claim, kept, evictable, now, work) {
                        self.records_mut().arena.abandon(claim);
                        return false;
                    }
                    let arena = &mut self.records_mut().arena;
                    arena.fill(id, 0, new.key);
                    arena.fill(id, new.key.len(), new.value);
                    break;
                }
            }
        }
        self.records_mut().count(id);
        true
    }

    /// Goes on with a claim as far as one hold of the lock may. Returns whether it is done.
    fn step(
        &mut self,
        claim: &mut Claim,
        kept: Option<SlotId>,
        evictable: impl Fn(&Self) -> usize,
        now: u64,
        work: &mut Work,
    ) -> bool {
        let before = self.records_mut().moved_bytes();
        let is_done = self.step_from(before, claim, kept, evictable, now, work);
        let moved_bytes = (self.records_mut().moved_bytes() - before) as usize;
        work.moves_left_bytes = work.moves_left_bytes.saturating_sub(moved_bytes);
        is_done
    }

    fn step_from(
        &mut self,
        moved_before: u64,
        claim: &mut Claim,
        kept: Option<SlotId>,
        evictable: impl Fn(&Self) -> usize,
        now: u64,
        work: &mut Work,
    ) -> bool {
        let mut has_passed = false;
        loop {
            let records = self.records_mut();
            let in_progress = records.in_progress();
            let step = records.arena.step(claim, Claim::STEP_BYTES);
            // To look for room is no move.
            let has_moved = records.moved_bytes() > moved_before && work.step_bytes < usize::MAX;
            match step {
                Step::Done => return true,
                Step::Again | Step::Free | Step::FreeAtHand(_) if has_moved => return false,
                Step::Again => {}
                Step::Free if self.evict_for(kept, evictable(self), now, work) => {}
                Step::Free => return false,
                // Once round: if all the rest is not enough, it takes what is being filled now.
                Step::FreeAtHand(id) if id == in_progress && has_passed => return false,
                Step::FreeAtHand(id) if id == in_progress => {
                    has_passed = true;
                    self.records_mut().arena.pass(claim);
                }
                Step::FreeAtHand(_) if work.evictions_left == 0 => return false,
                Step::FreeAtHand(id) => {
                    work.evictions_left -= 1;
                    // Due ones first: their room may do.
                    if self.reap_one(now, &mut work.reap_budget).is_none() {
                        self.remove(id, now, RemovalCause::Evicted);
                    }
                }
            }
        }
    }

    /// Frees a due entry or evicts one, of `evictable` ones, but not that in slot `kept`. Returns
    /// whether this hold of the lock may do so, and there is one.
    fn evict_for(
        &mut self,
        kept: Option<SlotId>,
        evictable: usize,
        now: u64,
        work: &mut Work,
    ) -> bool {
        if work.evictions_left == 0 || evictable == 0 {
            return false;
        }
        work.evictions_left -= 1;
        self.make_room(kept, now, &mut work.reap_budget);
        true
    }

    #[inline]
    fn records_mut(&mut self) -> &mut Records {
        match self.sizes.as_deref_mut() {
            Some(Sizes::Records(records)) => records,
            _ => unreachable!("a shard of bytes has an arena"),
        }
    }
}
