//! All tests but those of the pure functions go through a [`Simulation`], which compares
//! the wheel with a list of deadlines after every step. The `fault_` tests cover the
//! mistakes that timing wheels are known for, one each.

use std::cell::Cell;

use fastrand::Rng;

use super::check::expected_deadline;
use super::level::*;
use super::*;

/// The furthest deadline there is, in ticks from now.
const HORIZON: u64 = 1 << 52;

const UNLIMITED: usize = usize::MAX;

/// The most calls of [`Timers`] for inserting, removing, moving or popping one timer.
const CALLS_MAX: usize = 9;

#[derive(Clone)]
struct Timer {
    packed_deadline: PackedDeadline,
    list: ListId,
    next: Option<TimerId>,
    previous: Option<TimerId>,
    is_linked: bool,
    /// How often it was linked.
    linked_count: usize,
}

/// Timers that count the calls of the wheel.
struct Table {
    timers: Vec<Timer>,
    call_count: Cell<usize>,
    linked_count: usize,
    unlinked_count: usize,
}

impl Table {
    /// A link to no timer: following it panics.
    fn poison() -> Option<TimerId> {
        Some(TimerId::new(TimerId::COUNT_MAX - 1))
    }

    fn new(count: usize) -> Self {
        let timer = Timer {
            packed_deadline: PackedDeadline::from_bits(0),
            list: ListId::from_bits(0),
            next: Self::poison(),
            previous: Self::poison(),
            is_linked: false,
            linked_count: 0,
        };
        Self {
            timers: vec![timer; count],
            call_count: Cell::new(0),
            linked_count: 0,
            unlinked_count: 0,
        }
    }

    fn get(&self, id: TimerId) -> &Timer {
        self.call_count.set(self.call_count.get() + 1);
        &self.timers[id.index()]
    }

    fn get_mut(&mut self, id: TimerId) -> &mut Timer {
        *self.call_count.get_mut() += 1;
        &mut self.timers[id.index()]
    }
}

impl Timers for Table {
    fn packed_deadline(&self, id: TimerId) -> PackedDeadline {
        self.get(id).packed_deadline
    }

    fn set_packed_deadline(&mut self, id: TimerId, packed_deadline: PackedDeadline) {
        self.get_mut(id).packed_deadline = packed_deadline;
    }

    fn list(&self, id: TimerId) -> ListId {
        let timer = self.get(id);
        assert!(timer.is_linked, "{id:?} is in no list");
        timer.list
    }

    fn set_list(&mut self, id: TimerId, list: ListId) {
        self.get_mut(id).list = list;
    }

    fn next(&self, id: TimerId) -> Option<TimerId> {
        let timer = self.get(id);
        assert!(timer.is_linked, "{id:?} is in no list");
        timer.next
    }

    fn previous(&self, id: TimerId) -> Option<TimerId> {
        let timer = self.get(id);
        assert!(timer.is_linked, "{id:?} is in no list");
        timer.previous
    }

    fn set_next(&mut self, id: TimerId, next: Option<TimerId>) {
        let timer = self.get_mut(id);
        timer.next = next;
        if !timer.is_linked {
            timer.is_linked = true;
            timer.linked_count += 1;
            self.linked_count += 1;
        }
    }

    fn set_previous(&mut self, id: TimerId, previous: Option<TimerId>) {
        self.get_mut(id).previous = previous;
    }

    fn is_linked(&self, id: TimerId) -> bool {
        self.get(id).is_linked
    }

    fn set_unlinked(&mut self, id: TimerId) {
        let timer = self.get_mut(id);
        assert!(timer.is_linked, "{id:?} is unlinked twice");
        timer.is_linked = false;
        timer.next = Self::poison();
        timer.previous = Self::poison();
        self.unlinked_count += 1;
    }
}

/// A wheel, its timers, the time, and the deadlines that the wheel should have.
struct Simulation {
    wheel: Wheel,
    timers: Table,
    now: u64,
    /// The latest that `now` has been: it may go back.
    latest: u64,
    /// The deadline of each timer; `None` if it is not linked.
    deadlines: Vec<Option<u64>>,
    origin: u64,
    seed: Option<u64>,
    step_count: usize,
    catch_up_count: usize,
}

impl Simulation {
    fn new(levels: &'static Levels, origin: u64, count: usize) -> Self {
        Self {
            wheel: Wheel::of_levels(levels, origin),
            timers: Table::new(count),
            now: origin,
            latest: origin,
            deadlines: vec![None; count],
            origin,
            seed: None,
            step_count: 0,
            catch_up_count: 0,
        }
    }

    fn set_now(&mut self, now: u64) {
        self.now = now;
        self.latest = self.latest.max(now);
        self.check_answers();
    }

    fn insert(&mut self, timer: usize, deadline: u64) {
        let elapsed = self.wheel.elapsed;
        let call_count = self.timers.call_count.get();
        let is_any_due = self.wheel_deadlines().any(|deadline| deadline <= self.now);
        let linked_count = self.deadlines.iter().flatten().count();
        let had_work = self.wheel.has_work(self.now);

        self.wheel.insert(&mut self.timers, TimerId::new(timer), deadline, self.now);
        let call_count = self.timers.call_count.get() - call_count;
        self.note(timer, deadline, elapsed);

        // Only a wheel that catches up may touch other timers.
        let is_late = self.now.saturating_sub(elapsed) > PackedDeadline::CATCH_UP_TICKS;
        let touched_max = if is_late { linked_count + 1 } else { 1 };
        assert!(call_count <= CALLS_MAX * touched_max, "{call_count} calls");
        let has_work = self.wheel.has_work(self.now);
        // But for a list that has started, and now has to be taken apart.
        let is_alone = self.timers.next(TimerId::new(timer)).is_none();
        let may_have_work = had_work || deadline <= self.now || !is_alone;
        assert!(may_have_work || !has_work, "work before the deadline");
        self.catch_up_count += usize::from(is_any_due && self.wheel.elapsed != elapsed);
        self.check();
    }

