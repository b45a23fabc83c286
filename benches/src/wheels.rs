//! Timers alone: punctual's wheel, tokio-util's `DelayQueue`, and a sorted map of deadlines.
//!
//! A million timers with deadlines spread over an hour are put in, and either all cancelled in
//! another order or all expired at one go, each of them handed out.
//!
//! The wheel is private to the crate, so its source is compiled in here, as it stands there.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_util::time::DelayQueue;

use crate::slot_id::SlotId;
use crate::speed::keys::shuffled;
use crate::wheel::{Stamp, Timers, Wheel};

const TIMERS: usize = 1_000_000;
const ROUNDS: usize = 5;
/// Deadlines are spread over an hour, in steps of 10 ms: punctual's default resolution.
const HOUR_TICKS: u64 = 3600 * 100;
const TICK: Duration = Duration::from_millis(10);

pub(crate) const OURS: &str = "punctual's wheel";
pub(crate) const DELAY_QUEUE: &str = "tokio-util DelayQueue";
const SORTED_MAP: &str = "BTreeMap of deadlines";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Insert,
    Cancel,
    Expire,
}

impl Phase {
    pub(crate) const ALL: [Self; 3] = [Self::Insert, Self::Cancel, Self::Expire];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Cancel => "cancel",
            Self::Expire => "expire, cascades included",
        }
    }
}

/// Nanoseconds for a timer in each phase, of each round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct WheelResult {
    pub(crate) subject: String,
    rounds: Vec<[f64; 3]>,
}

impl WheelResult {
    pub(crate) fn median_nanos(&self, phase: Phase) -> f64 {
        let mut nanos: Vec<f64> = self.rounds.iter().map(|round| round[phase as usize]).collect();
        nanos.sort_by(f64::total_cmp);
        nanos[nanos.len() / 2]
    }
}

/// Runs one of them with deadlines and the order of cancelling: how long each phase took.
type Run = fn(&[u64], &[u64]) -> [Duration; 3];

/// Runs all of them, round by round.
pub(crate) fn compare() -> Vec<WheelResult> {
    let mut random = fastrand::Rng::with_seed(44);
    let deadlines: Vec<u64> = (0..TIMERS).map(|_| random.u64(1..=HOUR_TICKS)).collect();
    let order = shuffled(TIMERS);
    let subjects: [(&str, Run); 3] =
        [(OURS, ours), (DELAY_QUEUE, delay_queue), (SORTED_MAP, sorted_map)];
    let mut results =
        subjects.map(|(name, _)| WheelResult { subject: name.to_owned(), rounds: Vec::new() });
    for _ in 0..ROUNDS {
        for ((_, run), result) in subjects.iter().zip(&mut results) {
            let times = run(&deadlines, &order);
            result.rounds.push(times.map(|time| time.as_nanos() as f64 / TIMERS as f64));
        }
    }
    results.into()
}

/// Links and deadlines as the cache's slots hold them.
#[derive(Clone, Copy)]
struct Links {
    stamp: Stamp,
    next: Option<SlotId>,
    previous: Option<SlotId>,
    is_filed: bool,
}

struct Slots(Vec<Links>);

impl Timers for Slots {
    fn stamp(&self, id: SlotId) -> Stamp {
        self.0[id.index()].stamp
    }
    fn set_stamp(&mut self, id: SlotId, stamp: Stamp) {
        self.0[id.index()].stamp = stamp;
    }
    fn next(&self, id: SlotId) -> Option<SlotId> {
        self.0[id.index()].next
    }
    fn previous(&self, id: SlotId) -> Option<SlotId> {
        self.0[id.index()].previous
    }
    fn set_next(&mut self, id: SlotId, next: Option<SlotId>) {
        let links = &mut self.0[id.index()];
        links.next = next;
        links.is_filed = true;
    }
    fn set_previous(&mut self, id: SlotId, previous: Option<SlotId>) {
        self.0[id.index()].previous = previous;
    }
    fn is_filed(&self, id: SlotId) -> bool {
        self.0[id.index()].is_filed
    }
    fn set_unfiled(&mut self, id: SlotId) {
        self.0[id.index()].is_filed = false;
    }
}

