//! From values to pixels.

use crate::table::grouped;

/// What an axis shows.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub(super) name: &'static str,
    steps: Steps,
}

/// What lies between the ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Steps {
    /// As much from each to the next.
    Equal,
    /// Powers of ten, and what lies between them.
    Decades,
    /// Powers of two.
    Doublings,
}

impl Axis {
    /// Its name should end with the unit.
    pub const fn linear(name: &'static str) -> Self {
        Self { name, steps: Steps::Equal }
    }

    pub const fn logarithmic(name: &'static str) -> Self {
        Self { name, steps: Steps::Decades }
    }

    /// Logarithmic, for what is doubled from point to point.
    pub const fn doubling(name: &'static str) -> Self {
        Self { name, steps: Steps::Doublings }
    }

    /// From one pixel to another, with all of the values on it; a linear one has zero on it, too.
    pub(super) fn scale(self, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Scale {
        let is_linear = self.steps == Steps::Equal;
        let start = if is_linear { (0.0, 0.0) } else { (f64::MAX, f64::MIN) };
        let (low, high) =
            values.fold(start, |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (1.0, 2.0) } else { (low, high) };
        let (low, high) = if is_linear {
            let space = 0.06 * (high - low).max(1e-9);
            (if low < 0.0 { low - space } else { 0.0 }, if high > 0.0 { high + space } else { 0.0 })
        } else {
            (low / 1.12, high * 1.12)
        };
        Scale { steps: self.steps, low, high, from, to }
    }

    /// The same, without space beyond the highest.
    pub(super) fn tight_scale(
        self,
        values: impl Iterator<Item = f64>,
        from: f64,
        to: f64,
    ) -> Scale {
        let values: Vec<f64> = values.collect();
        let highest = values.iter().copied().fold(f64::MIN, f64::max);
        let scale = self.scale(values.into_iter(), from, to);
        if highest > scale.low { Scale { high: highest, ..scale } } else { scale }
    }
}

/// A range of values, and where it lies in the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    steps: Steps,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if self.steps == Steps::Equal {
            (value - self.low) / (self.high - self.low)
        } else {
            (value / self.low).ln() / (self.high / self.low).ln()
        };
        self.from + share * (self.to - self.from)
    }

    /// Round values on it, `most` at most.
    pub(super) fn ticks(&self, most: usize) -> Vec<f64> {
        let most = most.max(2);
        match self.steps {
            Steps::Equal => self.equal_steps(most),
            Steps::Decades => {
                let choices = [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]];
                let mut choices = choices.map(|times| self.powers(10.0, times)).into_iter();
                let found = choices.find(|ticks| ticks.len() <= most);
                found.unwrap_or_else(|| thinned(self.powers(10.0, &[1.0]), most))
            }
            Steps::Doublings => thinned(self.powers(2.0, &[1.0]), most),
        }
    }

    fn equal_steps(&self, most: usize) -> Vec<f64> {
        let rough = (self.high - self.low) / most as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= rough);
        let step = times.unwrap_or(10.0) * power;
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last).map(|number| number as f64 * step).collect()
    }

    /// Powers of a base that lie on the scale, and multiples of them.
    fn powers(&self, base: f64, times: &[f64]) -> Vec<f64> {
        let power = |value: f64| value.log(base).floor() as i32;
        let powers = (power(self.low)..=power(self.high)).map(|power| base.powi(power));
        let all = powers.flat_map(|power| times.iter().map(move |times| times * power));
        all.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }
}

/// Some of the ticks, evenly.
fn thinned(ticks: Vec<f64>, most: usize) -> Vec<f64> {
    let step = ticks.len().div_ceil(most).max(1);
    ticks.into_iter().step_by(step).collect()
}

/// As it stands at an axis or a curve's end: short, with only as many decimals as it takes.
pub(super) fn number(value: f64) -> String {
    let of = |value: f64, unit: &str| {
        let text = format!("{value:.2}");
        let text = if text.contains('.') { text.trim_end_matches('0') } else { &text };
        format!("{}{unit}", text.trim_end_matches('.').replace('-', "−"))
    };
    match value.abs() {
        1e6.. => of(value / 1e6, "M"),
        1e4.. => of(value / 1e3, "k"),
        1e3.. => grouped(value.round() as u64),
        _ => of(value, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_on_the_scale() {
        let scale = |axis: Axis, values: &[f64]| axis.scale(values.iter().copied(), 0.0, 100.0);
        let linear = Axis::linear("").scale([3.0, 47.0].into_iter(), 0.0, 100.0);
        assert_eq!(linear.ticks(6), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(linear.at(0.0), 0.0);
        let below_zero = scale(Axis::linear(""), &[-25.0, 18.0]);
        assert_eq!(below_zero.ticks(3), [-20.0, 0.0, 20.0]);
        let decades = scale(Axis::logarithmic(""), &[0.4, 30.0]);
        assert_eq!(decades.ticks(6), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!(decades.ticks(3), [1.0, 10.0]);
        let doublings = scale(Axis::doubling(""), &[1.0, 8.0]);
        assert_eq!(doublings.ticks(4), [1.0, 2.0, 4.0, 8.0]);
    }

    #[test]
    fn numbers_are_short() {
        let told = [0.0, 0.25, -20.0, 1_000.0, 12_500.0, 1e6, 2.5e7].map(number);
        assert_eq!(told, ["0", "0.25", "−20", "1,000", "12.5k", "1M", "25M"]);
    }
}
