//! The record's figures as tables.

use crate::record::{
    BarLine, Bars, Growth, Hit, HitRow, HitTable, Kind, Latencies, Memory, Operations, Outcome,
    Promptness, ReapLimit, Speed, Wheel,
};
use crate::table::{Table, grouped};

pub fn bars(bars: &Bars) -> Table {
    bar_lines(&bars.lines)
}

pub fn bar_lines(lines: &[BarLine]) -> Table {
    let mut table = Table::new(["bar", "against", "must", "aim", "measured", "", "figures"]);
    for line in lines {
        let BarLine { bar, against, must, aim, measured, verdict, details } = line;
        table.row([bar, against, must, aim, measured, verdict, details].map(String::as_str));
    }
    table
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

/// Bytes an entry at the best and the worst capacity, and allocations.
pub fn memory(memory: &Memory, materials: &[&str]) -> Table {
    let mut table = Table::new([
        "cache",
        "entries of",
        "bytes an entry, least",
        "most",
        "at entries",
        "allocations an insert",
    ]);
    for &material in materials {
        let all = || memory.counted.iter().filter(|result| result.material == material);
        for name in names(all().map(|result| &*result.subject)) {
            let mut each: Vec<(f64, usize, f64)> = all()
                .filter(|result| result.subject == name)
                .map(|result| {
                    let bytes = result.bytes as f64 / result.capacity as f64;
                    (bytes, result.capacity, result.allocations_an_insert)
                })
                .collect();
            each.sort_by(|one, other| one.0.total_cmp(&other.0));
            let (Some(least), Some(most)) = (each.first(), each.last()) else { continue };
            // What nobody allocates may be counted as a millionth, by threads of the cache.
            let allocations = if most.2.abs() < 0.005 { 0.0 } else { most.2 };
            table.row([
                name.to_owned(),
                material.to_owned(),
                format!("{:.1}", least.0),
                format!("{:.1}", most.0),
                grouped(most.1),
                format!("{allocations:.2}"),
            ]);
        }
    }
    table
}

/// What was said beforehand beside what was counted.
pub fn said(memory: &Memory) -> Table {
    let told = || {
        let told = memory.counted.iter().filter(|result| result.material == "u64");
        told.filter_map(|result| Some((result, result.bytes_said?)))
    };
    let subjects = names(told().map(|(result, _)| &*result.subject));
    let heads = subjects.iter().flat_map(|name| [format!("{name}, said"), "counted".to_owned()]);
    let mut table = Table::new(["capacity".to_owned()].into_iter().chain(heads));
    let mut capacities: Vec<usize> = told().map(|(result, _)| result.capacity).collect();
    capacities.dedup();
    for capacity in capacities {
        let mut cells = vec![grouped(capacity)];
        for (result, said) in told().filter(|(result, _)| result.capacity == capacity) {
            cells.extend([grouped(said), grouped(result.bytes)]);
        }
        table.row(cells);
    }
    table
}

/// Of what a cache's bytes consist, for each entry of the capacity.
pub fn cost(memory: &Memory) -> Table {
    let mut table = Table::new([
        "entries",
        "slots",
        "index",
        "wheel",
        "eviction",
        "rest",
        "in all",
        "`Cache`, in all",
    ]);
    for row in &memory.footprints {
        let each = |bytes: usize| format!("{:.2}", bytes as f64 / row.capacity as f64);
        let rest = row.total - row.slots - row.index - row.wheel - row.eviction;
        table.row([
            grouped(row.capacity),
            each(row.slots),
            each(row.index),
            each(row.wheel),
            each(row.eviction),
            each(rest),
            format!("**{}**", each(row.total)),
            each(row.total_of_shared),
        ]);
    }
    table
}

pub fn resident(memory: &Memory) -> Table {
    let mut table =
        Table::new(["cache", "capacity", "MiB, empty", "MiB, a tenth full", "MiB, full"]);
    for result in &memory.resident {
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        table.row([
            result.subject.clone(),
            grouped(result.capacity),
            mib(result.bytes_empty),
            mib(result.bytes_tenth),
            mib(result.bytes_full),
        ]);
    }
    table
}

pub fn promptness(promptness: &Promptness) -> Table {
    let first = promptness.caches.first();
    let looks = first.map_or_else(Vec::new, |cache| cache.held.clone());
    let mut head = vec!["cache".to_owned()];
    head.extend(looks.iter().map(|(ms, _)| format!("% held after {} ms", grouped(*ms))));
    head.extend(["half", "99 %", "99.9 %", "last"].map(|share| format!("ms late, {share}")));
    let mut table = Table::new(head);
    for loaded in [false, true] {
        let meanwhile = if loaded { "Others ask for other keys" } else { "Nobody calls" };
        table.group(meanwhile);
        for cache in promptness.caches.iter().filter(|cache| cache.loaded == loaded) {
            let mut cells = vec![cache.subject.clone()];
            cells.extend(cache.held.iter().map(|(_, share)| format!("{:.1}", 100.0 * share)));
            match cache.lateness_micros {
                Some(late) => {
                    cells.extend(late.map(|micros| format!("{:.1}", micros as f64 / 1e3)));
                }
                None => cells.extend(std::iter::repeat_n("never".to_owned(), 4)),
            }
            table.row(cells);
        }
    }
    table
}

fn ratio(of: Option<f64>) -> String {
    of.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

/// Everything that was measured.
pub fn speed(speed: &Speed) -> Table {
    let mut table = Table::new([
        "cache",
        "ns a call (median)",
        "spread",
        "times as fast as the best peer",
        "as the best that expires",
        "hits",
    ]);
    for outcome in &speed.outcomes {
        let best = outcome.best_peer(false).map(|best| best.median());
        let best_expiring = outcome.best_peer(true).map(|best| best.median());
        table.group(outcome.name());
        for result in &outcome.results {
            let hits = format!("{:.1} %", 100.0 * result.hit_share);
            let asks = !["insert", "overwrite", "remove"]
                .iter()
                .any(|start| outcome.operation.starts_with(start));
            table.row([
                result.subject.clone(),
                format!("{:.1}", result.median()),
                format!("{:.0} %", 100.0 * result.spread()),
                ratio(best.map(|best| best / result.median())),
                ratio(best_expiring.map(|best| best / result.median())),
                if asks { hits } else { String::new() },
            ]);
        }
    }
    table
}

/// Of each line only punctual and the best peers.
pub fn speed_summary(speed: &Speed) -> Table {
    let mut table = Table::new([
        "ns a call",
        "punctual",
        "spread",
        "best that expires",
        "ratio",
        "best peer",
        "ratio",
    ]);
    let key = |outcome: &Outcome| (outcome.material.clone(), outcome.capacity, outcome.threads);
    let mut last = None;
    for outcome in &speed.outcomes {
        let Some(own) = outcome.result("punctual") else { continue };
        if last.as_ref() != Some(&key(outcome)) {
            last = Some(key(outcome));
            let (material, capacity, threads) = key(outcome);
            let plural = if threads == 1 { "" } else { "s" };
            let capacity = grouped(capacity);
            table.group(format!("{material}, {capacity} entries, {threads} thread{plural}"));
        }
        let mut cells = vec![
            format!("{}, {}", outcome.operation, outcome.popularity),
            format!("{:.1}", own.median()),
            format!("{:.0} %", 100.0 * own.spread()),
        ];
        for peer in [outcome.best_peer(true), outcome.best_peer(false)] {
            cells.push(
                peer.map_or_else(String::new, |peer| {
                    format!("{} {:.1}", peer.subject, peer.median())
                }),
            );
            cells.push(ratio(peer.map(|peer| peer.median() / own.median())));
        }
        table.row(cells);
    }
    table
}

pub fn storm(latencies: &[Latencies]) -> Table {
    let mut table =
        Table::new(["cache", "calls", "p50 (µs)", "p99", "p99.9", "p99.99", "longest (µs)"]);
    let micros = |nanos: u64| format!("{:.2}", nanos as f64 / 1e3);
    for each in latencies {
        table.row([
            each.subject.clone(),
            grouped(each.calls),
            micros(each.p50_nanos),
            micros(each.p99_nanos),
            micros(each.p999_nanos),
            micros(each.p9999_nanos),
            micros(each.max_nanos),
        ]);
    }
    table
}

pub fn reap_limits(limits: &[ReapLimit]) -> Table {
    let mut table =
        Table::new(["`reap_limit`", "median call (µs)", "longest (µs)", "all freed after calls"]);
    let micros = |nanos: u64| format!("{:.1}", nanos as f64 / 1e3);
    for each in limits {
        table.row([
            grouped(each.limit),
            micros(each.median_nanos),
            micros(each.max_nanos),
            grouped(each.calls),
        ]);
    }
    table
}

pub fn growth(growth: &Growth) -> Table {
    let first = growth.outcomes.first();
    let subjects = first.map_or_else(Vec::new, |outcome| {
        outcome.results.iter().map(|result| result.subject.clone()).collect()
    });
    let head = subjects.iter().map(|subject| format!("{subject} (ns)"));
    let mut table = Table::new(["entries".to_owned()].into_iter().chain(head));
    for operation in names(growth.outcomes.iter().map(|outcome| &*outcome.operation)) {
        table.group(format!("{operation}, keys uniform"));
        for outcome in growth.outcomes.iter().filter(|outcome| outcome.operation == operation) {
            let mut cells = vec![grouped(outcome.capacity)];
            cells.extend(subjects.iter().map(|subject| {
                outcome.result(subject).map_or_else(String::new, |result| {
                    format!("{:.1} ± {:.0} %", result.median(), 50.0 * result.spread())
                })
            }));
            table.row(cells);
        }
    }
    table
}

pub fn wheel(wheel: &Wheel) -> Table {
    let mut table = Table::new([
        "a million timers",
        "insert (million/s)",
        "cancel (million/s)",
        "expire, cascades included (million/s)",
    ]);
    for result in &wheel.timers {
        let each = result.medians().map(|(_, nanos)| format!("{:.1}", 1e3 / nanos));
        table.row([result.subject.clone()].into_iter().chain(each));
    }
    table
}

pub fn operations(operations: &Operations) -> Table {
    let mut table = Table::new(["operation", "ns a call (median)", "95 % confidence"]);
    for group in names(operations.operations.iter().map(|each| &*each.group)) {
        table.group(group);
        for each in operations.operations.iter().filter(|each| each.group == group) {
            table.row([
                each.operation.clone(),
                format!("{:.1}", each.median_nanos),
                format!("{:.1} to {:.1}", each.low_nanos, each.high_nanos),
            ]);
        }
    }
    table
}

/// A share in percent.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.2}", 100.0 * share))
}

/// The rows of the traces whose names start so.
pub(crate) fn hit_rows<'a>(
    hit: &'a Hit,
    group: &'a str,
) -> impl Iterator<Item = (&'a str, &'a HitRow)> {
    let tables = hit.tables.iter().filter_map(move |table| {
        let name = table.trace.strip_prefix(group)?;
        Some(table.rows.iter().map(move |row| (short_name(name, table), row)))
    });
    tables.flatten()
}

