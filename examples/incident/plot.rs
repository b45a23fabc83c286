//! Draws the replays over simulated time as an SVG: memory above, entries below.

use punctual_figures::palette::{Colour, Stroke, Style};
use punctual_figures::picture::{Area, Axis, Body, Curves, Line, Picture};

use crate::replay::{Comparison, Sample};
use crate::report::{mebibytes, thousands};

const RECOMMENDED: Style = Style(Colour::Blue, Stroke::Dashed);
const BYTES: Style = Style(Colour::Blue, Stroke::Dotted);

/// The whole picture as SVG text.
pub(crate) fn svg(comparison: &Comparison) -> String {
    let Comparison { scenario, original, punctual, recommended, bytes } = comparison;
    // Those below lie above the others.
    let memory = [
        ("original", scenario.capacity, Style::ORIGINAL, original),
        ("punctual", punctual.capacity, Style::PUNCTUAL, &punctual.samples),
        ("punctual", recommended.capacity, RECOMMENDED, &recommended.samples),
    ];
    let memory = memory.map(|(name, capacity, style, samples)| {
        let line = line("", style, samples, |sample| mebibytes(sample.bytes_held));
        let name = format!("{name}, 2 × {}: {:.0}", thousands(capacity), end(&line));
        Line { name, ..line }
    });
    let of_bytes = line("", BYTES, &bytes.samples, |sample| mebibytes(sample.bytes_held));
    let of_bytes = Line { name: format!("ByteCache: {:.0}", end(&of_bytes)), ..of_bytes };
    let held = |sample: &Sample| sample.held as f64;
    let entries =
        [("original", Style::ORIGINAL, original), ("punctual", Style::PUNCTUAL, &punctual.samples)];
    let entries = entries.map(|(name, style, samples)| {
        let line = line("", style, samples, held);
        let name = format!("{name}: {}", thousands(end(&line) as u64));
        Line { name, ..line }
    });
    let [of_original, of_punctual] = [original, &punctual.samples].map(|samples| expired(samples));
    let expired = Area {
        name: format!("expired: {of_original}"),
        style: Style::ORIGINAL,
        upper: entries[0].points.clone(),
        lower: line("", Style::ORIGINAL, original, |sample| sample.live as f64).points,
    };
    Picture {
        finding: format!(
            "Expired entries: {of_original} of what the old cache holds, {of_punctual} of punctual's"
        ),
        caption: format!(
            "The two caches of one worker, for {} entries each unless a curve says otherwise; a \
             TTL of {} s, {} requests a second, simulated time. The original's map and queue grow \
             by doubling, hence its steps; punctual reserves its tables when it is built.",
            thousands(scenario.capacity),
            thousands(scenario.ttl_seconds),
            thousands(scenario.requests_per_second),
        ),
        body: Body::Curves(vec![
            Curves {
                title: "Memory held (MiB)".to_owned(),
                x: Axis::linear("simulated time (hours)"),
                y: Axis::linear("MiB"),
                lines: memory.into_iter().chain([of_bytes]).collect(),
                areas: Vec::new(),
            },
            Curves {
                title: "Entries held".to_owned(),
                x: Axis::linear("simulated time (hours)"),
                y: Axis::linear("entries"),
                lines: entries.into(),
                areas: vec![expired],
            },
        ]),
    }
    .svg()
}

fn line(name: &str, style: Style, samples: &[Sample], value: fn(&Sample) -> f64) -> Line {
    let points = samples.iter().map(|it| (it.at_seconds as f64 / 3_600.0, value(it)));
    Line { name: name.to_owned(), style, points: points.collect() }
}

fn end(line: &Line) -> f64 {
    line.points.last().map_or(0.0, |(_, value)| *value)
}

/// The share of expired entries at the end.
fn expired(samples: &[Sample]) -> String {
    let end = samples.last().copied().unwrap_or_default();
    if end.expired() == 0 {
        return "none".to_owned();
    }
    format!("{:.0} %", 100.0 * end.expired() as f64 / end.held as f64)
}