    fn remove(&mut self, timer: usize) {
        let call_count = self.timers.call_count.get();
        self.wheel.remove(&mut self.timers, TimerId::new(timer));
        self.deadlines[timer] = None;
        let call_count = self.timers.call_count.get() - call_count;
        assert!(call_count <= CALLS_MAX, "{call_count} calls");
        self.check();
    }

    fn reset(&mut self, timer: usize, deadline: u64) {
        self.remove(timer);
        self.insert(timer, deadline);
    }

    /// Records the deadline that a timer has been given.
    fn note(&mut self, timer: usize, deadline: u64, elapsed: u64) {
        self.deadlines[timer] = Some(deadline);
        // Where it has caught up, deadlines far ahead may have been rounded up.
        let has_caught_up = self.wheel.elapsed != elapsed;
        for (other, deadline) in self.deadlines.iter_mut().enumerate() {
            if let Some(deadline) = deadline.as_mut().filter(|_| has_caught_up || other == timer) {
                let actual = self.wheel.deadline(&self.timers, TimerId::new(other));
                *deadline = expected_deadline(*deadline, actual, self.wheel.elapsed, self.now);
            }
        }
    }

    /// Changes a timer's deadline. The timer must stay in its list if that starts early
    /// enough.
    fn reschedule(&mut self, timer: usize, deadline: u64) {
        let id = TimerId::new(timer);
        let list = self.deadlines[timer].map(|_| self.timers.list(id));
        let is_late = self.now.saturating_sub(self.wheel.elapsed) > PackedDeadline::CATCH_UP_TICKS;
        let (elapsed, linked_count) = (self.wheel.elapsed, self.timers.linked_count);

        self.wheel.reschedule(&mut self.timers, id, deadline, self.now);
        self.note(timer, deadline, elapsed);

        if !is_late {
            let start = |list: ListId| list.start(elapsed);
            let reach = |start: u64| start..=start.saturating_add(PackedDeadline::COUNT_MASK);
            let stays = list.is_some_and(|list| reach(start(list)).contains(&deadline));
            let linked_count = self.timers.linked_count - linked_count;
            assert_eq!(linked_count, usize::from(!stays), "relinked");
        }
        self.check();
    }

    fn pop(&mut self, budget: &mut usize) -> Option<usize> {
        let budget_before = *budget;
        let call_count = self.timers.call_count.get();
        let (linked_count, unlinked_count) = (self.timers.linked_count, self.timers.unlinked_count);

        let popped = self.wheel.pop_expired(&mut self.timers, self.now, budget).map(TimerId::index);

        let used = budget_before - *budget;
        let moved_count = self.timers.linked_count - linked_count;
        assert_eq!(used, moved_count + usize::from(popped.is_some()), "budget used");
        assert_eq!(used, self.timers.unlinked_count - unlinked_count, "unlinked");
        let call_count = self.timers.call_count.get() - call_count;
        // And a look at the next list, once.
        let calls_max = CALLS_MAX * (used + 1);
        assert!(call_count <= calls_max, "{call_count} calls for a budget of {used}");
        if let Some(timer) = popped {
            let deadline = self.deadlines[timer].take();
            assert!(deadline.is_some_and(|deadline| deadline <= self.now), "{timer}: {deadline:?}");
        } else if *budget > 0 {
            assert!(!self.wheel.has_work(self.now), "work is left undone");
            let is_any_due = self.wheel_deadlines().any(|deadline| deadline <= self.now);
            assert!(!is_any_due, "a due timer is left");
        }
        self.check();
        popped
    }

    /// Pops all due timers. Returns them in the order of their numbers.
    fn pop_all(&mut self) -> Vec<usize> {
        let mut popped: Vec<_> = std::iter::from_fn(|| self.pop(&mut { UNLIMITED })).collect();
        popped.sort_unstable();
        popped
    }

    /// Returns the deadlines as the wheel should have them: one before `elapsed` counts as
    /// `elapsed`.
    fn wheel_deadlines(&self) -> impl Iterator<Item = u64> + '_ {
        self.deadlines.iter().flatten().map(|&deadline| deadline.max(self.wheel.elapsed))
    }

    fn check(&mut self) {
        let linked = self.wheel.check(&self.timers);
        let expected = self.deadlines.iter().enumerate().filter(|(_, deadline)| deadline.is_some());
        assert!(linked.into_iter().eq(expected.map(|(timer, _)| timer)), "wrong timers are linked");
        self.check_answers();
    }

    fn check_answers(&mut self) {
        self.step_count += 1;
        let elapsed = self.wheel.elapsed;
        assert!(elapsed <= self.latest, "advanced to {elapsed}, beyond {}", self.latest);
        for (timer, deadline) in self.deadlines.iter().enumerate() {
            let id = TimerId::new(timer);
            let deadline = deadline.map(|deadline| deadline.max(elapsed));
            let is_due = deadline.is_some_and(|deadline| deadline <= self.now);
            let is_due_in_wheel = self.wheel.is_due(&self.timers, id, self.now);
            assert_eq!(is_due_in_wheel, is_due, "timer {timer}, {deadline:?}");
            for ahead in [0, 1, 256, 1 << 41] {
                let until = self.now.saturating_add(ahead);
                let may_be_due = self.wheel.may_be_due_by(&self.timers, id, self.now, until);
                let is_due = deadline.is_some_and(|deadline| deadline <= until);
                assert!(may_be_due || !is_due, "timer {timer}, {deadline:?}, {ahead} ticks on");
            }
            if let Some(deadline) = deadline {
                assert_eq!(self.wheel.deadline(&self.timers, id), deadline, "timer {timer}");
            }
        }
        assert_eq!(self.wheel.next_event() <= self.now, self.wheel.has_work(self.now));
        match (self.wheel.next_expiry(&self.timers), self.wheel_deadlines().min()) {
            (None, None) => {}
            (Some(wake_up), Some(first)) => {
                assert!(wake_up <= first, "woken up at {wake_up} for {first}");
                assert!(self.wheel.has_work(wake_up), "woken up at {wake_up} for nothing");
            }
            (wake_up, first) => panic!("woken up at {wake_up:?} for {first:?}"),
        }
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "seed {:?}, origin {:#x}, step {}, now {:#x}, {:?}, deadlines {:x?}",
                self.seed, self.origin, self.step_count, self.now, self.wheel, self.deadlines
            );
        }
    }
}

