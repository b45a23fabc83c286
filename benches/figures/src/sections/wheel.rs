//! And the timing wheel alone?

use super::section::{Figures, Losses, Pictures, Section, table};
use super::words::unless_lowest;
use crate::picture::{Bar, BarCell, Body, Picture};
use crate::record::{Record, TimersResult};
use crate::table::Table;

pub(super) const SECTION: Section = Section {
    name: "wheel",
    title: "The wheel alone",
    question: "And the timing wheel alone?",
    method: "\
            Deadlines are spread over an hour. All are cancelled in another order, or all expired.",
    losses: Some(losses),
    pictures,
    figures,
    tables: &[table("wheel", "The wheel alone, timers a second", rates)],
};

fn rates(record: &Record) -> Option<Table> {
    let rows = record.wheel.as_ref()?.data.iter().map(|result| {
        let each = result.medians().map(|nanos| format!("{:.1}", 1e3 / nanos));
        [result.subject.clone()].into_iter().chain(each)
    });
    Table::new(
        "a million timers | insert (million/s) | cancel (million/s) \
         | expire, cascades included (million/s)",
    )
    .with(rows)
}

fn losses(record: &Record) -> Losses {
    let (own, others) = record.wheel.as_ref()?.data.split_first()?;
    let of = |(number, nanos): (usize, f64)| {
        let others = others.iter().map(|other| (&*other.subject, other.medians()[number]));
        let phase = TimersResult::PHASES[number];
        unless_lowest(&format!("Nanoseconds to {phase}"), nanos, others)
    };
    Some(own.medians().into_iter().enumerate().filter_map(of).collect())
}

fn pictures(record: &Record) -> Pictures {
    let timers = &record.wheel.as_ref()?.data;
    let (own, others) = timers.split_first()?;
    let is_first =
        |phase: usize| others.iter().all(|other| own.medians()[phase] <= other.medians()[phase]);
    let (first, behind): (Vec<usize>, Vec<usize>) =
        (0..TimersResult::PHASES.len()).partition(|phase| is_first(*phase));
    let [first, behind] = [first, behind].map(|phases| {
        let names: Vec<&str> = phases.into_iter().map(|it| TimersResult::PHASES[it]).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(" and ") }
    });
    let cell = |(phase, title): (usize, &&str)| {
        let bars = timers.iter().map(|result| Bar {
            name: result.subject.clone(),
            value: 1e3 / result.medians()[phase],
        });
        BarCell { title: (*title).to_owned(), bars: bars.collect() }
    };
    let picture = Picture {
        finding: format!("The wheel is the fastest at: {first}; another one is at: {behind}"),
        caption: "Million timers a second, a million timers. Each panel has a scale of its own."
            .to_owned(),
        body: Body::Bars(TimersResult::PHASES.iter().enumerate().map(cell).collect()),
    };
    Some(vec![("wheel".to_owned(), picture)])
}

fn figures(record: &Record) -> Figures {
    let own = record.wheel.as_ref()?.data.first()?;
    let names = TimersResult::PHASES.iter().map(|phase| format!("{phase} (ns)"));
    Some(names.zip(own.medians()).collect())
}
