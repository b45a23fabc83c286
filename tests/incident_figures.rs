//! The incident's figures in the documents are those that `cargo run --release --example incident`
//! prints. The replay is the same in every run, and its bytes are counted, so they are exact.

#![cfg(all(target_pointer_width = "64", not(any(punctual_loom, miri))))]
#![allow(dead_code, reason = "the example's other parts are not needed here")]

#[path = "../examples/incident/replay.rs"]
mod replay;
#[path = "../examples/incident/subject.rs"]
mod subject;
#[path = "../examples/incident/traffic.rs"]
mod traffic;

use std::fs;
use std::path::Path;

use punctual_figures::grouped;
use punctual_testing::alloc::{Always, Counting, Process};

use crate::replay::{Comparison, HEADROOM, Sample};
use crate::traffic::Scenario;

// This file has one test, since every other one in its process would be counted, too.
#[global_allocator]
static ALLOCATOR: Counting<Process<Always>> = Counting(Process(Always));

/// Workers on a host.
const WORKERS: usize = 4;

fn mebibytes(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.2} %", 100.0 * part as f64 / whole as f64)
}

fn expired(end: &Sample) -> String {
    if end.expired() == 0 { "0".to_owned() } else { percent(end.expired(), end.held) }
}

#[test]
fn the_incidents_figures_are_those_of_its_replay() {
    let comparison =
        Comparison::run(Scenario::INCIDENT, |_, _| {}).expect("the capacities are possible");
    let Comparison { original, punctual, recommended, bytes, .. } = &comparison;
    let ends = [original, &punctual.samples, &recommended.samples, &bytes.samples]
        .map(|samples| *samples.last().expect("there is a sample at the end"));
    let names = [
        "the original, in Rust",
        "`punctual`, same capacity",
        "`punctual`, at the capacity that it recommends",
        "`ByteCache`, with the budget that it recommends",
    ];

    let mut rows: Vec<(&str, String)> = names
        .iter()
        .zip(&ends)
        .map(|(name, end)| {
            let (held, expired) = (grouped(end.held), expired(end));
            let hits = percent(end.hits as usize, end.lookups as usize);
            let bytes = mebibytes(WORKERS * end.bytes_held);
            ("README.md", format!("| {name} | {held} | {expired} | {bytes} | {hits} |"))
        })
        .collect();
    for (sample, beside) in original.iter().zip(&punctual.samples) {
        let seconds = sample.at_seconds;
        if [0, 1_800, 3_600, 7_200, 14_400].contains(&seconds) {
            rows.push((
                "docs/original.md",
                format!(
                    "| {}:{:02} | {} | {} | {} | {} | {} | {} | {} |",
                    seconds / 3_600,
                    seconds / 60 % 60,
                    grouped(sample.held),
                    grouped(sample.live),
                    grouped(sample.expired()),
                    mebibytes(sample.bytes_held),
                    grouped(beside.held),
                    grouped(beside.expired()),
                    mebibytes(beside.bytes_held),
                ),
            ));
        }
    }
    let [of_original, of_punctual, of_recommended, of_bytes] =
        ends.map(|end| mebibytes(WORKERS * end.bytes_held));
    rows.push((
        "docs/original.md",
        format!(
            "For four workers that is {of_original} MiB, or {of_punctual} MiB with `punctual` at \
             the same capacity."
        ),
    ));
    let capacity = grouped(recommended.capacity);
    rows.push((
        "docs/original.md",
        format!(
            "With a headroom of {HEADROOM} it recommends {capacity} entries for each cache, which \
             take {of_recommended} MiB and evict nothing."
        ),
    ));
    assert_eq!(recommended.evicted, 0);
    let budget = grouped(bytes.budget_bytes);
    rows.push((
        "docs/original.md",
        format!(
            "A `ByteCache` recommends {budget} bytes, ids included: {of_bytes} MiB for eight of them."
        ),
    ));
    assert_eq!(bytes.evicted, 0);
    rows.push((
        "docs/tradeoffs.md",
        format!("{} of the entries that it held were expired", expired(&ends[0])),
    ));
    let each = ends[2].bytes_held / ends[2].held;
    rows.push(("docs/sizing.md", format!("comes to {each} bytes for each entry held")));

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let missing: Vec<String> = rows
        .into_iter()
        .filter(|(page, row)| {
            let text = fs::read_to_string(root.join(page)).expect("the page can be read");
            !text.split_whitespace().collect::<Vec<_>>().join(" ").contains(row.as_str())
        })
        .map(|(page, row)| format!("{page}: {row}"))
        .collect();
    assert!(missing.is_empty(), "the replay gives what is not there:\n{}", missing.join("\n"));
}
