//! What the tables and pictures need to know of a subject; a record describes its own.

use serde::{Deserialize, Serialize};

/// A subject as a record describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub name: String,
    pub kind: Kind,
    /// Whether its entries leave when their time is up, on read at least.
    pub expires: bool,
}

impl Subject {
    pub fn new(name: &str, kind: Kind, expires: bool) -> Self {
        Self { name: name.to_owned(), kind, expires }
    }
}

/// What a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// `punctual::Cache` as it comes: what the bars are about.
    Punctual,
    /// This crate, otherwise.
    Variant,
    /// A cache that one can use instead.
    Peer,
    /// A peer's cache for one thread.
    PeerUnsync,
    /// The cache that this crate replaces.
    Predecessor,
    /// A map, which bounds nothing and expires nothing.
    Map,
    /// A textbook policy.
    Mark,
    /// What nobody can pass.
    Optimum,
    /// The machine's own noise.
    Noise,
}

impl Kind {
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Punctual | Self::Variant)
    }

    /// What one could have instead, hit ratio for hit ratio.
    pub fn is_other(self) -> bool {
        matches!(self, Self::Peer | Self::Predecessor | Self::Mark)
    }
}

/// The subjects of a record, by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Subjects(Vec<Subject>);

impl Subjects {
    /// Adds subjects; those of a name that is there already replace the old ones.
    pub fn extend(&mut self, subjects: impl IntoIterator<Item = Subject>) {
        for subject in subjects {
            self.0.retain(|old| old.name != subject.name);
            self.0.push(subject);
        }
    }

    /// The subject of a name; what follows a comma in it is a remark.
    fn get(&self, name: &str) -> Option<&Subject> {
        let of = |name: &str| self.0.iter().find(|subject| subject.name == name);
        of(name).or_else(|| of(name.split(',').next()?))
    }

    pub fn kind(&self, name: &str) -> Option<Kind> {
        self.get(name).map(|subject| subject.kind)
    }

    pub fn expires(&self, name: &str) -> bool {
        self.get(name).is_some_and(|subject| subject.expires)
    }

    pub fn is_ours(&self, name: &str) -> bool {
        self.kind(name).is_some_and(Kind::is_ours)
    }
}

impl IntoIterator for Subjects {
    type Item = Subject;
    type IntoIter = std::vec::IntoIter<Subject>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
