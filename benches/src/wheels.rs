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

use punctual_figures::record::TimersResult;
use punctual_figures::subject::{Kind, Subject as Description};
use tokio_util::time::DelayQueue;

use crate::progress;
use crate::slot_id::SlotId;
use crate::speed::keys::shuffled;
use crate::wheel::deadline::PackedDeadline;
use crate::wheel::level::ListId;
use crate::wheel::{Timers, Wheel};

const TIMERS: usize = 1_000_000;
const ROUNDS: usize = 5;
/// Deadlines are spread over an hour, in steps of 10 ms: punctual's default resolution.
const HOUR_TICKS: u64 = 3600 * 100;
const TICK: Duration = Duration::from_millis(10);

pub(crate) const OURS: &str = "punctual's wheel";
pub(crate) const DELAY_QUEUE: &str = "tokio-util DelayQueue";

/// Runs one of them with deadlines and the order of cancelling: how long inserting, cancelling and
/// expiring took.
type Run = fn(&[u64], &[u64]) -> [Duration; 3];

const SUBJECTS: [(&str, Kind, Run); 3] = [
    (OURS, Kind::Variant, ours),
    (DELAY_QUEUE, Kind::Peer, delay_queue),
    ("BTreeMap of deadlines", Kind::Map, sorted_map),
];

/// The timers, as records have them.
pub(crate) fn descriptions() -> impl Iterator<Item = Description> {
    SUBJECTS.into_iter().map(|(name, kind, _)| Description::new(name, kind, true))
}

/// Runs all of them, round by round.
pub(crate) fn compare() -> Vec<TimersResult> {
    progress::step("wheel");
    let mut random = fastrand::Rng::with_seed(44);
    let deadlines: Vec<u64> = (0..TIMERS).map(|_| random.u64(1..=HOUR_TICKS)).collect();
    let order = shuffled(TIMERS);
    let mut timers = SUBJECTS
        .map(|(name, ..)| TimersResult { subject: name.to_owned(), ..TimersResult::default() });
    for _ in 0..ROUNDS {
        for ((.., run), result) in SUBJECTS.iter().zip(&mut timers) {
            for (rounds, time) in result.rounds.iter_mut().zip(run(&deadlines, &order)) {
                rounds.push(time.as_nanos() as f64 / TIMERS as f64);
            }
        }
    }
    timers.into()
}

/// Links and deadlines as the cache's slots hold them.
#[derive(Clone, Copy)]
struct Links {
    packed_deadline: PackedDeadline,
    list: ListId,
    next: Option<SlotId>,
    previous: Option<SlotId>,
    is_linked: bool,
}

struct Slots(Vec<Links>);

impl Timers for Slots {
    fn packed_deadline(&self, id: SlotId) -> PackedDeadline {
        self.0[id.index()].packed_deadline
    }
    fn set_packed_deadline(&mut self, id: SlotId, packed_deadline: PackedDeadline) {
        self.0[id.index()].packed_deadline = packed_deadline;
    }
    fn list(&self, id: SlotId) -> ListId {
        self.0[id.index()].list
    }
    fn set_list(&mut self, id: SlotId, list: ListId) {
        self.0[id.index()].list = list;
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
        links.is_linked = true;
    }
    fn set_previous(&mut self, id: SlotId, previous: Option<SlotId>) {
        self.0[id.index()].previous = previous;
    }
    fn is_linked(&self, id: SlotId) -> bool {
        self.0[id.index()].is_linked
    }
    fn set_unlinked(&mut self, id: SlotId) {
        self.0[id.index()].is_linked = false;
    }
}

impl Slots {
    fn unfiled(timers: usize) -> Self {
        let (packed_deadline, list) = (PackedDeadline::from_bits(0), ListId::from_bits(0));
        Self(vec![
            Links { packed_deadline, list, next: None, previous: None, is_linked: false };
            timers
        ])
    }
}

/// The wheel with timers spread over the next hour, and some that are not filed, as many as are
/// filed, moved or taken out at a time.
pub(crate) struct FilledWheel {
    slots: Slots,
    wheel: Wheel,
    now: u64,
    filed: usize,
    at_a_time: usize,
    random: fastrand::Rng,
}

impl FilledWheel {
    pub(crate) fn new(filed: usize, at_a_time: usize) -> Self {
        let slots = Slots::unfiled(filed + at_a_time);
        let random = fastrand::Rng::with_seed(49);
        let mut this =
            Self { slots, wheel: Wheel::new(TIMERS, 0), now: 0, filed, at_a_time, random };
        for number in 0..filed {
            let deadline = this.deadline();
            this.wheel.insert(&mut this.slots, SlotId::new(number), deadline, this.now);
        }
        this
    }

    fn deadline(&mut self) -> u64 {
        self.now + self.random.u64(1..=HOUR_TICKS)
    }

    fn deadlines(&mut self) -> Vec<u64> {
        (0..self.at_a_time).map(|_| self.deadline()).collect()
    }

