//! What the benchmarks of punctual have measured, as tables, plots, documents and a report.
//!
//! Apart from what is measured, so that the documents can be held against the published record
//! without building a single peer: `tests/docs.rs` does.

pub mod docs;
pub mod environment;
pub mod history;
pub mod palette;
pub mod paths;
pub mod picture;
pub mod progress;
pub mod record;
pub mod report;
pub mod sections;
pub mod subject;
mod table;

pub use table::{Table, grouped};
