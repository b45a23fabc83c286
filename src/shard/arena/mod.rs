//! An arena of bytes: records of any size in memory of a fixed size.
//!
//! It knows no key, hash, time or cache. A record belongs to an owner, which is a number, and
//! consists of two byte strings that lie contiguously. It may be moved at any call that changes
//! the arena, so its place is known to the arena only: callers name the owner. (The table of
//! places costs four bytes an owner wherever it is kept. Kept here, it is in step with the
//! records by construction, and no move has to be reported.)
//!
//! # Geometry
//!
//! Memory is counted in grains of eight bytes. Blocks tile it: records, holes, and claims, which
//! are holes that an insertion in progress keeps to itself ([`claim`]).
//!
//! ```text
//!                     hand
//!                      ▽
//!  ┌───┬────────┬──────┬─────────┬────┬──────────────┬────────┬─────┬────────┬───┐
//!  │ 0 │ record │record│  hole   │rec.│    record    │ claim  │hole │ record │END│
//!  └───┴────────┴──────┴─────────┴────┴──────────────┴────────┴─────┴────────┴───┘
//!   record   header 8 │ key │ value │ up to 7 of padding        two grains or more
//!   hole     header 8 │        …            │ footer 8          one grain: both in one
//!   claim    header 8 │        …                                one grain or more
//! ```
//!
//! # Invariants
//!
//! 1. Walking by sizes from the first block ends at `END`.
//! 2. No two holes adjoin. (A claim and a hole may.)
//! 3. An owner's place is that of the record or claim whose header names it; without one it is
//!    [`NOWHERE`].
//! 4. A hole of two grains or more is in the list of the bin of its size, and nothing else is.
//!    A bin's bit is set if and only if its list is not empty.
//! 5. A block's header says that it follows a hole if and only if it does. A hole's footer has
//!    the same size as its header.
//! 6. `live` is the sum of all records, `promised` that of what claims may still become, and
//!    both together are at most `live_max`.
//! 7. The hand is where a block starts, or at `END`.
//!
//! Everything is O(1), but for what is copied: a record in, or records aside ([`claim`]).

mod bins;
#[cfg(any(test, fuzzing))]
mod check;
pub(crate) mod claim;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod header;
mod holes;
mod memory;
mod slide;
#[cfg(test)]
mod tests;
mod window;

use std::fmt;

use super::slot_id::SlotId as OwnerId;
use crate::error::{BuildError, allocate};
use bins::NOWHERE;
use header::{GRAIN_BYTES, GRAINS_MAX, Header, Lengths, RECORD_GRAINS_MIN};
use holes::Holes;
use memory::{FIRST, Memory};

/// Why there is no room for a record at once. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// More would be live than may be: free any record.
    Live,
    /// Enough is free, and no hole is large enough: [claim](claim::Claim) the room.
    Hole,
}

/// Records, by owner.
#[cfg_attr(any(test, fuzzing), derive(Clone, PartialEq))]
pub(crate) struct Arena {
    memory: Memory,
    /// The place of each owner's record or claim.
    places: Box<[u32]>,
    holes: Holes,
    /// Where the last claim stopped, and the next one starts to look for room.
    hand: u32,
    live: u32,
    promised: u32,
    live_max: u32,
    moved_bytes: u64,
}

impl Arena {
    /// The most bytes of an arena.
    pub(crate) const BYTES_MAX: usize = GRAINS_MAX as usize * GRAIN_BYTES;
    /// The fewest, for one record.
    pub(crate) const BYTES_MIN: usize = RECORD_GRAINS_MIN as usize * GRAIN_BYTES;

    /// Allocates an arena of so many bytes for blocks, rounded down to grains, of which records
    /// take at most `live_bytes_max`. Owners are numbered below `owners`.
    pub(crate) fn new(
        bytes: usize,
        live_bytes_max: usize,
        owners: usize,
    ) -> Result<Self, BuildError> {
        assert!(
            (Self::BYTES_MIN..=Self::BYTES_MAX).contains(&bytes),
            "an arena of {bytes} bytes cannot be"
        );
        assert!(live_bytes_max <= bytes, "{live_bytes_max} bytes live of {bytes}");
        assert!(owners <= OwnerId::COUNT_MAX, "{owners} owners cannot be numbered");
        let grains = to_grains(bytes);
        let mut arena = Self {
            memory: Memory::new(grains)?,
            places: allocate(owners, NOWHERE)?,
            holes: Holes::new(grains)?,
            hand: FIRST,
            live: 0,
            promised: 0,
            live_max: to_grains(live_bytes_max),
            moved_bytes: 0,
        };
        arena.holes.link(&mut arena.memory, FIRST, grains);
        Ok(arena)
    }

