//! What the crate promises about memory: that it is fixed, that it is known to the
//! byte before anything is built, that it is little, and that a cache which cannot
//! be had is an error.
//!
//! Every test is generic over the [`Family`] of the cache; the macro at the end
//! makes them tests of a particular one.

#![cfg(all(target_pointer_width = "64", not(any(punctual_loom, miri))))]

#[allow(dead_code, reason = "its `main` is not called here")]
#[path = "../examples/bytes_per_entry.rs"]
mod bytes_per_entry;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/plan.rs"]
mod plan;

use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use punctual::{BuildError, Cache, Footprint, ManualClock, Reaper};
use punctual_testing::alloc::{
    Counting, PerThread, Scarcity, Traffic, measure, with_little_memory,
};

use crate::bytes_per_entry::{BYTES_MUST, CAPACITIES, Row};
use crate::plan::{
    ClockChoice, Family, Key, KeyHasher, ListenerChoice, POLICIES, Plan, Planned, Shared, Subject,
    Unsync, Value,
};

#[global_allocator]
static ALLOCATOR: Counting<PerThread> = Counting(PerThread);

const SECOND: Duration = Duration::from_secs(1);

/// The slot of a `u64 → u64` cache.
const SLOT_BYTES: usize = 32;

/// To compare a number of bytes with what was kept, which may be below zero.
fn signed(bytes: usize) -> isize {
    bytes.try_into().expect("less than all the address space")
}

/// From `first` to `last`, each the given fraction above the one before.
fn spread(first: usize, last: usize, growth: f64) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(first), move |&n| Some(((n as f64 * growth) as usize).max(n + 1)))
        .take_while(move |&n| n <= last)
}

/// The default number of shards, which nobody tells: each has one wheel. Only a cache in one
/// shard has a smaller one than that of a thousand entries.
fn shards<F: Family>(footprint: Footprint) -> usize {
    let wheel = planned::<F, u64, u64>(&Plan::of_capacity(1_000)).wheel();
    (footprint.wheel() / wheel).max(1)
}

fn planned<F: Family, K: Key, V: Value>(plan: &Plan) -> Footprint {
    F::Cache::<K, V>::plan(plan).unwrap_or_else(|error| panic!("{plan:?}: {error}"))
}

fn built<F: Family, K: Key, V: Value>(plan: &Plan) -> F::Cache<K, V> {
    F::Cache::<K, V>::build(plan).unwrap_or_else(|error| panic!("{plan:?}: {error}"))
}

// ---- Promise 1: nothing is allocated once the cache is built ----

/// Calls of every kind, at random, and how often the cache was nearly full.
struct Churn {
    clock: ManualClock,
    random: fastrand::Rng,
    ttl: Duration,
    operations: usize,
    nearly_full: usize,
    /// With room for any batch.
    keys: Vec<u64>,
}

impl Churn {
    /// Where everything is in the past of something.
    const START: Duration = Duration::from_secs(1_000_000_000);

    /// Several chunks.
    const BATCH_MAX: usize = 3_000;

    fn new(seed: u64) -> Self {
        let clock = ManualClock::new();
        clock.set(Self::START);
        let random = fastrand::Rng::with_seed(seed);
        let keys = Vec::with_capacity(Self::BATCH_MAX);
        Self { clock, random, ttl: 100 * SECOND, operations: 0, nearly_full: 0, keys }
    }

    /// From no time at all to never; mostly within what the clock will reach.
    fn some_ttl(&mut self) -> Duration {
        match self.random.u8(..16) {
            0 => Duration::ZERO,
            1 => Duration::from_nanos(1),
            2 => Duration::from_millis(self.random.u64(..100)),
            3 => Duration::from_secs(self.random.u64(..100_000_000)),
            4 => Duration::from_secs(40 * 365 * 86_400),
            5 => Duration::MAX,
            _ => self.ttl.mul_f64(self.random.f64() * 2.0),
        }
    }

    /// One call, on one of twice as many keys as the cache holds.
    fn step<C: Subject<u64, u64>>(&mut self, cache: &mut C) {
        let capacity = cache.capacity();
        let key = self.random.u64(..2 * capacity as u64 + 1);
        let ttl = self.some_ttl();
        match self.random.u8(..32) {
            0..=10 => drop(cache.insert(key, key)),
            11..=14 => drop(cache.insert_with_ttl(key, key, ttl)),
            15..=16 => drop(cache.get(&key)),
            17 => self.batch(cache, key),
            18 => drop(cache.peek(&key).is_some() && cache.contains_key(&key)),
            19 => drop(cache.read(&key, |&value| assert_eq!(value, key))),
            20 => drop(cache.update(&key, |value| *value = key)),
            21..=22 => drop(cache.remove(&key)),
            23..=24 => drop(cache.get_or_insert_with(&key, || key)),
            25 => {
                let fails = self.random.bool();
                drop(cache.try_get_or_insert_with(&key, || if fails { Err(()) } else { Ok(key) }));
            }
            26 => drop(cache.get_or_load(&key, || Ok::<_, ()>((key, ttl)))),
            27 => drop(cache.set_ttl(&key, ttl)),
            28 => drop(cache.get_and_set_ttl(&key, ttl)),
            29 => _ = cache.reap(self.random.usize(..100)),
            30 => _ = (cache.expires_in(&key), cache.next_expiry(), cache.stats()),
            _ => self.move_clock(capacity),
        }
        self.operations += 1;
        self.nearly_full += usize::from(cache.len() * 10 >= capacity * 9);
    }

