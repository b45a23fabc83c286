//! Draws the replays over simulated time as an SVG: memory above, entries below.

use std::error::Error;

use punctual_figures::chart::{Axis, Chart, Series, Upwards, stacked};
use punctual_figures::subject::{Colour, Stroke, Style};

use crate::replay::{Comparison, Sample};
use crate::report::{mebibytes, thousands};

const ORIGINAL: Style = Style(Colour::Vermilion, Stroke::Solid);
const PUNCTUAL: Style = Style(Colour::Blue, Stroke::Dashed);
const RECOMMENDED: Style = Style(Colour::Green, Stroke::Dotted);
const BYTES: Style = Style(Colour::Purple, Stroke::Solid);
const LIVE: Style = Style(Colour::Black, Stroke::Dotted);

/// The whole picture as SVG text.
pub(crate) fn svg(comparison: &Comparison) -> Result<String, Box<dyn Error>> {
    let Comparison { scenario, original, punctual, recommended, bytes } = comparison;
    let hours = |sample: &Sample| sample.at_seconds as f64 / 3_600.0;
    let series = |name: &str, style, samples: &[Sample], value: fn(&Sample) -> f64| {
        let points = samples.iter().map(|sample| (hours(sample), value(sample)).into()).collect();
        Series { name: name.to_owned(), style, points }
    };
    let memory = |name: &str, style, capacity: usize, samples: &[Sample]| {
        let name = format!("{name}, 2 x {}", thousands(capacity));
        series(&name, style, samples, |sample| mebibytes(sample.bytes_held))
    };
    let dead = |sample: &Sample| sample.dead() as f64;
    let x = || Axis::linear("simulated time (hours)");
    stacked(&[
        Chart {
            title: format!(
                "One worker, two caches of {} entries, TTL {} s, {} requests/s",
                thousands(scenario.capacity),
                thousands(scenario.ttl_seconds),
                thousands(scenario.requests_per_second),
            ),
            x: x(),
            y: Upwards::Scale(Axis::linear("memory held (MiB)")),
            series: vec![
                memory("original", ORIGINAL, scenario.capacity, original),
                memory("punctual", PUNCTUAL, punctual.capacity, &punctual.samples),
                memory(
                    "punctual, as recommended",
                    RECOMMENDED,
                    recommended.capacity,
                    &recommended.samples,
                ),
                series("ByteCache, as recommended", BYTES, &bytes.samples, |sample| {
                    mebibytes(sample.bytes_held)
                }),
            ],
        },
        Chart {
            title: "Of the entries held, those that are dead, and those that live".to_owned(),
            x: x(),
            y: Upwards::Scale(Axis::linear("entries held")),
            series: vec![
                series("original: dead", ORIGINAL, original, dead),
                series("punctual: dead", PUNCTUAL, &punctual.samples, dead),
                series("live, in either", LIVE, &punctual.samples, |sample| sample.live as f64),
            ],
        },
    ])
}
