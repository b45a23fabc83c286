//! The report: one HTML page with nothing outside it, a section for each question.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use crate::charts::{self, Drawing};
use crate::docs::command;
use crate::losses;
use crate::places;
use crate::record::Record;
use crate::setting::Setting;
use crate::table::{Table, marked_up};
use crate::tables;

const STYLE: &str = include_str!("report.css");

// What was measured in each section, and how.

const BARS: &str = "\
    Half a million entries, a TTL on each. Measured is how many times as fast punctual is as \
    the other, unless a unit stands there: ratios of medians of interleaved rounds.";

const MEMORY: &str = "\
    Bytes that a full cache has asked the allocator for, its contents included; pages that \
    the kernel holds for a process with one cache.";

const PROMPTNESS: &str = "\
    A hundred thousand entries with a TTL of two seconds. Late is how long after its \
    deadline an entry's value was dropped. Who frees nothing lies at 100 %, on each other.";

const SPEED: &str = "\
    All caches of a line take turns, round by round. quick_cache does not expire entries; a \
    sharded map bounds nothing either: no cache can pass it. Where stretto is missing, it \
    would look at all entries to evict one.";

const STORM: &str = "\
    Every call of a loop is timed, nine of ten look a key up, the tenth overwrites one: \
    around the moment at which half a million entries fall due together, and after three \
    simulated days in which half a million fell due one by one while nobody called. \"No \
    cache\" is the same loop with nothing in it: the machine's own noise. After the days \
    there are only those caches that can be given a clock.";

const HIT: &str = "\
    Traces are replayed in simulated time, each request a look-up and, on a miss, an \
    insertion. FIFO, LRU, SIEVE and S3-FIFO are textbook versions; the optimum is Belady's.";

const GROWTH: &str = "\
    Keys are uniform; all caches of a size take turns.";

const WHEEL: &str = "\
    Deadlines are spread over an hour. All are cancelled in another order, or all expired.";

const OPERATIONS: &str = "\
    As criterion has it, of punctual alone, with 95 % confidence.";

/// Writes the page and says where it is.
pub fn write(record: &Record) -> Result<PathBuf, Box<dyn Error>> {
    let path = places::output()?.join("report.html");
    fs::write(&path, page(record)?)?;
    Ok(path)
}