    /// Of a few keys; now and then of several chunks.
    fn batch<C: Subject<u64, u64>>(&mut self, cache: &mut C, first: u64) {
        let is_large = self.random.u16(..512) == 0;
        let count = if is_large { Self::BATCH_MAX } else { self.random.usize(..16) };
        let ttl = self.some_ttl();
        self.keys.clear();
        self.keys.extend(first..first + count as u64);
        let keys = &self.keys;
        match self.random.u8(..4) {
            0 => cache.insert_many(keys.iter().map(|&key| (key, key))),
            1 => cache.insert_many_with_ttl(keys.iter().map(|&key| (key, key)), ttl),
            _ => cache.read_many(keys, |position, value| {
                assert!(value.is_none_or(|&value| value == keys[position]));
            }),
        }
    }

    /// So far, on average, that a TTL passes while six times as many calls are
    /// made as the cache holds entries: it stays full, and entries expire.
    fn move_clock(&mut self, capacity: usize) {
        let step = self.ttl.mul_f64(32.0 / (6 * capacity + 64) as f64);
        if self.random.u8(..64) == 0 {
            self.clock.set(Self::START);
        } else {
            self.clock.advance(step.mul_f64(self.random.f64() * 2.0));
        }
    }

    fn run<C: Subject<u64, u64>>(&mut self, cache: &mut C, operations: usize) {
        for _ in 0..operations {
            self.step(cache);
        }
    }
}

/// Builds the cache, lets everything happen to it, drops it, and holds the
/// allocator's traffic against the promise. Returns how often the index was put
/// in order.
fn assert_allocates_nothing<F: Family>(plan: Plan, operations: usize, seed: u64) -> u64 {
    let mut churn = Churn::new(seed);
    let plan = Plan {
        ttl: Some(churn.ttl),
        clock: ClockChoice::Manual(churn.clock.clone()),
        listener: ListenerChoice::Capturing,
        ..plan
    };
    let (building, mut cache) = measure(|| built::<F, u64, u64>(&plan));
    let capacity = cache.capacity();
    let total = cache.footprint().total();
    assert_eq!(building.bytes_kept, signed(total), "{plan:?}");

    let (filling, ()) = measure(|| {
        for key in 0..2 * capacity as u64 {
            cache.insert(key, key);
        }
    });
    assert_eq!(filling, Traffic::NONE, "filling: {plan:?}");
    let (churning, ()) = measure(|| churn.run(&mut cache, operations / 2));
    assert_eq!(churning, Traffic::NONE, "churning: {plan:?}");
    let (sweeping, ()) = measure(|| {
        cache.retain(|key, _| key % 8 != 0);
        cache.for_each(|key, value| assert_eq!(key, value));
        churn.clock.advance(churn.ttl);
        cache.reap(usize::MAX);
        churn.run(&mut cache, 100);
        cache.clear();
    });
    assert_eq!(sweeping, Traffic::NONE, "retain, for_each, reap, clear: {plan:?}");
    assert_eq!(cache.len(), 0);
    let (churning, ()) = measure(|| churn.run(&mut cache, operations / 2));
    assert_eq!(churning, Traffic::NONE, "churning after `clear`: {plan:?}");

    // The churn was one: the cache was full, and entries left in all ways.
    assert!(churn.nearly_full * 2 > churn.operations, "seldom full: {plan:?}");
    let stats = cache.stats();
    for count in
        [stats.hits, stats.misses, stats.expired, stats.evicted, stats.removed, stats.replaced]
    {
        assert!(count as usize > operations / 1_000, "{stats:?}: {plan:?}");
    }
    assert!(stats.live_peak as usize <= capacity, "{stats:?}: {plan:?}");
    assert_eq!(cache.footprint().total(), total);

    let (dropping, ()) = measure(|| drop(cache));
    assert_eq!(dropping.bytes_kept, -signed(total), "{plan:?}");
    assert_eq!(
        (dropping.allocations, dropping.deallocations),
        (0, building.allocations - building.deallocations),
        "{plan:?}"
    );
    stats.rebuilds
}

fn allocates_nothing_once_built<F: Family>() {
    const CAPACITIES: [usize; 10] = [1, 2, 3, 63, 64, 65, 761, 4_099, 16_667, 50_000];
    for eviction in POLICIES {
        // With all policies and both caches, more than ten million calls.
        for (seed, capacity) in (0..).zip(CAPACITIES) {
            let plan = Plan::of_capacity(capacity).eviction(eviction);
            let operations = 130_000.max(capacity * 10);
            let rebuilds = assert_allocates_nothing::<F>(plan, operations, seed);
            // One shard and several whose tables are loaded as far as they ever are by
            // design; with fewer entries in them, few tombstones are left behind.
            let is_rebuilt = rebuilds > 0 || ![761, 16_667].contains(&capacity);
            assert!(is_rebuilt, "{eviction:?}: index of {capacity} entries never put in order");
        }
        let plans = [
            Plan::of_capacity(1_000).shards(7),
            Plan::of_budget(100_000),
            // The worst hasher there is: the index is one long chain.
            Plan { hasher: KeyHasher::CONSTANT, ..Plan::of_capacity(100) },
        ];
        for (seed, plan) in (70..).zip(plans) {
            assert_allocates_nothing::<F>(plan.eviction(eviction), 20_000, seed);
        }
    }
}

