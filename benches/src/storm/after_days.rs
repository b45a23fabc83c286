//! A cache that nobody touched for days, in simulated time: half a million entries have fallen due
//! one by one, at every level of a wheel, and the first calls come upon them.
//!
//! Of those caches only that can be given a clock. moka, mini-moka, stretto and ttl_cache know the
//! system's alone.

use std::time::Duration;

use hdrhistogram::Histogram;
use punctual_figures::record::Latencies;

use super::{CAPACITY, Calls, DUE, LIVING, entrants, latencies, name};
use crate::stopwatch::TimedBy;
use crate::subjects::Subject;
use crate::subjects::registry::{Visitor, Who};
use crate::subjects::time::SimulatedTime;

const DAY: Duration = Duration::from_secs(24 * 3600);
const IDLE: Duration = Duration::from_secs(3 * 24 * 3600);
const OUTLIVES_IT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time goes on while calls are made.
const STEP: Duration = Duration::from_millis(1);
/// So many times as many as are made at once.
const BATCHES: u32 = 500;

pub(super) fn run() -> Vec<Latencies> {
    let lives_in_simulated_time = |who: &Who| who.facts().takes_clock || !who.facts().expires;
    let measured = entrants().filter(lives_in_simulated_time).map(|who| {
        let time = SimulatedTime::with_seed(1);
        let nanos = who.visit(CAPACITY, OUTLIVES_IT, &time, TouchedAgain { time: &time });
        latencies(name(who, "nothing due"), &nanos)
    });
    measured.collect()
}

/// Fills the subject, lets the days pass, and times calls.
struct TouchedAgain<'a> {
    time: &'a SimulatedTime,
}

impl Visitor<u64, u64> for TouchedAgain<'_> {
    type Output = Histogram<u64>;

    fn single(self, mut subject: impl Subject<u64, u64>) -> Histogram<u64> {
        self.time.set(Duration::ZERO);
        let mut random = fastrand::Rng::with_seed(48);
        for key in 0..DUE {
            let ttl_ms = random.u64(10..DAY.as_millis() as u64);
            subject.insert(key, key, Duration::from_millis(ttl_ms));
        }
        for key in DUE..DUE + LIVING {
            subject.insert(key, key, OUTLIVES_IT);
        }
        let mut calls = Calls::new();
        for batch in 0..BATCHES {
            self.time.set(IDLE + STEP * batch);
            calls.make(&mut subject, TimedBy::WallClock);
        }
        calls.nanos
    }
}
