//! Curves over a scale: in a wide panel with their names at their ends, or one by one in a grid.

use super::axis::{Axis, Scale, number};
use super::canvas::{Anchor, Canvas, Font, INK, LABEL, PALE, SMALL};
use super::{MARGIN, WIDTH};
use crate::palette::Style;

/// A curve, and what it is called at its end.
#[derive(Debug)]
pub struct Line {
    pub name: String,
    pub style: Style,
    pub points: Vec<(f64, f64)>,
}

/// What lies between two curves, and what it is called.
#[derive(Debug)]
pub struct Area {
    pub name: String,
    pub style: Style,
    pub upper: Vec<(f64, f64)>,
    pub lower: Vec<(f64, f64)>,
}

/// A panel as wide as the picture.
#[derive(Debug)]
pub struct Curves {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    /// The last lies above the others.
    pub lines: Vec<Line>,
    pub areas: Vec<Area>,
}

/// A point more than that, and the curve has no dots on them.
const DOTS_MAX: usize = 12;
const LEFT: f64 = 58.0;
const NAME_GAP: f64 = 18.0;

impl Curves {
    pub(super) const HEIGHT: f64 = 330.0;

    /// That the names at the ends of the curves take.
    pub(super) fn names_width(&self) -> f64 {
        let font = Font::new(LABEL, INK).bold();
        self.lines.iter().map(|line| font.width(&line.name)).fold(0.0, f64::max)
    }

    pub(super) fn draw(&self, canvas: &mut Canvas, top: f64, names_width: f64) {
        let font = Font::new(LABEL, INK);
        let right = WIDTH - MARGIN - 22.0 - names_width;
        let (top, bottom) = (top + 38.0, top + Self::HEIGHT - 50.0);
        canvas.text(&self.title, (MARGIN, top - 20.0), Anchor::Start, font.bold());
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let frame = Frame {
            x: self.x.tight_scale(points().map(|(x, _)| *x), LEFT, right),
            y: self.y.scale(points().map(|(_, y)| *y), bottom, top),
            left: LEFT,
            right,
            top,
            bottom,
        };
        frame.draw_grid(canvas, [8, 6], true);
        let middle = ((LEFT + right) / 2.0, bottom + 38.0);
        canvas.text(self.x.name, middle, Anchor::Middle, Font::new(SMALL, PALE));
        for Area { name, style, upper, lower } in &self.areas {
            let mut outline = frame.pixels(upper);
            outline.extend(frame.pixels(lower).into_iter().rev());
            canvas.area(&outline, style.colour());
            // Where there is most room.
            let pairs = upper.iter().zip(lower);
            let wide =
                pairs.max_by(|one, other| (one.0.1 - one.1.1).total_cmp(&(other.0.1 - other.1.1)));
            if let Some((&(x, high), &(_, low))) = wide {
                let at = (frame.x.at(x), (frame.y.at(high) + frame.y.at(low)) / 2.0);
                canvas.text(name, at, Anchor::Middle, font.bold());
            }
        }
        for line in &self.lines {
            frame.draw_line(canvas, line);
        }
        let mut names: Vec<(f64, f64, &Line)> = Vec::new();
        for line in &self.lines {
            let Some(&(x, y)) = line.points.last() else { continue };
            names.push((frame.y.at(y), frame.x.at(x), line));
        }
        names.sort_by(|one, other| one.0.total_cmp(&other.0));
        let places = spread(names.iter().map(|(y, ..)| *y).collect(), top, bottom);
        for ((y, x, line), place) in names.into_iter().zip(places) {
            if (place - y).abs() > 3.0 {
                canvas.line((x + 4.0, y), (right + 18.0, place), line.style.colour(), 1.0);
            }
            let font = Font::new(LABEL, line.style.colour()).bold();
            canvas.text(&line.name, (right + 22.0, place), Anchor::Start, font);
        }
    }
}

/// Heights at which names do not touch each other, as near as can be to those that are wanted, from
/// the top down.
fn spread(wanted: Vec<f64>, top: f64, bottom: f64) -> Vec<f64> {
    let mut places = wanted;
    let mut least = top;
    for place in &mut places {
        *place = place.max(least);
        least = *place + NAME_GAP;
    }
    let mut most = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - NAME_GAP;
    }
    places
}

/// A grid of panels with the same scales. This crate's curve is a broad one below the other, so that
/// both are seen where they are the same.
#[derive(Debug)]
pub struct CurvesOfEach {
    pub x: Axis,
    pub y: Axis,
    /// This crate's, which is in all of them.
    pub own: Line,
    /// Of the others, each by its name.
    pub others: Vec<Line>,
}

const CELL_HEIGHT: f64 = 176.0;
const OWN_WIDTH: f64 = 6.0;

impl CurvesOfEach {
    /// Four, or three if that leaves no place empty.
    fn columns(&self) -> usize {
        if self.others.len() % 4 != 0 && self.others.len() % 3 == 0 { 3 } else { 4 }
    }

    pub(super) fn height(&self) -> f64 {
        CELL_HEIGHT * self.others.len().div_ceil(self.columns()) as f64 + 26.0
    }

