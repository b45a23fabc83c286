//! Room for a record where no hole is large enough: a hole is carried along until it is.
//!
//! From the hand on, records are moved down over the hole, so that it comes to lie behind
//! them and takes in every further hole:
//!
//! ```text
//!   │ a │   hole   │  b  │ c │ hole │ d │
//!   │ a │  b  │   hole   │ c │ hole │ d │        b is moved
//!   │ a │  b  │ c │   hole   │ hole │ d │        c is moved
//!   │ a │  b  │ c │        hole      │ d │        joined
//! ```
//!
//! How many bytes are moved is bounded by a budget. When it is spent, the record at the hand has
//! to be freed instead, which makes room at the hole's very end.
//!
//! This goes step by step, and between two steps anything may happen to the arena, other claims
//! included. Meanwhile the hole is kept from other records: it is a claim, in no bin. So is what
//! the insertion has freed for itself: it is promised, and counts as live to others.
//!
//! Claims do not wait for each other's holes: one that is in the way is moved at no cost, since
//! there is nothing in it. But two may be promised, together, all that can be freed, and neither
//! enough. So at most one of an arena's claims may be in want of [`Step::Free`].

use super::bins::NOWHERE;
use super::header::{Header, Lengths};
use super::{Arena, FIRST, GRAIN_BYTES, OwnerId};

/// What looking at a block and leaving it where it is takes from the budget: so the blocks that
/// are looked at are bounded, too.
const LOOK_BYTES: usize = 32;

/// An insertion that is under way. It ends when a step is [`Done`](Step::Done), or by
/// [`Arena::abandon`]; dropped before, it keeps its room for ever.
#[must_use]
#[derive(Debug)]
pub(crate) struct Claim {
    owner: OwnerId,
    lengths: Lengths,
    promised: u32,
    budget_bytes: usize,
    /// What there was in the beginning. A larger record is passed, unless nothing is left of it.
    budget_bytes_max: usize,
}

/// What came of a step, and what is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The owner has a record. What is in it means nothing until it is filled.
    Done,
    /// As much was moved as one step may: take another one.
    Again,
    /// Too much is live: free any record, then take another step.
    Free,
    /// The budget is spent: free this owner's record, or [pass](Arena::pass) it, then take
    /// another step.
    FreeAtHand(OwnerId),
}

impl Claim {
    /// The base of a budget, and the most that one step moves if it moves several records.
    pub(crate) const STEP_BYTES: usize = 64 << 10;

    /// How much may be moved for a record, of the size of it.
    const BUDGET_FACTOR: usize = 8;

    /// Returns the most bytes of records that an insertion moves.
    pub(crate) fn budget_bytes(lengths: Lengths) -> usize {
        Self::STEP_BYTES + Self::BUDGET_FACTOR * (lengths.key() + lengths.value())
    }

    pub(crate) fn lengths(&self) -> Lengths {
        self.lengths
    }

    fn spend(&mut self, bytes: usize, step_bytes: &mut usize) {
        self.budget_bytes = self.budget_bytes.saturating_sub(bytes);
        *step_bytes = step_bytes.saturating_sub(bytes);
    }
}

/// Free room that is carried along. Between `at` and `end` nothing is written.
#[derive(Clone, Copy)]
struct Carried {
    at: u32,
    end: u32,
}

impl Carried {
    fn grains(self) -> u32 {
        self.end - self.at
    }

    fn is_empty(self) -> bool {
        self.at == self.end
    }
}

impl Arena {
    /// Begins to make room for a record which [fits](Self::fits), of an owner that has none, and
    /// moves at most `budget_bytes` for it.
    pub(crate) fn claim(&mut self, owner: OwnerId, lengths: Lengths, budget_bytes: usize) -> Claim {
        debug_assert!(self.fits(lengths), "{lengths:?} do not fit");
        debug_assert!(self.places[owner.index()] == NOWHERE, "{owner:?} has a record");
        Claim { owner, lengths, promised: 0, budget_bytes, budget_bytes_max: budget_bytes }
    }

    /// Gives back what a claim has got.
    pub(crate) fn abandon(&mut self, claim: Claim) {
        self.open(&claim);
        self.promised -= claim.promised;
    }

