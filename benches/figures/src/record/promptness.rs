//! When expired entries are freed.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PromptnessOfCache {
    pub subject: String,
    pub loaded: bool,
    /// Milliseconds after the last deadline, and the share of the expired entries that is still held.
    pub held: Vec<(u64, f64)>,
    /// Microseconds from an entry's deadline to the drop of its value: of those dropped at all, at
    /// 50, 99 and 99.9 % and at the most. None: nothing was dropped.
    pub lateness_micros: Option<[u64; 4]>,
}
