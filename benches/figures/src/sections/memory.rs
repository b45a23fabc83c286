//! How much memory?

use super::section::{Figures, Losses, Pictures, Section, table};
use super::words::{names, of_others, unless_lowest};
use crate::palette::Style;
use crate::picture::{Axis, Bar, BarCell, Body, CurvesOfEach, Line, Picture};
use crate::record::{CountedMemory, Record, quantile};
use crate::table::{Table, grouped};

pub(super) const SECTION: Section = Section {
    name: "memory",
    title: "Memory",
    question: "How much memory?",
    method: "\
            Bytes that a full cache has asked the allocator for, its contents included; pages that \
            the kernel holds for a process with one cache.",
    losses: Some(losses),
    pictures,
    figures,
    tables: &[
        table("memory", "Bytes an entry", all),
        table("said", "Bytes, said beforehand and counted", said),
        table("cost", "Of what `unsync::Cache` consists, bytes an entry", cost),
        table("resident", "Resident memory", resident),
    ],
};

fn all(record: &Record) -> Option<Table> {
    memory_of(record, &["u64", "String"])
}

pub(crate) fn of_u64(record: &Record) -> Option<Table> {
    memory_of(record, &["u64"])
}

/// Bytes an entry at the best and the worst capacity, and allocations.
fn memory_of(record: &Record, materials: &[&str]) -> Option<Table> {
    let counted = &record.memory.as_ref()?.data.counted;
    let mut table = Table::new(
        "cache | entries of | bytes an entry, least | most | at entries | allocations an insert",
    );
    for &material in materials {
        let all = || counted.iter().filter(|result| result.material == material);
        for name in names(all().map(|result| &*result.subject)) {
            let mut each: Vec<_> = all().filter(|result| result.subject == name).collect();
            each.sort_by(|one, other| one.bytes_each().total_cmp(&other.bytes_each()));
            let (least, most) = (each.first()?, each.last()?);
            // What nobody allocates may be counted as a millionth, by threads of the cache.
            let allocations = Some(most.allocations_an_insert).filter(|it| it.abs() >= 0.005);
            table.row([
                name.to_owned(),
                material.to_owned(),
                format!("{:.1}", least.bytes_each()),
                format!("{:.1}", most.bytes_each()),
                grouped(most.capacity),
                format!("{:.2}", allocations.unwrap_or(0.0)),
            ]);
        }
    }
    Some(table)
}

/// What was said beforehand beside what was counted.
fn said(record: &Record) -> Option<Table> {
    let counted = &record.memory.as_ref()?.data.counted;
    let told: Vec<_> = counted
        .iter()
        .filter(|result| result.material == "u64")
        .filter_map(|result| Some((result, result.bytes_said?)))
        .collect();
    let subjects = names(told.iter().map(|(result, _)| &*result.subject));
    let heads = subjects.iter().map(|name| format!(" | {name}, said | counted"));
    let rows = told.chunk_by(|(one, _), (other, _)| one.capacity == other.capacity).map(|row| {
        let bytes = row.iter().flat_map(|(result, said)| [grouped(*said), grouped(result.bytes)]);
        [grouped(row[0].0.capacity)].into_iter().chain(bytes)
    });
    Table::new(&format!("capacity{}", heads.collect::<String>())).with(rows)
}

/// Of what a cache's bytes consist, for each entry of the capacity.
fn cost(record: &Record) -> Option<Table> {
    let rows = record.memory.as_ref()?.data.footprints.iter().map(|row| {
        let each = |bytes: usize| format!("{:.2}", bytes as f64 / row.capacity as f64);
        let rest = row.total - row.slots - row.index - row.wheel - row.eviction;
        let parts = [row.slots, row.index, row.wheel, row.eviction, rest].map(each);
        let totals = [format!("**{}**", each(row.total)), each(row.total_of_shared)];
        [grouped(row.capacity)].into_iter().chain(parts).chain(totals)
    });
    Table::new("entries | slots | index | wheel | eviction | rest | in all | `Cache`, in all")
        .with(rows)
}

fn resident(record: &Record) -> Option<Table> {
    let rows = record.memory.as_ref()?.data.resident.iter().map(|result| {
        let mib = result.bytes.map(|bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)));
        [result.subject.clone(), grouped(result.capacity)].into_iter().chain(mib)
    });
    Table::new("cache | capacity | MiB, empty | MiB, a tenth full | MiB, full").with(rows)
}

/// Who takes fewer bytes at a capacity, and who holds fewer pages.
fn losses(record: &Record) -> Losses {
    let memory = &record.memory.as_ref()?.data;
    let is_other = |name: &str| !record.subjects.is_ours(name);
    let others = names(memory.counted.iter().map(|it| &*it.subject));
    let others = others.into_iter().filter(|name| is_other(name));
    let counted = ["u64", "String"].into_iter().flat_map(|material| {
        others.clone().filter_map(move |other| fewer_bytes(&memory.counted, material, other))
    });
    let stages = ["empty", "a tenth full", "full"].into_iter().enumerate();
    let resident = stages.map(|(number, stage)| {
        let mib = |stages: [u64; 3]| stages[number] as f64 / f64::from(1 << 20);
        let own = memory.resident.iter().find(|result| result.subject == "punctual")?;
        let others = memory.resident.iter().filter(|other| is_other(&other.subject));
        let others = others.map(|other| (&*other.subject, mib(other.bytes)));
        let capacity = grouped(own.capacity);
        let what = format!("Resident MiB, {capacity} entries, {stage}");
        unless_lowest(&what, mib(own.bytes), others)
    });
    Some(counted.chain(resident.flatten()).collect())
}

