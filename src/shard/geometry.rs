//! How a capacity is cut into shards and tables.
//!
//! A hash table's size is a power of two, so a cache in one piece would pay up
//! to twice the index that it needs, and would pause for milliseconds when the
//! index is put in order. Cut into the right number of shards, each table is
//! just under its best load. Against many shards speaks that keys do not spread
//! evenly: each shard needs some slots to spare.

use super::index::{LOAD_PERCENT_MAX, buckets_log2_for};
use super::slot_id::SlotId;
use crate::error::BuildError;

/// Several shards may have this much more room in all than was asked for.
const SPARE_PERCENT_MAX: usize = 3;

/// The share of the capacity that has to find room before anything is evicted
/// for want of it, however the keys fall.
const FILL_BEFORE_EVICTION: f64 = 0.99;

/// The chance, over all shards, that one is full before that. Half of what is
/// promised, since the normal distribution below has thinner tails than the
/// binomial one.
const OVERFLOW_CHANCE: f64 = 0.0005;

/// More entries than any machine holds; with fewer, no product here overflows.
const CAPACITY_MAX: usize = 1 << (usize::BITS / 2 + 3);

/// Keys are told apart into at most so many shards.
const SHARDS_MAX: usize = 1 << 24;

/// The tables of several shards, as a rule: up to 16,384 buckets, which take some
/// 50 µs to be put in order. Larger ones only where so many shards are needed
/// that keys do not spread evenly enough over small ones: from a million entries.
const BUCKETS_LOG2_MAX: u32 = 14;
const BUCKETS_LOG2_MIN: u32 = 10;

/// The largest table of a cache in one shard, or to meet a budget: 32,768 buckets,
/// about a tenth of a millisecond.
const PAUSE_BUCKETS_LOG2_MAX: u32 = 15;

/// The best load: a table is put in order again about once in a fifth of its
/// entries' number of insertions.
const LOAD_PERCENT: usize = 85;

/// What more shards may cost, for the sake of threads that would wait for each
/// other.
const BYTES_PER_ENTRY_FOR_THREADS: f64 = 46.0;

/// Shards for each thread that may run at once, where the capacity allows: with
/// four, one in four calls finds its lock taken at worst.
const SHARDS_PER_THREAD: usize = 4;

/// What matters most in the choice of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Objective {
    /// As few bytes as can be: where a budget has to be met.
    Bytes,
    /// Short pauses, and locks enough for so many threads.
    Threads(usize),
}

/// The shape of a cache: so many shards, all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) shards: usize,
    pub(crate) slots_per_shard: usize,
    pub(crate) buckets_log2: u32,
}

impl Geometry {
    /// The shape for `capacity` entries, at least one, in the number of shards
    /// asked for or the best one.
    pub(crate) fn new(
        capacity: usize,
        shards: Option<usize>,
        objective: Objective,
    ) -> Result<Self, BuildError> {
        let shards = shards.map(|shards| shards.min(capacity).min(SHARDS_MAX));
        let limit = match shards {
            Some(0) => return Err(BuildError::ZeroShards),
            Some(shards) => CAPACITY_MAX.min(shards.saturating_mul(SlotId::COUNT_MAX)),
            None => CAPACITY_MAX,
        };
        let geometry = match shards {
            _ if capacity > limit => None,
            Some(shards) => Self::with_shards(capacity, shards, LOAD_PERCENT),
            None => Self::best(capacity, objective),
        };
        geometry.ok_or(BuildError::TooManySlots { requested: capacity, limit })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.shards * self.slots_per_shard
    }

    /// The shape that costs least, in more shards where several threads would
    /// wait for each other and it costs little more.
    fn best(capacity: usize, objective: Objective) -> Option<Self> {
        let threads = match objective {
            Objective::Bytes => return Self::cheapest(capacity, PAUSE_BUCKETS_LOG2_MAX),
            Objective::Threads(threads) => threads,
        };
        let cheapest = Self::cheapest(capacity, BUCKETS_LOG2_MAX)?;
        let wanted = threads.saturating_mul(SHARDS_PER_THREAD);
        if threads == 1 || cheapest.shards >= wanted {
            return Some(cheapest);
        }
        (cheapest.shards + 1..=wanted.min(capacity))
            .rev()
            .filter_map(|shards| Self::with_shards(capacity, shards, LOAD_PERCENT))
            .filter(|geometry| geometry.has_enough_slack(capacity))
            .find(|geometry| geometry.bytes_per_entry(capacity) <= BYTES_PER_ENTRY_FOR_THREADS)
            .or(Some(cheapest))
    }

