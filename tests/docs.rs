//! Holds the documents against the repository: links and anchors lead somewhere,
//! commands and quoted names exist, every code block is compiled by somebody, and
//! nothing of one machine is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use punctual::{StatKind, Stats};
use walkdir::WalkDir;

/// Hosts that links may lead to.
const HOSTS: [&str; 6] =
    ["docs.rs", "github.com", "keepachangelog.com", "redis.io", "semver.org", "www.usenix.org"];

/// What a page may have of words, without figures and blocks of code: ten minutes.
const WORDS_MAX: usize = 2_000;

/// What README and `docs` may have together.
const ALL_WORDS_MAX: usize = 18_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files_under(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = WalkDir::new(root().join(folder)).sort_by_file_name().into_iter();
    let paths = entries.map(|entry| entry.expect("it can be read").into_path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// All Rust that a document may name, in one text.
fn sources() -> String {
    let folders = ["src", "tests", "benches", "examples"];
    let files = folders.iter().flat_map(|folder| files_under(folder, "rs"));
    let texts = files.map(|path| {
        let text = read(&path);
        if path.ends_with(file!()) {
            // In which what is looked for would find itself.
            text.lines().filter(|line| line.starts_with("fn ")).collect()
        } else {
            text
        }
    });
    texts.collect()
}

#[derive(Default)]
struct Block {
    language: String,
    text: String,
}

#[derive(Default)]
struct Page {
    /// From the root of the repository.
    name: String,
    /// As it stands, without comments.
    whole: String,
    /// Without blocks of code.
    prose: String,
    blocks: Vec<Block>,
    /// What stands between backticks, in one line each.
    code_spans: Vec<String>,
    links: Vec<String>,
    /// As GitHub makes them from the headings.
    anchors: BTreeSet<String>,
}

impl Page {
    fn read(name: String) -> Self {
        let text = read(&name);
        let mut parts = text.split("<!--");
        let mut whole = parts.next().expect("there is one").to_owned();
        whole.extend(parts.map(|part| part.split_once("-->").expect("a comment ends").1));
        let mut page = Self { name, ..Self::default() };
        let (mut in_block, mut heading, mut block_end) = (false, None, 0);
        let mut seen = BTreeMap::new();
        for (event, range) in Parser::new(&whole).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let CodeBlockKind::Fenced(language) = kind else {
                        panic!("{}: a block without a fence", page.name)
                    };
                    let is_closed = whole[range.clone()].trim_end().ends_with("```");
                    assert!(is_closed, "{}: a block without its end", page.name);
                    page.prose += &whole[block_end..range.start];
                    block_end = range.end;
                    in_block = true;
                    page.blocks.push(Block { language: language.into(), ..Block::default() });
                }
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let text = heading.take().expect("it has begun");
                    let kept = text.chars().filter(|&c| c.is_alphanumeric() || " -_".contains(c));
                    let slug = kept.collect::<String>().to_lowercase().replace(' ', "-");
                    let count: &mut u32 = seen.entry(slug.clone()).or_default();
                    *count += 1;
                    page.anchors.insert(match *count {
                        1 => slug,
                        count => format!("{slug}-{}", count - 1),
                    });
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into());
                }
                Event::Text(text) if in_block => {
                    page.blocks.last_mut().expect("one has begun").text += &text;
                }
                Event::Text(text) => heading.iter_mut().for_each(|heading| *heading += &text),
                Event::Code(code) => {
                    heading.iter_mut().for_each(|heading| *heading += &code);
                    let words: Vec<_> = code.split_whitespace().collect();
                    page.code_spans.push(words.join(" "));
                }
                _ => {}
            }
        }
        page.prose += &whole[block_end..];
        page.whole = whole;
        page
    }

    /// Command lines: code spans and lines of `sh` blocks that call cargo.
    fn commands(&self) -> Vec<Vec<String>> {
        let blocks = self.blocks.iter().filter(|block| block.language == "sh");
        let blocks: Vec<_> = blocks.map(|block| block.text.replace("\\\n", " ")).collect();
        let lines = blocks.iter().flat_map(|text| text.lines());
        let all = self.code_spans.iter().map(String::as_str).chain(lines);
        all.filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            let mut start = words.iter().position(|word| word == "cargo")?;
            if words.get(start + 1).is_some_and(|word| word.starts_with('+')) {
                start += 1; // a toolchain
            }
            let end = words.iter().position(|word| word == "#").unwrap_or(words.len());
            (start + 1 < end).then(|| words[start + 1..end].to_vec())
        })
        .collect()
    }
}