/// At which capacities another cache takes fewer bytes than punctual; none, if it never does.
fn fewer_bytes(counted: &[CountedMemory], material: &str, other: &str) -> Option<String> {
    let of = |subject: &str, capacity: usize| {
        counted
            .iter()
            .find(|it| (&*it.material, &*it.subject, it.capacity) == (material, subject, capacity))
    };
    let others = counted.iter().filter(|it| it.material == material && it.subject == other);
    let others: Vec<_> = others.collect();
    let is_fewer =
        |it: &&&CountedMemory| of("punctual", it.capacity).is_some_and(|own| it.bytes < own.bytes);
    let fewer: Vec<f64> = others.iter().filter(is_fewer).map(|it| it.bytes_each()).collect();
    (!fewer.is_empty()).then(|| {
        let [least, most] = [0.0, 1.0].map(|share| format!("{:.1}", quantile(&fewer, share)));
        let range = if least == most { least } else { format!("{least} to {most}") };
        format!(
            "{other} takes fewer bytes an entry of {material} at {} of {} capacities: {range}.",
            fewer.len(),
            others.len(),
        )
    })
}

fn pictures(record: &Record) -> Pictures {
    let memory = &record.memory.as_ref()?.data;
    let counted: Vec<&CountedMemory> =
        memory.counted.iter().filter(|result| result.material == "u64").collect();
    let line = |name: &str| {
        let points = counted.iter().filter(|result| result.subject == name);
        let points = points.map(|result| (result.capacity as f64, result.bytes_each()));
        Line { name: name.to_owned(), style: Style::of(name), points: points.collect() }
    };
    let range = |line: &Line| {
        let bytes = line.points.iter().map(|(_, bytes)| *bytes);
        bytes.fold((f64::MAX, 0.0_f64), |(low, high), it| (low.min(it), high.max(it)))
    };
    let own = line("punctual");
    let others = names(counted.iter().map(|result| &*result.subject));
    let others: Vec<Line> =
        others.into_iter().filter(|name| *name != "punctual").map(line).collect();
    let (least, most) = range(&own);
    let peers = others.iter().filter(|other| !record.subjects.is_ours(&other.name));
    let fewer =
        peers.clone().filter(|peer| fewer_bytes(&memory.counted, "u64", &peer.name).is_some());
    let finding = format!(
        "A full cache: {least:.0} to {most:.0} bytes an entry in punctual; {} take fewer at some \
         capacity",
        of_others(fewer.count(), peers.count()),
    );
    let each = Picture {
        finding,
        caption: "Bytes an entry of a full cache, u64 to u64, by its capacity, as the allocator \
                  counts them. Broad and blue in every panel: punctual."
            .to_owned(),
        body: Body::Each(CurvesOfEach {
            x: Axis::logarithmic("capacity (entries)"),
            y: Axis::linear("bytes an entry"),
            own,
            others,
        }),
    };
    Some([("memory".to_owned(), each)].into_iter().chain(resident_picture(record)).collect())
}

fn resident_picture(record: &Record) -> Option<(String, Picture)> {
    let resident = &record.memory.as_ref()?.data.resident;
    let own = resident.iter().find(|result| result.subject == "punctual")?;
    let others = resident.iter().filter(|it| !record.subjects.is_ours(&it.subject));
    let below = [0, 2]
        .map(|stage| others.clone().filter(|other| other.bytes[stage] < own.bytes[stage]).count());
    let count = others.count();
    let cell = |(stage, title): (usize, &str)| {
        let bars = resident.iter().map(|result| Bar {
            name: result.subject.clone(),
            value: result.bytes[stage] as f64 / f64::from(1 << 20),
        });
        BarCell { title: title.to_owned(), bars: bars.collect() }
    };
    let stages = ["empty", "a tenth full", "full"].into_iter().enumerate();
    let picture = Picture {
        finding: format!(
            "Resident memory: {} take less than punctual when full, {} when empty",
            of_others(below[1], count),
            of_others(below[0], count),
        ),
        caption: format!(
            "MiB that a process with one cache of {} entries of u64 holds more than before. Each \
             panel has a scale of its own.",
            grouped(own.capacity),
        ),
        body: Body::Bars(stages.map(cell).collect()),
    };
    Some(("resident".to_owned(), picture))
}

/// Bytes an entry at best and at worst, and resident.
fn figures(record: &Record) -> Figures {
    let memory = &record.memory.as_ref()?.data;
    let mut figures = Vec::new();
    for result in memory.counted.iter().filter(|result| result.subject == "punctual") {
        let name = format!("bytes an entry, {}, {}", result.material, result.capacity);
        figures.push((name, result.bytes_each()));
    }
    for own in memory.resident.iter().filter(|result| result.subject == "punctual") {
        for (stage, bytes) in ["empty", "a tenth full", "full"].into_iter().zip(own.bytes) {
            figures.push((format!("resident MiB, {stage}"), bytes as f64 / f64::from(1 << 20)));
        }
    }
    Some(figures)
}
