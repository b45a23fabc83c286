//! Which bits of a key's hash are used for what.
//!
//! ```text
//!  63       57 56                               25 24      17 16               0
//! ┌───────────┬───────────────────────────────────┬──────────┬──────────────────┐
//! │    tag    │               shard               │  sample  │      bucket      │
//! └───────────┴───────────────────────────────────┴──────────┴──────────────────┘
//! ```
//!
//! The fields do not overlap, so each is independent of the others: the keys of one shard
//! still spread over all buckets and tags. Tag and bucket are the bits where hashbrown looks
//! for them; together they are the key's [`SlotHash`]. An entry stores its 24 bits, by which
//! it can be inserted into the index again, and remembered by the eviction policy, without
//! calling the key's `Hash`.

use std::hash::{BuildHasher, Hash};

const BUCKET_BITS: u32 = 17;
const BUCKET_MASK: u64 = (1 << BUCKET_BITS) - 1;
const SAMPLE_SHIFT: u32 = BUCKET_BITS;
const SHARD_SHIFT: u32 = SAMPLE_SHIFT + u8::BITS;
const TAG_SHIFT: u32 = SHARD_SHIFT + u32::BITS;
/// Where hashbrown looks for the tag: in the top seven bits of what fits into a `usize`.
const TABLE_TAG_SHIFT: u32 = usize::BITS - (u64::BITS - TAG_SHIFT);
const _: () = assert!(u64::BITS - TAG_SHIFT + BUCKET_BITS == SlotHash::BITS);

/// A key's hash, spread over all 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash(u64);

impl KeyHash {
    /// Runs the key's `Hash`, which nothing else in the crate does for a cache's keys.
    ///
    /// A multiplication spreads what a weak hasher (an identity, say) leaves in a few bits:
    /// the halves of the 128-bit product are folded as in wyhash (Wang Yi, 2019).
    #[inline]
    pub(crate) fn new<Q: Hash + ?Sized>(hasher: &impl BuildHasher, key: &Q) -> Self {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(hasher.hash_one(key) ^ ODD) * u128::from(ODD);
        Self(product as u64 ^ (product >> 64) as u64)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the number of the key's shard, below `shards`: 32 bits, taken as a fraction.
    #[inline]
    pub(crate) fn shard(self, shards: usize) -> usize {
        let fraction = (self.0 >> SHARD_SHIFT) as u32;
        ((u64::from(fraction) * shards as u64) >> u32::BITS) as usize
    }

    /// Returns the eight bits by which an eviction policy samples keys.
    #[inline]
    pub(crate) fn sample(self) -> u8 {
        (self.0 >> SAMPLE_SHIFT) as u8
    }

    /// Returns the sample bits as the upper eight of 32. Some of the others follow, the last
    /// ones are zero: so few instructions are enough to compare the sample bits.
    #[inline]
    pub(crate) fn sample_first(self) -> u32 {
        (self.0 as u32) << (u32::BITS - u8::BITS - SAMPLE_SHIFT)
    }

    /// Returns slot hash and sample bits together, as which a shadow stores a sampled key.
    pub(crate) fn sample_key(self) -> u32 {
        self.slot_hash().bits() as u32 | u32::from(self.sample()) << SlotHash::BITS
    }

    /// Returns the bits that find the key within its shard.
    #[inline]
    pub(crate) fn slot_hash(self) -> SlotHash {
        SlotHash(self.0)
    }
}

/// The bits that find a key within its shard: tag and bucket. All other bits of the word
/// are ignored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotHash(u64);

impl PartialEq for SlotHash {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for SlotHash {}

impl SlotHash {
    /// The bits of a packed slot hash.
    pub(crate) const BITS: u32 = 24;

    /// Unpacks what [`bits`](Self::bits) has packed.
    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Self {
        debug_assert!(bits >> Self::BITS == 0, "{bits:#x} is wider than a slot hash");
        Self((bits >> BUCKET_BITS << TAG_SHIFT) | (bits & BUCKET_MASK))
    }

    pub(crate) fn from_sample_key(sample_key: u32) -> Self {
        Self::from_bits(u64::from(sample_key) & ((1 << Self::BITS) - 1))
    }

    /// Returns tag and bucket, packed.
    #[inline]
    pub(crate) fn bits(self) -> u64 {
        (self.0 >> TAG_SHIFT << BUCKET_BITS) | (self.0 & BUCKET_MASK)
    }

