//! The bars of the caches of bytes: what lies beside keys and values, what is kept in the same
//! memory, what is moved and evicted, how fast they are, and how long others wait.

mod entrants;
mod hits;
mod hostile;
mod mixes;
mod overhead;
mod players;
mod real;
mod replay;
mod speed;
mod waits;
mod work;

use punctual_figures::record::BarLine;

pub(crate) use real::Blocks;

/// How much of it is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Extent {
    /// A quarter of the requests and of the rounds, beside quick_cache alone.
    Quick,
    Whole,
}

impl Extent {
    /// Of what there are so many in the whole.
    fn of(self, whole: usize) -> usize {
        if self == Self::Quick { whole / 4 } else { whole }
    }
}

/// Measures lines of the table.
type Measure = fn(Extent) -> Vec<BarLine>;

const MEASURES: [(&str, Measure); 8] = [
    ("beside", overhead::beside),
    ("use", overhead::used),
    ("hits", hits::lines),
    ("policies", hits::policies),
    ("work", work::lines),
    ("hostile", hostile::lines),
    ("speed", speed::lines),
    ("waits", waits::lines),
];

/// Asks for [`Extent::Quick`] where it stands among the words of the filter.
const QUICK: &str = "quick";

/// Measures the bars that the filter picks.
pub(crate) fn run(filter: &str, is_quick: bool) -> Vec<BarLine> {
    let words: Vec<&str> = filter.split([',', ' ']).collect();
    let is_quick = is_quick || words.contains(&QUICK);
    let extent = if is_quick { Extent::Quick } else { Extent::Whole };
    let is_wanted = |name: &str| words.iter().all(|word| *word == QUICK || name.contains(word));
    let wanted = MEASURES.iter().filter(|(name, _)| is_wanted(name));
    let lines = wanted.flat_map(|(name, measure)| {
        eprintln!("bytes: {name} ...");
        measure(extent)
    });
    lines.collect()
}

/// A line that has nothing to reach.
fn told(name: impl Into<String>, measured: String, figures: Vec<f64>) -> BarLine {
    let (must, aim) = (String::new(), String::new());
    BarLine { bar: name.into(), must, aim, measured, is_met: None, figures }
}