/// The page as it grows.
struct Page {
    body: String,
    contents: String,
    settings: Vec<(&'static str, Setting)>,
}

/// A question: where punctual loses, what was measured and how, and the answers.
struct Section<'a> {
    question: &'a str,
    /// Of the part, as it is asked for.
    name: &'static str,
    setting: &'a Setting,
    method: &'a str,
    /// None: there is nobody to lose to.
    losses: Option<Vec<String>>,
    drawings: Vec<Drawing>,
    /// With their titles.
    tables: Vec<(&'a str, Table)>,
}

impl Page {
    fn add(&mut self, section: Section<'_>) {
        let Section { question, name, setting, method, losses, drawings, tables } = section;
        self.contents += &format!("<li><a href=\"#{name}\">{question}</a></li>\n");
        self.body += &format!("<section id=\"{name}\">\n<h2>{question}</h2>\n");
        if let Some(losses) = losses {
            self.body += &if losses.is_empty() {
                "<p class=\"losses\">In this run punctual loses nowhere here.</p>\n".to_owned()
            } else {
                let items = losses.iter().map(|loss| format!("<li>{}</li>\n", marked_up(loss)));
                format!(
                    "<div class=\"losses\"><p>Where punctual loses:</p>\n<ul>\n{}</ul></div>\n",
                    items.collect::<String>()
                )
            };
        }
        let (command, line) = (command(setting, name), setting.line());
        self.body += &format!(
            "<p>{} Every number here is of <code>{command}</code>; {}.</p>\n",
            marked_up(method),
            marked_up(&line)
        );
        for drawing in &drawings {
            self.body += &format!("<figure>{}</figure>\n", drawing.svg);
        }
        for (title, table) in tables.iter().filter(|(_, table)| !table.is_empty()) {
            self.body += &format!("<h3>{}</h3>\n{}", marked_up(title), table.html());
        }
        self.body += "</section>\n";
        self.settings.push((name, setting.clone()));
    }
}

fn page(record: &Record) -> Result<String, Box<dyn Error>> {
    let mut page = Page { body: String::new(), contents: String::new(), settings: Vec::new() };
    if let Some(part) = &record.bars {
        page.add(Section {
            question: "Does it reach its own bars?",
            name: "bars",
            setting: &part.setting,
            method: BARS,
            losses: Some(losses::bars(&part.data)),
            drawings: Vec::new(),
            tables: vec![("Must, aim, measured", tables::bars(&part.data))],
        });
    }
    if let Some(part) = &record.memory {
        page.add(Section {
            question: "How much memory?",
            name: "memory",
            setting: &part.setting,
            method: MEMORY,
            losses: Some(losses::memory(&part.data)),
            drawings: charts::memory(&part.data)?,
            tables: vec![
                ("Bytes an entry", tables::memory(&part.data, &["u64", "String"])),
                ("Said beforehand, and counted", tables::said(&part.data)),
                ("Of what `unsync::Cache` consists, bytes an entry", tables::cost(&part.data)),
                ("Resident", tables::resident(&part.data)),
            ],
        });
    }
    if let Some(part) = &record.promptness {
        page.add(Section {
            question: "When are the dead freed?",
            name: "promptness",
            setting: &part.setting,
            method: PROMPTNESS,
            losses: Some(losses::promptness(&part.data)),
            drawings: charts::promptness(&part.data)?,
            tables: vec![("Held, and late", tables::promptness(&part.data))],
        });
    }
    if let Some(part) = &record.speed {
        page.add(Section {
            question: "How fast?",
            name: "speed",
            setting: &part.setting,
            method: SPEED,
            losses: Some(losses::speed(&part.data)),
            drawings: charts::speed(&part.data)?,
            tables: vec![
                ("punctual and the best peers", tables::speed_summary(&part.data)),
                ("All", tables::speed(&part.data)),
            ],
        });
    }
    if let Some(part) = &record.storm {
        page.add(Section {
            question: "What about spikes?",
            name: "storm",
            setting: &part.setting,
            method: STORM,
            losses: Some(losses::storm(&part.data)),
            drawings: charts::storm(&part.data.due_together, &part.data.after_days)?,
            tables: vec![
                ("Half a million due together", tables::storm(&part.data.due_together)),
                ("After idle days", tables::storm(&part.data.after_days)),
                ("Bounded by `reap_limit`, strings", tables::reap_limits(&part.data.reap_limits)),
            ],
        });
    }
    if let Some(part) = &record.hit {
        page.add(Section {
            question: "What is kept when it is full?",
            name: "hit",
            setting: &part.setting,
            method: HIT,
            losses: Some(losses::hit(&part.data)),
            drawings: charts::hit(&part.data)?,
            tables: vec![
                ("Real traces, %", tables::hit_ratio(&part.data, "real/", &[])),
                ("Generated traces, %", tables::hit_ratio(&part.data, "generated/", &[])),
                ("Traces with TTLs, %", tables::hit_ratio(&part.data, "ttl/", &[])),
                (
                    "At the same number of bytes, % (and the capacity): real traces",
                    tables::hit_bytes(&part.data, "real/", &[]),
                ),
                (
                    "At the same number of bytes, % (and the capacity): generated traces",
                    tables::hit_bytes(&part.data, "generated/", &[]),
                ),
                ("Bars, in points", tables::bar_lines(&part.data.bars)),
            ],
        });
    }
    if let Some(part) = &record.growth {
        page.add(Section {
            question: "What does it cost as it grows?",
            name: "growth",
            setting: &part.setting,
            method: GROWTH,
            losses: Some(losses::growth(&part.data)),
            drawings: charts::growth(&part.data)?,
            tables: vec![("Time of a call, median, and half the distance of the quartiles", {
                tables::growth(&part.data)
            })],
        });
    }
    if let Some(part) = &record.wheel {
        page.add(Section {
            question: "And the timing wheel alone?",
            name: "wheel",
            setting: &part.setting,
            method: WHEEL,
            losses: Some(losses::wheel(&part.data)),
            drawings: charts::wheel(&part.data)?,
            tables: vec![("Timers a second", tables::wheel(&part.data))],
        });
    }
    if let Some(part) = &record.operations {
        page.add(Section {
            question: "What does each operation cost?",
            name: "operations",
            setting: &part.setting,
            method: OPERATIONS,
            losses: None,
            drawings: Vec::new(),
            tables: vec![("100,000 entries of u64 to u64", tables::operations(&part.data))],
        });
    }
    Ok(whole(&page))
}

fn whole(page: &Page) -> String {
    let mut settings = String::new();
    let mut shown: Vec<&Setting> = Vec::new();
    for (_, setting) in &page.settings {
        if !shown.contains(&setting) {
            shown.push(setting);
            let parts: Vec<&str> = page
                .settings
                .iter()
                .filter(|(_, other)| other == setting)
                .map(|(name, _)| *name)
                .collect();
            settings += &format!(
                "<p>{}: <code>{}</code>; {}. Crates: {}. Processes that wanted a processor when it \
                 began: {}.</p>\n",
                parts.join(", "),
                marked_up(&setting.command),
                marked_up(&setting.line()),
                setting.crates(),
                setting.load
            );
        }
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>punctual: benchmarks</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>punctual beside its peers</h1>\n\
         <ul class=\"contents\">\n{}</ul>\n{}\
         <section><h2>Where, when and of what</h2>\n{settings}</section>\n</body>\n</html>\n",
        page.contents, page.body
    )
}