/// What the group does not tell.
fn short_name<'a>(rest: &'a str, table: &'a HitTable) -> &'a str {
    if rest.is_empty() { table.trace.rsplit('/').next().unwrap_or(&table.trace) } else { rest }
}

/// The hit ratios of some columns on the traces of a group; of all columns, if none are named.
pub fn hit_ratio(hit: &Hit, group: &str, columns: &[&str]) -> Table {
    let rows: Vec<(&str, &HitRow)> = hit_rows(hit, group).collect();
    let all = rows.iter().flat_map(|(_, row)| &row.ratios).map(|ratio| &*ratio.subject);
    let columns = if columns.is_empty() { names(all) } else { columns.to_vec() };
    let head = ["trace", "capacity"].into_iter().chain(columns.iter().copied());
    let mut table = Table::new(head.chain(["the best other is ahead by"]));
    for (trace, row) in &rows {
        let mut cells = vec![(*trace).to_owned(), grouped(row.capacity)];
        cells.extend(columns.iter().map(|column| percent(row.ratio(column))));
        cells.push(row.own().zip(row.best_other()).map_or_else(String::new, |(own, best)| {
            format!("{:.2} ({})", 100.0 * (best.ratio - own), best.subject)
        }));
        table.row(cells);
    }
    if rows.is_empty() {
        return table;
    }
    let of_all = |column: &str| -> Option<Vec<f64>> {
        rows.iter().map(|(_, row)| row.ratio(column)).collect()
    };
    let count = rows.len() as f64;
    let mut means = vec!["**mean**".to_owned(), String::new()];
    // A mean over some rows would be compared with means over all.
    means.extend(
        columns
            .iter()
            .map(|column| percent(of_all(column).map(|ratios| ratios.iter().sum::<f64>() / count))),
    );
    means.push(String::new());
    table.row(means);
    let mut behind = vec!["**furthest behind**".to_owned(), String::new()];
    behind.extend(columns.iter().map(|column| {
        let is_choice = rows.iter().any(|(_, row)| {
            let mut ratios = row.ratios.iter();
            ratios.any(|ratio| ratio.subject == *column && ratio.kind != Kind::Optimum)
        });
        let ratios = of_all(column).filter(|_| is_choice);
        percent(ratios.map(|ratios| {
            let each = ratios.iter().zip(&rows).map(|(ratio, (_, row))| {
                let best = row.best_other().map_or(0.0, |best| best.ratio);
                best.max(row.own().unwrap_or(0.0)) - ratio
            });
            each.fold(0.0, f64::max)
        }))
    }));
    behind.push(String::new());
    table.row(behind);
    table
}