/// Ticks where digits carry, where packed deadlines wrap, and where time nearly ends, and
/// some just before each of them.
fn origins(levels: &'static Levels) -> impl Iterator<Item = u64> {
    let carries = (1..levels.count() as u32).map(|level| 1 << (level * levels.digit_bits));
    let wraps = [1, 2, 3, 64, 1_000, 2_047].map(|wrap: u64| wrap << PackedDeadline::BITS);
    let ends = [1 << 62, 1 << 63, u64::MAX - 2 * HORIZON];
    let before = [0, 1, 2, 63, 64, 65, 4_097, HORIZON];
    carries
        .chain(wraps)
        .chain(ends)
        .flat_map(move |origin| before.map(|before: u64| origin.saturating_sub(before)))
}

/// The first boundary after `tick` between two slots of a level.
fn boundary_after(levels: &Levels, tick: u64, level: usize) -> u64 {
    let width = 1 << (level as u32 * levels.digit_bits);
    (tick | (width - 1)).saturating_add(1)
}

/// The levels whose slots are no wider than the horizon.
fn levels_below_horizon(levels: &Levels) -> usize {
    (HORIZON.ilog2() / levels.digit_bits) as usize + 1
}

fn assert_due_exactly_at(levels: &'static Levels, deadline: u64, origin: u64) {
    let mut sim = Simulation::new(levels, origin, 1);
    sim.insert(0, deadline);
    let deadline = sim.deadlines[0].unwrap();
    if deadline > origin {
        sim.set_now(deadline - 1);
        assert_eq!(sim.pop_all(), [0usize; 0], "due before {deadline}");
    }
    sim.set_now(deadline);
    assert_eq!(sim.pop_all(), [0], "not due at {deadline}");
    assert_eq!(sim.pop_all(), [0usize; 0], "due at {deadline} again");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum List {
    /// A slot of level 0; its timers are due.
    Lowest,
    /// A slot of level 2; its timers are not due.
    Higher,
    /// The list of that slot while it cascades; its timers are due.
    CascadingDue,
    /// The same; its timers are not due.
    CascadingEarly,
}

const LISTS: [List; 4] = [List::Lowest, List::Higher, List::CascadingDue, List::CascadingEarly];
const DUE_LISTS: [List; 2] = [List::Lowest, List::CascadingDue];

/// Returns a wheel of the timers `0..count` in one list, in this order, and their common
/// deadline.
fn one_list(levels: &'static Levels, list: List, count: usize) -> (Simulation, u64) {
    let mut sim = Simulation::new(levels, 0, count + 1);
    let deadline = if list == List::Lowest { 5 } else { 0o2_01_06 };
    for timer in (0..count).rev() {
        sim.insert(timer, deadline);
    }
    match list {
        List::Lowest => sim.set_now(deadline),
        List::Higher => {}
        List::CascadingDue | List::CascadingEarly => {
            // The first one leaves the list and uses up the budget.
            sim.insert(count, deadline);
            sim.set_now(if list == List::CascadingDue { deadline } else { 0o2_00_00 });
            sim.pop(&mut 1);
            sim.remove(count);
            assert_eq!(sim.wheel.cascading, Some(TimerId::new(0)), "{list:?}");
        }
    }
    (sim, deadline)
}

fn fault_01_a_deadline_a_rotation_ahead_is_not_in_the_current_slot(levels: &'static Levels) {
    for level in 1..levels_below_horizon(levels) as u32 {
        let width = 1 << (level * levels.digit_bits);
        let last = levels.slots() as u64 - 1;
        for slot in [0, 1, last / 2, last - 1, last] {
            // Less than a rotation ahead, and yet the digit is the same again.
            let end_of_slot = slot * width + width - 1;
            let slot_a_rotation_ahead = (slot + levels.slots() as u64) * width;
            for deadline in [slot_a_rotation_ahead, slot_a_rotation_ahead + 1] {
                if deadline - end_of_slot <= HORIZON {
                    assert_due_exactly_at(levels, deadline, end_of_slot);
                }
            }
        }
    }
}

fn fault_02_a_timer_is_due_in_the_very_tick_of_its_deadline(levels: &'static Levels) {
    for origin in origins(levels).chain([0, 0o12_34_56_70]) {
        for distance in 0..=levels.slots() as u64 + 1 {
            assert_due_exactly_at(levels, origin + distance, origin);
        }
        for level in 1..levels_below_horizon(levels) {
            let boundary = boundary_after(levels, origin, level);
            for deadline in [boundary - 1, boundary, boundary + 1] {
                if deadline - origin <= HORIZON {
                    assert_due_exactly_at(levels, deadline, origin);
                }
            }
        }
    }
}

fn fault_03_a_deadline_already_past_is_due_at_once(levels: &'static Levels) {
    for origin in [1_000, 1 << 40, (1 << 53) + 5, 1 << 62] {
        for deadline in [0, 1, origin - 64, origin - 1, origin] {
            let mut sim = Simulation::new(levels, origin, 3);
            sim.insert(0, deadline);
            sim.insert(1, origin + 1_000);
            assert_eq!(sim.pop_all(), [0]);
            // Past, but after `elapsed`.
            sim.set_now(origin + 2_000);
            sim.insert(2, origin + 500);
            sim.insert(0, deadline);
            assert_eq!(sim.pop_all(), [0, 1, 2]);
        }
    }
}

fn fault_04_nothing_is_beyond_the_horizon(levels: &'static Levels) {
    for origin in origins(levels) {
        for bits in 0..=HORIZON.ilog2() {
            assert_due_exactly_at(levels, origin + (1 << bits), origin);
        }
    }
    // From a wheel that lags behind, too.
    let lag_max = PackedDeadline::CATCH_UP_TICKS;
    for lag in [0, 1, lag_max - 1, lag_max, lag_max + 1, HORIZON, 2 * HORIZON, 1 << 60] {
        for origin in [0, (1 << 53) - 1, 1 << 61] {
            let mut sim = Simulation::new(levels, origin, 4);
            sim.insert(0, origin);
            sim.insert(1, origin + 1);
            sim.set_now(origin + lag);
            sim.insert(2, sim.now + HORIZON);
            sim.insert(3, sim.now + 1);
            assert!(sim.catch_up_count <= usize::from(lag > lag_max), "lag {lag:#x}");
            sim.set_now(sim.now + 1);
            assert_eq!(sim.pop_all(), [0, 1, 3]);
            sim.set_now(sim.deadlines[2].unwrap() - 1);
            assert_eq!(sim.pop_all(), [0usize; 0]);
            sim.set_now(sim.now + 1);
            assert_eq!(sim.pop_all(), [2]);
        }
    }
}

fn catching_up_keeps_every_list(levels: &'static Levels) {
    for list in LISTS {
        for removed in 0..=4 {
            let (mut sim, _) = one_list(levels, list, 3);
            sim.timers.timers.extend(Table::new(4).timers);
            sim.deadlines.extend([None; 4]);
            // It catches up long after a carry; these deadlines are later than that.
            let catch_up = sim.wheel.elapsed + HORIZON + (1 << 43);
            sim.set_now(catch_up - 100);
            sim.insert(4, catch_up + 1);
            sim.insert(5, catch_up + 70_000);
            sim.set_now(catch_up);
            sim.insert(6, catch_up + HORIZON);
            assert_eq!(sim.catch_up_count, 1, "{list:?}");
            sim.remove(removed);
            let mut rest = vec![0, 1, 2];
            rest.retain(|&timer| timer != removed);
            assert_eq!(sim.pop_all(), rest);
            sim.set_now(catch_up + HORIZON - 1);
            assert_eq!(sim.pop_all(), if removed == 4 { vec![5] } else { vec![4, 5] });
            sim.set_now(catch_up + HORIZON);
            assert_eq!(sim.pop_all(), [6]);
        }
    }
}

fn fault_05_no_level_wraps(levels: &'static Levels) {
    for origin in origins(levels) {
        let mut sim = Simulation::new(levels, origin, levels_below_horizon(levels));
        // A timer for each level, ten times.
        for _ in 0..10 {
            for level in 0..levels_below_horizon(levels) {
                sim.reset(level, sim.now + (1 << (level as u32 * levels.digit_bits)) + 1);
            }
            for level in 0..6 {
                sim.set_now(boundary_after(levels, sim.now, level));
                sim.pop_all();
            }
        }
        let highest = (levels_below_horizon(levels) - 1) as u32 * levels.digit_bits;
        let end = sim.now + (1 << highest) + 1;
        sim.set_now(end);
        sim.pop_all();
        assert_eq!(sim.wheel.next_expiry(&sim.timers), None);
    }
}

fn fault_06_the_clock_stands_still_goes_back_and_jumps(levels: &'static Levels) {
    for jump in [1 << 20, HORIZON, 1 << 60] {
        let mut sim = Simulation::new(levels, 1_000, 4);
        sim.insert(0, 1_010);
        sim.insert(1, HORIZON);
        assert_eq!((sim.pop_all(), sim.pop_all()), (vec![], vec![]));

        // A jump over years of empty slots, and an occupied one.
        sim.set_now(1_000 + jump);
        assert_eq!(sim.pop(&mut UNLIMITED.clone()), Some(0));
        assert_eq!(sim.pop_all(), if jump < HORIZON { vec![] } else { vec![1] });

        // Before that time nothing is due, not even a deadline in the past: the wheel never
        // turns back.
        sim.set_now(1_005);
        sim.insert(2, 1_000);
        sim.insert(3, 1_000 + jump + 5);
        assert_eq!(sim.pop_all(), [0usize; 0]);
        sim.set_now(999 + jump);
        assert_eq!(sim.pop_all(), [0usize; 0]);
        sim.set_now(1_000 + jump);
        assert_eq!(sim.pop_all(), [2]);
        sim.set_now(1_005 + jump);
        assert_eq!(sim.pop_all(), [3]);
    }
}

fn fault_07_mass_expiry_and_cascades_keep_to_the_budget(levels: &'static Levels) {
    const COUNT: usize = 250;
    let in_one_slot: fn(u64) -> u64 = |_| 0o7_00_00_01;
    let in_one_wide_slot = |timer| 0o7_00_00_00 + timer;
    let everywhere = |timer| (timer % 63 + 1) << (timer / 63 % 8 * 6);
    for spread in [in_one_slot, in_one_wide_slot, everywhere] {
        for jump in [0o7_00_00_00, 0o7_00_10_00, HORIZON, 1 << 60] {
            for budget in [1, 7, 64] {
                let mut sim = Simulation::new(levels, 0, COUNT);
                for timer in 0..COUNT {
                    sim.insert(timer, spread(timer as u64));
                }
                sim.set_now(jump);
                // `pop` asserts that each call stays within its budget, and that in between
                // exactly the timers are due that should be.
                let mut used_total = 0;
                while sim.wheel.has_work(jump) {
                    let mut left = budget;
                    while left > 0 && sim.pop(&mut left).is_some() {}
                    used_total += budget - left;
                }
                assert!(used_total <= COUNT * levels.count(), "{used_total}");
                assert!(sim.wheel_deadlines().all(|deadline| deadline > jump));
            }
        }
    }
}

fn what_is_due_leaves_a_cascade_at_once(levels: &'static Levels) {
    let (mut sim, deadline) = one_list(levels, List::CascadingDue, 3);
    assert_eq!(sim.now, deadline);
    let mut budget = 3;
    for timer in 0..3 {
        assert_eq!(sim.pop(&mut budget), Some(timer));
    }
    assert_eq!(budget, 0);
}

fn fault_08_a_neighbour_goes_between_two_pops(levels: &'static Levels) {
    for list in DUE_LISTS {
        for other in 1..4 {
            let (mut sim, _) = one_list(levels, list, 4);
            assert_eq!(sim.pop(&mut { UNLIMITED }), Some(0));
            sim.remove(other);
            let rest: Vec<_> = (1..4).filter(|&timer| timer != other).collect();
            assert_eq!(sim.pop_all(), rest);

            let (mut sim, _) = one_list(levels, list, 4);
            assert_eq!(sim.pop(&mut { UNLIMITED }), Some(0));
            sim.reset(other, sim.now);
            sim.insert(0, sim.now);
            assert_eq!(sim.pop_all(), [0, 1, 2, 3]);
        }
    }
}

fn fault_09_whatever_is_removed_is_unlinked(levels: &'static Levels) {
    const COUNT: usize = 4;
    for list in LISTS {
        for removed in 0..1 << COUNT {
            for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 1, 0]] {
                let (mut sim, deadline) = one_list(levels, list, COUNT);
                for timer in order {
                    if removed & (1 << timer) != 0 {
                        sim.remove(timer);
                        sim.remove(timer);
                    }
                }
                let rest: Vec<_> = (0..COUNT).filter(|timer| removed & (1 << timer) == 0).collect();
                assert_eq!(sim.wheel.next_expiry(&sim.timers).is_none(), rest.is_empty());
                sim.set_now(deadline);
                assert_eq!(sim.pop_all(), rest);
            }
        }
    }
}

