//! A memory of evicted keys: fingerprints in buckets, no keys and no order.

use super::bit_set::zeroed;
use crate::error::BuildError;
use crate::shard::key_hash::SlotHash;

const LANES: u32 = 6;
const LANE_BITS: u32 = 10;
const LANE_MASK: u64 = (1 << LANE_BITS) - 1;
const BUCKET_MASK: u64 = (1 << (LANES * LANE_BITS)) - 1;

/// The lowest bit of each lane, and the highest.
const LOW_BITS: u64 = BUCKET_MASK / LANE_MASK;
const HIGH_BITS: u64 = LOW_BITS << (LANE_BITS - 1);

/// Buckets of six 10-bit fingerprints in 64 bits, the newest in the lowest lane;
/// a new one pushes the oldest of its bucket out. A zero is an empty lane.
///
/// Since fingerprints are shared, a key may be taken for another: one in 340
/// where three lanes are looked at, one in 170 for all six.
#[derive(Debug)]
pub(crate) struct Ghost {
    buckets: Box<[u64]>,
}

impl Ghost {
    /// A memory of about `keys` keys.
    pub(crate) fn new(keys: usize) -> Result<Self, BuildError> {
        Ok(Self { buckets: zeroed(buckets_for(keys))? })
    }

    pub(crate) fn heap_bytes(keys: usize) -> usize {
        buckets_for(keys) * size_of::<u64>()
    }

    /// Bucket and fingerprint: the bucket from the place's upper bits, the
    /// fingerprint from its lowest, after scrambling. Both from 24 bits: more
    /// than 2^14 buckets, in shards of 44,000 entries, share bits with it.
    #[inline]
    fn bucket_and_fingerprint(&self, slot_hash: SlotHash) -> (usize, u64) {
        let bits = slot_hash.permuted();
        let bucket = ((bits * self.buckets.len() as u64) >> SlotHash::BITS) as usize;
        // Not zero, which marks an empty lane: the last value serves twice.
        (bucket, (bits & LANE_MASK).max(1))
    }

    #[inline]
    pub(crate) fn remember(&mut self, slot_hash: SlotHash) {
        let (bucket, fingerprint) = self.bucket_and_fingerprint(slot_hash);
        let lanes = &mut self.buckets[bucket];
        *lanes = ((*lanes << LANE_BITS) | fingerprint) & BUCKET_MASK;
    }

    /// Looks a key up in the `lanes` newest lanes of its bucket, and forgets it.
    #[inline]
    pub(crate) fn take(&mut self, slot_hash: SlotHash, lanes: u32) -> bool {
        debug_assert!(lanes <= LANES, "there are {LANES} lanes, not {lanes}");
        let (bucket, fingerprint) = self.bucket_and_fingerprint(slot_hash);
        let bucket = &mut self.buckets[bucket];
        // All lanes at once: the lowest bit set is the highest of the first lane whose
        // subtraction borrows, which is one that does not differ.
        let different = *bucket ^ (fingerprint * LOW_BITS);
        let equal = different.wrapping_sub(LOW_BITS) & !different & HIGH_BITS;
        let equal = equal & ((1 << (lanes * LANE_BITS)) - 1);
        if equal == 0 {
            return false;
        }
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
    fn remembers_the_newest_and_forgets_what_it_recalls() {
        let mut ghost = Ghost::new(6).unwrap();
        let slot_hashes: Vec<_> = (1..=7).map(|i| SlotHash::from_bits(i * 0x01_2345)).collect();
        for &slot_hash in &slot_hashes {
            ghost.remember(slot_hash);
        }
        assert!(!ghost.take(slot_hashes[0], LANES), "pushed out");
        assert!(!ghost.take(slot_hashes[3], 3), "the fourth newest");
        assert!(ghost.take(slot_hashes[3], 4));
        assert!(!ghost.take(slot_hashes[3], LANES), "taken out");
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
        let strangers = 100_000;
        let taken = (0..strangers)
            .filter(|_| ghost.take(SlotHash::from_bits(random.u64(..1 << SlotHash::BITS)), 3))
            .count();
        assert!(taken < strangers / 250, "{taken} of {strangers}");
    }
}
