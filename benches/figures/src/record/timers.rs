//! The wheel and each operation by themselves.

use serde::{Deserialize, Serialize};

use super::quantile::quantile;

/// Nanoseconds for a timer, of each round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TimersResult {
    pub subject: String,
    /// By [`Self::PHASES`].
    pub rounds: [Vec<f64>; 3],
}

impl TimersResult {
    pub const PHASES: [&str; 3] = ["insert", "cancel", "expire, cascades included"];

    /// By phase.
    pub fn medians(&self) -> [f64; 3] {
        self.rounds.each_ref().map(|rounds| quantile(rounds, 0.5))
    }
}

/// As criterion has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperationTime {
    pub group: String,
    pub operation: String,
    pub median_nanos: f64,
    /// The interval in which the median lies with 95 % confidence.
    pub low_nanos: f64,
    pub high_nanos: f64,
}
