//! What does each operation cost?

use super::section::{Figures, Section, table};
use crate::record::Record;
use crate::table::Table;

pub(super) const SECTION: Section = Section {
    name: "operations",
    title: "Operations",
    question: "What does each operation cost?",
    method: "As criterion has it, of punctual alone, with 95 % confidence.",
    losses: None,
    pictures: |_| None,
    figures,
    tables: &[table("operations", "Each operation, 100,000 entries of u64 to u64", times)],
};

fn times(record: &Record) -> Option<Table> {
    let mut table = Table::new("operation | ns a call (median) | 95 % confidence");
    let operations = &record.operations.as_ref()?.data;
    for group in operations.chunk_by(|one, other| one.group == other.group) {
        table.group(&group[0].group);
        for each in group {
            let interval = format!("{:.1} to {:.1}", each.low_nanos, each.high_nanos);
            table.row([each.operation.clone(), format!("{:.1}", each.median_nanos), interval]);
        }
    }
    table.unless_empty()
}

fn figures(record: &Record) -> Figures {
    let operations = record.operations.as_ref()?.data.iter();
    let named = operations.map(|it| (format!("{}, {}", it.group, it.operation), it.median_nanos));
    Some(named.collect())
}
