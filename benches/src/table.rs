//! Tables: one content, for the terminal, for Markdown and for HTML.

use std::fmt;

/// Rows of cells: the first column is aligned to the left, the others to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<T: Into<String>>(head: impl IntoIterator<Item = T>) -> Self {
        Self { rows: vec![head.into_iter().map(Into::into).collect()] }
    }

    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// As HTML.
    pub(crate) fn html(&self) -> String {
        let mut text = String::from("<div class=\"table\"><table>");
        for (number, row) in self.rows.iter().enumerate() {
            let tag = if number == 0 { "th" } else { "td" };
            text += "<tr>";
            for cell in row {
                let cell = escaped(cell);
                text += &format!("<{tag}>{cell}</{tag}>");
            }
            text += "</tr>\n";
        }
        text + "</table></div>\n"
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            text += &format!("| {} |\n", row.join(" | "));
            if number == 0 {
                let columns = row.len().saturating_sub(1);
                text += &format!("|---|{}\n", "---:|".repeat(columns));
            }
        }
        text
    }

    /// Whether there is a head and nothing else.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                if column == 0 {
                    write!(out, "{cell:<width$}", width = widths[column])?;
                } else {
                    write!(out, "  {cell:>width$}", width = widths[column])?;
                }
            }
            writeln!(out)?;
            if number == 0 {
                let total = widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1);
                writeln!(out, "{}", "-".repeat(total))?;
            }
        }
        Ok(())
    }
}

/// Text as HTML shows it.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
