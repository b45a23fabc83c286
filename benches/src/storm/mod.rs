//! A storm: 500,000 entries fall due together, while a loop goes on calling the cache.
//!
//! Every call of the loop is timed. What is due after days in which nobody called is apart, in
//! simulated time.

mod after_days;
mod reap_limits;

use std::hint::black_box;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use punctual_figures::record::{Latencies, Storm};

use crate::progress;
use crate::stopwatch::TimedBy;
use crate::subjects::Subject;
use crate::subjects::registry::{Visitor, Who};
use crate::subjects::time::RealTime;

const DUE: u64 = 500_000;
const LIVING: u64 = 50_000;
/// When the entries fall due, counted from the start of filling.
const DUE_AFTER: Duration = Duration::from_secs(2);
/// The loop starts so long before the storm, and ends so long after.
const BEFORE: Duration = Duration::from_millis(200);
const AFTER: Duration = Duration::from_millis(1_000);
const LONG: Duration = Duration::from_secs(3600);

const CAPACITY: usize = (DUE + LIVING) as usize * 21 / 20;

/// The marks, and everyone whose entries leave: the loop without a cache, and the fastest peer, for
/// which there is no storm.
fn entrants() -> impl Iterator<Item = Who> {
    let expiring = Who::regular().filter(|who| who.facts().expires);
    [Who::Nothing, Who::QuickCache].into_iter().chain(expiring)
}

/// With a remark, where a cache has nothing to free.
fn name(who: Who, remark: &str) -> String {
    if who == Who::QuickCache { format!("{}, {remark}", who.name()) } else { who.name().to_owned() }
}

fn latencies(subject: String, nanos: &Histogram<u64>) -> Latencies {
    let at = [0.5, 0.99, 0.999, 0.9999, 1.0].map(|share| nanos.value_at_quantile(share));
    Latencies { subject, calls: nanos.len() as usize, nanos: at }
}

/// The latencies of one subject's calls around its storm.
pub(crate) fn measure(who: Who, by: TimedBy) -> Latencies {
    // With one TTL for all, which counts from each entry's insert, the storm is as long as filling.
    let nanos = who.visit(CAPACITY, DUE_AFTER, &RealTime, Weather { by });
    latencies(name(who, "no storm"), &nanos)
}

/// The latencies of all subjects, as callers feel them.
pub(crate) fn run() -> Storm {
    let due_together = entrants().map(|who| {
        progress::step(&format!("storm: {}", who.name()));
        measure(who, TimedBy::WallClock)
    });
    let due_together = due_together.collect();
    progress::step("storm: after idle days");
    let after_days = after_days::run();
    progress::step("storm: reap_limit");
    Storm { due_together, after_days, reap_limits: reap_limits::run() }
}

/// Fills the subject and times the calls of the loop.
struct Weather {
    by: TimedBy,
}

impl Visitor<u64, u64> for Weather {
    type Output = Histogram<u64>;

    fn single(self, mut subject: impl Subject<u64, u64>) -> Histogram<u64> {
        let start = Instant::now();
        for key in 0..DUE {
            // However slow the machine: a TTL of zero would not be stored at all.
            let ttl = DUE_AFTER.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
            subject.insert(key, key, ttl);
            if key % 256 == 0 {
                subject.settle();
            }
        }
        for key in DUE..DUE + LIVING {
            subject.insert(key, key, LONG);
        }
        subject.settle();
        // Those with one TTL for all have their last deadline so long after their last insert.
        let end = Instant::now() + DUE_AFTER + AFTER;
        let wait = (DUE_AFTER - BEFORE).saturating_sub(start.elapsed());
        std::thread::sleep(wait);

        let mut calls = Calls::new();
        // The end is looked at now and then only, to leave the clock to the calls.
        while Instant::now() < end {
            calls.make(&mut subject, self.by);
        }
        calls.nanos
    }
}

/// Calls one by one, each timed: nine of ten look up any key, the tenth overwrites one that lives.
struct Calls {
    random: fastrand::Rng,
    nanos: Histogram<u64>,
}

impl Calls {
    const AT_ONCE: usize = 4096;

    fn new() -> Self {
        let nanos = Histogram::new(3).expect("three digits are possible");
        Self { random: fastrand::Rng::with_seed(45), nanos }
    }

    fn make(&mut self, subject: &mut impl Subject<u64, u64>, by: TimedBy) {
        for _ in 0..Self::AT_ONCE {
            let is_write = self.random.u8(..10) == 0;
            let keys = if is_write { DUE..DUE + LIVING } else { 0..DUE + LIVING };
            let key = self.random.u64(keys);
            let before = by.now();
            if is_write {
                subject.insert(key, key, LONG);
            } else {
                subject.get(&key, |value| _ = black_box(value));
            }
            let took = by.now().saturating_sub(before);
            self.nanos += took.as_nanos() as u64;
        }
    }
}
