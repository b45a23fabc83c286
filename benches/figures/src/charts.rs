//! The record's figures as charts, each by the name of its file.

use std::error::Error;

use crate::chart::{Axis, Dot, Dots, Lines, Series, push};
use crate::record::{Growth, Hit, Latencies, Memory, Outcome, Promptness, Record, Speed, Wheel};
use crate::table::grouped;
use crate::tables::hit_rows;

/// A chart, drawn.
pub struct Drawing {
    /// Of a file, without its ending.
    pub name: String,
    pub svg: String,
    /// What is drawn: the same for the same figures, whatever draws them.
    pub content: String,
}

impl Drawing {
    fn lines(name: &str, lines: &Lines) -> Result<Self, Box<dyn Error>> {
        Ok(Self { name: name.to_owned(), svg: lines.svg()?, content: format!("{lines:?}") })
    }

    fn dots(name: &str, dots: &Dots) -> Result<Self, Box<dyn Error>> {
        Ok(Self { name: name.to_owned(), svg: dots.svg()?, content: format!("{dots:?}") })
    }
}

type Drawings = Result<Vec<Drawing>, Box<dyn Error>>;

/// All charts of a record.
pub fn all(record: &Record) -> Drawings {
    let mut drawings = Vec::new();
    if let Some(part) = &record.memory {
        drawings.extend(memory(&part.data)?);
    }
    if let Some(part) = &record.promptness {
        drawings.extend(promptness(&part.data)?);
    }
    if let Some(part) = &record.speed {
        drawings.extend(speed(&part.data)?);
    }
    if let Some(part) = &record.storm {
        drawings.extend(storm(&part.data.due_together, &part.data.after_days)?);
    }
    if let Some(part) = &record.hit {
        drawings.extend(hit(&part.data)?);
    }
    if let Some(part) = &record.growth {
        drawings.extend(growth(&part.data)?);
    }
    if let Some(part) = &record.wheel {
        drawings.extend(wheel(&part.data)?);
    }
    Ok(drawings)
}

pub(crate) fn memory(memory: &Memory) -> Drawings {
    let mut series = Vec::new();
    for result in memory.counted.iter().filter(|result| result.material == "u64") {
        let bytes = result.bytes as f64 / result.capacity as f64;
        push(&mut series, &result.subject, (result.capacity as f64, bytes));
    }
    let chart = Lines {
        title: "Memory of a full cache, u64 to u64".to_owned(),
        x: Axis::logarithmic("capacity (entries)"),
        y: Axis::linear("bytes an entry"),
        series,
    };
    let mut drawings = vec![Drawing::lines("memory", &chart)?];
    const STAGES: [&str; 3] = ["empty", "a tenth full", "full"];
    let mut series = Vec::new();
    for result in &memory.resident {
        let stages = [result.bytes_empty, result.bytes_tenth, result.bytes_full];
        for (row, bytes) in stages.into_iter().enumerate() {
            let mib = bytes as f64 / f64::from(1 << 20);
            let dot = Dot { row, low: mib, middle: mib, high: mib };
            push(&mut series, &result.subject, dot);
        }
    }
    if let Some(first) = memory.resident.first() {
        let chart = Dots {
            title: format!("Resident memory, {} entries of u64 to u64", grouped(first.capacity)),
            x: Axis::linear("resident (MiB)"),
            rows: STAGES.map(str::to_owned).to_vec(),
            series,
        };
        drawings.push(Drawing::dots("resident", &chart)?);
    }
    Ok(drawings)
}

pub(crate) fn promptness(promptness: &Promptness) -> Drawings {
    let draw = |loaded: bool| {
        let mut series = Vec::new();
        for cache in promptness.caches.iter().filter(|cache| cache.loaded == loaded) {
            for &(ms, share) in &cache.held {
                push(&mut series, &cache.subject, (ms as f64, 100.0 * share));
            }
        }
        let (name, meanwhile) = if loaded {
            ("promptness-under-load", "others ask for other keys")
        } else {
            ("promptness-idle", "nobody calls")
        };
        let chart = Lines {
            title: format!("The dead that are still in memory while {meanwhile}"),
            x: Axis::logarithmic("time since the last deadline (ms)"),
            y: Axis::linear("dead entries held (%)"),
            series,
        };
        Drawing::lines(name, &chart)
    };
    Ok(vec![draw(false)?, draw(true)?])
}

fn dot(row: usize, result: &crate::record::Timing) -> Dot {
    Dot { row, low: result.quantile(0.25), middle: result.median(), high: result.quantile(0.75) }
}

