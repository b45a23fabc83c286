//! Many threads ask for one key whose load brings nothing to store: how long they wait.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use punctual::{Cache, LoadError};
use punctual_figures::record::BarLine;

use super::callers::in_threads;
use super::{LOAD, RUNS};
use crate::bar::{Bar, COUNT, Limit, MILLIS};

const CALLERS: usize = 50;
const KEY: u64 = 7;

type Loaded = Result<u64, LoadError<&'static str>>;

pub(super) fn lines() -> Vec<BarLine> {
    let (loads, slowest) = runs(|cache, load| {
        let result = cache.try_get_or_insert_with(&KEY, || {
            load();
            Err("no backend")
        });
        assert!(result.is_err());
        result
    });
    let (_, slowest_of_zero) = runs(|cache, load| {
        cache.get_or_load(&KEY, || {
            load();
            Ok((1, Duration::ZERO))
        })
    });
    let name = |what: &str, load: &str| format!("{what} of {CALLERS} threads, one key, {load}");
    vec![
        Bar::new(name("loads", "fails"), COUNT, Limit::exactly(1.0)).worst(loads, ""),
        Bar::new(name("slowest", "fails"), MILLIS, Limit::at_most(60.0)).median(slowest),
        Bar::new(name("slowest", "TTL of zero"), MILLIS, Limit::at_most(110.0))
            .median(slowest_of_zero),
    ]
}

/// Returns how often the loader ran, and the milliseconds of the slowest caller, run by run.
fn runs(call: impl Fn(&Cache<u64, u64>, &dyn Fn()) -> Loaded + Sync) -> (Vec<f64>, Vec<f64>) {
    (0..RUNS).map(|_| run(&call)).unzip()
}

fn run(call: impl Fn(&Cache<u64, u64>, &dyn Fn()) -> Loaded + Sync) -> (f64, f64) {
    let cache = Cache::new(1_000);
    let loads = AtomicUsize::new(0);
    let load = || {
        loads.fetch_add(1, Relaxed);
        thread::sleep(LOAD);
    };
    let times = in_threads(CALLERS, |_| {
        let start = Instant::now();
        let _ = call(&cache, &load);
        start.elapsed()
    });
    let slowest = times.into_iter().max().unwrap_or_default();
    (loads.load(Relaxed) as f64, slowest.as_secs_f64() * 1e3)
}
