//! Where others are ahead, in sentences: what a reader should know first.

use crate::record::{
    BarLine, Bars, Growth, Hit, Latencies, Memory, Outcome, Promptness, Speed, Storm, Wheel,
};
use crate::table::grouped;

pub fn bars(bars: &Bars) -> Vec<String> {
    let missed: Vec<&BarLine> = bars.lines.iter().filter(|line| line.is_missed()).collect();
    if missed.is_empty() {
        return Vec::new();
    }
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    for line in &missed {
        let kind = line.bar.split([' ', ',']).next().unwrap_or(&line.bar);
        match kinds.iter_mut().find(|(name, _)| *name == kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let kinds: Vec<String> =
        kinds.iter().map(|(kind, count)| format!("{count} of {kind}")).collect();
    let with_must = bars.lines.iter().filter(|line| !line.must.is_empty()).count();
    let kinds = kinds.join(", ");
    vec![format!("{} of {with_must} bars are missed: {kinds}.", missed.len())]
}

/// Who takes fewer bytes at a capacity, and who holds fewer pages.
pub fn memory(memory: &Memory) -> Vec<String> {
    let mut losses = Vec::new();
    for own in memory.counted.iter().filter(|result| result.subject == "punctual") {
        let others = memory.counted.iter().filter(|other| {
            (&other.material, other.capacity) == (&own.material, own.capacity)
                && !other.subject.starts_with("punctual")
                && other.bytes < own.bytes
        });
        for other in others {
            let each = |bytes: usize| bytes as f64 / own.capacity as f64;
            losses.push(format!(
                "{} takes {:.1} bytes an entry of {} at {} entries, punctual {:.1}.",
                other.subject,
                each(other.bytes),
                own.material,
                grouped(own.capacity),
                each(own.bytes)
            ));
        }
    }
    let own = memory.resident.iter().find(|result| result.subject == "punctual");
    let others = || memory.resident.iter().filter(|other| !other.subject.starts_with("punctual"));
    if let Some(own) = own {
        for (stage, bytes) in [
            ("empty", own.bytes_empty),
            ("a tenth full", own.bytes_tenth),
            ("full", own.bytes_full),
        ] {
            let of = |other: &crate::record::ResidentMemory| match stage {
                "empty" => other.bytes_empty,
                "full" => other.bytes_full,
                _ => other.bytes_tenth,
            };
            let ahead: Vec<String> = others()
                .filter(|other| of(other) < bytes)
                .map(|other| format!("{} {:.1}", other.subject, mib(of(other))))
                .collect();
            if !ahead.is_empty() {
                losses.push(format!(
                    "With room for {} entries and {stage}, punctual has {:.1} MiB resident; fewer \
                     have {}.",
                    grouped(own.capacity),
                    mib(bytes),
                    ahead.join(", ")
                ));
            }
        }
    }
    losses
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

pub fn promptness(promptness: &Promptness) -> Vec<String> {
    let mut losses = Vec::new();
    for own in promptness.caches.iter().filter(|cache| cache.subject == "punctual") {
        let meanwhile = if own.loaded { "under load" } else { "idle" };
        let others = || {
            let all = promptness.caches.iter().filter(|other| other.loaded == own.loaded);
            all.filter(|other| !other.subject.starts_with("punctual"))
        };
        for (look, (ms, share)) in own.held.iter().enumerate() {
            for other in others() {
                let theirs = other.held.get(look).map_or(1.0, |(_, share)| *share);
                if theirs + 0.0005 < *share {
                    losses.push(format!(
                        "{ms} ms after the last deadline, {meanwhile}, {} holds {:.1} % of the \
                         dead, punctual {:.1} %.",
                        other.subject,
                        100.0 * theirs,
                        100.0 * share
                    ));
                }
            }
        }
    }
    let unsync = promptness.caches.iter().filter(|cache| cache.subject == "punctual unsync");
    for own in unsync {
        let last = own.held.last().map_or(0.0, |(_, share)| *share);
        if last > 0.0005 {
            let meanwhile = if own.loaded { "others ask for other keys" } else { "nobody calls" };
            losses.push(format!(
                "`unsync::Cache` has no thread: while {meanwhile}, it holds {:.1} % of the dead at \
                 the end.",
                100.0 * last
            ));
        }
    }
    losses
}

/// Lines on which the fastest peer is faster, the furthest behind first.
pub fn speed(speed: &Speed) -> Vec<String> {
    let behind = |only_expiring: bool| {
        let mut behind: Vec<(f64, String, &Outcome)> = Vec::new();
        for outcome in &speed.outcomes {
            let own = outcome.result("punctual");
            if let Some((own, best)) = own.zip(outcome.best_peer(only_expiring)) {
                let ratio = best.median() / own.median();
                if ratio < 1.0 {
                    behind.push((ratio, best.subject.clone(), outcome));
                }
            }
        }
        behind.sort_by(|one, other| one.0.total_cmp(&other.0));
        behind
    };
    let all = speed.outcomes.iter().filter(|outcome| outcome.result("punctual").is_some()).count();
    let mut losses = Vec::new();
    for (only_expiring, who) in
        [(true, "the fastest peer that expires entries"), (false, "the fastest peer")]
    {
        let behind = behind(only_expiring);
        if let Some((ratio, subject, outcome)) = behind.first() {
            losses.push(format!(
                "On {} of {all} lines {who} is faster. Furthest behind: {:.2} times as fast as \
                 {subject} ({}).",
                behind.len(),
                ratio,
                outcome.name()
            ));
        }
    }
    losses
}

pub fn storm(storm: &Storm) -> Vec<String> {
    let mut losses = Vec::new();
    for (when, latencies) in
        [("In the storm", &storm.due_together), ("After the idle days", &storm.after_days)]
    {
        let Some(own) = latencies.iter().find(|each| each.subject == "punctual") else { continue };
        type Of = fn(&Latencies) -> u64;
        const FIGURES: [(&str, Of); 5] = [
            ("median", |each| each.p50_nanos),
            ("p99", |each| each.p99_nanos),
            ("p99.9", |each| each.p999_nanos),
            ("p99.99", |each| each.p9999_nanos),
            ("longest call", |each| each.max_nanos),
        ];
        for (name, of) in FIGURES {
            let ahead: Vec<String> = latencies
                .iter()
                .filter(|other| {
                    !other.subject.starts_with("punctual") && other.subject != "no cache"
                })
                .filter(|other| of(other) < of(own))
                .map(|other| format!("{} {:.2}", other.subject, of(other) as f64 / 1e3))
                .collect();
            if !ahead.is_empty() {
                losses.push(format!(
                    "{when}, the {name} is {:.2} µs; shorter with {}.",
                    of(own) as f64 / 1e3,
                    ahead.join(", ")
                ));
            }
        }
    }
    losses
}

pub fn hit(hit: &Hit) -> Vec<String> {
    let mut losses = Vec::new();
    for (group, of) in
        [("real/", "real traces"), ("generated/", "generated traces"), ("ttl/", "traces with TTLs")]
    {
        losses.extend(hit_group(hit, group, of));
    }
    let count = hit.bytes.len();
    let behind = hit.bytes.iter().filter(|row| {
        let own = row.ratios.iter().find(|ratio| ratio.subject == "punctual");
        let own = own.map_or(0.0, |own| own.ratio);
        row.ratios.iter().any(|ratio| ratio.ratio > own)
    });
    let behind = behind.count();
    if behind > 0 {
        losses.push(format!(
            "At the same number of bytes, a peer is ahead on {behind} of {count} rows."
        ));
    }
    losses
}

/// How often others are ahead on the traces of a group, and where most.
pub fn hit_group(hit: &Hit, group: &str, of: &str) -> Option<String> {
    let rows = crate::tables::hit_rows(hit, group);
    let regrets: Vec<(f64, String)> = rows
        .filter_map(|(trace, row)| {
            let best = row.best_other()?;
            let regret = 100.0 * (best.ratio - row.own()?);
            let at = grouped(row.capacity);
            Some((
                regret,
                format!("{trace} at {at} entries, {regret:.2} points behind {}", best.subject),
            ))
        })
        .collect();
    let behind = regrets.iter().filter(|(regret, _)| *regret > 0.0).count();
    let by_little = regrets.iter().filter(|(regret, _)| *regret > 0.0 && *regret < 1.0).count();
    let (worst, at) = regrets.iter().max_by(|one, other| one.0.total_cmp(&other.0))?;
    (*worst > 0.0).then(|| {
        format!(
            "On {behind} of the {} rows of {of} some other cache or textbook policy is ahead, on \
             {by_little} of them by less than a point. Furthest behind: {at}.",
            regrets.len()
        )
    })
}

pub fn growth(growth: &Growth) -> Vec<String> {
    let mut losses = Vec::new();
    for operation in ["hit", "overwrite"] {
        let outcomes: Vec<&Outcome> =
            growth.outcomes.iter().filter(|outcome| outcome.operation == operation).collect();
        let (Some(first), Some(last)) =
            (outcomes.iter().find(|outcome| outcome.capacity == 10_000), outcomes.last())
        else {
            continue;
        };
        let times =
            |subject: &str| Some(last.result(subject)?.median() / first.result(subject)?.median());
        let Some(own) = times("punctual") else { continue };
        let less: Vec<String> = last
            .results
            .iter()
            .filter(|result| result.subject != "punctual")
            .filter_map(|result| Some((&result.subject, times(&result.subject)?)))
            .filter(|(_, times)| *times < own)
            .map(|(subject, times)| format!("{subject} {times:.1}"))
            .collect();
        if !less.is_empty() {
            losses.push(format!(
                "From {} to {} entries, the time of a call ({operation}) grows {own:.1} times; less \
                 with {}.",
                grouped(first.capacity),
                grouped(last.capacity),
                less.join(", ")
            ));
        }
    }
    losses
}

pub fn wheel(wheel: &Wheel) -> Vec<String> {
    let mut losses = Vec::new();
    let Some(own) = wheel.timers.first() else { return losses };
    for other in &wheel.timers[1..] {
        for ((phase, ours), (_, theirs)) in own.medians().into_iter().zip(other.medians()) {
            if theirs < ours {
                losses.push(format!(
                    "{phase}: {} takes {theirs:.1} ns, the wheel {ours:.1}.",
                    other.subject
                ));
            }
        }
    }
    losses
}
