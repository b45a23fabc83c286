//! Charts as SVG text, all in one look: lines over a scale, or points in rows by name.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::subject::{Colour, Stroke, Style};
use crate::table::grouped;

const WIDTH_PIXELS: u32 = 960;
const LINES_HEIGHT_PIXELS: u32 = 480;
const ROW_PIXELS: u32 = 34;
/// Title, axis and its name.
const ROWS_FRAME_PIXELS: u32 = 120;
const FONT: &str = "sans-serif";
const TEXT_PIXELS: i32 = 15;
const TITLE_PIXELS: i32 = 20;
const LIGHT: RGBColor = RGBColor(236, 236, 236);
const LEGEND_PIXELS_MIN: i32 = 230;
const LEGEND_LINE_PIXELS: i32 = 36;
const LEGEND_ROW_PIXELS: i32 = 22;
/// Of a letter, at most, in names.
const LETTER_PIXELS: usize = 8;
/// A curve of more points than that has no marks on them.
const MARKED_POINTS_MAX: usize = 25;

/// Lengths of a dash and of the gap after it, in pixels.
const SOLID: (u32, u32) = (1_000_000, 1);
const DASHED: (u32, u32) = (10, 5);
const DOTTED: (u32, u32) = (3, 4);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

#[derive(Debug)]
pub struct Axis {
    name: &'static str,
    is_logarithmic: bool,
}

impl Axis {
    /// Its name should end with the unit.
    pub fn linear(name: &'static str) -> Self {
        Self { name, is_logarithmic: false }
    }

    pub fn logarithmic(name: &'static str) -> Self {
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

/// Draws a disc, a triangle or a cross, by the stroke. (plotters' boxed elements cannot be drawn into
/// a borrowed buffer.)
macro_rules! with_mark {
    ($style:expr, $at:expr, $size:expr, $mark:ident => $draw:expr) => {{
        let colour = $style.rgb();
        match $style.1 {
            Stroke::Solid => {
                let $mark = Circle::new($at, $size, colour.filled());
                $draw
            }
            Stroke::Dashed => {
                let $mark = TriangleMarker::new($at, $size + 1, colour.filled());
                $draw
            }
            Stroke::Dotted => {
                let $mark = Cross::new($at, 4, colour.stroke_width($style.width()));
                $draw
            }
        }
    }};
}

/// What a chart shows of one subject.
#[derive(Debug)]
pub struct Series {
    pub name: String,
    pub style: Style,
    pub points: Vec<Point>,
}

#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub x: f64,
    pub y: f64,
    /// The quartiles of x, if it has some.
    pub quartiles: Option<(f64, f64)>,
}

impl From<(f64, f64)> for Point {
    fn from((x, y): (f64, f64)) -> Self {
        Self { x, y, quartiles: None }
    }
}

/// What the points of a chart stand over, from below to above.
#[derive(Debug)]
pub enum Upwards {
    /// Numbers: the points of a series are connected.
    Scale(Axis),
    /// Rows by name, the first one at the top: they are not.
    Rows(Vec<String>),
}

impl Upwards {
    fn rows(&self) -> Option<&[String]> {
        match self {
            Self::Scale(_) => None,
            Self::Rows(rows) => Some(rows),
        }
    }
}

#[derive(Debug)]
pub struct Chart {
    pub title: String,
    pub x: Axis,
    pub y: Upwards,
    pub series: Vec<Series>,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Charts above each other, as one picture.
pub fn stacked(charts: &[Chart]) -> Result<String> {
    let mut text = String::new();
    {
        let height = charts.iter().map(Chart::height).sum();
        let area = SVGBackend::with_string(&mut text, (WIDTH_PIXELS, height)).into_drawing_area();
        area.fill(&WHITE)?;
        // As wide in all, so that what is below is below.
        let names = charts.iter().flat_map(|chart| &chart.series).map(|series| &series.name);
        let legend_pixels = LEGEND_PIXELS_MIN.max(18 + LEGEND_LINE_PIXELS + pixels(names));
        let mut rest = area.clone();
        for chart in charts {
            let (upper, lower) = rest.split_vertically(chart.height());
            chart.draw(&frame(&upper, &chart.title, &chart.series, legend_pixels)?)?;
            rest = lower;
        }
        area.present()?;
    }
    Ok(text)
}

impl Chart {
    pub fn svg(&self) -> Result<String> {
        stacked(std::slice::from_ref(self))
    }

    fn height(&self) -> u32 {
        let Some(rows) = self.y.rows() else { return LINES_HEIGHT_PIXELS };
        let legend = self.series.len() as u32 * LEGEND_ROW_PIXELS as u32 + 60;
        legend.max(rows.len() as u32 * ROW_PIXELS + ROWS_FRAME_PIXELS)
    }