fn fault_10_a_reused_timer_knows_nothing_of_its_old_deadline(levels: &'static Levels) {
    for list in LISTS {
        for timer in 0..3 {
            for later in [1, 63, 64, 5_000, HORIZON] {
                let (mut sim, deadline) = one_list(levels, list, 3);
                sim.remove(timer);
                sim.set_now(deadline);
                sim.insert(timer, deadline + later);
                let due = sim.deadlines[timer].unwrap();
                let rest: Vec<_> = (0..3).filter(|&other| other != timer).collect();
                assert_eq!(sim.pop_all(), rest);
                sim.set_now(due - 1);
                assert_eq!(sim.pop_all(), [0usize; 0]);
                sim.set_now(due);
                assert_eq!(sim.pop_all(), [timer]);
                // Popped and used again.
                sim.insert(timer, sim.now + 2);
                sim.set_now(sim.now + 1);
                assert_eq!(sim.pop_all(), [0usize; 0]);
            }
        }
    }
}

fn fault_11_a_timer_that_is_due_but_not_popped_can_be_reset(levels: &'static Levels) {
    for list in DUE_LISTS {
        for timer in 0..3 {
            for later in [0, 1, 64, HORIZON] {
                let (mut sim, _) = one_list(levels, list, 3);
                sim.reset(timer, sim.now + later);
                let deadline = sim.deadlines[timer].unwrap();
                let rest: Vec<_> = (0..3).filter(|&other| later == 0 || other != timer).collect();
                assert_eq!(sim.pop_all(), rest);
                if later > 0 {
                    sim.set_now(deadline - 1);
                    assert_eq!(sim.pop_all(), [0usize; 0]);
                    sim.set_now(deadline);
                    assert_eq!(sim.pop_all(), [timer]);
                }
            }
        }
    }
}

