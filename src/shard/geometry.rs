//! How a capacity is divided into shards and tables.
//!
//! A hash table's size is a power of two. A cache in one piece would pay up to twice the
//! index that it needs, and would pause for milliseconds when the index is rebuilt. Divided
//! into the right number of shards, each table is just under its best load. Many shards have
//! a cost, too: keys do not spread evenly, so each shard needs some spare slots.

use super::index::{LOAD_PERCENT_MAX, buckets_log2_for};
use super::slot_id::SlotId;
use crate::error::BuildError;

/// The most by which the slots of several shards may exceed the capacity asked for.
const SPARE_PERCENT_MAX: usize = 3;

/// The same for more threads than [`THREADS_FEW`]: the small shards of many need more.
const SPARE_PERCENT_MAX_FOR_MANY: usize = 15;
const THREADS_FEW: usize = 4;

/// The part of the capacity that must find room before a full shard evicts anything,
/// however the keys fall.
const FILL_BEFORE_EVICTION: f64 = 0.99;

/// The probability that any shard is full before that. Half of the promised one, since the
/// normal distribution below has thinner tails than the binomial one.
const OVERFLOW_PROBABILITY: f64 = 0.0005;

/// More entries than any machine holds; of 32 bits, 33 million. Up to here no product in this
/// file overflows.
const CAPACITY_MAX: usize = 1 << if usize::BITS < 64 { 25 } else { 35 };

/// Of the hash, 32 bits choose the shard: up to here each shard gets 256 of their values or
/// more.
pub(super) const SHARDS_MAX: usize = 1 << 24;

/// The usual sizes of the tables of several shards. The largest, 16,384 buckets, takes some
/// 50 µs to rebuild. Larger ones are used from a million entries only, where smaller ones
/// would need so many shards that the keys did not spread evenly enough over them.
const BUCKETS_LOG2_MAX: u32 = 14;
const BUCKETS_LOG2_MIN: u32 = 10;

/// The largest table of a cache in one shard, or one that has to meet a budget: 32,768
/// buckets, which take about a tenth of a millisecond to rebuild.
const PAUSE_BUCKETS_LOG2_MAX: u32 = 15;

/// The preferred load factor: a table of `n` entries is rebuilt about once in `n / 5`
/// insertions.
const LOAD_PERCENT: usize = 85;

/// The highest load factor of the largest table of a cache in one shard: its rebuilds take
/// longest, and must not be too frequent.
const LARGE_LOAD_PERCENT_MAX: usize = 96;

/// What an entry may cost in bytes where more shards are built to spare threads waiting for
/// each other: so much, and beyond [`THREADS_FEW`] some more, which is at most so much, and falls
/// with the capacity.
const BYTES_PER_ENTRY_FOR_THREADS: f64 = 46.0;
const BYTES_PER_ENTRY_MORE_MAX: f64 = 9.0;
const BYTES_MORE: f64 = 350_000.0;

/// Shards for each thread that may run at once, where the capacity allows: with four, at
/// worst one in four calls finds its lock taken.
pub(super) const SHARDS_PER_THREAD: usize = 4;

/// By which the bytes of a shape are estimated: those of a slot of a `u64 → u64` cache, and those
/// of a shard besides what its slots need.
const SLOT_BYTES: usize = 32;
const SHARD_BYTES: usize = 3_450;

/// What matters most in the choice of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Objective {
    /// As few bytes as possible: where a budget has to be met.
    Bytes,
    /// Short pauses, and locks enough for this number of threads.
    Threads(usize),
}

/// The shape of a cache: the number of its shards, all alike, and their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) shards: usize,
    pub(crate) slots_per_shard: usize,
    pub(crate) buckets_log2: u32,
}

