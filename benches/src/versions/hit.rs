//! Prints the nanoseconds of a hit in a cache of so many entries, the median of some rounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use punctual::Cache;

const CALLS: usize = 1_000_000;
const ROUNDS: usize = 15;

fn main() {
    let entries: u64 = std::env::args().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    let cache: Cache<u64, u64> =
        Cache::builder().capacity(entries as usize * 11 / 10).build().expect("it is possible");
    let mut random = fastrand::Rng::with_seed(1);
    for key in 0..entries {
        // Something is due or to be cascaded all the time.
        cache.insert_with_ttl(key, key, Duration::from_millis(random.u64(600_000..3_600_000)));
    }
    let keys: Vec<u64> = (0..CALLS).map(|_| random.u64(..entries)).collect();
    let mut nanos: Vec<f64> = (0..=ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for key in &keys {
                black_box(cache.get(key));
            }
            start.elapsed().as_nanos() as f64 / CALLS as f64
        })
        .collect();
    // The first round warms up.
    nanos.remove(0);
    nanos.sort_by(f64::total_cmp);
    println!("{}", nanos[ROUNDS / 2]);
}