    /// Returns a bucket of a table of so many, up to 2^17: the bucket bits, taken as a fraction.
    pub(crate) fn bucket_below(self, buckets: usize) -> usize {
        (((self.0 & BUCKET_MASK) * buckets as u64) >> BUCKET_BITS) as usize
    }

    /// Returns by how many bits the bucket is shifted left in a table of 2^`buckets_log2`
    /// buckets.
    ///
    /// In a table of more than 2^17 buckets, which only a cache of few shards has, probing
    /// can start at 2^17 buckets, evenly spread. As long as there are at most 16 times as
    /// many, every bucket is in the probe group of one of these.
    pub(crate) fn bucket_shift(buckets_log2: u32) -> u32 {
        buckets_log2.saturating_sub(BUCKET_BITS)
    }

    /// Returns the hash for a table with that [`bucket_shift`](Self::bucket_shift):
    /// hashbrown takes the bucket from its lowest bits and the tag from its top seven.
    #[inline]
    pub(crate) fn table_hash(self, bucket_shift: u32) -> u64 {
        if bucket_shift == 0 && TABLE_TAG_SHIFT == TAG_SHIFT {
            self.0
        } else {
            self.shifted(bucket_shift, TABLE_TAG_SHIFT)
        }
    }

    /// Out of line, since tables are hardly ever that large.
    #[cold]
    #[inline(never)]
    fn shifted(self, bucket_shift: u32, tag_shift: u32) -> u64 {
        (self.0 >> TAG_SHIFT << tag_shift) | ((self.0 & BUCKET_MASK) << bucket_shift)
    }

    /// Returns eight bits to tell apart keys that meet in one probe group.
    ///
    /// Their buckets differ in the lowest bits, or in the highest ones if the table has too
    /// few buckets to use those. Folding one end onto the other covers both.
    #[inline]
    pub(crate) fn fingerprint(self) -> u8 {
        (self.0 ^ (self.0 >> (BUCKET_BITS - u8::BITS))) as u8
    }

