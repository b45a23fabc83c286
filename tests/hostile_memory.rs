//! Building a cache while the allocator refuses one request, whichever it is: an
//! error that leaks nothing; or an abort, where std offers nothing fallible, and
//! then only of a request that was granted when it was tried just before.
//!
//! `memory.rs` has what happens when memory runs out and stays out.

#![cfg(not(any(punctual_loom, miri)))]

use std::process::Command;
use std::time::Duration;

use punctual::{BuildError, Cache, Clock, Eviction, Reaper, unsync};
use punctual_testing::alloc::{
    Counting, PerThread, REQUESTS_KEPT, Scarcity, measure, requested_bytes, with_little_memory,
};

#[global_allocator]
static ALLOCATOR: Counting<PerThread> = Counting(PerThread);

/// In the process that is to fail: the number of the setting and of the request.
const VARIABLE: &str = "PUNCTUAL_REFUSED_REQUEST";
const TEST: &str = "any_one_request_may_be_refused";

/// The largest of the requests that make a handle.
const HANDLE_BYTES_MAX: usize = 320;

punctual_testing::clock_fn!(Clock);

#[derive(Clone, Copy)]
struct Setting {
    eviction: Eviction,
    shards: usize,
    is_unsync: bool,
    has_callers_code: bool,
}

fn settings() -> Vec<Setting> {
    let mut settings = Vec::new();
    for eviction in punctual_testing::policies!(Eviction) {
        let is_default = eviction == Eviction::default();
        for is_unsync in [false, true] {
            let shards = if is_default { 2 } else { 1 };
            settings.push(Setting { eviction, shards, is_unsync, has_callers_code: is_default });
        }
    }
    settings
}

/// What is planned, and the call that builds it and drops the cache.
type Plan = (usize, Box<dyn FnOnce() -> Result<(), BuildError>>);

impl Setting {
    /// What the builder itself allocates, for the caller's clock and listener, it
    /// has before the cache is built.
    fn plan(self) -> Plan {
        macro_rules! plan {
            ($builder:expr) => {{
                let mut builder =
                    $builder.capacity(300).shards(self.shards).eviction(self.eviction);
                if self.has_callers_code {
                    let counts = [1u64; 5];
                    builder = builder
                        // Kept in a box, for what it has captured.
                        .clock(ClockFn(move || Duration::from_secs(counts[1])))
                        .on_removal(move |_, _, _| assert_eq!(counts[0], 1));
                }
                let total = builder.footprint().unwrap().total();
                (total, Box::new(move || builder.build().map(drop)))
            }};
        }
        if self.is_unsync {
            plan!(unsync::Cache::<u64, u64>::builder())
        } else {
            plan!(Cache::<u64, u64>::builder().reaper(Reaper::Manual))
        }
    }
}

/// The bytes of each request that building makes.
fn sizes(setting: Setting) -> Vec<usize> {
    let (total, build) = setting.plan();
    let none = Scarcity::Number(usize::MAX);
    with_little_memory(none, build).0.unwrap();
    let sizes = requested_bytes();
    assert!(sizes.len() < REQUESTS_KEPT, "some sizes are not kept");
    assert_eq!(sizes[0], total, "first, it is tried whether there is enough for all");
    sizes
}

/// Refuses one request of one setting, and says what came of it by how the
/// process ends: with an error and nothing leaked, or not at all well.
fn fail_in_this_process(which: &str) {
    let (setting, number) = which.split_once(' ').expect("two numbers");
    let setting = settings()[setting.parse::<usize>().unwrap()];
    let number = number.parse().unwrap();
    let (traffic, (result, refused)) = measure(|| {
        let (_, build) = setting.plan();
        with_little_memory(Scarcity::Number(number), build)
    });
    assert!(refused.is_some(), "there is no request {number}");
    assert!(matches!(result, Err(BuildError::OutOfMemory { .. })), "{result:?}");
    assert_eq!(traffic.bytes_kept, 0, "leaked when request {number} was refused");
}

#[test]
fn any_one_request_may_be_refused() {
    if let Ok(which) = std::env::var(VARIABLE) {
        return fail_in_this_process(&which);
    }
    let (mut errors, mut aborts) = (0, 0);
    for (index, setting) in settings().into_iter().enumerate() {
        let sizes = sizes(setting);
        for number in 0..sizes.len() {
            let output = Command::new(std::env::current_exe().unwrap())
                .args([TEST, "--exact", "--nocapture"])
                .env(VARIABLE, format!("{index} {number}"))
                .env("RUST_BACKTRACE", "0")
                .output()
                .unwrap();
            if output.status.success() {
                errors += 1;
                continue;
            }
            aborts += 1;
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(text.contains("memory allocation of"), "not an abort: {text}");
            let was_tried = number > 0 && sizes[number - 1] == sizes[number];
            // The two counters behind a handle, for which only the first request
            // of all has tried.
            let is_handle = number + 2 >= sizes.len() && sizes[number] <= HANDLE_BYTES_MAX;
            assert!(was_tried || is_handle, "request {number} of {sizes:?}: {text}");
        }
    }
    println!("{errors} requests refused with an error, {aborts} with an abort");
    assert!(errors > aborts && aborts > 0, "{errors} errors, {aborts} aborts");
}
