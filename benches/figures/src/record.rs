//! What runs have measured, as it is kept: one JSON file a run.

use std::error::Error;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::setting::Setting;
use crate::table::grouped;

/// Everything that tables and plots are made of. A run of a part leaves the others out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub bars: Option<Part<Bars>>,
    pub memory: Option<Part<Memory>>,
    pub promptness: Option<Part<Promptness>>,
    pub speed: Option<Part<Speed>>,
    pub storm: Option<Part<Storm>>,
    pub hit: Option<Part<Hit>>,
    pub growth: Option<Part<Growth>>,
    pub wheel: Option<Part<Wheel>>,
    pub operations: Option<Part<Operations>>,
}

/// What belongs together, and was measured in one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part<T> {
    pub setting: Setting,
    #[serde(flatten)]
    pub data: T,
}

/// Each with what it must reach, what it aims at, and what is measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bars {
    pub lines: Vec<BarLine>,
    pub outcomes: Vec<Outcome>,
}

/// A line of the table, in words, since each has its own unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BarLine {
    pub bar: String,
    pub against: String,
    pub must: String,
    pub aim: String,
    pub measured: String,
    pub verdict: String,
    pub details: String,
}

impl BarLine {
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
    /// Of `Cache`, on the machine of the setting.
    pub total_of_shared: usize,
}