fn fault_12_next_expiry_follows_resets_and_removals(levels: &'static Levels) {
    // On level 0 it is exact.
    let mut sim = Simulation::new(levels, 0, 3);
    for (timer, deadline, next) in [(0, 7, 7), (1, 3, 3), (2, 5, 3), (1, 6, 5)] {
        sim.reset(timer, deadline);
        assert_eq!(sim.wheel.next_expiry(&sim.timers), Some(next));
    }
    sim.remove(2);
    assert_eq!(sim.wheel.next_expiry(&sim.timers), Some(6));
    // On a higher level, too, where a timer is alone in its list; else it is the list's start.
    sim.remove(1);
    sim.reset(0, 0o3_00_17);
    assert_eq!(sim.wheel.next_expiry(&sim.timers), Some(0o3_00_17));
    sim.insert(1, 0o3_00_01);
    assert_eq!(sim.wheel.next_expiry(&sim.timers), Some(0o3_00_00));
    // At the removed timer's deadline, the wheel finds that there is nothing to do.
    sim.set_now(3);
    assert_eq!(sim.pop_all(), [0usize; 0]);
    assert!(!sim.wheel.has_work(0o3_00_00 - 1));

    // Sleeping until `next_expiry` leads to the first deadline within a few wake-ups,
    // whatever has been reset and removed. `check_answers` compares the two each time.
    let mut rng = Rng::with_seed(12);
    for origin in origins(levels) {
        let mut sim = Simulation::new(levels, origin, 12);
        for _ in 0..40 {
            let bits = rng.u32(1..=HORIZON.ilog2());
            let deadline = sim.now + rng.u64(1..=1 << bits);
            sim.reset(rng.usize(..12), deadline);
            sim.remove(rng.usize(..12));
            let Some(first) = sim.wheel_deadlines().min() else { continue };
            for wake_up_count in 1.. {
                assert!(wake_up_count <= levels.count(), "still before {first:#x}");
                let wake_up = sim.wheel.next_expiry(&sim.timers).unwrap();
                assert!(wake_up > sim.now, "woken up at {wake_up}, which is not ahead");
                sim.set_now(wake_up);
                if !sim.pop_all().is_empty() {
                    assert_eq!(wake_up, first);
                    break;
                }
            }
        }
    }
}

