//! Tables: one content, for the terminal, for Markdown and for HTML.

use std::fmt;

/// Rows of cells: the first column is aligned to the left, the others to the right.
#[derive(Debug)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Row {
    Cells(Vec<String>),
    /// What the rows after it have in common.
    Group(String),
}

impl Table {
    pub fn new<T: Into<String>>(head: impl IntoIterator<Item = T>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(Row::Cells(cells.into_iter().map(Into::into).collect()));
    }

    pub fn group(&mut self, title: impl Into<String>) {
        self.rows.push(Row::Group(title.into()));
    }

    /// Whether there is a head and nothing else.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn html(&self) -> String {
        let mut text = String::from("<div class=\"table\"><table>\n<thead>");
        let row = |cells: &[String], tag: &str| {
            let cells = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", marked_up(cell)));
            format!("<tr>{}</tr>", cells.collect::<String>())
        };
        text += &row(&self.head, "th");
        text += "</thead>\n<tbody>\n";
        for each in &self.rows {
            text += &match each {
                Row::Cells(cells) => row(cells, "td"),
                Row::Group(title) => format!(
                    "<tr><th class=\"group\" colspan=\"{}\">{}</th></tr>",
                    self.head.len(),
                    marked_up(title)
                ),
            };
            text += "\n";
        }
        text + "</tbody></table></div>\n"
    }

    pub fn markdown(&self) -> String {
        let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = row(&self.head);
        text += &format!("|---|{}\n", "--:|".repeat(self.head.len().saturating_sub(1)));
        for each in &self.rows {
            text += &match each {
                Row::Cells(cells) => row(cells),
                Row::Group(title) => {
                    let mut cells = vec![format!("**{title}**")];
                    cells.resize(self.head.len(), String::new());
                    row(&cells)
                }
            };
        }
        text
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = || {
            let rows = self.rows.iter().filter_map(|row| match row {
                Row::Cells(cells) => Some(cells),
                Row::Group(_) => None,
            });
            std::iter::once(&self.head).chain(rows)
        };
        let width = |column: usize| {
            let cells = rows().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |out: &mut fmt::Formatter<'_>, cells: &[String]| {
            for (column, cell) in cells.iter().enumerate() {
                if column == 0 {
                    write!(out, "{cell:<width$}", width = widths[column])?;
                } else {
                    write!(out, "  {cell:>width$}", width = widths[column])?;
                }
            }
            writeln!(out)
        };
        line(out, &self.head)?;
        let total = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        writeln!(out, "{}", "-".repeat(total))?;
        for row in &self.rows {
            match row {
                Row::Cells(cells) => line(out, cells)?,
                Row::Group(title) => writeln!(out, "\n{title}")?,
            }
        }
        Ok(())
    }
}

/// Text as HTML shows it; what stands between two stars or backticks as Markdown has it.
pub(crate) fn marked_up(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let alternating = |text: &str, mark: &str, tag: &str| {
        let mut result = String::new();
        for (number, part) in text.split(mark).enumerate() {
            result += &if number % 2 == 1 { format!("<{tag}>{part}</{tag}>") } else { part.into() };
        }
        result
    };
    alternating(&alternating(&escaped, "**", "b"), "`", "code")
}

/// A number with separators of thousands.
pub(crate) fn grouped(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or_default().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
