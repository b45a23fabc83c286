//! The bars of docs/performance.md, each with what it must reach, what it aims at, and what is measured.
//!
//! Ratios are of medians: how many times as fast punctual is. All contestants of a line take turns
//! in one process.

pub(crate) mod growth;
mod memory;
mod storm;
mod timing_wheel;

use punctual_figures::record::{BarLine, Bars, Growth, Outcome, Wheel};

use crate::speed::contest::{Contest, Operation};
use crate::speed::field::{self, Entrant};
use crate::speed::keys::{Material, Popularity};
use crate::wheels;

const ENTRIES: usize = 500_000;
const ROUNDS: usize = 11;
const CALLS: usize = 100_000;

/// The fastest peers that expire entries; the fastest of them on a line is the one that counts.
/// The others (moka, mini-moka, stretto) are in the comparison of all (`speed`), far behind.
const EXPIRING: [Entrant; 3] = [field::QUICK_CACHE_DEADLINE, field::LRU_DEADLINE, field::TTL_CACHE];

/// One comparison of a bar.
struct Measure {
    against: Against,
    must: Option<f64>,
    aim: Option<f64>,
}

enum Against {
    One(Entrant),
    FastestThatExpires,
    /// The same cache, called key by key.
    SingleCalls,
}

const fn one(entrant: Entrant, must: Option<f64>, aim: Option<f64>) -> Measure {
    Measure { against: Against::One(entrant), must, aim }
}

const fn expiring(must: f64) -> Measure {
    Measure { against: Against::FastestThatExpires, must: Some(must), aim: None }
}

/// Lines of the table that are measured by contests.
struct Bar {
    /// What a filter is compared with.
    name: &'static str,
    own: fn() -> Entrant,
    operation: Operation,
    popularities: &'static [Popularity],
    threads: usize,
    entries: usize,
    measures: &'static [Measure],
}

const ZIPF: Popularity = Popularity::Zipf(0.99);
/// Batches are held against the calls that they stand for.
const BATCHED_ENTRIES: usize = 1_000_000;
const SINGLE_CALLS: &[Measure] =
    &[Measure { against: Against::SingleCalls, must: None, aim: Some(2.0) }];

const BOTH: &[Popularity] = &[Popularity::Uniform, ZIPF];
const UNIFORM: &[Popularity] = &[Popularity::Uniform];

const BARS: [Bar; 12] = [
    Bar {
        name: "hit-1-thread",
        own: field::punctual,
        operation: Operation::Hit,
        popularities: BOTH,
        threads: 1,
        entries: ENTRIES,
        measures: &[
            one(field::QUICK_CACHE, Some(1.0), Some(1.3)),
            expiring(3.0),
            one(field::SHARDED_MAP, None, Some(0.7)),
            // A hit costs no more than with the simplest policy; the rest is noise.
            one(field::PUNCTUAL_FIFO, Some(0.97), None),
        ],
    },
    Bar {
        name: "hit-2-threads",
        own: field::punctual,
        operation: Operation::Hit,
        popularities: BOTH,
        threads: 2,
        entries: ENTRIES,
        measures: &[one(field::QUICK_CACHE, Some(0.9), Some(1.1)), expiring(3.0)],
    },
    Bar {
        name: "miss",
        own: field::punctual,
        operation: Operation::Miss,
        popularities: UNIFORM,
        threads: 1,
        entries: ENTRIES,
        measures: &[one(field::QUICK_CACHE, Some(1.0), Some(1.3))],
    },
    Bar {
        name: "insert-fresh",
        own: field::punctual,
        operation: Operation::InsertFresh,
        popularities: UNIFORM,
        threads: 1,
        entries: ENTRIES,
        measures: &[
            one(field::QUICK_CACHE, Some(1.3), Some(2.0)),
            // At most 1.3 times the time of the simplest policy.
            one(field::PUNCTUAL_FIFO, Some(1.0 / 1.3), None),
        ],
    },
    Bar {
        name: "overwrite",
        own: field::punctual,
        operation: Operation::Overwrite,
        popularities: BOTH,
        threads: 1,
        entries: ENTRIES,
        measures: &[one(field::QUICK_CACHE, Some(1.3), Some(2.0))],
    },
    Bar {
        name: "read-through",
        own: field::punctual,
        operation: Operation::ReadThrough,
        popularities: &[ZIPF],
        threads: 1,
        entries: ENTRIES,
        measures: &[one(field::QUICK_CACHE, Some(1.0), Some(1.3))],
    },
    Bar {
        name: "unsync-hit",
        own: || field::UNSYNC,
        operation: Operation::Hit,
        popularities: BOTH,
        threads: 1,
        entries: ENTRIES,
        measures: &[
            one(field::QUICK_CACHE_UNSYNC, Some(0.5), Some(0.8)),
            one(field::LRU_DEADLINE, Some(2.0), None),
        ],
    },
    Bar {
        name: "unsync-kept-clock-hit",
        own: || field::UNSYNC_KEPT_CLOCK,
        operation: Operation::Hit,
        popularities: BOTH,
        threads: 1,
        entries: ENTRIES,
        measures: &[
            one(field::QUICK_CACHE_UNSYNC, Some(1.0), None),
            one(field::BARE_MAP, None, Some(0.7)),
        ],
    },
    Bar {
        name: "get-many-1000",
        own: || field::BATCHES_OF_1000,
        operation: Operation::Hit,
        popularities: BOTH,
        threads: 1,
        entries: BATCHED_ENTRIES,
        measures: SINGLE_CALLS,
    },
    Bar {
        name: "get-many-100",
        own: || field::BATCHES_OF_100,
        operation: Operation::Hit,
        popularities: BOTH,
        threads: 1,
        entries: BATCHED_ENTRIES,
        measures: SINGLE_CALLS,
    },
    Bar {
        name: "insert-many-1000",
        own: || field::BATCHES_OF_1000,
        operation: Operation::Overwrite,
        popularities: UNIFORM,
        threads: 1,
        entries: BATCHED_ENTRIES,
        measures: SINGLE_CALLS,
    },
    Bar {
        name: "insert-many-100",
        own: || field::BATCHES_OF_100,
        operation: Operation::Overwrite,
        popularities: UNIFORM,
        threads: 1,
        entries: BATCHED_ENTRIES,
        measures: SINGLE_CALLS,
    },
];

