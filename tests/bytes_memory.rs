//! The memory of caches of bytes: it is fixed, known to the byte before anything is built, and used
//! up; and what is due is freed in bounded steps.

#![cfg(all(target_pointer_width = "64", not(any(punctual_loom, miri))))]

use std::time::{Duration, Instant};

use punctual::{BuildError, ByteCache, Footprint, ManualClock, Reaper, Ttl, unsync};
use punctual_testing::alloc::{Counting, PerThread, Traffic, measure};

#[global_allocator]
static ALLOCATOR: Counting<PerThread> = Counting(PerThread);

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Size {
    budget: usize,
    mean: usize,
    shards: Option<usize>,
    live_percent: usize,
    has_idle_time: bool,
}

thread_local! {
    /// Allocated before anything is measured.
    static CLOCK: ManualClock = ManualClock::new();
}

macro_rules! builder {
    ($builder:expr, $size:expr) => {{
        let size: Size = $size;
        let builder = $builder
            .memory_budget(size.budget)
            .mean_entry(size.mean)
            .live_percent(size.live_percent)
            .clock(CLOCK.with(ManualClock::clone));
        let builder = match size.shards {
            Some(shards) => builder.shards(shards),
            None => builder,
        };
        if size.has_idle_time { builder.time_to_idle(SECOND) } else { builder }
    }};
}

fn shared(size: Size) -> punctual::ByteBuilder {
    // Also where the machine has few.
    builder!(ByteCache::builder().processors(16), size)
}

fn unsync(size: Size) -> unsync::ByteBuilder {
    builder!(unsync::ByteCache::builder(), size)
}

fn assert_used_up(size: Size, footprint: Footprint) {
    let total = footprint.total();
    assert!(total <= size.budget, "{size:?}: {footprint:?}");
    let records = size.budget / (size.mean * 100 / size.live_percent + 60);
    if records / size.shards.unwrap_or(1) >= 200 {
        assert!(total >= size.budget / 100 * 99, "{size:?}: {footprint:?}");
    }
}

fn sizes(budgets: &[usize], means: &[usize]) -> Vec<Size> {
    let mut sizes = Vec::new();
    for &budget in budgets {
        for &mean in means {
            for shards in [None, Some(1), Some(7)] {
                for has_idle_time in [false, true] {
                    for live_percent in [50, 95, 98] {
                        sizes.push(Size { budget, mean, shards, live_percent, has_idle_time });
                    }
                }
            }
        }
    }
    sizes
}

#[test]
fn building_requests_what_the_builder_says() {
    const BUDGETS: [usize; 5] = [64 * KIB, 100_000, MIB, 5 * MIB + 1, 16 * MIB];
    let mut built = 0;
    for size in sizes(&BUDGETS, &[1, 30, 500, 20_000, 300_000]) {
        macro_rules! check {
            ($builder:expr) => {
                match $builder.footprint() {
                    Ok(footprint) => {
                        assert_used_up(size, footprint);
                        let builder = $builder;
                        let (building, cache) = measure(|| builder.build().unwrap());
                        let kept = usize::try_from(building.bytes_kept).unwrap();
                        assert_eq!(kept, footprint.total(), "{size:?}: {footprint:?}");
                        assert_eq!(cache.footprint(), footprint);
                        assert!(cache.entry_bytes_max() >= size.mean);
                        let (dropping, ()) = measure(|| drop(cache));
                        assert_eq!(dropping.bytes_kept, -building.bytes_kept);
                        assert_eq!(dropping.allocations, 0);
                        built += 1;
                    }
                    Err(BuildError::BudgetTooSmall { needed_bytes, .. }) => {
                        assert!(needed_bytes > size.budget, "{size:?}");
                    }
                    Err(error) => panic!("{size:?}: {error}"),
                }
            };
        }
        check!(shared(size));
        check!(unsync(size));
    }
    assert!(built > 300, "{built}");
}

