//! What is asked of the record, question by question: the terminal, the report and the documents
//! show these sections.
//!
//! A new section is a line in [`SECTIONS`], in which its part of the record is named, and a file
//! with its tables and pictures; of a part that is a list of bars, `of_lines!` in `bars.rs`.

pub(crate) mod bars;
pub(crate) mod bytes;
mod cores;
mod growth;
pub(crate) mod hit;
pub(crate) mod memory;
mod operations;
mod promptness;
mod section;
mod speed;
mod storm;
mod wheel;
mod words;

use crate::picture::Picture;
use crate::record::Record;

pub use section::{Section, Titled};

/// In the order in which they are read.
pub const SECTIONS: &[Section] = &[
    memory::SECTION,
    promptness::SECTION,
    speed::SECTION,
    cores::SECTION,
    storm::SECTION,
    hit::SECTION,
    growth::SECTION,
    wheel::SECTION,
    bars::SECTION,
    bars::LOADS,
    bars::PRESSURE,
    bars::RULES,
    bars::BYTES,
    operations::SECTION,
];

/// All pictures of a record, each with the name of its file.
pub(crate) fn pictures(record: &Record) -> impl Iterator<Item = (String, Picture)> {
    SECTIONS.iter().flat_map(|section| (section.pictures)(record).unwrap_or_default())
}
