//! Keys that carry something.

use std::hash::{Hash, Hasher};

/// A number with something that matters to neither its hash nor its equality.
#[derive(Clone, Debug)]
pub struct Carrying<T>(pub u64, pub T);

impl<T> Hash for Carrying<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T> PartialEq for Carrying<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Carrying<T> {}