/// Hit ratios of caches that take the same number of bytes.
pub fn hit_bytes(hit: &Hit, group: &str, columns: &[&str]) -> Table {
    let rows: Vec<_> = hit.bytes.iter().filter(|row| row.trace.starts_with(group)).collect();
    let all = rows.iter().flat_map(|row| &row.ratios).map(|ratio| &*ratio.subject);
    let columns = if columns.is_empty() { names(all) } else { columns.to_vec() };
    let head = ["trace", "capacity of punctual", "bytes"].into_iter();
    let mut table =
        Table::new(head.chain(columns.iter().copied()).chain(["punctual is ahead of the best by"]));
    let (mut sums, mut sum_ahead) = (vec![0.0; columns.len()], 0.0);
    for row in &rows {
        let name = row.trace.strip_prefix(group).unwrap_or(&row.trace);
        let mut cells = vec![name.to_owned(), grouped(row.capacity), grouped(row.bytes)];
        let of = |column: &str| row.ratios.iter().find(|ratio| ratio.subject == column);
        for (column, sum) in columns.iter().zip(&mut sums) {
            cells.push(of(column).map_or_else(String::new, |found| {
                *sum += found.ratio;
                format!("{} ({})", percent(Some(found.ratio)), grouped(found.capacity))
            }));
        }
        let own = of("punctual").map_or(0.0, |own| own.ratio);
        let others = row.ratios.iter().filter(|ratio| ratio.subject != "punctual");
        let ahead = own - others.map(|other| other.ratio).fold(0.0, f64::max);
        sum_ahead += ahead;
        cells.push(format!("{:+.2}", 100.0 * ahead));
        table.row(cells);
    }
    if rows.is_empty() {
        return table;
    }
    let count = rows.len() as f64;
    let mut means = vec!["**mean**".to_owned(), String::new(), String::new()];
    means.extend(sums.iter().map(|sum| percent(Some(sum / count))));
    means.push(format!("{:+.2}", 100.0 * sum_ahead / count));
    table.row(means);
    table
}