fn several_shards_are_among_what_allocates_nothing<F: Family>() {
    for capacity in [16_667, 50_000] {
        let shards = shards::<F>(planned::<F, u64, u64>(&Plan::of_capacity(capacity)));
        assert!(shards > 1, "{capacity} entries in {shards} shards");
    }
}

/// With keys and values on the heap, only the caller allocates, and only what was
/// handed over is freed. (Cloning the value allocates nothing here.)
fn callers_heap_is_the_callers<F: Family>() {
    for eviction in POLICIES {
        let clock = ManualClock::new();
        let plan = Plan {
            ttl: Some(SECOND),
            clock: ClockChoice::Manual(clock.clone()),
            ..Plan::of_capacity(500).eviction(eviction)
        };
        let mut random = fastrand::Rng::with_seed(5);
        let (building, mut cache) = measure(|| built::<F, String, Arc<str>>(&plan));
        let total = signed(cache.footprint().total());
        assert_eq!(building.bytes_kept, total);
        let (churning, allocations) = measure(|| {
            let mut allocations = 0;
            for _ in 0..100_000 {
                let key = random.u32(..1_000).to_string();
                let value = Arc::from("v".repeat(random.usize(1..50)));
                let (call, ()) = measure(|| match random.u8(..8) {
                    0..=3 => drop(cache.insert(key, value)),
                    4 => drop(cache.remove(&key)),
                    5 => drop(cache.get_or_insert_with(&key, || value)),
                    6 => drop(cache.get(&key)),
                    _ => clock.advance(Duration::from_millis(5)),
                });
                allocations += call.allocations;
            }
            cache.clear();
            allocations
        });
        assert_eq!(churning.bytes_kept, 0, "leaked, or freed too much: {eviction:?}");
        // `get_or_insert_with` makes a key where there is none.
        let keys_made = allocations as u64;
        let misses = cache.stats().misses;
        assert!((1..=misses).contains(&keys_made), "{keys_made} keys, {misses} misses");

        // Where there is one, it makes none.
        let value: Arc<str> = Arc::from("value");
        cache.insert("key".to_owned(), value.clone());
        let key = "key".to_owned();
        let (hit, ()) =
            measure(|| drop(cache.get_or_insert_with(&key, || unreachable!("it is there"))));
        assert_eq!(hit, Traffic::NONE);
        let key = "other key".to_owned();
        let (miss, ()) = measure(|| drop(cache.get_or_insert_with(&key, || value.clone())));
        assert_eq!((miss.allocations, miss.bytes_kept), (1, signed(key.len())));

        let (dropping, ()) = measure(|| drop(cache));
        assert_eq!(dropping.allocations, 0);
        let keys_bytes = "key".len() + "other key".len();
        assert_eq!(dropping.bytes_kept, -total - signed(keys_bytes));
        assert_eq!(Arc::strong_count(&value), 1, "dropped with the cache");
    }
}

// ---- Promise 2: the footprint, to the byte ----

/// What the builder says, what building requests, and what the cache says.
fn assert_footprint_is_exact<F: Family, K: Key, V: Value>(plan: &Plan) -> Footprint {
    let (planning, footprint) = measure(|| planned::<F, K, V>(plan));
    assert_eq!(planning.bytes_kept, 0, "planning keeps memory: {plan:?}");
    let (building, cache) = measure(|| built::<F, K, V>(plan));
    let total = footprint.total();
    assert_eq!(building.bytes_kept, signed(total), "{footprint:?}: {plan:?}");
    assert_eq!(cache.footprint(), footprint, "{plan:?}");
    let parts = [
        footprint.slots(),
        footprint.index(),
        footprint.wheel(),
        footprint.eviction(),
        footprint.locks(),
    ];
    let loads = footprint.loads();
    assert_eq!(parts.iter().sum::<usize>() + loads, total, "{footprint:?}: {plan:?}");
    assert!(parts.iter().all(|&bytes| bytes > 0), "{footprint:?}: {plan:?}");
    assert_eq!(loads > 0, F::NAME == Shared::NAME, "{footprint:?}: {plan:?}");
    let (dropping, ()) = measure(|| drop(cache));
    assert_eq!(dropping.bytes_kept, -signed(total), "{plan:?}");
    assert_eq!(dropping.allocations, 0, "dropping allocates: {plan:?}");
    footprint
}

fn footprint_is_exact<F: Family>() {
    fn check<F: Family, K: Key, V: Value>() {
        println!("{}", std::any::type_name::<(K, V)>());
        for eviction in POLICIES {
            for shards in [None, Some(1), Some(7)] {
                for capacity in (1..=300).chain(spread(301, 2_000_000, 1.5)).chain([2_000_000]) {
                    let plan = Plan::of_capacity(capacity).eviction(eviction).shards(shards);
                    assert_footprint_is_exact::<F, K, V>(&plan);
                }
                for budget in spread(30_000, 100_000_000, 2.3) {
                    let plan = Plan::of_budget(budget).eviction(eviction).shards(shards);
                    let footprint = assert_footprint_is_exact::<F, K, V>(&plan);
                    assert!(footprint.total() <= budget, "{footprint:?}: {plan:?}");
                }
            }
        }
    }
    check::<F, u64, u64>();
    check::<F, String, String>();
    check::<F, u8, [u8; 37]>();
    check::<F, (), ()>();
    check::<F, u64, Box<[u8]>>();
}

