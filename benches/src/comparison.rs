//! What punctual gains and loses against the cache it replaces and against its peers.
//!
//! `cargo bench` runs a short matrix and writes a report; `cargo bench -- FILTER` runs a part.

mod allocator;
mod bars;
mod by;
mod chart;
mod docs;
mod hit;
mod memory;
mod operations;
mod oracle;
mod places;
mod promptness;
mod record;
mod report;
mod speed;
mod store;
mod storm;
mod subjects;
mod table;
mod tables;
mod wheels;
mod zipf;

/// Private parts of the crate that are measured by themselves, as they stand there.
#[allow(dead_code, reason = "not all of it is measured")]
#[path = "../../src"]
mod private_parts {
    pub(crate) mod slot_id;
    pub(crate) mod wheel;
}

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use private_parts::{slot_id, wheel};
use record::{Record, Setting};

#[global_allocator]
static ALLOCATOR: allocator::CountingAllocator = allocator::CountingAllocator;

fn main() -> ExitCode {
    // Cargo adds `--bench` to what the user asked for.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How to say what shall be measured.
const USAGE: &str = "\
cargo bench                    a short matrix of everything, and the report
cargo bench -- full            all of it
cargo bench -- PART[/FILTER]   one part: bars, growth, hit, memory, operations, promptness, speed,
                               storm, wheel; of bars, hit and speed only what the filter's words
                               occur in, such as hit/oltp, bars/hit-1,u64 or 'speed/miss, String'
cargo bench -- docs            fills the documents' tables from benches/records/
cargo bench -- docs/check      fails if they are not up to date
cargo bench -- report/FILE     the report of a record";

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let command = arguments.first().map_or("", String::as_str);
    let (part, filter) = command.split_once('/').unwrap_or((command, ""));
    match part {
        "help" => {
            println!("{USAGE}");
            return Ok(());
        }
        "docs" => return docs::run(filter == "check"),
        "report" => {
            let record = Record::load(Path::new(filter))?;
            println!("Report: {}", report::write(&record)?.display());
            return Ok(());
        }
        "operations" => {
            oracle::check_all();
            operations::run(filter);
            return Ok(());
        }
        "bars" => {
            oracle::check_all();
            return bars::run(filter);
        }
        _ => {}
    }
    let full = part == "full";
    let everything = full || part.is_empty();
    let wants = |name: &str| everything || part == name;
    const PARTS: [&str; 7] = ["hit", "speed", "growth", "memory", "promptness", "storm", "wheel"];
    if !everything && !PARTS.contains(&part) {
        return Err(format!("nothing is called {command:?}\n\n{USAGE}").into());
    }
    oracle::check_all();
    let mut record = Record { setting: Setting::here(arguments), ..Record::default() };
    if wants("memory") {
        record.memory = memory::run(full);
    }
    if wants("promptness") {
        record.promptness = promptness::run();
    }
    if wants("storm") {
        record.storm = storm::run();
    }
    if wants("wheel") {
        record.wheels = wheels::compare();
    }
    if wants("growth") {
        let sizes: &[usize] = &[1_000, 10_000, 100_000, 1_000_000, 10_000_000];
        record.growth = bars::growth::run(if full { sizes } else { &sizes[..4] });
    }
    if wants("speed") {
        record.speed = speed::matrix::run(filter, full);
    }
    if wants("hit") {
        record.hit_ratios = hit::run(filter)?;
    }
    // The hit ratios print their own tables as they come.
    for name in tables::NAMES.iter().filter(|name| **name != "hit-ratio") {
        if let Some(table) = tables::named(&record, name).filter(|table| !table.is_empty()) {
            println!("\n{name}\n\n{table}");
        }
    }
    println!("\nRecord: {}", record.save()?.display());
    println!("Report: {}", report::write(&record)?.display());
    Ok(())
}
