//! criterion's view of each operation of punctual by itself: for watching one of them over time,
//! not for comparing.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use punctual::{Cache, Reaper, SystemClock, unsync};

use crate::places;
use crate::speed::keys::shuffled;

const ENTRIES: usize = 100_000;
const TTL: Duration = Duration::from_secs(3600);
/// Calls of an iteration, each with another key, so that none is served from the same cache line
/// over and over.
const CALLS: usize = 1_000;

/// An operation on the cache, with the number of a key.
type Operation<C> = (&'static str, fn(&mut C, u64));

fn shared_operations() -> Vec<Operation<Cache<u64, u64>>> {
    vec![
        ("get, hit", |cache, key| _ = black_box(cache.get(&key))),
        ("get, miss", |cache, key| _ = black_box(cache.get(&!key))),
        ("peek", |cache, key| _ = black_box(cache.peek(&key))),
        ("read", |cache, key| _ = black_box(cache.read(&key, |value| *value))),
        ("update", |cache, key| _ = cache.update(&key, |value| *value += 1)),
        ("contains_key", |cache, key| _ = black_box(cache.contains_key(&key))),
        ("expires_in", |cache, key| _ = black_box(cache.expires_in(&key))),
        ("insert, overwrite", |cache, key| _ = cache.insert_with_ttl(key, key, TTL)),
        ("set_ttl", |cache, key| _ = cache.set_ttl(&key, TTL)),
        ("get_and_set_ttl", |cache, key| _ = black_box(cache.get_and_set_ttl(&key, TTL))),
        ("get_or_insert_with, hit", |cache, key| {
            _ = black_box(cache.get_or_insert_with(&key, || 0));
        }),
        ("remove and insert", |cache, key| {
            cache.remove(&key);
            cache.insert_with_ttl(key, key, TTL);
        }),
    ]
}

fn unsync_operations() -> Vec<Operation<unsync::Cache<u64, u64>>> {
    vec![
        ("get, hit", |cache, key| _ = black_box(cache.get(&key))),
        ("get, miss", |cache, key| _ = black_box(cache.get(&!key))),
        ("peek", |cache, key| _ = black_box(cache.peek(&key))),
        ("insert, overwrite", |cache, key| _ = cache.insert_with_ttl(key, key, TTL)),
        ("set_ttl", |cache, key| _ = cache.set_ttl(&key, TTL)),
        ("remove and insert", |cache, key| {
            cache.remove(&key);
            cache.insert_with_ttl(key, key, TTL);
        }),
    ]
}

/// Measures the operations in whose names the filter occurs.
pub(crate) fn run(filter: &str) {
    let mut criterion = Criterion::default().with_filter(filter.to_owned());
    if let Ok(folder) = places::output() {
        criterion = criterion.output_directory(&folder.join("criterion"));
    }
    // With room to spare, so that nothing is evicted.
    let capacity = ENTRIES * 5 / 4;
    let shared = Cache::builder().capacity(capacity).reaper(Reaper::Thread);
    let mut shared = shared.build().expect("the capacity is possible");
    let unsync = unsync::Cache::builder().capacity(capacity).clock(SystemClock);
    let mut unsync = unsync.build().expect("the capacity is possible");
    let keys = shuffled(ENTRIES);
    for &key in &keys {
        shared.insert_with_ttl(key, key, TTL);
        unsync.insert_with_ttl(key, key, TTL);
    }
    measure(&mut criterion, "Cache", &shared_operations(), &mut shared, &keys);
    measure(&mut criterion, "unsync::Cache", &unsync_operations(), &mut unsync, &keys);
    criterion.final_summary();
}

fn measure<C>(
    criterion: &mut Criterion,
    group: &str,
    operations: &[Operation<C>],
    cache: &mut C,
    keys: &[u64],
) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(CALLS as u64));
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    for (name, operation) in operations {
        let mut chunks = keys.chunks_exact(CALLS).cycle();
        group.bench_function(*name, |bencher| {
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
    group.finish();
}
