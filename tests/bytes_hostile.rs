//! Sizes that are hard on memory of a fixed size, in one shard of four mebibytes: what one insertion
//! evicts and moves stays within bounds.

#![cfg(not(any(punctual_loom, miri)))]

use fastrand::Rng;
use punctual::unsync::ByteCache;
use punctual::{Eviction, ManualClock};

#[derive(Debug, Default)]
struct Total {
    insertions: u64,
    evicted: u64,
    evicted_max: u64,
    moved_bytes: u64,
    moved_bytes_max: u64,
    inserted_bytes: u64,
    evicted_bytes: u64,
}

impl Total {
    fn report(&self, name: &str) {
        let count = self.insertions as f64;
        println!(
            "{name}: evicted {:.2} / {}; moved {:.0} / {}; a byte: {:.3} moved, {:.3} evicted",
            self.evicted as f64 / count,
            self.evicted_max,
            self.moved_bytes as f64 / count,
            self.moved_bytes_max,
            self.moved_bytes as f64 / self.inserted_bytes as f64,
            self.evicted_bytes as f64 / self.inserted_bytes as f64,
        );
    }
}

/// Inserts entries of these sizes, under 15,000 keys, and holds what one insertion does against
/// what is promised.
fn insert(
    name: &str,
    mean: usize,
    live_percent: usize,
    before: impl Fn(&mut ByteCache),
    sizes: impl Fn(usize, &mut Rng) -> usize,
) -> Total {
    const INSERTIONS: usize = 20_000;
    const KEY_BYTES: usize = 20;

    let budget = (4 << 20) + (4 << 20) / mean * 40;
    let builder = ByteCache::builder().memory_budget(budget).mean_entry(mean).shards(1);
    let builder = builder.live_percent(live_percent).eviction(Eviction::S3Clock);
    let mut cache = builder.clock(ManualClock::new()).build().unwrap();
    before(&mut cache);
    let (mut random, mut total) = (Rng::with_seed(7), Total::default());
    let value = vec![1; 1 << 20];
    for step in 0..INSERTIONS {
        let bytes = sizes(step, &mut random).max(KEY_BYTES);
        let mut key = [0; KEY_BYTES];
        key[..8].copy_from_slice(&(step as u64 % 15_000 + 1).to_le_bytes());
        let before = cache.stats();
        cache.insert(key, &value[..bytes - KEY_BYTES]).unwrap();
        let stats = cache.stats();
        assert_eq!(cache.peek(key).map(<[u8]>::len), Some(bytes - KEY_BYTES));
        let evicted = stats.evicted - before.evicted;
        let moved_bytes = stats.bytes_moved - before.bytes_moved;
        assert!(moved_bytes as usize <= (64 << 10) + 8 * bytes, "{moved_bytes} for {bytes}");
        total.insertions += 1;
        total.evicted += evicted;
        total.evicted_max = total.evicted_max.max(evicted);
        total.moved_bytes += moved_bytes;
        total.moved_bytes_max = total.moved_bytes_max.max(moved_bytes);
        total.inserted_bytes += bytes as u64;
        total.evicted_bytes += before.live_bytes + bytes as u64 - stats.live_bytes;
    }
    total.report(name);
    // No more is evicted than comes in, and what there was before.
    assert!(total.evicted_bytes <= total.inserted_bytes + (5 << 20), "{total:?}");
    total
}

#[test]
fn every_other_small_entry_is_removed_then_larger_ones_come() {
    let before = |cache: &mut ByteCache| {
        for key in 0..30_000_u32 {
            cache.insert(key.to_ne_bytes(), &[2; 100]).unwrap();
        }
        for key in (0..30_000_u32).step_by(2) {
            cache.remove(key.to_ne_bytes());
        }
    };
    let total = insert("10 kB between small ones", 100, 95, before, |_, _| 10_000);
    assert!(total.evicted_max <= 120, "{total:?}");
    assert!(total.moved_bytes <= total.inserted_bytes / 4, "{total:?}");
}

#[test]
fn one_of_two_hundred_thousand_bytes_among_fifty_small_ones() {
    let sizes = |step, _: &mut Rng| if step % 50 == 0 { 200_000 } else { 100 };
    let total = insert("200 kB among fifty of 100 B", 100, 95, |_| (), sizes);
    // As many small records as take its room.
    assert!(total.evicted_max <= 200_000 / 112, "{total:?}");
    assert!(total.moved_bytes <= total.inserted_bytes / 4, "{total:?}");
}

#[test]
fn growing() {
    for (live_percent, part) in [(95, 4), (97, 2), (98, 1)] {
        let sizes = |step, _: &mut Rng| 100 + step * 49 / 200;
        let name = format!("growing, {live_percent} % live");
        let total = insert(&name, 130, live_percent, |_| (), sizes);
        assert!(total.evicted_max <= 30, "{total:?}");
        assert!(total.moved_bytes <= total.inserted_bytes / part, "{total:?}");
    }
}

#[test]
fn small_or_large_at_random() {
    let sizes = |_, random: &mut Rng| if random.bool() { 60 } else { 3_000 };
    let total = insert("60 or 3,000 at random", 130, 95, |_| (), sizes);
    assert!(total.evicted_max <= 30, "{total:?}");
    assert!(total.moved_bytes <= total.inserted_bytes / 4, "{total:?}");
}

/// The mixture of the study: one key in ten thousand has a megabyte, the others hundreds of bytes.
#[test]
fn a_megabyte_among_hundreds_of_bytes() {
    let sizes = |step, _: &mut Rng| if step % 2_000 == 0 { 1 << 20 } else { 130 };
    let total = insert("1 MiB among 130 B", 130, 95, |_| (), sizes);
    assert!(total.evicted_max <= (1 << 20) / 144, "{total:?}");
}
