//! Fixed memory with rules: idle times, weights, closures and names are in the footprint, to the
//! byte, nothing is allocated afterwards, and a bound on the weight bounds what values own.

#![cfg(all(target_pointer_width = "64", not(any(punctual_loom, miri))))]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "support/setup.rs"]
mod setup;

use std::borrow::Cow;
use std::time::Duration;

use punctual::{Compute, Eviction, Ttl};
use punctual_testing::alloc::{Counting, PerThread, Traffic, measure};

use crate::setup::{Built, Family, Setup, Shared, Subject, Unsync};

#[global_allocator]
static ALLOCATOR: Counting<PerThread> = Counting(PerThread);

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// To compare a number of bytes with what was kept, which may be below zero.
fn signed(bytes: usize) -> isize {
    bytes.try_into().expect("less than all the address space")
}

/// A rule, and whether it is one: a name is none.
type Rule = (&'static str, fn(Setup<u64, u64>) -> Setup<u64, u64>);

const RULES: [Rule; 7] = [
    ("ttl_by", |setup| setup.ttl_by(|_, _| Ttl::Default)),
    ("ttl_jitter", |setup| Setup { ttl: Some(MINUTE), ttl_jitter: Some(0.1), ..setup }),
    ("time_to_idle", |setup| Setup { time_to_idle: Some(MINUTE), ..setup }),
    ("weigher", |setup| setup.weighed(1 << 20, |_, &value| value % 50_000)),
    ("static name", |setup| Setup { name: Some(Cow::Borrowed("sessions")), ..setup }),
    ("owned name", |setup| {
        // With room to spare, which is allocated as well.
        let mut name = String::with_capacity(100);
        name.push_str("sessions");
        Setup { name: Some(Cow::Owned(name)), ..setup }
    }),
    ("an idle time that is none", |setup| Setup {
        time_to_idle: Some(Duration::MAX),
        ttl_jitter: Some(0.0),
        ..setup
    }),
];

fn footprint_is_exact_with_rules<F: Family>() {
    // Each subset, so each alone and all together.
    for subset in 0..1_u32 << RULES.len() {
        let chosen = |number: usize| subset >> number & 1 == 1;
        if chosen(4) && chosen(5) || chosen(2) && chosen(6) {
            continue;
        }
        let names: Vec<_> =
            (0..RULES.len()).filter(|&it| chosen(it)).map(|it| RULES[it].0).collect();
        for (capacity, shards) in [(1, None), (100, Some(7)), (50_000, None), (50_000, Some(32))] {
            let mut setup = Setup { shards, ..Setup::of_capacity(capacity) };
            for (_, rule) in
                RULES.iter().enumerate().filter(|&(number, _)| chosen(number)).map(|it| it.1)
            {
                setup = rule(setup);
            }
            let (planning, footprint) = measure(|| <F::Cache<u64, u64>>::plan(&setup).unwrap());
            assert_eq!(planning.bytes_kept, 0, "planning keeps memory: {names:?}");
            let (building, cache) = measure(|| F::build(&setup));
            let total = signed(footprint.total());
            assert_eq!(building.bytes_kept, total, "{capacity} entries, {names:?}: {footprint:?}");
            assert_eq!(cache.footprint(), footprint, "{names:?}");
            let (dropping, ()) = measure(|| drop(cache));
            assert_eq!((dropping.bytes_kept, dropping.allocations), (-total, 0), "{names:?}");
        }
    }
}

/// Each costs what it says.
fn rules_cost_what_the_docs_say<F: Family>() {
    const CAPACITY: usize = 10_000;
    let total = |rule: fn(Setup<u64, u64>) -> Setup<u64, u64>| {
        let setup = Setup { shards: Some(1), ..Setup::of_capacity(CAPACITY) };
        <F::Cache<u64, u64>>::plan(&rule(setup)).unwrap().total()
    };
    let plain = total(|setup| setup);
    let more = |rule| total(rule) - plain;
    assert!((16 * CAPACITY..16 * CAPACITY + 300).contains(&more(RULES[2].1)));
    assert!((8 * CAPACITY..8 * CAPACITY + 300).contains(&more(RULES[3].1)));
    for number in [0, 1, 4, 5] {
        assert!(more(RULES[number].1) < 300, "{}", RULES[number].0);
    }
    assert_eq!(more(RULES[4].1), 0, "nothing is allocated for a static name");
    assert_eq!(more(RULES[6].1), 0, "no rule at all");
}

/// Calls of every kind, at random, with all rules at once.
fn nothing_is_allocated_under_all_rules<F: Family>() {
    const OPERATIONS: usize = 250_000;
    for (eviction, shards) in [
        (Eviction::Adaptive, Some(1)),
        (Eviction::S3Clock, None),
        (Eviction::S3Fifo, Some(8)),
        (Eviction::Fifo, Some(1)),
    ] {
        const CAPACITY: u64 = 2_000;
        let mut setup = Setup::of_capacity(CAPACITY as usize);
        // At most nine in ten have room by their weight.
        setup = setup.weighed(45 * CAPACITY, |_, &value| value % 100);
        for (_, rule) in [RULES[0], RULES[1], RULES[2], RULES[5]] {
            setup = rule(setup);
        }
        let setup = Setup { eviction: Some(eviction), shards, ..setup };
        let setup = setup.on_removal(|_, _, _| ());
        let (building, mut cache) = measure(|| F::build(&setup));
        let total = signed(cache.footprint().total());
        assert_eq!(building.bytes_kept, total);
        let mut random = fastrand::Rng::with_seed(17);
        let (calls, ()) = measure(|| {
            for _ in 0..OPERATIONS {
                let key = random.u64(..2 * CAPACITY);
                let value = random.u64(..1 << 40);
                let ttl = SECOND * random.u32(..200);
                match random.u8(..32) {
                    0..=6 => _ = cache.insert(key, value),
                    7..=8 => _ = cache.insert_with_ttl(key, value, ttl),
                    9..=10 => _ = cache.insert_if_absent(key, value),
                    11..=12 => cache.compute(key, |_| Compute::Set(value, ())),
                    13 => cache.compute(key, |_| Compute::SetWithTtl(value, ttl.into(), ())),
                    14 => cache.compute(key, |live| {
                        if let Some(held) = live {
                            *held = value;
                        }
                        Compute::Keep(())
                    }),
                    15 => cache.compute(key, |_| Compute::Remove(())),
                    16..=17 => _ = cache.update(&key, |held| *held = value),
                    18..=20 => _ = cache.get(&key),
                    21 => _ = cache.remove_if(&key, |held| held % 2 == 0),
                    22 => _ = cache.remove_entry(&key),
                    23 => cache.insert_many((key..key + 20).map(|key| (key, value))),
                    24 => cache.read_many(&[key; 20], |_, _| ()),
                    25 => _ = cache.get_or_insert_with(&key, || value),
                    26 => _ = cache.get_or_load(&key, || Ok::<_, ()>((value, ttl))).is_ok(),
                    27 => _ = cache.set_ttl(&key, Ttl::Default),
                    28 => _ = cache.get_and_set_ttl(&key, ttl),
                    29 => _ = (cache.expires_in(&key), cache.next_expiry(), cache.reap(9)),
                    30 if random.u16(..2_000) == 0 => {
                        cache.for_each_entry(|entry| assert!(entry.expires_in() <= MINUTE));
                        cache.retain(|key, _| key % 5 != 0);
                    }
                    _ => setup.clock.advance(SECOND / 20),
                }
            }
        });
        assert_eq!(calls, Traffic::NONE, "{eviction:?} in {shards:?} shards");
        let stats = cache.stats();
        for count in [stats.evicted, stats.expired, stats.replaced, stats.removed, stats.hits] {
            assert!(count > OPERATIONS as u64 / 500, "{stats:?}");
        }
        assert!(stats.weight <= 45 * CAPACITY && stats.weight_peak > 40 * CAPACITY, "{stats:?}");
        assert_eq!(cache.footprint().total(), total as usize);
        let (dropping, ()) = measure(|| drop(cache));
        assert_eq!((dropping.bytes_kept, dropping.allocations), (-total, 0));
    }
}

/// Values of 1 kB to 5 MB: what they own together, counted by the allocator between the calls.
fn a_bound_on_the_weight_bounds_the_heap<F: Family>() {
    const MOST: isize = 64 << 20;
    for shards in [None, Some(8)] {
        let setup = Setup::<u64, Vec<u8>>::of_capacity(10_000);
        let setup = setup.weighed(MOST as u64, |_, value| value.capacity() as u64);
        let mut cache = F::build(&Setup { shards, ..setup });
        let mut random = fastrand::Rng::with_seed(5);
        let mut most_kept = 0;
        let mut calls_near_the_most = 0;
        let (all, ()) = measure(|| {
            let mut kept = 0;
            for _ in 0..8_000 {
                let key = random.u64(..3_000);
                // Evenly on a scale of logarithms.
                let bytes = (1_000.0 * 5_000_f64.powf(random.f64())) as usize;
                let make = || Vec::<u8>::with_capacity(bytes);
                let (call, ()) = measure(|| match random.u8(..10) {
                    0..=4 => drop(cache.insert(key, make())),
                    5 => cache.compute(key, |_| Compute::Set(make(), ())),
                    6 => _ = cache.update(&key, |value| *value = make()),
                    7 => cache.compute(key, |live| match live {
                        Some(value) => {
                            value.reserve_exact(bytes);
                            Compute::Keep(())
                        }
                        None => Compute::Set(make(), ()),
                    }),
                    8 => drop(cache.insert_if_absent(key, make())),
                    // (The cache for many threads returns a clone, which is dropped at once.)
                    _ => drop(cache.get_or_insert_with(&key, make)),
                });
                kept += call.bytes_kept;
                most_kept = most_kept.max(kept);
                calls_near_the_most += u32::from(kept > MOST / 2);
                assert!(kept <= MOST + MOST / 20, "{kept} bytes of {MOST}");
                assert!(cache.stats().weight as isize <= MOST);
            }
        });
        assert!(most_kept > MOST / 10 * 7, "seldom full: {most_kept}");
        assert!(calls_near_the_most > 2_000, "{calls_near_the_most}");
        assert!(cache.stats().evicted > 100);
        assert!(all.bytes_kept > 0);
        let (clearing, ()) = measure(|| cache.clear());
        assert_eq!(clearing.bytes_kept, -all.bytes_kept, "nothing leaks");
        assert_eq!(cache.stats().weight, 0);
    }
}

punctual_testing::test_both_caches! {
    footprint_is_exact_with_rules
    rules_cost_what_the_docs_say
    nothing_is_allocated_under_all_rules
    a_bound_on_the_weight_bounds_the_heap
}
