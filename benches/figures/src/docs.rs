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

use crate::charts;
use crate::losses;
use crate::places;
use crate::record::{Part, Record};
use crate::setting::Setting;
use crate::tables;

const START: &str = "<!-- generated: ";
const START_END: &str = " -->\n";
const END: &str = "<!-- /generated -->";

/// Where the plots of the documents are, from the root of the repository.
const PLOTS: &str = "docs/plots";

/// In plots, before and after what is drawn.
const CONTENT: (&str, &str) = ("\n<!-- ", " -->\n");

/// A piece of Markdown; none, if the record lacks the part.
type Fragment = fn(&Record) -> Option<String>;

/// All that documents may have generated, by name.
const FRAGMENTS: [(&str, Fragment); 22] = [
    ("losses", losses_by_section),
    ("cost", |record| {
        let part = record.memory.as_ref()?;
        Some(with_source(&tables::cost(&part.data).markdown(), part, "memory"))
    }),
    ("bars", |record| {
        let part = record.bars.as_ref()?;
        Some(with_source(&tables::bars(&part.data).markdown(), part, "bars"))
    }),
    ("bars-missed", |record| sentences(&losses::bars(&record.bars.as_ref()?.data))),
    ("memory", |record| {
        let part = record.memory.as_ref()?;
        let table = tables::memory(&part.data, &["u64", "String"]).markdown();
        Some(with_source(&table, part, "memory"))
    }),
    ("memory-u64", |record| {
        let part = record.memory.as_ref()?;
        let table = tables::memory(&part.data, &["u64"]).markdown();
        Some(with_source(&table, part, "memory"))
    }),
    ("resident", |record| {
        let part = record.memory.as_ref()?;
        Some(with_source(&tables::resident(&part.data).markdown(), part, "memory"))
    }),
    ("said", |record| {
        let part = record.memory.as_ref()?;
        Some(with_source(&tables::said(&part.data).markdown(), part, "memory"))
    }),
    ("promptness", |record| {
        let part = record.promptness.as_ref()?;
        Some(with_source(&tables::promptness(&part.data).markdown(), part, "promptness"))
    }),
    ("speed", |record| {
        let part = record.speed.as_ref()?;
        Some(with_source(&tables::speed_summary(&part.data).markdown(), part, "speed"))
    }),
    ("storm", |record| {
        let part = record.storm.as_ref()?;
        Some(with_source(&tables::storm(&part.data.due_together).markdown(), part, "storm"))
    }),
    ("after-days", |record| {
        let part = record.storm.as_ref()?;
        Some(with_source(&tables::storm(&part.data.after_days).markdown(), part, "storm"))
    }),
    ("reap-limits", |record| {
        let part = record.storm.as_ref()?;
        Some(with_source(&tables::reap_limits(&part.data.reap_limits).markdown(), part, "storm"))
    }),
    ("growth", |record| {
        let part = record.growth.as_ref()?;
        Some(with_source(&tables::growth(&part.data).markdown(), part, "growth"))
    }),
    ("wheel", |record| {
        let part = record.wheel.as_ref()?;
        Some(with_source(&tables::wheel(&part.data).markdown(), part, "wheel"))
    }),
    ("hit-real", |record| hit_ratio(record, "real/", &HIT_COLUMNS)),
    ("hit-real-behind", |record| {
        losses::hit_group(&record.hit.as_ref()?.data, "real/", "these traces")
    }),
    ("hit-generated", |record| hit_ratio(record, "generated/", &HIT_COLUMNS_SHORT)),
    ("hit-generated-behind", |record| {
        losses::hit_group(&record.hit.as_ref()?.data, "generated/", "these traces")
    }),
    ("hit-dns", |record| hit_ratio(record, "ttl/dns", &HIT_COLUMNS_TTL)),
    ("hit-bytes", |record| {
        let part = record.hit.as_ref()?;
        let columns = ["punctual", "moka", "quick_cache", "lru + deadline"];
        let table = tables::hit_bytes(&part.data, "real/", &columns);
        (!part.data.bytes.is_empty()).then(|| with_source(&table.markdown(), part, "hit"))
    }),
    ("versions", |record| Some(record.memory.as_ref()?.setting.crates())),
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
    let part = record.hit.as_ref()?;
    let is_there = part.data.tables.iter().any(|table| table.trace.starts_with(group));
    let table = tables::hit_ratio(&part.data, group, columns);
    is_there.then(|| with_source(&table.markdown(), part, "hit"))
}

