//! How each subject is drawn, the same in all charts.

use plotters::style::RGBColor;

// Of the palette of Okabe and Ito, which people with any colour vision tell apart. Subjects of one
// kin share a colour, and differ in their strokes and marks.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const VERMILION: RGBColor = RGBColor(213, 94, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const PURPLE: RGBColor = RGBColor(204, 121, 167);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const SKY: RGBColor = RGBColor(86, 180, 233);
const BLACK: RGBColor = RGBColor(40, 40, 40);

/// Lengths of a dash and of the gap after it, in pixels.
const SOLID: (u32, u32) = (1_000_000, 1);
const DASHED: (u32, u32) = (10, 5);
const DOTTED: (u32, u32) = (3, 4);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    Disc,
    Triangle,
    Cross,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) colour: RGBColor,
    pub(crate) dash: (u32, u32),
    pub(crate) mark: Mark,
    pub(crate) width: u32,
}

impl Style {
    /// Of a subject; what stands after a comma in its name is a remark.
    pub(crate) fn of(name: &str) -> Self {
        let (colour, dash) = match name.split(',').next().unwrap_or(name) {
            "punctual" | "punctual's wheel" => (BLUE, SOLID),
            "punctual unsync" => (BLUE, DASHED),
            "moka" => (VERMILION, SOLID),
            "moka Expiry" => (VERMILION, DASHED),
            "mini-moka" => (VERMILION, DOTTED),
            "quick_cache" => (GREEN, SOLID),
            "quick_cache + deadline" => (GREEN, DASHED),
            "quick_cache unsync" => (GREEN, DOTTED),
            "lru + deadline" | "LRU" => (PURPLE, SOLID),
            "ttl_cache" | "FIFO" => (PURPLE, DASHED),
            "SIEVE" => (PURPLE, DOTTED),
            "stretto" | "tokio-util DelayQueue" => (ORANGE, SOLID),
            "S3-FIFO" => (ORANGE, DASHED),
            "sharded map" | "BTreeMap of deadlines" => (SKY, SOLID),
            "original" => (BLACK, SOLID),
            "no cache" | "optimum" => (BLACK, DOTTED),
            _ => (BLACK, DASHED),
        };
        let mark = match dash {
            SOLID => Mark::Disc,
            DASHED => Mark::Triangle,
            _ => Mark::Cross,
        };
        let is_ours = name.starts_with("punctual");
        Self { colour, dash, mark, width: if is_ours { 3 } else { 2 } }
    }
}
