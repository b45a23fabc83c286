//! Is it faster with every core?

use super::section::{Figures, Losses, Pictures, Section, table};
use super::words::{capitalized, percent};
use crate::palette::Style;
use crate::picture::{Axis, Body, CurvesOfEach, Line, Picture};
use crate::record::{LoadOnCores, Record, Throughput};
use crate::subject::{Kind, Subjects};
use crate::table::Table;

pub(super) const SECTION: Section = Section {
    name: "cores",
    title: "Cores",
    question: "Is it faster with every core?",
    method: "\
            Million calls a second of all threads together, `u64` to `u64`: medians of rounds in \
            which all caches take turns. Each thread has its own keys of half a million. Get/insert \
            overwrites; read-through has room for a tenth of the keys, and inserts what is not \
            there. In the herd all threads ask for the same keys that are not there, and one of \
            them makes the value, of those caches that can do so. p99.9 is of the calls of most \
            threads, each timed by itself. What expires nothing has no deadlines, and the map has \
            no bound. scc evicts some before it is full.",
    losses: Some(losses),
    pictures,
    figures,
    tables: &[
        table("cores", "punctual and the best peers, by threads", summary),
        table("cores-all", "Million calls a second, by threads", all),
    ],
};

/// Everything that was measured.
fn all(record: &Record) -> Option<Table> {
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
const SUBJECTS: [&str; 5] = ["punctual", "quick_cache", "moka", "scc", "TinyUFO"];

/// Of each load only some subjects, all numbers of threads in one cell.
fn summary(record: &Record) -> Option<Table> {
    let cores = &record.cores.as_ref()?.data;
    let threads = cores.loads.first()?.threads.iter().map(usize::to_string);
    let head = format!("{} threads, {} processors", slashed(threads), cores.processors);
    let rows = cores.loads.iter().map(|load| {
        let of = |subject: &str| {
            let medians = load.result(subject).map(|result| result.medians());
            slashed(medians.into_iter().flatten().map(short))
        };
        [load.load.clone()].into_iter().chain(SUBJECTS.into_iter().map(of))
    });
    Table::new(&format!("{head} | {}", SUBJECTS.join(" | "))).with(rows)
}

fn slashed(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" / ")
}

/// With two digits that count.
fn short(millions: f64) -> String {
    if millions < 9.95 { format!("{millions:.1}") } else { format!("{millions:.0}") }
}

/// By number of threads: how much punctual gets done, and the best other cache.
fn contests<'a>(
    load: &'a LoadOnCores,
    subjects: &'a Subjects,
) -> impl Iterator<Item = (usize, f64, f64, &'a str)> {
    let own = load.result("punctual").map_or_else(Vec::new, Throughput::medians);
    load.threads.iter().zip(own).enumerate().filter_map(|(number, (&threads, own))| {
        let peers = load.results.iter().filter(|it| subjects.kind(&it.subject) == Some(Kind::Peer));
        let peers = peers.filter_map(|peer| Some((*peer.medians().get(number)?, &*peer.subject)));
        let (best, name) = peers.max_by(|one, other| one.0.total_cmp(&other.0))?;
        Some((threads, own, best, name))
    })
}

/// How often another cache gets more done, and where most.
fn losses(record: &Record) -> Losses {
    let loads = &record.cores.as_ref()?.data.loads;
    let all = loads.iter().flat_map(|load| {
        contests(load, &record.subjects).map(|(threads, own, best, name)| {
            (own / best, format!("{name} ({}, {})", load.load, of_threads(threads)))
        })
    });
    let all: Vec<_> = all.collect();
    let behind: Vec<_> = all.iter().filter(|(ratio, _)| *ratio < 1.0).collect();
    let worst = behind.iter().min_by(|one, other| one.0.total_cmp(&other.0));
    let sentence = worst.map(|(ratio, of)| {
        let (behind, all) = (behind.len(), all.len());
        format!(
            "On {behind} of {all} lines another cache gets more done. Furthest behind: {ratio:.2} \
             times as much as {of}."
        )
    });
    Some(sentence.into_iter().collect())
}

/// A picture for each load.
fn pictures(record: &Record) -> Pictures {
    let cores = &record.cores.as_ref()?.data;
    let of = |load: &LoadOnCores| {
        let line = |result: &Throughput| {
            let threads = load.threads.iter().map(|threads| *threads as f64);
            Line {
                name: result.subject.clone(),
                style: Style::of(&result.subject),
                points: threads.zip(result.medians()).collect(),
            }
        };
        let own = load.result("punctual")?;
        let (ahead, behind): (Vec<_>, Vec<_>) =
            contests(load, &record.subjects).partition(|(_, own, best, _)| own >= best);
        let [ahead, behind] = [ahead, behind].map(|contests| {
            let threads = contests.into_iter().map(|(threads, ..)| threads.to_string());
            threads.collect::<Vec<_>>().join(", ")
        });
        let words = match (&*ahead, &*behind) {
            (ahead, "") => format!("punctual gets most done with {ahead} threads"),
            ("", behind) => format!("another cache gets more done with {behind} threads"),
            _ => {
                format!("punctual gets most done with {ahead} threads, another cache with {behind}")
            }
        };
        let finding = format!("{}: {words}", capitalized(&load.load));
        let others = load.results.iter().filter(|result| result.subject != "punctual");
        let picture = Picture {
            finding,
            caption: format!(
                "Million calls a second of all threads together, by threads, on {} processors. \
                 Broad and blue in every panel: punctual.",
                cores.processors
            ),
            body: Body::Each(CurvesOfEach {
                x: Axis::doubling("threads"),
                y: Axis::linear("million calls a second"),
                own: line(own),
                others: others.map(line).collect(),
            }),
        };
        let words = load.load.split(|c: char| !c.is_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        Some((format!("cores-{}", words.join("-").to_lowercase()), picture))
    };
    Some(cores.loads.iter().filter_map(of).collect())
}

/// Million calls a second, by load and threads.
fn figures(record: &Record) -> Figures {
    let loads = record.cores.as_ref()?.data.loads.iter();
    let of_load = |load: &LoadOnCores| {
        let medians = load.result("punctual").map_or_else(Vec::new, Throughput::medians);
        let names = load.threads.iter().map(|threads| format!("{}, {threads}", load.load));
        names.zip(medians).collect::<Vec<_>>()
    };
    Some(loads.flat_map(of_load).collect())
}
