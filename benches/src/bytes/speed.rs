//! One thread: how long a call takes, beside peers that keep boxes.

use std::hint::black_box;

use punctual_figures::record::{BarLine, quantile};

use super::Extent;
use super::players::{
    Foyer, Key, Moka, Operation, Ours, QuickCache, Room, Round, Unsync, Vectors, key,
};
use crate::bar::{Bar, Limit, RATIO};
use crate::speed::keys::{Draw, Popularity, shuffled};
use crate::stopwatch::TimedBy;

const BUDGET_BYTES: usize = 64 << 20;
const ROUNDS: usize = 24;

/// Values of a length.
#[derive(Clone, Copy)]
struct Values {
    name: &'static str,
    bytes: usize,
    /// Of the logarithm of the lengths.
    sigma: f64,
    /// In a round.
    calls: usize,
}

const VALUES: [Values; 4] = [
    Values { name: "19 B", bytes: 19, sigma: 0.0, calls: 10_000 },
    Values { name: "300 B, lognormal", bytes: 300, sigma: 0.7, calls: 10_000 },
    Values { name: "2 kB", bytes: 2_048, sigma: 0.0, calls: 4_000 },
    Values { name: "16 kB", bytes: 16_384, sigma: 0.0, calls: 1_000 },
];

/// What quick_cache's time must be at least, and is to be, as a multiple of ours.
const LIMITS: [(Operation, f64, f64); 4] = [
    (Operation::Get, 0.95, 1.2),
    (Operation::Read, 1.5, 2.0),
    (Operation::Insert, 0.75, 1.0),
    (Operation::ReadThrough, 1.1, 1.2),
];

const NAMES: [&str; 6] = ["punctual", "with a vector", "unsync", "quick_cache", "moka", "foyer"];
const QUICK_CACHE: usize = 3;

pub(super) fn lines(extent: Extent) -> Vec<BarLine> {
    VALUES.iter().flat_map(|values| values.lines(extent)).collect()
}

/// Numbers that are never among those a cache was filled with.
const FRESH: u64 = 1 << 40;

impl Values {
    fn mean_entry(self) -> usize {
        super::players::KEY_BYTES + self.bytes
    }

    fn lines(self, extent: Extent) -> [BarLine; 4] {
        // A number that surely fits, whatever comes into which shard.
        let fits = BUDGET_BYTES / (self.mean_entry() + 50);
        let entries = fits * 85 / 100;
        let bytes = vec![0x5a; 40 * self.bytes];
        let mut random = fastrand::Rng::with_seed(21);
        let lengths: Vec<usize> = (0..4096).map(|_| self.length(&mut random)).collect();
        let pair = |number: u64| -> (Key, &[u8]) {
            (key(number), &bytes[..lengths[(number % 4096) as usize].min(bytes.len())])
        };
        LIMITS.map(|(operation, must, aim)| {
            let mut players = self.players(fits, extent);
            let mut draw = match operation {
                Operation::ReadThrough => Draw::new(4 * fits, Popularity::Zipf(0.9), 23),
                _ => Draw::new(entries, Popularity::Uniform, 23),
            };
            let mut fresh = FRESH;
            let mut keys = |count: usize| -> Vec<(Key, &[u8])> {
                let numbers = (0..count).map(|_| match operation {
                    Operation::Insert => {
                        fresh += 1;
                        fresh
                    }
                    _ => draw.number(),
                });
                numbers.map(pair).collect()
            };
            // What is there in the beginning.
            match operation {
                Operation::Get | Operation::Read => {
                    let filling: Vec<_> = shuffled(entries).into_iter().map(pair).collect();
                    for player in &mut players {
                        player.play(Operation::Insert, &filling);
                    }
                }
                Operation::Insert | Operation::ReadThrough => {
                    for _ in 0..20 {
                        let filling = keys(fits / 10);
                        for player in &mut players {
                            player.play(operation, &filling);
                        }
                    }
                }
            }
            let mut nanos = vec![Vec::new(); players.len()];
            let mut found = vec![0; players.len()];
            for number in 0..=extent.of(ROUNDS) {
                for turn in 0..players.len() {
                    let turn = (turn + number) % players.len();
                    // Those of read-through are the same for all, or some would warm up others' less.
                    let keys = keys(self.calls);
                    let start = TimedBy::ThreadCpu.now();
                    let hits = black_box(players[turn].play(operation, &keys));
                    let time = TimedBy::ThreadCpu.now() - start;
                    // The first round warms up and does not count.
                    if number > 0 {
                        nanos[turn].push(time.as_nanos() as f64 / self.calls as f64);
                        found[turn] += hits;
                    }
                }
            }
            let calls = (extent.of(ROUNDS) * self.calls) as f64;
            let medians: Vec<f64> = nanos.iter().map(|nanos| quantile(nanos, 0.5)).collect();
            let words = NAMES.iter().zip(&medians).zip(&found).map(|((name, nanos), hits)| {
                let hits = if operation == Operation::Insert {
                    String::new()
                } else {
                    format!(" ({:.1} %)", 100.0 * *hits as f64 / calls)
                };
                format!("{name} {nanos:.0} ns{hits}")
            });
            let words = words.collect::<Vec<_>>().join(", ");
            let bar = format!("{} against quick_cache, values of {}", operation.name(), self.name);
            let bar = Bar::new(bar, RATIO, Limit::at_least(must)).aim(Limit::at_least(aim));
            bar.once(medians[QUICK_CACHE] / medians[0], &words)
        })
    }

    fn length(self, random: &mut fastrand::Rng) -> usize {
        let turn = std::f64::consts::TAU * random.f64();
        let normal = (-2.0 * (1.0 - random.f64()).ln()).sqrt() * turn.cos();
        let length = (self.bytes as f64).ln() - self.sigma * self.sigma / 2.0 + self.sigma * normal;
        (length.exp().round() as usize).max(1)
    }

    /// In the order of their names.
    fn players(self, fits: usize, extent: Extent) -> Vec<Box<dyn Round>> {
        let room = Room { budget_bytes: BUDGET_BYTES, mean_entry: self.mean_entry() };
        let mut players: Vec<Box<dyn Round>> = vec![
            Box::new(Ours::new(room)),
            Box::new(Vectors(Ours::new(room))),
            Box::new(Unsync::new(room)),
            Box::new(QuickCache::new(fits, self.mean_entry())),
        ];
        if extent == Extent::Whole {
            players.push(Box::new(Moka::new(fits, self.mean_entry())));
            players.push(Box::new(Foyer::new(fits, self.mean_entry())));
        }
        players
    }
}
