//! What a section is.

use crate::picture::Picture;
use crate::record::Record;
use crate::table::Table;

/// Sentences about where others are ahead; none where the record lacks the part, empty where nobody
/// is ahead.
pub(crate) type Losses = Option<Vec<String>>;

/// Pictures, each with the name of its file, without its ending; none where the record lacks the
/// part.
pub(crate) type Pictures = Option<Vec<(String, Picture)>>;

/// Figures of punctual's own, by name, as the history keeps them.
pub(crate) type Figures = Option<Vec<(String, f64)>>;

/// A question: what was measured and how, where punctual loses, and the answers.
pub struct Section {
    /// Of the part, as it is asked for.
    pub name: &'static str,
    /// What a list of losses calls it.
    pub(crate) title: &'static str,
    pub(crate) question: &'static str,
    pub(crate) method: &'static str,
    /// None: there is nobody to lose to.
    pub(crate) losses: Option<fn(&Record) -> Losses>,
    pub(crate) pictures: fn(&Record) -> Pictures,
    pub(crate) figures: fn(&Record) -> Figures,
    pub tables: &'static [Titled],
}

/// A table, with its name in the documents' marks and its title elsewhere.
pub struct Titled {
    pub(crate) name: &'static str,
    pub title: &'static str,
    pub table: fn(&Record) -> Option<Table>,
}

pub(super) const fn table(
    name: &'static str,
    title: &'static str,
    table: fn(&Record) -> Option<Table>,
) -> Titled {
    Titled { name, title, table }
}