fn inserting_costs_the_same_however_many_there_are(levels: &'static Levels) {
    let same: fn(u64) -> u64 = |_| 0o1_00_00;
    let spread = |timer| (timer % 63 + 1) << (timer / 63 % 8 * 6);
    for deadline_of in [same, spread] {
        let mut sim = Simulation::new(levels, 0, 1_000);
        let costs: Vec<_> = (0..1_000)
            .map(|timer| {
                let call_count = sim.timers.call_count.get();
                let id = TimerId::new(timer);
                sim.wheel.insert(&mut sim.timers, id, deadline_of(timer as u64), 0);
                sim.timers.call_count.get() - call_count
            })
            .collect();
        // One more where there is a head to link with.
        assert!(costs.iter().all(|cost| (costs[0]..=costs[0] + 1).contains(cost)), "{costs:?}");
    }
}

/// As the deadline of a session that stays in use. `reschedule` asserts that no list changes
/// while the timer's own starts early enough.
fn a_postponed_deadline_is_met_after_one_move_however_often_it_was_postponed(
    levels: &'static Levels,
) {
    let mut sim = Simulation::new(levels, 0, 3);
    for timer in 0..3 {
        sim.insert(timer, 0o5_00_00);
    }
    for deadline in [0o5_00_01, 0o6_00_00, 0o7_65_43, 0o5_00_00, 0o70_00_00] {
        sim.reschedule(1, deadline);
    }
    assert_eq!(sim.timers.timers[1].linked_count, 1);
    assert_eq!(sim.wheel.next_expiry(&sim.timers), Some(0o5_00_00));
    sim.set_now(0o5_00_00);
    assert_eq!(sim.pop_all(), [0, 2]);
    assert_eq!(sim.timers.timers[1].linked_count, 2);
    sim.set_now(0o70_00_00 - 1);
    assert_eq!(sim.pop_all(), [0usize; 0]);
    sim.set_now(0o70_00_00);
    assert_eq!(sim.pop_all(), [1]);
}

/// On the lowest level, a list's start is usually the deadline of its timers.
fn what_is_postponed_on_the_lowest_level_is_not_due(levels: &'static Levels) {
    let mut sim = Simulation::new(levels, 0, 2);
    sim.insert(0, 5);
    sim.insert(1, 5);
    sim.reschedule(0, 6);
    sim.set_now(5);
    assert_eq!(sim.pop_all(), [1]);
    sim.set_now(6);
    assert_eq!(sim.pop_all(), [0]);
}

fn a_deadline_moved_to_before_its_list_is_relinked(levels: &'static Levels) {
    let mut sim = Simulation::new(levels, 0, 2);
    sim.insert(0, 0o5_00_00);
    sim.reschedule(0, 0o4_77_77);
    sim.set_now(0o4_77_77);
    assert_eq!(sim.pop_all(), [0]);
}

fn an_idle_wheel_links_no_higher_than_a_busy_one(levels: &'static Levels) {
    // `pop_expired` is not called as long as there is no work.
    for idle in [1_000, 1 << 40, HORIZON - 2] {
        let mut sim = Simulation::new(levels, 0, 2);
        sim.insert(0, HORIZON);
        sim.set_now(idle);
        sim.insert(1, idle + 1);
        sim.set_now(idle + 1);
        assert_eq!(sim.pop(&mut 1), Some(1));
    }
}

fn a_timer_is_linked_at_most_once_a_level(levels: &'static Levels) {
    // The worst case: a carry through all digits, then a one in each.
    let carry = 1 << 60;
    let mut cases = vec![(carry - 1, carry + 0o1_11_11_11_11_11_11_11_11 % HORIZON)];
    let mut rng = Rng::with_seed(0);
    for origin in origins(levels) {
        cases.push((origin, origin + rng.u64(..=HORIZON)));
    }
    let mut most = 0;
    for (origin, deadline) in cases {
        // Two: one that is alone in its list need not be moved.
        let mut sim = Simulation::new(levels, origin, 2);
        sim.insert(0, deadline);
        sim.insert(1, deadline);
        while let Some(wake_up) = sim.wheel.next_expiry(&sim.timers) {
            sim.set_now(wake_up);
            sim.pop_all();
        }
        most = most.max(sim.timers.timers[0].linked_count);
    }
    // A deadline that far ahead is rounded: the lowest digits are zero.
    let least = if levels.slots() == 64 { 9 } else { 15 };
    assert!((least..=levels.count()).contains(&most), "{most}");
}

/// Returns a tick after `now`, or just before it, often beside a boundary or a deadline.
fn random_tick(rng: &mut Rng, sim: &Simulation, span_bits: u32) -> u64 {
    let span = 1 << rng.u32(..=span_bits);
    let tick = match rng.u8(..8) {
        0 => sim.now,
        1 => sim.now.saturating_add(rng.u64(..4)),
        2 => sim.now.saturating_add(rng.u64(..span)),
        3 => sim.now.saturating_add(span),
        4 | 5 => boundary_after(
            sim.wheel.levels,
            sim.now,
            span.ilog2().div_ceil(sim.wheel.levels.digit_bits) as usize,
        ),
        _ => sim.deadlines[rng.usize(..sim.deadlines.len())].unwrap_or(sim.now),
    };
    match rng.u8(..4) {
        0 => tick.saturating_sub(1),
        1 => tick.saturating_add(1),
        _ => tick,
    }
}