    /// The cheapest of one shard, and of several with tables of any size up to
    /// the smallest in which keys spread evenly enough.
    ///
    /// The cheapest, rather than the first that is cheap enough: so the
    /// footprint all but never shrinks as the capacity grows.
    fn cheapest(capacity: usize, buckets_log2_max: u32) -> Option<Self> {
        let single = [LOAD_PERCENT, LOAD_PERCENT_MAX]
            .into_iter()
            .filter_map(|load_percent| Self::with_shards(capacity, 1, load_percent))
            .filter(|single| single.buckets_log2 <= PAUSE_BUCKETS_LOG2_MAX);
        let preferred = (BUCKETS_LOG2_MIN..=buckets_log2_max)
            .filter_map(|buckets_log2| Self::with_tables(capacity, buckets_log2))
            .chain(single)
            .min_by(|one, other| {
                one.bytes_per_entry(capacity).total_cmp(&other.bytes_per_entry(capacity))
            });
        preferred.or_else(|| {
            (buckets_log2_max + 1..=SlotId::LINK_BITS)
                .find_map(|buckets_log2| Self::with_tables(capacity, buckets_log2))
        })
    }

    /// As few shards with tables of that size as hold the capacity, if it then
    /// spreads evenly enough.
    fn with_tables(capacity: usize, buckets_log2: u32) -> Option<Self> {
        let entries_max = (1usize << buckets_log2) / 8 * 7 * LOAD_PERCENT / 100;
        // The more shards, the fewer slots each needs: bisect.
        let mut too_few = capacity.div_ceil(entries_max) - 1;
        let mut enough = 2 * (too_few + 1);
        while enough - too_few > 1 {
            let middle = usize::midpoint(too_few, enough);
            if slots_needed(capacity, middle) <= entries_max {
                enough = middle;
            } else {
                too_few = middle;
            }
        }
        Self::with_shards(capacity, enough, LOAD_PERCENT)
            .filter(|geometry| geometry.buckets_log2 <= buckets_log2)
            .filter(|geometry| geometry.has_enough_slack(capacity))
    }

    /// The shape with exactly so many shards.
    fn with_shards(capacity: usize, shards: usize, load_percent: usize) -> Option<Self> {
        let share = capacity.div_ceil(shards);
        let spare_limit = capacity * (100 + SPARE_PERCENT_MAX) / 100 / shards;
        let slots_per_shard = slots_needed(capacity, shards).min(spare_limit).max(share);
        (slots_per_shard <= SlotId::COUNT_MAX).then(|| Self {
            shards,
            slots_per_shard,
            buckets_log2: buckets_log2_for(slots_per_shard, load_percent),
        })
    }

    fn has_enough_slack(&self, capacity: usize) -> bool {
        self.slots_per_shard >= slots_needed(capacity, self.shards)
    }

    /// What a `u64 → u64` cache takes, but for what every shard has once.
    fn bytes_per_entry(&self, capacity: usize) -> f64 {
        const SLOT_BYTES: usize = 32;
        const BUCKET_BYTES: usize = 5;
        const EVICTION_EIGHTHS: usize = 27;
        const SHARD_BYTES: usize = 3_800;
        // The chooser of the first shard.
        const SAMPLED_EIGHTHS: usize = 3;
        let shard_bytes = self.slots_per_shard * SLOT_BYTES
            + self.slots_per_shard * EVICTION_EIGHTHS / 8
            + BUCKET_BYTES * (1 << self.buckets_log2)
            + SHARD_BYTES;
        let chooser_bytes = self.slots_per_shard * SAMPLED_EIGHTHS / 8;
        (self.shards * shard_bytes + chooser_bytes) as f64 / capacity as f64
    }
}

/// Slots that a shard needs so that it is not full, but for a small chance,
/// before [`FILL_BEFORE_EVICTION`] of the capacity is held.
///
/// The number of keys in one shard is binomial; so many standard deviations are
/// added that the chance of exceeding them, over all shards, is
/// [`OVERFLOW_CHANCE`].
fn slots_needed(capacity: usize, shards: usize) -> usize {
    if shards == 1 {
        return capacity;
    }
    let held = capacity as f64 * FILL_BEFORE_EVICTION;
    let share = held / shards as f64;
    let deviation = (share * (1.0 - 1.0 / shards as f64)).sqrt();
    (share + deviations_for(OVERFLOW_CHANCE / shards as f64) * deviation).ceil() as usize
}

