//! The report: one HTML page with nothing outside it, a section for each question.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use pulldown_cmark::{Options, Parser, html};

use crate::docs::command;
use crate::environment::Environment;
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
    let (mut contents, mut body) = (String::new(), String::new());
    let mut environments: Vec<(&Environment, Vec<&str>)> = Vec::new();
    // The bars first: they are what the others come to.
    let (bars, others) = SECTIONS.split_last().expect("there are sections");
    for section in [bars].into_iter().chain(others) {
        let Some(environment) = record.environment(section.name) else { continue };
        contents += &format!("- [{}](#{})\n", section.question, section.name);
        body += &content(section, environment, record)?;
        match environments.iter_mut().find(|(known, _)| *known == environment) {
            Some((_, names)) => names.push(section.name),
            None => environments.push((environment, vec![section.name])),
        }
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
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>punctual: benchmarks</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         {}{body}{}</body>\n</html>\n",
        rendered(&format!("# punctual beside its peers\n\n{contents}")),
        rendered(&origin)
    ))
}

fn content(
    section: &Section,
    environment: &Environment,
    record: &Record,
) -> Result<String, Box<dyn Error>> {
    let Section { name, question, method, losses, charts, tables, .. } = section;
    let mut html = rendered(&format!("## {question} {{#{name}}}\n"));
    if let Some(losses) = losses.and_then(|losses| losses(record)) {
        let text = match losses.as_slice() {
            [] => "In this run punctual loses nowhere here.".to_owned(),
            losses => format!("Where punctual loses:\n\n- {}", losses.join("\n- ")),
        };
        html += &format!("<div class=\"losses\">\n{}</div>\n", rendered(&text));
    }
    let (command, line) = (command(environment, name), environment.line());
    html += &rendered(&format!("{method} Every number here is of `{command}`; {line}."));
    for (_, chart) in charts(record).unwrap_or_default() {
        html += &format!("<figure>{}</figure>\n", chart.svg()?);
    }
    for titled in *tables {
        if let Some(table) = (titled.table)(record) {
            html += &rendered(&format!("### {}\n", titled.title));
            html += &format!("<div class=\"table\">\n{}</div>\n", rendered(&table.markdown()));
        }
    }
    Ok(html)
}

/// Markdown as HTML.
fn rendered(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_HEADING_ATTRIBUTES;
    let mut text = String::new();
    html::push_html(&mut text, Parser::new_ext(markdown, options));
    text
}