#[test]
fn a_large_cache_requests_what_the_builder_says() {
    for mean in [300, 1_000_000] {
        let size = Size {
            budget: 1 << 30,
            mean,
            shards: None,
            live_percent: 95,
            has_idle_time: mean == 300,
        };
        let footprint = shared(size).footprint().unwrap();
        let builder = shared(size);
        let (building, cache) = measure(|| builder.build().unwrap());
        assert_eq!(building.bytes_kept as usize, footprint.total());
        assert_used_up(size, cache.footprint());
        let builder = unsync(size);
        let (building, cache) = measure(|| builder.build().unwrap());
        assert_eq!(building.bytes_kept as usize, cache.footprint().total());
        assert_used_up(size, cache.footprint());
    }
}

/// From one byte to a tebibyte, nothing is built.
#[test]
fn any_size_is_planned_or_an_error_that_says_what_is_needed() {
    let mut random = fastrand::Rng::with_seed(3);
    let some = |random: &mut fastrand::Rng, log2: u32| {
        let most = 1usize << random.u32(..log2);
        most + random.usize(..most)
    };
    let (mut planned, mut refused) = (0, 0);
    for _ in 0..3_000 {
        let size = Size {
            budget: some(&mut random, 41),
            mean: some(&mut random, 25),
            shards: random.bool().then(|| some(&mut random, 45)),
            live_percent: random.usize(50..=98),
            has_idle_time: random.bool(),
        };
        macro_rules! check {
            ($builder:ident) => {
                match $builder(size).footprint() {
                    Ok(footprint) => {
                        planned += 1;
                        assert!(footprint.total() <= size.budget, "{size:?}");
                        if size.shards.is_none() {
                            assert_used_up(size, footprint);
                        }
                    }
                    Err(BuildError::BudgetTooSmall { budget_bytes, needed_bytes }) => {
                        refused += 1;
                        assert_eq!(budget_bytes, size.budget);
                        assert!(needed_bytes > size.budget, "{size:?} needs {needed_bytes}");
                        let enough = Size { budget: needed_bytes, ..size };
                        let footprint = $builder(enough).footprint();
                        assert!(footprint.is_ok(), "{enough:?}: {footprint:?} of {size:?}");
                    }
                    Err(BuildError::MeanEntryTooLarge { bytes, limit }) => {
                        refused += 1;
                        assert!(bytes == size.mean && bytes > limit);
                    }
                    Err(error) => panic!("{size:?}: {error}"),
                }
            };
        }
        check!(shared);
        check!(unsync);
    }
    assert!(planned > 1_000 && refused > 500, "{planned}, {refused}");
}

/// What the documentation of the builder promises, on a machine with many processors.
#[test]
fn what_the_builder_s_examples_say_holds_on_any_machine() {
    let builder =
        |mean| ByteCache::builder().memory_budget(64 << 20).mean_entry(mean).processors(16);
    let total = builder(240).footprint().unwrap().total();
    assert!((64_000_000..=64 << 20).contains(&total), "{total}");
    let capacity = builder(1_000).build().unwrap().capacity();
    assert!((70_000..80_000).contains(&capacity), "{capacity}");
    assert!(
        builder(240).shards(1).memory_budget(16 << 20).build().unwrap().entry_bytes_max()
            > 8_000_000
    );
    let small = ByteCache::builder().memory_budget(MIB).mean_entry(100).processors(16);
    let total = small.footprint().unwrap().total();
    assert!((MIB / 100 * 99..=MIB).contains(&total), "{total}");
}

/// Keys, values and the clock of calls of every kind.
struct Churn {
    random: fastrand::Rng,
    clock: ManualClock,
    values: Vec<u8>,
    into: Vec<u8>,
    keys: u32,
    usual: usize,
}

impl Churn {
    fn new(seed: u64, clock: &ManualClock, keys: u32, usual: usize, largest: usize) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let values = (0..=largest).map(|at| (at * 31 + (at >> 8)) as u8).collect();
        let into = Vec::with_capacity(largest);
        Self { random, clock: clock.clone(), values, into, keys, usual }
    }

    fn some_value(&mut self) -> usize {
        match self.random.u16(..) {
            0..40 => self.random.usize(..self.values.len()),
            _ => self.random.usize(..2 * self.usual),
        }
    }

    fn some_ttl(&mut self) -> Ttl {
        match self.random.u8(..8) {
            0 => Ttl::Never,
            1 => Ttl::After(Duration::ZERO),
            _ => Ttl::After(SECOND.mul_f64(self.random.f64() * 20.0)),
        }
    }
}

