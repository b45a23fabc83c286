//! What was published when: a line of JSON for each measurement of a part, with the figures of
//! punctual's own that it gave.
//!
//! The published record has only the latest figures; here none are lost.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::record::Record;
use crate::sections::SECTIONS;
use crate::table::{Table, grouped};

/// What has changed by less is not told: a noisy machine does that.
const CHANGE_TOLD: f64 = 0.1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measurement {
    date: String,
    part: String,
    commit: String,
    command: String,
    /// Processors, memory, system and compiler.
    machine: String,
    figures: BTreeMap<String, f64>,
}

impl Measurement {
    fn is_of_same_run(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.date.clone(), it.part.clone(), it.commit.clone());
        of(self) == of(other) && self.figures == other.figures
    }

    /// What differs most from an earlier one of the same part, in words.
    fn since(&self, before: &Self) -> String {
        let common = self.figures.iter().filter_map(|(name, now)| {
            let before = *before.figures.get(name)?;
            (before != 0.0).then(|| (name, before, *now, (now / before - 1.0).abs()))
        });
        let common: Vec<_> = common.collect();
        let changed = common.iter().filter(|(.., change)| *change > CHANGE_TOLD);
        let most = changed.clone().max_by(|one, other| one.3.total_cmp(&other.3));
        let most = most.map_or_else(String::new, |(name, before, now, _)| {
            format!("; most: {name}, {before} to {now}")
        });
        format!("{} of {} by more than a tenth{most}", changed.count(), common.len())
    }
}

/// What a record has measured, part by part; what was filtered is no whole part.
fn measurements(record: &Record) -> Vec<Measurement> {
    let of = |section: &crate::sections::Section| {
        let environment = record.environment(section.name)?;
        let figures = (section.figures)(record)?;
        environment.filter.is_empty().then(|| Measurement {
            date: environment.date.clone(),
            part: section.name.to_owned(),
            commit: environment.commit.clone(),
            command: environment.command.clone(),
            machine: environment.machine(),
            figures: figures.into_iter().map(|(name, figure)| (name, rounded(figure))).collect(),
        })
    };
    SECTIONS.iter().filter_map(of).collect()
}

/// With four digits that count.
fn rounded(figure: f64) -> f64 {
    format!("{figure:.3e}").parse().unwrap_or(figure)
}

fn read(path: &Path) -> Result<Vec<Measurement>, Box<dyn Error>> {
    let text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
    let line = |(number, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| format!("{}: line {}: {error}", path.display(), number + 1).into())
    };
    text.lines().enumerate().map(line).collect()
}

/// Appends what a record has measured and the file has not; returns how many lines that were.
pub fn append(path: &Path, record: &Record) -> Result<usize, Box<dyn Error>> {
    let known = read(path)?;
    let mut new = measurements(record);
    new.retain(|one| !known.iter().any(|other| other.is_of_same_run(one)));
    let mut text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
    for measurement in &new {
        text += &(serde_json::to_string(measurement)? + "\n");
    }
    fs::write(path, text)?;
    Ok(new.len())
}

/// The measurements part by part, the newest first, and what has changed with each.
pub(crate) fn table(path: &Path) -> Result<Option<Table>, Box<dyn Error>> {
    let all = read(path)?;
    let mut table = Table::new("date | commit | figures | changed since the one before");
    for section in SECTIONS {
        let of_part: Vec<_> = all.iter().filter(|it| it.part == section.name).collect();
        if of_part.is_empty() {
            continue;
        }
        table.group(section.title);
        for (number, now) in of_part.iter().enumerate().rev() {
            let before = number.checked_sub(1).map(|before| of_part[before]);
            let changed = before.map_or_else(String::new, |before| now.since(before));
            let figures = grouped(now.figures.len());
            table.row([now.date.clone(), now.commit.clone(), figures, changed]);
        }
    }
    Ok(table.unless_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(figures: &[(&str, f64)]) -> Measurement {
        let figures = figures.iter().map(|(name, figure)| ((*name).to_owned(), *figure));
        Measurement {
            date: "2026-11-28".to_owned(),
            part: "speed".to_owned(),
            commit: "abc".to_owned(),
            command: "cargo bench".to_owned(),
            machine: "one".to_owned(),
            figures: figures.collect(),
        }
    }

    #[test]
    fn the_largest_change_is_told() {
        let before = measurement(&[("hit", 10.0), ("miss", 5.0), ("gone", 1.0)]);
        let now = measurement(&[("hit", 10.5), ("miss", 10.0), ("new", 1.0)]);
        assert_eq!(now.since(&before), "1 of 2 by more than a tenth; most: miss, 5 to 10");
        assert_eq!(before.since(&before), "0 of 3 by more than a tenth");
    }

    #[test]
    fn lines_are_read_as_they_were_written() {
        let one = measurement(&[("hit", 10.0)]);
        let text = serde_json::to_string(&one).expect("it is plain");
        assert!(!text.contains('\n'));
        assert_eq!(serde_json::from_str::<Measurement>(&text).expect("it is whole"), one);
    }
}
