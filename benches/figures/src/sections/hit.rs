//! What is kept when it is full?

use super::bars::targets;
use super::section::{Figures, Losses, Pictures, Section, table};
use super::words::{names, percent, percent_or_dash};
use crate::palette::Style;
use crate::picture::{Axis, Beside, BesideCell, Body, Mark, Picture};
use crate::record::{Hit, HitRow, HitTable, Record};
use crate::subject::Kind;
use crate::table::{Table, grouped};

pub(super) const SECTION: Section = Section {
    name: "hit",
    title: "Hit ratio",
    question: "What is kept when it is full?",
    method: "\
            Traces are replayed in simulated time, each request a lookup and, on a miss, an \
            insertion. FIFO, LRU, SIEVE and S3-FIFO are textbook versions; the optimum is \
            Belady's.",
    losses: Some(losses),
    pictures,
    figures,
    tables: &[
        table("", "Hit ratio, real traces, %", |record| of_entries(record, "real/", &[])),
        table("", "Hit ratio, generated traces, %", |record| of_entries(record, "generated/", &[])),
        table("", "Hit ratio, traces with TTLs, %", |record| of_entries(record, "ttl/", &[])),
        table("", "At the same number of bytes, % (and the capacity)", |record| {
            of_bytes(record, "", &[])
        }),
        table("", "Bars of the hit ratio, in points", bars),
    ],
};

/// How the names of traces start, group by group, and what the groups are called.
const GROUPS: [(&str, &str); 3] =
    [("real/", "real traces"), ("generated/", "generated traces"), ("ttl/", "traces with TTLs")];

/// The rows of the traces whose names start so, by what the start does not tell.
fn rows_of<'a>(hit: &'a Hit, group: &str) -> Vec<(&'a str, &'a HitRow)> {
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
pub(crate) fn of_entries(record: &Record, group: &str, columns: &[&str]) -> Option<Table> {
    let rows = rows_of(&record.hit.as_ref()?.data, group);
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
pub(crate) fn of_bytes(record: &Record, group: &str, columns: &[&str]) -> Option<Table> {
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

fn bars(record: &Record) -> Option<Table> {
    targets(&record.hit.as_ref()?.data.bars)
}

fn losses(record: &Record) -> Losses {
    let rows = &record.hit.as_ref()?.data.bytes;
    let behind = rows.iter().filter(|row| row.ahead() < 0.0).count();
    let count = rows.len();
    let by_bytes = (behind > 0).then(|| {
        format!("At the same number of bytes, a peer is ahead on {behind} of {count} rows.")
    });
    let by_entries = GROUPS.into_iter().filter_map(|(group, of)| behind_on(record, group, of));
    Some(by_entries.chain(by_bytes).collect())
}

/// How often others are ahead on the traces of a group, and where most.
pub(crate) fn behind_on(record: &Record, group: &str, of: &str) -> Option<String> {
    let rows = rows_of(&record.hit.as_ref()?.data, group);
    let regret = |(trace, row): &(&str, &HitRow)| {
        let best = row.best_other(&record.subjects)?;
        let regret = 100.0 * (best.ratio - row.ratio("punctual")?);
        let at = grouped(row.capacity);
        let place = format!("{trace} at {at} entries, {regret:.2} points behind {}", best.subject);
        Some((regret, place))
    };
    let regrets: Vec<(f64, String)> = rows.iter().filter_map(regret).collect();
    let behind = regrets.iter().filter(|(regret, _)| *regret > 0.0).count();
    let by_little = regrets.iter().filter(|(regret, _)| *regret > 0.0 && *regret < 1.0).count();
    let (_, at) = regrets.iter().max_by(|one, other| one.0.total_cmp(&other.0))?;
    (behind > 0).then(|| {
        format!(
            "On {behind} of the {} rows of {of} another cache or textbook policy is ahead, on \
             {by_little} by less than a point. Furthest behind: {at}.",
            regrets.len()
        )
    })
}

/// What is compared in the pictures; tables have more.
const DRAWN: [&str; 8] = [
    "moka",
    "moka Expiry",
    "mini-moka",
    "quick_cache",
    "quick_cache + deadline",
    "LRU",
    "S3-FIFO",
    "optimum",
];

fn pictures(record: &Record) -> Pictures {
    let hit = &record.hit.as_ref()?.data;
    let of = |(group, of): (&str, &str)| {
        let rows = rows_of(hit, group);
        let cell = |other: &str| {
            let marks = rows.iter().enumerate().filter_map(|(number, (_, row))| {
                let value = 100.0 * (row.ratio(other)? - row.ratio("punctual")?);
                Some(Mark { row: number, value, quartiles: None })
            });
            let marks: Vec<Mark> = marks.collect();
            let style = Style::of(other);
            (!marks.is_empty()).then(|| BesideCell { name: other.to_owned(), style, marks })
        };
        let finding = behind_on(record, group, of)
            .unwrap_or_else(|| format!("punctual's hit ratio is the best on all rows of {of}"));
        let names = rows.iter().map(|(trace, row)| format!("{trace}, {}", grouped(row.capacity)));
        let picture = Picture {
            finding: finding.split(" Furthest").next()?.trim_end_matches('.').to_owned(),
            caption:
                "Hit ratio at the same number of entries, in points above or below punctual's, \
                      which is the blue line: a dot in the shaded part is better. Nobody can pass \
                      the optimum."
                    .to_owned(),
            body: Body::Beside(Beside {
                x: Axis::linear("points of hit ratio above punctual's"),
                own: 0.0,
                is_better_left: false,
                rows: names.collect(),
                cells: DRAWN.into_iter().filter_map(cell).collect(),
            }),
        };
        Some((format!("hit-ratio-{}", group.trim_end_matches('/')), picture))
            .filter(|_| !rows.is_empty())
    };
    Some(GROUPS.into_iter().filter_map(of).collect())
}

/// In percent.
fn figures(record: &Record) -> Figures {
    let hit = &record.hit.as_ref()?.data;
    let of_table = |table: &HitTable| {
        let rows = table.rows.iter().filter_map(|row| {
            let name = format!("{}, {}", table.trace, row.capacity);
            Some((name, 100.0 * row.ratio("punctual")?))
        });
        rows.collect::<Vec<_>>()
    };
    Some(hit.tables.iter().flat_map(of_table).collect())
}
