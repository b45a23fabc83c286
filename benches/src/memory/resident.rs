//! Resident memory: pages that the kernel holds for a process with one cache in it. A process of
//! its own for each cache, since allocators keep what others gave back.

use std::error::Error;
use std::process::Command;

use punctual_figures::record::ResidentMemory;
use punctual_testing::proc::kibibytes;

use crate::speed::entrants::build;
use crate::speed::keys::Material;
use crate::subjects::registry::Who;

/// The first argument of a process that measures one cache.
pub(crate) const CHILD: &str = "resident-memory-of";

const CAPACITY: usize = 1_000_000;

/// Of all caches; of none, where the kernel does not tell.
pub(super) fn run() -> Vec<ResidentMemory> {
    Who::regular().filter_map(|who| of(who.name()).ok()).collect()
}

fn of(subject: &str) -> Result<ResidentMemory, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?).args([CHILD, subject]).output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// In a process of its own: measures a cache, and prints what came of it.
pub(crate) fn child(subject: &str) -> Result<(), Box<dyn Error>> {
    let who = Who::regular().find(|who| who.name() == subject).ok_or("no such cache")?;
    let before = resident_bytes()?;
    let mut cache = build::<u64>(who, CAPACITY, 1);
    let empty = resident_bytes()?.saturating_sub(before);
    let mut fill = |numbers: std::ops::Range<u64>| {
        cache.fill(&mut numbers.map(u64::entry));
        Ok::<u64, Box<dyn Error>>(resident_bytes()?.saturating_sub(before))
    };
    let (tenth, whole) = (CAPACITY as u64 / 10, CAPACITY as u64);
    let resident = ResidentMemory {
        subject: subject.to_owned(),
        capacity: CAPACITY,
        bytes: [empty, fill(0..tenth)?, fill(tenth..whole)?],
    };
    println!("{}", serde_json::to_string(&resident)?);
    Ok(())
}

fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    Ok(kibibytes("/proc/self/status", "VmRSS:").ok_or("no VmRSS")? as u64 * 1024)
}
