//! Where things are: the repository, and what runs leave behind.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the benches are in the repository")
}

/// The folder under `target/` for records, plots and the report.
pub(crate) fn output() -> io::Result<PathBuf> {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let output = temporary.parent().expect("it is in the target folder").join("punctual-benches");
    fs::create_dir_all(&output)?;
    Ok(output)
}
