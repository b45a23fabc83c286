//! The record's figures as tables; none where the record lacks the part.

use crate::record::{BarLine, Hit, HitRow, Latencies, Record, Target};
use crate::subject::Kind;
use crate::table::{Table, grouped};

pub(crate) fn bars(record: &Record) -> Option<Table> {
    targets(&record.bars.as_ref()?.data.lines)
}

pub(crate) fn bars_of_cores(record: &Record) -> Option<Table> {
    bar_lines(&record.bars.as_ref()?.data.cores)
}

pub(crate) fn hit_bars(record: &Record) -> Option<Table> {
    targets(&record.hit.as_ref()?.data.bars)
}

fn targets(lines: &[Target]) -> Option<Table> {
    let rows = lines.iter().map(|line| {
        let Target { bar, against, must, aim, measured, verdict, details } = line;
        [bar, against, must, aim, measured, verdict, details]
    });
    Table::new("bar | against | must | aim | measured | | figures").with(rows)
}

pub(crate) fn loads(record: &Record) -> Option<Table> {
    bar_lines(&record.loads.as_ref()?.data)
}

pub(crate) fn pressure(record: &Record) -> Option<Table> {
    bar_lines(&record.pressure.as_ref()?.data)
}

pub(crate) fn rules(record: &Record) -> Option<Table> {
    bar_lines(&record.rules.as_ref()?.data)
}

pub(crate) fn bytes(record: &Record) -> Option<Table> {
    bar_lines(&record.bytes.as_ref()?.data)
}

fn bar_lines(lines: &[BarLine]) -> Option<Table> {
    let rows = lines.iter().map(|line| {
        let verdict = line.is_met.map_or("", |is_met| if is_met { "met" } else { "missed" });
        [&line.bar, &line.must, &line.aim, &line.measured, verdict]
    });
    Table::new("bar | must | aim | measured | verdict").with(rows)
}

/// Names in the order in which they first come.
fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

pub(crate) fn memory(record: &Record) -> Option<Table> {
    memory_of(record, &["u64", "String"])
}

pub(crate) fn memory_u64(record: &Record) -> Option<Table> {
    memory_of(record, &["u64"])
}

/// Bytes an entry at the best and the worst capacity, and allocations.
fn memory_of(record: &Record, materials: &[&str]) -> Option<Table> {
    let counted = &record.memory.as_ref()?.data.counted;
    let mut table = Table::new(
        "cache | entries of | bytes an entry, least | most | at entries | allocations an insert",
    );
    for &material in materials {
        let all = || counted.iter().filter(|result| result.material == material);
        for name in names(all().map(|result| &*result.subject)) {
            let mut each: Vec<_> = all().filter(|result| result.subject == name).collect();
            each.sort_by(|one, other| one.bytes_each().total_cmp(&other.bytes_each()));
            let (least, most) = (each.first()?, each.last()?);
            // What nobody allocates may be counted as a millionth, by threads of the cache.
            let allocations = Some(most.allocations_an_insert).filter(|it| it.abs() >= 0.005);
            table.row([
                name.to_owned(),
                material.to_owned(),
                format!("{:.1}", least.bytes_each()),
                format!("{:.1}", most.bytes_each()),
                grouped(most.capacity),
                format!("{:.2}", allocations.unwrap_or(0.0)),
            ]);
        }
    }
    Some(table)
}

/// What was said beforehand beside what was counted.
pub(crate) fn said(record: &Record) -> Option<Table> {
    let counted = &record.memory.as_ref()?.data.counted;
    let told: Vec<_> = counted
        .iter()
        .filter(|result| result.material == "u64")
        .filter_map(|result| Some((result, result.bytes_said?)))
        .collect();
    let subjects = names(told.iter().map(|(result, _)| &*result.subject));
    let heads = subjects.iter().map(|name| format!(" | {name}, said | counted"));
    let rows = told.chunk_by(|(one, _), (other, _)| one.capacity == other.capacity).map(|row| {
        let bytes = row.iter().flat_map(|(result, said)| [grouped(*said), grouped(result.bytes)]);
        [grouped(row[0].0.capacity)].into_iter().chain(bytes)
    });
    Table::new(&format!("capacity{}", heads.collect::<String>())).with(rows)
}

/// Of what a cache's bytes consist, for each entry of the capacity.
pub(crate) fn cost(record: &Record) -> Option<Table> {
    let rows = record.memory.as_ref()?.data.footprints.iter().map(|row| {
        let each = |bytes: usize| format!("{:.2}", bytes as f64 / row.capacity as f64);
        let rest = row.total - row.slots - row.index - row.wheel - row.eviction;
        let parts = [row.slots, row.index, row.wheel, row.eviction, rest].map(each);
        let totals = [format!("**{}**", each(row.total)), each(row.total_of_shared)];
        [grouped(row.capacity)].into_iter().chain(parts).chain(totals)
    });
    Table::new("entries | slots | index | wheel | eviction | rest | in all | `Cache`, in all")
        .with(rows)
}

