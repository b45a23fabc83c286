//! Writes the record's tables into the documents, between marks such as
//!
//! ```text
//! <!-- generated: memory -->
//! <!-- /generated -->
//! ```
//!
//! so that no figure in them is typed by hand.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::places;
use crate::record::Record;
use crate::tables;

const START: &str = "<!-- generated: ";
const START_END: &str = " -->\n";
const END: &str = "<!-- /generated -->";

/// The record that the documents are made of: the newest in `benches/records/`.
fn committed_record() -> Result<PathBuf, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("records");
    let entries = fs::read_dir(&folder).map_err(|error| {
        format!("no record to take figures from: {}: {error}", folder.display())
    })?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.pop().ok_or_else(|| format!("no record in {}", folder.display()).into())
}

/// Brings all documents up to date, or only says whether they are.
pub(crate) fn run(only_check: bool) -> Result<(), Box<dyn Error>> {
    let path = committed_record()?;
    let record = Record::load(&path)?;
    let mut outdated = Vec::new();
    for document in documents()? {
        let text = fs::read_to_string(&document)?;
        let generated = generate(&text, &record)
            .map_err(|problem| format!("{}: {problem}", document.display()))?;
        if generated != text {
            if !only_check {
                fs::write(&document, generated)?;
            }
            outdated.push(document.display().to_string());
        }
    }
    let outdated = if outdated.is_empty() { "none".to_owned() } else { outdated.join(", ") };
    if only_check && outdated != "none" {
        return Err(format!("figures differ from {}: {outdated}", path.display()).into());
    }
    println!("Figures from {}. Documents changed: {outdated}.", path.display());
    Ok(())
}

fn documents() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut documents = vec![places::repository().join("README.md")];
    for entry in fs::read_dir(places::repository().join("docs"))? {
        documents.push(entry?.path());
    }
    documents.retain(|path| {
        path.is_file() && path.extension().is_some_and(|extension| extension == "md")
    });
    documents.sort();
    Ok(documents)
}

/// The text with every region filled anew.
fn generate(text: &str, record: &Record) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(START) {
        let (name, after) = after.split_once(START_END).ok_or("a mark without its end")?;
        let (_, after) =
            after.split_once(END).ok_or_else(|| format!("{name}: no {END} follows"))?;
        let table = tables::named(record, name).ok_or_else(|| {
            format!("no table is called {name:?}; there are {}", tables::NAMES.join(", "))
        })?;
        result += &format!("{before}{START}{name}{START_END}\n{}\n{END}", table.markdown());
        rest = after;
    }
    Ok(result + rest)
}