/// The caller's listener and clock are part of the cache, boxes and all.
fn footprint_counts_listener_and_clock<F: Family>() {
    let clocks = [
        (ClockChoice::System, 0),
        (ClockChoice::Manual(ManualClock::new()), 0),
        (ClockChoice::OwnEmpty, 0),
        (ClockChoice::Own, 40),
        (ClockChoice::OwnTwice, 40),
    ];
    let listeners = [
        (ListenerChoice::None, 0),
        (ListenerChoice::Empty, 0),
        (ListenerChoice::Capturing, 72),
        (ListenerChoice::Twice, 72),
    ];
    for eviction in POLICIES {
        for plan in [1, 2, 100, 50_000]
            .map(Plan::of_capacity)
            .into_iter()
            .chain([Plan::of_capacity(100).shards(7), Plan::of_budget(100_000)])
        {
            let plan = plan.eviction(eviction);
            let plain = planned::<F, u64, u64>(&plan);
            for (clock, clock_bytes) in &clocks {
                for &(listener, listener_bytes) in &listeners {
                    let plan = Plan { clock: clock.clone(), listener, ..plan.clone() };
                    let footprint = assert_footprint_is_exact::<F, u64, u64>(&plan);
                    if plan.capacity.is_some() {
                        let more = footprint.locks() - plain.locks();
                        assert_eq!(more, clock_bytes + listener_bytes, "{plan:?}");
                        assert_eq!(footprint.total() - plain.total(), more, "{plan:?}");
                    } else {
                        assert!(footprint.total() <= plan.memory_budget.unwrap(), "{plan:?}");
                    }
                }
            }
        }
    }
}

/// Each part holds what its name says.
fn footprint_parts_match_their_structures<F: Family>() {
    for capacity in [1, 100, 10_000, 50_000, 1_000_000] {
        let plan = Plan::of_capacity(capacity);
        let numbers = planned::<F, u64, u64>(&plan);
        let cache = built::<F, u64, u64>(&plan);
        assert_eq!(numbers.slots(), cache.capacity() * SLOT_BYTES);
        // The keys and values matter to the slots alone, 16 bytes beside them.
        let strings = planned::<F, String, String>(&plan);
        let slots = cache.capacity() * (2 * size_of::<String>() + 16);
        assert_eq!(strings.slots(), slots);
        assert_eq!(strings.total() - numbers.total(), slots - numbers.slots());
        let nothing = planned::<F, (), ()>(&plan);
        assert_eq!(nothing.slots(), cache.capacity() * 16);
        assert_eq!(numbers.total() - nothing.total(), cache.capacity() * 16);
        // The policy matters to its part alone.
        for eviction in POLICIES {
            let other = planned::<F, u64, u64>(&plan.clone().eviction(eviction));
            assert_eq!(
                (other.slots(), other.index(), other.wheel(), other.locks()),
                (numbers.slots(), numbers.index(), numbers.wheel(), numbers.locks()),
            );
        }
        // A table of so many entries of four bytes and their tags.
        assert!(numbers.index() >= cache.capacity() * 5, "{numbers:?}");
    }
}

// ---- The memory budget ----

/// The entries that a cache of this footprint holds.
fn capacity_held<F: Family, K: Key, V: Value>(footprint: Footprint) -> usize {
    footprint.slots() / planned::<F, K, V>(&Plan::of_capacity(1)).slots()
}

/// A capacity is missed if it holds more by a hundredth than what the budget has
/// led to; and by half of one more, since the spare slots of several shards are
/// between none and three hundredths.
fn is_missed(held: usize, missed: usize) -> bool {
    missed * 1_000 > held * 1_015 + 1_000
}

/// A capacity of up to 25 % above what a budget has led to that would have fitted
/// too: there should be none.
fn capacity_missed<F: Family, K: Key, V: Value>(plan: &Plan) -> Option<String> {
    let budget = plan.memory_budget.unwrap();
    let footprint = planned::<F, K, V>(plan);
    assert!(footprint.total() <= budget, "{footprint:?}: {plan:?}");
    let held = capacity_held::<F, K, V>(footprint);
    // In steps of a tenth of a percent.
    let larger = (0..=250).rev().map(|thousandths| held * (1_000 + thousandths) / 1_000);
    let missed = larger.into_iter().find(|&larger| {
        let plan = Plan { capacity: Some(larger), memory_budget: None, ..plan.clone() };
        let footprint = planned::<F, K, V>(&plan);
        footprint.total() <= budget && is_missed(held, capacity_held::<F, K, V>(footprint))
    })?;
    Some(format!("{budget} bytes: {held} entries held where {missed} fit: {plan:?}"))
}