impl Geometry {
    /// Returns the shape for `capacity` entries, at least one, in the number of shards
    /// asked for, or else in the best number.
    pub(crate) fn new(
        capacity: usize,
        shards: Option<usize>,
        objective: Objective,
    ) -> Result<Self, BuildError> {
        let shards = shards.map(|shards| shards.min(capacity).min(SHARDS_MAX));
        let capacity_max = match shards {
            Some(0) => return Err(BuildError::ZeroShards),
            Some(shards) => CAPACITY_MAX.min(shards.saturating_mul(SlotId::COUNT_MAX)),
            None => CAPACITY_MAX,
        };
        let geometry = match shards {
            _ if capacity > capacity_max => None,
            Some(shards) => Self::with_shards(capacity, shards, LOAD_PERCENT, SPARE_PERCENT_MAX),
            None => Self::best(capacity, objective),
        };
        geometry.ok_or(BuildError::TooManySlots { requested: capacity, limit: capacity_max })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.shards * self.slots_per_shard
    }

    /// Returns the shape that costs least, or one of more shards that costs little more,
    /// where several threads would wait for each other.
    fn best(capacity: usize, objective: Objective) -> Option<Self> {
        let threads = match objective {
            Objective::Bytes => return Self::cheapest(capacity, PAUSE_BUCKETS_LOG2_MAX),
            Objective::Threads(threads) => threads,
        };
        let cheapest = Self::cheapest(capacity, BUCKETS_LOG2_MAX)?;
        // Large caches have enough shards as it is: their tables must not get too large.
        let wanted = threads.saturating_mul(SHARDS_PER_THREAD);
        if threads == 1 || cheapest.shards >= wanted {
            return Some(cheapest);
        }
        // From the number wanted downwards, so that the first shape that qualifies has the
        // most locks. Cost is no monotonic function of the number: more shards need more
        // spare slots, but a few more may halve the tables. So each is tried, unless the shards
        // by themselves are too dear: that is all that a small cache takes time for.
        let bytes_max = bytes_per_entry_for(threads, capacity);
        let spare_percent_max =
            if threads > THREADS_FEW { SPARE_PERCENT_MAX_FOR_MANY } else { SPARE_PERCENT_MAX };
        let spare_bytes = capacity.saturating_mul(bytes_max as usize - SLOT_BYTES);
        let wanted = wanted.min(capacity).min(spare_bytes / SHARD_BYTES);
        (cheapest.shards + 1..=wanted)
            .rev()
            .filter_map(|shards| {
                Self::with_shards(capacity, shards, LOAD_PERCENT, spare_percent_max)
            })
            .filter(|geometry| has_enough_slack(capacity, geometry.shards, spare_percent_max))
            .find(|geometry| geometry.bytes_per_entry(capacity) <= bytes_max)
            .or(Some(cheapest))
    }

    /// Returns the cheapest shape of one shard or several, with tables of up to
    /// 2^`buckets_log2_max` buckets; if keys spread too unevenly over those, the one with
    /// the smallest tables that will do.
    fn cheapest(capacity: usize, buckets_log2_max: u32) -> Option<Self> {
        // One shard has all the keys and needs no spare slots, so it may be cheaper even at
        // a higher load than is best, or with a table that is larger than wanted.
        let single = [
            (LOAD_PERCENT, PAUSE_BUCKETS_LOG2_MAX),
            (LARGE_LOAD_PERCENT_MAX, PAUSE_BUCKETS_LOG2_MAX),
            (LOAD_PERCENT_MAX, BUCKETS_LOG2_MAX),
        ]
        .into_iter()
        .filter_map(|(load_percent, buckets_log2_max)| {
            Self::with_shards(capacity, 1, load_percent, SPARE_PERCENT_MAX)
                .filter(|single| single.buckets_log2 <= buckets_log2_max)
        });
        // The cheapest, rather than the first that is cheap enough: so the footprint hardly
        // ever shrinks where the capacity grows, and a memory budget can be bisected.
        let preferred = (BUCKETS_LOG2_MIN..=buckets_log2_max)
            .filter_map(|buckets_log2| Self::with_tables(capacity, buckets_log2))
            .chain(single)
            .min_by(|one, other| {
                one.bytes_per_entry(capacity).total_cmp(&other.bytes_per_entry(capacity))
            });
        // Many shards over small tables need too many spare slots. Of larger tables the
        // smallest will do: a longer pause is the price, and it should not be longer still.
        preferred.or_else(|| {
            (buckets_log2_max + 1..=SlotId::LINK_BITS)
                .find_map(|buckets_log2| Self::with_tables(capacity, buckets_log2))
        })
    }