fn sentences(sentences: &[String]) -> Option<String> {
    Some(if sentences.is_empty() { "None.".to_owned() } else { sentences.join(" ") })
}

/// The command that measures a part by itself, as the record's run did.
pub(crate) fn command(setting: &Setting, part: &str) -> String {
    let command = if setting.command.ends_with(" full") {
        "cargo bench -- full".to_owned()
    } else {
        format!("cargo bench -- {part}")
    };
    let traces = if part == "hit" { "PUNCTUAL_TRACES=FOLDER " } else { "" };
    format!("{traces}{command}")
}

/// With the command that measures it, and where and when it was measured.
fn with_source<T>(text: &str, part: &Part<T>, name: &str) -> String {
    format!("{text}\n`{}`; {}.\n", command(&part.setting, name), part.setting.line())
}

/// A list of what is lost, question by question.
fn losses_by_section(record: &Record) -> Option<String> {
    let mut text = String::new();
    for (section, losses) in [
        ("Memory", losses::memory(&record.memory.as_ref()?.data)),
        ("Promptness", losses::promptness(&record.promptness.as_ref()?.data)),
        ("Speed", losses::speed(&record.speed.as_ref()?.data)),
        ("Spikes", losses::storm(&record.storm.as_ref()?.data)),
        ("Hit ratio", losses::hit(&record.hit.as_ref()?.data)),
        ("Growth", losses::growth(&record.growth.as_ref()?.data)),
        ("The wheel alone", losses::wheel(&record.wheel.as_ref()?.data)),
        ("Its own bars", losses::bars(&record.bars.as_ref()?.data)),
    ] {
        let losses =
            if losses.is_empty() { "nothing in this record.".to_owned() } else { losses.join(" ") };
        text += &format!("- **{section}**: {losses}\n");
    }
    Some(text)
}

/// A file and what should be in it.
struct Target {
    path: PathBuf,
    text: String,
    is_up_to_date: bool,
}

/// The documents, and the plots beside them.
fn targets(record: &Record) -> Result<Vec<Target>, Box<dyn Error>> {
    let mut targets = Vec::new();
    for path in documents()? {
        let old = fs::read_to_string(&path)?;
        let text =
            generate(&old, record).map_err(|problem| format!("{}: {problem}", path.display()))?;
        targets.push(Target { is_up_to_date: old == text, path, text });
    }
    for drawing in charts::all(record)? {
        let path = places::repository().join(PLOTS).join(format!("{}.svg", drawing.name));
        if !targets.iter().any(|target| target.text.contains(&format!("/{}.svg)", drawing.name))) {
            continue;
        }
        // Two dashes would end the comment.
        let content = format!("{}{}{}", CONTENT.0, drawing.content.replace("--", "- -"), CONTENT.1);
        let old = fs::read_to_string(&path).unwrap_or_default();
        // The same figures may be drawn a little otherwise by another version of what draws.
        let is_up_to_date = old.ends_with(&content);
        targets.push(Target { path, text: drawing.svg + &content, is_up_to_date });
    }
    Ok(targets)
}

/// Brings all documents and plots up to date; returns those that were not.
pub fn write() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut written = Vec::new();
    for target in targets(&Record::load(&places::published_record())?)? {
        if !target.is_up_to_date {
            fs::create_dir_all(target.path.parent().expect("it is in a folder"))?;
            fs::write(&target.path, target.text)?;
            written.push(target.path);
        }
    }
    Ok(written)
}

/// The documents and plots whose figures are not those of the published record.
pub fn outdated() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let targets = targets(&Record::load(&places::published_record())?)?;
    let outdated = targets.into_iter().filter(|target| !target.is_up_to_date);
    Ok(outdated.map(|target| target.path).collect())
}

fn documents() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut documents = vec![places::repository().join("README.md")];
    for entry in fs::read_dir(places::repository().join("docs"))? {
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
        let known = FRAGMENTS.iter().find(|(known, _)| *known == name);
        let (_, fragment) = known.ok_or_else(|| format!("nothing is called {name:?}"))?;
        let content = fragment(record).ok_or_else(|| {
            format!("the record has nothing for {name:?}: measure it, and publish that run")
        })?;
        result += &format!("{before}{START}{name}{START_END}\n{}\n\n{END}", content.trim_end());
        rest = after;
    }
    Ok(result + rest)
}
