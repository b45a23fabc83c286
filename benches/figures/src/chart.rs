//! Charts as SVG text, all in one look: lines over a scale, or dots beside names.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, SegmentValue, ValueFormatter};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::style::{Mark, Style};
use crate::table::grouped;

const WIDTH_PIXELS: u32 = 960;
const LINES_HEIGHT_PIXELS: u32 = 480;
const DOTS_ROW_PIXELS: u32 = 34;
/// Title, axis and its name.
const DOTS_FRAME_PIXELS: u32 = 120;
const FONT: &str = "sans-serif";
const TEXT_PIXELS: i32 = 15;
const TITLE_PIXELS: i32 = 20;
const LIGHT: RGBColor = RGBColor(236, 236, 236);
const LEGEND_PIXELS: i32 = 230;
const LEGEND_LINE_PIXELS: i32 = 36;
const LEGEND_ROW_PIXELS: i32 = 22;
/// Of a letter, at most, in the names of rows.
const LETTER_PIXELS: usize = 8;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

#[derive(Debug)]
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

    /// Between labels: where they are powers of ten, one for each multiple.
    fn light_lines(&self) -> usize {
        if self.is_logarithmic { 10 } else { 1 }
    }

    /// From the lowest value to the highest with some space beside them; a linear axis from zero.
    fn range(&self, values: impl Iterator<Item = f64>) -> Range<f64> {
        let (lowest, highest) = values
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        if lowest > highest {
            return 1.0..2.0;
        }
        if self.is_logarithmic {
            lowest / 1.15..highest * 1.15
        } else {
            0.0..(highest * 1.08).max(1e-9)
        }
    }
}

/// What a chart shows of one subject.
#[derive(Debug)]
pub(crate) struct Series<P> {
    pub(crate) name: String,
    pub(crate) points: Vec<P>,
}

/// Adds a point to the series of a name.
pub(crate) fn push<P>(series: &mut Vec<Series<P>>, name: &str, point: P) {
    match series.iter_mut().find(|series| series.name == name) {
        Some(series) => series.points.push(point),
        None => series.push(Series { name: name.to_owned(), points: vec![point] }),
    }
}

/// Lines over a scale.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series<(f64, f64)>>,
}

/// The row that it stands in, and the quartiles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dot {
    pub(crate) row: usize,
    pub(crate) low: f64,
    pub(crate) middle: f64,
    pub(crate) high: f64,
}

/// Dots beside names.
#[derive(Debug)]
pub(crate) struct Dots {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) rows: Vec<String>,
    pub(crate) series: Vec<Series<Dot>>,
}

impl Lines {
    pub(crate) fn svg(&self) -> Result<String, Box<dyn Error>> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = self.x.range(points().map(|point| point.0));
        let y = self.y.range(points().map(|point| point.1));
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
            let names: Vec<&str> = self.series.iter().map(|series| &*series.name).collect();
            let area = frame(&mut text, LINES_HEIGHT_PIXELS, &self.title, &names)?;
            let mut chart = ChartBuilder::on(&area)
                .margin(10)
                .x_label_area_size(52)
                .y_label_area_size(84)
                .build_cartesian_2d(x, y)?;
            chart
                .configure_mesh()
                .light_line_style(LIGHT)
                .x_labels(8)
                .x_max_light_lines(self.x.light_lines())
                .y_labels(8)
                .y_max_light_lines(self.y.light_lines())
                .x_label_formatter(&|value| number(*value))
                .y_label_formatter(&|value| number(*value))
                .x_desc(self.x.name)
                .y_desc(self.y.name)
                .label_style((FONT, TEXT_PIXELS))
                .axis_desc_style((FONT, TEXT_PIXELS))
                .draw()?;
            for series in &self.series {
                let style = Style::of(&series.name);
                chart.draw_series([line(style, series.points.clone())])?;
                let colour = style.colour;
                let marks = series.points.iter().map(|&at| Circle::new(at, 3, colour.filled()));
                chart.draw_series(marks)?;
            }
            area.present()?;
        }
        Ok(text)
    }
}

impl Dots {
    pub(crate) fn svg(&self) -> Result<String, Box<dyn Error>> {
        let dots = self.series.iter().flat_map(|series| &series.points);
        let x = self.x.range(dots.flat_map(|dot| [dot.low, dot.high]));
        if self.x.is_logarithmic { self.draw(x.log_scale()) } else { self.draw(x) }
    }