fn budget_is_used_up_and_kept<F: Family>() {
    let mut missed = Vec::new();
    for budget in spread(6_100, 100_000_000, 1.05) {
        missed.extend(capacity_missed::<F, u64, u64>(&Plan::of_budget(budget)));
    }
    for eviction in POLICIES {
        for budget in spread(7_000, 30_000_000, 1.4) {
            let plan = Plan::of_budget(budget).eviction(eviction);
            missed.extend(capacity_missed::<F, u64, u64>(&plan));
            missed.extend(capacity_missed::<F, u64, u64>(&plan.clone().shards(1)));
            missed.extend(capacity_missed::<F, String, String>(&plan));
            missed.extend(capacity_missed::<F, u8, [u8; 37]>(&plan));
            missed.extend(capacity_missed::<F, (), ()>(&plan));
        }
    }
    assert!(missed.is_empty(), "{} times:\n{}", missed.len(), missed.join("\n"));
}

/// What a capacity takes is budget enough for that capacity, but for a hundredth.
fn budget_of_a_footprint_gives_its_capacity_back<F: Family>() {
    let mut missed = Vec::new();
    // Where fewer shards cost less than more of them for fewer entries.
    let unlucky = [11_175, 16_110, 16_174, 24_090, 875_919, 923_530, 938_405];
    for capacity in (1..=64).chain(spread(65, 4_000_000, 1.015)).chain(unlucky) {
        let asked = planned::<F, u64, u64>(&Plan::of_capacity(capacity));
        let footprint = planned::<F, u64, u64>(&Plan::of_budget(asked.total()));
        assert!(footprint.total() <= asked.total(), "{capacity}: {footprint:?}");
        let held = capacity_held::<F, u64, u64>(footprint);
        if is_missed(held, capacity_held::<F, u64, u64>(asked)) {
            missed.push(format!("{} bytes: {held} held where {capacity} fit", asked.total()));
        }
    }
    assert!(missed.is_empty(), "{} times:\n{}", missed.len(), missed.join("\n"));
}

fn too_small_a_budget_says_what_is_enough<F: Family>() {
    fn check<F: Family, K: Key, V: Value>(plan: &Plan) {
        let one =
            planned::<F, K, V>(&Plan { capacity: Some(1), memory_budget: None, ..plan.clone() });
        for budget in [0, 1, one.total() / 2, one.total() - 1] {
            let plan = Plan { memory_budget: Some(budget), ..plan.clone() };
            let (traffic, result) = measure(|| F::Cache::<K, V>::build(&plan).map(|_| ()));
            assert_eq!(traffic.bytes_kept, 0, "leaked: {plan:?}");
            let error = result.unwrap_err();
            let BuildError::BudgetTooSmall { budget_bytes, needed_bytes } = error else {
                panic!("{error:?}: {plan:?}");
            };
            assert_eq!(budget_bytes, budget);
            assert_eq!(needed_bytes, one.total(), "{plan:?}");
            assert!(error.to_string().contains(&needed_bytes.to_string()), "{error}");
            let enough = Plan { memory_budget: Some(needed_bytes), ..plan };
            let cache = built::<F, K, V>(&enough);
            assert!(cache.capacity() >= 1);
            assert!(cache.footprint().total() <= needed_bytes);
        }
    }
    for eviction in POLICIES {
        for shards in [None, Some(1), Some(7)] {
            for listener in [ListenerChoice::None, ListenerChoice::Capturing] {
                let plan = Plan { listener, ..Plan::default() }.eviction(eviction).shards(shards);
                check::<F, u64, u64>(&plan);
                check::<F, String, String>(&plan);
                check::<F, (), ()>(&plan);
            }
        }
    }
}

// ---- Promise 3: the capacity ----

fn capacity_is_kept_exactly_or_within_three_percent<F: Family>() {
    let mut several = 0;
    for capacity in (1..=2_000).chain(spread(2_001, 20_000_000, 1.01)) {
        let footprint = planned::<F, u64, u64>(&Plan::of_capacity(capacity));
        let held = footprint.slots() / SLOT_BYTES;
        if shards::<F>(footprint) == 1 {
            assert_eq!(held, capacity);
        } else {
            several += 1;
            assert!(held >= capacity, "{held} of {capacity}");
            assert!(held * 100 <= capacity * 103, "{held} of {capacity}");
        }
        if capacity < 5_000 {
            assert_eq!(built::<F, u64, u64>(&Plan::of_capacity(capacity)).capacity(), held);
        }
        let single = planned::<F, u64, u64>(&Plan::of_capacity(capacity.min(1 << 20)).shards(1));
        assert_eq!(single.slots() / SLOT_BYTES, capacity.min(1 << 20));
    }
    assert!(several > 500, "{several} capacities with several shards");
}

fn never_more_entries_than_capacity<F: Family>() {
    for eviction in POLICIES {
        for shards in [None, Some(1), Some(7)] {
            for capacity in (1..=70).chain([1_000, 17_000, 50_000]) {
                let plan = Plan::of_capacity(capacity).eviction(eviction).shards(shards);
                let mut cache = built::<F, u64, u64>(&plan);
                let held = cache.capacity();
                assert!(held >= capacity);
                let small = capacity < 100;
                for key in 0..held as u64 * if small { 20 } else { 3 } {
                    cache.insert(key, key);
                    assert!(cache.len() <= held, "{} of {held}: {plan:?}", cache.len());
                }
                let found = (0..held as u64 * 20).filter(|key| cache.contains_key(key)).count();
                assert_eq!(found, cache.len(), "{plan:?}");
                assert_eq!(cache.stats().live_peak as usize, cache.len(), "{plan:?}");
                // Every shard has had thrice its share, or in a small cache more.
                assert_eq!(cache.len(), held, "{plan:?}");
            }
        }
    }
}

