//! The record's figures as charts, each by the name of its file; none where the record lacks the
//! part.

use crate::chart::{Axis, Chart, Point, Series, Upwards};
use crate::record::{Latencies, LoadOnCores, Outcome, Record, TimersResult};
use crate::subject::Subjects;
use crate::table::grouped;
use crate::tables::{HIT_GROUPS, hit_rows};

/// Charts, each with the name of its file, without its ending.
pub(crate) type Charts = Option<Vec<(String, Chart)>>;

/// Series as they come about, each in the style of its subject.
struct Collected<'a> {
    subjects: &'a Subjects,
    series: Vec<Series>,
}

impl<'a> Collected<'a> {
    fn new(record: &'a Record) -> Self {
        Self { subjects: &record.subjects, series: Vec::new() }
    }

    /// Adds a point to the series of a subject.
    fn push(&mut self, name: &str, point: impl Into<Point>) {
        let point = point.into();
        match self.series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push(point),
            None => self.series.push(Series {
                name: name.to_owned(),
                style: self.subjects.style(name),
                points: vec![point],
            }),
        }
    }
}

pub(crate) fn memory(record: &Record) -> Charts {
    let memory = &record.memory.as_ref()?.data;
    let mut counted = Collected::new(record);
    for result in memory.counted.iter().filter(|result| result.material == "u64") {
        counted.push(&result.subject, (result.capacity as f64, result.bytes_each()));
    }
    let mut resident = Collected::new(record);
    for result in &memory.resident {
        for (row, bytes) in result.bytes.into_iter().enumerate() {
            resident.push(&result.subject, (bytes as f64 / f64::from(1 << 20), row as f64));
        }
    }
    let counted = Chart {
        title: "Memory of a full cache, u64 to u64".to_owned(),
        x: Axis::logarithmic("capacity (entries)"),
        y: Upwards::Scale(Axis::linear("bytes an entry")),
        series: counted.series,
    };
    let mut charts = vec![("memory".to_owned(), counted)];
    if let Some(first) = memory.resident.first() {
        let resident = Chart {
            title: format!("Resident memory, {} entries of u64 to u64", grouped(first.capacity)),
            x: Axis::linear("resident (MiB)"),
            y: Upwards::Rows(["empty", "a tenth full", "full"].map(str::to_owned).into()),
            series: resident.series,
        };
        charts.push(("resident".to_owned(), resident));
    }
    Some(charts)
}

pub(crate) fn promptness(record: &Record) -> Charts {
    let caches = &record.promptness.as_ref()?.data;
    let of = |loaded: bool, name: &str, meanwhile: &str| {
        let mut held = Collected::new(record);
        for cache in caches.iter().filter(|cache| cache.loaded == loaded) {
            for &(ms, share) in &cache.held {
                held.push(&cache.subject, (ms as f64, 100.0 * share));
            }
        }
        let lines = Chart {
            title: format!("Expired entries still in memory while {meanwhile}"),
            x: Axis::logarithmic("time since the last deadline (ms)"),
            y: Upwards::Scale(Axis::linear("expired entries held (%)")),
            series: held.series,
        };
        (name.to_owned(), lines)
    };
    Some(vec![
        of(false, "promptness-idle", "nobody calls"),
        of(true, "promptness-under-load", "others ask for other keys"),
    ])
}

/// A chart for each size, number of threads, and kind of entries.
pub(crate) fn speed(record: &Record) -> Charts {
    let outcomes = &record.speed.as_ref()?.data;
    let groups = outcomes.chunk_by(|one, other| one.setup() == other.setup());
    let of = |group: &[Outcome]| {
        let mut times = Collected::new(record);
        for (row, outcome) in group.iter().enumerate() {
            for result in &outcome.results {
                let quartiles = Some((result.quantile(0.25), result.quantile(0.75)));
                let point = Point { x: result.median(), y: row as f64, quartiles };
                times.push(&result.subject, point);
            }
        }
        let Outcome { material, capacity, threads, .. } = &group[0];
        let name = format!("speed-{material}-{capacity}-{threads}").to_lowercase();
        let rows = group.iter().map(|it| format!("{}, {}", it.operation, it.popularity));
        let dots = Chart {
            title: format!("Time of a call, {material} to {}", group[0].setup()),
            x: Axis::logarithmic("time of a call (ns); dot: median, line: quartiles"),
            y: Upwards::Rows(rows.collect()),
            series: times.series,
        };
        (name, dots)
    };
    Some(groups.map(of).collect())
}

