//! This version of the crate beside another, whose folder a variable names: the same program is
//! built with each, and they run in turns.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use punctual_figures::paths;

/// The variable that names the folder of the version before, such as that of a git worktree.
pub(crate) const BEFORE: &str = "PUNCTUAL_BEFORE";

/// The program with the version before, and with this one.
pub(crate) struct Versions([PathBuf; 2]);

impl Versions {
    /// Builds a program with both. `None` if there is no version before.
    pub(crate) fn build(name: &str, source: &str) -> Option<Self> {
        let before = PathBuf::from(std::env::var_os(BEFORE)?);
        let folder = paths::output().ok()?.join("versions");
        let build = |side: &str, crate_folder: &Path| {
            let folder = folder.join(format!("{name}-{side}"));
            fs::create_dir_all(folder.join("src"))?;
            fs::write(folder.join("src/main.rs"), source)?;
            fs::write(folder.join("Cargo.toml"), manifest(crate_folder))?;
            // The same dependencies for both.
            fs::copy(paths::repository().join("Cargo.lock"), folder.join("Cargo.lock"))?;
            let status = Command::new(env!("CARGO"))
                .args(["build", "--release", "--offline", "--quiet"])
                .current_dir(&folder)
                .env("CARGO_TARGET_DIR", folder.join("target"))
                .status()?;
            assert!(
                status.success(),
                "the program cannot be built with {}",
                crate_folder.display()
            );
            Ok::<_, std::io::Error>(folder.join("target/release/program"))
        };
        let before = build("before", &before).ok()?;
        Some(Self([before, build("now", paths::repository()).ok()?]))
    }

    /// Runs both so often, in turns. Returns the number that each has printed: that of the version
    /// before, and of this one.
    pub(crate) fn interleaved(&self, runs: usize, arguments: &[&str]) -> Vec<[f64; 2]> {
        let run = |program: &PathBuf| {
            let output = Command::new(program).args(arguments).output().expect("it has been built");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.trim().parse::<f64>().expect("it prints a number")
        };
        let turn = |number: usize| {
            let mut figures = [0.0; 2];
            for side in [number % 2, (number + 1) % 2] {
                figures[side] = run(&self.0[side]);
            }
            figures
        };
        (0..runs).map(turn).collect()
    }
}

fn manifest(crate_folder: &Path) -> String {
    format!(
        "[package]\nname = \"program\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\npunctual = {{ path = {crate_folder:?} }}\nfastrand = \"2\"\n\n\
         [profile.release]\nlto = \"fat\"\ncodegen-units = 1\n\n[workspace]\n"
    )
}
