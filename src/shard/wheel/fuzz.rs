//! Runs scripts on a wheel and compares it with a sorted set of deadlines.

use std::collections::BTreeSet;

use arbitrary::Arbitrary;

use super::check::expected_deadline;
use super::level::*;
use super::*;

const TIMERS: usize = 32;

/// The furthest deadline there is, in ticks from now.
const HORIZON: u64 = 1 << 52;

#[derive(Arbitrary, Debug)]
pub(crate) struct Script {
    is_narrow: bool,
    origin: Origin,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Origin {
    Zero,
    /// This number of ticks before a carry into a bit.
    Before {
        bit: u8,
        ticks: u16,
    },
    Any(u64),
}

#[derive(Arbitrary, Debug)]
enum Step {
    Insert { timer: u8, deadline: Tick },
    Reschedule { timer: u8, deadline: Tick },
    Remove { timer: u8 },
    Pop { budget: u8 },
    Advance { to: Tick },
    GoBack { ticks: u16 },
}

/// A tick at or beside one that a wheel could get wrong.
#[derive(Arbitrary, Debug)]
enum Tick {
    After(u16),
    AfterPowerOf2 { bit: u8, offset: i8 },
    Boundary { level: u8, offset: i8 },
    OfTimer { timer: u8, offset: i8 },
    WakeUp { offset: i8 },
    Any(u64),
}

#[derive(Clone)]
struct Timer {
    packed_deadline: PackedDeadline,
    list: ListId,
    next: Option<TimerId>,
    previous: Option<TimerId>,
    is_linked: bool,
}

struct Table(Vec<Timer>);

impl Timers for Table {
    fn packed_deadline(&self, id: TimerId) -> PackedDeadline {
        self.0[id.index()].packed_deadline
    }
    fn set_packed_deadline(&mut self, id: TimerId, packed_deadline: PackedDeadline) {
        self.0[id.index()].packed_deadline = packed_deadline;
    }
    fn list(&self, id: TimerId) -> ListId {
        assert!(self.is_linked(id), "{id:?} is in no list");
        self.0[id.index()].list
    }
    fn set_list(&mut self, id: TimerId, list: ListId) {
        self.0[id.index()].list = list;
    }
    fn next(&self, id: TimerId) -> Option<TimerId> {
        assert!(self.is_linked(id), "{id:?} is in no list");
        self.0[id.index()].next
    }
    fn previous(&self, id: TimerId) -> Option<TimerId> {
        assert!(self.is_linked(id), "{id:?} is in no list");
        self.0[id.index()].previous
    }
    fn set_next(&mut self, id: TimerId, next: Option<TimerId>) {
        let timer = &mut self.0[id.index()];
        timer.next = next;
        timer.is_linked = true;
    }
    fn set_previous(&mut self, id: TimerId, previous: Option<TimerId>) {
        self.0[id.index()].previous = previous;
    }
    fn is_linked(&self, id: TimerId) -> bool {
        self.0[id.index()].is_linked
    }
    fn set_unlinked(&mut self, id: TimerId) {
        assert!(self.is_linked(id), "{id:?} is unlinked twice");
        self.0[id.index()].is_linked = false;
    }
}

struct Run {
    wheel: Wheel,
    table: Table,
    now: u64,
    /// The latest that `now` has been: it may go back.
    latest: u64,
    /// The deadline of each linked timer, and the same in order.
    deadlines: [Option<u64>; TIMERS],
    sorted: BTreeSet<(u64, usize)>,
}

pub(crate) fn run(script: Script) {
    let origin = match script.origin {
        Origin::Zero => 0,
        Origin::Before { bit, ticks } => (1u64 << (bit % 64)).saturating_sub(ticks.into()),
        Origin::Any(tick) => tick,
    }
    .min(u64::MAX - 1);
    let levels = if script.is_narrow { &NARROW } else { &WIDE };
    let timer = Timer {
        packed_deadline: PackedDeadline::from_bits(0),
        list: ListId::from_bits(0),
        next: None,
        previous: None,
        is_linked: false,
    };
    let mut run = Run {
        wheel: Wheel::of_levels(levels, origin),
        table: Table(vec![timer; TIMERS]),
        now: origin,
        latest: origin,
        deadlines: [None; TIMERS],
        sorted: BTreeSet::new(),
    };
    for step in script.steps {
        run.step(step);
        run.check();
    }
    run.end();
}

impl Run {
    fn step(&mut self, step: Step) {
        match step {
            Step::Insert { timer, deadline } => {
                let timer = usize::from(timer) % TIMERS;
                let deadline = self.deadline(&deadline);
                self.forget(timer);
                self.wheel.remove(&mut self.table, TimerId::new(timer));
                let state = (self.wheel.has_work(self.now), self.wheel.elapsed);
                self.wheel.insert(&mut self.table, TimerId::new(timer), deadline, self.now);
                self.note(timer, deadline, state);
            }
            Step::Reschedule { timer, deadline } => {
                let timer = usize::from(timer) % TIMERS;
                let deadline = self.deadline(&deadline);
                self.forget(timer);
                let state = (self.wheel.has_work(self.now), self.wheel.elapsed);
                self.wheel.reschedule(&mut self.table, TimerId::new(timer), deadline, self.now);
                self.note(timer, deadline, state);
            }
            Step::Remove { timer } => {
                let timer = usize::from(timer) % TIMERS;
                self.forget(timer);
                self.wheel.remove(&mut self.table, TimerId::new(timer));
            }
            Step::Pop { budget } => {
                let mut budget = usize::from(budget);
                while self.pop(&mut budget) {}
            }
            Step::Advance { to } => {
                // The last tick means never.
                self.now = self.tick(&to).max(self.now).min(u64::MAX - 1);
                self.latest = self.latest.max(self.now);
            }
            Step::GoBack { ticks } => self.now = self.now.saturating_sub(ticks.into()),
        }
    }

