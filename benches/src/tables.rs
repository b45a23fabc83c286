//! The record's figures as tables, each by a name: for the report, and for the regions of the docs
//! that are generated.

use crate::record::Record;
use crate::speed::contest::Outcome;
use crate::table::Table;
use crate::wheels::Phase;

/// Every table there is, by name.
pub(crate) const NAMES: [&str; 8] =
    ["setting", "memory", "promptness", "speed", "storm", "hit-ratio", "growth", "wheel"];

/// The table of a name; none, if there is no such table.
pub(crate) fn named(record: &Record, name: &str) -> Option<Table> {
    Some(match name {
        "setting" => setting(record),
        "memory" => memory(record),
        "promptness" => promptness(record),
        "speed" => speed(record),
        "storm" => storm(record),
        "hit-ratio" => hit_ratio(record),
        "growth" => growth(record),
        "wheel" => wheel(record),
        _ => return None,
    })
}

fn setting(record: &Record) -> Table {
    let setting = &record.setting;
    let mut table = Table::new(["what", "which"]);
    let crates = setting.versions.iter().map(|(name, version)| format!("{name} {version}"));
    table.row(["date", &setting.date]);
    table.row(["command", &setting.command]);
    table.row(["commit", &setting.commit]);
    table.row(["compiler", &setting.compiler]);
    table.row(["processor", &format!("{} x {}", setting.processors, setting.processor)]);
    table.row(["memory", &setting.memory]);
    table.row(["system", &setting.system]);
    table.row(["load when it began", &setting.load]);
    table.row(["crates", &crates.collect::<Vec<_>>().join(", ")]);
    table
}

/// Bytes an entry: the best and the worst capacity, and allocations.
fn memory(record: &Record) -> Table {
    let mut table = Table::new([
        "cache",
        "entries of",
        "bytes an entry, least",
        "bytes an entry, most",
        "at entries",
        "allocations an insert",
    ]);
    for material in ["u64", "String"] {
        let mut names: Vec<&str> = Vec::new();
        for result in record.memory.iter().filter(|result| result.material == material) {
            if !names.contains(&result.subject.as_str()) {
                names.push(&result.subject);
            }
        }
        for name in names {
            let results = record.memory.iter();
            let results =
                results.filter(|result| result.subject == name && result.material == material);
            let mut each: Vec<(f64, usize, f64)> = results
                .map(|result| {
                    let bytes = result.bytes as f64 / result.capacity as f64;
                    (bytes, result.capacity, result.allocations_an_insert)
                })
                .collect();
            each.sort_by(|one, other| one.0.total_cmp(&other.0));
            let (Some(least), Some(most)) = (each.first(), each.last()) else { continue };
            table.row([
                name.to_owned(),
                material.to_owned(),
                format!("{:.1}", least.0),
                format!("{:.1}", most.0),
                most.1.to_string(),
                format!("{:.2}", most.2),
            ]);
        }
    }
    table
}

fn promptness(record: &Record) -> Table {
    let looks: Vec<u64> = record
        .promptness
        .first()
        .map_or_else(Vec::new, |result| result.held.iter().map(|(ms, _)| *ms).collect());
    let mut head = vec!["cache".to_owned(), "meanwhile".to_owned()];
    head.extend(looks.iter().map(|ms| format!("% held after {ms} ms")));
    head.extend(["half", "99 %", "99.9 %", "last"].map(|share| format!("late by (ms), {share}")));
    let mut table = Table::new(head);
    for result in &record.promptness {
        let mut cells = vec![result.subject.clone()];
        cells.push(if result.loaded { "other keys" } else { "idle" }.to_owned());
        cells.extend(result.held.iter().map(|(_, share)| format!("{:.1}", 100.0 * share)));
        match result.lateness_micros {
            Some(late) => {
                cells.extend(late.map(|micros| format!("{:.1}", micros as f64 / 1e3)));
            }
            None => cells.extend(std::iter::repeat_n("never".to_owned(), 4)),
        }
        table.row(cells);
    }
    table
}

/// The fastest that is not this crate's and is no bare map; only those that expire, if asked for.
fn best_peer(outcome: &Outcome, only_expiring: bool) -> Option<&crate::speed::contest::Result> {
    let peers = outcome.results.iter().filter(|result| {
        !result.is_ours
            && !result.subject.ends_with("map")
            && result.subject != "original"
            // What is for one thread is compared with what is for one thread, elsewhere.
            && !result.subject.ends_with("unsync")
            && (result.expires || !only_expiring)
    });
    peers.min_by(|one, other| one.median().total_cmp(&other.median()))
}

