//! How many loads in flight the table of one shard has room for.

use super::write_log::WriteLog;

/// If nothing is asked for: one load for every so many entries, within these bounds.
const ENTRIES_PER_LOAD: usize = 32;
const LOADS_DEFAULT_MIN: usize = 64;
const LOADS_DEFAULT_MAX: usize = 1_024;

/// From here on the default is lower where it would not fit into [`BYTES_PER_ENTRY`].
const BOUNDED_FROM_ENTRIES: usize = 10_000;
const LOADS_BOUNDED_MIN: usize = 50;

/// What an entry may cost besides its slot.
const BYTES_PER_ENTRY: usize = 16;

/// The probability that a shard has no room for a load although the cache has.
const OVERFLOW_PROBABILITY: f64 = 1e-5;

/// The writes that the logs of all shards hold: what is written in 70 ms at 10,000 writes a
/// second.
const WRITES_MIN: usize = 768;

/// In a small cache this many an entry are enough: what was stored so long ago would have been
/// evicted by now, unless it was used since.
const WRITES_PER_ENTRY_MAX: usize = 2;

/// Returns the writes that the logs of all shards hold, for so many loads, if there are many.
fn writes_for(loads: usize) -> usize {
    loads * 9 / 4
}

/// How much one table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableSize {
    pub(super) loads: usize,
    /// The writes that the log holds.
    pub(super) writes: usize,
}

impl TableSize {
    /// The most loads of a cache.
    pub(crate) const LOADS_MAX: usize = u16::MAX as usize;

    /// The bytes of a record and a bucket.
    pub(super) const BYTES_PER_LOAD: usize = 22;

    /// Returns the size of each shard's table, where so many keys may be loading at once in the
    /// whole cache.
    pub(crate) fn new(loads: usize, shards: usize) -> Self {
        Self::shared_out(loads, writes_for(loads).max(WRITES_MIN), shards)
    }

    /// Returns the size if nothing is asked for, where all but slots and tables takes so many
    /// bytes.
    pub(crate) fn default_for(capacity: usize, shards: usize, other_bytes: usize) -> Self {
        let loads = (capacity / ENTRIES_PER_LOAD).clamp(LOADS_DEFAULT_MIN, LOADS_DEFAULT_MAX);
        if capacity < BOUNDED_FROM_ENTRIES {
            let loads = loads.min(capacity);
            let writes = writes_for(loads).max(WRITES_MIN.min(WRITES_PER_ENTRY_MAX * capacity));
            return Self::shared_out(loads, writes, shards);
        }
        let sized = |loads| Self::shared_out(loads, writes_for(loads), shards);
        // What is too large by itself is so by choice: of the shards, say.
        let room_bytes =
            BYTES_PER_ENTRY.saturating_mul(capacity).checked_sub(other_bytes).unwrap_or(usize::MAX);
        let fits = |loads| shards.saturating_mul(sized(loads).heap_bytes()) <= room_bytes;
        if fits(loads) {
            return sized(loads);
        }
        // The most that fit, or the least number.
        let (mut fitting, mut too_many) = (LOADS_BOUNDED_MIN, loads);
        while too_many - fitting > 1 {
            let middle = usize::midpoint(fitting, too_many);
            if fits(middle) {
                fitting = middle;
            } else {
                too_many = middle;
            }
        }
        sized(fitting)
    }

    fn shared_out(loads: usize, writes: usize, shards: usize) -> Self {
        Self { loads: share(loads, shards), writes: share(writes, shards) }
    }

    /// Returns the bytes that a table requests from the allocator.
    pub(crate) fn heap_bytes(self) -> usize {
        self.loads * Self::BYTES_PER_LOAD + WriteLog::heap_bytes(self.writes)
    }
}

/// Returns how many of `count` keys one shard must have room for.
///
/// Bernstein's inequality: a binomial variable of that variance exceeds its mean by more than
/// `above` with at most [`OVERFLOW_PROBABILITY`], over all shards.
fn share(count: usize, shards: usize) -> usize {
    if shards == 1 {
        return count;
    }
    let (keys, part) = (count as f64, 1.0 / shards as f64);
    let variance = keys * part * (1.0 - part);
    let log = (shards as f64 / OVERFLOW_PROBABILITY).ln();
    let above = log / 3.0 + (log * log / 9.0 + 2.0 * log * variance).sqrt();
    count.min((keys * part + above).ceil() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many keys that are loading at once find room, wherever they fall.
    #[test]
    fn shares_have_room_for_uneven_spreads() {
        let mut random = fastrand::Rng::with_seed(3);
        for (loads, shards) in [(64, 1), (64, 2), (312, 2), (512, 9), (1_024, 9), (1_024, 300)] {
            let size = TableSize::new(loads, shards);
            assert!(size.loads <= loads && size.loads * shards >= loads, "{size:?}");
            for _ in 0..2_000 {
                let mut held = vec![0; shards];
                (0..loads).for_each(|_| held[random.usize(..shards)] += 1);
                assert!(held.iter().all(|&held| held <= size.loads), "{loads} in {shards}");
            }
        }
        assert_eq!(TableSize::new(64, 1).loads, 64);
        assert_eq!(TableSize::new(0, 1), TableSize { loads: 0, writes: 768 });
    }

    #[test]
    fn the_default_grows_with_the_capacity() {
        let capacities = [1, 63, 64, 65, 2_048, 2_080, 10_000, 32_768, 10_000_000];
        let loads = capacities.map(|capacity| TableSize::default_for(capacity, 1, 0).loads);
        assert_eq!(loads, [1, 63, 64, 64, 64, 65, 312, 1_024, 1_024]);
    }

    #[test]
    fn the_default_takes_what_room_there_is() {
        let loads = |room_bytes: usize| {
            let other_bytes = 16 * 13_000 - room_bytes;
            let size = TableSize::default_for(13_000, 1, other_bytes);
            assert!(size.heap_bytes() <= room_bytes);
            size.loads
        };
        assert_eq!(loads(50_000), 13_000 / 32);
        assert_eq!(loads(5_000), 173);
        // But for a minimum, and what is too large anyhow.
        let others = |bytes| TableSize::default_for(13_000, 1, bytes).loads;
        assert_eq!([others(16 * 13_000), others(16 * 13_000 + 1)], [50, 13_000 / 32]);
    }
}
