//! Few figures as bars, each with its number beside it, in panels with scales of their own.

use super::canvas::{Anchor, Canvas, Font, INK, LABEL, SMALL};
use super::{MARGIN, WIDTH};
use crate::palette::Style;

#[derive(Debug)]
pub struct BarCell {
    pub title: String,
    pub bars: Vec<Bar>,
}

#[derive(Debug)]
pub struct Bar {
    pub name: String,
    pub value: f64,
}

const ROW: f64 = 22.0;
const HEAD: f64 = 34.0;

pub(super) fn height(cells: &[BarCell]) -> f64 {
    let rows = cells.iter().map(|cell| cell.bars.len()).max().unwrap_or(0);
    HEAD + ROW * rows as f64
}

/// The panels stand beside each other, and have the same names in the same order.
pub(super) fn draw(cells: &[BarCell], canvas: &mut Canvas, head: f64) {
    let font = Font::new(SMALL, INK);
    let names = cells.iter().flat_map(|cell| &cell.bars).map(|bar| font.bold().width(&bar.name));
    let names = MARGIN + 10.0 + names.fold(0.0, f64::max);
    let cell_width = (WIDTH - names - MARGIN) / cells.len().max(1) as f64;
    for (column, BarCell { title, bars }) in cells.iter().enumerate() {
        let left = names + cell_width * column as f64;
        let longest = cell_width - 66.0;
        let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
        canvas.text(title, (left, head + 16.0), Anchor::Start, Font::new(LABEL, INK).bold());
        for (row, Bar { name, value }) in bars.iter().enumerate() {
            let y = head + HEAD + ROW * (row as f64 + 0.5);
            let style = Style::of(name);
            let is_own = style == Style::PUNCTUAL;
            let font = if is_own { Font::new(SMALL, style.colour()).bold() } else { font };
            if column == 0 {
                canvas.text(name, (names - 8.0, y), Anchor::End, font);
            }
            let length = longest * value / most;
            canvas.bar((left, y - 7.0), (length, 14.0), style);
            let at = (left + length.max(1.0) + 6.0, y);
            canvas.text(&format!("{value:.1}"), at, Anchor::Start, font);
        }
    }
}
