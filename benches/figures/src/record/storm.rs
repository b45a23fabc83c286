//! How long single calls take while much falls due.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Storm {
    /// Around half a million deadlines at once.
    pub due_together: Vec<Latencies>,
    /// After days in which nobody touched the cache.
    pub after_days: Vec<Latencies>,
    pub reap_limits: Vec<ReapLimit>,
}

/// What a limit of entries freed by a call does in a storm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReapLimit {
    pub limit: usize,
    pub median_nanos: u64,
    pub max_nanos: u64,
    /// Until all that was due is freed.
    pub calls: usize,
}

/// How long calls took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latencies {
    pub subject: String,
    pub calls: usize,
    /// By [`Self::NAMES`].
    pub nanos: [u64; 5],
}

impl Latencies {
    pub const NAMES: [&str; 5] = ["median", "p99", "p99.9", "p99.99", "longest call"];
}
