//! Bins of sizes: which bin a size belongs to, and which bins are not empty.

use super::header::GRAINS_MAX;
use super::memory::FIRST;
use crate::error::{BuildError, allocate};

/// Sixteen bins for each doubling of the size, so that sizes of a bin differ by less than a
/// sixteenth.
const STEP_BITS: u32 = 4;

/// The most bins: those of the sizes that a header can hold.
const BINS_MAX: usize = bin(GRAINS_MAX) + 1;

const WORD_BITS: usize = u64::BITS as usize;

/// No place.
pub(super) const NOWHERE: u32 = 0;
const _: () = assert!(NOWHERE < FIRST);

/// Returns the bin of a size: of one size each below 32 grains, and of the sizes that agree in
/// their five highest bits from there on.
///
/// ```text
/// grains    1  2  3 …  31  32  34  36 …  62  64  68  72 …
/// bin       1  2  3 …  31  32  33  34 …  47  48  49  50 …
/// ```
#[inline]
pub(super) const fn bin(grains: u32) -> usize {
    if grains < 1 << STEP_BITS {
        return grains as usize;
    }
    let doubling = grains.ilog2() - STEP_BITS;
    // The highest bit adds the last of the doublings.
    ((doubling << STEP_BITS) + (grains >> doubling)) as usize
}

/// The first hole of each bin. The holes themselves link the rest.
#[cfg_attr(any(test, fuzzing), derive(Clone, PartialEq))]
pub(super) struct Bins {
    heads: Box<[u32]>,
    /// A bit for each bin: it is not empty.
    occupied: [u64; BINS_MAX.div_ceil(WORD_BITS)],
}

impl Bins {
    /// Allocates bins for sizes up to `grains_max`.
    pub(super) fn new(grains_max: u32) -> Result<Self, BuildError> {
        Ok(Self { heads: allocate(bin(grains_max) + 1, NOWHERE)?, occupied: Default::default() })
    }

    pub(super) fn heap_bytes(grains_max: u32) -> usize {
        (bin(grains_max) + 1) * size_of::<u32>()
    }

    #[inline]
    pub(super) fn head(&self, bin: usize) -> u32 {
        self.heads[bin]
    }

    #[inline]
    pub(super) fn set_head(&mut self, bin: usize, at: u32) {
        self.heads[bin] = at;
        let bit = 1 << (bin % WORD_BITS);
        if at == NOWHERE {
            self.occupied[bin / WORD_BITS] &= !bit;
        } else {
            self.occupied[bin / WORD_BITS] |= bit;
        }
    }

    /// Returns the first hole of the first bin above that is not empty.
    #[inline]
    pub(super) fn first_above(&self, bin: usize) -> Option<u32> {
        let from = bin + 1;
        let mut word = from / WORD_BITS;
        let mut bits = self.occupied.get(word)? & (!0 << (from % WORD_BITS));
        while bits == 0 {
            word += 1;
            bits = *self.occupied.get(word)?;
        }
        Some(self.heads[word * WORD_BITS + bits.trailing_zeros() as usize])
    }

    /// Returns the first hole of the last bin that is not empty.
    #[cfg(any(test, fuzzing))]
    pub(super) fn first_of_last(&self) -> Option<u32> {
        let word = self.occupied.iter().rposition(|&bits| bits != 0)?;
        Some(self.heads[word * WORD_BITS + self.occupied[word].ilog2() as usize])
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn clear(&mut self) {
        self.heads.fill(NOWHERE);
        self.occupied = Default::default();
    }

    /// Returns the heads, each with its bit.
    #[cfg(any(test, fuzzing))]
    pub(super) fn heads(&self) -> impl Iterator<Item = (u32, bool)> + '_ {
        self.heads.iter().enumerate().map(|(bin, &head)| {
            (head, self.occupied[bin / WORD_BITS] & (1 << (bin % WORD_BITS)) != 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_a_bin_differ_by_less_than_a_sixteenth() {
        let mut first_of_bin = 1;
        for grains in 1..1 << 14 {
            let (here, previous) = (bin(grains), bin(grains - 1));
            assert!(here == previous || here == previous + 1, "{grains}");
            if here != previous {
                first_of_bin = grains;
            }
            assert!(grains - first_of_bin <= (first_of_bin - 1) / 16, "{grains}");
        }
        assert!((1..32).all(|grains| bin(grains) == grains as usize));
        for border in (5..29).flat_map(|log2| (16..32).map(move |top| top << (log2 - 4))) {
            assert_eq!(bin(border), bin(border - 1) + 1, "{border}");
        }
        assert_eq!(bin(GRAINS_MAX) + 1, BINS_MAX);
    }

    #[test]
    fn finds_the_next_bin_and_the_last() {
        let mut bins = Bins::new(GRAINS_MAX).unwrap();
        let all = [2, 3, 63, 64, 65, 127, 128, 319, 320, BINS_MAX - 1];
        assert_eq!((bins.first_above(1), bins.first_of_last()), (None, None));
        for &bin in &all {
            bins.set_head(bin, bin as u32 + 1_000);
        }
        for bin in 0..BINS_MAX {
            let next = all.iter().find(|&&it| it > bin);
            assert_eq!(bins.first_above(bin), next.map(|&it| it as u32 + 1_000), "{bin}");
        }
        for &bin in all.iter().rev() {
            assert_eq!(bins.first_of_last(), Some(bin as u32 + 1_000));
            bins.set_head(bin, NOWHERE);
        }
        assert_eq!(bins.first_of_last(), None);
    }
}
