//! `ByteCache` and `unsync::ByteCache`, as their users see them.

use std::collections::HashMap;
use std::time::Duration;

use punctual::{BuildError, ByteCache, ManualClock, TooLarge, Ttl, unsync};

const MIB: usize = 1 << 20;

fn value(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| random.u8(..)).collect()
}

/// Entries of all sizes, far more than there is room for: what is there is right, and what was just
/// inserted is there.
#[test]
fn what_is_inserted_is_found_until_it_is_evicted() {
    for (budget, mean, largest) in [(MIB, 100, 300), (MIB, 3_000, 100_000), (4 * MIB, 300, MIB)] {
        let cache =
            ByteCache::builder().memory_budget(budget).mean_entry(mean).shards(2).build().unwrap();
        let mut own =
            unsync::ByteCache::builder().memory_budget(budget).mean_entry(mean).build().unwrap();
        let mut expected = HashMap::new();
        let mut random = fastrand::Rng::with_seed(1);
        let keys = 3 * budget / mean;
        for step in 0..2 * keys as u64 {
            let key = random.u32(..keys as u32);
            let length = match random.u8(..) {
                0..250 => random.usize(..2 * mean),
                _ => random.usize(..largest),
            };
            let inserted = value(step, length);
            assert!(own.insert(key.to_ne_bytes(), &inserted).is_ok());
            match cache.insert(key.to_ne_bytes(), &inserted) {
                Ok(replaced) => assert!(!replaced || expected.contains_key(&key)),
                Err(TooLarge { bytes, limit }) => {
                    assert!(bytes > limit && bytes == length + 4);
                    continue;
                }
            }
            assert_eq!(cache.get(key.to_ne_bytes()).as_ref(), Some(&inserted));
            assert_eq!(own.get(key.to_ne_bytes()), Some(&inserted[..]));
            expected.insert(key, inserted);
        }
        let mut seen = 0;
        cache.for_each(|key, value| {
            seen += 1;
            assert_eq!(expected[&u32::from_ne_bytes(key.try_into().unwrap())], value);
        });
        own.for_each(|key, value| {
            assert_eq!(expected[&u32::from_ne_bytes(key.try_into().unwrap())], value);
        });
        assert_eq!(seen, cache.len());
        let stats = cache.stats();
        assert!(stats.evicted > 0, "{stats:?}");
        assert!(stats.live_bytes as usize > budget / 2, "{budget} {mean}: {stats:?}");
    }
}

#[test]
fn nothing_is_returned_once_its_ttl_has_passed() {
    let clock = ManualClock::new();
    let cache = ByteCache::builder()
        .memory_budget(MIB)
        .mean_entry(100)
        .ttl(Duration::from_secs(10))
        .clock(clock.clone())
        .build()
        .unwrap();
    cache.insert("default", b"1").unwrap();
    cache.insert_with_ttl("long", b"2", Duration::from_secs(20)).unwrap();
    cache.insert_with_ttl("never", b"3", Ttl::Never).unwrap();
    cache.insert_with_ttl("zero", b"4", Duration::ZERO).unwrap();
    assert_eq!(cache.len(), 3);
    clock.advance(Duration::from_secs(11));
    assert_eq!(cache.get("default"), None);
    assert_eq!(cache.get("long"), Some(b"2".to_vec()));
    assert_eq!(cache.len(), 2);
    clock.advance(Duration::from_secs(10));
    assert_eq!(cache.reap(usize::MAX), 1);
    assert_eq!(cache.stats().live_bytes, 6);
}

#[test]
fn a_senseless_size_is_an_error() {
    let build = |budget, mean, percent| {
        let builder = ByteCache::builder().memory_budget(budget).mean_entry(mean);
        builder.live_percent(percent).build().unwrap_err()
    };
    assert_eq!(ByteCache::builder().mean_entry(1).build().unwrap_err(), BuildError::NoMemoryBudget);
    let without_mean = ByteCache::builder().memory_budget(MIB).build().unwrap_err();
    assert_eq!(without_mean, BuildError::NoMeanEntry);
    assert_eq!(build(MIB, 100, 49), BuildError::LivePercentOutOfRange);
    assert_eq!(build(MIB, 100, 99), BuildError::LivePercentOutOfRange);
    let BuildError::BudgetTooSmall { needed_bytes, .. } = build(100, 100, 95) else { panic!() };
    let smallest = ByteCache::builder().memory_budget(needed_bytes).mean_entry(100);
    let cache = smallest.build().unwrap();
    cache.insert([1; 50], &[2; 50]).unwrap();
    assert!(matches!(build(MIB, MIB, 95), BuildError::BudgetTooSmall { .. }));
}

/// What a generous cache recommends holds the same load, and is not much more than is needed.
#[test]
fn a_recommended_budget_is_enough_and_little_more() {
    for processors in [1, 2, 16] {
        for (entries, length) in [
            (1_000, 35),
            (1_000, 3_000),
            (10_000, 35),
            (10_000, 300),
            (100_000, 35),
            (100_000, 300),
        ] {
            let fill = |budget: usize, mean: usize| {
                let builder = ByteCache::builder().memory_budget(budget).mean_entry(mean);
                let cache = builder.processors(processors).build().unwrap();
                for key in 0..entries {
                    cache.insert((key as u32).to_ne_bytes(), &vec![7; length]).unwrap();
                }
                cache.stats()
            };
            let stats = fill(2 * entries * (length + 200), length);
            assert_eq!(stats.mean_entry(), Some(length + 4));
            let budget = |headroom| stats.recommended_budget(headroom).unwrap();
            let recommended = fill(budget(1.2), length + 4);
            let what = format!("{processors} {entries} {length}: {budget:?}", budget = budget(1.2));
            assert_eq!(recommended.evicted, 0, "{what}: {recommended:?}");
            let percent = [60, 70, 85][(entries.ilog10() - 3) as usize];
            assert!(fill(budget(1.0) / 100 * percent, length + 4).evicted > 0, "{what}");
        }
    }
}
