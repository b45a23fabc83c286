//! What several sections say alike.

/// Names in the order in which they first come.
pub(super) fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

pub(super) fn micros(nanos: u64, digits: usize) -> String {
    format!("{:.digits$}", nanos as f64 / 1e3)
}

/// A share in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}

/// A share in percent, where there is one.
pub(super) fn percent_or_dash(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), percent)
}

/// The sentence about a figure of punctual's and the lower ones of others; none, if it is the lowest.
pub(super) fn unless_lowest<'a>(
    what: &str,
    own: f64,
    others: impl Iterator<Item = (&'a str, f64)>,
) -> Option<String> {
    let lower = others.filter(|(_, figure)| *figure < own);
    let lower: Vec<String> = lower.map(|(name, figure)| format!("{name} {figure:.2}")).collect();
    (!lower.is_empty()).then(|| format!("{what}: punctual {own:.2}, {}.", lower.join(", ")))
}

/// As in `none of 9 others`.
pub(super) fn of_others(count: usize, others: usize) -> String {
    format!("{} of {others} others", count_or_none(count))
}

pub(super) fn count_or_none(count: usize) -> String {
    if count == 0 { "none".to_owned() } else { count.to_string() }
}

/// With a capital letter.
pub(super) fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