fn speed(record: &Record) -> Table {
    let mut table = Table::new([
        "operation",
        "cache",
        "ns a call (median)",
        "spread",
        "times as fast as the best peer",
        "times as fast as the best that expires",
        "hits",
    ]);
    for outcome in &record.speed {
        let best = best_peer(outcome, false).map(|best| best.median());
        let best_expiring = best_peer(outcome, true).map(|best| best.median());
        for result in &outcome.results {
            let ratio = |best: Option<f64>| {
                best.map_or_else(String::new, |best| format!("{:.2}", best / result.median()))
            };
            table.row([
                outcome.name(),
                result.subject.clone(),
                format!("{:.1}", result.median()),
                format!("{:.0} %", 100.0 * result.spread()),
                ratio(best),
                ratio(best_expiring),
                format!("{:.1} %", 100.0 * result.hit_share),
            ]);
        }
    }
    table
}

fn storm(record: &Record) -> Table {
    let mut table =
        Table::new(["cache", "calls", "p50 (µs)", "p99", "p99.9", "p99.99", "longest (µs)"]);
    let micros = |nanos: u64| format!("{:.2}", nanos as f64 / 1e3);
    for latencies in &record.storm {
        table.row([
            latencies.subject.clone(),
            latencies.calls.to_string(),
            micros(latencies.p50_nanos),
            micros(latencies.p99_nanos),
            micros(latencies.p999_nanos),
            micros(latencies.p9999_nanos),
            micros(latencies.max_nanos),
        ]);
    }
    table
}

fn hit_ratio(record: &Record) -> Table {
    let mut names: Vec<&str> = Vec::new();
    let rows = || record.hit_ratios.iter().flat_map(|table| &table.rows);
    for (name, _) in rows().flat_map(|row| &row.ratios) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mut table = Table::new(["trace", "capacity"].into_iter().chain(names.iter().copied()));
    for hits in &record.hit_ratios {
        for row in &hits.rows {
            let mut cells = vec![hits.trace.clone(), row.capacity.to_string()];
            cells.extend(names.iter().map(|&name| {
                let found = row.ratios.iter().find(|(column, _)| column == name);
                found.map_or_else(|| "-".to_owned(), |(_, ratio)| format!("{:.2}", 100.0 * ratio))
            }));
            table.row(cells);
        }
    }
    table
}

fn growth(record: &Record) -> Table {
    let mut table = Table::new(["entries", "cache", "ns a hit (median)", "spread"]);
    for outcome in &record.growth {
        for result in &outcome.results {
            table.row([
                outcome.capacity.to_string(),
                result.subject.clone(),
                format!("{:.1}", result.median()),
                format!("{:.0} %", 100.0 * result.spread()),
            ]);
        }
    }
    table
}

fn wheel(record: &Record) -> Table {
    let head = Phase::ALL.iter().map(|phase| format!("{} (million/s)", phase.name()));
    let mut table = Table::new(["timers".to_owned()].into_iter().chain(head));
    for result in &record.wheels {
        let each =
            Phase::ALL.iter().map(|&phase| format!("{:.1}", 1e3 / result.median_nanos(phase)));
        table.row([result.subject.clone()].into_iter().chain(each));
    }
    table
}

/// Where others are ahead, in sentences: what a reader should know first.
pub(crate) fn losses(record: &Record) -> Vec<String> {
    let mut losses = Vec::new();
    for outcome in &record.speed {
        let (Some(own), Some(best)) = (outcome.result("punctual"), best_peer(outcome, false))
        else {
            continue;
        };
        if best.median() < own.median() {
            losses.push(format!(
                "{}: {} takes {:.1} ns a call, punctual {:.1}{}.",
                outcome.name(),
                best.subject,
                best.median(),
                own.median(),
                if best.expires { "" } else { " (it does not expire entries)" },
            ));
        }
    }
    for hits in &record.hit_ratios {
        for row in &hits.rows {
            let own = row.ratios.iter().find(|(name, _)| name == "Cache").map(|(_, ratio)| *ratio);
            let others = row.ratios.iter().filter(|(name, _)| {
                name != "optimum" && name != "unsync" && !name.starts_with("Cache")
            });
            let best = others.max_by(|one, other| one.1.total_cmp(&other.1));
            if let (Some(own), Some((name, ratio))) = (own, best) {
                if *ratio > own + 0.001 {
                    losses.push(format!(
                        "Hit ratio of {} at {} entries: {name} has {:.2} %, punctual {:.2} %.",
                        hits.trace,
                        row.capacity,
                        100.0 * ratio,
                        100.0 * own,
                    ));
                }
            }
        }
    }
    let p9999 = |name: &str| {
        let latencies = record.storm.iter().find(|latencies| latencies.subject == name);
        latencies.map(|latencies| latencies.p9999_nanos)
    };
    if let (Some(own), Some(mark)) = (p9999("punctual"), p9999("quick_cache, no storm")) {
        if own > mark {
            losses.push(format!(
                "In a storm, p99.99 of a call is {:.1} µs; with quick_cache, which has none, {:.1}.",
                own as f64 / 1e3,
                mark as f64 / 1e3,
            ));
        }
    }
    losses
}