/// Each fill is one throw of the dice, the same in every run; that a shard runs
/// full too early is promised to happen in fewer than 1 of 1,000. Three in the 90
/// throws below would happen by chance in 1 of 9,000 test suites.
fn nothing_is_evicted_before_the_cache_is_nearly_full<F: Family>() {
    let mut several = 0;
    let mut early = Vec::new();
    for capacity in [10_000, 13_300, 16_667, 17_000, 28_673, 33_000, 50_000, 120_000, 458_753] {
        for seed in 0..10 {
            let plan = Plan { hasher: KeyHasher::seeded(seed), ..Plan::of_capacity(capacity) };
            let mut cache = built::<F, u64, u64>(&plan);
            several += usize::from(shards::<F>(cache.footprint()) > 1);
            let asked = capacity as u64;
            for key in 0..asked * 99 / 100 {
                cache.insert(key, key);
            }
            if cache.stats().evicted > 0 {
                early.push((capacity, seed, cache.stats().evicted));
            }
            // What is evicted is counted.
            for key in 0..asked * 103 / 100 + 1 {
                cache.insert(key, key);
            }
            assert!(cache.stats().evicted > 0, "{plan:?}");
        }
    }
    assert!(early.len() < 3, "capacity, seed, evicted: {early:?}");
    assert!(several >= 50, "{several} caches with several shards");
}

// ---- Promise 4: bytes an entry ----

fn no_entry_costs_more_than_promised<F: Family>() {
    let cost = |capacity: usize| {
        planned::<F, u64, u64>(&Plan::of_capacity(capacity)).total() as f64 / capacity as f64
    };
    for capacity in CAPACITIES {
        let bytes = cost(capacity);
        assert!(bytes <= BYTES_MUST, "{capacity} entries: {bytes} bytes each");
    }
    let (worst, bytes) = spread(10_000, 10_000_000, 1.0005)
        .map(|capacity| (capacity, cost(capacity)))
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
        .unwrap();
    println!("the worst capacity of the sweep: {worst}, at {bytes:.2} bytes an entry");
    assert!(bytes <= BYTES_MUST, "{worst} entries: {bytes} bytes each");
}

/// A small cache is small as a whole, with its lock, its loads and its simulations.
#[test]
fn a_small_cache_takes_little() {
    // At so many entries and fewer.
    for (capacity, bytes_max) in
        [(1_usize, 2_048), (3, 3_328), (10, 4_096), (32, 6_400), (100, 12_288), (255, 19_968)]
    {
        for fewer in [capacity, (capacity * 2).div_ceil(3), capacity.div_ceil(2)] {
            let footprint = planned::<Shared, u64, u64>(&Plan::of_capacity(fewer));
            assert!(footprint.total() <= bytes_max, "{fewer} entries: {footprint:?}");
            let unsync = planned::<Unsync, u64, u64>(&Plan::of_capacity(fewer));
            // It has no lock and no loads.
            assert!(unsync.total() + 512 <= bytes_max, "{fewer} entries: {unsync:?}");
        }
    }
}

/// On 16 processors writers need more shards, and shards cost bytes and spare slots.
#[test]
fn many_processors_cost_little() {
    let builder = |capacity: usize| {
        Cache::<u64, u64>::builder().capacity(capacity).processors(16).reaper(Reaper::Manual)
    };
    for (capacity, bytes_max) in [(10_000, 64.0), (50_000, 56.0), (500_000, 48.0)] {
        let bytes = builder(capacity).footprint().unwrap().total() as f64 / capacity as f64;
        assert!(bytes <= bytes_max, "{capacity} entries: {bytes} bytes each");
    }
    // The table of `docs/design.md`.
    for (processors, expected) in [
        (2, ["2; 46.7", "5; 45.6", "43; 43.9"]),
        (4, ["2; 46.7", "5; 45.6", "43; 43.9"]),
        (8, ["16; 55.7", "31; 54.8", "43; 43.9"]),
        (16, ["16; 57.4", "51; 55.5", "64; 47.9"]),
        (64, ["16; 58.0", "51; 55.6", "197; 48.0"]),
    ] {
        let cell = |capacity: usize| {
            let footprint = builder(capacity).processors(processors).footprint().unwrap();
            let bytes = footprint.total() as f64 / capacity as f64;
            format!("{}; {bytes:.1}", shards::<Shared>(footprint))
        };
        assert_eq!([10_000, 50_000, 500_000].map(cell), expected, "{processors} processors");
    }
    for (capacity, bytes_max) in [(1, 2_048), (10, 4_096), (100, 12_288)] {
        let total = builder(capacity).footprint().unwrap().total();
        assert!(total <= bytes_max, "{capacity} entries: {total} bytes");
    }
    for capacity in [1, 10, 100, 1_000, 7_777, 10_000, 50_000, 500_000] {
        let (building, cache) = measure(|| builder(capacity).build().unwrap());
        assert_eq!(building.bytes_kept as usize, cache.footprint().total(), "{capacity} entries");
        let held = cache.capacity();
        assert!(held >= capacity && held * 100 <= capacity * 115, "{held} of {capacity}");
    }
}

