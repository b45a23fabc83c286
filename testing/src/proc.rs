//! What Linux tells of the running process.

use std::fs;
use std::path::PathBuf;

/// Returns the number of kibibytes in the first line of a file that begins with `field`, if
/// there is one.
pub fn kibibytes(file: &str, field: &str) -> Option<usize> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Returns the folders of the threads of that name.
pub fn threads_named(name: &str) -> Vec<PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let name_of = |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap_or_default();
    tasks.filter(|task| name_of(task).trim_end() == name).collect()
}