pub(crate) fn resident(record: &Record) -> Option<Table> {
    let rows = record.memory.as_ref()?.data.resident.iter().map(|result| {
        let mib = result.bytes.map(|bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)));
        [result.subject.clone(), grouped(result.capacity)].into_iter().chain(mib)
    });
    Table::new("cache | capacity | MiB, empty | MiB, a tenth full | MiB, full").with(rows)
}

pub(crate) fn promptness(record: &Record) -> Option<Table> {
    let caches = &record.promptness.as_ref()?.data;
    let looks = caches.first()?.held.iter().map(|(ms, _)| grouped(*ms));
    let looks: String = looks.map(|ms| format!(" | % held after {ms} ms")).collect();
    let late = "ms late, half | ms late, 99 % | ms late, 99.9 % | ms late, last";
    let mut table = Table::new(&format!("cache{looks} | {late}"));
    for (loaded, title) in [(false, "Nobody calls"), (true, "Others ask for other keys")] {
        table.group(title);
        for cache in caches.iter().filter(|cache| cache.loaded == loaded) {
            let held = cache.held.iter().map(|(_, share)| format!("{:.1}", 100.0 * share));
            let late = cache.lateness_micros.map_or_else(
                || ["never"; 4].map(str::to_owned),
                |late| late.map(|micros| format!("{:.1}", micros as f64 / 1e3)),
            );
            table.row([cache.subject.clone()].into_iter().chain(held).chain(late));
        }
    }
    Some(table)
}

