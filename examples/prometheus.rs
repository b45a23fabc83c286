//! The statistics of all caches of a service in the text format of Prometheus, written by hand.
//!
//! ```sh
//! cargo run --release --example prometheus
//! ```
//!
//! A service answers `GET /metrics` with this text, and the content type
//! `text/plain; version=0.0.4`.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use punctual::{Cache, StatKind, Stats};

/// What is read of a cache at one moment.
struct Reading {
    name: String,
    stats: Stats,
    capacity: usize,
    footprint_bytes: usize,
}

impl Reading {
    fn of<K, V, S>(cache: &Cache<K, V, S>) -> Self {
        Self {
            name: cache.name().unwrap_or("unnamed").to_owned(),
            stats: cache.stats(),
            capacity: cache.capacity(),
            footprint_bytes: cache.footprint().total(),
        }
    }
}

/// Writes a label's value, in which three characters are escaped.
fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// Writes one metric of all caches: the format wants the lines of a metric together.
fn write_metric(
    text: &mut String,
    name: &str,
    kind: StatKind,
    readings: &[Reading],
    value: impl Fn(&Reading) -> u64,
) {
    let (kind, suffix) = match kind {
        StatKind::Counter => ("counter", "_total"),
        _ => ("gauge", ""),
    };
    _ = writeln!(text, "# TYPE punctual_{name}{suffix} {kind}");
    for reading in readings {
        let cache = escaped(&reading.name);
        _ = writeln!(text, "punctual_{name}{suffix}{{cache=\"{cache}\"}} {}", value(reading));
    }
}

fn exposition(readings: &[Reading]) -> String {
    let mut text = String::new();
    // The same fields for every cache, in the same order.
    for (position, (name, kind, _)) in Stats::default().fields().enumerate() {
        write_metric(&mut text, name, kind, readings, |reading| {
            reading.stats.fields().nth(position).map_or(0, |(_, _, value)| value)
        });
    }
    // What does not change, to be compared with `held`.
    let capacity = |reading: &Reading| reading.capacity as u64;
    write_metric(&mut text, "capacity", StatKind::Gauge, readings, capacity);
    let bytes = |reading: &Reading| reading.footprint_bytes as u64;
    write_metric(&mut text, "footprint_bytes", StatKind::Gauge, readings, bytes);
    text
}

fn main() -> Result<(), Box<dyn Error>> {
    let builder = Cache::builder().capacity(1_000).ttl(Duration::from_secs(60));
    let users: Cache<u64, String> = builder.name("users").build()?;
    let pages: Cache<String, Vec<u8>> = Cache::builder()
        .capacity(1_000)
        .weigher(|url: &String, page: &Vec<u8>| (url.capacity() + page.capacity()) as u64)
        .max_weight(1 << 20)
        .name("\"pages\"")
        .build()?;
    for request in 0..1_000_u64 {
        let id = request * request % 700;
        users.get_or_insert_with(&id, || format!("user {id}"));
        pages.get_or_insert_with(format!("page {id}").as_str(), || vec![0; 20_000]);
    }

    let text = exposition(&[Reading::of(&users), Reading::of(&pages)]);
    print!("{text}");
    let capacity = format!(r#"punctual_capacity{{cache="\"pages\""}} {}"#, pages.capacity());
    for line in [
        "# TYPE punctual_hits_total counter",
        "# TYPE punctual_held gauge",
        r#"punctual_loads_failed_total{cache="users"} 0"#,
        &capacity,
    ] {
        assert!(text.lines().any(|it| it == line), "{line}");
    }
    Ok(())
}