    /// Returns a permutation of the 24-bit slot hashes, for the eviction policy's ghost: its
    /// buckets depend on all bits, its fingerprints on all but the top two. So keys that
    /// meet in one index bucket do not meet in the ghost.
    #[inline]
    pub(crate) fn permuted(self) -> u64 {
        const MASK: u64 = (1 << SlotHash::BITS) - 1;
        // Multiplying by an odd number and xoring a right shift can both be undone, so no
        // two slot hashes become one.
        let product = (self.bits() * 0x9e_3779) & MASK;
        ((product ^ (product >> 12)) * 0x2c_1b3d) & MASK
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Two independent fields of 2^4 values each fill the 256 cells of their
    /// joint distribution evenly. With 2^18 keys a cell expects 1,024, standard
    /// deviation 32: six of them are allowed.
    fn assert_independent(name: &str, fields: impl Fn(KeyHash) -> (u64, u64)) {
        let hasher = foldhash::fast::FixedState::with_seed(7);
        // Consecutive keys, and keys that differ in their upper bits alone.
        for shift in [0, 8, 40] {
            let mut cells = [0u32; 256];
            for key in 0..1u64 << 18 {
                let (one, other) = fields(KeyHash::new(&hasher, &(key << shift)));
                cells[(one & 15) as usize * 16 + (other & 15) as usize] += 1;
            }
            for (cell, &count) in cells.iter().enumerate() {
                let is_even = count.abs_diff(1024) < 6 * 32;
                assert!(is_even, "{name}, shifted by {shift}: {count} keys in cell {cell}");
            }
        }
    }

    #[test]
    fn fields_are_independent_of_each_other() {
        let shard = |h: KeyHash| h.shard(16) as u64;
        let bucket_low = |h: KeyHash| h.slot_hash().table_hash(0);
        let bucket_high = |h: KeyHash| h.slot_hash().table_hash(0) >> 10;
        let tag = |h: KeyHash| h.slot_hash().table_hash(0) >> TABLE_TAG_SHIFT;
        let ghost_bucket = |h: KeyHash| h.slot_hash().permuted() >> 20;
        let fingerprint = |h: KeyHash| h.slot_hash().permuted();
        let sample = |h: KeyHash| u64::from(h.sample());
        let fields: [(&str, &dyn Fn(KeyHash) -> u64); 7] = [
            ("sample", &sample),
            ("shard", &shard),
            ("bucket, low", &bucket_low),
            ("bucket, high", &bucket_high),
            ("tag", &tag),
            ("ghost bucket", &ghost_bucket),
            ("fingerprint", &fingerprint),
        ];
        for (i, (one_name, one)) in fields.iter().enumerate() {
            for (other_name, other) in &fields[i + 1..] {
                assert_independent(&format!("{one_name} and {other_name}"), |h| (one(h), other(h)));
            }
        }
    }

    #[test]
    fn every_bit_matters_to_the_ghost() {
        const TRIES: u32 = 1_000;
        let mut random = fastrand::Rng::with_seed(4);
        for bit in 0..SlotHash::BITS {
            let (mut buckets, mut fingerprints) = (0, 0);
            for _ in 0..TRIES {
                let bits = random.u64(..1 << SlotHash::BITS);
                let [one, other] =
                    [bits, bits ^ 1 << bit].map(|bits| SlotHash::from_bits(bits).permuted());
                buckets += u32::from(one >> 12 != other >> 12);
                fingerprints += u32::from(one & 1023 != other & 1023);
            }
            assert!(buckets > TRIES * 9 / 10, "bit {bit}: {buckets}");
            assert!(fingerprints > TRIES * 9 / 10 || bit > 21, "bit {bit}: {fingerprints}");
        }
    }

    #[test]
    fn permuting_is_one_to_one() {
        let mut seen = vec![false; 1 << SlotHash::BITS];
        for bits in 0..1 << SlotHash::BITS {
            let permuted = SlotHash::from_bits(bits).permuted() as usize;
            assert!(!seen[permuted], "{bits:#x} shares {permuted:#x}");
            seen[permuted] = true;
        }
    }

    #[test]
    fn a_weak_hasher_is_spread_over_the_shards() {
        #[derive(Default)]
        struct Identity(u64);
        impl std::hash::Hasher for Identity {
            fn finish(&self) -> u64 {
                self.0
            }
            fn write(&mut self, _: &[u8]) {
                unreachable!("only integers are hashed here")
            }
            fn write_u64(&mut self, value: u64) {
                self.0 = value;
            }
        }
        let hasher = std::hash::BuildHasherDefault::<Identity>::default();
        let mut shards = [0u32; 8];
        for key in 0..80_000u64 {
            shards[KeyHash::new(&hasher, &key).shard(8)] += 1;
        }
        for count in shards {
            assert!(count.abs_diff(10_000) < 1_000, "{shards:?}");
        }
    }

    #[test]
    fn large_tables_start_probing_everywhere() {
        let highest = SlotHash::from_bits(BUCKET_MASK);
        assert_eq!(highest.table_hash(SlotHash::bucket_shift(10)), (1 << 17) - 1);
        assert_eq!(highest.table_hash(SlotHash::bucket_shift(20)), ((1 << 17) - 1) << 3);
        let tagged = SlotHash::from_bits(5 << BUCKET_BITS | 1);
        assert_eq!(tagged.table_hash(SlotHash::bucket_shift(20)), 5 << TABLE_TAG_SHIFT | 1 << 3);
    }

    /// Where a `usize` has 32 bits, hashbrown looks for the tag further down.
    #[test]
    fn a_tag_moves_to_where_it_is_looked_for() {
        let slot_hash = SlotHash((0x55 << TAG_SHIFT) | (0xff_ffff << SAMPLE_SHIFT) | 3);
        assert_eq!(slot_hash.shifted(0, 25), 0x55 << 25 | 3);
        assert_eq!(slot_hash.shifted(7, 25), 0x55 << 25 | 3 << 7);
        assert_eq!(slot_hash.shifted(7, TAG_SHIFT), 0x55 << TAG_SHIFT | 3 << 7);
    }

    /// Slot hashes of one group of sixteen buckets, and of one bucket of a table of 2^9
    /// buckets or more.
    #[test]
    fn slot_hashes_that_meet_differ_in_their_fingerprint() {
        for start in [0, 0x1_5555, 0xff_ff00] {
            let near: HashSet<_> =
                (0..256).map(|low| SlotHash::from_bits(start ^ low).fingerprint()).collect();
            assert_eq!(near.len(), 256);
            let far: HashSet<_> = (0..256)
                .map(|high| SlotHash::from_bits(start ^ (high << 9)).fingerprint())
                .collect();
            assert_eq!(far.len(), 256);
        }
    }

    #[test]
    fn a_sample_key_holds_the_slot_hash_and_the_sample() {
        let hasher = foldhash::fast::FixedState::with_seed(7);
        for key in 0..1_000u64 {
            let hash = KeyHash::new(&hasher, &key);
            assert_eq!(SlotHash::from_sample_key(hash.sample_key()), hash.slot_hash());
            assert_eq!((hash.sample_key() >> SlotHash::BITS) as u8, hash.sample());
        }
    }
}
