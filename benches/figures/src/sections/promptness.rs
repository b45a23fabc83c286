//! When are expired entries freed?

use super::section::{Figures, Losses, Pictures, Section, table};
use super::words::{of_others, unless_lowest};
use crate::palette::Style;
use crate::picture::{Axis, Body, CurvesOfEach, Line, Picture};
use crate::record::{PromptnessOfCache, Record};
use crate::table::{Table, grouped};

pub(super) const SECTION: Section = Section {
    name: "promptness",
    title: "Promptness",
    question: "When are expired entries freed?",
    method: "\
            A hundred thousand entries with a TTL of two seconds. Late is how long after its \
            deadline an entry's value was dropped. Who frees nothing lies at 100 %, on each other.",
    losses: Some(losses),
    pictures,
    figures,
    tables: &[table("promptness", "Held, and late", held)],
};

fn held(record: &Record) -> Option<Table> {
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

fn losses(record: &Record) -> Losses {
    let caches = &record.promptness.as_ref()?.data;
    let percent = |share: f64| (1_000.0 * share).round() / 10.0;
    let mut losses = Vec::new();
    for own in caches.iter().filter(|cache| record.subjects.is_ours(&cache.subject)) {
        let meanwhile = if own.loaded { "others ask for other keys" } else { "nobody calls" };
        let last = own.held.last().map_or(0.0, |(_, share)| percent(*share));
        if own.subject != "punctual" {
            let sentence = format!(
                "`unsync::Cache` has no thread: while {meanwhile}, it holds {last:.1} % of the \
                 expired entries at the end."
            );
            losses.extend((last > 0.0).then_some(sentence));
            continue;
        }
        for (look, (ms, share)) in own.held.iter().enumerate() {
            let others = caches.iter().filter(|other| {
                other.loaded == own.loaded && !record.subjects.is_ours(&other.subject)
            });
            let others =
                others.filter_map(|it| Some((&*it.subject, percent(it.held.get(look)?.1))));
            let what = format!("% of expired entries held after {ms} ms while {meanwhile}");
            losses.extend(unless_lowest(&what, percent(*share), others));
        }
    }
    Some(losses)
}

fn pictures(record: &Record) -> Pictures {
    let caches = &record.promptness.as_ref()?.data;
    let of = |loaded: bool, name: &str, meanwhile: &str| {
        let all = || caches.iter().filter(move |cache| cache.loaded == loaded);
        let line = |cache: &PromptnessOfCache| Line {
            name: cache.subject.clone(),
            style: Style::of(&cache.subject),
            points: cache.held.iter().map(|&(ms, share)| (ms as f64, 100.0 * share)).collect(),
        };
        let own = all().find(|cache| cache.subject == "punctual")?;
        let last = own.lateness_micros.map_or(0, |late| late[3]);
        let (ms, _) = *own.held.last()?;
        let others = all().filter(|cache| !record.subjects.is_ours(&cache.subject));
        let kept = others.clone().filter(|cache| cache.held.last().is_some_and(|it| it.1 > 0.995));
        let finding = format!(
            "{meanwhile}, punctual frees its last expired entry after {:.1} ms; {} still hold all \
             of theirs after {} s",
            last as f64 / 1e3,
            of_others(kept.count(), others.count()),
            grouped(ms / 1_000),
        );
        let others = all().filter(|cache| cache.subject != "punctual");
        let picture = Picture {
            finding,
            caption: "Expired entries that are still in memory (%), by the time since the last \
                      one's deadline. The broad blue line in every panel, at zero: punctual."
                .to_owned(),
            body: Body::Each(CurvesOfEach {
                x: Axis::logarithmic("time since the last deadline (ms)"),
                y: Axis::linear("expired entries held (%)"),
                own: line(own),
                others: others.map(line).collect(),
            }),
        };
        Some((name.to_owned(), picture))
    };
    let idle = of(false, "promptness-idle", "While nobody calls")?;
    let loaded = of(true, "promptness-under-load", "While others ask for other keys")?;
    Some(vec![idle, loaded])
}

fn figures(record: &Record) -> Figures {
    let caches = record.promptness.as_ref()?.data.iter();
    let own = caches.filter(|cache| cache.subject == "punctual");
    let late = own.filter_map(|cache| {
        let when = if cache.loaded { "under load" } else { "idle" };
        let [half, .., last] = cache.lateness_micros?.map(|micros| micros as f64 / 1e3);
        Some([(format!("ms late, half, {when}"), half), (format!("ms late, last, {when}"), last)])
    });
    Some(late.flatten().collect())
}
