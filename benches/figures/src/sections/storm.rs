//! What about spikes?

use super::section::{Figures, Losses, Pictures, Section, table};
use super::words::{micros, unless_lowest};
use crate::palette::Style;
use crate::picture::{Axis, Body, CurvesOfEach, Line, Picture};
use crate::record::{Latencies, Record};
use crate::subject::Kind;
use crate::table::{Table, grouped};

pub(super) const SECTION: Section = Section {
    name: "storm",
    title: "Spikes",
    question: "What about spikes?",
    method: "\
            Every call of a loop is timed, nine of ten look a key up, the tenth overwrites one: \
            around the moment at which half a million entries fall due together, and after three \
            simulated days in which half a million fell due one by one while nobody called. \"No \
            cache\" is the same loop with nothing in it: the machine's own noise. After the days \
            there are only those caches that can be given a clock.",
    losses: Some(losses),
    pictures,
    figures,
    tables: &[
        table("storm", "Half a million due together", due_together),
        table("after-days", "After idle days", after_days),
        table("reap-limits", "Bounded by `reap_limit`, strings", reap_limits),
    ],
};

fn due_together(record: &Record) -> Option<Table> {
    latencies(&record.storm.as_ref()?.data.due_together)
}

fn after_days(record: &Record) -> Option<Table> {
    latencies(&record.storm.as_ref()?.data.after_days)
}

fn latencies(latencies: &[Latencies]) -> Option<Table> {
    let rows = latencies.iter().map(|each| {
        let micros = each.nanos.map(|nanos| micros(nanos, 2));
        [each.subject.clone(), grouped(each.calls)].into_iter().chain(micros)
    });
    Table::new("cache | calls | p50 (µs) | p99 | p99.9 | p99.99 | longest (µs)").with(rows)
}

fn reap_limits(record: &Record) -> Option<Table> {
    let rows = record.storm.as_ref()?.data.reap_limits.iter().map(|each| {
        let (median, longest) = (micros(each.median_nanos, 1), micros(each.max_nanos, 1));
        [grouped(each.limit), median, longest, grouped(each.calls)]
    });
    Table::new("`reap_limit` | median call (µs) | longest (µs) | all freed after calls").with(rows)
}

fn losses(record: &Record) -> Losses {
    let storm = &record.storm.as_ref()?.data;
    let of = |(when, latencies): (&str, &[Latencies])| {
        let own = latencies.iter().find(|each| each.subject == "punctual")?;
        let figures = Latencies::NAMES.iter().enumerate().filter_map(|(number, name)| {
            let micros = |each: &Latencies| each.nanos[number] as f64 / 1e3;
            let others = latencies.iter().filter(|other| {
                let kind = record.subjects.kind(&other.subject);
                kind.is_some_and(|kind| !kind.is_ours() && kind != Kind::Noise)
            });
            let others = others.map(|other| (&*other.subject, micros(other)));
            unless_lowest(&format!("{when}, {name} (µs)"), micros(own), others)
        });
        Some(figures.collect::<Vec<_>>())
    };
    let storms: [(&str, &[Latencies]); 2] =
        [("In the storm", &storm.due_together), ("After idle days", &storm.after_days)];
    Some(storms.into_iter().filter_map(of).flatten().collect())
}

fn pictures(record: &Record) -> Pictures {
    let storm = &record.storm.as_ref()?.data;
    let of = |name: &str, when: &str, latencies: &[Latencies]| {
        let line = |each: &Latencies| {
            let calls = [2.0, 100.0, 1_000.0, 10_000.0, each.calls as f64];
            let micros = each.nanos.map(|nanos| nanos.max(1) as f64 / 1e3);
            Line {
                name: each.subject.clone(),
                style: Style::of(&each.subject),
                points: calls.into_iter().zip(micros).collect(),
            }
        };
        let own = latencies.iter().find(|each| each.subject == "punctual")?;
        let others = latencies.iter().filter(|other| {
            let kind = record.subjects.kind(&other.subject);
            kind.is_some_and(|kind| !kind.is_ours() && kind != Kind::Noise)
                && !other.subject.contains(',')
        });
        let [below_most, below_longest] = [3, 4].map(|number| {
            others.clone().filter(|other| other.nanos[number] < own.nanos[number]).count()
        });
        let finding = format!(
            "{when}, 99.99 % of punctual's calls take at most {} µs and the longest {} µs; of {} \
             others {below_most} and {below_longest} take less",
            micros(own.nanos[3], 1),
            micros(own.nanos[4], 0),
            others.count(),
        );
        let others = latencies.iter().filter(|each| each.subject != "punctual");
        let picture = Picture {
            finding,
            caption: "Time that one call of so many exceeds (µs); at the right end: the longest \
                      call. Broad and blue in every panel: punctual."
                .to_owned(),
            body: Body::Each(CurvesOfEach {
                x: Axis::logarithmic("one call of so many takes longer"),
                y: Axis::logarithmic("time of a call (µs)"),
                own: line(own),
                others: others.map(line).collect(),
            }),
        };
        Some((name.to_owned(), picture))
    };
    let together = of("storm", "While half a million entries fall due", &storm.due_together)?;
    let after_days = of("after-days", "After three days without a call", &storm.after_days)?;
    Some(vec![together, after_days])
}

fn figures(record: &Record) -> Figures {
    let storm = &record.storm.as_ref()?.data;
    let storms = [("storm", &storm.due_together), ("after days", &storm.after_days)];
    let of = |(when, latencies): (&'static str, &Vec<Latencies>)| {
        let own = latencies.iter().find(|each| each.subject == "punctual")?;
        let names = Latencies::NAMES.iter().map(move |name| format!("{when}, {name} (µs)"));
        Some(names.zip(own.nanos.map(|nanos| nanos as f64 / 1e3)).collect::<Vec<_>>())
    };
    Some(storms.into_iter().filter_map(of).flatten().collect())
}
