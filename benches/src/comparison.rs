//! What punctual gains and loses against the cache it replaces and against its peers.
//!
//! `cargo bench` runs a short matrix and writes a report; `cargo bench -- FILTER` runs a part.

mod bar;
mod baseline;
mod bytes;
mod cores;
mod hit;
mod loads;
mod memory;
mod operations;
mod oracle;
mod pressure;
mod promptness;
mod rules;
mod speed;
mod stopwatch;
mod storm;
mod subjects;
mod targets;
mod versions;
mod wheels;
mod zipf;

/// Internals of the crate that are measured by themselves, compiled from its sources.
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
use punctual_figures::environment::Environment;
use punctual_figures::record::{BarLine, Part, Record};
use punctual_figures::sections::SECTIONS;
use punctual_figures::subject::Subjects;
use punctual_figures::{paths, report};
use punctual_testing::alloc::{Counting, OnDemand, Process};
use subjects::registry::Who;

#[global_allocator]
static ALLOCATOR: Counting<bytes::Blocks<Process<OnDemand>>> =
    Counting(bytes::Blocks(Process(OnDemand)));

/// How to say what shall be measured.
const USAGE: &str = "\
cargo bench                    a short matrix of everything, and the report
cargo bench -- full            all of it
cargo bench -- PART[/FILTER]   one part: bars, bytes, cores, growth, hit, loads, memory, operations, pressure,
                               promptness, rules, speed, storm, wheel; of bars, bytes, cores, hit, loads,
                               operations, pressure, rules and speed only what the filter's words occur in,
                               such as hit/oltp, bars/hit-1,u64, 'cores/hit, Zipf' or 'speed/miss, String';
                               bytes/quick is a part of bytes

cargo bench -- alone OPERATION MATERIAL ENTRANT ROUNDS
                               so many rounds of 100,000 calls of one of them, for a profiler: hit,
                               miss, insert, overwrite or read-through, of u64 or String

Each run leaves a record. To publish the latest one, and write its figures into the documents:
cargo run -p punctual-figures -- publish";

const ALONE: &str = "alone";

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
    if command == pressure::STOPPED_CHILD {
        pressure::stopped_child(&arguments[1..].join(" "));
        return Ok(());
    }
    if command == ALONE {
        println!("{}", speed::profile::run(&arguments[1..])?);
        return Ok(());
    }
    if command == "help" {
        println!("{USAGE}");
        return Ok(());
    }
    let (part, filter) = command.split_once('/').unwrap_or((command, ""));
    let is_full = part == "full";
    let is_everything = is_full || part.is_empty();
    let parts = || SECTIONS.iter().map(|section| section.name);
    if !is_everything && !parts().any(|name| name == part) {
        return Err(format!("nothing is called {command:?}\n\n{USAGE}").into());
    }
    let start = Instant::now();
    oracle::check_all();
    let command = ["cargo bench", if command.is_empty() { "" } else { " -- " }, command].concat();
    let environment = Environment::here(paths::repository(), command, filter);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let path = paths::output()?.join(format!("records/{seconds}.json"));
    let mut record = Record { subjects: described(), ..Record::default() };
    for name in parts().filter(|name| is_everything || *name == part) {
        let extent = (is_full, is_everything && !is_full);
        measure(name, filter, extent, &environment, &mut record)?;
        // Each time, so that a run that is stopped has not been in vain.
        record.save(&path)?;
    }
    print(&record);
    println!("\nTook {} s.", start.elapsed().as_secs());
    println!("Record: {}", path.display());
    println!("Report: {}", report::write(&record)?.display());
    Ok(())
}

/// Everyone who may occur in a record.
fn described() -> Subjects {
    let mut subjects = Subjects::default();
    subjects.extend(Who::ALL.iter().map(|who| who.description()));
    subjects.extend(wheels::descriptions().chain([hit::optimum()]));
    subjects
}

/// Adds a part to the record.
fn measure(
    name: &str,
    filter: &str,
    (is_full, is_short): (bool, bool),
    environment: &Environment,
    record: &mut Record,
) -> Result<(), Box<dyn Error>> {
    fn part<T>(environment: &Environment, data: T) -> Option<Part<T>> {
        Some(Part { environment: environment.clone(), data })
    }
    let found = |lines: Vec<BarLine>| {
        let is_found = !lines.is_empty();
        is_found.then_some(lines).ok_or_else(|| format!("no bar of {name} is called {filter:?}"))
    };
    let start = Instant::now();
    match name {
        "memory" => record.memory = part(environment, memory::run(is_full)),
        "promptness" => record.promptness = part(environment, promptness::run()),
        "wheel" => record.wheel = part(environment, wheels::compare()),
        "operations" => record.operations = part(environment, operations::run(filter)?),
        "growth" => record.growth = part(environment, targets::growth::run()),
        "storm" => record.storm = part(environment, storm::run()),
        "cores" => {
            let cores = cores::run(filter, is_full);
            if cores.loads.is_empty() {
                return Err(format!("no load is called {filter:?}").into());
            }
            record.cores = part(environment, cores);
        }
        "speed" => record.speed = part(environment, speed::matrix::run(filter, is_full)),
        "hit" => record.hit = part(environment, hit::run(filter, &record.subjects)?),
        "loads" => record.loads = part(environment, found(loads::run(filter))?),
        "pressure" => record.pressure = part(environment, found(pressure::run(filter))?),
        "bytes" => record.bytes = part(environment, found(bytes::run(filter, is_short))?),
        "rules" => record.rules = part(environment, found(rules::run(filter))?),
        "bars" => {
            let wheel = record.wheel.as_ref().map(|part| &*part.data);
            let growth = record.growth.as_ref().map(|part| &*part.data);
            let targets = targets::run(filter, wheel, growth);
            if targets.lines.is_empty() && targets.cores.is_empty() {
                return Err(format!("no bar is called {filter:?}").into());
            }
            record.bars = part(environment, targets);
        }
        _ => unreachable!("{name} is one of the parts"),
    }
    eprintln!("{name} took {} s", start.elapsed().as_secs());
    Ok(())
}

/// Shows what was measured.
fn print(record: &Record) {
    for titled in SECTIONS.iter().flat_map(|section| section.tables) {
        if let Some(table) = (titled.table)(record) {
            println!("\n{}\n\n{table}", titled.title);
        }
    }
}
