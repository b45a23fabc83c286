//! Bytes, as builders, the allocator and the kernel have them.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    pub counted: Vec<CountedMemory>,
    pub footprints: Vec<FootprintBytes>,
    pub resident: Vec<ResidentMemory>,
}

/// As the allocator counts it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CountedMemory {
    pub subject: String,
    pub material: String,
    pub capacity: usize,
    /// Requested from the allocator and not given back, by the full cache with its contents.
    pub bytes: usize,
    /// Of punctual, what it said before it was built; contents are not in it.
    pub bytes_said: Option<usize>,
    /// For an insert of a fresh key into the full cache, besides the key and the value.
    pub allocations_an_insert: f64,
}

impl CountedMemory {
    pub fn bytes_each(&self) -> f64 {
        self.bytes as f64 / self.capacity as f64
    }
}

/// What the builders say, of `u64` to `u64`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FootprintBytes {
    pub capacity: usize,
    /// Of `unsync::Cache`, and of what it consists.
    pub total: usize,
    pub slots: usize,
    pub index: usize,
    pub wheel: usize,
    pub eviction: usize,
    /// Of `Cache`, on the machine of the record.
    pub total_of_shared: usize,
}

/// As the kernel counts it: bytes that the process holds more than before the cache was built.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResidentMemory {
    pub subject: String,
    pub capacity: usize,
    /// Of the empty cache, with a tenth of the entries, and of the full one.
    pub bytes: [u64; 3],
}
