//! Sets of slots: one that finds the next member in constant time, and a plain one.

use crate::error::BuildError;
use crate::shard::slot_id::SlotId;

const WORD_BITS: usize = u64::BITS as usize;

/// Levels of 64 bits each: enough for every slot number.
const LEVELS: usize = SlotId::LINK_BITS.div_ceil(u64::BITS.ilog2()) as usize;

/// A bit for each slot, and levels of summary above: a bit of level `n + 1` is set if and
/// only if its word of level `n` is not zero.
#[derive(Debug)]
pub(crate) struct HierarchicalBitSet {
    levels: [Box<[u64]>; LEVELS],
}

impl HierarchicalBitSet {
    pub(crate) fn new(slots: usize) -> Result<Self, BuildError> {
        let mut levels = [const { None }; LEVELS];
        let mut bits = slots;
        for level in &mut levels {
            bits = bits.div_ceil(WORD_BITS);
            *level = Some(zeroed(bits)?);
        }
        Ok(Self { levels: levels.map(|level| level.expect("every level was made")) })
    }

    /// Returns the bytes that [`new`](Self::new) requests from the allocator.
    pub(crate) fn heap_bytes(slots: usize) -> usize {
        let mut words = slots;
        let mut bytes = 0;
        for _ in 0..LEVELS {
            words = words.div_ceil(WORD_BITS);
            bytes += words * size_of::<u64>();
        }
        bytes
    }

    #[inline]
    pub(crate) fn contains(&self, id: SlotId) -> bool {
        let bit = id.index();
        self.levels[0][bit / WORD_BITS] & (1 << (bit % WORD_BITS)) != 0
    }

    #[inline]
    pub(crate) fn insert(&mut self, id: SlotId) {
        let mut bit = id.index();
        for level in &mut self.levels {
            let word = &mut level[bit / WORD_BITS];
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
        let mut bit = id.index();
        for level in &mut self.levels {
            let word = &mut level[bit / WORD_BITS];
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
        self.at_or_after(from).or_else(|| self.at_or_after(0))
    }

    #[inline]
    fn at_or_after(&self, from: usize) -> Option<SlotId> {
        let mut bit = from;
        for (number, level) in self.levels.iter().enumerate() {
            let word = level.get(bit / WORD_BITS)? & (u64::MAX << (bit % WORD_BITS));
            if word != 0 {
                let mut found = bit / WORD_BITS * WORD_BITS + word.trailing_zeros() as usize;
                for below in self.levels[..number].iter().rev() {
                    found = found * WORD_BITS + below[found].trailing_zeros() as usize;
                }
                return Some(SlotId::new(found));
            }
            bit = bit / WORD_BITS + 1;
        }
        None
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(&self) -> usize {
        self.levels[0].iter().map(|word| word.count_ones() as usize).sum()
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
        for slots in [1, 63, 64, 65, 4095, 4096, 4097, 300_000] {
            let mut bitmap = HierarchicalBitSet::new(slots).unwrap();
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
