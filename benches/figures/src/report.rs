//! The report: one HTML page with nothing outside it, a section for each question.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use pulldown_cmark::{Options, Parser, html};

use crate::docs::command;
use crate::environment::Environment;
use crate::history;
use crate::paths;
use crate::record::Record;
use crate::sections::{SECTIONS, Section};

const STYLE: &str = include_str!("report.css");

/// Writes the page and says where it is.
pub fn write(record: &Record) -> Result<PathBuf, Box<dyn Error>> {
    let path = paths::output()?.join("report.html");
    fs::write(&path, page(record)?)?;
    Ok(path)
}

fn page(record: &Record) -> Result<String, Box<dyn Error>> {
    let (mut contents, mut losses, mut body) = (String::new(), String::new(), String::new());
    let mut missing = Vec::new();
    let mut environments: Vec<(&Environment, Vec<&str>)> = Vec::new();
    for section in SECTIONS {
        let Section { name, title, question, .. } = section;
        let Some(environment) = record.environment(name) else {
            missing.push(format!("{title} (`cargo bench -- {name}`)"));
            continue;
        };
        contents += &format!("- [{question}](#{name})\n");
        losses += &losses_of(section, record);
        body += &content(section, environment, record);
        match environments.iter_mut().find(|(known, _)| *known == environment) {
            Some((_, names)) => names.push(name),
            None => environments.push((environment, vec![name])),
        }
    }
    if !missing.is_empty() {
        contents += &format!("\nNot in this record: {}.\n", missing.join(", "));
    }
    let mut origin = "## Where, when and of what\n".to_owned();
    for (environment, names) in environments {
        origin += &format!(
            "\n{}: `{}`; {}. Crates: {}. Processes that wanted a processor when it began: {}.\n",
            names.join(", "),
            environment.command,
            environment.line(),
            environment.crates(),
            environment.load
        );
    }
    let losses = rendered(&format!("## Where punctual loses\n\n{losses}"));
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>punctual: benchmarks</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         {}<section class=\"losses\">\n{losses}</section>\n{}{body}{}{}</body>\n</html>\n",
        rendered("# punctual beside its peers\n"),
        rendered(&format!("## Questions\n\n{contents}")),
        history_of_figures()?,
        rendered(&origin)
    ))
}

/// What a section's losses are, as an item of a list.
fn losses_of(section: &Section, record: &Record) -> String {
    let Section { name, title, losses, .. } = section;
    let losses = losses.and_then(|losses| losses(record));
    losses.filter(|losses| !losses.is_empty()).map_or_else(String::new, |losses| {
        format!("- **[{title}](#{name})**: {}\n", losses.join(" "))
    })
}

fn content(section: &Section, environment: &Environment, record: &Record) -> String {
    let Section { name, question, method, pictures, tables, .. } = section;
    let mut html = rendered(&format!("## {question} {{#{name}}}\n"));
    let (command, line) = (command(environment, name), environment.line());
    html += &rendered(&format!("{method} Every number here is of `{command}`; {line}."));
    for (_, picture) in pictures(record).unwrap_or_default() {
        html += &format!("<figure>{}</figure>\n", picture.svg());
    }
    for titled in *tables {
        if let Some(table) = (titled.table)(record) {
            html += &rendered(&format!("### {}\n", titled.title));
            html += &format!("<div class=\"table\">\n{}</div>\n", rendered(&table.markdown()));
        }
    }
    html
}

/// When what was measured, and what has changed.
fn history_of_figures() -> Result<String, Box<dyn Error>> {
    let Some(table) = history::table(&paths::history())? else { return Ok(String::new()) };
    let head = rendered("## What was published when\n\nFigures of punctual's own.\n");
    Ok(format!("{head}<div class=\"table\">\n{}</div>\n", rendered(&table.markdown())))
}

/// Markdown as HTML.
fn rendered(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_HEADING_ATTRIBUTES;
    let mut text = String::new();
    html::push_html(&mut text, Parser::new_ext(markdown, options));
    text
}
