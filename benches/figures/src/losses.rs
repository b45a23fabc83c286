//! Where others are ahead, in sentences: what a reader should know first.
//!
//! None where the record lacks the part; empty where nobody is ahead.

use crate::record::{HitRow, Latencies, Outcome, Record, Targets, TimersResult};
use crate::subject::Kind;
use crate::table::grouped;
use crate::tables::{HIT_GROUPS, hit_rows};

/// Sentences, as the module says.
pub(crate) type Losses = Option<Vec<String>>;

/// The sentence about a figure of punctual's and the lower ones of others; none, if it is the lowest.
fn unless_lowest<'a>(
    what: &str,
    own: f64,
    others: impl Iterator<Item = (&'a str, f64)>,
) -> Option<String> {
    let lower = others.filter(|(_, figure)| *figure < own);
    let lower: Vec<String> = lower.map(|(name, figure)| format!("{name} {figure:.2}")).collect();
    (!lower.is_empty()).then(|| format!("{what}: punctual {own:.2}, {}.", lower.join(", ")))
}

pub(crate) fn bars(record: &Record) -> Losses {
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
    let kinds: Vec<String> =
        kinds.iter().map(|(kind, count)| format!("{count} of {kind}")).collect();
    let kinds = kinds.join(", ");
    let sentence = format!("{missed} of {with_must} bars are missed: {kinds}.");
    Some(if missed == 0 { Vec::new() } else { vec![sentence] })
}

/// Who takes fewer bytes at a capacity, and who holds fewer pages.
pub(crate) fn memory(record: &Record) -> Losses {
    let memory = &record.memory.as_ref()?.data;
    let is_other = |name: &str| !record.subjects.is_ours(name);
    let counted = memory.counted.iter().filter(|own| own.subject == "punctual").map(|own| {
        let others = memory.counted.iter().filter(|it| {
            (&it.material, it.capacity) == (&own.material, own.capacity) && is_other(&it.subject)
        });
        let others = others.map(|other| (&*other.subject, other.bytes_each()));
        let what = format!("Bytes an entry of {} at {}", own.material, grouped(own.capacity));
        unless_lowest(&what, own.bytes_each(), others)
    });
    let stages = ["empty", "a tenth full", "full"].into_iter().enumerate();
    let resident = stages.map(|(number, stage)| {
        let mib = |stages: [u64; 3]| stages[number] as f64 / f64::from(1 << 20);
        let own = memory.resident.iter().find(|result| result.subject == "punctual")?;
        let others = memory.resident.iter().filter(|other| is_other(&other.subject));
        let others = others.map(|other| (&*other.subject, mib(other.bytes)));
        let capacity = grouped(own.capacity);
        let what = format!("Resident MiB, with room for {capacity} entries and {stage}");
        unless_lowest(&what, mib(own.bytes), others)
    });
    Some(counted.chain(resident).flatten().collect())
}

pub(crate) fn promptness(record: &Record) -> Losses {
    let caches = &record.promptness.as_ref()?.data;
    let percent = |share: f64| (1_000.0 * share).round() / 10.0;
    let mut losses = Vec::new();
    for own in caches.iter().filter(|cache| record.subjects.is_ours(&cache.subject)) {
        let meanwhile = if own.loaded { "others ask for other keys" } else { "nobody calls" };
        let last = own.held.last().map_or(0.0, |(_, share)| percent(*share));
        if own.subject != "punctual" {
            let sentence = format!(
                "`unsync::Cache` has no thread: while {meanwhile}, it holds {last:.1} % of the \
                 expired entries at the end."
            );
            losses.extend((last > 0.0).then_some(sentence));
            continue;
        }
        for (look, (ms, share)) in own.held.iter().enumerate() {
            let others = caches.iter().filter(|other| {
                other.loaded == own.loaded && !record.subjects.is_ours(&other.subject)
            });
            let others =
                others.filter_map(|it| Some((&*it.subject, percent(it.held.get(look)?.1))));
            let what = format!("% of expired entries held after {ms} ms while {meanwhile}");
            losses.extend(unless_lowest(&what, percent(*share), others));
        }
    }
    Some(losses)
}

/// Lines on which the fastest peer is faster, the furthest behind first.
pub(crate) fn speed(record: &Record) -> Losses {
    let outcomes = &record.speed.as_ref()?.data;
    let own = |outcome: &Outcome| Some(outcome.result("punctual")?.median());
    let lines = outcomes.iter().filter_map(|outcome| Some((outcome, own(outcome)?)));
    let of = |(only_expiring, who): (bool, &str)| {
        let ratio = |(outcome, own): (&Outcome, f64)| {
            let best = outcome.best_peer(&record.subjects, only_expiring)?;
            Some((best.median() / own, best.subject.clone(), outcome.name()))
        };
        let behind: Vec<_> =
            lines.clone().filter_map(ratio).filter(|(ratio, ..)| *ratio < 1.0).collect();
        let worst = behind.iter().min_by(|one, other| one.0.total_cmp(&other.0));
        let (ratio, subject, line) = worst?;
        Some(format!(
            "On {} of {} lines {who} is faster. Furthest behind: {ratio:.2} times as fast as \
             {subject} ({line}).",
            behind.len(),
            lines.clone().count(),
        ))
    };
    let whos = [(true, "the fastest peer that expires entries"), (false, "the fastest peer")];
    Some(whos.into_iter().filter_map(of).collect())
}

