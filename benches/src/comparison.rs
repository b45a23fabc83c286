//! What punctual gains and loses against the cache it replaces and against its peers.
//!
//! `cargo bench` runs a short matrix and writes a report; `cargo bench -- PART...` runs parts of it.

mod asked;
mod bar;
mod baseline;
mod bytes;
mod cores;
mod hit;
mod loads;
mod memory;
mod operations;
mod oracle;
mod parts;
mod pressure;
mod progress;
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

use asked::Asked;
use internals::{slot_id, wheel};
use parts::Run;
use punctual_figures::environment::Environment;
use punctual_figures::record::Record;
use punctual_figures::sections::SECTIONS;
use punctual_figures::subject::Subjects;
use punctual_figures::{paths, report};
use punctual_testing::alloc::{Counting, OnDemand, Process};
use subjects::registry::Who;

#[global_allocator]
static ALLOCATOR: Counting<bytes::Blocks<Process<OnDemand>>> =
    Counting(bytes::Blocks(Process(OnDemand)));

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
    match arguments.first().map_or("", String::as_str) {
        memory::CHILD => return memory::child(&arguments[1..].join(" ")),
        pressure::STOPPED_CHILD => {
            pressure::stopped_child(&arguments[1..].join(" "));
            return Ok(());
        }
        ALONE => {
            println!("{}", speed::profile::run(&arguments[1..])?);
            return Ok(());
        }
        _ => {}
    }
    if arguments.iter().any(|word| ["help", "--help", "-h"].contains(&&**word)) {
        println!("{}", asked::usage());
        return Ok(());
    }
    let asked =
        Asked::parse(arguments).map_err(|problem| format!("{problem}\n\n{}", asked::usage()))?;
    let start = Instant::now();
    oracle::check_all();
    let separator = if arguments.is_empty() { "" } else { " -- " };
    let command = format!("cargo bench{separator}{}", arguments.join(" "));
    let environment = Environment::here(paths::repository(), command, "");
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let path = paths::output()?.join(format!("records/{seconds}.json"));
    let mut record = Record { subjects: described(), ..Record::default() };
    measure(&asked, &environment, &mut record, |record| record.save(&path))?;
    print(&record);
    println!("\nTook {} s.", start.elapsed().as_secs());
    println!("Record: {}", path.display());
    println!("Report: {}", report::write(&record)?.display());
    Ok(())
}

/// Measures one part after the other, and saves the record after each, so that a run that is
/// stopped has not been in vain.
fn measure(
    asked: &Asked,
    environment: &Environment,
    record: &mut Record,
    save: impl Fn(&Record) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let published = Record::load(&paths::published_record()).ok();
    let seconds = asked
        .parts
        .iter()
        // Of a part of a part nobody knows how long it takes.
        .map(|(part, _)| part.seconds(asked.is_full, published.as_ref()));
    let seconds: Vec<u64> = seconds.collect();
    progress::start(seconds.iter().sum());
    for ((part, filter), seconds) in asked.parts.iter().zip(seconds) {
        progress::part(seconds);
        progress::step(part.name);
        let start = Instant::now();
        let environment = Environment { filter: filter.clone(), ..environment.clone() };
        let run = Run { filter, is_full: asked.is_full, environment: &environment };
        part.measure(&run, record).map_err(|error| format!("{}: {error}", part.name))?;
        let seconds = start.elapsed().as_secs();
        record.note_seconds(part.name, seconds);
        progress::note(&format!("{} took {seconds} s", part.name));
        save(record)?;
    }
    progress::finish();
    Ok(())
}

/// Everyone who may occur in a record.
fn described() -> Subjects {
    let mut subjects = Subjects::default();
    subjects.extend(Who::ALL.iter().map(|who| who.description()));
    subjects.extend(wheels::descriptions().chain([hit::optimum()]));
    subjects
}

/// Shows what was measured.
fn print(record: &Record) {
    for titled in SECTIONS.iter().flat_map(|section| section.tables) {
        if let Some(table) = (titled.table)(record) {
            println!("\n{}\n\n{table}", titled.title);
        }
    }
}