fn ratio(of: Option<f64>) -> String {
    of.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

/// Everything that was measured.
pub(crate) fn speed(record: &Record) -> Option<Table> {
    let mut table = Table::new(
        "cache | ns a call (median) | spread | times as fast as the best peer \
         | as the best that expires | hits",
    );
    for outcome in &record.speed.as_ref()?.data {
        let [best, best_expiring] = [false, true].map(|only_expiring| {
            Some(outcome.best_peer(&record.subjects, only_expiring)?.median())
        });
        let writes = ["insert", "overwrite", "remove"];
        let asks = !writes.iter().any(|start| outcome.operation.starts_with(start));
        table.group(outcome.name());
        for result in &outcome.results {
            let hits = asks.then(|| format!("{:.1} %", 100.0 * result.hit_share));
            table.row([
                result.subject.clone(),
                format!("{:.1}", result.median()),
                format!("{:.0} %", 100.0 * result.spread()),
                ratio(best.map(|best| best / result.median())),
                ratio(best_expiring.map(|best| best / result.median())),
                hits.unwrap_or_default(),
            ]);
        }
    }
    table.unless_empty()
}

/// Of each line only punctual and the best peers.
pub(crate) fn speed_summary(record: &Record) -> Option<Table> {
    let mut table =
        Table::new("ns a call | punctual | spread | best that expires | ratio | best peer | ratio");
    let outcomes = &record.speed.as_ref()?.data;
    for group in outcomes.chunk_by(|one, other| one.setup() == other.setup()) {
        table.group(group[0].setup());
        for outcome in group {
            let Some(own) = outcome.result("punctual") else { continue };
            let peers = [true, false].map(|only_expiring| {
                let peer = outcome.best_peer(&record.subjects, only_expiring);
                let shown = peer.map(|peer| format!("{} {:.1}", peer.subject, peer.median()));
                [shown.unwrap_or_default(), ratio(peer.map(|peer| peer.median() / own.median()))]
            });
            let line = [
                format!("{}, {}", outcome.operation, outcome.popularity),
                format!("{:.1}", own.median()),
                format!("{:.0} %", 100.0 * own.spread()),
            ];
            table.row(line.into_iter().chain(peers.into_iter().flatten()));
        }
    }
    table.unless_empty()
}

/// Everything that was measured.
pub(crate) fn cores(record: &Record) -> Option<Table> {
    let cores = &record.cores.as_ref()?.data;
    let threads = &cores.loads.first()?.threads;
    let heads = threads.iter().map(|threads| format!(" | {}", of_threads(*threads)));
    let most = threads.last()?;
    let mut table =
        Table::new(&format!("cache{} | p99.9 of {most} (µs) | hits", heads.collect::<String>()));
    for load in &cores.loads {
        table.group(format!("{}, {} processors", load.load, cores.processors));
        for result in &load.results {
            let millions = result.medians().into_iter().map(|millions| format!("{millions:.1}"));
            // Overwrites ask for nothing.
            let hits = (result.hit_share > 0.0).then(|| percent(result.hit_share) + " %");
            let last = [format!("{:.1}", result.p999_micros()), hits.unwrap_or_default()];
            table.row([result.subject.clone()].into_iter().chain(millions).chain(last));
        }
    }
    table.unless_empty()
}

fn of_threads(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

/// Whose throughput the documents show, besides punctual's.
const CORES_SUBJECTS: [&str; 5] = ["punctual", "quick_cache", "moka", "scc", "TinyUFO"];

/// Of each load only some subjects, all numbers of threads in one cell.
pub(crate) fn cores_summary(record: &Record) -> Option<Table> {
    let cores = &record.cores.as_ref()?.data;
    let threads = cores.loads.first()?.threads.iter().map(usize::to_string);
    let head = format!("{} threads, {} processors", slashed(threads), cores.processors);
    let rows = cores.loads.iter().map(|load| {
        let of = |subject: &str| {
            let medians = load.result(subject).map(|result| result.medians());
            slashed(medians.into_iter().flatten().map(short))
        };
        [load.load.clone()].into_iter().chain(CORES_SUBJECTS.into_iter().map(of))
    });
    Table::new(&format!("{head} | {}", CORES_SUBJECTS.join(" | "))).with(rows)
}

fn slashed(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" / ")
}

/// With two digits that count.
fn short(millions: f64) -> String {
    if millions < 9.95 { format!("{millions:.1}") } else { format!("{millions:.0}") }
}

pub(crate) fn storm(record: &Record) -> Option<Table> {
    latencies(&record.storm.as_ref()?.data.due_together)
}

pub(crate) fn after_days(record: &Record) -> Option<Table> {
    latencies(&record.storm.as_ref()?.data.after_days)
}

fn micros(nanos: u64, digits: usize) -> String {
    format!("{:.digits$}", nanos as f64 / 1e3)
}

fn latencies(latencies: &[Latencies]) -> Option<Table> {
    let rows = latencies.iter().map(|each| {
        let micros = each.nanos.map(|nanos| micros(nanos, 2));
        [each.subject.clone(), grouped(each.calls)].into_iter().chain(micros)
    });
    Table::new("cache | calls | p50 (µs) | p99 | p99.9 | p99.99 | longest (µs)").with(rows)
}

pub(crate) fn reap_limits(record: &Record) -> Option<Table> {
    let rows = record.storm.as_ref()?.data.reap_limits.iter().map(|each| {
        let (median, longest) = (micros(each.median_nanos, 1), micros(each.max_nanos, 1));
        [grouped(each.limit), median, longest, grouped(each.calls)]
    });
    Table::new("`reap_limit` | median call (µs) | longest (µs) | all freed after calls").with(rows)
}

pub(crate) fn growth(record: &Record) -> Option<Table> {
    let outcomes = &record.growth.as_ref()?.data;
    let subjects: Vec<&str> =
        outcomes.first()?.results.iter().map(|result| &*result.subject).collect();
    let head: String = subjects.iter().map(|subject| format!(" | {subject} (ns)")).collect();
    let mut table = Table::new(&format!("entries{head}"));
    for operation in names(outcomes.iter().map(|outcome| &*outcome.operation)) {
        table.group(format!("{operation}, keys uniform"));
        for outcome in outcomes.iter().filter(|outcome| outcome.operation == operation) {
            let times = subjects.iter().map(|subject| {
                outcome.result(subject).map_or_else(String::new, |result| {
                    format!("{:.1} ± {:.0} %", result.median(), 50.0 * result.spread())
                })
            });
            table.row([grouped(outcome.capacity)].into_iter().chain(times));
        }
    }
    Some(table)
}

pub(crate) fn wheel(record: &Record) -> Option<Table> {
    let rows = record.wheel.as_ref()?.data.iter().map(|result| {
        let each = result.medians().map(|nanos| format!("{:.1}", 1e3 / nanos));
        [result.subject.clone()].into_iter().chain(each)
    });
    Table::new(
        "a million timers | insert (million/s) | cancel (million/s) \
         | expire, cascades included (million/s)",
    )
    .with(rows)
}

pub(crate) fn operations(record: &Record) -> Option<Table> {
    let mut table = Table::new("operation | ns a call (median) | 95 % confidence");
    let operations = &record.operations.as_ref()?.data;
    for group in operations.chunk_by(|one, other| one.group == other.group) {
        table.group(&group[0].group);
        for each in group {
            let interval = format!("{:.1} to {:.1}", each.low_nanos, each.high_nanos);
            table.row([each.operation.clone(), format!("{:.1}", each.median_nanos), interval]);
        }
    }
    table.unless_empty()
}

/// A share in percent.
fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}

/// A share in percent, where there is one.
fn percent_or_dash(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), percent)
}

