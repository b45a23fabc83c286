//! How fast?

use super::section::{Figures, Losses, Pictures, Section, table};
use super::words::{count_or_none, names};
use crate::palette::Style;
use crate::picture::{Axis, Beside, BesideCell, Body, Mark, Picture};
use crate::record::{Outcome, Record};
use crate::table::Table;

pub(super) const SECTION: Section = Section {
    name: "speed",
    title: "Speed",
    question: "How fast?",
    method: "\
            All caches of a line take turns, round by round. quick_cache does not expire entries; \
            a sharded map bounds nothing either. Where stretto is missing, \
            it would look at all entries to evict one.",
    losses: Some(losses),
    pictures,
    figures,
    tables: &[
        table("speed", "punctual and the best peers", summary),
        table("speed-all", "Speed of all", all),
    ],
};

/// Everything that was measured.
fn all(record: &Record) -> Option<Table> {
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

/// Whether a line is in the short matrix, and so in the documents.
fn is_in_short(outcome: &Outcome) -> bool {
    let Outcome { operation, popularity, material, capacity, threads, .. } = outcome;
    let is_skewed = popularity == "Zipf 0.99";
    match (material.as_str(), *capacity, *threads) {
        ("u64", _, 1) => true,
        ("u64", 1_000_000, _) => is_skewed && (operation == "hit" || operation.contains("reads")),
        ("String", 10_000, 1) => is_skewed,
        ("String", 1_000_000, 1) => ["hit", "miss", "overwrite"].contains(&operation.as_str()),
        _ => false,
    }
}

/// Of each line only punctual and the best peers.
fn summary(record: &Record) -> Option<Table> {
    let mut table =
        Table::new("ns a call | punctual | spread | best that expires | ratio | best peer | ratio");
    let outcomes = &record.speed.as_ref()?.data;
    let outcomes: Vec<&Outcome> = outcomes.iter().filter(|it| is_in_short(it)).collect();
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

fn ratio(of: Option<f64>) -> String {
    of.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

/// Lines on which the fastest peer is faster, the furthest behind first.
fn losses(record: &Record) -> Losses {
    let outcomes = &record.speed.as_ref()?.data;
    let own = |outcome: &Outcome| Some(outcome.result("punctual")?.median());
    let lines = outcomes.iter().filter_map(|outcome| Some((outcome, own(outcome)?)));
    let of = |(only_expiring, who): (bool, &str)| {
        let ratio = |(outcome, own): (&Outcome, f64)| {
            let best = outcome.best_peer(&record.subjects, only_expiring)?;
            Some((best.median() / own, best.subject.clone(), outcome.name()))
        };
        let behind: Vec<_> =
            lines.clone().filter_map(ratio).filter(|(ratio, ..)| *ratio < 1.0).collect();
        let worst = behind.iter().min_by(|one, other| one.0.total_cmp(&other.0));
        let (ratio, subject, line) = worst?;
        Some(format!(
            "On {} of {} lines {who} is faster. Furthest behind: {ratio:.2} times as fast as \
             {subject} ({line}).",
            behind.len(),
            lines.clone().count(),
        ))
    };
    let whos = [(true, "a peer that expires entries"), (false, "a peer")];
    Some(whos.into_iter().filter_map(of).collect())
}

/// A picture for each size, number of threads, and kind of entries.
fn pictures(record: &Record) -> Pictures {
    let outcomes = &record.speed.as_ref()?.data;
    let groups = outcomes.chunk_by(|one, other| one.setup() == other.setup());
    let pictures = groups.map(|group| {
        let Outcome { material, capacity, threads, .. } = &group[0];
        let name = format!("speed-{material}-{capacity}-{threads}").to_lowercase();
        (name, picture(record, group))
    });
    Some(pictures.collect())
}

fn picture(record: &Record, group: &[Outcome]) -> Picture {
    let faster = [true, false].map(|only_expiring| {
        let is_faster = |outcome: &&Outcome| {
            let best = outcome.best_peer(&record.subjects, only_expiring);
            let own = outcome.result("punctual");
            best.zip(own).is_some_and(|(best, own)| best.median() < own.median())
        };
        group.iter().filter(is_faster).count()
    });
    let all = group.iter().flat_map(|outcome| &outcome.results);
    let others = names(all.map(|result| &*result.subject)).into_iter();
    let cell = |other: &str| {
        let marks = group.iter().enumerate().filter_map(|(row, outcome)| {
            let own = outcome.result("punctual")?.median();
            let result = outcome.result(other)?;
            Some(Mark {
                row,
                value: result.median() / own,
                quartiles: Some((result.quantile(0.25) / own, result.quantile(0.75) / own)),
            })
        });
        BesideCell { name: other.to_owned(), style: Style::of(other), marks: marks.collect() }
    };
    let rows = group.iter().map(|outcome| format!("{}, {}", outcome.operation, outcome.popularity));
    Picture {
        finding: format!(
            "{}: some peer is faster than punctual on {} of {} lines, one that expires entries on \
             {}",
            group[0].setup(),
            count_or_none(faster[1]),
            group.len(),
            count_or_none(faster[0]),
        ),
        caption:
            "How many times as long a call takes as punctual's, which is the blue line: a dot \
                  in the shaded part is faster. Dot: median of the rounds; line: its quartiles."
                .to_owned(),
        body: Body::Beside(Beside {
            x: Axis::logarithmic("times as long as a call of punctual"),
            own: 1.0,
            is_better_left: true,
            rows: rows.collect(),
            cells: others.filter(|name| *name != "punctual").map(cell).collect(),
        }),
    }
}

fn figures(record: &Record) -> Figures {
    let outcomes = record.speed.as_ref()?.data.iter();
    let own = outcomes.filter_map(|it| Some((it.name(), it.result("punctual")?.median())));
    Some(own.collect())
}
