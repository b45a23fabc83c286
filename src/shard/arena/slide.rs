//! Records are moved down over a hole, which so takes in every further one:
//!
//! ```text
//!   │ a │   hole   │  b  │ c │ hole │ d │
//!   │ a │  b  │   hole   │ c │ hole │ d │        b is moved
//!   │ a │  b  │ c │   hole   │ hole │ d │        c is moved
//!   │ a │  b  │ c │        hole      │ d │        joined
//! ```

use super::header::{GRAIN_BYTES, GRAINS_MAX, Header};
use super::memory::FIRST;
use super::{Arena, OwnerId};

/// How many bytes may still be moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left_bytes: usize,
    /// What there was in the beginning. A larger record is passed, unless nothing is left.
    whole_bytes: usize,
}

impl Budget {
    /// What looking at a block takes, as if so much were moved: so the blocks that are looked at
    /// are bounded, too.
    pub(super) const LOOK_BYTES: usize = 128;

    pub(super) fn new(bytes: usize) -> Self {
        Self { left_bytes: bytes, whole_bytes: bytes }
    }

    /// Returns the grains of the largest record that is moved.
    pub(super) fn record_grains_max(&self) -> u32 {
        (self.whole_bytes / GRAIN_BYTES).min(GRAINS_MAX as usize) as u32
    }
}

/// Free room that is carried along. Between `at` and `end` nothing is written, and no hole is
/// before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    pub(super) at: u32,
    pub(super) end: u32,
}

impl Carried {
    pub(super) fn nothing(at: u32) -> Self {
        Self { at, end: at }
    }

    pub(super) fn grains(self) -> u32 {
        self.end - self.at
    }

    pub(super) fn is_empty(self) -> bool {
        self.at == self.end
    }

    /// A block of so many grains changes its place with the room before it.
    fn advance(self, grains: u32) -> Self {
        Self { at: self.at + grains, end: self.end + grains }
    }
}

/// How a slide ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slid {
    /// There is room at this place. The hand is behind it.
    Room(u32),
    /// As much was moved as one step may. The caller writes what the room becomes.
    Paused(Carried),
    /// The budget does not suffice for the record of this owner, which is behind the room.
    Stopped(Carried, OwnerId),
}

impl Arena {
    /// Carries a hole along, from a place on that follows none, until it has so many grains.
    pub(super) fn slide(
        &mut self,
        start: u32,
        grains_wanted: u32,
        budget: &mut Budget,
        step_bytes: usize,
    ) -> Slid {
        let mut step_left_bytes = step_bytes;
        let mut room = Carried::nothing(start);
        loop {
            if room.grains() >= grains_wanted {
                let end = room.at + grains_wanted;
                self.leave(Carried { at: end, end: room.end });
                self.hand = end;
                return Slid::Room(room.at);
            }
            if room.end == self.memory.end() {
                self.leave(room);
                room = Carried::nothing(FIRST);
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
                room = room.advance(grains);
                continue;
            }
            let bytes = grains as usize * GRAIN_BYTES;
            let is_passed = room.is_empty() || bytes > budget.whole_bytes;
            let cost = if is_passed { Budget::LOOK_BYTES } else { bytes };
            if cost > budget.left_bytes {
                return Slid::Stopped(room, next.owner());
            }
            if cost > step_left_bytes && step_left_bytes < step_bytes {
                return Slid::Paused(room);
            }
            budget.left_bytes -= cost;
            step_left_bytes = step_left_bytes.saturating_sub(cost);
            if is_passed {
                self.leave(room);
                room = Carried::nothing(room.end + grains);
            } else {
                self.memory.copy(room.end, room.at, grains);
                self.memory.set_follows_hole(room.at, false);
                self.places[next.owner().index()] = room.at;
                self.moved_bytes += bytes as u64;
                room = room.advance(grains);
            }
        }
    }

    /// Makes a hole of the room.
    fn leave(&mut self, room: Carried) {
        self.memory.set_follows_hole(room.end, false);
        if !room.is_empty() {
            self.release(room.at, room.grains(), false);
        }
    }
}
