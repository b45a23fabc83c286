//! Loads of byte strings: production clusters by their means, and some made up.

use std::time::Duration;

use fastrand::Rng;

use crate::zipf::Zipf;

/// What keys, values and requests are like. Of a cluster: the means, the popularity, the share of
/// writes and the TTLs that Twitter's study published (`workloads.md`). Chosen here: the spread
/// of sizes, how many keys there are, and how fast time runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    pub(crate) key_bytes: usize,
    /// In the mean.
    pub(crate) value_bytes: usize,
    /// Of the logarithm of the values' lengths.
    sigma: f64,
    alpha: f64,
    /// Requests that set a key without asking for it, beside those that follow a miss.
    set_percent: u8,
    /// In seconds, and the share of keys that have it, in percent.
    ttls: &'static [(u64, u64)],
    /// How many times the entries that fit come within a median TTL.
    pace: f64,
    change: Change,
    pub(crate) budget_bytes: usize,
}

/// What else is the matter with the sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    None,
    /// Twice as large in the second fifth of the requests, half as large in the fourth.
    Shifts,
    /// Of ten thousand keys, one has a value of a megabyte.
    Megabytes,
}

/// Keys for each entry that fits.
const KEYS_PER_ENTRY: f64 = 4.0;

/// What an entry takes beside key and value, roughly: for how many fit.
const BESIDE_BYTES: f64 = 45.0;

/// So many times as many entries as fit are set in a replay, roughly: more where few fit.
const TURNS: f64 = 10.0;
const TURNS_OF_LARGE: f64 = 25.0;
const LARGE_BYTES: usize = 4_000;
const REQUESTS_MAX: usize = 1_500_000;

const MIB: usize = 1 << 20;

const CLUSTER: Mix = Mix {
    name: "",
    key_bytes: 0,
    value_bytes: 0,
    sigma: 1.0,
    alpha: 0.0,
    set_percent: 0,
    ttls: &[],
    pace: 3.0,
    change: Change::None,
    budget_bytes: 64 * MIB,
};

/// The nine whose entries expire.
pub(crate) const WITH_TTLS: [Mix; 9] = [
    Mix {
        name: "id pairs",
        key_bytes: 20,
        value_bytes: 19,
        sigma: 0.0,
        alpha: 0.9,
        ttls: &[(1_800, 100)],
        budget_bytes: 8 * MIB,
        ..CLUSTER
    },
    Mix {
        name: "cluster 19",
        key_bytes: 42,
        value_bytes: 101,
        alpha: 0.735,
        set_percent: 25,
        ttls: &[
            (27_000, 8),
            (26_640, 7),
            (23_760, 7),
            (25_920, 7),
            (24_120, 7),
            (25_200, 7),
            (25_560, 7),
            (24_480, 7),
            (24_840, 7),
            (26_280, 36),
        ],
        budget_bytes: 8 * MIB,
        ..CLUSTER
    },
    Mix {
        name: "cluster 27",
        key_bytes: 66,
        value_bytes: 8,
        sigma: 0.5,
        alpha: 1.065,
        set_percent: 15,
        ttls: &[(8_000_640, 28), (86_400, 26), (3_600, 20), (14_400, 18), (21_600, 6), (43_200, 2)],
        pace: 10.0,
        budget_bytes: 8 * MIB,
        ..CLUSTER
    },
    Mix {
        name: "cluster 29",
        key_bytes: 36,
        value_bytes: 799,
        alpha: 1.2323,
        set_percent: 13,
        ttls: &[(3_600, 67), (7_200, 33)],
        budget_bytes: 16 * MIB,
        ..CLUSTER
    },
    Mix {
        name: "cluster 7",
        key_bytes: 17,
        value_bytes: 1_936,
        alpha: 1.0666,
        set_percent: 18,
        ttls: &[(6_480, 28), (6_120, 24), (6_840, 23), (5_760, 13), (7_200, 12)],
        budget_bytes: 32 * MIB,
        ..CLUSTER
    },
    Mix {
        name: "cluster 4",
        key_bytes: 67,
        value_bytes: 2_439,
        alpha: 1.1004,
        set_percent: 7,
        ttls: &[(60, 39), (300, 24), (3_600, 13), (600, 12), (14_400, 9), (86_400, 3)],
        budget_bytes: 32 * MIB,
        ..CLUSTER
    },
    Mix {
        name: "cluster 13",
        key_bytes: 44,
        value_bytes: 4_266,
        alpha: 0.4565,
        set_percent: 62,
        ttls: &[(300, 97), (299, 3)],
        budget_bytes: 32 * MIB,
        ..CLUSTER
    },
    Mix {
        name: "cluster 37",
        key_bytes: 72,
        value_bytes: 20_134,
        alpha: 0.4251,
        set_percent: 37,
        ttls: &[(20, 91), (300, 6), (7_200, 2), (600, 1)],
        ..CLUSTER
    },
    Mix {
        name: "cluster 50",
        key_bytes: 18,
        value_bytes: 67_485,
        alpha: 1.2816,
        set_percent: 48,
        ttls: &[(900, 73), (1_200, 24), (1_199, 3)],
        ..CLUSTER
    },
];

/// Sizes that change, and a few of a megabyte.
const SHIFTING: Mix = Mix {
    name: "sizes that shift",
    key_bytes: 30,
    value_bytes: 500,
    alpha: 0.8,
    change: Change::Shifts,
    budget_bytes: 16 * MIB,
    ..CLUSTER
};

