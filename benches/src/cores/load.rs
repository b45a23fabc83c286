//! What the threads ask for.

use crate::speed::keys::{Draw, Popularity, shuffled};

/// What one call is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Calls {
    /// Look a key up; so many of a thousand overwrite it instead.
    Mixed(u16),
    /// Look a key up; what is not there is put in.
    ReadThrough,
    /// All threads ask for the same keys that are not there, and one of them makes the value.
    Herd,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// As the tables have it.
    pub(super) name: &'static str,
    /// As the program that compares two versions has it.
    pub(super) word: &'static str,
    pub(super) calls: Calls,
    popularity: Popularity,
    /// How many are asked for.
    keys: usize,
    /// Of the cache.
    pub(super) capacity: usize,
}

const CAPACITY: usize = 500_000;
/// Caches are filled with 98 % of what they may hold where each lookup is to be a hit: whoever is
/// divided into shards would otherwise evict some.
const FILLED: usize = CAPACITY * 98 / 100;
const ZIPF: Popularity = Popularity::Zipf(0.99);

const fn mixed(
    name: &'static str,
    word: &'static str,
    overwrites: u16,
    popularity: Popularity,
) -> Load {
    let calls = Calls::Mixed(overwrites);
    Load { name, word, calls, popularity, keys: FILLED, capacity: CAPACITY }
}

pub(super) const HITS: [Load; 4] = [
    mixed("hit, uniform", "hit-uniform", 0, Popularity::Uniform),
    mixed("hit, Zipf 0.99", "hit-zipf-0.99", 0, ZIPF),
    mixed("hit, Zipf 1.3", "hit-zipf-1.3", 0, Popularity::Zipf(1.3)),
    Load { keys: 1, ..mixed("hit, one key", "hit-one-key", 0, Popularity::Uniform) },
];
pub(super) const MIX_99_9: Load = mixed("get/insert 99.9/0.1, Zipf 0.99", "mix-99.9", 1, ZIPF);
pub(super) const MIX_99: Load = mixed("get/insert 99/1, Zipf 0.99", "mix-99", 10, ZIPF);
pub(super) const MIX_95: Load = mixed("get/insert 95/5, Zipf 0.99", "mix-95", 50, ZIPF);
pub(super) const MIX_50: Load = mixed("get/insert 50/50, Zipf 0.99", "mix-50", 500, ZIPF);
pub(super) const OVERWRITE: Load = mixed("overwrite, Zipf 0.99", "overwrite", 1_000, ZIPF);
pub(super) const READ_THROUGH: Load = Load {
    name: "read-through, Zipf 0.99",
    word: "read-through",
    calls: Calls::ReadThrough,
    popularity: ZIPF,
    keys: CAPACITY,
    capacity: CAPACITY / 10,
};
const HERD: Load = Load {
    name: "herd",
    word: "herd",
    calls: Calls::Herd,
    popularity: Popularity::Uniform,
    keys: 0,
    capacity: CAPACITY,
};

/// Those that use the same caches follow each other.
pub(super) const ALL: [Load; 11] = [
    HITS[0],
    HITS[1],
    HITS[2],
    HITS[3],
    MIX_99_9,
    MIX_99,
    MIX_95,
    MIX_50,
    OVERWRITE,
    READ_THROUGH,
    HERD,
];

impl Load {
    /// Whether it leaves in the caches what the other one wants there.
    pub(super) fn shares_caches_with(&self, other: &Self) -> bool {
        matches!((self.calls, other.calls), (Calls::Mixed(_), Calls::Mixed(_)))
    }

    /// Keys that are there before anything is measured, in the order in which they come.
    pub(super) fn filling(&self) -> Vec<u64> {
        match self.calls {
            Calls::Mixed(_) => shuffled(FILLED),
            // So many that the popular ones have come more than once.
            Calls::ReadThrough => self.draw(41).numbers(4 * self.capacity),
            Calls::Herd => Vec::new(),
        }
    }

    fn draw(&self, seed: u64) -> Draw {
        Draw::new(self.keys, self.popularity, seed)
    }
}

/// Marks a key that is overwritten rather than looked up.
pub(super) const OVERWRITTEN: u64 = 1 << 63;

/// Numbers of keys that are never among those a cache was filled with.
const FRESH: u64 = 100_000_000_000;

/// The keys of all threads, in the order in which each asks for them.
pub(super) struct Keys {
    /// One for each thread, or one for all.
    sequences: Vec<Vec<u64>>,
    from: usize,
    next_fresh: u64,
}

impl Keys {
    /// Of a sequence: more than most threads ask for in a round.
    const COUNT: usize = 1 << 19;

    pub(super) fn draw(load: &Load, threads: usize) -> Self {
        let sequences = match load.calls {
            Calls::Herd => Vec::new(),
            Calls::ReadThrough => Self::lookups(load, threads),
            Calls::Mixed(overwrites) => {
                let mut random = fastrand::Rng::with_seed(44);
                let mut sequences = Self::lookups(load, threads);
                for key in sequences.iter_mut().flatten() {
                    if random.u16(..1_000) < overwrites {
                        *key |= OVERWRITTEN;
                    }
                }
                sequences
            }
        };
        Self { sequences, from: 0, next_fresh: FRESH }
    }

    fn lookups(load: &Load, threads: usize) -> Vec<Vec<u64>> {
        let mut draw = load.draw(42);
        (0..threads).map(|_| draw.numbers(Self::COUNT)).collect()
    }

    /// Goes on from round to round: with other keys where they must not be there yet, and elsewhere
    /// with a later part.
    pub(super) fn go_on(&mut self, calls: Calls) {
        if calls == Calls::Herd {
            let keys = self.next_fresh..self.next_fresh + 2 * Self::COUNT as u64;
            self.next_fresh = keys.end;
            self.sequences = vec![keys.collect()];
        } else {
            self.from = (self.from + Self::COUNT / 8) % Self::COUNT;
        }
    }

    /// Of one thread: all, and again from the first.
    pub(super) fn of(&self, thread: usize) -> impl Iterator<Item = &[u64]> {
        let sequence = &self.sequences[thread % self.sequences.len()];
        sequence.chunks(Self::AT_ONCE).cycle().skip(self.from / Self::AT_ONCE)
    }

    /// A thread looks up so many keys, and then whether it is time to stop.
    const AT_ONCE: usize = 64;
}
