//! What a public type says of itself when it is printed.

#![cfg(not(punctual_loom))]

use std::time::Duration;

use punctual::{Builder, Cache, Clock, ManualClock, RandomState, Reaper, unsync};

const TTL: Duration = Duration::from_secs(90);

#[test]
fn caches_and_builders_tell_their_settings() {
    let clock = ManualClock::new();
    clock.set(3 * TTL);
    assert_eq!(format!("{clock:?}"), "ManualClock(270s)");

    let builder: Builder<u64, u64> = Cache::builder().capacity(12).ttl(TTL).reaper(Reaper::Manual);
    let printed = format!("{builder:?}");
    assert!(printed.contains("12") && printed.contains("90s"), "{printed}");
    assert!(printed.contains("Manual") && printed.contains("SystemClock"), "{printed}");
    let cache = builder.clock(clock.clone()).build().unwrap();
    let other = cache.clone();
    let printed = format!("{other:?}");
    assert!(printed.contains("capacity: 12") && printed.contains("90s"), "{printed}");
    assert!(printed.contains("ManualClock") && printed.contains("Manual,"), "{printed}");
    assert!(printed.contains("handles: 2"), "{printed}");

    let builder: unsync::Builder<u64, u64> = unsync::Cache::builder().capacity(12).ttl(TTL);
    let printed = format!("{builder:?}");
    assert!(printed.contains("12") && printed.contains("90s"), "{printed}");
    let mut cache = builder.clock(ClockFn(|| TTL)).build().unwrap();
    cache.insert(1, 1);
    let printed = format!("{cache:?}");
    assert!(printed.contains("len: 1") && printed.contains("capacity: 12"), "{printed}");
    assert!(printed.contains("90s") && printed.contains("Clock of the caller"), "{printed}");
}

punctual_testing::clock_fn!(Clock);

#[test]
fn a_hasher_hides_its_seed() {
    use std::hash::BuildHasher;

    let hasher = RandomState::default().build_hasher();
    assert_eq!(format!("{hasher:?}"), "DefaultHasher { .. }");
}
