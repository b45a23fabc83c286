//! Does it reach its own bars? Of all that is measured beside what it must reach.

use super::section::{Figures, Losses, Section, table};
use crate::record::{BarLine, Record, Target, Targets, quantile};
use crate::table::Table;

/// A section of nothing but bars, one a line: of a part of the record that is a list of them.
macro_rules! of_lines {
    ($part:ident, $title:literal, $question:literal, $table:literal, $method:literal) => {
        Section {
            name: stringify!($part),
            title: $title,
            question: $question,
            method: $method,
            losses: Some(|record| missed(&record.$part.as_ref()?.data)),
            pictures: |_| None,
            figures: |record| Some(medians(&record.$part.as_ref()?.data)),
            tables: &[table(stringify!($part), $table, |record| {
                lines(&record.$part.as_ref()?.data)
            })],
        }
    };
}

pub(super) const SECTION: Section = Section {
    name: "bars",
    title: "Its own bars",
    question: "Does it reach its own bars?",
    method: "\
            Half a million entries, a TTL on each. Measured is how many times as fast punctual is \
            as the other, unless a unit stands there: ratios of medians of interleaved rounds. Of \
            cores: beside what stands after the colon, by calls a second or by p99.9 (more is \
            better); *before* is the version whose folder `PUNCTUAL_BEFORE` names, and of its runs \
            and this one's the best counts.",
    losses: Some(losses),
    pictures: |_| None,
    figures,
    tables: &[
        table("bars", "Bars: must, aim, measured", of_targets),
        table("bars-cores", "Bars of cores: must, aim, measured", of_cores),
    ],
};

/// Does loading reach its bars?
pub(super) const LOADS: Section = of_lines!(
    loads,
    "Loading",
    "Does loading reach its bars?",
    "Bars of loading: must, aim, measured",
    "\
            A load takes 50 ms; all callers begin at once. Counts and shares are the worst of five \
            runs, times their median; what stands beside them (callers that waited, writes a \
            second, hits) is the least of the runs. A hit is timed in interleaved rounds, in \
            brackets the medians of both. Bytes are what the builder or the allocator says."
);

/// Is it on time where threads starve, and with many caches and small ones?
pub(super) const PRESSURE: Section = of_lines!(
    pressure,
    "Under pressure",
    "Is it on time where threads starve, and with many caches and small ones?",
    "Bars under pressure: must, aim, measured",
    "\
            *Starved*: twice eight threads look up keys that expire all the time; how long after \
            its TTL a value was returned at most, by a clock read before the call. *Stopped*: a \
            child process is stopped for 3 s while four threads look up what expires meanwhile; \
            the most late returns of one thread, over all rounds. *Idle*: processor time of the \
            whole process. *In use*: the time of the calls, and the processor time of the reaper. A \
            hit is compared with one of the version whose folder `PUNCTUAL_BEFORE` names, run by \
            run; the best run of each counts. Bytes are what the builder says."
);

/// What do counters, idle time, weights and jitter cost, and do they hold?
pub(super) const RULES: Section = of_lines!(
    rules,
    "Rules",
    "What do counters, idle time, weights and jitter cost, and do they hold?",
    "Bars of rules: must, aim, measured",
    "\
            *Counters* and *renewal*: one thread, `u64` to `u64`, a TTL on each entry, which does \
            not end meanwhile; interleaved rounds, ratios of medians, of five runs with caches \
            built afresh the median, in brackets the worst and the medians of both. What the \
            reaper does with postponed ends is not in it. *Weights*: sizes log-uniform by key, \
            keys by Zipf 0.99 of twenty times as many as fit of mean size, at most 64 MiB. Heap is \
            what the allocator counts, tables included, the most after any call of three runs; \
            the weight is the value's capacity, the cache's `capacity` twice as many as fit. Hit \
            ratios are medians of nine runs, the same keys for all; `capacity`, and quick_cache's \
            estimate, is as many as fit; moka's housekeeping runs every 32 requests. *Jitter*: a \
            `ManualClock`, all due entries freed after each step."
);

