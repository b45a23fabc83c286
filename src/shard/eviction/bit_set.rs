//! Sets of slots: one that finds the next member in constant time, and a plain one.

use crate::error::{BuildError, allocate};
use crate::shard::slot_id::SlotId;

const WORD_BITS: usize = u64::BITS as usize;

/// Levels of 64 bits each: enough for every slot number.
const LEVELS: usize = SlotId::LINK_BITS.div_ceil(u64::BITS.ilog2()) as usize;

/// A bit for each slot, and levels of summary above, up to one of a single word: a bit of level
/// `n + 1` is set if and only if its word of level `n` is not zero.
#[derive(Debug)]
pub(crate) struct HierarchicalBitSet {
    /// Those of all levels, from the lowest up, in one allocation.
    words: Box<[u64]>,
    /// Where each level ends, and the next one begins. Levels that a small set does without are
    /// empty.
    ends: [u32; LEVELS],
}

impl HierarchicalBitSet {
    pub(crate) fn new(slots: usize) -> Result<Self, BuildError> {
        let ends = Self::ends(slots);
        Ok(Self { words: zeroed(ends[LEVELS - 1] as usize)?, ends })
    }

    fn ends(slots: usize) -> [u32; LEVELS] {
        // One more, so that a hand which has passed the last slot is at a bit, too.
        let (mut bits, mut end) = (slots + 1, 0);
        [(); LEVELS].map(|()| {
            // Above a single word there is no level.
            if bits > 1 || end == 0 {
                bits = bits.div_ceil(WORD_BITS);
                end += bits as u32;
            }
            end
        })
    }

    /// Returns the bytes that [`new`](Self::new) requests from the allocator.
    pub(crate) fn heap_bytes(slots: usize) -> usize {
        Self::ends(slots)[LEVELS - 1] as usize * size_of::<u64>()
    }

    #[inline]
    pub(crate) fn contains(&self, id: SlotId) -> bool {
        let bit = id.index();
        self.words[bit / WORD_BITS] & (1 << (bit % WORD_BITS)) != 0
    }

    #[inline]
    pub(crate) fn insert(&mut self, id: SlotId) {
        let bit = id.index();
        let word = &mut self.words[bit / WORD_BITS];
        let was_empty = *word == 0;
        *word |= 1 << (bit % WORD_BITS);
        if was_empty {
            self.insert_above(bit / WORD_BITS);
        }
    }