    /// Returns the shape of the fewest shards whose tables of 2^`buckets_log2` buckets hold
    /// the capacity, if keys spread evenly enough over that many.
    fn with_tables(capacity: usize, buckets_log2: u32) -> Option<Self> {
        let entries_max = (1usize << buckets_log2) / 8 * 7 * LOAD_PERCENT / 100;
        let fewest = capacity.div_ceil(entries_max);
        // More shards need more spare slots each, in proportion, so they are not even tried.
        if !has_enough_slack(capacity, fewest, SPARE_PERCENT_MAX) {
            return None;
        }
        // The more shards, the fewer slots each needs, so the number can be bisected. A quarter
        // more of them would have more spare slots than are allowed.
        let (mut too_few, mut enough) = (fewest - 1, fewest + fewest / 4 + 1);
        while enough - too_few > 1 {
            let middle = usize::midpoint(too_few, enough);
            if slots_needed(capacity, middle) <= entries_max {
                enough = middle;
            } else {
                too_few = middle;
            }
        }
        Self::with_shards(capacity, enough, LOAD_PERCENT, SPARE_PERCENT_MAX)
            .filter(|geometry| geometry.buckets_log2 <= buckets_log2)
            .filter(|_| has_enough_slack(capacity, enough, SPARE_PERCENT_MAX))
    }

    /// Returns the shape of exactly this number of shards, their spare slots cut down to
    /// `spare_percent_max`.
    fn with_shards(
        capacity: usize,
        shards: usize,
        load_percent: usize,
        spare_percent_max: usize,
    ) -> Option<Self> {
        let share = capacity.div_ceil(shards);
        let slots_max = capacity * (100 + spare_percent_max) / 100 / shards;
        let slots_per_shard = slots_needed(capacity, shards).min(slots_max).max(share);
        (slots_per_shard <= SlotId::COUNT_MAX).then(|| Self {
            shards,
            slots_per_shard,
            buckets_log2: buckets_log2_for(slots_per_shard, load_percent),
        })
    }

    /// Estimates the bytes an entry of a `u64 → u64` cache, by which shapes are compared
    /// before any of them is built.
    fn bytes_per_entry(&self, capacity: usize) -> f64 {
        const BUCKET_BYTES: usize = 5;
        const EVICTION_EIGHTHS: usize = 27;
        // The chooser, which only the first shard has.
        const SAMPLED_EIGHTHS: usize = 3;
        let shard_bytes = self.slots_per_shard * SLOT_BYTES
            + self.slots_per_shard * EVICTION_EIGHTHS / 8
            + BUCKET_BYTES * (1 << self.buckets_log2)
            + SHARD_BYTES;
        let chooser_bytes = self.slots_per_shard * SAMPLED_EIGHTHS / 8;
        (self.shards * shard_bytes + chooser_bytes) as f64 / capacity as f64
    }
}

/// Returns what an entry may cost in bytes where there are shards for so many threads.
fn bytes_per_entry_for(threads: usize, capacity: usize) -> f64 {
    if threads <= THREADS_FEW {
        return BYTES_PER_ENTRY_FOR_THREADS;
    }
    let more = (1.0 + BYTES_MORE / capacity as f64).min(BYTES_PER_ENTRY_MORE_MAX);
    BYTES_PER_ENTRY_FOR_THREADS + more
}