/// The example prints what the tests see.
#[test]
fn example_prints_these_numbers() {
    for capacity in CAPACITIES {
        let row = Row::of(capacity).unwrap();
        assert!(row.bytes_per_entry() <= BYTES_MUST, "{row:?}");
        let plan = Plan::of_capacity(capacity);
        assert_eq!(row.footprint, planned::<Unsync, u64, u64>(&plan));
        assert_eq!(row.shards, shards::<Unsync>(row.footprint));
        if capacity <= 1_000_000 {
            assert_eq!(row.held, built::<Unsync, u64, u64>(&plan).capacity());
        }
    }
}

// ---- Promise 13: what cannot be built ----

/// The error of a plan, from both calls that give one.
fn error_of<F: Family, K: Key, V: Value>(plan: &Plan) -> BuildError {
    let (planning, planned) = measure(|| F::Cache::<K, V>::plan(plan).map(|_| ()));
    let (building, built) = measure(|| F::Cache::<K, V>::build(plan).map(|_| ()));
    assert_eq!(planning.bytes_kept, 0, "planning leaks: {plan:?}");
    assert_eq!(building.bytes_kept, 0, "building leaks: {plan:?}");
    let error = built.expect_err(&format!("it can be built: {plan:?}"));
    if !matches!(error, BuildError::OutOfMemory { .. }) {
        assert_eq!(planned, Err(error.clone()), "{plan:?}");
    }
    error
}

fn impossible_configurations_say_what_to_change<F: Family>() {
    use BuildError::{
        CapacityAndBudget, NoCapacity, ResolutionTooFine, ZeroCapacity, ZeroResolution, ZeroShards,
        ZeroTtl,
    };
    // Of these, only the kind of error is compared.
    let too_many = BuildError::TooManySlots { requested: 0, limit: 0 };
    let too_small = BuildError::BudgetTooSmall { budget_bytes: 0, needed_bytes: 0 };
    let microsecond = Duration::from_micros(1);
    let nanosecond = Duration::from_nanos(1);
    let too_coarse = BuildError::ResolutionTooCoarse { resolution: microsecond, ttl: microsecond };
    let ten = || Plan::of_capacity(10);
    let with_ttl = |ttl| Plan { ttl: Some(ttl), ..ten() };
    let cases = [
        (Plan::default(), &NoCapacity, "`capacity` or `memory_budget`"),
        (Plan::of_capacity(0), &ZeroCapacity, "at least one"),
        (Plan { memory_budget: Some(1 << 20), ..ten() }, &CapacityAndBudget, "leave one"),
        (Plan { memory_budget: Some(0), ..Plan::of_capacity(0) }, &CapacityAndBudget, "leave one"),
        (Plan::of_budget(100), &too_small, "bytes"),
        (ten().resolution(Duration::ZERO), &ZeroResolution, "at least"),
        (ten().resolution(microsecond - nanosecond), &ResolutionTooFine, "at least"),
        (ten().resolution(nanosecond), &ResolutionTooFine, "at least"),
        (with_ttl(Duration::ZERO), &ZeroTtl, "leave the TTL out"),
        (with_ttl(3 * SECOND - nanosecond).resolution(SECOND), &too_coarse, "999.999999ms"),
        (with_ttl(SECOND).resolution(Duration::MAX), &too_coarse, "at most a third"),
        (ten().shards(0), &ZeroShards, "at least one"),
        (Plan::of_budget(1 << 20).shards(0), &ZeroShards, "at least one"),
        (Plan::of_capacity(usize::MAX), &too_many, "fewer entries"),
        (Plan::of_capacity(usize::MAX).shards(1), &too_many, "more shards"),
        (Plan::of_capacity(usize::MAX).shards(usize::MAX), &too_many, "fewer entries"),
        (Plan::of_capacity(1 << 24).shards(1), &too_many, "more shards"),
        (Plan::of_capacity(1 << 40), &too_many, "fewer entries"),
    ];
    for eviction in POLICIES {
        for listener in [ListenerChoice::None, ListenerChoice::Capturing] {
            for (plan, expected, word) in &cases {
                let plan = Plan { listener, clock: ClockChoice::Own, ..plan.clone() };
                let plan = plan.eviction(eviction);
                let error = error_of::<F, u64, u64>(&plan);
                assert_eq!(discriminant(&error), discriminant(*expected), "{error:?}: {plan:?}");
                let message = error.to_string();
                assert!(message.contains(word), "no {word:?} in {message:?}");
            }
        }
    }
    // Their nearest neighbours are possible.
    built::<F, u64, u64>(&ten().resolution(microsecond));
    built::<F, u64, u64>(&ten().resolution(Duration::MAX));
    built::<F, u64, u64>(&with_ttl(3 * SECOND).resolution(SECOND));
    built::<F, u64, u64>(&with_ttl(nanosecond));
    built::<F, u64, u64>(&ten().shards(usize::MAX));
    planned::<F, u64, u64>(&Plan::of_capacity((1 << 24) - 2).shards(1));
}