    #[inline]
    fn insert_above(&mut self, mut bit: usize) {
        for &start in &self.ends[..LEVELS - 1] {
            let Some(word) = self.words.get_mut(start as usize + bit / WORD_BITS) else { return };
            let was_empty = *word == 0;
            *word |= 1 << (bit % WORD_BITS);
            if !was_empty {
                return;
            }
            bit /= WORD_BITS;
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, id: SlotId) {
        let bit = id.index();
        let word = &mut self.words[bit / WORD_BITS];
        *word &= !(1 << (bit % WORD_BITS));
        if *word == 0 {
            self.remove_above(bit / WORD_BITS);
        }
    }

    #[inline]
    fn remove_above(&mut self, mut bit: usize) {
        for &start in &self.ends[..LEVELS - 1] {
            let Some(word) = self.words.get_mut(start as usize + bit / WORD_BITS) else { return };
            *word &= !(1 << (bit % WORD_BITS));
            if *word != 0 {
                return;
            }
            bit /= WORD_BITS;
        }
    }

    /// Returns the first member at or after slot number `from` or, if there is none, the
    /// first of all. Reads no more than 14 words.
    #[inline]
    pub(crate) fn next_wrapping(&self, from: usize) -> Option<SlotId> {
        self.at_or_after(from).or_else(|| self.first())
    }

    #[inline(never)]
    fn first(&self) -> Option<SlotId> {
        self.at_or_after(0)
    }

    #[inline(always)]
    fn at_or_after(&self, from: usize) -> Option<SlotId> {
        let place = from / WORD_BITS;
        debug_assert!(place < self.ends[0] as usize, "{from} is beyond the last slot");
        let word = self.words[place] & (u64::MAX << (from % WORD_BITS));
        if word == 0 {
            return self.in_words_from(place + 1);
        }
        Some(SlotId::new(place * WORD_BITS + word.trailing_zeros() as usize))
    }

    /// Returns the first member in the words of the lowest level from this one on, which the
    /// levels above find.
    #[inline(never)]
    fn in_words_from(&self, first: usize) -> Option<SlotId> {
        let mut bit = first;
        for level in 1..LEVELS {
            let (start, end) = (self.ends[level - 1] as usize, self.ends[level] as usize);
            let word = *self.words[start..end].get(bit / WORD_BITS)?;
            let word = word & (u64::MAX << (bit % WORD_BITS));
            if word != 0 {
                let mut found = bit / WORD_BITS * WORD_BITS + word.trailing_zeros() as usize;
                for below in (0..level).rev() {
                    let start = if below == 0 { 0 } else { self.ends[below - 1] as usize };
                    let word = self.words[start + found];
                    found = found * WORD_BITS + word.trailing_zeros() as usize;
                }
                return Some(SlotId::new(found));
            }
            bit = bit / WORD_BITS + 1;
        }
        None
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(&self) -> usize {
        let lowest = &self.words[..self.ends[0] as usize];
        lowest.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// A bit for each slot, without summaries.
#[derive(Debug)]
pub(crate) struct BitSet {
    words: Box<[u64]>,
}

impl BitSet {
    pub(crate) fn new(slots: usize) -> Result<Self, BuildError> {
        Ok(Self { words: zeroed(slots.div_ceil(WORD_BITS))? })
    }

    /// Returns the bytes that [`new`](Self::new) requests from the allocator.
    pub(crate) fn heap_bytes(slots: usize) -> usize {
        slots.div_ceil(WORD_BITS) * size_of::<u64>()
    }

    #[inline]
    pub(crate) fn insert(&mut self, id: SlotId) {
        self.words[id.index() / WORD_BITS] |= 1 << (id.index() % WORD_BITS);
    }

    /// Removes a slot. Returns whether it was in the set.
    #[inline]
    pub(crate) fn remove(&mut self, id: SlotId) -> bool {
        let (word, bit) = (&mut self.words[id.index() / WORD_BITS], 1 << (id.index() % WORD_BITS));
        let was_set = *word & bit != 0;
        // Most slots are not in the set: leave their cache line clean.
        if was_set {
            *word &= !bit;
        }
        was_set
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn contains(&self, id: SlotId) -> bool {
        self.words[id.index() / WORD_BITS] & (1 << (id.index() % WORD_BITS)) != 0
    }
}

/// Allocates a slice of zeros. They are requested as zeros from the allocator, so that pages
/// do not become resident before they are used.
pub(crate) fn zeroed<T: Clone + Default>(len: usize) -> Result<Box<[T]>, BuildError> {
    /// What is smaller shares its page with others, and asking once takes half the time.
    const PAGE_BYTES: usize = 4_096;

    if len.saturating_mul(size_of::<T>()) < PAGE_BYTES {
        return allocate(len, T::default());
    }
    BuildError::probe(len.saturating_mul(size_of::<T>()))?;
    Ok(vec![T::default(); len].into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_member_is_removed_once() {
        let mut set = BitSet::new(130).unwrap();
        for slot in [0, 63, 64, 129] {
            set.insert(SlotId::new(slot));
        }
        let len = |set: &BitSet| (0..130).filter(|&it| set.contains(SlotId::new(it))).count();
        assert_eq!(len(&set), 4);
        for slot in 0..130 {
            assert_eq!(set.remove(SlotId::new(slot)), [0, 63, 64, 129].contains(&slot), "{slot}");
        }
        assert_eq!(len(&set), 0);
    }

    #[test]
    fn agrees_with_a_sorted_set() {
        let mut random = fastrand::Rng::with_seed(1);
        for slots in [1, 2, 63, 64, 65, 4095, 4096, 4097, 300_000] {
            let mut bitmap = HierarchicalBitSet::new(slots).unwrap();
            assert_eq!(size_of_val(&*bitmap.words), HierarchicalBitSet::heap_bytes(slots));
            let mut set = BTreeSet::new();
            for _ in 0..4_000 {
                let slot = random.usize(..slots);
                // More removals than insertions: small sets, of members far apart.
                if random.u8(..8) < 3 {
                    bitmap.insert(SlotId::new(slot));
                    set.insert(slot);
                } else {
                    let victim = set.range(slot..).next().copied().unwrap_or(slot);
                    bitmap.remove(SlotId::new(victim));
                    set.remove(&victim);
                }
                let from = random.usize(..=slots);
                let expected = set.range(from..).next().or_else(|| set.first()).copied();
                assert_eq!(bitmap.next_wrapping(from).map(SlotId::index), expected);
                assert_eq!(bitmap.contains(SlotId::new(slot)), set.contains(&slot));
                assert_eq!(bitmap.len(), set.len());
            }
        }
    }
}
