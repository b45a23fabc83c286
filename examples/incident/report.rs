//! The tables, as text of at most 100 columns.

use std::io::{self, Write};
use std::path::Path;

pub(crate) use punctual_figures::grouped as thousands;

use crate::replay::{Comparison, HEADROOM, Sample};
use crate::trace_replay::{MOMENTS_MAX, TraceRow};
use crate::traffic::Scenario;

/// How far apart the rows over simulated time are.
const ROW_SECONDS: u64 = 900;
/// uWSGI workers on each of the article's hosts.
const WORKERS: usize = 4;
const CACHES_PER_WORKER: usize = 2;

const OVER_TIME_LEGEND: &str = "
  time     simulated, hours:minutes
  held     entries in memory
  live     of those, what a lookup finds
  expired  of those, what has passed its TTL and is still held
  MiB      allocated and not given back, ids included; counted in the allocator, pages that
           nobody has touched too. The original's map and queue grow by doubling: its steps
  hits     of the lookups since the row above
";

const TOTALS_LEGEND: &str = r#"
  bytes an entry  all bytes divided by the entries held, or by those of them that live
  8 caches        four times what the worker above holds
  article         its MB are MiB: 700 bytes x 500,000 x 8 = 2,670 MiB, its "2.67 GB"

The same entry takes less in Rust than in Python. So compare the course over time, and the
Rust rows with one another; not Rust with Python.
"#;

const TRACE_LEGEND: &str = "
  hits       requests answered from the cache
  expired    of the entries in memory, those that no lookup would find
  occupancy  of the capacity, the entries in memory, live or expired

";

pub(crate) fn scenario(out: &mut impl Write, scenario: &Scenario) -> io::Result<()> {
    let ln_users = f64::from(scenario.users).ln();
    writeln!(
        out,
        "The incident in simulated time: one worker with its two caches, String to String,\n\
         user_id_012345678901 -> display_id_ABCDEFGH and back.\n"
    )?;
    let mut parameter = |name: &str, value: String| writeln!(out, "  {name:<18}{value}");
    parameter("capacity", format!("{} entries a cache", thousands(scenario.capacity)))?;
    parameter("TTL", format!("{} s", thousands(scenario.ttl_seconds)))?;
    parameter(
        "requests",
        format!(
            "{}/s, evenly spaced; each looks up one cache, drawn evenly; a miss stores",
            thousands(scenario.requests_per_second),
        ),
    )?;
    parameter(
        "users",
        format!(
            "{}; the r-th most active makes 1 / ({ln_users:.1} r) of the requests (Zipf)",
            thousands(scenario.users),
        ),
    )?;
    parameter(
        "simulated",
        format!(
            "{} h, {} requests, the same in every run (seed {})",
            scenario.hours,
            thousands(scenario.requests()),
            scenario.seed,
        ),
    )?;
    writeln!(out)
}

/// The original and punctual side by side.
pub(crate) fn over_time(out: &mut impl Write, comparison: &Comparison) -> io::Result<()> {
    let columns =
        format!("{:>9} {:>9} {:>9} {:>7} {:>6}", "held", "live", "expired", "MiB", "hits");
    writeln!(out, "Both caches of the worker together:\n")?;
    writeln!(out, "{:>5} | {:^44} | {:^44}", "", "original", "punctual")?;
    writeln!(out, "{:>5} | {columns} | {columns}", "time")?;
    writeln!(out, "{0:-<5}-+-{0:-<44}-+-{0:-<44}", "")?;

    let mut previous = [Sample::default(); 2];
    for (original, punctual) in comparison.original.iter().zip(&comparison.punctual.samples) {
        if original.at_seconds % ROW_SECONDS != 0 {
            continue;
        }
        let [left, right] =
            [(original, previous[0]), (punctual, previous[1])].map(|(now, before)| {
                format!(
                    "{:>9} {:>9} {:>9} {:>7.1} {:>6}",
                    thousands(now.held),
                    thousands(now.live),
                    thousands(now.expired()),
                    mebibytes(now.bytes_held),
                    percent(now.hits - before.hits, now.lookups - before.lookups),
                )
            });
        let (hour, minute) = (original.at_seconds / 3_600, original.at_seconds / 60 % 60);
        writeln!(out, "{hour:>2}:{minute:02} | {left} | {right}")?;
        previous = [*original, *punctual];
    }
    writeln!(out, "{OVER_TIME_LEGEND}")?;
    for (name, samples) in
        [("the original", &comparison.original), ("punctual", &comparison.punctual.samples)]
    {
        let end = end_of(samples);
        writeln!(
            out,
            "At the end {} of the {} entries that {name} holds are expired ({}).",
            thousands(end.expired()),
            thousands(end.held),
            percent(end.expired() as u64, end.held as u64),
        )?;
    }
    writeln!(out)
}

