//! criterion's view of each operation of punctual, and of its wheel alone, by itself: for watching
//! one of them over time, not for comparing.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use punctual::{Cache, Reaper, SystemClock, unsync};
use punctual_figures::paths;
use punctual_figures::record::OperationTime;

use crate::speed::keys::shuffled;
use crate::wheels::FilledWheel;

const ENTRIES: usize = 100_000;
const TTL: Duration = Duration::from_secs(3600);
/// Calls of an iteration, each with another key, so that none is served from the same cache line
/// over and over.
const CALLS: usize = 1_000;

/// An operation on the cache, with the number of a key.
type Operation<C> = (&'static str, fn(&mut C, u64));
type Shared = Cache<u64, u64>;
type Unsync = unsync::Cache<u64, u64>;

/// What both caches can do, written once for their two types.
macro_rules! operations {
    () => {
        [
            ("get, hit", |cache, key| _ = black_box(cache.get(&key))),
            ("get, miss", |cache, key| _ = black_box(cache.get(&!key))),
            ("peek", |cache, key| _ = black_box(cache.peek(&key))),
            ("read", |cache, key| _ = black_box(cache.read(&key, |value| *value))),
            ("update", |cache, key| _ = cache.update(&key, |value| *value += 1)),
            ("contains_key", |cache, key| _ = black_box(cache.contains_key(&key))),
            ("expires_in", |cache, key| _ = black_box(cache.expires_in(&key))),
            ("insert, overwrite", |cache, key| _ = cache.insert(key, key)),
            ("insert_with_ttl, overwrite", |cache, key| _ = cache.insert_with_ttl(key, key, TTL)),
            ("set_ttl", |cache, key| _ = cache.set_ttl(&key, TTL)),
            ("get_and_set_ttl", |cache, key| _ = black_box(cache.get_and_set_ttl(&key, TTL))),
            ("get_or_insert_with, hit", |cache, key| {
                _ = black_box(cache.get_or_insert_with(&key, || 0))
            }),
            ("try_get_or_insert_with, hit", |cache, key| {
                _ = black_box(cache.try_get_or_insert_with(&key, || Ok::<u64, ()>(0)));
            }),
            ("get_or_load, hit", |cache, key| {
                _ = black_box(cache.get_or_load(&key, || Ok::<_, ()>((0, TTL))));
            }),
            ("remove and insert_with_ttl", |cache, key| {
                cache.remove(&key);
                cache.insert_with_ttl(key, key, TTL);
            }),
            ("remove and get_or_insert_with, miss", |cache, key| {
                cache.remove(&key);
                black_box(cache.get_or_insert_with(&key, || key));
            }),
            ("len", |cache, _| _ = black_box(cache.len())),
            ("is_empty", |cache, _| _ = black_box(cache.is_empty())),
            ("stats", |cache, _| _ = black_box(cache.stats())),
            ("next_expiry", |cache, _| _ = black_box(cache.next_expiry())),
            ("reap, nothing due", |cache, _| _ = black_box(cache.reap(64))),
        ]
    };
}

const SHARED: [Operation<Shared>; 21] = operations!();
const UNSYNC: [Operation<Unsync>; 21] = operations!();
const UNSYNC_ONLY: [Operation<Unsync>; 1] =
    [("get_mut", |cache, key| _ = black_box(cache.get_mut(&key)))];

/// A call that goes over all entries; its time is told for each of them.
type Whole<C> = (&'static str, fn(&mut C));

macro_rules! whole_operations {
    () => {
        [
            ("for_each", |cache| cache.for_each(|_, value| _ = black_box(value))),
            ("retain, all", |cache| cache.retain(|_, _| true)),
        ]
    };
}

const SHARED_WHOLE: [Whole<Shared>; 2] = whole_operations!();
const UNSYNC_WHOLE: [Whole<Unsync>; 2] = whole_operations!();
const UNSYNC_WHOLE_ONLY: [Whole<Unsync>; 1] =
    [("iter", |cache| cache.iter().for_each(|entry| _ = black_box(entry)))];

/// Measures the operations in whose names the filter occurs.
pub(crate) fn run(filter: &str) -> Result<Vec<OperationTime>, Box<dyn Error>> {
    let folder = paths::output()?.join("criterion");
    let mut criterion =
        Criterion::default().with_filter(filter.to_owned()).output_directory(&folder);
    // With room to spare, so that nothing is evicted.
    let capacity = ENTRIES * 5 / 4;
    let mut shared: Shared = Cache::builder().capacity(capacity).reaper(Reaper::Thread).build()?;
    let mut unsync: Unsync =
        unsync::Cache::builder().capacity(capacity).clock(SystemClock).build()?;
    let keys = shuffled(ENTRIES);
    for &key in &keys {
        shared.insert_with_ttl(key, key, TTL);
        unsync.insert_with_ttl(key, key, TTL);
    }
    let mut names = Vec::new();
    let mut group = Group::new(&mut criterion, "Cache", &keys, &mut names);
    group.each_key(&SHARED, &mut shared);
    group.whole(&SHARED_WHOLE, &mut shared);
    // Into a cache that is full, so that each evicts one.
    let full: Shared = Cache::builder().capacity(ENTRIES).reaper(Reaper::Thread).build()?;
    group.fresh(&mut |key| _ = full.insert_with_ttl(key, key, TTL));
    group.finish();

    let mut group = Group::new(&mut criterion, "unsync::Cache", &keys, &mut names);
    group.each_key(&UNSYNC, &mut unsync);
    group.each_key(&UNSYNC_ONLY, &mut unsync);
    group.whole(&UNSYNC_WHOLE, &mut unsync);
    group.whole(&UNSYNC_WHOLE_ONLY, &mut unsync);
    let mut full: Unsync = unsync::Cache::builder().capacity(ENTRIES).clock(SystemClock).build()?;
    group.fresh(&mut |key| _ = full.insert_with_ttl(key, key, TTL));
    group.finish();

    let mut group = Group::new(&mut criterion, "the wheel alone", &keys, &mut names);
    group.wheel();
    group.finish();
    criterion.final_summary();

    names.retain(|(group, name)| format!("{group}/{name}").contains(filter));
    names.into_iter().map(|(group, name)| result(&folder, group, name)).collect()
}

/// A group's name, and an operation's.
type Names = (&'static str, &'static str);

/// A group of criterion's, and what was measured in all groups.
struct Group<'a> {
    group: BenchmarkGroup<'a, WallTime>,
    name: &'static str,
    keys: &'a [u64],
    measured: &'a mut Vec<Names>,
}

impl<'a> Group<'a> {
    fn new(
        criterion: &'a mut Criterion,
        name: &'static str,
        keys: &'a [u64],
        measured: &'a mut Vec<Names>,
    ) -> Self {
        let mut group = criterion.benchmark_group(name);
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
        group.sample_size(50).nresamples(10_000).throughput(Throughput::Elements(CALLS as u64));
        Self { group, name, keys, measured }
    }

    fn each_key<C>(&mut self, operations: &[Operation<C>], cache: &mut C) {
        for (name, operation) in operations {
            self.measured.push((self.name, name));
            let mut chunks = self.keys.chunks_exact(CALLS).cycle();
            self.group.bench_function(*name, |bencher| {
                bencher.iter_batched(
                    || chunks.next().expect("they go round"),
                    |chunk| {
                        for &key in chunk {
                            operation(cache, key);
                        }
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }

    fn whole<C>(&mut self, operations: &[Whole<C>], cache: &mut C) {
        for (name, operation) in operations {
            self.measured.push((self.name, name));
            self.group.bench_function(*name, |bencher| {
                bencher.iter_custom(|iterations| {
                    let start = std::time::Instant::now();
                    for _ in 0..iterations {
                        operation(cache);
                    }
                    // As if it had been called for `CALLS` entries only.
                    start.elapsed().mul_f64(CALLS as f64 / ENTRIES as f64)
                });
            });
        }
    }

    /// Keys that were never there.
    fn fresh(&mut self, insert: &mut dyn FnMut(u64)) {
        const NAME: &str = "insert_with_ttl, fresh key, full";
        let mut next = 1_u64 << 32;
        for _ in 0..ENTRIES * 5 / 4 {
            insert(next);
            next += 1;
        }
        self.measured.push((self.name, NAME));
        self.group.bench_function(NAME, |bencher| {
            bencher.iter(|| {
                for _ in 0..CALLS {
                    insert(next);
                    next += 1;
                }
            });
        });
    }

    fn wheel(&mut self) {
        type Measure = fn(&mut FilledWheel) -> Duration;
        const PHASES: [(&str, Measure, usize); 5] = [
            ("insert", FilledWheel::insert, ENTRIES),
            ("reschedule", FilledWheel::reschedule, ENTRIES),
            ("cancel", FilledWheel::cancel, ENTRIES),
            // With no others, which would be moved or due as well.
            ("cascade, a level down", FilledWheel::cascade, 0),
            ("expire, cascades included", FilledWheel::expire, ENTRIES),
        ];
        for (name, measure, filed) in PHASES {
            self.measured.push((self.name, name));
            let mut wheel = FilledWheel::new(filed, CALLS);
            self.group.bench_function(name, |bencher| {
                bencher
                    .iter_custom(|iterations| (0..iterations).map(|_| measure(&mut wheel)).sum());
            });
        }
    }

    fn finish(self) {
        self.group.finish();
    }
}

/// What criterion has left in its files.
fn result(folder: &Path, group: &str, name: &str) -> Result<OperationTime, Box<dyn Error>> {
    let path: PathBuf = [group, name].iter().map(|part| part.replace([':', '/'], "_")).collect();
    let path = folder.join(path).join("new/estimates.json");
    let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let estimates: serde_json::Value = serde_json::from_slice(&text)?;
    let median = &estimates["median"];
    let nanos = |value: &serde_json::Value| {
        value.as_f64().map(|nanos| nanos / CALLS as f64).ok_or("criterion's file has no median")
    };
    Ok(OperationTime {
        group: group.to_owned(),
        operation: name.to_owned(),
        median_nanos: nanos(&median["point_estimate"])?,
        low_nanos: nanos(&median["confidence_interval"]["lower_bound"])?,
        high_nanos: nanos(&median["confidence_interval"]["upper_bound"])?,
    })
}
