//! Replays a request trace through one cache.

use std::time::Duration;

use punctual::{BuildError, ManualClock};

use crate::replay::HEADROOM;
use crate::subject::{Deadlines, Original, Punctual, Subject};
use crate::trace::Request;

/// The most moments at which a replay looks how full the cache is. Looking walks the whole cache,
/// so a trace with more requests is looked at in evenly spaced ones.
pub(crate) const MOMENTS_MAX: usize = 20_000;

/// What a trace gave at one capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceRow {
    pub(crate) capacity: usize,
    pub(crate) original: Outcome,
    pub(crate) punctual: Outcome,
    /// What punctual says would do, with a headroom of [`HEADROOM`]; `None` if anything was
    /// evicted.
    pub(crate) recommended_capacity: Option<usize>,
}

impl TraceRow {
    /// Replays the trace through both caches. An error says that there can be no cache so large.
    pub(crate) fn replay(requests: &[Request], capacity: usize) -> Result<Self, BuildError> {
        let clock = ManualClock::new();
        let mut cache = Punctual::new(capacity, &clock)?;
        let punctual = replay(requests, capacity, &clock, &mut cache);
        let stats = cache.stats();

        let clock = ManualClock::new();
        let mut deadlines = Deadlines::new(capacity, requests.len());
        let mut cache = Original::new(capacity, &clock, &mut deadlines);
        let original = replay(requests, capacity, &clock, &mut cache);

        Ok(Self {
            capacity,
            original,
            punctual,
            recommended_capacity: stats.recommended_capacity(HEADROOM),
        })
    }
}

/// What a replay found. Entries are summed over the moments looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    requests: u64,
    hits: u64,
    places: u64,
    held: u64,
    live: u64,
}

impl Outcome {
    pub(crate) fn hit_ratio(&self) -> f64 {
        ratio(self.hits, self.requests)
    }

    /// Of the entries in memory, the share that no lookup would find.
    pub(crate) fn expired_share(&self) -> f64 {
        ratio(self.held - self.live, self.held)
    }

    /// Of the cache's places, the share that was taken, live or expired.
    pub(crate) fn occupancy(&self) -> f64 {
        ratio(self.held, self.places)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

/// The trace's time is the caches' time: `clock` has to be the one that `cache` was built with.
fn replay(
    requests: &[Request],
    capacity: usize,
    clock: &ManualClock,
    cache: &mut impl Subject<u64, ()>,
) -> Outcome {
    let requests_per_moment = requests.len().div_ceil(MOMENTS_MAX);
    let mut outcome = Outcome::default();
    for (index, request) in requests.iter().enumerate() {
        clock.set(request.at);
        cache.tick();
        if index % requests_per_moment == 0 {
            outcome.places += capacity as u64;
            outcome.held += cache.held() as u64;
            outcome.live += cache.live() as u64;
        }

        outcome.requests += 1;
        if cache.answers(&request.key) {
            outcome.hits += 1;
        } else if request.ttl > Duration::ZERO {
            // A TTL of zero says that the answer must not be kept.
            cache.store(request.key, (), request.ttl);
        }
    }
    outcome
}

/// Different keys in the trace.
pub(crate) fn distinct_keys(requests: &[Request]) -> usize {
    let mut keys: Vec<u64> = requests.iter().map(|request| request.key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.len()
}
