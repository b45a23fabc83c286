//! What the benchmarks of punctual have measured, as tables, plots, documents and a report.
//!
//! Apart from what is measured, so that the documents can be held against the published record
//! without building a single peer: `tests/docs.rs` does.

pub mod chart;
mod charts;
pub mod docs;
pub mod environment;
mod losses;
pub mod paths;
pub mod record;
pub mod report;
pub mod sections;
pub mod subject;
mod table;
mod tables;

pub use table::{Table, grouped};