/// The end of each replay, for all workers, beside what the article says.
pub(crate) fn totals(out: &mut impl Write, comparison: &Comparison) -> io::Result<()> {
    let Comparison { scenario, original, punctual, recommended, bytes } = comparison;
    writeln!(out, "{:<36} | {:^17} | {:^19} |", "", "bytes an entry", "MiB")?;
    let mut row = |name: &str, [held, live, cache, host, hits]: [&str; 5]| {
        writeln!(out, "{name:<36} | {held:>8} {live:>8} | {cache:>9} {host:>9} | {hits:>6}")
    };
    row(
        &format!("{WORKERS} workers, after {} h", scenario.hours),
        ["held", "live", "one cache", &format!("{} caches", WORKERS * CACHES_PER_WORKER), "hits"],
    )?;
    row(&"-".repeat(36), [8, 8, 9, 9, 6].map(|width| &"---------"[..width]))?;
    row("article, Python: estimated", ["100", "", "47.6", "380", ""])?;
    row("article, Python: measured", ["700-800", "", "334", "2,670", ""])?;
    for (name, size, samples) in [
        ("original in Rust", thousands(scenario.capacity), original),
        ("punctual", thousands(punctual.capacity), &punctual.samples),
        ("punctual, as recommended", thousands(recommended.capacity), &recommended.samples),
        ("ByteCache, as recommended", kibibytes(bytes.budget_bytes), &bytes.samples),
    ] {
        let end = end_of(samples);
        row(
            &format!("{name}: {size}"),
            [
                &thousands(end.bytes_held / end.held.max(1)),
                &thousands(end.bytes_held / end.live.max(1)),
                &format!("{:.1}", mebibytes(end.bytes_held / CACHES_PER_WORKER)),
                &format!("{:.1}", host_mebibytes(&end)),
                &percent(end.hits, end.lookups),
            ],
        )?;
    }
    writeln!(out, "{TOTALS_LEGEND}")
}

/// Rule 1 as numbers: what the cache says of its own size, and what following it saves.
pub(crate) fn recommendation(out: &mut impl Write, comparison: &Comparison) -> io::Result<()> {
    let Comparison { original, punctual, recommended, bytes, .. } = comparison;
    writeln!(out, "What punctual says of itself (of two caches, the larger figure):\n")?;
    let mut fact = |name: &str, value: String| writeln!(out, "  {name:<34}{value}");
    fact("most entries live at once", thousands(punctual.live_peak))?;
    let name = format!("recommended_capacity({HEADROOM})");
    fact(&name, punctual.recommended_capacity.map_or("none".to_owned(), thousands))?;
    for run in [punctual, recommended] {
        let name = format!("footprint at {}", thousands(run.capacity));
        let bytes = run.footprint_bytes;
        let counted = run.samples.first().map_or(0, |start| start.bytes_held);
        let (bytes, counted) = (thousands(bytes), thousands(counted));
        fact(&name, format!("{bytes} bytes a cache; building two took {counted}"))?;
    }
    fact(
        &format!("evicted at {}", thousands(recommended.capacity)),
        thousands(recommended.evicted),
    )?;
    fact(
        &format!("recommended_budget({HEADROOM})"),
        format!("{} bytes", thousands(bytes.budget_bytes)),
    )?;
    let counted = bytes.samples.first().map_or(0, |start| start.bytes_held);
    let (name, counted) = ("footprint of a ByteCache", thousands(counted));
    let footprint = thousands(bytes.footprint_bytes);
    fact(name, format!("{footprint} bytes a cache; building two took {counted}"))?;
    fact("evicted, moved by the ByteCaches", {
        format!("{}, {} bytes", thousands(bytes.evicted), thousands(bytes.bytes_moved))
    })?;
    let saved = |samples: &[Sample]| {
        host_mebibytes(&end_of(samples)) - host_mebibytes(&end_of(&recommended.samples))
    };
    writeln!(
        out,
        "\nAt the recommended capacity {} caches take {:.1} MiB less than at {},\n\
         and {:.1} MiB less than the original.\n",
        WORKERS * CACHES_PER_WORKER,
        saved(&punctual.samples),
        thousands(punctual.capacity),
        saved(original),
    )
}

/// As in `9,612 KiB`.
fn kibibytes(bytes: usize) -> String {
    format!("{} KiB", thousands(bytes.div_ceil(1 << 10)))
}

fn end_of(samples: &[Sample]) -> Sample {
    samples.last().copied().unwrap_or_default()
}

fn host_mebibytes(worker: &Sample) -> f64 {
    mebibytes(worker.bytes_held * WORKERS)
}

/// One row a capacity: the original's outcome, punctual's, and the capacity punctual recommends.
pub(crate) fn trace_table(
    out: &mut impl Write,
    path: &Path,
    requests: usize,
    keys: usize,
    rows: &[TraceRow],
) -> io::Result<()> {
    writeln!(
        out,
        "{}: {} requests, {} keys\n",
        path.display(),
        thousands(requests),
        thousands(keys),
    )?;
    let columns = format!("{:>8} {:>8} {:>9}", "hits", "expired", "occupancy");
    writeln!(out, "{:>13} | {:^27} | {:^27} |", "", "original", "punctual")?;
    writeln!(out, "{:>13} | {columns} | {columns} | recommended", "capacity")?;
    writeln!(out, "{0:-<13}-+-{0:-<27}-+-{0:-<27}-+-{0:-<12}", "")?;
    for row in rows {
        let [left, right] = [row.original, row.punctual].map(|outcome| {
            format!(
                "{:>7.2}% {:>7.2}% {:>8.2}%",
                100.0 * outcome.hit_ratio(),
                100.0 * outcome.expired_share(),
                100.0 * outcome.occupancy(),
            )
        });
        writeln!(
            out,
            "{:>13} | {left} | {right} | {}",
            thousands(row.capacity),
            row.recommended_capacity.map_or("none".to_owned(), thousands),
        )?;
    }
    write!(out, "{TRACE_LEGEND}")?;
    writeln!(
        out,
        "expired and occupancy: means over the moments of all requests, {} of them at most.\n\
         recommended: recommended_capacity({HEADROOM}); none if it had to evict.",
        thousands(MOMENTS_MAX),
    )
}

pub(crate) fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// `part` of `whole` as in `71.05%`.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.2}%", 100.0 * part as f64 / whole as f64)
}
