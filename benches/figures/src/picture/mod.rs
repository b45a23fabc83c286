//! Pictures as SVG text, all in one look: what was found is the title, and everything has its name
//! beside it, so that there is no key to look up.

mod axis;
mod bars;
mod beside;
mod canvas;
mod curves;

pub use axis::Axis;
pub use bars::{Bar, BarCell};
pub use beside::{Beside, BesideCell, Mark};
pub use curves::{Area, Curves, CurvesOfEach, Line};

use canvas::{Anchor, Canvas, Font, INK, LABEL, PALE, TITLE};

pub(crate) const WIDTH: f64 = 880.0;
const MARGIN: f64 = 14.0;

#[derive(Debug)]
pub struct Picture {
    /// What was found, in a sentence.
    pub finding: String,
    /// What is shown, of what, and how to read it.
    pub caption: String,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    /// Curves with their names at their ends, panel below panel.
    Curves(Vec<Curves>),
    /// A panel for each of the others, with this crate's curve in all of them: where curves lie on
    /// each other, nobody hides.
    Each(CurvesOfEach),
    /// A panel for each of the others: how far they are from this crate, row by row.
    Beside(Beside),
    /// Few figures as bars.
    Bars(Vec<BarCell>),
}

impl Picture {
    pub fn svg(&self) -> String {
        let title = Font::new(TITLE, INK).bold();
        let caption = Font::new(LABEL, PALE);
        let width = WIDTH - 2.0 * MARGIN;
        let titles = title.wrapped(&self.finding, width);
        let captions = caption.wrapped(&self.caption, width);
        let head = 22.0 + 26.0 * titles.len() as f64 + 19.0 * captions.len() as f64;
        let mut canvas = Canvas::new(WIDTH, head + self.body.height() + MARGIN);
        let mut y = 24.0;
        for (lines, font, step) in [(&titles, title, 26.0), (&captions, caption, 19.0)] {
            for line in lines {
                canvas.text(line, (MARGIN, y), Anchor::Start, font);
                y += step;
            }
        }
        match &self.body {
            Body::Curves(panels) => {
                // As wide in all, so that what is below is below.
                let names = panels.iter().map(Curves::names_width).fold(0.0, f64::max);
                let mut top = head;
                for panel in panels {
                    panel.draw(&mut canvas, top, names);
                    top += Curves::HEIGHT;
                }
            }
            Body::Each(each) => each.draw(&mut canvas, head),
            Body::Beside(beside) => beside.draw(&mut canvas, head),
            Body::Bars(cells) => bars::draw(cells, &mut canvas, head),
        }
        canvas.finish() + "\n"
    }
}

impl Body {
    fn height(&self) -> f64 {
        match self {
            Self::Curves(panels) => Curves::HEIGHT * panels.len() as f64,
            Self::Each(each) => each.height(),
            Self::Beside(beside) => beside.height(),
            Self::Bars(cells) => bars::height(cells),
        }
    }
}