/// A chart for each load.
pub(crate) fn cores(record: &Record) -> Charts {
    let cores = &record.cores.as_ref()?.data;
    let of = |load: &LoadOnCores| {
        let mut curves = Collected::new(record);
        for result in &load.results {
            for (threads, millions) in load.threads.iter().zip(result.medians()) {
                curves.push(&result.subject, (*threads as f64, millions));
            }
        }
        let lines = Chart {
            title: format!("Calls of threads on {} processors: {}", cores.processors, load.load),
            x: Axis::linear("threads"),
            y: Upwards::Scale(Axis::linear("million calls a second")),
            series: curves.series,
        };
        let words = load.load.split(|c: char| !c.is_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        (format!("cores-{}", words.join("-").to_lowercase()), lines)
    };
    Some(cores.loads.iter().map(of).collect())
}

pub(crate) fn storm(record: &Record) -> Charts {
    let storm = &record.storm.as_ref()?.data;
    let of = |name: &str, title: &str, latencies: &[Latencies]| {
        let mut times = Collected::new(record);
        for each in latencies {
            let calls = [2.0, 100.0, 1_000.0, 10_000.0, each.calls as f64];
            for (calls, nanos) in calls.into_iter().zip(each.nanos) {
                times.push(&each.subject, (calls, nanos.max(1) as f64 / 1e3));
            }
        }
        let lines = Chart {
            title: title.to_owned(),
            x: Axis::logarithmic("one call of so many takes longer; at the right end: the longest"),
            y: Upwards::Scale(Axis::logarithmic("time of a call (µs)")),
            series: times.series,
        };
        (name.to_owned(), lines)
    };
    Some(vec![
        of("storm", "Calls while half a million entries fall due together", &storm.due_together),
        of("after-days", "Calls to a cache that nobody touched for days", &storm.after_days),
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

pub(crate) fn hit(record: &Record) -> Charts {
    let hit = &record.hit.as_ref()?.data;
    let of = |(group, of): (&str, &str)| {
        let rows = hit_rows(hit, group);
        let mut ratios = Collected::new(record);
        for subject in HIT_SUBJECTS {
            for (number, (_, row)) in rows.iter().enumerate() {
                if let Some(ratio) = row.ratio(subject) {
                    ratios.push(subject, (100.0 * ratio, number as f64));
                }
            }
        }
        let names = rows.iter().map(|(trace, row)| format!("{trace}, {}", grouped(row.capacity)));
        let dots = Chart {
            title: format!("Hit ratio at the same number of entries: {of}"),
            x: Axis::linear("hit ratio (%)"),
            y: Upwards::Rows(names.collect()),
            series: ratios.series,
        };
        let name = format!("hit-ratio-{}", group.trim_end_matches('/'));
        (!rows.is_empty()).then_some((name, dots))
    };
    Some(HIT_GROUPS.into_iter().filter_map(of).collect())
}

pub(crate) fn growth(record: &Record) -> Charts {
    let outcomes = &record.growth.as_ref()?.data;
    let of = |operation: &str| {
        let mut times = Collected::new(record);
        for outcome in outcomes.iter().filter(|outcome| outcome.operation == operation) {
            for result in &outcome.results {
                times.push(&result.subject, (outcome.capacity as f64, result.median()));
            }
        }
        let lines = Chart {
            title: format!("Time of {operation}s as the cache grows, u64 to u64, keys uniform"),
            x: Axis::logarithmic("entries"),
            y: Upwards::Scale(Axis::linear("time of a call (ns)")),
            series: times.series,
        };
        (format!("growth-{operation}"), lines)
    };
    Some(["hit", "overwrite"].map(of).into())
}

pub(crate) fn wheel(record: &Record) -> Charts {
    let timers = &record.wheel.as_ref()?.data;
    let mut rates = Collected::new(record);
    for result in timers {
        for (row, nanos) in result.medians().into_iter().enumerate() {
            rates.push(&result.subject, (1e3 / nanos, row as f64));
        }
    }
    let dots = Chart {
        title: "A million timers by themselves".to_owned(),
        x: Axis::logarithmic("million timers a second"),
        y: Upwards::Rows(TimersResult::PHASES.map(str::to_owned).into()),
        series: rates.series,
    };
    Some(vec![("wheel".to_owned(), dots)])
}
