//! The parts that can be asked for, in the order in which they are measured: a new one is a line
//! here.

use std::error::Error;

use punctual_figures::environment::Environment;
use punctual_figures::record::{BarLine, Part as Measured, Record};

use crate::{
    bytes, cores, hit, loads, memory, operations, pressure, promptness, rules, speed, storm,
    targets, wheels,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Something that is measured, and stands in the record under its name.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) takes_filter: bool,
    /// About how long it takes, short and full, where the published record does not know.
    seconds: [u64; 2],
    measure: fn(&Run<'_>, &mut Record) -> Result<()>,
}

/// How a part is to be measured.
pub(crate) struct Run<'a> {
    pub(crate) filter: &'a str,
    pub(crate) is_full: bool,
    pub(crate) environment: &'a Environment,
}

impl Run<'_> {
    fn of<T>(&self, data: T) -> Option<Measured<T>> {
        Some(Measured { environment: self.environment.clone(), data })
    }

    /// Lines, of which there have to be some.
    fn found<T>(&self, lines: Vec<T>) -> Result<Option<Measured<Vec<T>>>> {
        if lines.is_empty() {
            return Err(format!("nothing of it is called {:?}", self.filter).into());
        }
        Ok(self.of(lines))
    }

    fn bars(&self, measure: fn(&str) -> Vec<BarLine>) -> Result<Option<Measured<Vec<BarLine>>>> {
        self.found(measure(self.filter))
    }
}

const fn part(
    name: &'static str,
    what: &'static str,
    seconds: [u64; 2],
    measure: fn(&Run<'_>, &mut Record) -> Result<()>,
) -> Part {
    Part { name, what, takes_filter: false, seconds, measure }
}

const fn filtered(part: Part) -> Part {
    Part { takes_filter: true, ..part }
}

/// `bars` comes last: of the wheel and of growth it takes what the run has measured already.
pub(crate) const PARTS: &[Part] = &[
    part("memory", "bytes an entry, and resident pages", [80, 1_400], |run, record| {
        record.memory = run.of(memory::run(run.is_full));
        Ok(())
    }),
    part("promptness", "when expired entries are freed", [20, 20], |run, record| {
        record.promptness = run.of(promptness::run());
        Ok(())
    }),
    filtered(part("speed", "all caches beside each other", [180, 2_500], |run, record| {
        record.speed = run.found(speed::matrix::run(run.filter, run.is_full))?;
        Ok(())
    })),
    filtered(part("cores", "throughput by threads", [300, 540], |run, record| {
        let cores = cores::run(run.filter, run.is_full);
        if cores.loads.is_empty() {
            return Err(format!("no load is called {:?}", run.filter).into());
        }
        record.cores = run.of(cores);
        Ok(())
    })),
    part("storm", "each call while half a million entries fall due", [70, 70], |run, record| {
        record.storm = run.of(storm::run());
        Ok(())
    }),
    filtered(part("hit", "hit ratios", [300, 300], |run, record| {
        record.hit = run.of(hit::run(run.filter, &record.subjects)?);
        Ok(())
    })),
    part("growth", "hits and overwrites by the number of entries", [10, 10], |run, record| {
        record.growth = run.of(targets::growth::run());
        Ok(())
    }),
    part("wheel", "the timing wheel alone", [10, 10], |run, record| {
        record.wheel = run.of(wheels::compare());
        Ok(())
    }),
    filtered(part("operations", "each operation, by criterion", [50, 50], |run, record| {
        record.operations = run.of(operations::run(run.filter)?);
        Ok(())
    })),
    filtered(part("loads", "the bars of loading", [10, 10], |run, record| {
        record.loads = run.bars(loads::run)?;
        Ok(())
    })),
    filtered(part("pressure", "the bars under pressure", [260, 260], |run, record| {
        record.pressure = run.bars(pressure::run)?;
        Ok(())
    })),
    filtered(part("rules", "the bars of counters, idle time, weights", [40, 40], |run, record| {
        record.rules = run.bars(rules::run)?;
        Ok(())
    })),
    filtered(part("bytes", "the bars of caches of bytes", [100, 100], |run, record| {
        let is_quick = !run.is_full && run.filter.is_empty();
        record.bytes = run.found(bytes::run(run.filter, is_quick))?;
        Ok(())
    })),
    filtered(part("bars", "the other targets, line by line", [600, 600], |run, record| {
        let wheel = record.wheel.as_ref().map(|part| &*part.data);
        let growth = record.growth.as_ref().map(|part| &*part.data);
        let targets = targets::run(run.filter, wheel, growth);
        if targets.lines.is_empty() && targets.cores.is_empty() {
            return Err(format!("no bar is called {:?}", run.filter).into());
        }
        record.bars = run.of(targets);
        Ok(())
    })),
];

impl Part {
    /// How long it should take, as the published run of the same size did, if there is one.
    pub(crate) fn seconds(&self, is_full: bool, published: Option<&Record>) -> u64 {
        let known = published.and_then(|record| record.environment(self.name));
        let known = known.filter(|it| it.is_full() == is_full && it.seconds > 0);
        known.map_or(self.seconds[usize::from(is_full)], |environment| environment.seconds)
    }

    pub(crate) fn measure(&self, run: &Run<'_>, record: &mut Record) -> Result<()> {
        (self.measure)(run, record)
    }
}