fn ours(deadlines: &[u64], order: &[u64]) -> [Duration; 3] {
    let unfiled = Links { stamp: Stamp::from_bits(0), next: None, previous: None, is_filed: false };
    let mut slots = Slots(vec![unfiled; TIMERS]);
    let mut wheel = Wheel::new(0);
    let fill = |wheel: &mut Wheel, slots: &mut Slots| {
        let start = Instant::now();
        for (number, &deadline) in deadlines.iter().enumerate() {
            wheel.insert(slots, SlotId::new(number), deadline, 0);
        }
        start.elapsed()
    };
    let insert = fill(&mut wheel, &mut slots);
    let start = Instant::now();
    for &number in order {
        wheel.remove(&mut slots, SlotId::new(number as usize));
    }
    let cancel = start.elapsed();

    let mut wheel = Wheel::new(0);
    fill(&mut wheel, &mut slots);
    let start = Instant::now();
    let mut expired = 0;
    let mut budget = usize::MAX;
    while let Some(id) = wheel.pop_due(&mut slots, HOUR_TICKS, &mut budget) {
        black_box(id);
        expired += 1;
    }
    let expire = start.elapsed();
    assert_eq!(expired, TIMERS, "every timer has to expire");
    [insert, cancel, expire]
}

fn sorted_map(deadlines: &[u64], order: &[u64]) -> [Duration; 3] {
    let fill = || {
        let start = Instant::now();
        let map: BTreeMap<(u64, u32), ()> =
            deadlines.iter().zip(0..).fold(BTreeMap::new(), |mut map, (&deadline, number)| {
                map.insert((deadline, number), ());
                map
            });
        (start.elapsed(), map)
    };
    let (insert, mut map) = fill();
    let start = Instant::now();
    for &number in order {
        map.remove(&(deadlines[number as usize], number as u32));
    }
    let cancel = start.elapsed();
    assert!(map.is_empty(), "every timer has to be cancelled");
    let (_, mut map) = fill();
    let start = Instant::now();
    while let Some(first) = map.pop_first() {
        black_box(first);
    }
    [insert, cancel, start.elapsed()]
}

/// In tokio's paused time, so that an hour passes at once.
fn delay_queue(deadlines: &[u64], order: &[u64]) -> [Duration; 3] {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be had");
    runtime.block_on(async {
        let fill = |queue: &mut DelayQueue<u32>| {
            let start = Instant::now();
            let keys: Vec<_> = deadlines
                .iter()
                .zip(0..)
                .map(|(&deadline, number)| queue.insert(number, TICK * deadline as u32))
                .collect();
            (start.elapsed(), keys)
        };
        let mut queue = DelayQueue::with_capacity(TIMERS);
        let (insert, keys) = fill(&mut queue);
        let start = Instant::now();
        for &number in order {
            queue.remove(&keys[number as usize]);
        }
        let cancel = start.elapsed();

        let mut queue = DelayQueue::with_capacity(TIMERS);
        fill(&mut queue);
        tokio::time::advance(TICK * HOUR_TICKS as u32 + TICK).await;
        let mut context = Context::from_waker(Waker::noop());
        let mut expired = 0;
        let start = Instant::now();
        loop {
            match queue.poll_expired(&mut context) {
                Poll::Ready(Some(entry)) => {
                    black_box(entry);
                    expired += 1;
                }
                Poll::Ready(None) => break,
                // tokio makes a task that polls a lot give way now and then.
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
        let expire = start.elapsed();
        assert_eq!(expired, TIMERS, "every timer has to expire");
        [insert, cancel, expire]
    })
}
