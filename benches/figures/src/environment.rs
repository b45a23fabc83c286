//! Where, when and of what figures are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub command: String,
    /// What of the part was wanted; empty: all of it.
    pub filter: String,
    pub date: String,
    pub commit: String,
    pub compiler: String,
    pub processor: String,
    pub processors: usize,
    pub is_virtual: bool,
    pub memory_gib: u64,
    pub system: String,
    /// Processes that wanted a processor when the run began: above the number of processors, the
    /// machine was not quiet.
    pub load: String,
    /// That the part took; zero: nobody noted it.
    #[serde(default)]
    pub seconds: u64,
    /// Of the peers and of punctual, by crate.
    pub versions: BTreeMap<String, String>,
}

/// The word of a command that asks for all that there is.
pub const FULL: &str = "full";

/// Crates whose versions matter to a reader.
const CRATES: [&str; 13] = [
    "TinyUFO",
    "foyer-memory",
    "hashbrown",
    "lru",
    "mini-moka",
    "moka",
    "pingora-memory-cache",
    "punctual",
    "quick_cache",
    "scc",
    "stretto",
    "tokio-util",
    "ttl_cache",
];

impl Environment {
    /// Of this machine, and of what stands in the repository.
    pub fn here(repository: &Path, command: String, filter: &str) -> Self {
        let line_of = |file: &str, start: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_default();
            line.split_once(':').map_or(line, |(_, value)| value).trim().to_owned()
        };
        let output_of = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).current_dir(repository).output();
            output.map_or_else(
                |_| String::new(),
                |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            )
        };
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let memory = line_of("/proc/meminfo", "MemTotal");
        let memory_kib: u64 =
            memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
        let is_virtual = line_of("/proc/cpuinfo", "flags").contains(" hypervisor ");
        // What follows the second number is the builder's own.
        let release = output_of("uname", &["-r"]);
        let release = release.split('.').take(2).collect::<Vec<_>>().join(".");
        let compiler = output_of("rustc", &["--version"]);
        Self {
            command,
            filter: filter.to_owned(),
            date: output_of("date", &["-u", "+%Y-%m-%d"]),
            commit: output_of("git", &["describe", "--always", "--dirty"]),
            compiler: compiler.split(" (").next().unwrap_or_default().to_owned(),
            processor: line_of("/proc/cpuinfo", "model name"),
            is_virtual,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory_kib.div_ceil(1 << 20),
            system: format!("{} {release}", output_of("uname", &["-s"])),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            seconds: 0,
            versions: versions(repository),
        }
    }

    /// Whether the run measured all that there is, not the short matrix.
    pub fn is_full(&self) -> bool {
        self.command.split_whitespace().any(|word| word == FULL)
    }

    /// In one line, as it stands below a figure.
    pub fn line(&self) -> String {
        format!("{}, commit {}, {}", self.date, self.commit, self.machine())
    }

    /// What it was measured on.
    pub fn machine(&self) -> String {
        let Self { compiler, processor, processors, memory_gib, system, .. } = self;
        let kind = if self.is_virtual { "virtual machine, " } else { "" };
        format!("{processors} × {processor} ({kind}{memory_gib} GiB), {system}, {compiler}")
    }

    /// The crates and their versions, in one line.
    pub fn crates(&self) -> String {
        let crates = self.versions.iter().map(|(name, version)| format!("{name} {version}"));
        crates.collect::<Vec<_>>().join(", ")
    }
}

/// From the lock file that this very build has used.
fn versions(repository: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(repository.join("Cargo.lock")).unwrap_or_default();
    let of_package = |package: &str| {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_matches('"').to_owned())
        };
        Some((value("name = ")?, value("version = ")?))
    };
    // Of several versions the last one listed is the newest, and ours.
    let packages = text.split("[[package]]").filter_map(of_package);
    packages.filter(|(name, _)| CRATES.contains(&name.as_str())).collect()
}