/// How the names of traces start, group by group, and what the groups are called.
pub(crate) const HIT_GROUPS: [(&str, &str); 3] =
    [("real/", "real traces"), ("generated/", "generated traces"), ("ttl/", "traces with TTLs")];

/// The rows of the traces whose names start so, by what the start does not tell.
pub(crate) fn hit_rows<'a>(hit: &'a Hit, group: &str) -> Vec<(&'a str, &'a HitRow)> {
    let mut rows = Vec::new();
    for table in &hit.tables {
        let Some(rest) = table.trace.strip_prefix(group) else { continue };
        let whole = table.trace.rsplit('/').next().unwrap_or(rest);
        let name = if rest.is_empty() { whole } else { rest };
        rows.extend(table.rows.iter().map(|row| (name, row)));
    }
    rows
}

/// The hit ratios of some columns on the traces of a group; of all columns, if none are named.
pub(crate) fn hit_ratio(record: &Record, group: &str, columns: &[&str]) -> Option<Table> {
    let rows = hit_rows(&record.hit.as_ref()?.data, group);
    let all = rows.iter().flat_map(|(_, row)| &row.ratios).map(|ratio| &*ratio.subject);
    let columns = if columns.is_empty() { names(all) } else { columns.to_vec() };
    let head = format!("trace | capacity | {} | the best other is ahead by", columns.join(" | "));
    let mut table = Table::new(&head);
    // Of the best that one could have, by how much each column is behind it at the worst row.
    let mut furthest_behind = vec![0.0_f64; columns.len()];
    for (trace, row) in &rows {
        let mut cells = vec![(*trace).to_owned(), grouped(row.capacity)];
        cells.extend(columns.iter().map(|column| percent_or_dash(row.ratio(column))));
        let (own, best) = (row.ratio("punctual"), row.best_other(&record.subjects));
        cells.push(own.zip(best).map_or_else(String::new, |(own, best)| {
            format!("{} ({})", percent(best.ratio - own), best.subject)
        }));
        table.row(cells);
        let best = best.map_or(0.0, |best| best.ratio).max(own.unwrap_or(0.0));
        for (column, furthest) in columns.iter().zip(&mut furthest_behind) {
            *furthest = furthest.max(best - row.ratio(column).unwrap_or(0.0));
        }
    }
    let mut table = table.unless_empty()?;
    let mut means = vec!["**mean**".to_owned(), String::new()];
    let mut behind = vec!["**furthest behind**".to_owned(), String::new()];
    for (column, furthest) in columns.iter().zip(furthest_behind) {
        // A figure over some rows would be compared with figures over all.
        let sum: Option<f64> = rows.iter().map(|(_, row)| row.ratio(column)).sum();
        means.push(percent_or_dash(sum.map(|sum| sum / rows.len() as f64)));
        let is_choice = record.subjects.kind(column) != Some(Kind::Optimum);
        behind.push(percent_or_dash(sum.filter(|_| is_choice).map(|_| furthest)));
    }
    table.row(means);
    table.row(behind);
    Some(table)
}

/// Hit ratios of caches that take the same number of bytes.
pub(crate) fn hit_bytes(record: &Record, group: &str, columns: &[&str]) -> Option<Table> {
    let bytes = &record.hit.as_ref()?.data.bytes;
    let rows: Vec<_> = bytes.iter().filter(|row| row.trace.starts_with(group)).collect();
    let all = rows.iter().flat_map(|row| &row.ratios).map(|ratio| &*ratio.subject);
    let columns = if columns.is_empty() { names(all) } else { columns.to_vec() };
    let mut table = Table::new(&format!(
        "trace | capacity of punctual | bytes | {} | punctual is ahead of the best by",
        columns.join(" | ")
    ));
    for row in &rows {
        let name = row.trace.strip_prefix(group).unwrap_or(&row.trace);
        let mut cells = vec![name.to_owned(), grouped(row.capacity), grouped(row.bytes)];
        cells.extend(columns.iter().map(|column| {
            row.of(column).map_or_else(String::new, |found| {
                format!("{} ({})", percent(found.ratio), grouped(found.capacity))
            })
        }));
        cells.push(format!("{:+.2}", 100.0 * row.ahead()));
        table.row(cells);
    }
    let mut table = table.unless_empty()?;
    let mut means = vec!["**mean**".to_owned(), String::new(), String::new()];
    means.extend(columns.iter().map(|column| {
        let ratios = rows.iter().map(|row| row.of(column).map_or(0.0, |found| found.ratio));
        percent(ratios.sum::<f64>() / rows.len() as f64)
    }));
    let ahead: f64 = rows.iter().map(|row| row.ahead()).sum();
    means.push(format!("{:+.2}", 100.0 * ahead / rows.len() as f64));
    table.row(means);
    Some(table)
}
