//! The memory incident that `punctual` was made for, replayed; or a request trace of your own.
//!
//! ```text
//! cargo run --release --example incident
//! cargo run --release --example incident -- --trace dns.csv.gz --capacity 200
//! ```

mod plot;
mod replay;
mod report;
mod subject;
mod trace;
mod trace_replay;
mod traffic;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use punctual_figures::progress::Progress;
use punctual_testing::alloc::{Always, Counting, Process};

use crate::replay::Comparison;
use crate::trace_replay::TraceRow;
use crate::traffic::Scenario;

#[global_allocator]
static ALLOCATOR: Counting<Process<Always>> = Counting(Process(Always));

const HELP: &str = "\
Compares the cache of the incident with punctual's, in simulated time.

usage: incident [--trace FILE [--capacity N]...]

Without arguments it replays the incident (about 15 s): two caches of 500,000 entries in one
worker process, for several simulated hours. It prints tables, writes a plot beside this program,
and prints the plot's path on a line of its own.

  --trace FILE    replay this request trace instead: lines of at_ms,key,key_bytes,ttl_s, sorted by
                  time, as they are or in gzip; lines that start with # are skipped. Each request
                  is a lookup; a key that misses is stored, unless its TTL is 0
  --capacity N    with --trace: entries that the caches may hold. May be given several times, for
                  a row each. Default: 5, 10, 20, 50 and 100 % of the trace's different keys
  -h, --help      print this

Exit code: 0 done, 1 the work failed, 2 the arguments are wrong.
";

/// Capacities to try where none is given, in percent of the trace's different keys.
const DEFAULT_CAPACITY_PERCENTS: [usize; 5] = [5, 10, 20, 50, 100];

enum Task {
    Help,
    Incident,
    Trace { path: PathBuf, capacities: Vec<usize> },
}

/// Why the program ends early.
enum Failure {
    /// The arguments are wrong.
    Usage(String),
    /// What they asked for could not be done.
    Work(String),
    /// Standard output could not be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn main() -> ExitCode {
    let result = task_from_arguments().and_then(|task| {
        let mut out = io::stdout().lock();
        match task {
            Task::Help => out.write_all(HELP.as_bytes())?,
            Task::Incident => run_incident(&mut out)?,
            Task::Trace { path, capacities } => run_trace(&mut out, &path, &capacities)?,
        }
        Ok(out.flush()?)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has had enough of it, as `head` does.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => {
            complain(&format!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
        Err(Failure::Work(problem)) => {
            complain(&problem);
            ExitCode::FAILURE
        }
        Err(Failure::Usage(problem)) => {
            complain(&format!("{problem}\nTry --help."));
            ExitCode::from(2)
        }
    }
}

fn task_from_arguments() -> Result<Task, Failure> {
    use lexopt::prelude::*;

    let wrong = |error: lexopt::Error| Failure::Usage(error.to_string());
    let mut trace_path: Option<PathBuf> = None;
    let mut capacities = Vec::new();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next().map_err(wrong)? {
        match argument {
            Short('h') | Long("help") => return Ok(Task::Help),
            Long("trace") => {
                let path = arguments.value().map_err(wrong)?;
                if trace_path.replace(path.into()).is_some() {
                    return Err(Failure::Usage("--trace may be given only once".to_owned()));
                }
            }
            Long("capacity") => {
                let value = arguments.value().map_err(wrong)?;
                match value.to_str().map(str::parse::<usize>) {
                    Some(Ok(capacity)) if capacity > 0 => capacities.push(capacity),
                    _ => {
                        let problem =
                            format!("--capacity takes a whole number above 0, not {value:?}");
                        return Err(Failure::Usage(problem));
                    }
                }
            }
            _ => return Err(wrong(argument.unexpected())),
        }
    }
    match trace_path {
        Some(path) => Ok(Task::Trace { path, capacities }),
        None if capacities.is_empty() => Ok(Task::Incident),
        None => Err(Failure::Usage(
            "--capacity needs --trace: the incident is replayed at its own capacity".to_owned(),
        )),
    }
}

fn run_incident(out: &mut impl Write) -> Result<(), Failure> {
    let scenario = Scenario::INCIDENT;
    report::scenario(out, &scenario)?;
    out.flush()?;

    let progress = Progress::new(Comparison::REPLAYS * scenario.hours, None);
    let mut hours_replayed = 0;
    let comparison = Comparison::run(scenario, |name, hour| {
        hours_replayed += 1;
        let what = format!("{name}: hour {hour} of {} replayed", scenario.hours);
        progress.step(hours_replayed, &what);
    });
    progress.finish();
    let comparison = comparison.map_err(|error| Failure::Work(error.to_string()))?;
    report::over_time(out, &comparison)?;
    report::totals(out, &comparison)?;
    report::recommendation(out, &comparison)?;

    let path = write_plot(&plot::svg(&comparison))?;
    writeln!(out, "The same as a plot:\n{}", path.display())?;
    Ok(())
}

/// Writes the plot beside this program, which is where cargo puts what it builds, and returns its
/// path.
fn write_plot(picture: &str) -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::Work(format!("cannot tell where to write the plot: {error}")))?;
    let path = program.with_extension("svg");
    fs::write(&path, picture).map_err(|error| {
        Failure::Work(format!("cannot write the plot to {}: {error}", path.display()))
    })?;
    Ok(path)
}

fn run_trace(out: &mut impl Write, path: &Path, capacities: &[usize]) -> Result<(), Failure> {
    let requests = trace::read(path).map_err(|error| Failure::Work(error.to_string()))?;
    let keys = trace_replay::distinct_keys(&requests);
    let mut capacities = capacities.to_vec();
    if capacities.is_empty() {
        capacities =
            DEFAULT_CAPACITY_PERCENTS.map(|percent| (keys * percent / 100).max(1)).to_vec();
        capacities.dedup();
    }

    let mut rows = Vec::new();
    for capacity in capacities {
        let row = TraceRow::replay(&requests, capacity)
            .map_err(|error| Failure::Usage(format!("--capacity {capacity}: {error}")))?;
        rows.push(row);
        note(&format!("capacity {capacity} replayed"));
    }
    report::trace_table(out, path, requests.len(), keys, &rows)?;
    Ok(())
}

/// A line of progress. Without standard error the work goes on.
fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn complain(problem: &str) {
    note(&format!("error: {problem}"));
}