/// The number of standard deviations that a normal variable exceeds with that
/// chance, from the tail's first-order bound: chance ≤ density(z) / z.
fn deviations_for(chance: f64) -> f64 {
    let mut deviations = 4.0f64;
    // A contraction: each round leaves a tenth of the error or less.
    for _ in 0..10 {
        deviations =
            (-2.0 * (chance * deviations * (2.0 * std::f64::consts::PI).sqrt()).ln()).sqrt();
    }
    deviations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Shard;
    use crate::shard::eviction::Eviction;

    fn capacities() -> impl Iterator<Item = usize> {
        (1..2_000)
            .chain((2_000..20_000).step_by(37))
            .chain((0..60).map(|i| (20_000.0 * 1.12f64.powi(i)) as usize))
    }

    #[test]
    fn holds_what_was_asked_for_and_at_most_three_percent_more() {
        for capacity in capacities() {
            let geometry = Geometry::new(capacity, None, Objective::Threads(1)).unwrap();
            assert!(geometry.capacity() >= capacity, "{capacity}: {geometry:?}");
            if geometry.shards == 1 {
                assert_eq!(geometry.capacity(), capacity);
            }
            assert!(geometry.capacity() * 100 <= capacity * 103, "{capacity}: {geometry:?}");
            assert!(geometry.buckets_log2 <= 15, "{capacity}: {geometry:?}");
            assert!(capacity > 900_000 || geometry.shards == 1 || geometry.buckets_log2 <= 14);
        }
    }

    /// The shapes that the documents' figures are of: shards, slots of each, and
    /// the logarithm of the buckets; to meet a budget, and for 1, 2 and 64 threads.
    #[test]
    fn known_shapes() {
        let objectives = [
            Objective::Bytes,
            Objective::Threads(1),
            Objective::Threads(2),
            Objective::Threads(64),
        ];
        for (capacity, expected) in [
            (1, [(1, 1, 2), (1, 1, 2), (1, 1, 2), (1, 1, 2)]),
            (12, [(1, 12, 4), (1, 12, 4), (1, 12, 4), (1, 12, 4)]),
            (100, [(1, 100, 7), (1, 100, 7), (1, 100, 7), (1, 100, 7)]),
            (1_000, [(1, 1_000, 11), (1, 1_000, 11), (1, 1_000, 11), (1, 1_000, 11)]),
            (7_000, [(1, 7_000, 14), (1, 7_000, 14), (1, 7_000, 14), (1, 7_000, 14)]),
            (10_000, [(1, 10_000, 14), (1, 10_000, 14), (2, 5_125, 13), (2, 5_125, 13)]),
            (11_175, [(1, 11_175, 14), (1, 11_175, 14), (2, 5_716, 13), (2, 5_716, 13)]),
            (12_000, [(1, 12_000, 14), (1, 12_000, 14), (1, 12_000, 14), (1, 12_000, 14)]),
            (13_300, [(1, 13_300, 14), (1, 13_300, 14), (1, 13_300, 14), (1, 13_300, 14)]),
            (16_000, [(1, 16_000, 15), (1, 16_000, 15), (1, 16_000, 15), (1, 16_000, 15)]),
            (24_090, [(1, 24_090, 15), (1, 24_090, 15), (1, 24_090, 15), (1, 24_090, 15)]),
            (30_000, [(3, 10_193, 14), (3, 10_193, 14), (3, 10_193, 14), (3, 10_193, 14)]),
            (50_000, [(5, 10_233, 14), (5, 10_233, 14), (5, 10_233, 14), (5, 10_233, 14)]),
            (100_000, [(9, 11_384, 14), (9, 11_384, 14), (9, 11_384, 14), (11, 9_356, 14)]),
            (500_000, [(21, 24_183, 15), (43, 11_962, 14), (43, 11_962, 14), (45, 11_442, 14)]),
            (938_405, [(40, 23_862, 15), (40, 23_862, 15), (40, 23_862, 15), (54, 17_762, 15)]),
            (1_000_000, [(42, 24_215, 15), (42, 24_215, 15), (42, 24_215, 15), (58, 17_627, 15)]),
            (
                5_000_000,
                [(210, 24_274, 15), (210, 24_274, 15), (210, 24_274, 15), (256, 19_978, 15)],
            ),
            (
                10_000_000,
                [(419, 24_354, 15), (419, 24_354, 15), (419, 24_354, 15), (419, 24_354, 15)],
            ),
            (
                100_000_000,
                [
                    (4_200, 24_366, 15),
                    (4_200, 24_366, 15),
                    (4_200, 24_366, 15),
                    (4_200, 24_366, 15),
                ],
            ),
        ] {
            let shapes = objectives.map(|objective| {
                let shape = Geometry::new(capacity, None, objective).unwrap();
                (shape.shards, shape.slots_per_shard, shape.buckets_log2)
            });
            assert_eq!(shapes, expected, "{capacity}");
        }
    }

    #[test]
    fn no_capacity_is_unlucky() {
        for capacity in capacities().filter(|&capacity| capacity >= 10_000) {
            for threads in [1, 2, 8, 128] {
                let geometry = Geometry::new(capacity, None, Objective::Threads(threads)).unwrap();
                let bytes = geometry.bytes_per_entry(capacity);
                assert!(bytes <= 48.0, "{capacity}: {bytes} with {geometry:?}");
                assert!(geometry.has_enough_slack(capacity), "{capacity}: {geometry:?}");
            }
        }
    }

    /// By it shapes are compared before any of them is built.
    #[test]
    fn the_estimate_is_what_a_cache_takes() {
        for capacity in capacities() {
            for objective in [Objective::Bytes, Objective::Threads(1), Objective::Threads(64)] {
                let geometry = Geometry::new(capacity, None, objective).unwrap();
                let shard_bytes = size_of::<Shard<u64, u64>>();
                let exact =
                    Shard::<u64, u64>::footprint(&geometry, Eviction::Adaptive, shard_bytes);
                let exact_bytes = exact.unwrap().total() as f64;
                let estimated_bytes = geometry.bytes_per_entry(capacity) * capacity as f64;
                assert!(
                    (estimated_bytes - exact_bytes).abs() <= 6_000.0 + exact_bytes / 1_000.0,
                    "{capacity}: {estimated_bytes} for {exact_bytes} with {geometry:?}"
                );
            }
        }
    }

    #[test]
    fn a_number_of_shards_is_kept_or_lowered_to_the_capacity() {
        assert_eq!(
            Geometry::new(1_000_000, Some(1), Objective::Threads(1)).unwrap().capacity(),
            1_000_000
        );
        assert_eq!(Geometry::new(1_000_000, Some(16), Objective::Threads(1)).unwrap().shards, 16);
        assert_eq!(Geometry::new(3, Some(16), Objective::Threads(1)).unwrap().shards, 3);
        assert_eq!(Geometry::new(3, Some(0), Objective::Threads(1)), Err(BuildError::ZeroShards));
        let most = SlotId::COUNT_MAX;
        assert!(Geometry::new(most, Some(1), Objective::Threads(1)).is_ok());
        assert!(matches!(
            Geometry::new(most + 1, Some(1), Objective::Threads(1)),
            Err(BuildError::TooManySlots { limit, .. }) if limit == most
        ));
        assert!(matches!(
            Geometry::new(usize::MAX, Some(3), Objective::Threads(1)),
            Err(BuildError::TooManySlots { .. })
        ));
    }

    /// Also where keys would not spread evenly over so many shards.
    #[test]
    fn shards_asked_for_hold_at_most_three_percent_more() {
        for capacity in [10, 1_000, 10_000, 123_456] {
            for shards in [2, 3, 7, 64, 500] {
                let shape = Geometry::new(capacity, Some(shards), Objective::Threads(1)).unwrap();
                let is_even = shape.slots_per_shard == capacity.div_ceil(shape.shards);
                assert!(shape.capacity() >= capacity, "{capacity}: {shape:?}");
                assert!(
                    is_even || shape.capacity() * 100 <= capacity * 103,
                    "{capacity}: {shape:?}"
                );
            }
        }
    }

    #[test]
    fn deviations_of_known_chances() {
        // The exact values are 3.29 and 4.75; the bound lies a little above.
        assert!((3.29..3.36).contains(&deviations_for(0.0005)));
        assert!((4.75..4.80).contains(&deviations_for(0.000_001)));
    }

    #[test]
    fn keys_find_room_until_the_cache_is_nearly_full() {
        // 400 fills of each capacity; with a chance below 1 in 1,000, eight
        // failures are all but impossible.
        let mut random = fastrand::Rng::with_seed(11);
        for capacity in [17_000, 50_000, 500_000] {
            let geometry = Geometry::new(capacity, None, Objective::Threads(1)).unwrap();
            assert!(geometry.shards > 1, "{geometry:?}");
            let mut failures = 0;
            for _ in 0..if capacity > 100_000 { 40 } else { 400 } {
                let mut held = vec![0; geometry.shards];
                for _ in 0..capacity * 99 / 100 {
                    held[random.usize(..geometry.shards)] += 1;
                }
                failures += usize::from(held.iter().any(|&n| n > geometry.slots_per_shard));
            }
            assert!(failures < 4, "{capacity}: {failures}");
        }
    }
}