/// Returns whether so many shards may have all the slots that they need, but for a part of one. In
/// real numbers: from some capacity on it is true of all, so that no capacity costs more for the
/// way in which it is rounded.
fn has_enough_slack(capacity: usize, shards: usize, spare_percent_max: usize) -> bool {
    let slots_max = capacity as f64 * (100 + spare_percent_max) as f64 / 100.0 / shards as f64;
    slots_wanted(capacity, shards) <= slots_max
}

/// Returns the slots that each shard needs to hold [`FILL_BEFORE_EVICTION`] of the capacity
/// before any of them is full.
fn slots_needed(capacity: usize, shards: usize) -> usize {
    slots_wanted(capacity, shards).ceil() as usize
}

/// The number of keys in one shard is binomial. Enough standard deviations are added to its
/// mean that the probability of exceeding it in any shard is [`OVERFLOW_PROBABILITY`].
fn slots_wanted(capacity: usize, shards: usize) -> f64 {
    if shards == 1 {
        return capacity as f64;
    }
    let held = capacity as f64 * FILL_BEFORE_EVICTION;
    let share = held / shards as f64;
    let deviation = (share * (1.0 - 1.0 / shards as f64)).sqrt();
    share + deviations_for(OVERFLOW_PROBABILITY / shards as f64) * deviation
}