/// As the kernel counts it: bytes that the process holds more than before the cache was built.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResidentMemory {
    pub subject: String,
    pub capacity: usize,
    pub bytes_empty: u64,
    /// With a tenth of the entries.
    pub bytes_tenth: u64,
    pub bytes_full: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Promptness {
    pub caches: Vec<PromptnessOfCache>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PromptnessOfCache {
    pub subject: String,
    pub loaded: bool,
    /// Milliseconds after the last deadline, and the share of the dead that is still held.
    pub held: Vec<(u64, f64)>,
    /// Microseconds from an entry's deadline to the drop of its value: of those dropped at all, at
    /// 50, 99 and 99.9 % and at the most. None: nothing was dropped.
    pub lateness_micros: Option<[u64; 4]>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Speed {
    pub outcomes: Vec<Outcome>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Growth {
    pub outcomes: Vec<Outcome>,
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
    pub expires: bool,
    pub is_ours: bool,
    /// Of each round.
    pub nanos_per_call: Vec<f64>,
    /// Over all rounds.
    pub hit_share: f64,
}

impl Timing {
    /// The value below which a share of the rounds lies.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.nanos_per_call.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * share).round() as usize]
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The distance between the quartiles, as a share of the median.
    pub fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / self.median()
    }

    /// Whether one could use it instead: a cache for several threads that is not this crate's, not
    /// the one that it replaces, and no bare map.
    fn is_peer(&self) -> bool {
        let is_other = self.subject.ends_with("map")
            || self.subject.ends_with("unsync")
            || self.subject == "original";
        !self.is_ours && !is_other
    }
}

impl Outcome {
    pub fn name(&self) -> String {
        let Self { operation, popularity, material, capacity, threads, .. } = self;
        let plural = if *threads == 1 { "" } else { "s" };
        format!(
            "{operation}, {popularity}, {material}, {} entries, {threads} thread{plural}",
            grouped(*capacity)
        )
    }

    pub fn result(&self, subject: &str) -> Option<&Timing> {
        self.results.iter().find(|result| result.subject == subject)
    }

    /// How many times as fast one is as another, by medians.
    pub fn times_as_fast(&self, one: &str, other: &str) -> Option<f64> {
        Some(self.result(other)?.median() / self.result(one)?.median())
    }

    /// The fastest peer; of those that expire entries only, if asked for.
    pub fn best_peer(&self, only_expiring: bool) -> Option<&Timing> {
        let peers = self.results.iter();
        let peers = peers.filter(|peer| peer.is_peer() && (peer.expires || !only_expiring));
        peers.min_by(|one, other| one.median().total_cmp(&other.median()))
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
    pub p50_nanos: u64,
    pub p99_nanos: u64,
    pub p999_nanos: u64,
    pub p9999_nanos: u64,
    pub max_nanos: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hit {
    /// At the same number of entries.
    pub tables: Vec<HitTable>,
    /// At the same number of bytes.
    pub bytes: Vec<BytesRow>,
    /// The bars that the default policy has to clear.
    pub bars: Vec<BarLine>,
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
    pub kind: Kind,
    /// The share of requests that found something.
    pub ratio: f64,
}

/// What a hit ratio is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// This crate, with the default policy and default shards: what the bars are about.
    Punctual,
    /// This crate, otherwise.
    Variant,
    /// A cache that one can use instead.
    Peer,
    /// A textbook policy.
    Mark,
    /// What nobody can pass.
    Optimum,
}

impl HitRow {
    pub fn ratio(&self, subject: &str) -> Option<f64> {
        self.ratios.iter().find(|ratio| ratio.subject == subject).map(|found| found.ratio)
    }

    pub fn own(&self) -> Option<f64> {
        self.ratios.iter().find(|ratio| ratio.kind == Kind::Punctual).map(|found| found.ratio)
    }

    /// The best of what one could have instead: peers and textbook policies.
    pub fn best_other(&self) -> Option<&HitRatio> {
        let others =
            self.ratios.iter().filter(|ratio| matches!(ratio.kind, Kind::Peer | Kind::Mark));
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

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BytesRatio {
    pub subject: String,
    /// The largest whose bytes fit; zero: an empty one takes more.
    pub capacity: usize,
    pub ratio: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wheel {
    pub timers: Vec<TimersResult>,
}

/// Nanoseconds for a timer, of each round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TimersResult {
    pub subject: String,
    pub insert: Vec<f64>,
    pub cancel: Vec<f64>,
    /// Cascades included.
    pub expire: Vec<f64>,
}

impl TimersResult {
    /// The medians, by phase.
    pub fn medians(&self) -> [(&'static str, f64); 3] {
        let median = |rounds: &[f64]| {
            let mut sorted = rounds.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted[sorted.len() / 2]
        };
        [
            ("insert", median(&self.insert)),
            ("cancel", median(&self.cancel)),
            ("expire, cascades included", median(&self.expire)),
        ]
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Operations {
    pub operations: Vec<OperationTime>,
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
        let mut text = String::new();
        write(&rounded(serde_json::to_value(self)?), 0, &mut text)?;
        Ok(fs::write(path, text + "\n")?)
    }

    /// Takes the parts that another record has. Those that were filtered are no whole parts: their
    /// names are returned.
    pub fn take(&mut self, other: Self) -> Vec<&'static str> {
        let mut left_out = Vec::new();
        macro_rules! take {
            ($($part:ident),*) => {$(
                match other.$part {
                    Some(part) if part.setting.filter.is_empty() => self.$part = Some(part),
                    Some(_) => left_out.push(stringify!($part)),
                    None => {}
                }
            )*};
        }
        take!(bars, memory, promptness, speed, storm, hit, growth, wheel, operations);
        left_out
    }
}

/// Without digits that mean nothing.
fn rounded(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let value = number.as_f64().unwrap_or_default();
            let digits = 10_f64.powi(6 - value.abs().max(1e-9).log10().ceil() as i32);
            ((value * digits).round() / digits).into()
        }
        Value::Array(values) => values.into_iter().map(rounded).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, rounded(value))).collect(),
        other => other,
    }
}

/// A line for each result: one for each number would be ten thousand lines.
fn write(value: &Value, depth: usize, out: &mut String) -> serde_json::Result<()> {
    let indent = " ".repeat(depth);
    let is_flat = |value: &Value| match value {
        Value::Array(values) => !values.iter().any(|value| value.is_array() || value.is_object()),
        Value::Object(map) => !map.values().any(|value| value.is_array() || value.is_object()),
        _ => true,
    };
    match value {
        Value::Object(map) if !map.is_empty() && depth < 2 => {
            *out += "{";
            for (number, (key, value)) in map.iter().enumerate() {
                let comma = if number == 0 { "" } else { "," };
                *out += &format!("{comma}\n{indent} {}: ", Value::from(key.as_str()));
                write(value, depth + 1, out)?;
            }
            *out += &format!("\n{indent}}}");
        }
        Value::Array(values) if !is_flat(value) && depth < 3 => {
            *out += "[";
            for (number, value) in values.iter().enumerate() {
                let comma = if number == 0 { "" } else { "," };
                *out += &format!("{comma}\n{indent} {}", serde_json::to_string(value)?);
            }
            *out += &format!("\n{indent}]");
        }
        value => *out += &serde_json::to_string(value)?,
    }
    Ok(())
}
