//! Panics of callers' code, where this cache does otherwise than that for one thread:
//! see `panic::cache_tests` for both.

use std::time::Duration;

use punctual_testing::panics::{
    Code, Injector, Key, Value, assert_none_alive, injected, keys, run,
};

use crate::Cache;

type TestCache = Cache<Key, Value>;

/// The clone that `get_and_set_ttl` would have returned is dropped on the way,
/// after a first panic: a second one in its `Drop` must not end the process.
#[test]
fn a_clone_that_nobody_gets_is_dropped_with_care() {
    let builder = Cache::builder().capacity(4);
    let cache: TestCache = builder.on_removal(|_, _, _| run(Code::Listener)).build().unwrap();
    cache.insert(Key::new(0), Value::new());
    let injector = Injector::new(0, 5, Code::runs_last);
    let panic = injected(|| cache.get_and_set_ttl(&keys()[0], Duration::ZERO));
    drop(injector);
    assert_eq!(panic.expect_err("the listener panics").number, 5, "not the first panic");
    drop(cache);
    assert_none_alive();
}

/// `Hash` or `Eq` panics, and then the `Drop` of what was to be put in: the second
/// panic must not end the process.
#[test]
fn what_a_panic_keeps_out_is_dropped_with_care() {
    // The first call is that of `Hash`, the second that of `Eq`.
    for panics_at in [0, 1] {
        for ttl in [Duration::ZERO, Duration::MAX] {
            let cache: TestCache = Cache::new(4);
            cache.insert(Key::new(0), Value::new());
            let (key, value) = (Key::new(0), Value::new());
            let injector = Injector::new(panics_at, 3, |_| true);
            let panic = injected(|| cache.insert_with_ttl(key, value, ttl));
            drop(injector);
            assert_eq!(panic.expect_err("it panics").number, 3);
            drop(cache);
            assert_none_alive();
        }
    }
}
