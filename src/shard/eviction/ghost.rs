//! The ghost, a memory of evicted keys: fingerprints in buckets, no keys and no order
//! between buckets.

use super::bit_set::zeroed;
use crate::error::BuildError;
use crate::shard::key_hash::SlotHash;

const LANES: u32 = 6;
const LANE_BITS: u32 = 10;
const LANE_MASK: u64 = (1 << LANE_BITS) - 1;
const BUCKET_MASK: u64 = (1 << (LANES * LANE_BITS)) - 1;

/// The lowest bit of each lane, and the highest one.
const LOW_BITS: u64 = BUCKET_MASK / LANE_MASK;
const HIGH_BITS: u64 = LOW_BITS << (LANE_BITS - 1);

/// Buckets of six 10-bit fingerprints each:
///
/// ```text
///  63  60 59      50 49      40     …     19      10 9        0
/// ┌──────┬──────────┬──────────┬─────────┬──────────┬──────────┐
/// │ zero │  oldest  │          │         │          │  newest  │   six lanes
/// └──────┴──────────┴──────────┴─────────┴──────────┴──────────┘
/// ```
///
/// A new fingerprint shifts the oldest one out. Zero is an empty lane.
///
/// Keys share fingerprints, so there are false ghost hits: one in 340 lookups of three
/// lanes, one in 170 of all six.
#[derive(Debug)]
pub(crate) struct Ghost {
    buckets: Box<[u64]>,
}

impl Ghost {
    /// Allocates a ghost of about `keys` keys.
    pub(crate) fn new(keys: usize) -> Result<Self, BuildError> {
        Ok(Self { buckets: zeroed(buckets_for(keys))? })
    }

    pub(crate) fn heap_bytes(keys: usize) -> usize {
        buckets_for(keys) * size_of::<u64>()
    }

    /// Returns bucket and fingerprint: the upper and the lowest bits of the permuted slot
    /// hash. It has 24 bits, so beyond 2^14 buckets, in shards of more than 44,000 entries,
    /// the two overlap.
    #[inline]
    fn bucket_and_fingerprint(&self, slot_hash: SlotHash) -> (usize, u64) {
        let bits = slot_hash.permuted();
        let bucket = ((bits * self.buckets.len() as u64) >> SlotHash::BITS) as usize;
        // Not zero, which marks an empty lane: the last value serves twice.
        (bucket, (bits & LANE_MASK).max(1))
    }

    /// Adds a key as the newest of its bucket.
    #[inline(always)]
    pub(crate) fn remember(&mut self, slot_hash: SlotHash) {
        let (bucket, fingerprint) = self.bucket_and_fingerprint(slot_hash);
        let lanes = &mut self.buckets[bucket];
        *lanes = ((*lanes << LANE_BITS) | fingerprint) & BUCKET_MASK;
    }

    /// Removes a key from the `lanes` newest lanes of its bucket. Returns whether it was
    /// there.
    #[inline(always)]
    pub(crate) fn take(&mut self, slot_hash: SlotHash, lanes: u32) -> bool {
        debug_assert!(lanes <= LANES, "there are {LANES} lanes, not {lanes}");
        let (bucket, fingerprint) = self.bucket_and_fingerprint(slot_hash);
        let bucket = &mut self.buckets[bucket];
        // All lanes at once. A lane of `different` is zero where the fingerprints are equal,
        // and subtracting one there borrows, which sets the lane's highest bit. A borrow may
        // set that bit of a higher lane by mistake, but never of a lower one: the lowest bit
        // of `equal` is right, and no other is used.
        let different = *bucket ^ (fingerprint * LOW_BITS);
        let equal = different.wrapping_sub(LOW_BITS) & !different & HIGH_BITS;
        let equal = equal & ((1 << (lanes * LANE_BITS)) - 1);
        if equal == 0 {
            return false;
        }
        // Older lanes move down, so that no gap takes room from the next fingerprints.
        let shift = equal.trailing_zeros() / LANE_BITS * LANE_BITS;
        let newer = *bucket & ((1 << shift) - 1);
        let older = *bucket >> (shift + LANE_BITS) << shift;
        *bucket = older | newer;
        true
    }
}

fn buckets_for(keys: usize) -> usize {
    keys.div_ceil(LANES as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_newest_and_forgets_what_it_has_found() {
        let mut ghost = Ghost::new(6).unwrap();
        let slot_hashes: Vec<_> = (1..=7).map(|i| SlotHash::from_bits(i * 0x01_2345)).collect();
        for &slot_hash in &slot_hashes {
            ghost.remember(slot_hash);
        }
        assert!(!ghost.take(slot_hashes[0], LANES), "shifted out");
        assert!(!ghost.take(slot_hashes[3], 3), "the fourth newest");
        assert!(ghost.take(slot_hashes[3], 4));
        assert!(!ghost.take(slot_hashes[3], LANES), "removed");
        for &slot_hash in
            [&slot_hashes[1], &slot_hashes[2], &slot_hashes[4], &slot_hashes[5], &slot_hashes[6]]
        {
            assert!(ghost.take(slot_hash, LANES));
        }
        assert_eq!(ghost.buckets[0], 0);
    }

    #[test]
    fn seldom_takes_a_key_for_another() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut ghost = Ghost::new(25_000).unwrap();
        for _ in 0..100_000 {
            ghost.remember(SlotHash::from_bits(random.u64(..1 << SlotHash::BITS)));
        }
        let lookups = 100_000;
        let false_hits = (0..lookups)
            .filter(|_| ghost.take(SlotHash::from_bits(random.u64(..1 << SlotHash::BITS)), 3))
            .count();
        assert!(false_hits < lookups / 250, "{false_hits} of {lookups}");
    }
}
