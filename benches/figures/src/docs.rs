//! Writes the published record's figures into the documents, between marks such as
//!
//! ```text
//! <!-- generated: memory -->
//! <!-- /generated -->
//! ```
//!
//! and its plots beside them, so that no figure in them is typed by hand.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::paths;
use crate::record::Record;
use crate::sections::{SECTIONS, Section, bars, bytes, hit, memory, pictures};
use crate::table::Table;

const START: &str = "<!-- generated: ";
const START_END: &str = " -->\n";
const END: &str = "<!-- /generated -->";

/// Where the plots of the documents are, from the root of the repository.
const PLOTS: &str = "docs/plots";

/// A piece of Markdown; none, if the record lacks the part.
type Fragment = fn(&Record) -> Option<String>;

/// What documents may have generated, by name, besides the tables of the sections.
const FRAGMENTS: [(&str, Fragment); 12] = [
    ("losses", losses_by_section),
    ("bars-missed", |record| {
        let losses = bars::losses(record)?;
        Some(if losses.is_empty() { "None.".to_owned() } else { losses.join(" ") })
    }),
    ("memory-u64", |record| with_source(record, "memory", memory::of_u64(record))),
    ("hit-real", |record| hit_ratio(record, "real/", &HIT_COLUMNS)),
    ("hit-real-behind", |record| hit::behind_on(record, "real/", "these traces")),
    ("hit-generated", |record| hit_ratio(record, "generated/", &HIT_COLUMNS_SHORT)),
    ("hit-generated-behind", |record| hit::behind_on(record, "generated/", "these traces")),
    ("hit-dns", |record| hit_ratio(record, "ttl/dns", &HIT_COLUMNS_TTL)),
    ("hit-bytes", |record| {
        let columns = ["punctual", "moka", "quick_cache", "lru + deadline"];
        with_source(record, "hit", hit::of_bytes(record, "real/", &columns))
    }),
    ("bytes-hits", |record| with_source(record, "bytes", bytes::hits(record))),
    ("bytes-speed", |record| with_source(record, "bytes", bytes::speed(record))),
    ("versions", |record| Some(record.environment("memory")?.crates())),
];

const HIT_COLUMNS: [&str; 10] = [
    "punctual",
    "FIFO",
    "LRU",
    "SIEVE",
    "S3-FIFO",
    "moka",
    "mini-moka",
    "quick_cache",
    "stretto",
    "optimum",
];
const HIT_COLUMNS_SHORT: [&str; 7] =
    ["punctual", "FIFO", "LRU", "S3-FIFO", "moka", "quick_cache", "optimum"];
const HIT_COLUMNS_TTL: [&str; 8] = [
    "punctual",
    "moka Expiry",
    "quick_cache + deadline",
    "lru + deadline",
    "original",
    "SIEVE",
    "S3-FIFO",
    "optimum",
];

fn hit_ratio(record: &Record, group: &str, columns: &[&str]) -> Option<String> {
    with_source(record, "hit", hit::of_entries(record, group, columns))
}

/// The command that measures a part by itself, as the record's run did.
pub(crate) fn command(environment: &Environment, part: &str) -> String {
    let full = if environment.is_full() { "full " } else { "" };
    let traces = if part == "hit" { "PUNCTUAL_TRACES=FOLDER " } else { "" };
    format!("{traces}cargo bench -- {full}{part}")
}

/// With the command that measures it, and where and when it was measured.
fn with_source(record: &Record, part: &str, table: Option<Table>) -> Option<String> {
    let environment = record.environment(part)?;
    let (command, line) = (command(environment, part), environment.line());
    Some(format!("{}\n`{command}`; {line}.\n", table?.markdown()))
}

/// The fragment of a name; an error says why there is none.
fn fragment(record: &Record, name: &str) -> Result<String, String> {
    let of_section = |section: &Section| {
        let titled = section.tables.iter().find(|titled| titled.name == name)?;
        Some(with_source(record, section.name, (titled.table)(record)))
    };
    let content = match FRAGMENTS.iter().find(|(known, _)| *known == name) {
        Some((_, fragment)) => fragment(record),
        None => SECTIONS
            .iter()
            .find_map(of_section)
            .ok_or_else(|| format!("nothing is called {name:?}"))?,
    };
    content.ok_or_else(|| {
        format!("the record has nothing for {name:?}: measure it, and publish that run")
    })
}

/// A list of what is lost, question by question.
fn losses_by_section(record: &Record) -> Option<String> {
    let mut text = String::new();
    for section in SECTIONS {
        let Some(losses) = section.losses.and_then(|losses| losses(record)) else { continue };
        let losses =
            if losses.is_empty() { "nothing in this record.".to_owned() } else { losses.join(" ") };
        text += &format!("- **{}**: {losses}\n", section.title);
    }
    Some(text)
}

/// The documents, and the plots beside them, whose figures are not those of the published record,
/// with what should be in them.
fn changes() -> Result<Vec<(PathBuf, String)>, Box<dyn Error>> {
    let record = Record::load(&paths::published_record())?;
    let (mut changes, mut all) = (Vec::new(), String::new());
    for path in documents()? {
        let old = fs::read_to_string(&path)?;
        let text =
            generate(&old, &record).map_err(|problem| format!("{}: {problem}", path.display()))?;
        all += &text;
        if old != text {
            changes.push((path, text));
        }
    }
    for (name, picture) in pictures(&record) {
        let path = paths::repository().join(PLOTS).join(format!("{name}.svg"));
        let old = fs::read_to_string(&path).unwrap_or_default();
        if all.contains(&format!("/{name}.svg)")) && old != picture.svg() {
            changes.push((path, picture.svg()));
        }
    }
    Ok(changes)
}

/// Brings all documents and plots up to date; returns those that were not.
pub fn write() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    fs::create_dir_all(paths::repository().join(PLOTS))?;
    let changes = changes()?;
    changes.iter().try_for_each(|(path, text)| fs::write(path, text))?;
    Ok(changes.into_iter().map(|(path, _)| path).collect())
}

/// The documents and plots whose figures are not those of the published record.
pub fn outdated() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    Ok(changes()?.into_iter().map(|(path, _)| path).collect())
}

fn documents() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut documents = vec![paths::repository().join("README.md")];
    for entry in fs::read_dir(paths::repository().join("docs"))? {
        documents.push(entry?.path());
    }
    let is_markdown = |path: &Path| path.extension().is_some_and(|extension| extension == "md");
    documents.retain(|path| is_markdown(path));
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
        let content = fragment(record, name)?;
        result += &format!("{before}{START}{name}{START_END}\n{}\n\n{END}", content.trim_end());
        rest = after;
    }
    Ok(result + rest)
}
