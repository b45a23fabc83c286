//! Holes: joined with their neighbours at once, and found by size in constant time.
//!
//! The bins are those of TLSF (Masmano, Ripoll, Crespo and Real, 2004), a good fit: the hole
//! that is found may be larger than the best one by a sixteenth, and is found without a search.

use super::bins::{Bins, NOWHERE, bin};
use super::header::{Header, RECORD_GRAINS_MIN};
use super::memory::Memory;
use crate::error::BuildError;

/// How many holes of a size's own bin are looked at. They may be too small, by less than a
/// sixteenth; those of the next bin never are.
const LOOKS: usize = 2;

/// A hole of two grains or more is in the list of its bin: its header has the place of the
/// next one, its second grain that of the previous one. (Not its footer, unless that is the
/// second grain: so a neighbour in the list is told of a change in one place, next to where it
/// starts.) One of a single grain is in no list: no record would fit.
#[cfg_attr(any(test, fuzzing), derive(Clone, PartialEq))]
pub(super) struct Holes {
    bins: Bins,
}

impl Holes {
    pub(super) fn new(grains_max: u32) -> Result<Self, BuildError> {
        Ok(Self { bins: Bins::new(grains_max)? })
    }

    pub(super) fn heap_bytes(grains_max: u32) -> usize {
        Bins::heap_bytes(grains_max)
    }

    /// Returns a hole of at least so many grains. It may miss one that is larger by less than a
    /// sixteenth.
    #[inline]
    pub(super) fn find(&self, memory: &Memory, grains: u32) -> Option<u32> {
        let own = bin(grains);
        let mut at = self.bins.head(own);
        for _ in 0..LOOKS {
            if at == NOWHERE {
                break;
            }
            let hole = memory.header(at);
            if hole.grains() >= grains {
                return Some(at);
            }
            at = hole.link();
        }
        self.bins.first_above(own)
    }

    /// Returns the size of the largest hole. O(holes of its bin).
    #[cfg(any(test, fuzzing))]
    pub(super) fn largest(&self, memory: &Memory) -> u32 {
        let mut largest = 0;
        let mut at = self.bins.first_of_last().unwrap_or(NOWHERE);
        while at != NOWHERE {
            let hole = memory.header(at);
            largest = largest.max(hole.grains());
            at = hole.link();
        }
        largest
    }

    /// Makes a hole where there is none, of a block or of a part of one, and joins it with the
    /// holes beside it. `follows_hole` says whether one is before it. Returns where it starts.
    #[inline]
    pub(super) fn release(
        &mut self,
        memory: &mut Memory,
        mut at: u32,
        mut grains: u32,
        follows_hole: bool,
    ) -> u32 {
        let behind = at + grains;
        if memory.header(behind).is_hole() {
            grains += self.unlink(memory, behind);
        }
        if follows_hole {
            let before = at - memory.grains_before(at);
            grains += self.unlink(memory, before);
            at = before;
        }
        self.link(memory, at, grains);
        at
    }

    /// Cuts so many grains from the front of a hole, for a block which the caller writes.
    #[inline]
    pub(super) fn take(&mut self, memory: &mut Memory, at: u32, grains: u32) {
        let rest = self.unlink(memory, at) - grains;
        if rest == 0 {
            memory.set_follows_hole(at + grains, false);
        } else {
            self.link(memory, at + grains, rest);
        }
    }

    /// Writes a hole between two blocks that are none.
    #[inline]
    pub(super) fn link(&mut self, memory: &mut Memory, at: u32, grains: u32) {
        let behind = at + grains;
        if grains < RECORD_GRAINS_MIN {
            memory.set_header(at, Header::hole(grains, NOWHERE));
        } else {
            let bin = bin(grains);
            let next = self.bins.head(bin);
            memory.set_header(behind - 1, Header::hole(grains, NOWHERE));
            memory.set_header(at, Header::hole(grains, next));
            memory.set_header(at + 1, Header::hole(grains, NOWHERE));
            if next != NOWHERE {
                Self::set_previous(memory, next, at);
            }
            self.bins.set_head(bin, at);
        }
        memory.set_follows_hole(behind, true);
    }

    /// Takes a hole out of its list, and returns its size. The caller makes something else of
    /// its room, and tells the block behind if that follows no hole any more.
    #[inline]
    pub(super) fn unlink(&mut self, memory: &mut Memory, at: u32) -> u32 {
        let hole = memory.header(at);
        let grains = hole.grains();
        if grains >= RECORD_GRAINS_MIN {
            let next = hole.link();
            let previous = memory.header(at + 1).link();
            if next != NOWHERE {
                Self::set_previous(memory, next, previous);
            }
            if previous == NOWHERE {
                self.bins.set_head(bin(grains), next);
            } else {
                memory.set_header(previous, memory.header(previous).with_link(next));
            }
        }
        grains
    }

    fn set_previous(memory: &mut Memory, at: u32, previous: u32) {
        memory.set_header(at + 1, memory.header(at + 1).with_link(previous));
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn clear(&mut self) {
        self.bins.clear();
    }

    /// Returns the bins' first holes, each with its bit.
    #[cfg(any(test, fuzzing))]
    pub(super) fn heads(&self) -> impl Iterator<Item = (u32, bool)> + '_ {
        self.bins.heads()
    }
}
