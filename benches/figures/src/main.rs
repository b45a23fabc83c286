//! Publishes a run of the benchmarks: its record into the repository, its figures into the
//! documents.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use punctual_figures::record::Record;
use punctual_figures::{docs, paths, report};

const USAGE: &str = "\
cargo run -p punctual-figures -- publish [RECORD]   takes what the latest run (or the record) has
                                                    measured into benches/records/, and writes the
                                                    documents' figures and plots
cargo run -p punctual-figures -- docs               only writes the documents' figures and plots
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
    let left_out = published.take(Record::load(run)?);
    if !left_out.is_empty() {
        println!("Left out, since a filter left a part of them only: {}.", left_out.join(", "));
    }
    published.save(&path)?;
    println!("{} is published as {}.", run.display(), path.display());
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
