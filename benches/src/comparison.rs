//! What punctual gains and loses against the cache it replaces and against its peers.
//!
//! `cargo bench` runs a short matrix and writes a report; `cargo bench -- FILTER` runs a part.

mod bars;
mod by;
mod hit;
mod memory;
mod operations;
mod oracle;
mod promptness;
mod speed;
mod store;
mod storm;
mod subjects;
mod wheels;
mod zipf;

/// Parts of the crate that are measured by themselves, compiled from its sources.
#[allow(dead_code, reason = "not all of it is measured")]
#[path = "../../src/shard"]
mod internals {
    pub(crate) mod slot_id;
    pub(crate) mod wheel;
}

use std::error::Error;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use internals::{slot_id, wheel};
use punctual_figures::record::{Part, Record};
use punctual_figures::setting::Setting;
use punctual_figures::{Table, places, report, tables};
use punctual_testing::alloc::{Counting, OnDemand, Process};

#[global_allocator]
static ALLOCATOR: Counting<Process<OnDemand>> = Counting(Process(OnDemand));

/// How to say what shall be measured.
const USAGE: &str = "\
cargo bench                    a short matrix of everything, and the report
cargo bench -- full            all of it
cargo bench -- PART[/FILTER]   one part: bars, growth, hit, memory, operations, promptness, speed,
                               storm, wheel; of bars, hit, operations and speed only what the
                               filter's words occur in, such as hit/oltp, bars/hit-1,u64 or
                               'speed/miss, String'

cargo bench -- alone OPERATION MATERIAL ENTRANT ROUNDS
                               so many rounds of 100,000 calls of one of them, for a profiler: hit,
                               miss, insert, overwrite or read-through, of u64 or String

Each run leaves a record. To publish the latest one, and write its figures into the documents:
cargo run -p punctual-figures -- publish";

const ALONE: &str = "alone";

const PARTS: [&str; 9] =
    ["memory", "promptness", "wheel", "operations", "growth", "storm", "speed", "hit", "bars"];

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

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let command = arguments.first().map_or("", String::as_str);
    if command == memory::CHILD {
        return memory::child(&arguments[1..].join(" "));
    }
    if command == ALONE {
        println!("{}", speed::alone::run(&arguments[1..])?);
        return Ok(());
    }
    if command == "help" {
        println!("{USAGE}");
        return Ok(());
    }
    let (part, filter) = command.split_once('/').unwrap_or((command, ""));
    let is_full = part == "full";
    let is_everything = is_full || part.is_empty();
    if !is_everything && !PARTS.contains(&part) {
        return Err(format!("nothing is called {command:?}\n\n{USAGE}").into());
    }
    let start = Instant::now();
    oracle::check_all();
    let wanted: Vec<&str> =
        PARTS.into_iter().filter(|name| is_everything || *name == part).collect();
    let command = ["cargo bench", if command.is_empty() { "" } else { " -- " }, command].concat();
    let setting = Setting::here(places::repository(), command, filter);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let path = places::output()?.join(format!("records/{seconds}.json"));
    let mut record = Record::default();
    for name in wanted {
        measure(name, filter, is_full, &setting, &mut record)?;
        // Each time, so that a run that is stopped has not been in vain.
        record.save(&path)?;
    }
    print(&record);
    println!("\nTook {} s.", start.elapsed().as_secs());
    println!("Record: {}", path.display());
    println!("Report: {}", report::write(&record)?.display());
    Ok(())
}

/// Adds a part to the record.
fn measure(
    name: &str,
    filter: &str,
    is_full: bool,
    setting: &Setting,
    record: &mut Record,
) -> Result<(), Box<dyn Error>> {
    fn part<T>(setting: &Setting, data: T) -> Option<Part<T>> {
        Some(Part { setting: setting.clone(), data })
    }
    let start = Instant::now();
    match name {
        "memory" => record.memory = part(setting, memory::run(is_full)),
        "promptness" => record.promptness = part(setting, promptness::run()),
        "wheel" => record.wheel = part(setting, wheels::compare()),
        "operations" => record.operations = part(setting, operations::run(filter)?),
        "growth" => record.growth = part(setting, bars::growth::run()),
        "storm" => record.storm = part(setting, storm::run()),
        "speed" => record.speed = part(setting, speed::matrix::run(filter, is_full)),
        "hit" => record.hit = part(setting, hit::run(filter)?),
        "bars" => {
            let wheel = record.wheel.as_ref().map(|part| &part.data);
            let growth = record.growth.as_ref().map(|part| &part.data);
            let bars = bars::run(filter, wheel, growth);
            if bars.lines.is_empty() {
                return Err(format!("no bar is called {filter:?}").into());
            }
            record.bars = part(setting, bars);
        }
        _ => unreachable!("{name} is one of the parts"),
    }
    eprintln!("{name} took {} s", start.elapsed().as_secs());
    Ok(())
}

/// Shows what was measured.
fn print(record: &Record) {
    fn show(title: &str, table: Table) {
        if !table.is_empty() {
            println!("\n{title}\n\n{table}");
        }
    }
    if let Some(part) = &record.memory {
        show("Bytes an entry", tables::memory(&part.data, &["u64", "String"]));
        show("Bytes said and counted", tables::said(&part.data));
        show("Resident memory", tables::resident(&part.data));
    }
    if let Some(part) = &record.promptness {
        show("Promptness", tables::promptness(&part.data));
    }
    if let Some(part) = &record.speed {
        show("Speed", tables::speed(&part.data));
    }
    if let Some(part) = &record.storm {
        show("Half a million due together", tables::storm(&part.data.due_together));
        show("After idle days", tables::storm(&part.data.after_days));
        show("Limits of what a call frees", tables::reap_limits(&part.data.reap_limits));
    }
    if let Some(part) = &record.hit {
        for (group, of) in
            [("real/", "real traces"), ("generated/", "generated traces"), ("ttl/", "with TTLs")]
        {
            if part.data.tables.iter().any(|table| table.trace.starts_with(group)) {
                show(&format!("Hit ratio, %: {of}"), tables::hit_ratio(&part.data, group, &[]));
            }
        }
        if !part.data.bytes.is_empty() {
            show("The same at the same bytes", tables::hit_bytes(&part.data, "", &[]));
        }
        show("Bars of the hit ratio", tables::bar_lines(&part.data.bars));
    }
    if let Some(part) = &record.growth {
        show("Growth", tables::growth(&part.data));
    }
    if let Some(part) = &record.wheel {
        show("The wheel alone", tables::wheel(&part.data));
    }
    if let Some(part) = &record.operations {
        show("Each operation", tables::operations(&part.data));
    }
    if let Some(part) = &record.bars {
        show("Bars: times as fast, unless a unit is given", tables::bars(&part.data));
    }
}
