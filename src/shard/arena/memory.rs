//! The bytes of the arena, seen as headers and as payload.

use std::ops::Range;

use super::header::{GRAIN_BYTES, Header, Lengths};
use crate::error::BuildError;

/// Where the first block starts. So no block is at zero, which means nowhere.
pub(super) const FIRST: u32 = 1;

/// What lies before the first block and behind the last one.
const FRAME_GRAINS: usize = 2;

/// A row of grains. Places are numbers of grains.
#[cfg_attr(any(test, fuzzing), derive(Clone, PartialEq))]
pub(super) struct Memory {
    grains: Box<[[u8; GRAIN_BYTES]]>,
}

impl Memory {
    pub(super) fn new(grains: u32) -> Result<Self, BuildError> {
        BuildError::probe(Self::heap_bytes(grains))?;
        // Zeros come from the system as they are: a page is touched when it is used first.
        let grains = vec![[0; GRAIN_BYTES]; grains as usize + FRAME_GRAINS].into_boxed_slice();
        let mut memory = Self { grains };
        memory.set_header(memory.end(), Header::END);
        Ok(memory)
    }

    pub(super) fn heap_bytes(grains: u32) -> usize {
        (grains as usize + FRAME_GRAINS).saturating_mul(GRAIN_BYTES)
    }

    /// Returns the place behind the last block, where [`Header::END`] stands.
    #[inline]
    pub(super) fn end(&self) -> u32 {
        self.grains.len() as u32 - 1
    }

    #[inline]
    pub(super) fn header(&self, at: u32) -> Header {
        Header::from_bytes(self.grains[at as usize])
    }

    #[inline]
    pub(super) fn set_header(&mut self, at: u32, header: Header) {
        self.grains[at as usize] = header.to_bytes();
    }

    #[inline]
    pub(super) fn set_follows_hole(&mut self, at: u32, follows_hole: bool) {
        self.set_header(at, self.header(at).with_follows_hole(follows_hole));
    }

    /// Returns the size of the hole that ends where a block starts, which
    /// [follows](Header::follows_hole) it.
    #[inline]
    pub(super) fn grains_before(&self, at: u32) -> u32 {
        self.header(at - 1).grains()
    }

    /// Copies a block; the two places may overlap.
    #[inline]
    pub(super) fn copy(&mut self, from: u32, to: u32, grains: u32) {
        let from = from as usize;
        self.grains.copy_within(from..from + grains as usize, to as usize);
    }

    /// Returns key and value of the record at a place, one behind the other.
    #[inline]
    pub(super) fn payload(&self, at: u32, lengths: Lengths) -> &[u8] {
        &self.grains.as_flattened()[Self::payload_range(at, lengths)]
    }

    #[inline]
    pub(super) fn payload_mut(&mut self, at: u32, lengths: Lengths) -> &mut [u8] {
        &mut self.grains.as_flattened_mut()[Self::payload_range(at, lengths)]
    }

    #[inline]
    fn payload_range(at: u32, lengths: Lengths) -> Range<usize> {
        let start = (at as usize + 1) * GRAIN_BYTES;
        start..start + lengths.key() + lengths.value()
    }
}