macro_rules! churn_step {
    ($churn:expr, $cache:expr) => {{
        let churn: &mut Churn = $churn;
        let key = churn.random.u32(..churn.keys).to_ne_bytes();
        let (length, ttl) = (churn.some_value(), churn.some_ttl());
        match churn.random.u16(..256) {
            0..60 => _ = $cache.insert(key, &churn.values[..length]),
            60..100 => _ = $cache.insert_with_ttl(key, &churn.values[..length], ttl),
            100..110 => _ = $cache.insert_if_absent(key, &churn.values[..length]),
            110..170 => {
                churn.into.clear();
                let found = $cache.get_into(key, &mut churn.into);
                assert!(found.is_none_or(|length| churn.into == churn.values[..length]));
            }
            170..200 => {
                let values = &churn.values;
                _ = $cache.read(key, |value| assert!(*value == values[..value.len()]));
            }
            200..225 => _ = $cache.remove(key),
            225..240 => _ = $cache.set_ttl(key, ttl),
            240..244 => _ = $cache.reap(churn.random.usize(..100)),
            244..248 => _ = ($cache.expires_in(key), $cache.contains_key(key)),
            248..250 => _ = ($cache.stats(), $cache.next_expiry(), $cache.len()),
            250 if churn.random.u16(..1_000) == 0 => $cache.clear(),
            250 if churn.random.u16(..300) == 0 => $cache.retain(|key, _| key[0] % 4 != 0),
            _ => churn.clock.advance(SECOND.mul_f64(churn.random.f64() / 100.0)),
        }
    }};
}

/// The budget, the mean size, and the largest value.
const CHURNS: [(usize, usize, usize); 3] =
    [(MIB, 100, 2_000), (4 * MIB, 3_000, 300_000), (64 * KIB, 20, 50_000)];

fn assert_allocates_nothing(operations: usize) {
    for (seed, (budget, mean, largest)) in (0..).zip(CHURNS) {
        let clock = ManualClock::new();
        let keys = (2 * budget / (mean + 40)) as u32;
        macro_rules! check {
            ($builder:expr, $mut:tt) => {{
                let builder = $builder.memory_budget(budget).mean_entry(mean).ttl(10 * SECOND);
                let builder = builder.ttl_jitter(0.1).time_to_idle(8 * SECOND).clock(clock.clone());
                #[allow(unused_mut, reason = "only one of the caches is")]
                let mut cache = builder.build().unwrap();
                let mut churn = Churn::new(seed, &clock, keys, mean, largest);
                let (churning, ()) = measure(|| {
                    for _ in 0..operations {
                        churn_step!(&mut churn, cache);
                    }
                });
                assert_eq!(churning, Traffic::NONE, "{budget} {mean}");
                let stats = cache.stats();
                let least = operations as u64 / 1_000;
                for count in [stats.hits, stats.evicted, stats.expired, stats.removed] {
                    assert!(count > least, "{stats:?}");
                }
                assert!(stats.bytes_moved > 0, "{stats:?}");
            }};
        }
        check!(ByteCache::builder().reaper(Reaper::Manual), (mut));
        check!(unsync::ByteCache::builder(), (mut));
    }
}

#[test]
fn nothing_is_allocated_once_it_is_built() {
    assert_allocates_nothing(200_000);
}

#[test]
#[ignore = "ten million calls"]
fn nothing_is_allocated_by_ten_million_calls() {
    assert_allocates_nothing(1_700_000);
}

