//! Throughput by threads.

use serde::{Deserialize, Serialize};

use super::quantile::quantile;

/// How throughput grows with threads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cores {
    /// That the run saw.
    pub processors: usize,
    pub loads: Vec<LoadOnCores>,
}

/// What threads got done under one load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadOnCores {
    pub load: String,
    /// How many there were, from measurement to measurement.
    pub threads: Vec<usize>,
    pub results: Vec<Throughput>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Throughput {
    pub subject: String,
    /// Million calls a second of all threads together, by number of threads, of each round.
    pub millions: Vec<Vec<f64>>,
    /// Lookups that found something, over all rounds.
    pub hit_share: f64,
    /// The time in which 99.9 % of the calls of most threads return, of each round.
    pub p999_nanos: Vec<f64>,
}

impl Throughput {
    /// By number of threads.
    pub fn medians(&self) -> Vec<f64> {
        self.millions.iter().map(|rounds| quantile(rounds, 0.5)).collect()
    }

    pub fn p999_micros(&self) -> f64 {
        quantile(&self.p999_nanos, 0.5) / 1e3
    }
}

impl LoadOnCores {
    pub fn result(&self, subject: &str) -> Option<&Throughput> {
        self.results.iter().find(|result| result.subject == subject)
    }
}
