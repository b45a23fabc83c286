//! What the benchmarks of punctual have measured, as tables, plots, documents and a report.
//!
//! Apart from what is measured, so that the documents can be held against the published record
//! without building a single peer: `tests/docs.rs` does.

mod chart;
mod charts;
pub mod docs;
pub mod losses;
pub mod places;
pub mod record;
pub mod report;
pub mod setting;
mod style;
mod table;
pub mod tables;

pub use table::Table;
