//! What runs have measured, as it is kept: one JSON file a run.

mod bars;
mod cores;
mod hit;
mod memory;
mod promptness;
mod quantile;
mod speed;
mod storm;
mod timers;

use std::error::Error;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::environment::Environment;
use crate::subject::Subjects;

pub use bars::{BarLine, Target, Targets};
pub use cores::{Cores, LoadOnCores, Throughput};
pub use hit::{BytesRatio, BytesRow, Hit, HitRatio, HitRow, HitTable};
pub use memory::{CountedMemory, FootprintBytes, Memory, ResidentMemory};
pub use promptness::PromptnessOfCache;
pub use quantile::quantile;
pub use speed::{Outcome, Timing};
pub use storm::{Latencies, ReapLimit, Storm};
pub use timers::{OperationTime, TimersResult};

/// Defines the record and what goes over all of its parts.
macro_rules! record {
    ($($part:ident: $data:ty,)*) => {
        /// Everything that tables and plots are made of. A run of a part leaves the others out.
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        pub struct Record {
            pub subjects: Subjects,
            $(pub $part: Option<Part<$data>>,)*
        }

        impl Record {
            /// The environment in which a part was measured.
            pub fn environment(&self, part: &str) -> Option<&Environment> {
                match part {
                    $(stringify!($part) => Some(&self.$part.as_ref()?.environment),)*
                    _ => None,
                }
            }

            /// Notes how long a part took.
            pub fn note_seconds(&mut self, part: &str, seconds: u64) {
                match part {
                    $(stringify!($part) => if let Some(part) = &mut self.$part {
                        part.environment.seconds = seconds;
                    },)*
                    _ => {}
                }
            }

            /// Takes the parts that another record has. Those that were filtered are no whole
            /// parts: their names are returned.
            pub fn take(&mut self, other: Self) -> Vec<&'static str> {
                let mut left_out = Vec::new();
                self.subjects.extend(other.subjects);
                $(match other.$part {
                    Some(part) if part.environment.filter.is_empty() => self.$part = Some(part),
                    Some(_) => left_out.push(stringify!($part)),
                    None => {}
                })*
                left_out
            }
        }
    };
}

record! {
    bars: Targets,
    memory: Memory,
    promptness: Vec<PromptnessOfCache>,
    speed: Vec<Outcome>,
    storm: Storm,
    hit: Hit,
    growth: Vec<Outcome>,
    cores: Cores,
    wheel: Vec<TimersResult>,
    operations: Vec<OperationTime>,
    loads: Vec<BarLine>,
    pressure: Vec<BarLine>,
    rules: Vec<BarLine>,
    bytes: Vec<BarLine>,
}

/// What belongs together, and was measured in one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part<T> {
    pub environment: Environment,
    pub data: T,
}

impl Record {
    pub fn load(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let record = serde_json::from_slice(&text);
        Ok(record.map_err(|error| format!("{}: {error}", path.display()))?)
    }

    pub fn save(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(&rounded(serde_json::to_value(self)?))?;
        Ok(fs::write(path, text + "\n")?)
    }
}

/// Without digits that mean nothing.
fn rounded(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let digits = format!("{:.5e}", number.as_f64().unwrap_or_default());
            digits.parse::<f64>().unwrap_or_default().into()
        }
        Value::Array(values) => values.into_iter().map(rounded).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, rounded(value))).collect(),
        other => other,
    }
}
