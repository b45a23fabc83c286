//! The bars of cores: beside quick_cache without expiry in the same run, and beside the version
//! before, if there is one.

use punctual::Cache;
use punctual_figures::grouped;
use punctual_figures::record::{BarLine, LoadOnCores, Throughput, quantile};

use super::load::{ALL, HITS, Load, MIX_95, MIX_99, OVERWRITE, READ_THROUGH};
use super::{processors, run_all};
use crate::bar::{BYTES, Bar, COUNT, Limit, Measure, RATIO, measure};
use crate::progress;
use crate::speed::contest::{Contest, Operation};
use crate::speed::keys::Popularity;
use crate::subjects::registry::Who;
use crate::versions::{BEFORE, Versions};

const MEASURES: [(&str, Measure); 5] = [
    ("cores-16-threads", sixteen_threads),
    ("cores-1-thread", one_thread),
    ("cores-8-threads", eight_threads),
    ("cores-writes", writes),
    ("cores-bytes", bytes),
];

/// Measures the bars that the filter picks.
pub(crate) fn run(filter: &str) -> Vec<BarLine> {
    measure("bars", &MEASURES, filter)
}

/// On that many processors the bars of many cores are measured.
const PROCESSORS: usize = 16;
const THREADS: [usize; 5] = [1, 2, 4, 8, PROCESSORS];
const BESIDE: [Who; 2] = [Who::Punctual, Who::QuickCache];
const ROUNDS: usize = 7;
/// Of each version's program.
const RUNS: usize = 5;

/// Why some lines are not measured here, if so.
fn why_not() -> Option<String> {
    let processors = processors();
    (processors < PROCESSORS).then(|| format!("{processors} processors"))
}

/// With as many threads as processors, what each load must reach and aims at; and which loads gain
/// nothing by threads.
fn sixteen_threads() -> Vec<BarLine> {
    let bars: [(Load, f64, f64); 8] = [
        (HITS[0], 1.0, 2.5),
        (HITS[1], 1.0, 2.5),
        (HITS[2], 1.0, 8.0),
        (HITS[3], 1.0, 40.0),
        (MIX_99, 0.9, 1.5),
        (MIX_95, 0.9, 1.5),
        (OVERWRITE, 1.5, 2.5),
        (READ_THROUGH, 0.8, 1.2),
    ];
    let bar = |(load, must, aim): &(Load, f64, f64)| {
        let name = format!("cores, {PROCESSORS} threads, {}: quick_cache", load.name);
        Bar::new(name, RATIO, Limit::at_least(*must)).aim(Limit::at_least(*aim))
    };
    let name = format!("cores, loads that fall up to {PROCESSORS} threads, one key aside");
    let falling = Bar::new(name, COUNT, Limit::exactly(0.0));
    let name = format!("cores, loads that fall up to {PROCESSORS} threads");
    let falling_at_all = Bar::aiming(name, COUNT, Limit::exactly(0.0));
    if let Some(why) = why_not() {
        let lines = bars.iter().map(|it| bar(it).not_measured(&why));
        return lines.chain([falling, falling_at_all].map(|it| it.not_measured(&why))).collect();
    }
    let loads = bars.map(|(load, ..)| load);
    let outcomes = run_all(&loads, &THREADS, &BESIDE, ROUNDS);
    let lines = bars.iter().zip(&outcomes).map(|(it, outcome)| beside(bar(it), outcome, most));
    let mut lines: Vec<BarLine> = lines.collect();
    let fall = outcomes.iter().filter(|outcome| falls(of(outcome, Who::Punctual)));
    let fall: Vec<&str> = fall.map(|outcome| &*outcome.load).collect();
    let but_one_key = fall.iter().filter(|load| **load != HITS[3].name).count();
    lines.push(falling.once(but_one_key as f64, &fall.join("; ")));
    lines.push(falling_at_all.once(fall.len() as f64, &fall.join("; ")));
    lines
}

/// Whether most threads do less than fewer do. A twentieth is noise.
fn falls(throughput: &Throughput) -> bool {
    let medians = throughput.medians();
    most(throughput) < 0.95 * medians.iter().copied().fold(0.0, f64::max)
}

fn of(outcome: &LoadOnCores, who: Who) -> &Throughput {
    outcome.result(who.name()).expect("it took part")
}

/// What most threads get done.
fn most(throughput: &Throughput) -> f64 {
    throughput.medians().last().copied().expect("there are threads")
}

/// How many times as good as quick_cache, where more of the figure is better.
fn beside(bar: Bar, outcome: &LoadOnCores, figure: impl Fn(&Throughput) -> f64) -> BarLine {
    let [own, quick] = BESIDE.map(|who| figure(of(outcome, who)));
    bar.once(own / quick, &format!("{own:.3} : {quick:.3}"))
}

/// Calls in a microsecond, at the pace of those that take longest.
fn pace_of_slowest(throughput: &Throughput) -> f64 {
    throughput.p999_micros().recip()
}

