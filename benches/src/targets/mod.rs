//! The bars, each with what it must reach, what it aims at, and what is
//! measured.
//!
//! Ratios are of medians: how many times as fast punctual is. All contestants of a line take turns
//! in one process.

pub(crate) mod growth;
pub(crate) mod limits;
mod memory;
mod storm;
mod timing_wheel;

use punctual_figures::record::{Outcome, Target, Targets, TimersResult, Timing};

use crate::cores;
use crate::progress;
use crate::speed::contest::Operation::{Hit, InsertFresh, Miss, Overwrite, ReadThrough};
use crate::speed::contest::{Contest, Operation};
use crate::speed::keys::{Material, Popularity};
use crate::subjects::registry::Who;
use crate::wheels;
use limits::Limits;

const ENTRIES: usize = 500_000;
/// Batches are held against the calls that they stand for.
const BATCHED_ENTRIES: usize = 1_000_000;
const ROUNDS: usize = 11;
const CALLS: usize = 100_000;

/// The fastest peers that expire entries; the fastest of them on a line is the one that counts.
/// The others (moka, mini-moka, stretto) are in the comparison of all (`speed`), far behind.
const EXPIRING: &[Who] = &[Who::QuickCacheDeadline, Who::LruDeadline, Who::TtlCache];
const LRU: &[Who] = &[Who::LruDeadline];
const QUICK: &[Who] = &[Who::QuickCache];
const QUICK_UNSYNC: &[Who] = &[Who::QuickCacheUnsync];
/// The simplest policy.
const FIFO: &[Who] = &[Who::PunctualFifo];
const MAP: &[Who] = &[Who::ShardedMap];
const BARE_MAP: &[Who] = &[Who::BareMap];

/// One comparison of a bar: with the fastest of some, and what it must reach and aims at.
type Measure = (&'static [Who], Limits);

const fn against(others: &'static [Who], must: f64, aim: f64) -> Measure {
    (others, Limits::at_least(Some(must), Some(aim)))
}

const fn must(others: &'static [Who], must: f64) -> Measure {
    (others, Limits::at_least(Some(must), None))
}

const fn aim(others: &'static [Who], aim: f64) -> Measure {
    (others, Limits::at_least(None, Some(aim)))
}

/// Lines of the table that are measured by contests.
struct Bar {
    /// What a filter is compared with.
    name: &'static str,
    own: Who,
    operation: Operation,
    popularities: &'static [Popularity],
    threads: usize,
    entries: usize,
    measures: &'static [Measure],
}

const fn bar(
    name: &'static str,
    own: Who,
    operation: Operation,
    popularities: &'static [Popularity],
    measures: &'static [Measure],
) -> Bar {
    Bar { name, own, operation, popularities, threads: 1, entries: ENTRIES, measures }
}

/// The same cache, called key by key.
const fn batches(
    name: &'static str,
    own: Who,
    operation: Operation,
    popularities: &'static [Popularity],
) -> Bar {
    let measures = const { &[aim(&[Who::Punctual], 2.0)] };
    Bar { entries: BATCHED_ENTRIES, ..bar(name, own, operation, popularities, measures) }
}

const UNIFORM: &[Popularity] = &[Popularity::Uniform];
const ZIPF: &[Popularity] = &[Popularity::Zipf(0.99)];
const BOTH: &[Popularity] = &[Popularity::Uniform, Popularity::Zipf(0.99)];

/// A hit costs no more than with the simplest policy; the rest is noise.
const HIT_1_THREAD: &[Measure] =
    &[against(QUICK, 1.0, 1.3), must(EXPIRING, 3.0), aim(MAP, 0.7), must(FIFO, 0.97)];
const HIT_2_THREADS: &[Measure] = &[against(QUICK, 0.9, 1.1), must(EXPIRING, 3.0)];
/// At most 1.3 times the time of the simplest policy.
const INSERT_FRESH: &[Measure] = &[against(QUICK, 1.3, 2.0), must(FIFO, 1.0 / 1.3)];
const UNSYNC_KEPT_CLOCK_HIT: &[Measure] = &[must(QUICK_UNSYNC, 1.0), aim(BARE_MAP, 0.7)];

const BARS: [Bar; 12] = [
    bar("hit-1-thread", Who::Punctual, Hit, BOTH, HIT_1_THREAD),
    Bar { threads: 2, ..bar("hit-2-threads", Who::Punctual, Hit, BOTH, HIT_2_THREADS) },
    bar("miss", Who::Punctual, Miss, UNIFORM, &[against(QUICK, 1.0, 1.3)]),
    bar("insert-fresh", Who::Punctual, InsertFresh, UNIFORM, INSERT_FRESH),
    bar("overwrite", Who::Punctual, Overwrite, BOTH, &[against(QUICK, 1.3, 2.0)]),
    bar("read-through", Who::Punctual, ReadThrough, ZIPF, &[against(QUICK, 1.0, 1.3)]),
    bar("unsync-hit", Who::Unsync, Hit, BOTH, &[against(QUICK_UNSYNC, 0.5, 0.8), must(LRU, 2.0)]),
    bar("unsync-kept-clock-hit", Who::UnsyncKeptClock, Hit, BOTH, UNSYNC_KEPT_CLOCK_HIT),
    batches("get-many-1000", Who::BatchesOf1000, Hit, BOTH),
    batches("get-many-100", Who::BatchesOf100, Hit, BOTH),
    batches("insert-many-1000", Who::BatchesOf1000, Overwrite, UNIFORM),
    batches("insert-many-100", Who::BatchesOf100, Overwrite, UNIFORM),
];

/// Measures the bars that the filter wants: those in whose name and kind of keys, such as
/// `hit-1-thread u64`, all its words occur. Words are separated by commas or spaces. What the run
/// has measured already is not measured again.
pub(crate) fn run(
    filter: &str,
    wheel: Option<&[TimersResult]>,
    growth: Option<&[Outcome]>,
) -> Targets {
    let words: Vec<&str> = filter.split([',', ' ']).collect();
    let wanted = |name: &str| words.iter().all(|word| name.contains(word));
    let mut targets = Targets { lines: Vec::new(), cores: Vec::new(), outcomes: Vec::new() };
    for bar in &BARS {
        for &popularity in bar.popularities {
            let name = |material: &str| format!("{} {material} {}", bar.name, popularity.name());
            if wanted(&name("u64")) {
                bar.run::<u64>(popularity, &name("u64"), &mut targets);
            }
            if wanted(&name("String")) {
                bar.run::<String>(popularity, &name("String"), &mut targets);
            }
        }
    }
    let lines = &mut targets.lines;
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
        lines.push(growth.map_or_else(|| growth::line(&growth::run_ends()), growth::line));
    }
    targets.cores = cores::bars::run(filter);
    targets
}