const MEGABYTES: Mix = Mix {
    name: "100 B and 1 MB",
    key_bytes: 30,
    value_bytes: 100,
    sigma: 0.0,
    alpha: 0.9,
    change: Change::Megabytes,
    ..CLUSTER
};

/// Those whose entries never expire.
pub(crate) fn without_ttls() -> impl Iterator<Item = Mix> {
    let clusters = WITH_TTLS.into_iter().skip(1).filter(|mix| mix.name != "cluster 27");
    clusters.map(|mix| Mix { ttls: &[], ..mix }).chain([SHIFTING, MEGABYTES])
}

/// A load, made from its mix.
pub(crate) struct Trace {
    pub(crate) mix: Mix,
    /// Of each key's value.
    sizes: Vec<u32>,
    ttls: Vec<Option<Duration>>,
    requests: Vec<Request>,
    /// How much later each set is than the one before.
    pub(crate) step: Duration,
}

/// A key, and whether it is set without being asked for.
#[derive(Clone, Copy)]
struct Request {
    key: u32,
    sets: bool,
}

/// What a request is about.
pub(crate) struct Asked<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) ttl: Option<Duration>,
    pub(crate) sets: bool,
}

impl Mix {
    pub(crate) fn has_ttls(&self) -> bool {
        !self.ttls.is_empty()
    }

    /// Key and value of an entry, in the mean.
    pub(crate) fn mean_entry(&self) -> usize {
        let more = if self.change == Change::Megabytes { 100 } else { 0 };
        self.key_bytes + self.value_bytes + more
    }

    pub(crate) fn fitting(&self) -> f64 {
        self.budget_bytes as f64 / (self.mean_entry() as f64 + BESIDE_BYTES)
    }

    /// Makes a part of the load, or all of it. The hit ratio that is expected decides how many requests
    /// there are.
    pub(crate) fn trace(self, percent: usize) -> Trace {
        let mut random = Rng::with_seed(61);
        let keys = (self.fitting() * KEYS_PER_ENTRY) as usize;
        let popularity = Zipf::new(keys, self.alpha);
        let mut sizes: Vec<u32> =
            (0..keys).map(|_| log_normal(self.value_bytes, self.sigma, &mut random)).collect();
        if self.change == Change::Megabytes {
            let large = (0..keys / 10_000).map(|_| random.usize(..keys)).collect::<Vec<_>>();
            for key in large {
                sizes[key] = 1_000_000;
            }
        }
        let ttls = (0..keys).map(|_| self.ttl(random.u64(..100))).collect();
        // Of Zipf's distribution, what the most popular quarter of the keys is not asked for.
        let rest = |share: f64| 1.0 - share.powf((1.0 - self.alpha).max(0.05));
        let sets = f64::from(self.set_percent) / 100.0;
        let sets = sets + (1.0 - sets) * rest(1.0 / KEYS_PER_ENTRY);
        let turns = if self.value_bytes < LARGE_BYTES { TURNS } else { TURNS_OF_LARGE };
        let count = ((turns * self.fitting() / sets) as usize).min(REQUESTS_MAX);
        let count = count * percent / 100;
        let requests = (0..count).map(|_| Request {
            key: popularity.draw(&mut random),
            sets: random.u8(..100) < self.set_percent,
        });
        let step = self.median_ttl().div_f64(self.pace * self.fitting());
        Trace { mix: self, sizes, ttls, requests: requests.collect(), step }
    }

    /// Draws the length of a value.
    pub(crate) fn value_length(&self, random: &mut Rng) -> usize {
        log_normal(self.value_bytes, self.sigma, random) as usize
    }

    fn ttl(&self, percent: u64) -> Option<Duration> {
        let mut passed = 0;
        for &(ttl_s, share) in self.ttls {
            passed += share;
            if percent < passed {
                return Some(Duration::from_secs(ttl_s));
            }
        }
        None
    }

    fn median_ttl(&self) -> Duration {
        let mut ttls = self.ttls.to_vec();
        ttls.sort_unstable();
        let mut passed = 0;
        let median = ttls.iter().find(|(_, share)| {
            passed += share;
            passed >= 50
        });
        Duration::from_secs(median.map_or(0, |&(ttl_s, _)| ttl_s))
    }
}

/// A length whose logarithm is normally distributed.
fn log_normal(mean: usize, sigma: f64, random: &mut Rng) -> u32 {
    let turn = std::f64::consts::TAU * random.f64();
    let normal = (-2.0 * (1.0 - random.f64()).ln()).sqrt() * turn.cos();
    let length = (mean as f64).ln() - sigma * sigma / 2.0 + sigma * normal;
    (length.exp().round() as u32).max(1)
}

impl Trace {
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Shows each request, with its number.
    pub(crate) fn each(&self, mut show: impl FnMut(usize, Asked<'_>)) {
        let largest = self.sizes.iter().copied().max().unwrap_or(0);
        let bytes = vec![0x5a; 2 * largest as usize];
        let mut key = vec![0; self.mix.key_bytes];
        for (number, request) in self.requests.iter().enumerate() {
            let index = request.key as usize;
            let spread = u64::from(request.key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            key[..8].copy_from_slice(&spread.to_le_bytes());
            let size = self.sizes[index] as usize;
            let size = match (self.mix.change, number * 5 / self.requests.len()) {
                (Change::Shifts, 1) => 2 * size,
                (Change::Shifts, 3) => size.div_ceil(2),
                _ => size,
            };
            let ttl = self.ttls[index];
            show(number, Asked { key: &key, value: &bytes[..size], ttl, sets: request.sets });
        }
    }
}