fn pages() -> Vec<Page> {
    let documents = files_under("docs", "md").into_iter().map(|path| {
        let name = path.strip_prefix(root()).expect("it is in the repository");
        name.to_str().expect("names are plain").replace('\\', "/")
    });
    let names = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];
    names.map(str::to_owned).into_iter().chain(documents).map(Page::read).collect()
}

/// Runs a check on every page and shows all that it finds.
fn check_pages(check: impl Fn(&Page, &mut dyn FnMut(String))) {
    let mut faults = Vec::new();
    for page in pages() {
        check(&page, &mut |fault| faults.push(format!("{}: {fault}", page.name)));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The path without `..`, if it stays within the repository.
fn normal(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => parts.pop().map(|_| ())?,
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(parts.join("/"))
}

#[test]
fn links_and_anchors_lead_somewhere() {
    let anchors: BTreeMap<String, BTreeSet<String>> =
        pages().iter().map(|page| (page.name.clone(), page.anchors.clone())).collect();
    check_pages(|page, fault| {
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(&page.name).parent().expect("it is a file");
            let target =
                if path.is_empty() { Some(page.name.clone()) } else { normal(&folder.join(path)) };
            let Some(target) = target else {
                fault(format!("{link} leads out of the repository"));
                continue;
            };
            if !root().join(&target).exists() {
                fault(format!("{link} leads nowhere"));
            } else if !anchor.is_empty()
                && !anchors.get(&target).is_some_and(|known| known.contains(anchor))
            {
                fault(format!("{link}: there is no such heading"));
            }
        }
    });
}

#[test]
fn hosts_are_public_and_paths_are_relative() {
    check_pages(|page, fault| {
        for rest in page.whole.split("://").skip(1) {
            let host = rest.split(['/', ')', '>', '"', ' ', '\n']).next().expect("there is one");
            if !HOSTS.contains(&host) {
                fault(format!("the host {host} is not one of those that may be named"));
            }
        }
        let bytes = page.whole.as_bytes();
        for (at, _) in page.whole.match_indices('/') {
            let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
            let after = bytes.get(at + 1).copied().unwrap_or(b' ');
            if b" \n`'\"(=~".contains(&before) && after.is_ascii_alphabetic() {
                let line = page.whole[at..].lines().next().expect("it has a line");
                fault(format!("an absolute path: {line}"));
            }
        }
        for word in ["localhost", concat!("crates", ".io"), "127.0.0.1"] {
            if page.whole.contains(word) {
                fault(format!("it names {word}"));
            }
        }
    });
}

fn is_placeholder(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

#[test]
fn commands_name_what_is_there() {
    let (sources, manifest) = (sources(), read("Cargo.toml"));
    let bench_words = ["src/parts.rs", "src/comparison.rs", "figures/src/environment.rs"];
    let bench_words: String = bench_words.map(|file| read(format!("benches/{file}"))).concat();
    let aliases = read(".cargo/config.toml");
    let exists = |path: String| root().join(path).is_file();
    check_pages(|page, fault| {
        for command in page.commands() {
            let shown = command.join(" ");
            let value_of = |option: &str| {
                let at = command.iter().position(|word| word == option)?;
                command
                    .get(at + 1)
                    .map(|word| word.trim_matches('\''))
                    .filter(|w| !is_placeholder(w))
            };
            let (own, passed_on) = match command.iter().position(|word| word == "--") {
                Some(at) => (&command[..at], &command[at + 1..]),
                None => (&command[..], &[][..]),
            };
            let mut demand = |is_there: bool, what: &str| {
                if !is_there {
                    fault(format!("cargo {shown}: {what}"));
                }
            };
            // Those below are programs of their own.
            let known = "run test bench doc check clippy fmt build package tree metadata deny hack \
                         mutants semver-checks";
            let is_alias = aliases.lines().any(|line| line.starts_with(&format!("{} = ", own[0])));
            let is_known = known.split(' ').any(|name| name == own[0]);
            demand(is_known || is_alias, "no such subcommand");
            if let Some(name) = value_of("--example") {
                let (file, folder) = (format!("examples/{name}.rs"), format!("examples/{name}"));
                let text: String = if exists(file.clone()) {
                    read(file)
                } else if exists(format!("{folder}/main.rs")) {
                    files_under(&folder, "rs").into_iter().map(read).collect()
                } else {
                    demand(false, "no such example");
                    continue;
                };
                for option in passed_on.iter().filter(|word| word.starts_with("--")) {
                    demand(text.contains(option.as_str()), "the example has no such option");
                }
            }
            if let Some(name) = value_of("--test") {
                let folder = match value_of("-p") {
                    Some("punctual-benches") => "benches/tests",
                    _ => "tests",
                };
                demand(exists(format!("{folder}/{name}.rs")), "no such test");
            }
            if let Some(name) = value_of("--lib") {
                demand(sources.contains(name), "no such unit test");
            }
            if let Some(name) = value_of("--features") {
                demand(manifest.contains(&format!("\n{name} = [")), "no such feature");
            }
            if own[0] == "bench" {
                // What follows is for one cache alone.
                for word in passed_on.iter().take_while(|word| !is_placeholder(word)) {
                    let part = word.trim_matches('\'').split('/').next().expect("there is one");
                    demand(bench_words.contains(&format!("\"{part}\"")), "no such part");
                    if word.starts_with('\'') {
                        break;
                    }
                }
            }
        }
    });
}

/// Where modules may lie that `cargo test --lib NAME` picks.
const MODULE_FOLDERS: [&str; 5] = ["", "cache", "cache/load", "reaper", "time"];

/// `name_of_a_test`, `beginning_of_one…`, `file.rs`, `lib name`.
#[test]
fn quoted_names_are_in_the_sources() {
    let sources = sources();
    let folders = ["", "src", "src/shard", "tests", "examples"];
    check_pages(|page, fault| {
        for span in &page.code_spans {
            if span.ends_with(".rs") {
                if !folders.iter().any(|folder| root().join(folder).join(span).is_file()) {
                    fault(format!("there is no {span}"));
                }
                continue;
            }
            let name = span.strip_prefix("lib ").unwrap_or(span);
            let is_name = name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:…".contains(c));
            let is_long = name.contains('…') || name.matches('_').count() >= 4;
            if is_name && (is_long || span.starts_with("lib ")) {
                let is_module = MODULE_FOLDERS
                    .iter()
                    .any(|it| root().join(format!("src/{it}/{name}.rs")).is_file());
                for part in name.split(['…', ':']).filter(|part| !part.is_empty()) {
                    if !is_module && !sources.contains(part) {
                        fault(format!("nothing is called {span}"));
                    }
                }
            }
        }
    });
}

#[test]
fn every_block_is_compiled_or_is_no_rust() {
    let library = read("src/lib.rs");
    let peers = regions(&read("benches/tests/migrating.rs"));
    let mut unused: BTreeSet<&String> = peers.iter().collect();
    for page in pages() {
        let name = &page.name;
        for Block { language, text } in &page.blocks {
            // What rustdoc hides, a browser of the repository shows.
            let hides = language == "rust" && text.lines().any(|line| line.starts_with("# "));
            assert!(!hides, "{name}: a line hidden from rustdoc only:\n{text}");
            match language.as_str() {
                "rust" => assert!(
                    library.contains(&format!(": \"../{name}\",")),
                    "{name} has Rust in it, which `cargo test` does not see"
                ),
                "rust,ignore" => {
                    let region = peers.iter().find(|region| *region == text);
                    let region = region.unwrap_or_else(|| {
                        panic!("{name}: not in benches/tests/migrating.rs:\n{text}")
                    });
                    unused.remove(region);
                }
                "text" | "sh" | "toml" | "python" => {}
                _ => panic!("{name}: a block in {language:?}:\n{text}"),
            }
        }
    }
    assert!(unused.is_empty(), "in benches/tests/migrating.rs and on no page: {unused:#?}");
}

/// What stands between the marks `// page: …` and `// page: end`, moved to the left.
fn regions(text: &str) -> Vec<String> {
    let mut regions = Vec::new();
    let mut region: Option<(usize, String)> = None;
    for line in text.lines() {
        match (line.trim_start().strip_prefix("// page: "), &mut region) {
            (Some("end"), _) => regions.extend(region.take().map(|(_, text)| text)),
            (Some(_), _) => region = Some((line.len() - line.trim_start().len(), String::new())),
            (None, Some((indent, text))) => {
                *text += line.get(*indent..).unwrap_or("");
                *text += "\n";
            }
            (None, None) => {}
        }
    }
    regions
}

/// Each invariant of `docs/design.md` names the message of the assertion that
/// checks it.
#[test]
fn invariants_are_cited_by_their_assertions() {
    let design = Page::read("docs/design.md".to_owned());
    let invariants = design.prose.split("\n## Invariants\n").nth(1).expect("there is the section");
    let invariants = invariants.split("\n## ").next().expect("there is text");
    let mut count = 0;
    for row in invariants.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        if cells[0].starts_with("no.") {
            continue;
        }
        let [_, _, checked_by] = cells[..] else { panic!("three columns: {row}") };
        let mut spans = checked_by.split('`').skip(1).step_by(2);
        let source = read(format!("src/{}", spans.next().expect("a file first")));
        let mut is_cited = false;
        for message in spans {
            assert!(source.contains(message), "{row}\nno assertion says {message:?}");
            is_cited = true;
        }
        assert!(is_cited, "{row}\nnames no assertion");
        count += 1;
    }
    assert!(count >= 9, "only {count} invariants");
}

/// No figure of the benchmarks is typed by hand.
#[test]
fn figures_are_those_of_the_published_record() {
    let outdated = punctual_figures::docs::outdated().expect("there is a record for all figures");
    assert!(
        outdated.is_empty(),
        "not as benches/records/published.json has it: {outdated:#?}\n\
         `cargo run -p punctual-figures -- docs` writes them anew"
    );
}

/// The table of the recipe for Prometheus has every field, with its kind, in the order of `Stats`.
#[test]
fn every_statistic_is_listed_with_its_kind() {
    let page = Page::read("docs/recipes.md".to_owned());
    let table =
        page.prose.split("\n| field | kind | meaning |\n").nth(1).expect("there is the table");
    let rows = table.lines().take_while(|line| line.starts_with('|')).skip(1);
    let listed: Vec<(&str, &str)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [field, kind, meaning] = cells[..] else { panic!("three columns: {row}") };
            assert!(!meaning.is_empty(), "{row}");
            (field.trim_matches('`'), kind)
        })
        .collect();
    let stats = Stats::default();
    let fields = stats.fields().map(|(field, kind, _)| match kind {
        StatKind::Counter => (field, "counter"),
        _ => (field, "gauge"),
    });
    assert_eq!(listed, fields.collect::<Vec<_>>());
}