impl Bar {
    fn run<M: Material>(&self, popularity: Popularity, name: &str, targets: &mut Targets) {
        let others = self.measures.iter().flat_map(|(others, _)| others.iter().copied());
        let entrants: Vec<Who> = [self.own].into_iter().chain(others).collect();
        let contest = Contest {
            operation: self.operation,
            popularity,
            capacity: self.entries,
            threads: self.threads,
            rounds: ROUNDS,
            calls: CALLS,
        };
        progress::step(&format!("bars: {name}"));
        let outcome = contest.run::<M>(&entrants);
        let lines = self.measures.iter().map(|measure| self.line(measure, name, &outcome));
        targets.lines.extend(lines);
        targets.outcomes.push(outcome);
    }

    fn line(&self, (others, limits): &Measure, name: &str, outcome: &Outcome) -> Target {
        let result = |who: Who| outcome.result(who.name()).expect("it took part");
        let own = result(self.own);
        let others = others.iter().map(|who| result(*who));
        let fastest = others.min_by(|one, other| one.median().total_cmp(&other.median()));
        let peer = fastest.expect("there is one");
        let shown = |timing: &Timing, remark: &str| {
            format!("{:.1} ns ({remark}{:.0} %)", timing.median(), 100.0 * timing.spread())
        };
        let mut details = format!("{} : {}", shown(own, "spread "), shown(peer, ""));
        let is_asked = matches!(self.operation, Hit | ReadThrough);
        if is_asked && own.hit_share.min(peer.hit_share) < 0.9999 {
            details +=
                &format!(", hits {:.2} % : {:.2} %", 100.0 * own.hit_share, 100.0 * peer.hit_share);
        }
        let times_as_fast = peer.median() / own.median();
        let mut target = limits.target(name, &peer.subject, times_as_fast, details);
        // Speed at the cost of the hit ratio does not count. The tenth of a percent is noise.
        if self.operation == ReadThrough && own.hit_share + 0.001 < peer.hit_share {
            target.verdict = "missed, the hit ratio too".to_owned();
        }
        target
    }
}
