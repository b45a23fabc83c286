//! How a memory budget is divided into shards, slots, tables and arenas.
//!
//! All is decided by two numbers, the shards and the slots of each: the arenas take what the budget
//! leaves. The slots are a quarter more than there are records of the mean size, since too few of
//! them cost more hits than too many (`docs/bytes.md`). Of the numbers of shards that will do, the
//! one is taken that leaves most for the arenas: tables double, and some numbers fill them better.

use super::arena::Arena;
use super::arena::header::Lengths;
use super::geometry::{Geometry, SHARDS_MAX, SHARDS_PER_THREAD};
use super::index::buckets_log2_for;
use super::records::ArenaShape;
use super::slot_id::SlotId;
use crate::error::BuildError;

/// Slots for each record of the mean size that fits.
const SLOTS_PER_RECORD: f64 = 1.25;

/// The fewest records of the mean size in each of several shards.
const RECORDS_PER_SHARD_MIN: usize = 200;

/// What a record takes besides key and value: its header, and padding in the mean.
const RECORD_BYTES: f64 = 11.5;

/// What a slot takes, roughly: itself, its place, policy and index.
const SLOT_BYTES: f64 = 30.0;

/// The load factor of the index, in percent, if all slots are taken: as a rule a fifth are vacant.
const LOAD_PERCENT: usize = 96;

/// The largest table whose rebuild is a short pause: a tenth of a millisecond.
const BUCKETS_LOG2_MAX: u32 = 15;

/// How many numbers of shards are tried.
const TRIALS: usize = 16;

/// What a cache of bytes is asked to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteSize {
    pub(crate) budget_bytes: usize,
    /// Of key and value.
    pub(crate) mean_entry_bytes: usize,
    pub(crate) live_percent: usize,
    pub(crate) shards: Option<usize>,
    /// That may be in the cache at once.
    pub(crate) threads: usize,
}

/// The shape of a cache of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteGeometry {
    pub(crate) geometry: Geometry,
    pub(crate) arena: ArenaShape,
}

impl ByteGeometry {
    /// Returns the shape that leaves most for keys and values. `total_bytes` tells what a cache of
    /// some shape takes in all.
    pub(crate) fn new(
        size: ByteSize,
        total_bytes: impl Fn(&Self) -> Result<usize, BuildError>,
    ) -> Result<Self, BuildError> {
        let limit = Lengths::KEY_MAX + Lengths::VALUE_MAX;
        if size.mean_entry_bytes > limit {
            return Err(BuildError::MeanEntryTooLarge { bytes: size.mean_entry_bytes, limit });
        }
        let (fewest, most) = size.shards_range()?;
        let step = ((most - fewest) / TRIALS).max(1);
        let shapes = (fewest..=most).step_by(step);
        let best = shapes
            .filter_map(|shards| size.with_shards(shards, &total_bytes))
            .max_by_key(|shape| shape.geometry.shards * shape.arena.bytes);
        best.map_or_else(|| Err(size.too_small(&total_bytes)), Ok)
    }
}

impl ByteSize {
    /// The bytes that a record of the mean size takes.
    fn record_bytes(&self) -> f64 {
        self.mean_entry_bytes as f64 + RECORD_BYTES
    }

    /// Returns the fewest and the most shards that are tried.
    fn shards_range(&self) -> Result<(usize, usize), BuildError> {
        if let Some(shards) = self.shards {
            let shards_max = (self.budget_bytes / (Arena::BYTES_MIN * 2)).clamp(1, SHARDS_MAX);
            return match shards.min(shards_max) {
                0 => Err(BuildError::ZeroShards),
                shards => Ok((shards, shards)),
            };
        }
        let live = self.live_percent as f64 / 100.0;
        let record_bytes = self.record_bytes() / live + SLOTS_PER_RECORD * SLOT_BYTES;
        let records = (self.budget_bytes as f64 / record_bytes) as usize;
        let most = (records / RECORDS_PER_SHARD_MIN).max(1);
        let for_threads =
            if self.threads > 1 { self.threads.saturating_mul(SHARDS_PER_THREAD) } else { 1 };
        let slots_max = (1 << BUCKETS_LOG2_MAX) / 8 * 7 * LOAD_PERCENT / 100;
        let for_tables = (records as f64 * SLOTS_PER_RECORD) as usize / slots_max + 1;
        let fewest = for_threads.max(for_tables).min(most);
        let fewest = fewest.max(self.budget_bytes.div_ceil(Arena::BYTES_MAX));
        Ok((fewest, fewest.saturating_mul(2).clamp(fewest, most.max(fewest))))
    }

