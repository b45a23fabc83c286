//! Who is asked for its hit ratio: a column of the tables each.

use std::time::Duration;

use punctual_figures::subject::{Kind, Subject as Description};

use super::trace::Trace;
use crate::subjects::prompt::Prompt;
use crate::subjects::registry::{Hit, Who};
use crate::subjects::time::SimulatedTime;

/// Longer than any replay takes: a TTL of those that go by the system's clock.
pub(crate) const LONG: Duration = Duration::from_secs(30 * 24 * 3600);

/// Housekeeping of moka and mini-moka comes after so many requests: their calls do it in batches of
/// some sixty, and the trace stands for more time than its replay takes.
const REQUESTS_PER_SETTLING: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    Subject(Who),
    Optimum,
}

/// The optimum, as records have it.
pub(crate) fn optimum() -> Description {
    Description::new(Column::Optimum.name(), Column::Optimum.kind(), false)
}

/// All columns, in the order in which tables show them.
pub(crate) fn all() -> impl Iterator<Item = Column> {
    let subjects = Who::ALL.iter().filter(|who| who.facts().hit != Hit::Nowhere);
    subjects.map(|who| Column::Subject(*who)).chain([Column::Optimum])
}

impl Column {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Subject(who) => who.name(),
            Self::Optimum => "optimum",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Subject(who) => who.facts().kind,
            Self::Optimum => Kind::Optimum,
        }
    }

    /// Whether it says something on a trace that no other column says.
    pub(crate) fn is_shown_on(self, trace: &Trace) -> bool {
        let Self::Subject(who) = self else { return true };
        match who.facts().hit {
            Hit::Nowhere => false,
            Hit::Everywhere => true,
            Hit::WithTtls => trace.times.is_some(),
            Hit::WithoutTtls => trace.times.is_none(),
        }
    }

    /// The share of hits, where a key that is not there is put in; of punctual, which the bars are
    /// about, the mean over some seeds of the hasher.
    pub(crate) fn hit_ratio(self, trace: &Trace, capacity: usize) -> f64 {
        match self {
            Self::Optimum => super::optimum::hit_ratio(trace, capacity),
            Self::Subject(who) => {
                let seeds = if who == Who::Punctual { 5 } else { 1 };
                let ratios = (0..seeds).map(|seed| replay(who, trace, capacity, seed));
                ratios.sum::<f64>() / seeds as f64
            }
        }
    }

    /// Whether its hit ratio at the same number of bytes says something.
    pub(crate) fn same_bytes(self) -> bool {
        matches!(self, Self::Subject(who) if who.facts().same_bytes)
    }
}

fn replay(who: Who, trace: &Trace, capacity: usize, seed: u64) -> f64 {
    let (facts, time) = (who.facts(), SimulatedTime::with_seed(seed));
    let mut subject = who.boxed(capacity, LONG, &time);
    if trace.times.is_some() && !facts.takes_clock {
        subject = Box::new(Prompt::new(subject, time.clone()));
    }
    let mut hits = 0_u32;
    for (number, &key) in trace.keys.iter().enumerate() {
        let key = u64::from(key);
        let ttl = trace.times.as_ref().map_or(LONG, |times| {
            time.set(times[number].at);
            times[number].ttl
        });
        match subject.get(&key) {
            Some(value) => {
                assert_eq!(value, key, "a wrong value");
                hits += 1;
            }
            None if ttl.is_zero() => {}
            None => {
                subject.insert(key, key, ttl);
                // What refuses entries does so in a buffer, behind the calls.
                if !facts.stores {
                    subject.settle();
                }
            }
        }
        if facts.stores && number % REQUESTS_PER_SETTLING == 0 {
            subject.settle();
        }
    }
    f64::from(hits) / trace.keys.len() as f64
}