/// The limits in the error are true: one less can be planned.
fn too_many_slots_tells_the_limit<F: Family>() {
    for shards in [None, Some(1), Some(7), Some(1_000), Some(usize::MAX)] {
        let plan = Plan::of_capacity(usize::MAX).shards(shards);
        let error = error_of::<F, u64, u64>(&plan);
        let BuildError::TooManySlots { requested, limit } = error else {
            panic!("{error:?}: {plan:?}");
        };
        assert_eq!(requested, usize::MAX);
        let most = Plan::of_capacity(limit).shards(shards);
        assert!(planned::<F, u64, u64>(&most).slots() >= limit * SLOT_BYTES);
        let more = Plan::of_capacity(limit + 1).shards(shards);
        assert_eq!(
            F::Cache::<u64, u64>::plan(&more),
            Err(BuildError::TooManySlots { requested: limit + 1, limit })
        );
    }
}

/// With so little memory that building fails at one request after the other: an
/// error each time, with nothing left behind; and the footprint itself is enough.
fn too_little_memory_is_an_error<F: Family>() {
    for eviction in POLICIES {
        for plan in [
            Plan::of_capacity(1),
            Plan::of_capacity(100),
            Plan::of_capacity(1_000).shards(7),
            Plan::of_capacity(50_000),
        ] {
            let plan = plan.eviction(eviction);
            let total = planned::<F, u64, u64>(&plan).total();
            let build = |bytes| {
                let scarcity = Scarcity::Total(bytes);
                with_little_memory(scarcity, || F::Cache::<u64, u64>::build(&plan))
            };
            for bytes in (0..total).step_by(total / 300 + 1).chain([total - 1]) {
                let (failing, (result, refused_bytes)) = measure(|| build(bytes));
                let Err(error) = result else { panic!("{bytes} bytes suffice: {plan:?}") };
                assert_eq!(failing.bytes_kept, 0, "leaked with {bytes} bytes: {plan:?}");
                let BuildError::OutOfMemory { requested_bytes } = error else {
                    panic!("{error:?} with {bytes} bytes: {plan:?}");
                };
                assert!(error.to_string().contains("fewer entries"), "{error}");
                // hashbrown adds a few bytes to its tables.
                let difference = refused_bytes.unwrap_or(0).abs_diff(requested_bytes);
                assert!(difference <= 16, "{error:?}, and {refused_bytes:?} was refused: {plan:?}");
            }
            let (result, refused_bytes) = build(total);
            assert!(result.is_ok(), "{total} bytes are not enough: {plan:?}");
            assert_eq!(refused_bytes, None);
        }
    }
}

/// An operating system that overcommits, as Linux does, grants request after
/// request and kills the process that makes use of them; but it refuses a request
/// that no machine could grant. So a cache larger than the memory of the machine,
/// here one of 16 MB, has to ask for all of it at once to find out.
fn more_memory_than_the_machine_has_is_an_error<F: Family>() {
    for capacity in [400_000, 10_000_000, 1 << 33, 1 << 35] {
        let plan = Plan::of_capacity(capacity);
        let total = planned::<F, u64, u64>(&plan).total();
        let (result, _) = with_little_memory(Scarcity::Request(16 << 20), || {
            F::Cache::<u64, u64>::build(&plan).map(|_| ())
        });
        assert!(
            matches!(result, Err(BuildError::OutOfMemory { .. })),
            "{capacity} entries of {total} bytes in all: {result:?}"
        );
    }
}

/// Entries so large that their bytes exceed every number.
fn enormous_entries_are_an_error<F: Family>() {
    type Enormous = [u8; 1 << 30];
    for plan in [
        Plan::of_capacity(1 << 35),
        Plan::of_capacity(1 << 34),
        Plan::of_capacity(1 << 33).shards(1 << 20),
    ] {
        let footprint = planned::<F, Enormous, ()>(&plan);
        assert!(footprint.total() >= 1 << 63, "{footprint:?}");
        let error = error_of::<F, Enormous, ()>(&plan);
        assert!(matches!(error, BuildError::OutOfMemory { .. }), "{error:?}: {plan:?}");
    }
    for budget in [1 << 31, 1 << 40, usize::MAX] {
        let footprint = planned::<F, Enormous, ()>(&Plan::of_budget(budget));
        assert!(footprint.total() <= budget, "{footprint:?}");
    }
}

punctual_testing::test_both_caches! {
    allocates_nothing_once_built
    several_shards_are_among_what_allocates_nothing
    callers_heap_is_the_callers
    footprint_is_exact
    footprint_counts_listener_and_clock
    footprint_parts_match_their_structures
    budget_is_used_up_and_kept
    budget_of_a_footprint_gives_its_capacity_back
    too_small_a_budget_says_what_is_enough
    capacity_is_kept_exactly_or_within_three_percent
    never_more_entries_than_capacity
    nothing_is_evicted_before_the_cache_is_nearly_full
    no_entry_costs_more_than_promised
    impossible_configurations_say_what_to_change
    too_many_slots_tells_the_limit
    more_memory_than_the_machine_has_is_an_error
    enormous_entries_are_an_error
}

/// Of `Cache`, `hostile_memory.rs` tells what aborts beside this: std allocates to
/// count the processors, and for the builder's setters.
#[test]
fn too_little_memory_is_an_error_of_unsync() {
    too_little_memory_is_an_error::<Unsync>();
}
