//! Comparisons of the time of a call.

use serde::{Deserialize, Serialize};

use super::quantile::quantile;
use crate::subject::{Kind, Subjects};
use crate::table::grouped;

/// What came of a comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub operation: String,
    pub popularity: String,
    pub material: String,
    pub capacity: usize,
    pub threads: usize,
    pub results: Vec<Timing>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timing {
    pub subject: String,
    /// Of each round.
    pub nanos_per_call: Vec<f64>,
    /// Over all rounds.
    pub hit_share: f64,
}

impl Timing {
    pub fn quantile(&self, share: f64) -> f64 {
        quantile(&self.nanos_per_call, share)
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The distance between the quartiles, as a share of the median.
    pub fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / self.median()
    }
}

impl Outcome {
    pub fn name(&self) -> String {
        format!("{}, {}, {}", self.operation, self.popularity, self.setup())
    }

    /// What several comparisons have in common, as in `u64, 10,000 entries, 1 thread`.
    pub fn setup(&self) -> String {
        let Self { material, capacity, threads, .. } = self;
        let plural = if *threads == 1 { "" } else { "s" };
        format!("{material}, {} entries, {threads} thread{plural}", grouped(*capacity))
    }

    pub fn result(&self, subject: &str) -> Option<&Timing> {
        self.results.iter().find(|result| result.subject == subject)
    }

    /// The fastest peer; of those that expire entries only, if asked for.
    pub fn best_peer(&self, subjects: &Subjects, only_expiring: bool) -> Option<&Timing> {
        let peers = self.results.iter().filter(|result| {
            subjects.kind(&result.subject) == Some(Kind::Peer)
                && (subjects.expires(&result.subject) || !only_expiring)
        });
        peers.min_by(|one, other| one.median().total_cmp(&other.median()))
    }
}