/// Runs random operations, with parameters of its own for each seed. Returns how often a
/// wheel had to catch up.
fn model(levels: &'static Levels, seeds: std::ops::Range<u64>) -> usize {
    const STEPS: usize = 500;
    let origins: Vec<_> = origins(levels).chain([0]).collect();
    let mut catch_up_count = 0;
    for seed in seeds {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(1..=20);
        let origin = rng.choice(&origins).unwrap().saturating_sub(rng.u64(..80));
        let jump_bits = rng.choice([3, 7, 13, 25, 43, 54]).unwrap();
        let deadline_bits = rng.choice([jump_bits.min(52), 8, 52]).unwrap();
        // With few pops, or small budgets, the wheel falls far behind.
        let pop_percent = rng.choice([2, 30]).unwrap();
        let budgets = rng.choice([&[0, 1][..], &[0, 1, 2, 3, 9], &[UNLIMITED]]).unwrap();
        let goes_back = rng.u8(..4) == 0;

        let mut sim = Simulation::new(levels, origin, count);
        sim.seed = Some(seed);
        while sim.step_count < STEPS {
            let timer = rng.usize(..count);
            match rng.u8(..100) {
                percent if percent < pop_percent => {
                    let mut budget = *rng.choice(budgets).unwrap();
                    while sim.pop(&mut budget).is_some() {}
                }
                percent if percent < 50 => {
                    let now = random_tick(&mut rng, &sim, jump_bits).max(sim.now);
                    sim.set_now(now.min(u64::MAX - 1));
                }
                50 if goes_back => {
                    let bits = rng.u32(..=jump_bits);
                    sim.set_now(sim.now.saturating_sub(rng.u64(..1 << bits)));
                }
                percent if percent < 60 => sim.remove(timer),
                percent => {
                    let deadline = random_tick(&mut rng, &sim, deadline_bits);
                    let deadline = deadline.min(sim.now.saturating_add(HORIZON));
                    if percent < 80 {
                        sim.reset(timer, deadline);
                    } else {
                        sim.reschedule(timer, deadline);
                    }
                }
            }
        }
        // `u64::MAX` never comes.
        let last = sim.wheel_deadlines().filter(|&deadline| deadline != u64::MAX).max();
        sim.set_now(last.unwrap_or(0).max(sim.latest));
        while sim.wheel.has_work(sim.now) {
            sim.pop(&mut 2);
        }
        assert!(sim.wheel_deadlines().all(|deadline| deadline == u64::MAX));
        catch_up_count += sim.catch_up_count;
    }
    catch_up_count
}

// Two halves, so that they run in parallel.
fn model_first_half_million_steps(levels: &'static Levels) {
    assert!(model(levels, 0..1_000) > 100);
}

fn model_second_half_million_steps(levels: &'static Levels) {
    assert!(model(levels, 1_000..2_000) > 100);
}

