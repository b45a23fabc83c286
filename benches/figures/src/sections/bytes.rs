//! What the documents show of the caches of bytes: the bars' figures, one row for each load or call.

use crate::record::{BarLine, Record};
use crate::table::Table;

/// Hits in percent of each load: ours, and the peers'.
pub(crate) fn hits(record: &Record) -> Option<Table> {
    let peers = ["quick_cache", "moka", "foyer"];
    let rows = lines(record, "hits more than quick_cache, ")?.map(|(load, line)| {
        // Such as "10.2 points (76.04 % in 8 MiB, 80 % used; quick_cache 65.84 % in 8.1 MiB, …)".
        let told: Vec<&str> = line.measured.split(['(', ';', ',']).map(str::trim).skip(1).collect();
        let (own, budget) = told.first()?.split_once(" % in ")?;
        let of_peer = |name: &str| {
            let beside = told.iter().find_map(|it| it.strip_prefix(name))?;
            Some(beside.trim().split_once(" %")?.0)
        };
        let peers = peers.map(|name| of_peer(name).unwrap_or_default());
        Some([load, budget, own].into_iter().chain(peers))
    });
    let rows: Vec<_> = rows.collect::<Option<_>>()?;
    Table::new("load | budget | `ByteCache` | quick_cache | moka | foyer").with(rows)
}

/// How many times as fast a call is as quick_cache's, by the length of the values.
pub(crate) fn speed(record: &Record) -> Option<Table> {
    let rows = ["get", "read", "insert", "read-through"].map(|call| {
        let start = format!("{call} against quick_cache, values of ");
        let ratios = lines(record, &start)?
            .map(|(_, line)| line.figures.first().map(|it| format!("{it:.2}")));
        Some([call.to_owned()].into_iter().chain(ratios.collect::<Option<Vec<_>>>()?))
    });
    let rows: Vec<_> = rows.into_iter().collect::<Option<_>>()?;
    Table::new("times as fast as quick_cache | 19 B | 300 B | 2 kB | 16 kB").with(rows)
}

/// The bars whose names begin so, each with the rest of its name.
fn lines<'a>(
    record: &'a Record,
    start: &str,
) -> Option<impl Iterator<Item = (&'a str, &'a BarLine)>> {
    let lines = &record.bytes.as_ref()?.data;
    Some(lines.iter().filter_map(move |line| Some((line.bar.strip_prefix(start)?, line))))
}