    pub(super) fn draw(&self, canvas: &mut Canvas, head: f64) {
        let lines = || self.others.iter().chain([&self.own]);
        let points = || lines().flat_map(|line| &line.points);
        let columns = self.columns();
        let cell_width = (WIDTH - LEFT - 2.0) / columns as f64;
        for (number, other) in self.others.iter().enumerate() {
            let (row, column) = ((number / columns) as f64, number % columns);
            let left = LEFT + cell_width * column as f64;
            let right = left + cell_width - 28.0;
            let (top, bottom) =
                (head + CELL_HEIGHT * row + 34.0, head + CELL_HEIGHT * (row + 1.0) - 22.0);
            let frame = Frame {
                x: self.x.scale(points().map(|(x, _)| *x), left, right),
                y: self.y.scale(points().map(|(_, y)| *y), bottom, top),
                left,
                right,
                top,
                bottom,
            };
            frame.draw_grid(canvas, [4, 4], column == 0);
            let font = Font::new(SMALL, other.style.colour()).bold();
            canvas.text(&other.name, (left, top - 16.0), Anchor::Start, font);
            canvas.curve(&frame.pixels(&self.own.points), self.own.style, OWN_WIDTH);
            frame.draw_line(canvas, other);
            if number == 0 {
                self.name_own(canvas, &frame, other);
            }
        }
        let middle = ((LEFT + WIDTH) / 2.0, head + self.height() - 12.0);
        canvas.text(self.x.name, middle, Anchor::Middle, Font::new(SMALL, PALE));
    }

    /// Above or below it, at its end or at its start, where neither of the two passes.
    fn name_own(&self, canvas: &mut Canvas, frame: &Frame, other: &Line) {
        let font = Font::new(LABEL, self.own.style.colour()).bold();
        let width = font.width(&self.own.name);
        let curves = [&self.own, other].map(|line| frame.pixels(&line.points));
        let places = [frame.right - width, frame.left + 2.0].into_iter().flat_map(|left| {
            let steps = (0..=10).map(|step| left + f64::from(step) / 10.0 * width);
            let [own, other] = curves.each_ref().map(|curve| {
                steps.clone().filter_map(|x| height_at(curve, x)).collect::<Vec<f64>>()
            });
            let highest = own.iter().copied().fold(frame.bottom, f64::min);
            let lowest = own.iter().copied().fold(frame.top, f64::max);
            let passing = [own, other].concat();
            [highest - 14.0, lowest + 14.0].map(move |y| {
                let is_free = passing.iter().all(|passing| (passing - y).abs() > 10.0);
                (left, y, is_free && y > frame.top && y < frame.bottom - 8.0)
            })
        });
        let places: Vec<_> = places.collect();
        let free = places.iter().find(|(.., is_free)| *is_free);
        let (left, y, _) = *free.unwrap_or(&places[0]);
        canvas.text(&self.own.name, (left, y), Anchor::Start, font);
    }
}

/// The height of a curve at a place; none, where it has not begun or has ended.
fn height_at(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let around = points.windows(2).find(|pair| (pair[0].0..=pair[1].0).contains(&x))?;
    let share = (x - around[0].0) / (around[1].0 - around[0].0).max(1e-9);
    Some(around[0].1 + share * (around[1].1 - around[0].1))
}

/// Where curves are drawn.
struct Frame {
    x: Scale,
    y: Scale,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Frame {
    fn pixels(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        points.iter().map(|(x, y)| (self.x.at(*x), self.y.at(*y))).collect()
    }

    /// With so many ticks at most; numbers beside it only where asked for.
    fn draw_grid(&self, canvas: &mut Canvas, [of_x, of_y]: [usize; 2], is_numbered: bool) {
        let font = Font::new(SMALL, PALE);
        for tick in self.y.ticks(of_y) {
            let y = self.y.at(tick);
            canvas.rule((self.left, y), (self.right, y));
            if is_numbered {
                canvas.text(&number(tick), (self.left - 7.0, y), Anchor::End, font);
            }
        }
        for tick in self.x.ticks(of_x) {
            let x = self.x.at(tick);
            canvas.rule((x, self.top), (x, self.bottom));
            canvas.text(&number(tick), (x, self.bottom + 13.0), Anchor::Middle, font);
        }
        canvas.line((self.left, self.bottom), (self.right, self.bottom), PALE, 1.0);
    }

    fn draw_line(&self, canvas: &mut Canvas, line: &Line) {
        let points = self.pixels(&line.points);
        canvas.curve(&points, line.style, line.style.width());
        if points.len() <= DOTS_MAX {
            for point in points {
                canvas.dot(point, line.style);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_touch_each_other() {
        let places = spread(vec![10.0, 11.0, 12.0, 95.0, 200.0], 0.0, 200.0);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= NAME_GAP), "{places:?}");
        assert_eq!(places[3..], [95.0, 200.0]);
        // At the lower edge they move up.
        assert_eq!(spread(vec![99.0, 100.0], 0.0, 100.0), [100.0 - NAME_GAP, 100.0]);
    }
}
