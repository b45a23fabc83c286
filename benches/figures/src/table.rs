//! Tables: one content, for the terminal and for Markdown.

use std::fmt;

use tabled::builder::Builder;
use tabled::settings::object::{Columns, Object, Rows};
use tabled::settings::{Alignment, Span, Style};

/// Rows of cells: the first column is aligned to the left, the others to the right.
#[derive(Debug)]
pub struct Table {
    head: Vec<String>,
    /// A row of one cell is the title of those after it.
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With the names of the columns between bars.
    pub fn new(head: &str) -> Self {
        Self {
            head: head.split('|').map(|name| name.trim().to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; what it lacks of cells stays empty.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        cells.resize(self.head.len(), String::new());
        self.rows.push(cells);
    }

    /// With rows; nothing, if there are none.
    pub(crate) fn with<T: ToString>(
        mut self,
        rows: impl IntoIterator<Item: IntoIterator<Item = T>>,
    ) -> Option<Self> {
        for row in rows {
            self.row(row.into_iter().map(|cell| cell.to_string()));
        }
        self.unless_empty()
    }

    /// Begins a group of rows: what they have in common is its title.
    pub fn group(&mut self, title: impl Into<String>) {
        self.rows.push(vec![title.into()]);
    }

    /// Nothing, where there is a head and nothing else.
    pub(crate) fn unless_empty(self) -> Option<Self> {
        (!self.rows.is_empty()).then_some(self)
    }

    pub fn markdown(&self) -> String {
        let mut rule = vec!["---".to_owned()];
        rule.resize(self.head.len(), "--:".to_owned());
        let mut builder = Builder::from_iter([self.head.clone(), rule]);
        for row in &self.rows {
            match row.as_slice() {
                [title] => builder.push_record([format!("**{title}**")]),
                cells => builder.push_record(cells),
            }
        }
        let mut table = builder.build();
        table.with(Style::markdown().remove_horizontals());
        table.modify(Columns::new(1..), Alignment::right());
        table.to_string() + "\n"
    }
}

/// As the terminal shows it.
impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Builder::from_iter([&self.head].into_iter().chain(&self.rows)).build();
        table.with(Style::psql());
        table.modify(Columns::new(1..), Alignment::right());
        for (number, _) in self.rows.iter().enumerate().filter(|(_, row)| row.len() == 1) {
            let title = Rows::one(number + 1).intersect(Columns::one(0));
            table.modify(title, Span::column(self.head.len() as isize));
        }
        table.fmt(out)
    }
}

/// A number with separators of thousands.
pub fn grouped(number: impl TryInto<u64>) -> String {
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