/// Makes each of these a test of both kinds of wheel.
macro_rules! test_with_both {
    ($($name:ident,)*) => {
        mod wide {
            $(#[test] fn $name() { super::$name(&super::WIDE); })*
        }
        mod narrow {
            $(#[test] fn $name() { super::$name(&super::NARROW); })*
        }
    };
}
test_with_both! {
    fault_01_a_deadline_a_rotation_ahead_is_not_in_the_current_slot,
    fault_02_a_timer_is_due_in_the_very_tick_of_its_deadline,
    fault_03_a_deadline_already_past_is_due_at_once,
    fault_04_nothing_is_beyond_the_horizon,
    catching_up_keeps_every_list,
    fault_05_no_level_wraps,
    fault_06_the_clock_stands_still_goes_back_and_jumps,
    fault_07_mass_expiry_and_cascades_keep_to_the_budget,
    what_is_due_leaves_a_cascade_at_once,
    fault_08_a_neighbour_goes_between_two_pops,
    fault_09_whatever_is_removed_is_unlinked,
    fault_10_a_reused_timer_knows_nothing_of_its_old_deadline,
    fault_11_a_timer_that_is_due_but_not_popped_can_be_reset,
    fault_12_next_expiry_follows_resets_and_removals,
    inserting_costs_the_same_however_many_there_are,
    a_postponed_deadline_is_met_after_one_move_however_often_it_was_postponed,
    what_is_postponed_on_the_lowest_level_is_not_due,
    a_deadline_moved_to_before_its_list_is_relinked,
    an_idle_wheel_links_no_higher_than_a_busy_one,
    a_timer_is_linked_at_most_once_a_level,
    model_first_half_million_steps,
    model_second_half_million_steps,
    what_is_up_to_2_to_the_36_ahead_is_exact,
    an_idle_wheel_does_not_catch_up_where_it_need_not,
}

/// Ticks around every boundary, of all levels of both.
fn ticks() -> impl Iterator<Item = u64> + Clone {
    (0..NARROW.count() as u32)
        .flat_map(|level| [1, 2, 7, 31, 63].map(|slot: u128| slot << (level * NARROW.digit_bits)))
        .flat_map(|boundary| [boundary - 1, boundary, boundary + 1])
        .filter_map(|tick| u64::try_from(tick).ok())
        .chain([u64::MAX - 1, u64::MAX])
}

#[test]
fn digits_are_those_of_base_64_or_8() {
    for (levels, tick, level, expected) in [
        (&WIDE, 0o12_34_56, 0, 0o56),
        (&WIDE, 0o12_34_56, 1, 0o34),
        (&WIDE, 0o12_34_56, 2, 0o12),
        (&WIDE, u64::MAX, 10, 15),
        (&NARROW, 0o12_34_56, 0, 6),
        (&NARROW, 0o12_34_56, 3, 3),
        (&NARROW, u64::MAX, 21, 1),
    ] {
        assert_eq!(levels.slot(tick, level), expected, "{tick:#o}, level {level}");
    }
}

/// At the level of the first digit that differs, in the slot of that digit, from the tick on
/// where that digit begins. The list's number says the same.
#[test]
fn a_place_is_that_of_the_first_digit_that_differs() {
    for (elapsed, tick, expected) in [
        (0, 0, 0),
        (0, 63, 0),
        (0, 64, 1),
        (63, 64, 1),
        (64, 127, 0),
        (0, 4_095, 1),
        (4_095, 4_096, 2),
        ((1 << 60) - 1, 1 << 60, 10),
        (0, u64::MAX, 10),
        (u64::MAX, u64::MAX, 0),
    ] {
        assert_eq!(WIDE.place(elapsed, tick).head / 64, expected, "{elapsed} to {tick}");
    }
    for levels in [&WIDE, &NARROW] {
        for elapsed in ticks() {
            for tick in ticks().filter(|&tick| tick >= elapsed) {
                let place = levels.place(elapsed, tick);
                let differs =
                    |level: &usize| levels.slot(elapsed, *level) != levels.slot(tick, *level);
                let level = (0..levels.count()).rev().find(differs).unwrap_or(0);
                let slot = levels.slot(tick, level);
                assert_eq!(place.head, level * levels.slots() + slot, "{elapsed} to {tick}");
                let width = 1 << (level as u32 * levels.digit_bits);
                assert_eq!(place.start, tick / width * width, "{elapsed} to {tick}");
                // As long as `elapsed` is before the start, or there.
                for elapsed in [elapsed, elapsed.midpoint(place.start), place.start] {
                    if elapsed <= place.start {
                        assert_eq!(place.list.start(elapsed), place.start, "{elapsed} to {tick}");
                    }
                }
                assert_eq!(levels.start(elapsed, place.head), place.start, "{elapsed} to {tick}");
            }
        }
    }
}

/// Up to the start, `elapsed` finds a list where it was linked.
#[test]
fn a_list_keeps_its_head_until_it_starts() {
    for levels in [&WIDE, &NARROW] {
        for elapsed in ticks() {
            for tick in ticks().filter(|&tick| tick > elapsed) {
                let Place { start, head, list } = levels.place(elapsed, tick);
                for later in [elapsed, elapsed.midpoint(start), start.saturating_sub(1)] {
                    if (elapsed..start).contains(&later) {
                        assert_eq!(levels.place(later, start), Place { start, head, list });
                    }
                }
            }
        }
    }
}

#[test]
fn a_packed_deadline_holds_any_deadline_within_reach() {
    for start in ticks() {
        let exact_max = PackedDeadline::COUNT_MASK;
        let furthest = 2 * HORIZON - 2 * PackedDeadline::COARSE_TICKS;
        for distance in [0, 1, exact_max - 1, exact_max, exact_max + 1, HORIZON, furthest] {
            if let Some(deadline) = start.checked_add(distance) {
                let packed_deadline =
                    PackedDeadline::from_bits(PackedDeadline::new(deadline, start).bits());
                let actual = packed_deadline.deadline(start);
                assert!(actual - deadline < if distance > exact_max { 2_048 } else { 1 });
                assert!(actual == deadline || actual % 2_048 == 0 || actual == u64::MAX);
                // And in each list that starts later.
                let later = start.midpoint(actual);
                assert_eq!(
                    [packed_deadline.deadline(later), packed_deadline.deadline(actual)],
                    [actual; 2]
                );
                assert!(deadline == 0 || PackedDeadline::exact(deadline - 1, deadline).is_none());
            }
        }
    }
}

/// Promise 9, from a wheel that lags behind by anything.
fn what_is_up_to_2_to_the_36_ahead_is_exact(levels: &'static Levels) {
    let lag_max = PackedDeadline::CATCH_UP_TICKS;
    for origin in [1, (1 << 48) - 1, (1 << 48) - (1 << 41), (1 << 53) - 1] {
        for lag in [0, lag_max - 1, lag_max, lag_max + 1, 1 << 42, 1 << 47, 1 << 48, HORIZON] {
            for distance in [1, (1 << 30) + 1, (1 << 36) - 1, 1 << 36] {
                let mut sim = Simulation::new(levels, origin, 2);
                sim.insert(0, origin);
                sim.set_now(origin + lag);
                let due = sim.now + distance;
                sim.insert(1, due);
                assert_eq!(sim.wheel.deadline(&sim.timers, TimerId::new(1)), due);
            }
        }
    }
}

/// Being far behind is no reason to touch every timer, unless a carry lies as far back.
fn an_idle_wheel_does_not_catch_up_where_it_need_not(levels: &'static Levels) {
    // Into the first level whose slots are wider than what is exact.
    let carry = 1 << ((42 / levels.digit_bits + 1) * levels.digit_bits);
    assert_eq!(carry, if levels.slots() == 64 { 1 << 48 } else { 1 << 45 });
    for (origin, lag, catches_up) in [
        (0, 1 << 42, false),
        (0, carry - 2_000, false),
        (0, carry, false),
        (0, carry + (1 << 42), true),
        (carry - 1, (1 << 42) - 1_000_000, false),
        (carry - 1, 1 << 42, true),
    ] {
        let mut sim = Simulation::new(levels, origin, 10);
        for timer in 0..9 {
            sim.insert(timer, origin + 5);
        }
        sim.set_now(origin + lag + 7);
        sim.insert(9, sim.now + 1_000);
        assert_eq!(sim.wheel.elapsed == sim.now, catches_up, "{origin:#x}, {lag:#x}");
    }
}

/// Without knowing the list: the same as with it, or it cannot be told.
#[test]
fn a_deadline_is_postponed_wherever_its_list_starts() {
    let mut random = Rng::with_seed(17);
    let mut told = 0;
    for _ in 0..200_000 {
        let ticks = |random: &mut Rng| random.u64(..) >> random.u32(12..64);
        let elapsed = ticks(&mut random);
        let start = elapsed + ticks(&mut random) % (1 << 40);
        let before = start + ticks(&mut random) % (1 << 40);
        let deadline = before + ticks(&mut random);
        for (before, deadline) in [(before, deadline), (deadline, before), (before, before)] {
            let packed = PackedDeadline::new(before, start);
            let Ok(postponed) = packed.postponed(deadline, elapsed) else { continue };
            // One that is further ahead than any idle time is not asked about.
            if before - elapsed > PackedDeadline::COUNT_MASK / 2 {
                continue;
            }
            told += 1;
            let expected = (before < deadline).then(|| PackedDeadline::new(deadline, start));
            assert_eq!(postponed, expected, "{before} to {deadline}, from {elapsed}");
        }
    }
    assert!(told > 100_000, "{told}");
}