/// Has four threads share a cache of so much live memory: they allocate nothing, and all room comes back.
fn assert_threads_allocate_nothing(
    (budget, mean, largest): (usize, usize, usize),
    live_percent: usize,
    goes_on: impl Fn(usize) -> bool + Sync,
) {
    let clock = ManualClock::new();
    let builder =
        ByteCache::builder().memory_budget(budget).mean_entry(mean).live_percent(live_percent);
    let cache = builder.ttl(10 * SECOND).shards(2).clock(clock.clone()).build().unwrap();
    let keys = (2 * budget / (mean + 40)) as u32;
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (cache, clock, goes_on) = (&cache, &clock, &goes_on);
            scope.spawn(move || {
                let mut churn = Churn::new(seed, clock, keys, mean, largest);
                // A thread's first use of any cache may allocate.
                cache.read("", |_| ());
                for round in (0..).take_while(|&round| goes_on(round)) {
                    let (churning, ()) = measure(|| {
                        for _ in 0..10_000 {
                            churn_step!(&mut churn, cache);
                        }
                    });
                    assert_eq!(churning, Traffic::NONE, "round {round}");
                }
            });
        }
    });
    let stats = cache.stats();
    println!("{budget} bytes, entries of {mean}: {stats:?}");
    let left = stats.expired + stats.evicted + stats.removed + stats.replaced;
    assert_eq!(stats.inserts, stats.held + left, "{stats:?}");
    cache.clear();
    assert_eq!(cache.stats().live_bytes, 0);
}

#[test]
fn nothing_is_allocated_by_threads_that_share_a_cache() {
    for churn in CHURNS {
        assert_threads_allocate_nothing(churn, 95, |round| round < 3);
    }
}

/// As long as `PUNCTUAL_SOAK_SECONDS` says, a minute by default.
#[test]
#[ignore = "a soak of a minute or longer"]
fn soak_at_98_percent_live() {
    let seconds = std::env::var("PUNCTUAL_SOAK_SECONDS").map_or(60, |text| text.parse().unwrap());
    for churn in CHURNS {
        let until = Instant::now() + Duration::from_secs(seconds) / CHURNS.len() as u32;
        assert_threads_allocate_nothing(churn, 98, |_| Instant::now() < until);
    }
}

/// Half a million are due at once: each call frees as many as it may.
#[test]
fn no_call_frees_more_than_the_reap_limit() {
    const ENTRIES: u32 = 500_000;
    const LIMIT: u64 = 64;
    macro_rules! check {
        ($cache:ident, $clock:ident) => {{
            for key in 0..ENTRIES {
                $cache.insert(key.to_ne_bytes(), &[1; 8]).unwrap();
            }
            assert_eq!($cache.len(), ENTRIES as usize);
            $clock.advance(20 * SECOND);
            let mut random = fastrand::Rng::with_seed(1);
            let mut before = $cache.stats().expired;
            for step in 0..2_000 {
                let key = random.u32(..2 * ENTRIES).to_ne_bytes();
                // Its own entry, if that is due, comes on top.
                let own = match step % 6 {
                    0 => u64::from($cache.insert(key, &[2; 8]).is_ok()),
                    1 => u64::from(!$cache.remove(key)),
                    2 => u64::from($cache.read(key, |_| ()).is_some()),
                    3 => u64::from($cache.set_ttl(key, SECOND)),
                    4 => {
                        u64::from($cache.get_or_load(key, || Err::<(Vec<u8>, Ttl), _>(())).is_ok())
                    }
                    _ => {
                        let load = || Ok::<_, ()>((vec![1; 8], Ttl::Never));
                        u64::from($cache.get_or_load(key, load).is_ok())
                    }
                };
                let after = $cache.stats().expired;
                assert!(after - before <= LIMIT + own, "{} by {}", after - before, step % 6);
                before = after;
            }
            assert!(before > 10_000, "{before}");
            assert_eq!($cache.reap(1_000), 1_000);
            $cache.reap(usize::MAX);
            assert_eq!($cache.due_len(), 0);
        }};
    }
    let clock = ManualClock::new();
    let builder = ByteCache::builder().memory_budget(64 * MIB).mean_entry(12).ttl(10 * SECOND);
    let cache = builder.clock(clock.clone()).build().unwrap();
    check!(cache, clock);
    let builder =
        unsync::ByteCache::builder().memory_budget(64 * MIB).mean_entry(12).ttl(10 * SECOND);
    let mut cache = builder.clock(clock.clone()).build().unwrap();
    check!(cache, clock);
}