    fn draw<X>(&self, x: X) -> Result<String, Box<dyn Error>>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let mut text = String::new();
        {
            let legend = self.series.len() as u32 * LEGEND_ROW_PIXELS as u32 + 60;
            let rows = self.rows.len() as u32 * DOTS_ROW_PIXELS + DOTS_FRAME_PIXELS;
            let names: Vec<&str> = self.series.iter().map(|series| &*series.name).collect();
            let area = frame(&mut text, rows.max(legend), &self.title, &names)?;
            // From the top down. There are at least two places: one alone has no width.
            let highest = self.rows.len().max(2) - 1;
            let place = |row: usize| SegmentValue::CenterOf(highest - row);
            let letters = self.rows.iter().map(|row| row.chars().count()).max().unwrap_or(0);
            let mut chart = ChartBuilder::on(&area)
                .margin(10)
                .x_label_area_size(52)
                .y_label_area_size((letters * LETTER_PIXELS + 16) as u32)
                .build_cartesian_2d(x, (0..highest).into_segmented())?;
            chart
                .configure_mesh()
                .light_line_style(LIGHT)
                .x_labels(8)
                .x_max_light_lines(self.x.light_lines())
                .y_labels(self.rows.len() + 1)
                .x_label_formatter(&|value| number(*value))
                .y_label_formatter(&|value| match value {
                    SegmentValue::CenterOf(place) => {
                        let row = highest.checked_sub(*place);
                        row.and_then(|row| self.rows.get(row)).cloned().unwrap_or_default()
                    }
                    _ => String::new(),
                })
                .x_desc(self.x.name)
                .label_style((FONT, TEXT_PIXELS))
                .axis_desc_style((FONT, TEXT_PIXELS))
                .draw()?;
            // This crate's last, so that they lie above the others.
            for series in self.series.iter().rev() {
                let style = Style::of(&series.name);
                let (colour, width) = (style.colour, style.width);
                for dot in &series.points {
                    let row = place(dot.row);
                    let whisker = vec![(dot.low, row.clone()), (dot.high, row.clone())];
                    chart.draw_series([PathElement::new(whisker, colour.stroke_width(1))])?;
                    let at = (dot.middle, row);
                    match style.mark {
                        Mark::Disc => {
                            chart.draw_series([Circle::new(at, 3 + width, colour.filled())])?;
                        }
                        Mark::Triangle => {
                            let mark = TriangleMarker::new(at, 4 + width, colour.filled());
                            chart.draw_series([mark])?;
                        }
                        Mark::Cross => {
                            chart.draw_series([Cross::new(at, 4, colour.stroke_width(width))])?;
                        }
                    }
                }
            }
            area.present()?;
        }
        Ok(text)
    }
}

/// White ground, the title and the legend; what is left is for the chart.
fn frame<'a>(
    text: &'a mut String,
    height: u32,
    title: &str,
    names: &[&str],
) -> Result<Area<'a>, Box<dyn Error>> {
    let whole = SVGBackend::with_string(text, (WIDTH_PIXELS, height)).into_drawing_area();
    whole.fill(&WHITE)?;
    let whole = whole.margin(10, 10, 0, 0).titled(title, (FONT, TITLE_PIXELS))?;
    let (left, legend) = whole.split_horizontally(WIDTH_PIXELS as i32 - LEGEND_PIXELS);
    let text_style =
        (FONT, TEXT_PIXELS).into_text_style(&legend).pos(Pos::new(HPos::Left, VPos::Center));
    for (index, name) in names.iter().enumerate() {
        let middle = 24 + index as i32 * LEGEND_ROW_PIXELS;
        let style = Style::of(name);
        legend.draw(&line(style, vec![(8, middle), (8 + LEGEND_LINE_PIXELS, middle)]))?;
        let (at, colour) = ((8 + LEGEND_LINE_PIXELS / 2, middle), style.colour);
        match style.mark {
            Mark::Disc => legend.draw(&Circle::new(at, 4, colour.filled()))?,
            Mark::Triangle => legend.draw(&TriangleMarker::new(at, 6, colour.filled()))?,
            Mark::Cross => legend.draw(&Cross::new(at, 4, colour.stroke_width(style.width)))?,
        }
        legend.draw_text(name, &text_style, (16 + LEGEND_LINE_PIXELS, middle))?;
    }
    Ok(left)
}

fn line<P: Clone>(style: Style, points: Vec<P>) -> DashedPathElement<std::vec::IntoIter<P>, u32> {
    let (dash, gap) = style.dash;
    DashedPathElement::new(points, dash, gap, style.colour.stroke_width(style.width))
}

/// With separators of thousands, and only as many decimals as it takes.
fn number(value: f64) -> String {
    if value.abs() < 10.0 && value.fract().abs() > 1e-9 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    grouped(value.round() as u64)
}
