//! A load replayed: what was found, evicted and moved, in how many bytes.

use std::time::Duration;

use punctual::Stats;

use super::entrants::{Size, Who};
use super::mixes::Trace;
use super::real;

/// Warming up takes so much of the requests, which do not count.
const WARM_PERCENT: usize = 40;
/// What is put off is done after so many requests.
const REQUESTS_PER_SETTLING: usize = 256;
/// Bytes and entries are looked at after so many.
const REQUESTS_PER_LOOK: usize = 1_024;

#[derive(Clone, Debug, Default)]
pub(crate) struct Replayed {
    gets: u64,
    hits: u64,
    looks: f64,
    /// The sum over all looks.
    real_bytes: f64,
    live_bytes: f64,
    /// What each insertion has evicted, expired entries not included, and moved.
    pub(crate) evicted: Vec<u32>,
    pub(crate) moved: Vec<u32>,
    /// The most that one has moved beyond 64 KiB and eight times its size.
    pub(crate) moved_over: i64,
    pub(crate) inserted_bytes: u64,
}

impl Replayed {
    pub(crate) fn hit_percent(&self) -> f64 {
        100.0 * self.hits as f64 / self.gets as f64
    }

    /// In the mean.
    pub(crate) fn real_bytes(&self) -> f64 {
        self.real_bytes / self.looks
    }

    /// Keys and values, in the mean.
    pub(crate) fn live_bytes(&self) -> f64 {
        self.live_bytes / self.looks
    }
}

/// Replays a load. If it is watched, what each insertion evicts and moves is noted.
pub(crate) fn replay(trace: &Trace, who: Who, bytes: usize, is_watched: bool) -> Replayed {
    let mut replayed = Replayed::default();
    if is_watched {
        replayed.evicted.reserve(trace.len());
        replayed.moved.reserve(trace.len());
    }
    let before = real::kept();
    let size = Size { bytes, mean_entry: trace.mix.mean_entry() };
    let mut entrant = who.build(size);
    let mut last = Stats::default();
    let mut now = Duration::ZERO;
    let counts_from = trace.len() * WARM_PERCENT / 100;
    trace.each(|number, asked| {
        let counts = number >= counts_from;
        if number % REQUESTS_PER_SETTLING == 0 {
            entrant.settle();
            if is_watched {
                last = entrant.stats().unwrap_or_default();
            }
        }
        let is_hit = !asked.sets && entrant.get(asked.key);
        if counts && !asked.sets {
            replayed.gets += 1;
            replayed.hits += u64::from(is_hit);
        }
        if !is_hit {
            entrant.put(asked.key, asked.value, asked.ttl);
            now += trace.step;
            entrant.set_time(now);
            if is_watched {
                let stats = entrant.stats().unwrap_or_default();
                let since = stats.since(&last);
                last = stats;
                if !counts {
                    return;
                }
                replayed.evicted.push(since.evicted as u32);
                replayed.moved.push(since.bytes_moved as u32);
                let inserted_bytes = asked.key.len() + asked.value.len();
                let limit = (64 << 10) + 8 * inserted_bytes;
                let over = since.bytes_moved as i64 - limit as i64;
                replayed.moved_over = replayed.moved_over.max(over);
                replayed.inserted_bytes += inserted_bytes as u64;
            }
        }
        if counts && number % REQUESTS_PER_LOOK == 0 {
            replayed.looks += 1.0;
            replayed.real_bytes += (real::kept() - before) as f64;
            if let Some(stats) = entrant.stats() {
                replayed.live_bytes += stats.live_bytes as f64;
            }
        }
    });
    replayed
}

/// How many short replays look for the weight at which a peer takes the bytes of the budget.
const TRIES: usize = 5;
/// Those of peers that take longer, and whose memory does not grow in steps.
const TRIES_FEW: usize = 3;
/// By how much it may take more.
const OVER: f64 = 1.02;

/// Replays a load with about the greatest weight at which a peer really takes no more bytes than
/// the budget. `short` is a part of the load, with which that weight is looked for.
pub(crate) fn replay_in_same_bytes(trace: &Trace, short: &Trace, who: Who) -> Replayed {
    let budget = trace.mix.budget_bytes as f64;
    if matches!(who, Who::Ours(_)) {
        return replay(trace, who, trace.mix.budget_bytes, false);
    }
    let (mut fits, mut too_large) = (0.0, f64::INFINITY);
    let mut weight = budget * 0.8;
    let tries = if who == Who::QuickCache { TRIES } else { TRIES_FEW };
    for _ in 0..tries {
        let share = replay(short, who, weight as usize, false).real_bytes() / budget;
        if share <= OVER {
            fits = weight;
        } else {
            too_large = weight;
        }
        if share <= OVER && share > 0.98 {
            break;
        }
        // Memory grows in steps: what should fit may not.
        let scaled = weight / share;
        let is_between = scaled > fits * 1.01 && scaled < too_large * 0.99;
        weight = if is_between { scaled } else { f64::midpoint(fits, too_large.min(budget)) };
    }
    // A longer one may take more.
    let mut replayed = replay(trace, who, fits as usize, false);
    while replayed.real_bytes() > OVER * budget {
        fits *= 0.98 * budget / replayed.real_bytes();
        replayed = replay(trace, who, fits as usize, false);
    }
    replayed
}