fn one_thread() -> Vec<BarLine> {
    let versions = versions();
    let outcomes = run_all(&HITS, &[1], &BESIDE, ROUNDS);
    let lines = HITS.iter().zip(&outcomes).flat_map(|(load, outcome)| {
        let name = |other: &str| format!("cores, 1 thread, {}: {other}", load.name);
        let before =
            Bar::new(name("before"), RATIO, Limit::at_least(1.0)).aim(Limit::at_least(1.2));
        let quick = Bar::aiming(name("quick_cache"), RATIO, Limit::at_least(1.3));
        [
            beside_before(before, versions.as_ref(), [load.word, "1", "throughput"]),
            beside(quick, outcome, most),
        ]
    });
    lines.collect()
}

/// More threads than two processors, or as many as eight have.
fn eight_threads() -> Vec<BarLine> {
    let versions = versions();
    let outcomes = run_all(&ALL, &[8], &BESIDE, ROUNDS);
    let lines = ALL.iter().zip(&outcomes).flat_map(|(load, outcome)| {
        let must = if HITS.iter().any(|hit| hit.name == load.name) { 1.0 } else { 0.9 };
        let name = |figure: &str, other: &str| {
            let processors = processors();
            format!("cores, 8 threads on {processors}, {}, {figure}: {other}", load.name)
        };
        let bars = |figure: &str| {
            [
                Bar::new(name(figure, "before"), RATIO, Limit::at_least(must)),
                Bar::aiming(name(figure, "quick_cache"), RATIO, Limit::at_least(1.0)),
            ]
        };
        let [[calls_before, calls_quick], [p999_before, p999_quick]] =
            [bars("calls"), bars("p99.9")];
        [
            beside_before(calls_before, versions.as_ref(), [load.word, "8", "throughput"]),
            beside(calls_quick, outcome, most),
            beside_before(p999_before, versions.as_ref(), [load.word, "8", "p99.9"]),
            beside(p999_quick, outcome, pace_of_slowest),
        ]
    });
    lines.collect()
}

/// Calls that write, of one thread.
fn writes() -> Vec<BarLine> {
    let zipf = Popularity::Zipf(0.99);
    let operations = [
        ("insert-fresh", Operation::InsertFresh, Popularity::Uniform, OVERWRITE.capacity),
        (OVERWRITE.word, Operation::Overwrite, zipf, OVERWRITE.capacity),
        (READ_THROUGH.word, Operation::ReadThrough, zipf, READ_THROUGH.capacity),
        ("remove", Operation::Remove, Popularity::Uniform, OVERWRITE.capacity),
    ];
    let versions = versions();
    let lines = operations.into_iter().flat_map(|(word, operation, popularity, capacity)| {
        let contest =
            Contest { operation, popularity, capacity, threads: 1, rounds: ROUNDS, calls: 100_000 };
        let outcome = contest.run::<u64>(&[Who::Punctual, Who::QuickCache, Who::Scc]);
        let name = |other: &str| format!("cores, 1 thread, {}: {other}", operation.name());
        let of = |who: Who, aim: f64| {
            let nanos = |who: Who| outcome.result(who.name()).expect("it took part").median();
            let (own, other) = (nanos(Who::Punctual), nanos(who));
            let bar = Bar::aiming(name(who.name()), RATIO, Limit::at_least(aim));
            bar.once(other / own, &format!("{own:.1} : {other:.1} ns"))
        };
        let before = Bar::new(name("before"), RATIO, Limit::at_least(1.15));
        [
            beside_before(before, versions.as_ref(), [word, "1", "throughput"]),
            of(Who::QuickCache, 1.0),
            of(Who::Scc, 0.6),
        ]
    });
    lines.collect()
}

fn versions() -> Option<Versions> {
    let program = concat!(
        include_str!("../versions/cores.rs"),
        "\nmod zipf {\n",
        include_str!("../zipf.rs"),
        "}\n"
    );
    Versions::build("cores", program)
}

/// How many times as good as the version before. Where the memory lies makes for much of a
/// difference: the best run of each counts.
fn beside_before(bar: Bar, versions: Option<&Versions>, arguments: [&str; 3]) -> BarLine {
    let Some(versions) = versions else {
        return bar.not_measured(&format!("{BEFORE} does not name a folder of the crate"));
    };
    progress::step(&format!("bars: before and now: {}", arguments.join(" ")));
    let runs = versions.interleaved(RUNS, &arguments);
    let is_time = arguments[2] == "p99.9";
    let best = |side: usize| {
        let figures: Vec<f64> = runs.iter().map(|run| run[side]).collect();
        quantile(&figures, if is_time { 0.0 } else { 1.0 })
    };
    let [before, now] = [0, 1].map(best);
    let ratio = if is_time { before / now } else { now / before };
    bar.once(ratio, &format!("{now:.2} : {before:.2}"))
}

/// Bytes an entry, where there are sixteen processors.
fn bytes() -> Vec<BarLine> {
    let bars = [(10_000, 64.0, 56.0), (50_000, 56.0, 50.0), (500_000, 48.0, 46.0)];
    let lines = bars.map(|(capacity, must, aim)| {
        let capacity_shown = grouped(capacity);
        let name = format!("cores, bytes an entry on {PROCESSORS} processors, {capacity_shown}");
        let bar = Bar::new(name, BYTES, Limit::at_most(must)).aim(Limit::at_most(aim));
        let builder = Cache::<u64, u64>::builder().capacity(capacity).processors(PROCESSORS);
        let footprint = builder.footprint().expect("the capacity is possible");
        bar.once(footprint.total() as f64 / capacity as f64, "")
    });
    lines.into()
}
