//! Publishes a run of the benchmarks: its record into the repository, its figures into the
//! documents.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use punctual_figures::record::Record;
use punctual_figures::{docs, history, paths, report};

const USAGE: &str = "\
cargo run -p punctual-figures -- publish [RECORD]   takes what the latest run (or the record) has
                                                    measured into benches/records/, and writes the
                                                    documents' figures and plots
cargo run -p punctual-figures -- docs               only writes the documents' figures and plots
cargo run -p punctual-figures -- history RECORD...  notes what records have measured in
                                                    benches/records/history.jsonl; publish does so
cargo run -p punctual-figures -- report [RECORD]    the report of the published (or the) record";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let file = arguments.get(1).map(Path::new);
    match arguments.first().map(String::as_str) {
        Some("publish") => {
            publish(&file.map_or_else(paths::latest_record, |file| Ok(file.to_owned()))?)?;
            write_docs()
        }
        Some("docs") => write_docs(),
        Some("history") => {
            arguments[1..].iter().try_for_each(|file| note(&Record::load(Path::new(file))?))
        }
        Some("report") => {
            let file = file.map_or_else(paths::published_record, Path::to_owned);
            println!("Report: {}", report::write(&Record::load(&file)?)?.display());
            Ok(())
        }
        _ => {
            println!("{USAGE}");
            Ok(())
        }
    }
}

/// The parts that the run has measured replace those of the published record; the others stay.
fn publish(run: &Path) -> Result<(), Box<dyn Error>> {
    let path = paths::published_record();
    let mut published = if path.exists() { Record::load(&path)? } else { Record::default() };
    let run_record = Record::load(run)?;
    note(&run_record)?;
    let left_out = published.take(run_record);
    if !left_out.is_empty() {
        println!("Left out, since a filter left a part of them only: {}.", left_out.join(", "));
    }
    published.save(&path)?;
    println!("{} is published as {}.", run.display(), path.display());
    Ok(())
}

/// What a record has measured, a line for each part.
fn note(record: &Record) -> Result<(), Box<dyn Error>> {
    let path = paths::history();
    println!("{} measurements appended to {}.", history::append(&path, record)?, path.display());
    Ok(())
}

fn write_docs() -> Result<(), Box<dyn Error>> {
    let written = docs::write()?;
    for path in &written {
        println!("Written: {}", path.display());
    }
    println!("{} documents and plots changed.", written.len());
    Ok(())
}