    /// Returns the shape of so many shards.
    fn with_shards(
        &self,
        shards: usize,
        total_bytes: &impl Fn(&ByteGeometry) -> Result<usize, BuildError>,
    ) -> Option<ByteGeometry> {
        // The more slots, the less is left for the arena: so the fewest that are enough for it can be
        // bisected. One number is left for an insertion in progress.
        let slots_max = (self.budget_bytes / shards / 16).clamp(1, SlotId::COUNT_MAX - 1);
        let (mut too_few, mut enough) = (0, slots_max);
        while enough - too_few > 1 {
            let middle = usize::midpoint(too_few, enough);
            let shape = self.with_slots(shards, middle, total_bytes);
            if shape.is_none_or(|shape| middle >= self.slots_for(shape.arena)) {
                enough = middle;
            } else {
                too_few = middle;
            }
        }
        // Of the smallest caches one slot more may be too much.
        let mut candidates = [enough, too_few].into_iter().filter(|&slots| slots > 0);
        candidates.find_map(|slots| self.with_slots(shards, slots, total_bytes))
    }

    /// Returns how many slots an arena is to have.
    fn slots_for(&self, arena: ArenaShape) -> usize {
        let records = arena.live_bytes_max as f64 / self.record_bytes();
        (records * SLOTS_PER_RECORD).ceil() as usize
    }

    /// Returns the shape of so many shards and slots, if an entry of the mean size fits.
    fn with_slots(
        &self,
        shards: usize,
        slots_per_shard: usize,
        total_bytes: &impl Fn(&ByteGeometry) -> Result<usize, BuildError>,
    ) -> Option<ByteGeometry> {
        let buckets_log2 = buckets_log2_for(slots_per_shard, LOAD_PERCENT);
        let geometry = Geometry { shards, slots_per_shard, buckets_log2 };
        let shape = |bytes| ByteGeometry { geometry, arena: self.arena(bytes) };
        let mut bytes = Arena::BYTES_MIN;
        let smallest = total_bytes(&shape(bytes)).ok()?;
        let spare = self.budget_bytes.checked_sub(smallest)?;
        bytes = Arena::floor(bytes.saturating_add(spare / shards)).min(Arena::BYTES_MAX);
        // A larger arena may have more bins, so this was too much; and then it may be too little.
        let mut total = total_bytes(&shape(bytes)).ok()?;
        while total > self.budget_bytes {
            let over = (total - self.budget_bytes).div_ceil(shards);
            bytes = Arena::floor(bytes.checked_sub(over)?);
            if bytes < Arena::BYTES_MIN {
                return None;
            }
            total = total_bytes(&shape(bytes)).ok()?;
        }
        let more = (self.budget_bytes - total) / shards;
        let most = Arena::floor(bytes.saturating_add(more)).min(Arena::floor(Arena::BYTES_MAX));
        let larger = (bytes + Arena::BYTES_MIN / 2..=most).rev().step_by(Arena::BYTES_MIN / 2);
        let fits = |bytes| total_bytes(&shape(bytes)).is_ok_and(|total| total <= self.budget_bytes);
        bytes = larger.into_iter().find(|&bytes| fits(bytes)).unwrap_or(bytes);
        let shape = shape(bytes);
        (self.mean_entry_bytes <= shape.arena.entry_bytes_max()).then_some(shape)
    }

    fn arena(&self, bytes: usize) -> ArenaShape {
        // Of any arena, one least record may be live.
        let live_bytes_max = (bytes / 100 * self.live_percent
            + bytes % 100 * self.live_percent / 100)
            .max(Arena::BYTES_MIN);
        ArenaShape { bytes, live_bytes_max: Arena::floor(live_bytes_max) }
    }

    /// Returns the error of a budget that holds no entry of the mean size.
    fn too_small(
        &self,
        total_bytes: &impl Fn(&ByteGeometry) -> Result<usize, BuildError>,
    ) -> BuildError {
        let shards = self.shards.unwrap_or(1).clamp(1, SHARDS_MAX);
        let geometry = Geometry {
            shards,
            slots_per_shard: 1,
            buckets_log2: buckets_log2_for(1, LOAD_PERCENT),
        };
        let record_bytes = self.mean_entry_bytes.saturating_add(2 * Arena::BYTES_MIN);
        let bytes = record_bytes.saturating_mul(100) / self.live_percent.max(1) + Arena::BYTES_MIN;
        match total_bytes(&ByteGeometry { geometry, arena: self.arena(bytes) }) {
            Ok(needed_bytes) => {
                BuildError::BudgetTooSmall { budget_bytes: self.budget_bytes, needed_bytes }
            }
            Err(error) => error,
        }
    }
}
