//! Traces that are made here, so that nobody needs a file: each is one question to a policy.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fastrand::Rng;

use super::trace::{Timing, Trace};
use crate::zipf::Zipf;

const REQUESTS: usize = 500_000;
const KEYS: usize = 50_000;

/// Keys that have never been asked for before are numbered from here.
const FRESH: u64 = 1 << 32;

/// A maker of one trace, and its name.
type Recipe = (&'static str, fn(&str) -> Trace);

/// The generated traces that the filter wants.
pub(crate) fn all(wanted: impl Fn(&str) -> bool) -> Vec<Trace> {
    let recipes: [Recipe; 16] = [
        ("generated/zipf-0.7", |name| zipf(name, 0.7)),
        ("generated/zipf-0.99", |name| zipf(name, 0.99)),
        ("generated/zipf-1.2", |name| zipf(name, 1.2)),
        ("generated/one-time-keys", one_time_keys),
        ("generated/hot-set-shift", hot_set_shift),
        ("generated/keys-seen-twice", keys_seen_twice),
        ("generated/pure-recency", pure_recency),
        ("generated/loop-1-percent-larger", |name| larger_loop(name, 10)),
        ("generated/loop-10-percent-larger", |name| larger_loop(name, 100)),
        ("generated/loop-50-percent-larger", |name| larger_loop(name, 500)),
        ("generated/scans", scans),
        ("ttl/cluster-4", |name| cluster(name, 1.1004, CLUSTER_4)),
        ("ttl/cluster-26", |name| cluster(name, 0.6299, CLUSTER_26)),
        ("ttl/cluster-29", |name| cluster(name, 1.2323, CLUSTER_29)),
        ("ttl/cluster-37", |name| cluster(name, 0.4251, CLUSTER_37)),
        ("ttl/cluster-52", |name| cluster(name, 1.2117, CLUSTER_52)),
    ];
    recipes.into_iter().filter(|(name, _)| wanted(name)).map(|(name, make)| make(name)).collect()
}

/// The keys of all requests, each made from its number and Zipf's distribution.
fn requests<K>(seed: u64, alpha: f64, key: impl Fn(usize, &mut Rng, &Zipf) -> K) -> Vec<K> {
    let (mut random, popularity) = (Rng::with_seed(seed), Zipf::new(KEYS, alpha));
    (0..REQUESTS).map(|number| key(number, &mut random, &popularity)).collect()
}

fn zipf(name: &str, alpha: f64) -> Trace {
    let keys = requests(1, alpha, |_, random, zipf| zipf.draw(random));
    Trace::new(name, &keys, None, &[10, 50, 200])
}

/// Of the requests, 30 % are for keys that never come again.
fn one_time_keys(name: &str) -> Trace {
    let keys = requests(2, 0.99, |number, random, zipf| {
        if random.u8(..10) < 3 { FRESH + number as u64 } else { zipf.draw(random).into() }
    });
    Trace::new(name, &keys, None, &[]).at_capacities(&[500, 2_500, 10_000])
}

/// Every 50,000 requests the popular keys become unpopular, and others popular.
fn hot_set_shift(name: &str) -> Trace {
    let keys = requests(3, 0.99, |number, random, zipf| {
        let shift = number / 50_000 * (KEYS / 7);
        (zipf.draw(random) as usize + shift) % KEYS
    });
    Trace::new(name, &keys, None, &[10, 50, 200])
}

/// Each key comes exactly twice, the second time after 1,000 other requests on average.
fn keys_seen_twice(name: &str) -> Trace {
    let mut random = Rng::with_seed(4);
    let mut later: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut keys = Vec::with_capacity(REQUESTS);
    let mut fresh = 0;
    while keys.len() < REQUESTS {
        if let Some(mut entry) = later.first_entry().filter(|entry| *entry.key() <= keys.len()) {
            keys.extend(entry.get_mut().pop());
            if entry.get().is_empty() {
                entry.remove();
            }
            continue;
        }
        let distance = 1.0 - 1_000.0 * (1.0 - random.f64()).ln();
        later.entry(keys.len() + distance as usize).or_default().push(fresh);
        keys.push(fresh);
        fresh += 1;
    }
    Trace::new(name, &keys, None, &[]).at_capacities(&[250, 500, 1_000])
}

/// What was used last is most likely used next, and nothing else counts: the depth in the order of
/// last use falls off exponentially, with a mean of 2,000. A tenth of the keys are new.
fn pure_recency(name: &str) -> Trace {
    let mut random = Rng::with_seed(5);
    // The most recently used one first.
    let mut order: VecDeque<u32> = VecDeque::new();
    let mut fresh = 0;
    let keys: Vec<u32> = (0..REQUESTS)
        .map(|_| {
            let depth = -2_000.0 * (1.0 - random.f64()).ln();
            let known = if random.u8(..10) == 0 { None } else { order.remove(depth as usize) };
            let key = known.unwrap_or_else(|| {
                fresh += 1;
                fresh - 1
            });
            order.push_front(key);
            order.truncate(30_000);
            key
        })
        .collect();
    Trace::new(name, &keys, None, &[]).at_capacities(&[500, 2_000, 5_000])
}

/// A loop over some thousandths more keys than the cache holds.
fn larger_loop(name: &str, more_permille: usize) -> Trace {
    const CAPACITY: usize = 2_000;
    let length = CAPACITY + CAPACITY * more_permille / 1000;
    let keys: Vec<usize> = (0..REQUESTS).map(|number| number % length).collect();
    Trace::new(name, &keys, None, &[]).at_capacities(&[CAPACITY])
}

/// Zipf 0.99, and after every 20,000 requests a scan of 5,000 keys that never come again.
fn scans(name: &str) -> Trace {
    let keys = requests(6, 0.99, |number, random, zipf| {
        if number % 25_000 >= 20_000 { FRESH + number as u64 } else { zipf.draw(random).into() }
    });
    Trace::new(name, &keys, None, &[]).at_capacities(&[500, 2_500, 10_000])
}

/// TTLs in seconds and their shares in percent, from `workloads.md`; what lacks of 100 % has the
/// last one.
type TtlMix = &'static [(u32, u32)];

const CLUSTER_4: TtlMix = &[(60, 39), (300, 24), (3_600, 13), (600, 12), (14_400, 9), (86_400, 3)];
const CLUSTER_26: TtlMix = &[(60, 67), (120, 10), (360, 9), (600, 6), (660, 3), (180, 2)];
const CLUSTER_29: TtlMix = &[(3_600, 67), (7_200, 33)];
const CLUSTER_37: TtlMix = &[(20, 91), (300, 6), (7_200, 2), (600, 1)];
const CLUSTER_52: TtlMix = &[(86_400, 65), (1_209_600, 27), (43_200, 7)];

/// Popularity and TTLs of a production cluster, at one request per five-thousandth of the most
/// frequent TTL, so that the trace spans a hundred of it. A key's TTL is always the same.
fn cluster(name: &str, alpha: f64, mix: TtlMix) -> Trace {
    let mut random = Rng::with_seed(7);
    let popularity = Zipf::new(KEYS, alpha);
    let step_us = u64::from(mix[0].0) * 1_000_000 / 5_000;
    let ttls_s: Vec<u32> = (0..KEYS).map(|_| ttl_of(mix, random.u32(..100))).collect();
    let keys: Vec<u32> = (0..REQUESTS).map(|_| popularity.draw(&mut random)).collect();
    let times = keys.iter().zip(0..).map(|(&key, number)| Timing {
        at: Duration::from_millis(number * step_us / 1000),
        ttl: Duration::from_secs(ttls_s[key as usize].into()),
    });
    let times = times.collect();
    Trace::new(name, &keys, Some(times), &[10, 50, 200])
}

fn ttl_of(mix: TtlMix, percent: u32) -> u32 {
    let mut passed = 0;
    for &(ttl_s, share) in mix {
        passed += share;
        if percent < passed {
            return ttl_s;
        }
    }
    mix.last().expect("a mix has TTLs").0
}
