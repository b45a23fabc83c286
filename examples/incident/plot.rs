//! Draws the replays over simulated time as an SVG: memory above, entries below.

use std::error::Error;
use std::ops::Range;
use std::vec;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::replay::{Comparison, Sample};
use crate::report::{mebibytes, thousands};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE_PIXELS: (u32, u32) = (960, 860);
const FONT: &str = "sans-serif";
const TEXT_PIXELS: i32 = 16;
const TITLE_PIXELS: i32 = 20;
/// Room left of a panel, for numbers like `1,000,000` and the axis's name.
const LEFT_PIXELS: i32 = 100;
const BOTTOM_PIXELS: i32 = 48;
const LEGEND_PIXELS: i32 = 36;
const LEGEND_LINE_PIXELS: i32 = 36;
/// Free space above the highest curve, as a factor.
const HEADROOM: f64 = 1.1;

// Of the palette of Okabe and Ito, which people with any colour vision tell apart. The curves also
// differ in their strokes.
const VERMILION: RGBColor = RGBColor(213, 94, 0);
const BLUE: RGBColor = RGBColor(0, 114, 178);
const BLUISH_GREEN: RGBColor = RGBColor(0, 158, 115);
const GREY: RGBColor = RGBColor(90, 90, 90);

/// Lengths of a dash and of the gap after it.
#[derive(Clone, Copy)]
struct Stroke {
    dash_pixels: i32,
    gap_pixels: i32,
}

/// A single dash, longer than any curve.
const SOLID: Stroke = Stroke { dash_pixels: 1_000_000, gap_pixels: 1 };
const LONG_DASHES: Stroke = Stroke { dash_pixels: 12, gap_pixels: 5 };
const SHORT_DASHES: Stroke = Stroke { dash_pixels: 4, gap_pixels: 4 };

/// One curve.
struct Series {
    label: String,
    colour: RGBColor,
    stroke: Stroke,
    /// Simulated hours, and what the panel shows.
    points: Vec<(f64, f64)>,
}

impl Series {
    /// A line through `points` in the look of this curve.
    fn line<Point>(&self, points: Vec<Point>) -> DashedPathElement<vec::IntoIter<Point>, i32>
    where
        Point: Clone,
    {
        let Stroke { dash_pixels, gap_pixels } = self.stroke;
        DashedPathElement::new(points, dash_pixels, gap_pixels, self.colour.stroke_width(3))
    }
}

/// The whole picture as SVG text.
pub(crate) fn svg(comparison: &Comparison) -> Result<String, Box<dyn Error>> {
    let Comparison { scenario, original, punctual, recommended } = comparison;
    let at_capacity = |name: &str, capacity: usize| format!("{name}, 2 x {}", thousands(capacity));
    let series = |label: String, colour, stroke, samples: &[Sample], value: fn(&Sample) -> f64| {
        let points = samples.iter().map(|sample| (hours(sample), value(sample))).collect();
        Series { label, colour, stroke, points }
    };
    let bytes = |sample: &Sample| mebibytes(sample.bytes_held);
    let dead = |sample: &Sample| sample.dead() as f64;
    let live = |sample: &Sample| sample.live as f64;
    let memory = [
        series(at_capacity("original", scenario.capacity), VERMILION, SOLID, original, bytes),
        series(
            at_capacity("punctual", punctual.capacity),
            BLUE,
            LONG_DASHES,
            &punctual.samples,
            bytes,
        ),
        series(
            at_capacity("punctual, as recommended", recommended.capacity),
            BLUISH_GREEN,
            SHORT_DASHES,
            &recommended.samples,
            bytes,
        ),
    ];
    let entries = [
        series("original: dead".to_owned(), VERMILION, SOLID, original, dead),
        series("punctual: dead".to_owned(), BLUE, LONG_DASHES, &punctual.samples, dead),
        series("live, in either".to_owned(), GREY, SHORT_DASHES, &punctual.samples, live),
    ];

    let title = format!(
        "One worker, two caches of {} entries, TTL {} s, {} requests/s",
        thousands(scenario.capacity),
        thousands(scenario.ttl_seconds),
        thousands(scenario.requests_per_second),
    );
    let hours = 0.0..scenario.hours as f64;
    let mut text = String::new();
    {
        let whole = SVGBackend::with_string(&mut text, SIZE_PIXELS).into_drawing_area();
        whole.fill(&WHITE)?;
        let panels = whole.margin(12, 12, 0, 0).titled(&title, (FONT, TITLE_PIXELS))?;
        let (upper, lower) = panels.split_vertically(50.percent_height());
        draw_panel(&upper, hours.clone(), "memory held (MiB)", &memory)?;
        draw_panel(&lower, hours, "entries held", &entries)?;
        whole.present()?;
    }
    Ok(text)
}

fn hours(sample: &Sample) -> f64 {
    sample.at_seconds as f64 / 3_600.0
}

fn draw_panel(
    area: &Area<'_>,
    hours: Range<f64>,
    y_name: &str,
    panel: &[Series],
) -> Result<(), Box<dyn Error>> {
    let (legend, area) = area.split_vertically(LEGEND_PIXELS);
    draw_legend(&legend, panel)?;

    let highest = panel
        .iter()
        .flat_map(|series| &series.points)
        .fold(0.0, |highest: f64, &(_, y)| highest.max(y));
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .margin_right(24)
        .x_label_area_size(BOTTOM_PIXELS)
        .y_label_area_size(LEFT_PIXELS)
        .build_cartesian_2d(hours, 0.0..(highest * HEADROOM).max(1.0))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(9)
        .y_labels(8)
        .y_label_formatter(&|value| thousands(value.round()))
        .x_desc("simulated time (hours)")
        .y_desc(y_name)
        .label_style((FONT, TEXT_PIXELS))
        .axis_desc_style((FONT, TEXT_PIXELS))
        .draw()?;

    for series in panel {
        chart.draw_series([series.line(series.points.clone())])?;
    }
    Ok(())
}

/// One row above the curves, where it hides none of them.
fn draw_legend(area: &Area<'_>, panel: &[Series]) -> Result<(), Box<dyn Error>> {
    let text_style =
        (FONT, TEXT_PIXELS).into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
    let middle = LEGEND_PIXELS / 2;
    let mut left = LEFT_PIXELS;
    for series in panel {
        let right = left + LEGEND_LINE_PIXELS;
        area.draw(&series.line(vec![(left, middle), (right, middle)]))?;
        area.draw_text(&series.label, &text_style, (right + 8, middle))?;
        // As wide as the text may be: an SVG's reader chooses the font.
        let text_pixels = series.label.len() as i32 * TEXT_PIXELS * 6 / 10;
        left = right + 8 + text_pixels + 16;
    }
    Ok(())
}
