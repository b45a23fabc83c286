//! How far a long work is: on a terminal a bar with the time left, elsewhere a line for each step.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// A bar on standard error, or lines there.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of a work of so many parts, all of about the same length.
    pub fn new(total: u64) -> Self {
        if !io::stderr().is_terminal() {
            return Self { bar: None };
        }
        let style = ProgressStyle::with_template("{bar:24} {percent:>3} %, {left}: {wide_msg}")
            .expect("the template is well formed")
            .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = out.write_str(&left(state.eta()));
            });
        // Drawn when a step begins and at no other time: nothing runs beside what is measured.
        Self { bar: Some(ProgressBar::new(total).with_style(style)) }
    }

    /// Says what is worked on, after so many parts.
    pub fn step(&self, done: u64, what: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(what.to_owned());
                bar.set_position(done);
                bar.tick();
            }
            None => line(what),
        }
    }

    /// Prints something that stays.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => line(text),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Without standard error the work goes on.
fn line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn left(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("{seconds} s left"),
        seconds => format!("{} min left", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_in_seconds_or_minutes() {
        let told = [0, 99, 100, 3_600].map(|seconds| left(Duration::from_secs(seconds)));
        assert_eq!(told, ["0 s left", "99 s left", "2 min left", "60 min left"]);
    }
}
