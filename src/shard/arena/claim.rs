//! Room for a record where no hole is large enough: holes are brought together.
//!
//! First it is looked where that costs least ([`Window`](super::window::Window)). Then, from
//! there on, records are moved down over a hole, so that it comes to lie behind them and takes
//! in every further hole ([`slide`](super::slide)).
//!
//! How many bytes are moved is bounded by a budget. When it is spent, the record at the hand has
//! to be freed instead, which makes room right where the hole ends.
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
use super::slide::{Budget, Carried, Slid};
use super::window::{Wanted, Window};
use super::{Arena, OwnerId};

/// The most blocks that are looked at for a window.
const WINDOW_LOOKS: usize = 2_048;

/// An insertion that is under way. It ends when a step is [`Done`](Step::Done), or by
/// [`Arena::abandon`]; dropped before, it keeps its room for ever.
#[must_use]
#[derive(Debug)]
pub(crate) struct Claim {
    owner: OwnerId,
    lengths: Lengths,
    promised: u32,
    budget: Budget,
    /// How many blocks may still be looked at for a window.
    looks: usize,
    /// The cost of the window where its room is.
    cost: u32,
}

/// What came of a step, and what is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The owner has a record. What is in it means nothing until it is filled.
    Done,
    /// One step may do no more: take another one.
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

    #[cfg(any(test, fuzzing))]
    pub(crate) fn lengths(&self) -> Lengths {
        self.lengths
    }
}

impl Arena {
    /// Begins to make room for a record which [fits](Self::fits), of an owner that has none, and
    /// moves at most `budget_bytes` for it.
    pub(crate) fn claim(&mut self, owner: OwnerId, lengths: Lengths, budget_bytes: usize) -> Claim {
        debug_assert!(self.fits(lengths), "{lengths:?} do not fit");
        debug_assert!(self.places[owner.index()] == NOWHERE, "{owner:?} has a record");
        let budget = Budget::new(budget_bytes);
        Claim { owner, lengths, promised: 0, budget, looks: WINDOW_LOOKS, cost: u32::MAX }
    }

    /// Gives back what a claim has got.
    pub(crate) fn abandon(&mut self, claim: Claim) {
        self.open(&claim);
        self.promised -= claim.promised;
    }

    /// Goes on with a claim. Moves at most `step_bytes`, or one record; what is looked at counts
    /// as if it were moved.
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
        if let Some(at) = self.holes.find(&self.memory, claim.lengths.grains()) {
            self.holes.take(&mut self.memory, at, claim.lengths.grains());
            return self.end(claim, at);
        }
        if claim.looks > 0 {
            self.look(claim, start, step_bytes);
            return Step::Again;
        }
        match self.slide(start, claim.lengths.grains(), &mut claim.budget, step_bytes) {
            Slid::Room(at) => self.end(claim, at),
            Slid::Paused(room) => {
                self.keep(claim, room);
                Step::Again
            }
            Slid::Stopped(room, owner) => {
                self.keep(claim, room);
                Step::FreeAtHand(owner)
            }
        }
    }

    /// Leaves the record at the hand where it is, and the hole before it to others.
    pub(crate) fn pass(&mut self, claim: &Claim) {
        debug_assert!(claim.looks == 0, "{claim:?} has asked for no record");
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

    /// Looks for a cheaper window than that at `start`, from the hand on, and keeps its first
    /// hole.
    fn look(&mut self, claim: &mut Claim, start: u32, step_bytes: usize) {
        let grains = claim.lengths.grains();
        let has_window = claim.cost < u32::MAX;
        let looks = claim.looks.min((step_bytes / Budget::LOOK_BYTES).max(1));
        let wanted = Wanted { grains, record_max: claim.budget.record_grains_max(), cost: grains };
        let (window, stop) = Window::cheapest(&self.memory, self.hand, wanted, looks);
        claim.looks -= looks;
        let cheaper = window.filter(|it| it.cost < claim.cost);
        if let Some(window) = cheaper {
            claim.cost = window.cost;
            if window.cost <= wanted.cost {
                claim.looks = 0;
            }
        }
        let kept = cheaper.map_or(start, |it| it.at);
        if cheaper.is_some() || has_window {
            let hole = self.holes.unlink(&mut self.memory, kept);
            self.keep(claim, Carried { at: kept, end: kept + hole });
        }
        self.hand = stop;
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

    /// Keeps the room for the claim. The hand goes there.
    fn keep(&mut self, claim: &Claim, room: Carried) {
        self.hand = room.at;
        self.memory.set_follows_hole(room.end, false);
        if !room.is_empty() {
            self.memory.set_header(room.at, Header::claim(claim.owner, room.grains()));
            self.places[claim.owner.index()] = room.at;
        }
    }
}
