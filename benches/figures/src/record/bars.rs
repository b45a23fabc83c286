//! Bars: what must be reached, what is aimed at, and what is measured.

use serde::{Deserialize, Serialize};

use super::speed::Outcome;

/// Each with what it must reach, what it aims at, and what is measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Targets {
    pub lines: Vec<Target>,
    /// How it grows with threads.
    #[serde(default)]
    pub cores: Vec<BarLine>,
    pub outcomes: Vec<Outcome>,
}

/// A line of the table, in words, since each has its own unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    pub bar: String,
    pub against: String,
    pub must: String,
    pub aim: String,
    pub measured: String,
    pub verdict: String,
    pub details: String,
}

impl Target {
    pub fn is_missed(&self) -> bool {
        self.verdict.starts_with("missed")
    }
}

/// A bar, of loading, under pressure, of rules or of cores. Measured is in words, since each has its own unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BarLine {
    pub bar: String,
    pub must: String,
    pub aim: String,
    pub measured: String,
    /// None: there is nothing that it must reach, or it was not measured.
    pub is_met: Option<bool>,
    /// Of each run.
    pub figures: Vec<f64>,
}