/// A fault that is mended is no longer known.
#[test]
fn tests_of_known_faults_are_ignored() {
    let page = Page::read("docs/testing.md".to_owned());
    let faults = page.prose.split("\n## Known faults\n").nth(1).unwrap_or("");
    let faults = faults.split("\n## ").next().expect("there is text");
    let sources = sources();
    for name in faults.split('`').skip(1).step_by(2).filter(|span| span.matches('_').count() > 4) {
        let (before, _) = sources.split_once(&format!("fn {name}()")).expect("it is there");
        let attributes = before.rsplit("\n\n").next().expect("there is text");
        assert!(attributes.contains("#[ignore"), "{name} is no longer ignored");
    }
}

impl Page {
    fn words(&self) -> usize {
        let words = self.prose.split_whitespace();
        words.filter(|word| word.contains(char::is_alphabetic)).count()
    }
}

#[test]
fn a_page_takes_less_than_ten_minutes() {
    check_pages(|page, fault| {
        let words = page.words();
        if words > WORDS_MAX {
            fault(format!("{words} words"));
        }
    });
}

#[test]
fn all_pages_together_are_short() {
    let pages = pages().into_iter();
    let pages = pages.filter(|page| page.name == "README.md" || page.name.starts_with("docs/"));
    let words: Vec<_> = pages.map(|page| (page.words(), page.name)).collect();
    let sum: usize = words.iter().map(|(words, _)| words).sum();
    assert!(sum <= ALL_WORDS_MAX, "{sum} words in all: {words:#?}");
}