    fn tick(&self, tick: &Tick) -> u64 {
        match *tick {
            Tick::After(ticks) => self.now.saturating_add(ticks.into()),
            Tick::AfterPowerOf2 { bit, offset } => {
                self.now.saturating_add(1 << (bit % 64)).saturating_add_signed(offset.into())
            }
            Tick::Boundary { level, offset } => {
                let Levels { digit_bits, .. } = *self.wheel.levels;
                let level = u32::from(level) % self.wheel.levels.count() as u32;
                let width = 1u64 << (level * digit_bits);
                let boundary = (self.now | (width - 1)).saturating_add(1);
                boundary.saturating_add_signed(offset.into())
            }
            Tick::OfTimer { timer, offset } => {
                let deadline = self.deadlines[usize::from(timer) % TIMERS].unwrap_or(self.now);
                deadline.saturating_add_signed(offset.into())
            }
            Tick::WakeUp { offset } => {
                let wake_up = self.wheel.next_expiry(&self.table).unwrap_or(self.now);
                wake_up.saturating_add_signed(offset.into())
            }
            Tick::Any(tick) => tick,
        }
    }

    /// Returns a deadline that a cache could come to: not after the horizon.
    fn deadline(&self, tick: &Tick) -> u64 {
        self.tick(tick).min(self.now.saturating_add(HORIZON))
    }

    fn forget(&mut self, timer: usize) {
        if let Some(deadline) = self.deadlines[timer].take() {
            assert!(self.sorted.remove(&(deadline, timer)));
        }
    }

    fn note(&mut self, timer: usize, deadline: u64, (had_work, elapsed): (bool, u64)) {
        self.deadlines[timer] = Some(deadline);
        // Where it has caught up, deadlines far ahead may have been rounded up.
        if had_work && self.wheel.elapsed != elapsed {
            (0..TIMERS).for_each(|timer| self.round(timer));
        } else {
            self.round(timer);
        }
    }

    fn round(&mut self, timer: usize) {
        let Some(deadline) = self.deadlines[timer] else { return };
        let actual = self.wheel.deadline(&self.table, TimerId::new(timer));
        let rounded = expected_deadline(deadline, actual, self.wheel.elapsed, self.now);
        self.sorted.remove(&(deadline, timer));
        self.sorted.insert((rounded, timer));
        self.deadlines[timer] = Some(rounded);
    }

    fn pop(&mut self, budget: &mut usize) -> bool {
        let before = *budget;
        let popped = self.wheel.pop_expired(&mut self.table, self.now, budget);
        assert!(*budget <= before, "{before} became {budget}");
        if let Some(id) = popped {
            let deadline = self.deadlines[id.index()].expect("only linked timers are popped");
            assert!(deadline <= self.now, "{id:?} is popped early");
            assert!(*budget < before, "{id:?} cost nothing");
            self.forget(id.index());
        } else if *budget > 0 {
            assert!(!self.wheel.has_work(self.now), "work is left undone");
            assert!(self.first().is_none_or(|first| first > self.now), "a due timer is left");
        }
        self.check();
        popped.is_some()
    }

    /// Returns the first deadline as the wheel has it: one before `elapsed` counts as
    /// `elapsed`.
    fn first(&self) -> Option<u64> {
        self.sorted.first().map(|&(deadline, _)| deadline.max(self.wheel.elapsed))
    }

    fn check(&self) {
        let linked = self.wheel.check(&self.table);
        assert!(linked.iter().copied().eq((0..TIMERS).filter(|&it| self.deadlines[it].is_some())));
        let elapsed = self.wheel.elapsed;
        assert!(elapsed <= self.latest, "advanced to {elapsed}, beyond {}", self.latest);
        for &(deadline, timer) in &self.sorted {
            let id = TimerId::new(timer);
            let deadline = deadline.max(elapsed);
            assert_eq!(self.wheel.deadline(&self.table, id), deadline, "{id:?}");
            assert_eq!(self.wheel.is_due(&self.table, id, self.now), deadline <= self.now);
            let until = self.now.saturating_add(256);
            let may_be_due = self.wheel.may_be_due_by(&self.table, id, self.now, until);
            assert!(may_be_due || deadline > until, "{id:?}");
        }
        let (wake_up, first) = (self.wheel.next_expiry(&self.table), self.first());
        assert_eq!(wake_up.is_some(), first.is_some());
        assert!(wake_up <= first, "woken up at {wake_up:?} for {first:?}");
        assert!(wake_up.is_none_or(|tick| self.wheel.has_work(tick)), "woken up for nothing");
    }

    /// Waking up at each `next_expiry`, with the smallest budget, pops every timer in time.
    fn end(&mut self) {
        self.now = self.latest;
        while let Some(wake_up) =
            self.wheel.next_expiry(&self.table).filter(|&tick| tick != u64::MAX)
        {
            self.now = wake_up.max(self.now);
            self.latest = self.now;
            while self.wheel.has_work(self.now) {
                self.pop(&mut 1);
            }
            assert!(self.first().is_none_or(|first| first > self.now));
        }
        assert!(self.sorted.iter().all(|&(deadline, _)| deadline == u64::MAX));
    }
}
