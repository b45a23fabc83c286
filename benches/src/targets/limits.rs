//! What a figure must reach, what it aims at, and whether it does.

use punctual_figures::record::Target;

/// In what a figure is told.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    sign: &'static str,
    must: Option<f64>,
    aim: Option<f64>,
    unit: &'static str,
}

impl Limits {
    /// More is better.
    pub(crate) const fn at_least(must: Option<f64>, aim: Option<f64>) -> Self {
        Self { sign: "≥", must, aim, unit: "" }
    }

    /// Less is better.
    pub(crate) const fn at_most(must: f64, aim: f64) -> Self {
        Self { sign: "≤", must: Some(must), aim: Some(aim), unit: "" }
    }

    pub(crate) const fn in_unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    fn verdict(self, measured: f64) -> &'static str {
        let reaches = |limit: f64| {
            if self.sign == "≥" { measured >= limit } else { measured <= limit }
        };
        match (self.must.map(reaches), self.aim.map(reaches)) {
            (Some(false), _) => "missed",
            (_, Some(true)) => "aim met",
            (Some(true), _) => "must met",
            (None, _) => "below the aim",
        }
    }

    /// A line of the table.
    pub(crate) fn target(
        self,
        bar: impl Into<String>,
        against: &str,
        measured: f64,
        details: String,
    ) -> Target {
        let Self { sign, unit, .. } = self;
        let shown = |limit: Option<f64>| {
            limit.map_or_else(String::new, |it| format!("{sign} {it:.2}{unit}"))
        };
        Target {
            bar: bar.into(),
            against: against.to_owned(),
            must: shown(self.must),
            aim: shown(self.aim),
            measured: format!("{measured:.2}{unit}"),
            verdict: self.verdict(measured).to_owned(),
            details,
        }
    }
}
