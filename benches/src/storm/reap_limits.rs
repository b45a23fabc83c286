//! What `reap_limit` does: half a million strings due at once, and one thread that looks up others.
//!
//! Nobody frees but the calls. The same calls are made several times over, and of each only the
//! shortest time counts, which leaves the machine's own noise out.

use std::hint::black_box;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use punctual::{Cache, ManualClock};
use punctual_figures::record::ReapLimit;

use super::{DUE, LIVING, LONG};

const LIMITS: [usize; 6] = [1, 16, 64, 256, 1_024, 4_096];
const ROUNDS: usize = 5;
const TTL: Duration = Duration::from_secs(10);
/// Whether all are freed is looked at after so many calls.
const AT_ONCE: usize = 256;

pub(super) fn run() -> Vec<ReapLimit> {
    LIMITS.map(of).into()
}

fn of(limit: usize) -> ReapLimit {
    let mut shortest = calls(limit);
    for _ in 1..ROUNDS {
        for (shortest, nanos) in shortest.iter_mut().zip(calls(limit)) {
            *shortest = nanos.min(*shortest);
        }
    }
    let calls = shortest.len();
    shortest.sort_unstable();
    ReapLimit { limit, calls, median_nanos: shortest[calls / 2], max_nanos: shortest[calls - 1] }
}

/// The times of calls until all that was due is freed.
fn calls(limit: usize) -> Vec<u64> {
    let key = |number: u64| format!("session:{number:012}");
    let clock = ManualClock::new();
    let cache: Cache<String, String, FixedState> = Cache::builder()
        .capacity((DUE + LIVING) as usize * 12 / 11)
        .reap_limit(limit)
        .clock(clock.clone())
        .hasher(FixedState::with_seed(50))
        .build()
        .expect("the capacity is possible");
    for number in 0..DUE + LIVING {
        let ttl = if number < DUE { TTL } else { LONG };
        cache.insert_with_ttl(key(number), key(number), ttl);
    }
    clock.advance(2 * TTL);
    let others: Vec<String> = (DUE..DUE + LIVING).map(key).collect();
    let mut random = fastrand::Rng::with_seed(51);
    let mut nanos = Vec::new();
    while cache.len() > LIVING as usize {
        for _ in 0..AT_ONCE {
            let key = &others[random.usize(..others.len())];
            let start = Instant::now();
            cache.read(key, |value| _ = black_box(value));
            nanos.push(start.elapsed().as_nanos() as u64);
        }
    }
    nanos
}