/// A chart for each size, number of threads, and kind of entries.
pub(crate) fn speed(speed: &Speed) -> Drawings {
    let mut groups: Vec<Vec<&Outcome>> = Vec::new();
    let key = |outcome: &Outcome| (outcome.material.clone(), outcome.capacity, outcome.threads);
    for outcome in &speed.outcomes {
        match groups.iter_mut().find(|group| key(group[0]) == key(outcome)) {
            Some(group) => group.push(outcome),
            None => groups.push(vec![outcome]),
        }
    }
    let draw = |group: &Vec<&Outcome>| {
        let mut series: Vec<Series<Dot>> = Vec::new();
        for (row, outcome) in group.iter().enumerate() {
            for result in &outcome.results {
                push(&mut series, &result.subject, dot(row, result));
            }
        }
        let (material, capacity, threads) = key(group[0]);
        let plural = if threads == 1 { "" } else { "s" };
        let of = format!("{material} to {material}, {} entries", grouped(capacity));
        let chart = Dots {
            title: format!("Time of a call, {of}, {threads} thread{plural}"),
            x: Axis::logarithmic("time of a call (ns); dot: median, line: quartiles"),
            rows: group
                .iter()
                .map(|outcome| format!("{}, {}", outcome.operation, outcome.popularity))
                .collect(),
            series,
        };
        Drawing::dots(&format!("speed-{material}-{capacity}-{threads}").to_lowercase(), &chart)
    };
    groups.iter().map(draw).collect()
}

pub(crate) fn storm(due_together: &[Latencies], after_days: &[Latencies]) -> Drawings {
    let draw = |name: &str, title: &str, latencies: &[Latencies]| {
        let mut series = Vec::new();
        for each in latencies {
            let points = [
                (2.0, each.p50_nanos),
                (100.0, each.p99_nanos),
                (1_000.0, each.p999_nanos),
                (10_000.0, each.p9999_nanos),
                (each.calls as f64, each.max_nanos),
            ];
            for (calls, nanos) in points {
                push(&mut series, &each.subject, (calls, nanos.max(1) as f64 / 1e3));
            }
        }
        let chart = Lines {
            title: title.to_owned(),
            x: Axis::logarithmic("one call of so many takes longer; at the right end: the longest"),
            y: Axis::logarithmic("time of a call (µs)"),
            series,
        };
        Drawing::lines(name, &chart)
    };
    Ok(vec![
        draw("storm", "Calls while half a million entries fall due together", due_together)?,
        draw("after-days", "Calls to a cache that nobody touched for days", after_days)?,
    ])
}

/// What is compared in the pictures; tables have more.
const HIT_SUBJECTS: [&str; 9] = [
    "punctual",
    "moka",
    "moka Expiry",
    "mini-moka",
    "quick_cache",
    "quick_cache + deadline",
    "LRU",
    "S3-FIFO",
    "optimum",
];

pub(crate) fn hit(hit: &Hit) -> Drawings {
    let mut drawings = Vec::new();
    for (group, name, of) in [
        ("real/", "hit-ratio-real", "real traces"),
        ("generated/", "hit-ratio-generated", "generated traces"),
        ("ttl/", "hit-ratio-ttl", "traces with TTLs"),
    ] {
        let rows: Vec<_> = hit_rows(hit, group).collect();
        if rows.is_empty() {
            continue;
        }
        let mut series = Vec::new();
        for subject in HIT_SUBJECTS {
            for (row, (_, ratios)) in rows.iter().enumerate() {
                if let Some(ratio) = ratios.ratio(subject) {
                    let middle = 100.0 * ratio;
                    push(&mut series, subject, Dot { row, low: middle, middle, high: middle });
                }
            }
        }
        let chart = Dots {
            title: format!("Hit ratio at the same number of entries: {of}"),
            x: Axis::linear("hit ratio (%)"),
            rows: rows
                .iter()
                .map(|(trace, row)| format!("{trace}, {}", grouped(row.capacity)))
                .collect(),
            series,
        };
        drawings.push(Drawing::dots(name, &chart)?);
    }
    Ok(drawings)
}

pub(crate) fn growth(growth: &Growth) -> Drawings {
    let mut drawings = Vec::new();
    for operation in ["hit", "overwrite"] {
        let mut series = Vec::new();
        for outcome in growth.outcomes.iter().filter(|outcome| outcome.operation == operation) {
            for result in &outcome.results {
                push(&mut series, &result.subject, (outcome.capacity as f64, result.median()));
            }
        }
        let chart = Lines {
            title: format!("Time of {operation}s as the cache grows, u64 to u64, keys uniform"),
            x: Axis::logarithmic("entries"),
            y: Axis::linear("time of a call (ns)"),
            series,
        };
        drawings.push(Drawing::lines(&format!("growth-{operation}"), &chart)?);
    }
    Ok(drawings)
}

pub(crate) fn wheel(wheel: &Wheel) -> Drawings {
    let mut series = Vec::new();
    let mut rows: Vec<String> = Vec::new();
    for result in &wheel.timers {
        let phases = result.medians();
        rows = phases.iter().map(|(phase, _)| (*phase).to_owned()).collect();
        for (row, (_, nanos)) in phases.into_iter().enumerate() {
            let millions = 1e3 / nanos;
            let dot = Dot { row, low: millions, middle: millions, high: millions };
            push(&mut series, &result.subject, dot);
        }
    }
    let chart = Dots {
        title: "A million timers by themselves".to_owned(),
        x: Axis::logarithmic("million timers a second"),
        rows,
        series,
    };
    Ok(vec![Drawing::dots("wheel", &chart)?])
}
