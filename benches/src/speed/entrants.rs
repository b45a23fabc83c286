//! Subjects as entrants of a comparison.

use std::time::Duration;

use super::keys::Material;
use super::work::{Contestant, OneThread, SeveralThreads};
use crate::subjects::Subject;
use crate::subjects::mutexed::Mutexed;
use crate::subjects::registry::{Visitor, Who};
use crate::subjects::time::RealTime;

/// Longer than any measurement: a TTL of those that have one for all entries.
const TTL: Duration = Duration::from_secs(3600);

/// An empty one, for so many threads.
pub(crate) fn build<M: Material>(
    who: Who,
    capacity: usize,
    threads: usize,
) -> Box<dyn Contestant<M>> {
    who.visit(capacity, TTL, &RealTime, Build { threads })
}

struct Build {
    threads: usize,
}

impl<M: Material> Visitor<M, M> for Build {
    type Output = Box<dyn Contestant<M>>;

    fn single(self, subject: impl Subject<M, M> + 'static) -> Self::Output {
        assert_eq!(self.threads, 1, "a subject that cannot be shared");
        Box::new(OneThread(subject))
    }

    fn mutexed(self, subject: impl Subject<M, M> + Send + 'static) -> Self::Output {
        if self.threads == 1 { self.single(subject) } else { self.shared(Mutexed::new(subject)) }
    }

    fn shared(self, subject: impl Subject<M, M> + Clone + Send + 'static) -> Self::Output {
        if self.threads == 1 { self.single(subject) } else { Box::new(SeveralThreads(subject)) }
    }
}
