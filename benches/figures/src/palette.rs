//! One palette for all pictures: a colour means the same in each of them.

/// Of the palette of Okabe and Ito, which people with any colour vision tell apart; the last four,
/// all darker, of Paul Tol's *muted*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// This crate's own, and nobody else's.
    Blue,
    /// The cache that it replaces.
    Black,
    /// What is no cache that one could have: textbook policies, the optimum, noise, entries.
    Grey,
    Vermilion,
    Green,
    Purple,
    Orange,
    /// Maps.
    Sky,
    Wine,
    Olive,
    Indigo,
    Rose,
}

/// Tells apart what has one colour, also where a printer has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    Solid,
    Dashed,
    Dotted,
}

/// How a subject is drawn. Subjects of one kin share a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style(pub Colour, pub Stroke);

use Colour::{Black, Blue, Green, Grey, Indigo, Olive, Orange, Purple, Rose, Sky, Vermilion, Wine};
use Stroke::{Dashed, Dotted, Solid};

impl Style {
    pub const PUNCTUAL: Self = Self(Blue, Solid);
    pub const ORIGINAL: Self = Self(Black, Solid);

    /// The style of a subject; what follows a comma in its name is a remark. Who is not listed is
    /// grey.
    pub fn of(name: &str) -> Self {
        let of = |name: &str| STYLES.iter().find(|(known, _)| *known == name);
        let found = of(name).or_else(|| of(name.split(',').next()?));
        found.map_or(Self(Grey, Dashed), |(_, style)| *style)
    }

    /// As CSS has it.
    pub(crate) fn colour(self) -> &'static str {
        match self.0 {
            Blue => "#0072b2",
            Black => "#282828",
            Grey => "#777777",
            Vermilion => "#d55e00",
            Green => "#009e73",
            Purple => "#cc79a7",
            Orange => "#e69f00",
            Sky => "#56b4e9",
            Wine => "#882255",
            Olive => "#999933",
            Indigo => "#332288",
            Rose => "#cc6677",
        }
    }

    /// This crate's lines are the thickest.
    pub(crate) fn width(self) -> f64 {
        if self.0 == Blue { 3.0 } else { 2.0 }
    }

    /// Lengths of dashes and gaps; none for a line without.
    pub(crate) fn dashes(self) -> Option<&'static str> {
        match self.1 {
            Solid => None,
            Dashed => Some("9 5"),
            Dotted => Some("2.5 4"),
        }
    }
}

const STYLES: [(&str, Style); 30] = [
    ("punctual", Style::PUNCTUAL),
    ("punctual unsync", Style(Blue, Dashed)),
    ("punctual S3Clock", Style(Blue, Dotted)),
    ("punctual S3Fifo", Style(Blue, Dotted)),
    ("punctual Fifo", Style(Blue, Dotted)),
    ("punctual's wheel", Style::PUNCTUAL),
    ("original", Style::ORIGINAL),
    ("moka", Style(Vermilion, Solid)),
    ("moka Expiry", Style(Vermilion, Dashed)),
    ("mini-moka", Style(Vermilion, Dotted)),
    ("quick_cache", Style(Green, Solid)),
    ("quick_cache + deadline", Style(Green, Dashed)),
    ("quick_cache unsync", Style(Green, Dotted)),
    ("lru + deadline", Style(Purple, Solid)),
    ("ttl_cache", Style(Purple, Dashed)),
    ("stretto", Style(Orange, Solid)),
    ("scc", Style(Wine, Solid)),
    ("TinyUFO", Style(Olive, Solid)),
    ("pingora-memory-cache", Style(Olive, Dashed)),
    ("foyer", Style(Indigo, Solid)),
    ("tokio-util DelayQueue", Style(Rose, Solid)),
    ("sharded map", Style(Sky, Solid)),
    ("bare map", Style(Sky, Dashed)),
    ("BTreeMap of deadlines", Style(Sky, Dotted)),
    ("FIFO", Style(Grey, Dashed)),
    ("LRU", Style(Grey, Solid)),
    ("SIEVE", Style(Grey, Dotted)),
    ("S3-FIFO", Style(Grey, Dashed)),
    ("no cache", Style(Grey, Dotted)),
    ("optimum", Style(Grey, Solid)),
];
