//! What a command line asks for.

use punctual_figures::environment::FULL;

use crate::parts::{PARTS, Part};

/// What shall be measured, in the order in which it is.
pub(crate) struct Asked {
    pub(crate) is_full: bool,
    /// Each with what of it is wanted; empty: all of it.
    pub(crate) parts: Vec<(&'static Part, String)>,
}

/// How to say what shall be measured.
pub(crate) fn usage() -> String {
    let parts = PARTS.iter().map(|part| {
        let filter = if part.takes_filter { "[/FILTER]" } else { "" };
        format!("  {:<22}{}", format!("{}{filter}", part.name), part.what)
    });
    format!(
        "\
cargo bench                     a short matrix of everything, and the report
cargo bench -- PART...          these parts, one after the other
cargo bench -- full [PART...]   all of it, in an hour and a half, or all of these parts

{}

A filter leaves those lines in whose names all its words occur: hit/oltp, bars/hit-1,u64,
'cores/hit, Zipf' or 'speed/miss, String'.

cargo bench -- alone OPERATION MATERIAL ENTRANT ROUNDS
                                so many rounds of 100,000 calls of one of them, for a profiler: hit,
                                miss, insert, overwrite or read-through, of u64 or String

Each run leaves a record. To publish the latest one, and write its figures into the documents:
cargo run -p punctual-figures -- publish",
        parts.collect::<Vec<_>>().join("\n")
    )
}

impl Asked {
    /// From the words after `cargo bench --`. Nothing is measured if one of them is not understood.
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let mut is_full = false;
        let mut parts: Vec<(&'static Part, String)> = Vec::new();
        for word in words {
            if word == FULL {
                is_full = true;
                continue;
            }
            let (name, filter) = word.split_once('/').unwrap_or((word, ""));
            let part = PARTS.iter().find(|part| part.name == name);
            let part = part.ok_or_else(|| format!("nothing is called {word:?}"))?;
            if !filter.is_empty() && !part.takes_filter {
                return Err(format!("{name} is measured as a whole, without {filter:?}"));
            }
            if parts.iter().any(|(known, _)| known.name == name) {
                return Err(format!("{name} is asked for twice"));
            }
            parts.push((part, filter.to_owned()));
        }
        if parts.is_empty() {
            parts = PARTS.iter().map(|part| (part, String::new())).collect();
        }
        // What others use comes first.
        parts.sort_by_key(|(part, _)| PARTS.iter().position(|known| known.name == part.name));
        Ok(Self { is_full, parts })
    }
}
