//! What a run has measured, as it is kept: one JSON file a run.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::hit::HitTable;
use crate::memory::MemoryResult;
use crate::places;
use crate::promptness::PromptnessResult;
use crate::speed::contest::Outcome;
use crate::storm::Latencies;
use crate::wheels::WheelResult;

/// Everything that the report is made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) setting: Setting,
    pub(crate) hit_ratios: Vec<HitTable>,
    pub(crate) speed: Vec<Outcome>,
    pub(crate) growth: Vec<Outcome>,
    pub(crate) memory: Vec<MemoryResult>,
    pub(crate) promptness: Vec<PromptnessResult>,
    pub(crate) storm: Vec<Latencies>,
    pub(crate) wheels: Vec<WheelResult>,
}

/// Where and of what the figures are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) unix_seconds: u64,
    pub(crate) date: String,
    pub(crate) command: String,
    pub(crate) commit: String,
    pub(crate) compiler: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory: String,
    pub(crate) system: String,
    /// Processes that wanted a processor when the run began: above the number of processors, the
    /// machine was not quiet.
    pub(crate) load: String,
    /// Of the peers and of punctual, by crate.
    pub(crate) versions: BTreeMap<String, String>,
}

/// Crates whose versions matter to a reader.
const CRATES: [&str; 9] = [
    "hashbrown",
    "lru",
    "mini-moka",
    "moka",
    "punctual",
    "quick_cache",
    "stretto",
    "tokio-util",
    "ttl_cache",
];

impl Setting {
    pub(crate) fn here(arguments: &[String]) -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut command = "cargo bench".to_owned();
        if !arguments.is_empty() {
            command += &format!(" -- {}", arguments.join(" "));
        }
        let line_of = |file: &str, start: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_default();
            line.split_once(':').map_or(line, |(_, value)| value).trim().to_owned()
        };
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            unix_seconds: seconds,
            date: output_of("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            command,
            commit: output_of("git", &["describe", "--always", "--dirty"]),
            compiler: output_of("rustc", &["--version"]),
            processor: line_of("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory: line_of("/proc/meminfo", "MemTotal"),
            system: output_of("uname", &["-sr"]),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            versions: versions(),
        }
    }
}

/// What a program prints, run in the repository; nothing if it cannot be run.
fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(places::repository()).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// From the lock file that this very build has used.
fn versions() -> BTreeMap<String, String> {
    let path = places::repository().join("Cargo.lock");
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let quoted = |line: &str| line.split('"').nth(1).unwrap_or_default().to_owned();
        if line.starts_with("name = ") {
            let name = quoted(line);
            let version = lines.next().map(quoted).unwrap_or_default();
            if CRATES.contains(&name.as_str()) {
                // Of several versions the last one listed is the newest, and ours.
                versions.insert(name, version);
            }
        }
    }
    versions
}

impl Record {
    /// Writes the record to a file of its own.
    pub(crate) fn save(&self) -> io::Result<PathBuf> {
        let folder = places::output()?.join("records");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.json", self.setting.unix_seconds));
        fs::write(&path, serde_json::to_vec_pretty(self)?)?;
        Ok(path)
    }

    pub(crate) fn load(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let record = serde_json::from_slice(&text);
        Ok(record.map_err(|error| format!("{}: {error}", path.display()))?)
    }
}
