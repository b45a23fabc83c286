//! Values that count how many of them were made and dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Counts the instances made of it.
#[derive(Clone, Debug, Default)]
pub struct Instances(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

impl Instances {
    /// Makes one more.
    pub fn make(&self) -> Instance {
        self.0.made.fetch_add(1, SeqCst);
        Instance(self.clone())
    }

    /// Returns how many were dropped.
    pub fn dropped(&self) -> usize {
        self.0.dropped.load(SeqCst)
    }

    /// Returns how many were made and not dropped.
    pub fn live(&self) -> usize {
        // What is made later than this look cannot be among the dropped.
        let dropped = self.dropped();
        self.0.made.load(SeqCst) - dropped
    }
}

/// Counts itself when it is made, cloned or dropped.
#[derive(Debug)]
pub struct Instance(Instances);

impl Clone for Instance {
    fn clone(&self) -> Self {
        self.0.make()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.0.0.dropped.fetch_add(1, SeqCst);
    }
}
