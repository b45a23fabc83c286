//! What pictures are drawn with: text, lines, dots and bars of SVG.

use svg::Document;
use svg::node::element::{Circle, Line, Path, Rectangle, Text};

use crate::palette::{Colour, Stroke, Style};

pub(super) const INK: &str = "#1a1a1a";
pub(super) const PALE: &str = "#666666";
const GRID: &str = "#e4e4e4";

/// Of text, in pixels.
pub(super) const TITLE: f64 = 20.0;
pub(super) const LABEL: f64 = 14.0;
pub(super) const SMALL: f64 = 13.0;

/// Where text stands, seen from its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How text looks.
#[derive(Clone, Copy)]
pub(super) struct Font {
    pub(super) size: f64,
    pub(super) colour: &'static str,
    pub(super) is_bold: bool,
}

impl Font {
    pub(super) const fn new(size: f64, colour: &'static str) -> Self {
        Self { size, colour, is_bold: false }
    }

    pub(super) const fn bold(self) -> Self {
        Self { is_bold: true, ..self }
    }

    /// About as wide as a text is.
    pub(super) fn width(self, text: &str) -> f64 {
        let letter = if self.is_bold { 0.58 } else { 0.54 };
        text.chars().count() as f64 * letter * self.size
    }

    /// A text in lines of at most that width.
    pub(super) fn wrapped(self, text: &str, width: f64) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            match lines.last_mut() {
                Some(line) if self.width(line) + self.width(word) < width => {
                    *line += " ";
                    *line += word;
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }
}

pub(super) struct Canvas(Document);

impl Canvas {
    pub(super) fn new(width: f64, height: f64) -> Self {
        let height = height.ceil();
        let paper = Rectangle::new().set("width", width).set("height", height).set("fill", "#fff");
        let document = Document::new()
            .set("viewBox", (0, 0, width, height))
            .set("width", width)
            .set("height", height)
            .set("font-family", "system-ui, sans-serif")
            .add(paper);
        Self(document)
    }

    pub(super) fn finish(self) -> String {
        self.0.to_string()
    }

    fn add(&mut self, node: impl Into<Box<dyn svg::Node>>) {
        svg::Node::append(&mut self.0, node);
    }

    /// With the middle of its letters at the point.
    pub(super) fn text(&mut self, text: &str, (x, y): (f64, f64), anchor: Anchor, font: Font) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let mut node = Text::new(text)
            .set("x", rounded(x))
            .set("y", rounded(y + 0.35 * font.size))
            .set("text-anchor", anchor)
            .set("font-size", font.size)
            .set("fill", font.colour)
            // So that it can be read where a line passes.
            .set("stroke", "#fff")
            .set("stroke-width", 3)
            .set("stroke-linejoin", "round")
            .set("paint-order", "stroke");
        if font.is_bold {
            node = node.set("font-weight", 600);
        }
        self.add(node);
    }

    /// A line of the grid.
    pub(super) fn rule(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.line(from, to, GRID, 1.0);
    }

    pub(super) fn line(
        &mut self,
        (x1, y1): (f64, f64),
        (x2, y2): (f64, f64),
        colour: &str,
        width: f64,
    ) {
        let line = Line::new()
            .set("x1", rounded(x1))
            .set("y1", rounded(y1))
            .set("x2", rounded(x2))
            .set("y2", rounded(y2));
        self.add(line.set("stroke", colour).set("stroke-width", width));
    }

    pub(super) fn curve(&mut self, points: &[(f64, f64)], style: Style, width: f64) {
        let mut path = Path::new()
            .set("d", path(points))
            .set("fill", "none")
            .set("stroke", style.colour())
            .set("stroke-width", width)
            .set("stroke-linejoin", "round");
        if let Some(dashes) = style.dashes() {
            path = path.set("stroke-dasharray", dashes);
        }
        self.add(path);
    }

    pub(super) fn area(&mut self, points: &[(f64, f64)], colour: &str) {
        let path = Path::new().set("d", path(points) + "z").set("fill", colour);
        self.add(path.set("fill-opacity", 0.16));
    }

    pub(super) fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), style: Style) {
        let bar = Rectangle::new()
            .set("x", rounded(x))
            .set("y", rounded(y))
            .set("width", rounded(width.max(1.0)))
            .set("height", rounded(height))
            .set("stroke", style.colour());
        // A kin's second and third are lighter.
        let opacity = match style.1 {
            Stroke::Solid => 1.0,
            Stroke::Dashed => 0.55,
            Stroke::Dotted => 0.25,
        };
        self.add(bar.set("fill", style.colour()).set("fill-opacity", opacity));
    }

    /// Filled, hollow or small, by the stroke.
    pub(super) fn dot(&mut self, (x, y): (f64, f64), style: Style) {
        let radius = if style.0 == Colour::Blue { 4.5 } else { 4.0 };
        let dot = Circle::new().set("cx", rounded(x)).set("cy", rounded(y));
        let (radius, fill) = match style.1 {
            Stroke::Solid => (radius, style.colour()),
            Stroke::Dashed => (radius, "#fff"),
            Stroke::Dotted => (radius - 1.2, style.colour()),
        };
        let dot = dot.set("r", radius).set("fill", fill);
        self.add(dot.set("stroke", style.colour()).set("stroke-width", 1.5));
    }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut text = String::new();
    for (number, (x, y)) in points.iter().enumerate() {
        let letter = if number == 0 { 'M' } else { 'L' };
        text += &format!("{letter}{} {}", rounded(*x), rounded(*y));
    }
    text
}

/// A tenth of a pixel is seen by nobody.
fn rounded(value: f64) -> f64 {
    (10.0 * value).round() / 10.0
}
