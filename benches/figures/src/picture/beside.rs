//! How far others are from this crate, row by row, in a panel for each of them.

use super::axis::{Axis, Scale, number};
use super::canvas::{Anchor, Canvas, Font, INK, PALE, SMALL};
use super::{MARGIN, WIDTH};
use crate::palette::Style;

#[derive(Debug)]
pub struct Beside {
    pub x: Axis,
    /// Where one is that is as good as this crate.
    pub own: f64,
    /// Whether it is the left side on which a dot is better than this crate.
    pub is_better_left: bool,
    pub rows: Vec<String>,
    pub cells: Vec<BesideCell>,
}

#[derive(Debug)]
pub struct BesideCell {
    pub name: String,
    pub style: Style,
    pub marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub row: usize,
    pub value: f64,
    pub quartiles: Option<(f64, f64)>,
}

const ROW: f64 = 19.0;
const HEAD: f64 = 34.0;
const FOOT: f64 = 26.0;
const CELL_WIDTH_MIN: f64 = 116.0;

impl Beside {
    fn names_width(&self) -> f64 {
        let font = Font::new(SMALL, INK);
        MARGIN + 12.0 + self.rows.iter().map(|row| font.width(row)).fold(0.0, f64::max)
    }

    fn columns(&self) -> usize {
        let room = ((WIDTH - self.names_width() - MARGIN) / CELL_WIDTH_MIN) as usize;
        let most = room.clamp(1, self.cells.len().max(1));
        // As many in each line of panels.
        self.cells.len().max(1).div_ceil(self.cells.len().max(1).div_ceil(most))
    }

    fn line_height(&self) -> f64 {
        HEAD + ROW * self.rows.len() as f64 + FOOT
    }

    pub(super) fn height(&self) -> f64 {
        self.line_height() * self.cells.len().div_ceil(self.columns()) as f64 + 24.0
    }

    pub(super) fn draw(&self, canvas: &mut Canvas, head: f64) {
        let (columns, names) = (self.columns(), self.names_width());
        let cell_width = (WIDTH - names - MARGIN) / columns as f64;
        let values = || {
            let marks = self.cells.iter().flat_map(|cell| &cell.marks);
            let all = marks.flat_map(|mark| {
                let (low, high) = mark.quartiles.unwrap_or((mark.value, mark.value));
                [low, high]
            });
            all.chain([self.own])
        };
        let font = Font::new(SMALL, INK);
        for (number_of_cell, cell) in self.cells.iter().enumerate() {
            let (line, column) = ((number_of_cell / columns) as f64, number_of_cell % columns);
            let left = names + cell_width * column as f64;
            let right = left + cell_width - 14.0;
            let top = head + self.line_height() * line + HEAD;
            let bottom = top + ROW * self.rows.len() as f64;
            let x = self.x.scale(values(), left, right);
            let own = x.at(self.own);
            let better = if self.is_better_left { left } else { right };
            canvas.area(&[(own, top), (better, top), (better, bottom), (own, bottom)], PALE);
            for (row, name) in self.rows.iter().enumerate() {
                let y = top + ROW * (row as f64 + 0.5);
                canvas.rule((left, y), (right, y));
                if column == 0 {
                    canvas.text(name, (names - 10.0, y), Anchor::End, font);
                }
            }
            for tick in ticks(&x) {
                canvas.rule((x.at(tick), top), (x.at(tick), bottom));
                let at = (x.at(tick), bottom + 12.0);
                canvas.text(&number(tick), at, Anchor::Middle, Font::new(SMALL, PALE));
            }
            canvas.line((own, top), (own, bottom), Style::PUNCTUAL.colour(), 3.0);
            let bold = Font::new(SMALL, cell.style.colour()).bold();
            for (number, part) in
                bold.wrapped(&cell.name, cell_width - 8.0).iter().rev().enumerate()
            {
                let y = top - 10.0 - 15.0 * number as f64;
                canvas.text(part, (left, y), Anchor::Start, bold);
            }
            for mark in &cell.marks {
                let y = top + ROW * (mark.row as f64 + 0.5);
                if let Some((low, high)) = mark.quartiles {
                    canvas.line((x.at(low), y), (x.at(high), y), cell.style.colour(), 1.5);
                }
                canvas.dot((x.at(mark.value), y), cell.style);
            }
        }
        let middle = ((names + WIDTH) / 2.0, head + self.height() - 12.0);
        canvas.text(self.x.name, middle, Anchor::Middle, Font::new(SMALL, PALE));
    }
}

/// As many as have room beside each other.
fn ticks(x: &Scale) -> Vec<f64> {
    let font = Font::new(SMALL, PALE);
    let has_room = |ticks: &[f64]| {
        ticks.windows(2).all(|pair| {
            let room = x.at(pair[1]) - x.at(pair[0]);
            let wanted = pair.iter().map(|tick| font.width(&number(*tick))).sum::<f64>() / 2.0;
            wanted + 6.0 < room
        })
    };
    let choices = (2..=6).rev().map(|most| x.ticks(most));
    choices.into_iter().find(|ticks| has_room(ticks)).unwrap_or_default()
}
