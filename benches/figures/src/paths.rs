//! Where things are: the repository, the published record, and what runs leave behind.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn repository() -> &'static Path {
    let figures = Path::new(env!("CARGO_MANIFEST_DIR"));
    figures.ancestors().nth(2).expect("this is in benches/figures")
}

/// The record that the documents are made of.
pub fn published_record() -> PathBuf {
    repository().join("benches/records/published.json")
}

/// What was published when.
pub fn history() -> PathBuf {
    repository().join("benches/records/history.jsonl")
}

/// The folder for records, plots and the report, in the target folder that the running program is
/// in, such as `target/release/deps/comparison`.
pub fn output() -> Result<PathBuf, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let profile = program
        .ancestors()
        .find(|folder| folder.join(".cargo-lock").exists() || folder.join("deps").is_dir());
    let target = profile.and_then(Path::parent).ok_or("not run from a target folder")?;
    let output = target.join("punctual-benches");
    fs::create_dir_all(&output)?;
    Ok(output)
}

/// The record of the latest run.
pub fn latest_record() -> Result<PathBuf, Box<dyn Error>> {
    let folder = output()?.join("records");
    let files = fs::read_dir(&folder)
        .map_err(|error| format!("no run has left a record: {}: {error}", folder.display()))?;
    let paths = files.filter_map(|entry| Some(entry.ok()?.path()));
    let records = paths.filter(|path| path.extension().is_some_and(|it| it == "json"));
    records.max().ok_or_else(|| format!("no record in {}", folder.display()).into())
}