/// The figures of speed in README are rows of the table that is made of the record.
#[test]
fn rows_of_speed_are_those_of_the_benchmarks() {
    let rows = |name: &str, heading: &str| -> Vec<String> {
        let page = Page::read(name.to_owned());
        let section = page.prose.split(&format!("\n## {heading}\n")).nth(1).expect("it is there");
        let section = section.split("\n## ").next().expect("there is text");
        let rows = section.lines().filter(|line| line.starts_with("| "));
        rows.map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let measured = rows("docs/benchmarks.md", "Speed");
    let shown = rows("README.md", "Speed");
    assert!(shown.len() > 4, "{shown:#?}");
    for row in shown {
        assert!(measured.contains(&row), "docs/benchmarks.md has no row {row}");
    }
}

/// The table of costs in README is what the builders predict.
#[test]
#[cfg(target_pointer_width = "64")]
fn costs_are_those_that_the_builders_predict() {
    let page = Page::read("README.md".to_owned());
    let rows = [10_000, 50_000, 500_000, 1_000_000, 10_000_000].map(|entries| {
        let own = punctual::unsync::Cache::<u64, u64>::builder().capacity(entries).footprint();
        let shared = punctual::Cache::<u64, u64>::builder().capacity(entries).processors(2);
        let (own, shared) = (own.expect("it is possible"), shared.footprint());
        let each = |bytes: usize| format!("{:.2}", bytes as f64 / entries as f64);
        let parts = [own.slots(), own.index(), own.wheel(), own.eviction(), own.locks()];
        let totals = [own.total(), shared.expect("it is possible").total()];
        let (parts, [total, shared]) = (parts.map(each).join(" | "), totals.map(each));
        format!("| {} | {parts} | **{total}** | {shared} |", punctual_figures::grouped(entries))
    });
    let missing: Vec<_> = rows.iter().filter(|&row| !page.prose.contains(row)).collect();
    assert!(missing.is_empty(), "not in README:\n{missing:#?}");
}

/// The first table of the page on performance has columns and ends of the one that is made of the
/// record: of its threads the first and the last.
#[test]
fn throughput_is_that_of_the_benchmarks() {
    let table = |name: &str, heading: &str| -> Vec<Vec<String>> {
        let page = Page::read(name.to_owned());
        let section = page.prose.split(heading).nth(1).expect("it is there").to_owned();
        let lines = section.lines().skip_while(|line| !line.starts_with("| "));
        let rows = lines.take_while(|line| line.starts_with('|'));
        let cells =
            |row: &str| row.trim_matches('|').split('|').map(|it| it.trim().to_owned()).collect();
        rows.map(cells).collect()
    };
    let measured = table("docs/benchmarks.md", "\n## Cores\n");
    let shown = table("docs/performance.md", "\n# Performance\n".trim_start());
    assert!(shown.len() > 5, "{shown:#?}");
    for row in &shown[2..] {
        let of = measured.iter().find(|it| it[0] == row[0]);
        let of = of.unwrap_or_else(|| panic!("docs/benchmarks.md has no row {}", row[0]));
        for (subject, cell) in shown[0].iter().zip(row).skip(1) {
            let column = measured[0].iter().position(|it| it == subject).expect("a subject");
            let by_threads: Vec<&str> = of[column].split(" / ").collect();
            let ends = [by_threads[0], by_threads[by_threads.len() - 1]].join(" / ");
            assert_eq!(*cell, ends, "{subject}, {}", row[0]);
        }
    }
}
