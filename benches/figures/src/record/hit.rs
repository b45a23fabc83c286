//! Hit ratios.

use serde::{Deserialize, Serialize};

use super::bars::Target;
use crate::subject::{Kind, Subjects};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hit {
    /// At the same number of entries.
    pub tables: Vec<HitTable>,
    /// At the same number of bytes.
    pub bytes: Vec<BytesRow>,
    /// The bars that the default policy has to clear.
    pub bars: Vec<Target>,
}

/// The hit ratios of one trace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HitTable {
    pub trace: String,
    pub rows: Vec<HitRow>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HitRow {
    pub capacity: usize,
    pub ratios: Vec<HitRatio>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HitRatio {
    pub subject: String,
    /// The share of requests that found something.
    pub ratio: f64,
}

/// It holds up to the next power of two of entries, so its hit ratio is compared at the same number
/// of bytes only.
const HOLDS_MORE: &str = "scc";

impl HitRow {
    pub fn ratio(&self, subject: &str) -> Option<f64> {
        self.ratios.iter().find(|ratio| ratio.subject == subject).map(|found| found.ratio)
    }

    /// The best of what one could have instead: other caches and textbook policies, if they hold as
    /// many entries.
    pub fn best_other(&self, subjects: &Subjects) -> Option<&HitRatio> {
        let is_other = |ratio: &&HitRatio| {
            ratio.subject != HOLDS_MORE && subjects.kind(&ratio.subject).is_some_and(Kind::is_other)
        };
        let others = self.ratios.iter().filter(is_other);
        others.max_by(|one, other| one.ratio.total_cmp(&other.ratio))
    }
}

/// Hit ratios of caches that take as many bytes as punctual does at a capacity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BytesRow {
    pub trace: String,
    pub capacity: usize,
    pub bytes: usize,
    pub ratios: Vec<BytesRatio>,
}

impl BytesRow {
    pub fn of(&self, subject: &str) -> Option<&BytesRatio> {
        self.ratios.iter().find(|ratio| ratio.subject == subject)
    }

    /// By how much punctual's ratio is above the best of the others.
    pub fn ahead(&self) -> f64 {
        let own = self.of("punctual").map_or(0.0, |own| own.ratio);
        let others = self.ratios.iter().filter(|ratio| ratio.subject != "punctual");
        own - others.map(|other| other.ratio).fold(0.0, f64::max)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BytesRatio {
    pub subject: String,
    /// The largest whose bytes fit; zero: an empty one takes more.
    pub capacity: usize,
    pub ratio: f64,
}