/// Whether a figure clears its bars, where more is better.
fn verdict(measured: f64, must: Option<f64>, aim: Option<f64>) -> &'static str {
    if must.is_some_and(|must| measured < must) {
        "missed"
    } else if aim.is_some_and(|aim| measured >= aim) {
        "aim met"
    } else if must.is_some() {
        "must met"
    } else {
        "below the aim"
    }
}

fn at_least(bar: Option<f64>) -> String {
    bar.map_or_else(String::new, |bar| format!("≥ {bar:.2}"))
}

fn at_most(bar: f64, unit: &str) -> String {
    format!("≤ {bar}{unit}")
}

/// Measures the bars that the filter wants: those in whose name and kind of keys, such as
/// `hit-1-thread u64`, all its words occur. Words are separated by commas or spaces. What the run
/// has measured already is not measured again.
pub(crate) fn run(filter: &str, wheel: Option<&Wheel>, growth: Option<&Growth>) -> Bars {
    let words: Vec<&str> = filter.split([',', ' ']).collect();
    let wanted = |name: &str| words.iter().all(|word| name.contains(word));
    let mut lines = Vec::new();
    let mut outcomes = Vec::new();
    for bar in &BARS {
        for &popularity in bar.popularities {
            let name = |material: &str| format!("{} {material} {}", bar.name, popularity.name());
            if wanted(&name("u64")) {
                outcomes.push(bar.run::<u64>(popularity, &name("u64"), &mut lines));
            }
            if wanted(&name("String")) {
                outcomes.push(bar.run::<String>(popularity, &name("String"), &mut lines));
            }
        }
    }
    if wanted("bytes") {
        lines.push(memory::line());
    }
    if wanted("storm") {
        lines.extend(storm::lines());
    }
    if wanted("wheel") {
        lines.extend(
            wheel.map_or_else(|| timing_wheel::lines(&wheels::compare()), timing_wheel::lines),
        );
    }
    if wanted("growth") {
        let line = growth.map_or_else(|| growth::line(&growth::run_ends()), growth::line);
        lines.push(line);
    }
    Bars { lines, outcomes }
}

impl Bar {
    fn run<M: Material>(
        &self,
        popularity: Popularity,
        name: &str,
        lines: &mut Vec<BarLine>,
    ) -> Outcome {
        let own = (self.own)();
        let mut entrants = vec![own];
        for measure in self.measures {
            match measure.against {
                Against::One(entrant) => entrants.push(entrant),
                Against::FastestThatExpires => entrants.extend(EXPIRING),
                Against::SingleCalls => entrants.push(field::punctual()),
            }
        }
        entrants.dedup();
        let contest = Contest {
            operation: self.operation,
            popularity,
            capacity: self.entries,
            threads: self.threads,
            rounds: ROUNDS,
            calls: CALLS,
        };
        eprintln!("{name} ...");
        let outcome = contest.run::<M>(&entrants);
        for measure in self.measures {
            lines.push(self.line(measure, own, name, &outcome));
        }
        outcome
    }

    fn line(&self, measure: &Measure, own: Entrant, name: &str, outcome: &Outcome) -> BarLine {
        let peer = match measure.against {
            Against::One(entrant) => entrant.name,
            Against::FastestThatExpires => fastest(outcome, &EXPIRING),
            Against::SingleCalls => field::punctual().name,
        };
        let ratio = outcome.times_as_fast(own.name, peer).expect("both took part");
        let (own, peer) = (outcome.result(own.name), outcome.result(peer));
        let (own, peer) = own.zip(peer).expect("both took part");
        let mut details = format!(
            "{:.1} ns (spread {:.0} %) : {:.1} ns ({:.0} %)",
            own.median(),
            100.0 * own.spread(),
            peer.median(),
            100.0 * peer.spread()
        );
        let is_asked = matches!(self.operation, Operation::Hit | Operation::ReadThrough);
        if is_asked && own.hit_share.min(peer.hit_share) < 0.9999 {
            details +=
                &format!(", hits {:.2} % : {:.2} %", 100.0 * own.hit_share, 100.0 * peer.hit_share);
        }
        let mut verdict = verdict(ratio, measure.must, measure.aim);
        // Speed at the cost of the hit ratio does not count. The tenth of a percent is noise.
        if self.operation == Operation::ReadThrough && own.hit_share + 0.001 < peer.hit_share {
            verdict = "missed, the hit ratio too";
        }
        BarLine {
            bar: name.to_owned(),
            against: peer.subject.clone(),
            must: at_least(measure.must),
            aim: at_least(measure.aim),
            measured: format!("{ratio:.2}"),
            verdict: verdict.to_owned(),
            details,
        }
    }
}

fn fastest(outcome: &Outcome, among: &[Entrant]) -> &'static str {
    let median = |entrant: &Entrant| outcome.result(entrant.name).map(|result| result.median());
    let timed = among.iter().filter_map(|entrant| Some((entrant.name, median(entrant)?)));
    timed.min_by(|one, other| one.1.total_cmp(&other.1)).expect("some took part").0
}