/// Returns the number of standard deviations that a normal variable exceeds with this
/// probability, from the first-order bound of its tail: `P(Z > z) ≤ density(z) / z`.
fn deviations_for(probability: f64) -> f64 {
    // Newton's method for `z² / 2 + ln(probability · z · √2π) = 0`. Each step doubles the digits.
    let mut deviations = 4.0f64;
    for _ in 0..5 {
        let root = (2.0 * std::f64::consts::PI).sqrt();
        let value = deviations * deviations / 2.0 + (probability * deviations * root).ln();
        deviations -= value / (deviations + 1.0 / deviations);
    }
    deviations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::eviction::Eviction;
    use crate::shard::{Bounds, Shard};

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

    /// The shapes behind the figures in the documents, as shards, slots of each, and
    /// logarithm of the buckets: to meet a budget, and for 1, 2 and 16 threads.
    #[test]
    fn known_shapes() {
        let objectives = [
            Objective::Bytes,
            Objective::Threads(1),
            Objective::Threads(2),
            Objective::Threads(16),
        ];
        for (capacity, expected) in [
            (1, [(1, 1, 2), (1, 1, 2), (1, 1, 2), (1, 1, 2)]),
            (12, [(1, 12, 4), (1, 12, 4), (1, 12, 4), (1, 12, 4)]),
            (100, [(1, 100, 7), (1, 100, 7), (1, 100, 7), (1, 100, 7)]),
            (1_000, [(1, 1_000, 11), (1, 1_000, 11), (1, 1_000, 11), (1, 1_000, 11)]),
            (7_000, [(1, 7_000, 14), (1, 7_000, 14), (1, 7_000, 14), (11, 724, 10)]),
            (10_000, [(1, 10_000, 14), (1, 10_000, 14), (2, 5_125, 13), (16, 716, 10)]),
            (11_175, [(1, 11_175, 14), (1, 11_175, 14), (2, 5_716, 13), (18, 713, 10)]),
            (12_000, [(1, 12_000, 14), (1, 12_000, 14), (1, 12_000, 14), (19, 724, 10)]),
            (13_300, [(1, 13_300, 14), (1, 13_300, 14), (1, 13_300, 14), (21, 727, 10)]),
            (16_000, [(1, 16_000, 15), (1, 16_000, 15), (1, 16_000, 15), (25, 736, 10)]),
            (24_090, [(1, 24_090, 15), (1, 24_090, 15), (1, 24_090, 15), (26, 1_040, 11)]),
            (30_000, [(3, 10_193, 14), (3, 10_193, 14), (3, 10_193, 14), (33, 1_024, 11)]),
            (50_000, [(5, 10_233, 14), (5, 10_233, 14), (5, 10_233, 14), (51, 1_103, 11)]),
            (100_000, [(9, 11_384, 14), (9, 11_384, 14), (9, 11_384, 14), (50, 2_169, 12)]),
            (500_000, [(21, 24_183, 15), (43, 11_962, 14), (43, 11_962, 14), (64, 8_113, 14)]),
            (938_405, [(40, 23_862, 15), (80, 12_081, 14), (80, 12_081, 14), (80, 12_081, 14)]),
            (1_000_000, [(42, 24_215, 15), (42, 24_215, 15), (42, 24_215, 15), (64, 16_004, 15)]),
            (
                5_000_000,
                [(210, 24_274, 15), (210, 24_274, 15), (210, 24_274, 15), (210, 24_274, 15)],
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
            if capacity > CAPACITY_MAX {
                continue;
            }
            let shapes = objectives.map(|objective| {
                let shape = Geometry::new(capacity, None, objective).unwrap();
                (shape.shards, shape.slots_per_shard, shape.buckets_log2)
            });
            assert_eq!(shapes, expected, "{capacity}");
        }
    }

    #[test]
    fn the_largest_capacity_has_a_shape() {
        for shards in [None, Some(3), Some(1_000), Some(usize::MAX)] {
            for objective in [Objective::Bytes, Objective::Threads(1), Objective::Threads(128)] {
                let shape = |capacity| Geometry::new(capacity, shards, objective);
                match shape(CAPACITY_MAX) {
                    Ok(largest) => assert!(largest.capacity() >= CAPACITY_MAX, "{largest:?}"),
                    Err(error) => assert!(shards == Some(3) || shards == Some(1_000), "{error}"),
                }
                assert!(shape(CAPACITY_MAX + 1).is_err());
                assert!(shape(usize::MAX).is_err());
            }
        }
    }

    #[test]
    fn no_capacity_is_unlucky() {
        for capacity in capacities().filter(|&capacity| capacity >= 10_000) {
            for threads in [1, 2, 4, 8, 128] {
                let geometry = Geometry::new(capacity, None, Objective::Threads(threads)).unwrap();
                let bytes = geometry.bytes_per_entry(capacity);
                let (bytes_max, spare_percent_max) = if threads <= THREADS_FEW {
                    (48.0, SPARE_PERCENT_MAX)
                } else {
                    // The limit may be below what the cheapest shape takes.
                    (bytes_per_entry_for(threads, capacity).max(48.0), SPARE_PERCENT_MAX_FOR_MANY)
                };
                assert!(bytes <= bytes_max, "{capacity}: {bytes} with {geometry:?}");
                let shards = geometry.shards;
                let has_slack = has_enough_slack(capacity, shards, spare_percent_max);
                assert!(has_slack, "{capacity}: {geometry:?}");
            }
        }
    }

    /// Shapes are compared by the estimate.
    #[test]
    fn the_estimate_is_what_a_cache_takes() {
        for capacity in capacities() {
            for objective in [Objective::Bytes, Objective::Threads(1), Objective::Threads(64)] {
                let geometry = Geometry::new(capacity, None, objective).unwrap();
                // The estimate is of 64 bits; of 32, the parts of a shard are smaller.
                let less_bytes = if usize::BITS < 64 { 180 } else { 0 };
                let shard_bytes = size_of::<Shard<u64, u64>>() + less_bytes;
                let (bounds, eviction) = (Bounds::default(), Eviction::Adaptive);
                let exact = Shard::<u64, u64>::footprint(&geometry, bounds, eviction, shard_bytes);
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

    /// Even where keys do not spread evenly over that many shards.
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
        // The exact values are 3.29 and 4.75; those of the bound are a little higher.
        assert!((3.29..3.36).contains(&deviations_for(0.0005)));
        assert!((4.75..4.80).contains(&deviations_for(0.000_001)));
    }

    #[test]
    fn keys_find_room_until_the_cache_is_nearly_full() {
        // 400 fills of each capacity, 40 of the largest. At a probability below 1 in 1,000
        // for each, four failures have one below 1 in 1,000, too.
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
