//! What runs have measured, as it is kept: one JSON file a run.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::environment::Environment;
use crate::subject::{Kind, Subjects};
use crate::table::grouped;

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

/// The value below which a share of the values lies, and the rest above.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

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

impl HitRow {
    pub fn ratio(&self, subject: &str) -> Option<f64> {
        self.ratios.iter().find(|ratio| ratio.subject == subject).map(|found| found.ratio)
    }

    /// The best of what one could have instead: other caches and textbook policies.
    pub fn best_other(&self, subjects: &Subjects) -> Option<&HitRatio> {
        let is_other =
            |ratio: &&HitRatio| subjects.kind(&ratio.subject).is_some_and(Kind::is_other);
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