    /// Returns the bytes that [`new`](Self::new) requests from the allocator.
    pub(crate) fn heap_bytes(bytes: usize, owners: usize) -> usize {
        let grains = to_grains(bytes);
        [
            Memory::heap_bytes(grains),
            owners.saturating_mul(size_of::<u32>()),
            Holes::heap_bytes(grains),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// Returns a number of bytes rounded down to grains.
    pub(crate) fn floor(bytes: usize) -> usize {
        bytes / GRAIN_BYTES * GRAIN_BYTES
    }

    /// Returns the most bytes of key and value of a record that is live alone.
    pub(crate) fn payload_bytes_max(live_bytes_max: usize) -> usize {
        (to_grains(live_bytes_max) as usize * GRAIN_BYTES).saturating_sub(GRAIN_BYTES)
    }

    /// Returns the bytes of all blocks.
    pub(crate) fn capacity_bytes(&self) -> usize {
        (self.memory.end() - FIRST) as usize * GRAIN_BYTES
    }

    /// Returns the bytes of all records, headers and padding included.
    pub(crate) fn live_bytes(&self) -> usize {
        self.live as usize * GRAIN_BYTES
    }

    /// Returns the most that [`live_bytes`](Self::live_bytes) may be.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn live_bytes_max(&self) -> usize {
        self.live_max as usize * GRAIN_BYTES
    }

    /// Returns the bytes of the largest hole. O(holes of about that size).
    #[cfg(any(test, fuzzing))]
    pub(crate) fn largest_hole_bytes(&self) -> usize {
        self.holes.largest(&self.memory) as usize * GRAIN_BYTES
    }

    /// Returns how many bytes of records were moved since the arena was built.
    pub(crate) fn moved_bytes(&self) -> u64 {
        self.moved_bytes
    }

    /// Returns whether a record of these lengths can be stored at all, if others leave.
    #[inline]
    pub(crate) fn fits(&self, lengths: Lengths) -> bool {
        lengths.grains() <= self.live_max
    }

    /// Returns whether the owner has a record.
    #[inline]
    pub(crate) fn contains(&self, owner: OwnerId) -> bool {
        let place = self.places[owner.index()];
        place != NOWHERE && self.memory.header(place).is_record()
    }

    /// Returns key and value of the owner's record. Every owner named below must have one.
    #[inline]
    pub(crate) fn record(&self, owner: OwnerId) -> (&[u8], &[u8]) {
        let (at, lengths) = self.place_and_lengths(owner);
        self.memory.payload(at, lengths).split_at(lengths.key())
    }

    #[inline]
    pub(crate) fn key(&self, owner: OwnerId) -> &[u8] {
        self.record(owner).0
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn value(&self, owner: OwnerId) -> &[u8] {
        self.record(owner).1
    }

    #[inline]
    pub(crate) fn value_mut(&mut self, owner: OwnerId) -> &mut [u8] {
        let (at, lengths) = self.place_and_lengths(owner);
        &mut self.memory.payload_mut(at, lengths)[lengths.key()..]
    }

    #[inline]
    pub(crate) fn lengths(&self, owner: OwnerId) -> Lengths {
        self.place_and_lengths(owner).1
    }

    /// Stores a record for an owner that has none, if there is room at once.
    #[inline]
    pub(crate) fn put(&mut self, owner: OwnerId, key: &[u8], value: &[u8]) -> Result<(), NoRoom> {
        let lengths = Lengths::new(key.len(), value.len()).expect("lengths were checked");
        let at = self.place_record(owner, lengths)?;
        let (key_room, value_room) =
            self.memory.payload_mut(at, lengths).split_at_mut(lengths.key());
        key_room.copy_from_slice(key);
        value_room.copy_from_slice(value);
        Ok(())
    }

    /// Makes a record for an owner that has none, if there is room at once. What is in it means
    /// nothing until it is [filled](Self::fill).
    #[cfg(any(test, fuzzing))]
    pub(crate) fn reserve(&mut self, owner: OwnerId, lengths: Lengths) -> Result<(), NoRoom> {
        self.place_record(owner, lengths).map(|_| ())
    }

    /// Writes a part of a record: `at` counts from the start of its key, which the value follows.
    pub(crate) fn fill(&mut self, owner: OwnerId, at: usize, bytes: &[u8]) {
        let (place, lengths) = self.place_and_lengths(owner);
        self.memory.payload_mut(place, lengths)[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Replaces the value of a record where it is, if there is room.
    pub(crate) fn overwrite(&mut self, owner: OwnerId, value: &[u8]) -> Result<(), NoRoom> {
        let lengths = Lengths::new(self.lengths(owner).key(), value.len());
        self.resize(owner, lengths.expect("lengths were checked"))?;
        self.value_mut(owner).copy_from_slice(value);
        Ok(())
    }

    /// Changes the length of a record's value where it is: a hole behind it takes what is left
    /// over, or gives what is missing. The key and as much of the value as there was and will be
    /// stay.
    fn resize(&mut self, owner: OwnerId, lengths: Lengths) -> Result<(), NoRoom> {
        let at = self.places[owner.index()];
        let header = self.memory.header(at);
        let (old, new) = (header.grains(), lengths.grains());
        if new > old {
            let more = new - old;
            if more > self.room() {
                return Err(NoRoom::Live);
            }
            let hole = self.memory.header(at + old);
            if !hole.is_hole() || hole.grains() < more {
                return Err(NoRoom::Hole);
            }
            self.holes.take(&mut self.memory, at + old, more);
            if self.hand == at + old {
                self.hand = at + new;
            }
        }
        let resized = Header::record(owner, lengths).with_follows_hole(header.follows_hole());
        self.memory.set_header(at, resized);
        if new < old {
            self.release(at + new, old - new, false);
        }
        self.live = self.live - old + new;
        Ok(())
    }

    /// Makes a hole of the owner's record.
    #[inline]
    pub(crate) fn free(&mut self, owner: OwnerId) {
        let at = std::mem::replace(&mut self.places[owner.index()], NOWHERE);
        let header = self.memory.header(at);
        debug_assert!(at != NOWHERE && header.is_record(), "{owner:?} has no record");
        self.live -= header.grains();
        self.release(at, header.grains(), header.follows_hole());
    }

    /// Gives the record of one owner to another, which has none.
    pub(crate) fn hand_over(&mut self, from: OwnerId, to: OwnerId) {
        debug_assert!(self.places[to.index()] == NOWHERE, "{to:?} has a record");
        let at = std::mem::replace(&mut self.places[from.index()], NOWHERE);
        let header = self.memory.header(at);
        debug_assert!(at != NOWHERE && header.is_record(), "{from:?} has no record");
        let given = Header::record(to, header.lengths()).with_follows_hole(header.follows_hole());
        self.memory.set_header(at, given);
        self.places[to.index()] = at;
    }

    /// Frees every record. There must be no claim. O(owners).
    #[cfg(any(test, fuzzing))]
    pub(crate) fn clear(&mut self) {
        assert!(self.promised == 0, "{} grains are promised to claims", self.promised);
        self.places.fill(NOWHERE);
        self.holes.clear();
        let grains = self.memory.end() - FIRST;
        self.holes.link(&mut self.memory, FIRST, grains);
        self.hand = FIRST;
        self.live = 0;
    }

    #[inline]
    fn place_and_lengths(&self, owner: OwnerId) -> (u32, Lengths) {
        let at = self.places[owner.index()];
        let header = self.memory.header(at);
        debug_assert!(at != NOWHERE && header.is_record(), "{owner:?} has no record");
        (at, header.lengths())
    }

    /// Returns the grains that may become live, beside those promised.
    #[inline]
    fn room(&self) -> u32 {
        self.live_max - self.live - self.promised
    }

    #[inline]
    fn place_record(&mut self, owner: OwnerId, lengths: Lengths) -> Result<u32, NoRoom> {
        debug_assert!(self.places[owner.index()] == NOWHERE, "{owner:?} has a record");
        let grains = lengths.grains();
        if grains > self.room() {
            return Err(NoRoom::Live);
        }
        let at = self.holes.find(&self.memory, grains).ok_or(NoRoom::Hole)?;
        self.holes.take(&mut self.memory, at, grains);
        self.write_record(at, owner, lengths);
        Ok(at)
    }

    /// Writes the header of a record that follows no hole.
    #[inline]
    fn write_record(&mut self, at: u32, owner: OwnerId, lengths: Lengths) {
        self.memory.set_header(at, Header::record(owner, lengths));
        self.places[owner.index()] = at;
        self.live += lengths.grains();
    }

    /// Makes a hole of a block or of a part of one. Returns where it starts.
    #[inline]
    fn release(&mut self, at: u32, grains: u32, follows_hole: bool) -> u32 {
        let start = self.holes.release(&mut self.memory, at, grains, follows_hole);
        let end = start + self.memory.header(start).grains();
        if start < self.hand && self.hand < end {
            self.hand = start;
        }
        start
    }
}

fn to_grains(bytes: usize) -> u32 {
    (bytes.min(Arena::BYTES_MAX) / GRAIN_BYTES) as u32
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("capacity_bytes", &self.capacity_bytes())
            .field("live_bytes", &self.live_bytes())
            .finish_non_exhaustive()
    }
}