    fn draw(&self, area: &Area<'_>) -> Result<()> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = self.x.range(points().flat_map(|point| {
            let (low, high) = point.quartiles.unwrap_or((point.x, point.x));
            [low, high]
        }));
        match &self.y {
            Upwards::Scale(axis) => {
                let y = axis.range(points().map(|point| point.y));
                match (self.x.is_logarithmic, axis.is_logarithmic) {
                    (false, false) => self.draw_over(area, x, y),
                    (true, false) => self.draw_over(area, x.log_scale(), y),
                    (false, true) => self.draw_over(area, x, y.log_scale()),
                    (true, true) => self.draw_over(area, x.log_scale(), y.log_scale()),
                }
            }
            Upwards::Rows(rows) => {
                let y = -0.5..rows.len() as f64 - 0.5;
                if self.x.is_logarithmic {
                    self.draw_over(area, x.log_scale(), y)
                } else {
                    self.draw_over(area, x, y)
                }
            }
        }
    }

    fn draw_over<X, Y>(&self, area: &Area<'_>, x: X, y: Y) -> Result<()>
    where
        X: AsRangedCoord<Value = f64>,
        Y: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let (label_pixels, labels, light_lines, name) = match &self.y {
            Upwards::Scale(axis) => (84, 8, axis.light_lines(), axis.name),
            Upwards::Rows(rows) => (16 + pixels(rows.iter()), rows.len() + 1, 1, ""),
        };
        // From the top down.
        let row_at = |y: f64| self.y.rows().map_or(y, |rows| rows.len() as f64 - 1.0 - y);
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(52)
            .y_label_area_size(label_pixels)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(LIGHT)
            .x_labels(8)
            .x_max_light_lines(self.x.light_lines())
            .y_labels(labels)
            .y_max_light_lines(light_lines)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| match &self.y {
                Upwards::Scale(_) => number(*value),
                Upwards::Rows(rows) => {
                    rows.get(row_at(*value) as usize).cloned().unwrap_or_default()
                }
            })
            .x_desc(self.x.name)
            .y_desc(name)
            .label_style((FONT, TEXT_PIXELS))
            .axis_desc_style((FONT, TEXT_PIXELS))
            .draw()?;
        let has_rows = self.y.rows().is_some();
        // This crate's last, so that they lie above the others.
        for Series { style, points, .. } in self.series.iter().rev() {
            if !has_rows {
                let line_points = points.iter().map(|point| (point.x, point.y)).collect();
                chart.draw_series([line(*style, line_points)])?;
            }
            if !has_rows && points.len() > MARKED_POINTS_MAX {
                continue;
            }
            let size = if has_rows { 3 + style.width() } else { 3 };
            for &Point { x, y, quartiles } in points {
                if let Some((low, high)) = quartiles {
                    let whisker = vec![(low, row_at(y)), (high, row_at(y))];
                    chart.draw_series([PathElement::new(whisker, style.rgb().stroke_width(1))])?;
                }
                let y = row_at(y);
                with_mark!(style, (x, y), size, mark => {
                    chart.draw_series([mark])?;
                });
            }
        }
        Ok(())
    }
}

impl Style {
    fn rgb(self) -> RGBColor {
        match self.0 {
            Colour::Blue => RGBColor(0, 114, 178),
            Colour::Vermilion => RGBColor(213, 94, 0),
            Colour::Green => RGBColor(0, 158, 115),
            Colour::Purple => RGBColor(204, 121, 167),
            Colour::Orange => RGBColor(230, 159, 0),
            Colour::Sky => RGBColor(86, 180, 233),
            Colour::Black => RGBColor(40, 40, 40),
            Colour::Wine => RGBColor(136, 34, 85),
            Colour::Olive => RGBColor(153, 153, 51),
            Colour::Indigo => RGBColor(51, 34, 136),
        }
    }

    /// This crate's lines are the thickest.
    fn width(self) -> u32 {
        if self.0 == Colour::Blue { 3 } else { 2 }
    }
}

/// Divides an area into what is for the chart, below the title, and the legend.
fn frame<'a>(
    area: &Area<'a>,
    title: &str,
    series: &[Series],
    legend_pixels: i32,
) -> Result<Area<'a>> {
    let area = area.margin(10, 10, 0, 0).titled(title, (FONT, TITLE_PIXELS))?;
    let (chart, legend) = area.split_horizontally(WIDTH_PIXELS as i32 - legend_pixels);
    let text_style =
        (FONT, TEXT_PIXELS).into_text_style(&legend).pos(Pos::new(HPos::Left, VPos::Center));
    for (row, Series { name, style, .. }) in (0..).zip(series) {
        let middle = 24 + row * LEGEND_ROW_PIXELS;
        legend.draw(&line(*style, vec![(8, middle), (8 + LEGEND_LINE_PIXELS, middle)]))?;
        with_mark!(style, (8 + LEGEND_LINE_PIXELS / 2, middle), 4, mark => legend.draw(&mark)?);
        legend.draw_text(name, &text_style, (16 + LEGEND_LINE_PIXELS, middle))?;
    }
    Ok(chart)
}

/// That the longest of some names takes.
fn pixels<'a>(names: impl Iterator<Item = &'a String>) -> i32 {
    names.map(|name| name.chars().count() * LETTER_PIXELS).max().unwrap_or(0) as i32
}

fn line<P: Clone>(style: Style, points: Vec<P>) -> DashedPathElement<std::vec::IntoIter<P>, u32> {
    let (dash, gap) = match style.1 {
        Stroke::Solid => SOLID,
        Stroke::Dashed => DASHED,
        Stroke::Dotted => DOTTED,
    };
    DashedPathElement::new(points, dash, gap, style.rgb().stroke_width(style.width()))
}

/// With separators of thousands, and only as many decimals as it takes.
fn number(value: f64) -> String {
    if value.abs() < 10.0 && value.fract().abs() > 1e-9 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    grouped(value.round() as u64)
}