    fn file_those_left(&mut self) -> Duration {
        let deadlines = self.deadlines();
        time(|| {
            for (number, deadline) in (self.filed..).zip(deadlines) {
                self.wheel.insert(&mut self.slots, SlotId::new(number), deadline, self.now);
            }
        })
    }

    fn take_those_out(&mut self) -> Duration {
        time(|| {
            for number in self.filed..self.filed + self.at_a_time {
                self.wheel.remove(&mut self.slots, SlotId::new(number));
            }
        })
    }

    pub(crate) fn insert(&mut self) -> Duration {
        let took = self.file_those_left();
        self.take_those_out();
        took
    }

    pub(crate) fn cancel(&mut self) -> Duration {
        self.file_those_left();
        self.take_those_out()
    }

    pub(crate) fn reschedule(&mut self) -> Duration {
        let ids: Vec<usize> =
            (0..self.at_a_time).map(|_| self.random.usize(..self.filed)).collect();
        let deadlines = self.deadlines();
        time(|| {
            for (number, deadline) in ids.into_iter().zip(deadlines) {
                self.wheel.reschedule(&mut self.slots, SlotId::new(number), deadline, self.now);
            }
        })
    }

    /// Those left are filed in a slot of the level above, and time goes on to its start, where each is
    /// moved down, and none is due yet.
    pub(crate) fn cascade(&mut self) -> Duration {
        /// Ticks that a slot of that level is long.
        const SLOT_TICKS: u64 = 64 * 64;
        let start_of_slot = (self.now / SLOT_TICKS + 1) * SLOT_TICKS;
        for number in self.filed..self.filed + self.at_a_time {
            let deadline = start_of_slot + self.random.u64(1..SLOT_TICKS);
            self.wheel.insert(&mut self.slots, SlotId::new(number), deadline, self.now);
        }
        self.now = start_of_slot;
        let mut budget = usize::MAX;
        let start = Instant::now();
        let due = self.wheel.pop_expired(&mut self.slots, self.now, &mut budget);
        let took = start.elapsed();
        assert!(due.is_none(), "nothing is due yet");
        assert_eq!(usize::MAX - budget, self.at_a_time, "each is moved once");
        self.take_those_out();
        took
    }

    /// Time goes on until so many have expired; each is filed again, untimed.
    pub(crate) fn expire(&mut self) -> Duration {
        let (mut took, mut expired) = (Duration::ZERO, 0);
        while expired < self.at_a_time {
            self.now += HOUR_TICKS / 100;
            let mut out = Vec::with_capacity(self.filed / 50);
            let mut budget = usize::MAX;
            let start = Instant::now();
            while let Some(id) = self.wheel.pop_expired(&mut self.slots, self.now, &mut budget) {
                out.push(id);
            }
            took += start.elapsed();
            expired += out.len();
            for id in out {
                let deadline = self.deadline();
                self.wheel.insert(&mut self.slots, id, deadline, self.now);
            }
        }
        took.mul_f64(self.at_a_time as f64 / expired as f64)
    }
}

/// How long something takes.
fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn ours(deadlines: &[u64], order: &[u64]) -> [Duration; 3] {
    let mut slots = Slots::unfiled(TIMERS);
    let filled = |slots: &mut Slots| {
        let mut wheel = Wheel::new(TIMERS, 0);
        let took = time(|| {
            for (number, &deadline) in deadlines.iter().enumerate() {
                wheel.insert(slots, SlotId::new(number), deadline, 0);
            }
        });
        (wheel, took)
    };
    let (mut wheel, insert) = filled(&mut slots);
    let cancel = time(|| {
        for &number in order {
            wheel.remove(&mut slots, SlotId::new(number as usize));
        }
    });
    let (mut wheel, _) = filled(&mut slots);
    let (mut expired, mut budget) = (0, usize::MAX);
    let expire = time(|| {
        while let Some(id) = wheel.pop_expired(&mut slots, HOUR_TICKS, &mut budget) {
            black_box(id);
            expired += 1;
        }
    });
    assert_eq!(expired, TIMERS, "every timer has to expire");
    [insert, cancel, expire]
}

fn sorted_map(deadlines: &[u64], order: &[u64]) -> [Duration; 3] {
    let filled = || {
        let mut map: BTreeMap<(u64, u32), ()> = BTreeMap::new();
        let took = time(|| map.extend(deadlines.iter().copied().zip(0..).map(|key| (key, ()))));
        (map, took)
    };
    let (mut map, insert) = filled();
    let cancel = time(|| {
        for &number in order {
            map.remove(&(deadlines[number as usize], number as u32));
        }
    });
    assert!(map.is_empty(), "every timer has to be cancelled");
    let (mut map, _) = filled();
    let expire = time(|| {
        while let Some(first) = map.pop_first() {
            black_box(first);
        }
    });
    [insert, cancel, expire]
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
        let cancel = time(|| {
            for &number in order {
                queue.remove(&keys[number as usize]);
            }
        });

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
