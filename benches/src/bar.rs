//! What a figure must be, and whether it is.
//!
//! A part of bars is a list of measurements, each with the name that a filter is compared with.

use punctual_figures::record::{BarLine, quantile};

use crate::progress;

/// Measures lines of a table.
pub(crate) type Measure = fn() -> Vec<BarLine>;

/// Measures the bars of a part in whose names the filter's words occur.
pub(crate) fn measure(part: &str, measures: &[(&str, Measure)], filter: &str) -> Vec<BarLine> {
    let words: Vec<&str> = filter.split([',', ' ']).collect();
    let wanted = measures.iter().filter(|(name, _)| words.iter().all(|word| name.contains(word)));
    let lines = wanted.flat_map(|(name, measure)| {
        progress::step(&format!("{part}: {name}"));
        measure()
    });
    lines.collect()
}

#[derive(Clone, Copy)]
pub(crate) struct Limit {
    sign: &'static str,
    value: f64,
}

impl Limit {
    pub(crate) const fn exactly(value: f64) -> Self {
        Self { sign: "", value }
    }

    pub(crate) const fn at_most(value: f64) -> Self {
        Self { sign: "≤ ", value }
    }

    pub(crate) const fn at_least(value: f64) -> Self {
        Self { sign: "≥ ", value }
    }

    fn is_met(self, figure: f64) -> bool {
        match self.sign {
            "≤ " => figure <= self.value,
            "≥ " => figure >= self.value,
            _ => figure == self.value,
        }
    }

    /// How bad a figure is: the worst one has most.
    fn badness(self, figure: f64) -> f64 {
        match self.sign {
            "≤ " => figure,
            "≥ " => -figure,
            _ => (figure - self.value).abs(),
        }
    }

    fn worst(self, figures: &[f64]) -> f64 {
        let worst = figures
            .iter()
            .copied()
            .max_by(|&one, &other| self.badness(one).total_cmp(&self.badness(other)));
        worst.expect("something was measured")
    }
}

/// In what a figure is told.
#[derive(Clone, Copy)]
pub(crate) struct Unit {
    name: &'static str,
    decimals: usize,
}

pub(crate) const COUNT: Unit = Unit { name: "", decimals: 0 };
pub(crate) const PERCENT: Unit = Unit { name: " %", decimals: 2 };
pub(crate) const MILLIS: Unit = Unit { name: " ms", decimals: 1 };
pub(crate) const MICROS: Unit = Unit { name: " µs", decimals: 1 };
pub(crate) const NANOS: Unit = Unit { name: " ns", decimals: 2 };
pub(crate) const BYTES: Unit = Unit { name: " bytes", decimals: 2 };
pub(crate) const BYTES_WHOLE: Unit = Unit { name: " bytes", decimals: 0 };
pub(crate) const POINTS: Unit = Unit { name: " points", decimals: 2 };
pub(crate) const RATIO: Unit = Unit { name: " ×", decimals: 2 };

impl Unit {
    fn figure(self, figure: f64) -> String {
        format!("{figure:.*}{}", self.decimals, self.name)
    }

    fn limit(self, Limit { sign, value }: Limit) -> String {
        format!("{sign}{value}{}", self.name)
    }
}

/// A line of the table before it is measured.
pub(crate) struct Bar {
    name: String,
    unit: Unit,
    must: Option<Limit>,
    aim: Option<Limit>,
}

impl Bar {
    pub(crate) fn new(name: impl Into<String>, unit: Unit, must: Limit) -> Self {
        Self { name: name.into(), unit, must: Some(must), aim: None }
    }

    /// One that aims at something, and need not reach anything.
    pub(crate) fn aiming(name: impl Into<String>, unit: Unit, aim: Limit) -> Self {
        Self { name: name.into(), unit, must: None, aim: Some(aim) }
    }

    pub(crate) fn aim(self, aim: Limit) -> Self {
        Self { aim: Some(aim), ..self }
    }

    /// The worst run counts.
    pub(crate) fn worst(self, figures: Vec<f64>, remark: &str) -> BarLine {
        let worst = self.limit().worst(&figures);
        let shown = self.unit.figure(worst);
        self.line(worst, shown, figures, remark)
    }

    /// The median run counts, and the worst is told.
    pub(crate) fn median(self, figures: Vec<f64>) -> BarLine {
        self.median_beside(figures, "")
    }

    /// The same, with something else told beside the worst.
    pub(crate) fn median_beside(self, figures: Vec<f64>, beside: &str) -> BarLine {
        let [median, worst] = [quantile(&figures, 0.5), self.limit().worst(&figures)];
        let separator = if beside.is_empty() { "" } else { "; " };
        let remark = format!("worst {}{separator}{beside}", self.unit.figure(worst));
        let shown = self.unit.figure(median);
        self.line(median, shown, figures, &remark)
    }

    pub(crate) fn once(self, figure: f64, remark: &str) -> BarLine {
        self.worst(vec![figure], remark)
    }

    /// The line of a bar that cannot be measured here: neither met nor missed.
    pub(crate) fn not_measured(self, why: &str) -> BarLine {
        let is_met = None;
        BarLine { is_met, ..self.line(f64::NAN, "not measured".to_owned(), Vec::new(), why) }
    }

    /// By which its figures are told apart.
    fn limit(&self) -> Limit {
        self.must.or(self.aim).expect("there is something to reach or to aim at")
    }

    fn line(self, counts: f64, shown: String, figures: Vec<f64>, remark: &str) -> BarLine {
        let Self { name, unit, must, aim } = self;
        let limit = |limit: Option<Limit>| limit.map_or_else(String::new, |it| unit.limit(it));
        BarLine {
            bar: name,
            must: limit(must),
            aim: limit(aim),
            measured: if remark.is_empty() { shown } else { format!("{shown} ({remark})") },
            is_met: must.map(|must| must.is_met(counts)),
            figures,
        }
    }
}