    /// Goes on with a claim. Moves at most `step_bytes`, or one record.
    ///
    /// Once the budget is spent, records are freed at the hand one by one, until those freed and
    /// what lies between them make room: from there to the end of the arena, or else from its
    /// start.
    pub(crate) fn step(&mut self, claim: &mut Claim, step_bytes: usize) -> Step {
        if !self.promise(claim) {
            return Step::Free;
        }
        let start = self.open(claim);
        // Others may have left room since, beside the claim's or elsewhere.
        match self.holes.find(&self.memory, claim.lengths.grains()) {
            Some(at) => {
                self.holes.take(&mut self.memory, at, claim.lengths.grains());
                self.end(claim, at)
            }
            None => self.slide(claim, start, step_bytes),
        }
    }

    /// Leaves the record at the hand where it is, and the hole before it to others.
    pub(crate) fn pass(&mut self, claim: &Claim) {
        let mut at = self.open(claim);
        if self.memory.header(at).is_hole() {
            at += self.memory.header(at).grains();
        }
        // At the end, this is zero.
        self.hand = at + self.memory.header(at).grains();
    }

    /// Promises to the claim what may become live, up to what it needs. Returns whether it has
    /// all of that.
    fn promise(&mut self, claim: &mut Claim) -> bool {
        let more = self.room().min(claim.lengths.grains() - claim.promised);
        claim.promised += more;
        self.promised += more;
        claim.promised == claim.lengths.grains()
    }

    fn slide(&mut self, claim: &mut Claim, start: u32, step_bytes: usize) -> Step {
        let mut step_left = step_bytes;
        let mut room = Carried { at: start, end: start };
        loop {
            if room.grains() >= claim.lengths.grains() {
                let end = room.at + claim.lengths.grains();
                self.leave_hole(Carried { at: end, end: room.end });
                self.hand = end;
                return self.end(claim, room.at);
            }
            if room.end == self.memory.end() {
                self.leave_hole(room);
                room = Carried { at: FIRST, end: FIRST };
                continue;
            }
            let next = self.memory.header(room.end);
            let grains = next.grains();
            if next.is_hole() {
                self.holes.unlink(&mut self.memory, room.end);
                room.end += grains;
                continue;
            }
            if next.is_claim() {
                self.memory.set_header(room.at, Header::claim(next.owner(), grains));
                self.places[next.owner().index()] = room.at;
                room = Carried { at: room.at + grains, end: room.end + grains };
                continue;
            }
            let bytes = grains as usize * GRAIN_BYTES;
            let is_passed = room.is_empty() || bytes > claim.budget_bytes_max;
            let cost = if is_passed { LOOK_BYTES } else { bytes };
            if cost > claim.budget_bytes {
                self.leave_claim(claim, room);
                return Step::FreeAtHand(next.owner());
            }
            if cost > step_left && step_left < step_bytes {
                self.leave_claim(claim, room);
                return Step::Again;
            }
            claim.spend(cost, &mut step_left);
            if is_passed {
                self.leave_hole(room);
                room = Carried { at: room.end + grains, end: room.end + grains };
            } else {
                self.memory.copy(room.end, room.at, grains);
                self.memory.set_follows_hole(room.at, false);
                self.places[next.owner().index()] = room.at;
                self.moved_bytes += bytes as u64;
                room = Carried { at: room.at + grains, end: room.end + grains };
            }
        }
    }

    /// Makes the claim a record, whose room is no block.
    fn end(&mut self, claim: &mut Claim, at: u32) -> Step {
        self.promised -= std::mem::take(&mut claim.promised);
        self.write_record(at, claim.owner, claim.lengths);
        Step::Done
    }

    /// Makes the claim's room a hole. Returns where the claim goes on: at that hole, or else at
    /// the hand, or at a hole before it.
    fn open(&mut self, claim: &Claim) -> u32 {
        let place = std::mem::replace(&mut self.places[claim.owner.index()], NOWHERE);
        let at = if place == NOWHERE { self.hand } else { place };
        let header = self.memory.header(at);
        if place != NOWHERE {
            return self.release(at, header.grains(), header.follows_hole());
        }
        if header.follows_hole() { at - self.memory.grains_before(at) } else { at }
    }

    /// Keeps the room for the claim.
    fn leave_claim(&mut self, claim: &Claim, room: Carried) {
        self.hand = room.at;
        self.memory.set_follows_hole(room.end, false);
        if !room.is_empty() {
            self.memory.set_header(room.at, Header::claim(claim.owner, room.grains()));
            self.places[claim.owner.index()] = room.at;
        }
    }

    /// Gives the room to all.
    fn leave_hole(&mut self, room: Carried) {
        self.memory.set_follows_hole(room.end, false);
        if !room.is_empty() {
            self.release(room.at, room.grains(), false);
        }
    }
}
