//! Traces: what is asked for, in order, and for some also when and with which TTL.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;

/// The format of `dns.csv.gz`, read as the `incident` example reads it.
#[path = "../../../examples/incident/trace.rs"]
mod timed;

/// Names the folder of the traces, if they are not in `../shared/traces`.
const FOLDER_VARIABLE: &str = "PUNCTUAL_TRACES";

pub(crate) struct Trace {
    /// Its group and its name, as in `real/oltp`: what a filter is compared with.
    pub(crate) name: String,
    /// The keys asked for, numbered from zero.
    pub(crate) keys: Vec<u32>,
    /// How many different keys there are.
    pub(crate) key_count: usize,
    /// For each request when it comes, and the TTL of the answer; none: nothing ever expires.
    pub(crate) times: Option<Vec<Timing>>,
    /// The capacities at which it is replayed.
    pub(crate) capacities: Vec<usize>,
}

#[derive(Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) at: Duration,
    /// Zero: the answer is not to be kept.
    pub(crate) ttl: Duration,
}

impl Trace {
    /// A trace whose keys may be any numbers, at capacities of some shares of its keys, in
    /// thousandths (at least 16 entries).
    pub(crate) fn new<K: std::hash::Hash + Eq + Copy>(
        name: &str,
        keys: &[K],
        times: Option<Vec<Timing>>,
        permilles: &[usize],
    ) -> Self {
        let mut numbers = HashMap::with_hasher(foldhash::fast::FixedState::default());
        let keys = keys
            .iter()
            .map(|key| {
                let next = numbers.len() as u32;
                *numbers.entry(*key).or_insert(next)
            })
            .collect();
        let key_count = numbers.len();
        let capacities = permilles.iter().map(|share| (key_count * share / 1000).max(16)).collect();
        Self { name: name.to_owned(), keys, key_count, times, capacities }
    }

    pub(crate) fn at_capacities(mut self, capacities: &[usize]) -> Self {
        self.capacities = capacities.to_vec();
        self
    }
}

/// Where the real traces are, if they are anywhere.
pub(crate) fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces");
    let folder = std::env::var_os(FOLDER_VARIABLE).map_or(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// The real traces that are there and that the filter wants.
pub(crate) fn real(
    folder: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Trace>, Box<dyn Error>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    paths.sort();
    let mut traces = Vec::new();
    for path in paths {
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(name) = file_name.strip_suffix(".u32.gz") {
            let name = format!("real/{name}");
            if wanted(&name) {
                let keys = keys_of(&path)?;
                traces.push(Trace::new(&name, &keys, None, &[10, 50, 200]));
            }
        } else if file_name == "dns.csv.gz" && wanted("ttl/dns") {
            let requests = timed::read(&path)?;
            let keys: Vec<u64> = requests.iter().map(|request| request.key).collect();
            let times = requests.iter().map(|it| Timing { at: it.at, ttl: it.ttl });
            let trace = Trace::new("ttl/dns", &keys, Some(times.collect()), &[])
                .at_capacities(&[14, 71, 143, 287]);
            traces.push(trace);
        }
    }
    Ok(traces)
}

fn keys_of(path: &Path) -> Result<Vec<u32>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    MultiGzDecoder::new(File::open(path)?).read_to_end(&mut bytes)?;
    let keys = bytes.chunks_exact(4);
    if !keys.remainder().is_empty() {
        return Err(format!("{}: does not end with a whole key", path.display()).into());
    }
    Ok(keys.map(|key| u32::from_le_bytes([key[0], key[1], key[2], key[3]])).collect())
}
