//! Figures of earlier runs that need not be measured again: those of peers and marks, which do not
//! change while punctual does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fs, io};

/// Named figures in a file.
pub(crate) struct Baseline {
    path: PathBuf,
    figures: BTreeMap<String, f64>,
}

impl Baseline {
    /// What the file holds; nothing, if there is none or it is no such file.
    pub(crate) fn open(path: PathBuf) -> Self {
        let figures = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self { path, figures: figures.unwrap_or_default() }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    pub(crate) fn set(&mut self, name: String, figure: f64) {
        self.figures.insert(name, figure);
    }

    pub(crate) fn save(&self) -> io::Result<()> {
        fs::write(&self.path, serde_json::to_vec_pretty(&self.figures)?)
    }
}