/// Do the caches of bytes reach their bars?
pub(super) const BYTES: Section = of_lines!(
    bytes,
    "Caches of bytes",
    "Do the caches of bytes reach their bars?",
    "Bars of bytes: must, aim, measured",
    "\
            *Beside*, *used* and *pairs*: of a full cache of 64 MiB, tables included, after four \
            times as many entries as fit. *Hits* and *policies*: read-through in simulated time, a \
            `ManualClock` that each insertion sets forward; means, popularity, writes and TTLs of \
            the production clusters, values lognormal with sigma 1 (cluster 27: 0.5), four keys \
            for each entry that fits, three times as many insertions within the median TTL as fit \
            (cluster 27: ten), 40 % of the requests to warm up; a budget of 8 to 64 MiB. Peers keep \
            boxes with their deadlines; what is past one is a miss, and removed. Their greatest \
            weight is scaled until the blocks that glibc makes of their requests take the budget: \
            what they took in the mean stands beside them. *Moved* and *evicted*: the same loads. \
            *Speed*: keys of 20 B, a TTL on each entry of ours; interleaved rounds, medians of \
            processor time, ratios; 64 MiB of ours, and as many entries of the peers; `get` copies \
            into a buffer where the others clone boxes, `read` looks at one byte where it lies, \
            in foyer, too. *Waits*: one shard of 4 MiB, a thread that looks keys up meanwhile, by \
            the wall clock; only insertions that take less than twice their processor time."
);

fn of_targets(record: &Record) -> Option<Table> {
    targets(&record.bars.as_ref()?.data.lines)
}

fn of_cores(record: &Record) -> Option<Table> {
    lines(&record.bars.as_ref()?.data.cores)
}

pub(super) fn targets(lines: &[Target]) -> Option<Table> {
    let rows = lines.iter().map(|line| {
        let Target { bar, against, must, aim, measured, verdict, details } = line;
        [bar, against, must, aim, measured, verdict, details]
    });
    Table::new("bar | against | must | aim | measured | | figures").with(rows)
}

fn lines(lines: &[BarLine]) -> Option<Table> {
    let rows = lines.iter().map(|line| {
        let verdict = line.is_met.map_or("", |is_met| if is_met { "met" } else { "missed" });
        [&line.bar, &line.must, &line.aim, &line.measured, verdict]
    });
    Table::new("bar | must | aim | measured | verdict").with(rows)
}

pub(crate) fn losses(record: &Record) -> Losses {
    let Targets { lines, cores, .. } = &record.bars.as_ref()?.data;
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    let missed = lines.iter().filter(|line| line.is_missed()).map(|line| &line.bar);
    let of_cores = cores.iter().filter(|line| line.is_met == Some(false)).map(|line| &line.bar);
    for bar in missed.chain(of_cores) {
        let kind = bar.split([' ', ',']).next().unwrap_or(bar);
        match kinds.iter_mut().find(|(name, _)| *name == kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let missed: usize = kinds.iter().map(|(_, count)| count).sum();
    // Those of cores that were measured.
    let with_must = lines.iter().filter(|line| !line.must.is_empty()).count()
        + cores.iter().filter(|line| line.is_met.is_some()).count();
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let kinds = kinds.join(", ");
    let sentence = format!("{missed} of {with_must} bars are missed: {kinds}.");
    Some(if missed == 0 { Vec::new() } else { vec![sentence] })
}

/// Of bars that were measured, those that are not reached.
fn missed(lines: &[BarLine]) -> Losses {
    let measured = lines.iter().filter(|line| line.is_met.is_some()).count();
    let missed: Vec<String> = lines
        .iter()
        .filter(|line| line.is_met == Some(false))
        .map(|BarLine { bar, must, measured, .. }| {
            let figure = measured.split(" (").next().unwrap_or(measured);
            format!("{bar} (must {must}, is {figure})")
        })
        .collect();
    let sentence =
        format!("{} of {measured} bars are missed: {}.", missed.len(), missed.join("; "));
    Some(if missed.is_empty() { Vec::new() } else { vec![sentence] })
}

/// Ratios, and how many bars are missed.
fn figures(record: &Record) -> Figures {
    let Targets { lines, cores, .. } = &record.bars.as_ref()?.data;
    let missed = lines.iter().filter(|line| line.is_missed()).count()
        + cores.iter().filter(|line| line.is_met == Some(false)).count();
    let measured = lines.iter().filter_map(|line| {
        let figure = line.measured.split(' ').next()?.parse().ok()?;
        let against = if line.against.is_empty() { "" } else { ": " };
        Some((format!("{}{against}{}", line.bar, line.against), figure))
    });
    let missed = ("bars missed".to_owned(), missed as f64);
    Some(measured.chain(medians(cores)).chain([missed]).collect())
}

/// The median of each bar that has figures.
fn medians(lines: &[BarLine]) -> Vec<(String, f64)> {
    let measured = lines.iter().filter(|line| !line.figures.is_empty());
    measured.map(|line| (line.bar.clone(), quantile(&line.figures, 0.5))).collect()
}
