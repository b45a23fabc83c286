//! Publishes the statistics of caches by the crate `metrics`, for whatever exporter it is given.
//!
//! ```sh
//! cargo run --release --example metrics
//! ```
//!
//! `publish` is all that a service needs, called every few seconds. The recorder here only prints:
//! a service installs that of an exporter instead.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, counter, gauge,
};
use punctual::{Cache, StatKind, Stats};

/// Publishes every figure of a cache, with its name as a label.
fn publish<K, V, S>(cache: &Cache<K, V, S>) {
    let cache_name = cache.name().unwrap_or("unnamed").to_owned();
    for (field, kind, value) in cache.stats().fields() {
        let metric = format!("punctual_{field}");
        match kind {
            StatKind::Counter => counter!(metric, "cache" => cache_name.clone()).absolute(value),
            _ => gauge!(metric, "cache" => cache_name.clone()).set(value as f64),
        }
    }
}

/// Keeps what it is told in memory.
#[derive(Clone, Default)]
struct Memory {
    counters: Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>,
    gauges: Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>,
}

impl Memory {
    fn cell(cells: &Mutex<BTreeMap<String, Arc<AtomicU64>>>, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> =
            key.labels().map(|it| format!("{}={}", it.key(), it.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry(name).or_default().clone()
    }

    /// Returns names and values: counters first.
    fn all(&self) -> Vec<(String, f64)> {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = counters.iter().map(|(name, cell)| (name, cell.load(Relaxed) as f64));
        let gauges = gauges.iter().map(|(name, cell)| (name, f64::from_bits(cell.load(Relaxed))));
        counters.chain(gauges).map(|(name, value)| (name.clone(), value)).collect()
    }
}

impl Recorder for Memory {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Self::cell(&self.counters, key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Self::cell(&self.gauges, key))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// What an operator asks first: a line of rates, from two readings.
fn print_rates(name: &str, since: &Stats, period: Duration) {
    let lookups = (since.hits + since.misses) as f64 / period.as_secs_f64();
    let hits = since.hit_ratio().unwrap_or(0.0) * 100.0;
    println!("{name}: {lookups:.0} lookups a second, {hits:.1} % hits, {} held", since.held);
}

fn main() -> Result<(), Box<dyn Error>> {
    let recorder = Memory::default();
    metrics::set_global_recorder(recorder.clone())?;

    let builder = Cache::builder().capacity(1_000).ttl(Duration::from_secs(60));
    let users: Cache<u64, String> = builder.name("users").build()?;
    let mut earlier = users.stats();
    for second in 0..3 {
        // One second of traffic, of which the example takes less.
        for request in 0..1_000_u64 {
            let id = (request * request + second) % 1_500;
            users.get_or_insert_with(&id, || format!("user {id}"));
        }
        let stats = users.stats();
        print_rates("users", &stats.since(&earlier), Duration::from_secs(1));
        earlier = stats;
        publish(&users);
    }

    println!();
    for (name, value) in recorder.all() {
        println!("{name:<40} {value}");
    }
    let published = |field: &str| {
        let name = format!("punctual_{field}{{cache=users}}");
        recorder.all().into_iter().find(|(it, _)| *it == name).map(|(_, value)| value as u64)
    };
    for (field, _, value) in users.stats().fields() {
        assert_eq!(published(field), Some(value), "{field}");
    }
    Ok(())
}