pub(crate) fn storm(record: &Record) -> Losses {
    let storm = &record.storm.as_ref()?.data;
    let of = |(when, latencies): (&str, &[Latencies])| {
        let own = latencies.iter().find(|each| each.subject == "punctual")?;
        let figures = Latencies::NAMES.iter().enumerate().filter_map(|(number, name)| {
            let micros = |each: &Latencies| each.nanos[number] as f64 / 1e3;
            let others = latencies.iter().filter(|other| {
                let kind = record.subjects.kind(&other.subject);
                kind.is_some_and(|kind| !kind.is_ours() && kind != Kind::Noise)
            });
            let others = others.map(|other| (&*other.subject, micros(other)));
            unless_lowest(&format!("{when}, {name} (µs)"), micros(own), others)
        });
        Some(figures.collect::<Vec<_>>())
    };
    let storms: [(&str, &[Latencies]); 2] =
        [("In the storm", &storm.due_together), ("After the idle days", &storm.after_days)];
    Some(storms.into_iter().filter_map(of).flatten().collect())
}

pub(crate) fn hit(record: &Record) -> Losses {
    let rows = &record.hit.as_ref()?.data.bytes;
    let behind = rows.iter().filter(|row| row.ahead() < 0.0).count();
    let count = rows.len();
    let of_bytes = (behind > 0).then(|| {
        format!("At the same number of bytes, a peer is ahead on {behind} of {count} rows.")
    });
    let of_entries = HIT_GROUPS.into_iter().filter_map(|(group, of)| hit_group(record, group, of));
    Some(of_entries.chain(of_bytes).collect())
}

/// How often others are ahead on the traces of a group, and where most.
pub(crate) fn hit_group(record: &Record, group: &str, of: &str) -> Option<String> {
    let rows = hit_rows(&record.hit.as_ref()?.data, group);
    let regret = |(trace, row): &(&str, &HitRow)| {
        let best = row.best_other(&record.subjects)?;
        let regret = 100.0 * (best.ratio - row.ratio("punctual")?);
        let at = grouped(row.capacity);
        let place = format!("{trace} at {at} entries, {regret:.2} points behind {}", best.subject);
        Some((regret, place))
    };
    let regrets: Vec<(f64, String)> = rows.iter().filter_map(regret).collect();
    let behind = regrets.iter().filter(|(regret, _)| *regret > 0.0).count();
    let by_little = regrets.iter().filter(|(regret, _)| *regret > 0.0 && *regret < 1.0).count();
    let (_, at) = regrets.iter().max_by(|one, other| one.0.total_cmp(&other.0))?;
    (behind > 0).then(|| {
        format!(
            "On {behind} of the {} rows of {of} some other cache or textbook policy is ahead, on \
             {by_little} of them by less than a point. Furthest behind: {at}.",
            regrets.len()
        )
    })
}

pub(crate) fn growth(record: &Record) -> Losses {
    let outcomes = &record.growth.as_ref()?.data;
    let of = |operation: &str| {
        let mut sizes = outcomes.iter().filter(|outcome| outcome.operation == operation);
        let first = sizes.clone().find(|outcome| outcome.capacity == 10_000)?;
        let last = sizes.next_back()?;
        let times =
            |subject: &str| Some(last.result(subject)?.median() / first.result(subject)?.median());
        let others = last.results.iter().filter(|result| result.subject != "punctual");
        let others = others.filter_map(|other| Some((&*other.subject, times(&other.subject)?)));
        let [from, to] = [first, last].map(|outcome| grouped(outcome.capacity));
        let what = format!("Times as long a call ({operation}) at {to} entries as at {from}");
        unless_lowest(&what, times("punctual")?, others)
    };
    Some(["hit", "overwrite"].into_iter().filter_map(of).collect())
}

pub(crate) fn wheel(record: &Record) -> Losses {
    let (own, others) = record.wheel.as_ref()?.data.split_first()?;
    let of = |(number, nanos): (usize, f64)| {
        let others = others.iter().map(|other| (&*other.subject, other.medians()[number]));
        let phase = TimersResult::PHASES[number];
        unless_lowest(&format!("Nanoseconds to {phase}"), nanos, others)
    };
    Some(own.medians().into_iter().enumerate().filter_map(of).collect())
}
