//! What does it cost as it grows?

use super::section::{Figures, Losses, Pictures, Section, table};
use super::words::{names, unless_lowest};
use crate::palette::Style;
use crate::picture::{Axis, Body, Curves, Line, Picture};
use crate::record::Record;
use crate::table::{Table, grouped};

pub(super) const SECTION: Section = Section {
    name: "growth",
    title: "Growth",
    question: "What does it cost as it grows?",
    method: "Keys are uniform; all caches of a size take turns.",
    losses: Some(losses),
    pictures,
    figures,
    tables: &[table(
        "growth",
        "Time of a call, median, and half the distance of the quartiles",
        times,
    )],
};

fn times(record: &Record) -> Option<Table> {
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

fn losses(record: &Record) -> Losses {
    let outcomes = &record.growth.as_ref()?.data;
    let of = |operation: &str| {
        let mut sizes = outcomes.iter().filter(|outcome| outcome.operation == operation);
        let first = sizes.clone().find(|outcome| outcome.capacity == 10_000)?;
        let last = sizes.next_back()?;
        let times =
            |subject: &str| Some(last.result(subject)?.median() / first.result(subject)?.median());
        let others = last.results.iter().filter(|result| result.subject != "punctual");
        let others = others.filter_map(|other| Some((&*other.subject, times(&other.subject)?)));
        let [from, to] = [first, last].map(|outcome| grouped(outcome.capacity));
        let what = format!("Times as long a call ({operation}) at {to} entries as at {from}");
        unless_lowest(&what, times("punctual")?, others)
    };
    Some(["hit", "overwrite"].into_iter().filter_map(of).collect())
}

fn pictures(record: &Record) -> Pictures {
    let outcomes = &record.growth.as_ref()?.data;
    let of = |operation: &str| {
        let sizes = || outcomes.iter().filter(|outcome| outcome.operation == operation);
        let subjects = names(sizes().flat_map(|it| &it.results).map(|it| &*it.subject));
        let line = |name: &str| {
            let points = sizes().filter_map(|outcome| {
                Some((outcome.capacity as f64, outcome.result(name)?.median()))
            });
            let points: Vec<(f64, f64)> = points.collect();
            let end = points.last().map_or(0.0, |(_, nanos)| *nanos);
            Line { name: format!("{name} {end:.0} ns"), style: Style::of(name), points }
        };
        let last = sizes().next_back()?;
        let own = last.result("punctual")?.median();
        let others = last.results.iter().filter(|result| result.subject != "punctual");
        let others = others.map(|it| format!("{:.0} in {}", it.median(), it.subject));
        let others: Vec<String> = others.collect();
        let picture = Picture {
            finding: format!(
                "{} at {} entries takes {own:.0} ns in punctual, {}",
                if operation == "hit" { "A hit" } else { "An overwrite" },
                grouped(last.capacity),
                others.join(", "),
            ),
            caption: "Median time of a call by the number of entries, u64 to u64, keys uniform. A \
                      sharded map bounds nothing and expires nothing."
                .to_owned(),
            body: Body::Curves(vec![Curves {
                title: "Time of a call (ns)".to_owned(),
                x: Axis::logarithmic("entries"),
                y: Axis::linear("time of a call (ns)"),
                // This crate's last, so that it lies above the others.
                lines: subjects.into_iter().rev().map(line).collect(),
                areas: Vec::new(),
            }]),
        };
        Some((format!("growth-{operation}"), picture))
    };
    Some(["hit", "overwrite"].into_iter().filter_map(of).collect())
}

fn figures(record: &Record) -> Figures {
    let outcomes = record.growth.as_ref()?.data.iter();
    let own = outcomes.filter_map(|it| {
        let name = format!("{}, {} entries (ns)", it.operation, it.capacity);
        Some((name, it.result("punctual")?.median()))
    });
    Some(own.collect())
}
