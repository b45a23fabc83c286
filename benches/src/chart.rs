//! Line charts as SVG text, all in one look.

use std::error::Error;
use std::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const SIZE_PIXELS: (u32, u32) = (960, 520);
const FONT: &str = "sans-serif";
const TEXT_PIXELS: i32 = 15;
const TITLE_PIXELS: i32 = 20;
const LEGEND_PIXELS: i32 = 230;
const LEGEND_LINE_PIXELS: i32 = 36;
const LEGEND_ROW_PIXELS: i32 = 22;

/// Of the palette of Okabe and Ito, which people with any colour vision tell apart. Curves of the
/// same colour differ in their strokes.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(40, 40, 40),
];

/// Lengths of a dash and of the gap after it, in pixels; the first is one endless dash.
const STROKES: [(i32, i32); 3] = [(1_000_000, 1), (10, 5), (3, 4)];

pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) struct Axis {
    name: &'static str,
    is_logarithmic: bool,
}

impl Axis {
    /// Its name should end with the unit.
    pub(crate) fn linear(name: &'static str) -> Self {
        Self { name, is_logarithmic: false }
    }

    pub(crate) fn logarithmic(name: &'static str) -> Self {
        Self { name, is_logarithmic: true }
    }
}

pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
}

impl Chart {
    pub(crate) fn svg(&self) -> Result<String, Box<dyn Error>> {
        let x = range(&self.x, self.series.iter().flat_map(|s| s.points.iter().map(|p| p.0)));
        let y = range(&self.y, self.series.iter().flat_map(|s| s.points.iter().map(|p| p.1)));
        match (self.x.is_logarithmic, self.y.is_logarithmic) {
            (false, false) => self.draw(x, y),
            (true, false) => self.draw(x.log_scale(), y),
            (false, true) => self.draw(x, y.log_scale()),
            (true, true) => self.draw(x.log_scale(), y.log_scale()),
        }
    }

    fn draw<X, Y>(&self, x: X, y: Y) -> Result<String, Box<dyn Error>>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let mut text = String::new();
        {
            let whole = SVGBackend::with_string(&mut text, SIZE_PIXELS).into_drawing_area();
            whole.fill(&WHITE)?;
            let whole = whole.margin(10, 10, 0, 0).titled(&self.title, (FONT, TITLE_PIXELS))?;
            let (left, legend) = whole.split_horizontally(SIZE_PIXELS.0 as i32 - LEGEND_PIXELS);
            let mut chart = ChartBuilder::on(&left)
                .margin(10)
                .x_label_area_size(52)
                .y_label_area_size(84)
                .build_cartesian_2d(x, y)?;
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .x_labels(8)
                .y_labels(8)
                .x_label_formatter(&|value| number(*value))
                .y_label_formatter(&|value| number(*value))
                .x_desc(self.x.name)
                .y_desc(self.y.name)
                .label_style((FONT, TEXT_PIXELS))
                .axis_desc_style((FONT, TEXT_PIXELS))
                .draw()?;
            for (index, series) in self.series.iter().enumerate() {
                chart.draw_series([line(index, series.points.clone())])?;
                let marks =
                    series.points.iter().map(|&at| Circle::new(at, 3, colour(index).filled()));
                chart.draw_series(marks)?;
            }
            let style = (FONT, TEXT_PIXELS)
                .into_text_style(&legend)
                .pos(Pos::new(HPos::Left, VPos::Center));
            for (index, series) in self.series.iter().enumerate() {
                let middle = 24 + index as i32 * LEGEND_ROW_PIXELS;
                legend.draw(&line(index, vec![(8, middle), (8 + LEGEND_LINE_PIXELS, middle)]))?;
                legend.draw_text(&series.name, &style, (16 + LEGEND_LINE_PIXELS, middle))?;
            }
            whole.present()?;
        }
        Ok(text)
    }
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

fn line<P: Clone>(index: usize, points: Vec<P>) -> DashedPathElement<std::vec::IntoIter<P>, i32> {
    let (dash, gap) = STROKES[index / COLOURS.len() % STROKES.len()];
    DashedPathElement::new(points, dash, gap, colour(index).stroke_width(2))
}

/// From the lowest value to the highest with some space beside them; a linear axis from zero.
fn range(axis: &Axis, values: impl Iterator<Item = f64>) -> Range<f64> {
    let (lowest, highest) =
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    if lowest > highest {
        return 0.0..1.0;
    }
    if axis.is_logarithmic { lowest / 1.1..highest * 1.1 } else { 0.0..(highest * 1.08).max(1e-9) }
}

/// With separators of thousands, and only as many decimals as it takes.
fn number(value: f64) -> String {
    if value.abs() < 10.0 && value.fract().abs() > 1e-9 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}
