//! How far a long work is: on a terminal a bar with the time left, elsewhere a line for each step.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, or lines there.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
    total: u64,
    /// For all of it, before anything is done.
    expected: Option<Duration>,
}

impl Progress {
    /// Of a work of so many parts, all of about the same length, and the time that it should take
    /// if that is known.
    pub fn new(total: u64, expected: Option<Duration>) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:24} {percent:>3} %{prefix}: {wide_msg}");
            // Drawn when a step begins and at no other time: nothing runs beside what is measured.
            ProgressBar::new(total).with_style(style.expect("the template is well formed"))
        });
        Self { bar, began: Instant::now(), total, expected }
    }

    /// Says what is worked on, after so many parts.
    pub fn step(&self, done: u64, what: &str) {
        let Some(bar) = &self.bar else { return line(what) };
        let left = self.left(done, self.began.elapsed());
        bar.set_prefix(
            left.map_or_else(String::new, |left| format!(", about {} left", shown(left))),
        );
        bar.set_message(what.to_owned());
        bar.set_position(done);
        bar.tick();
    }

    /// The rest should go on as what is done did.
    fn left(&self, done: u64, elapsed: Duration) -> Option<Duration> {
        let share_done = done as f64 / self.total.max(1) as f64;
        let all = if done > 0 { Some(elapsed.div_f64(share_done)) } else { self.expected };
        Some(all?.mul_f64((1.0 - share_done).max(0.0)))
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

fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_goes_on_as_what_is_done_did() {
        let seconds = Duration::from_secs;
        let progress =
            |expected| Progress { bar: None, began: Instant::now(), total: 10, expected };
        assert_eq!(progress(None).left(0, seconds(3)), None);
        assert_eq!(progress(Some(seconds(50))).left(0, seconds(3)), Some(seconds(50)));
        assert_eq!(progress(Some(seconds(50))).left(5, seconds(30)), Some(seconds(30)));
        assert_eq!(progress(None).left(10, seconds(30)), Some(seconds(0)));
    }

    #[test]
    fn times_are_told_in_seconds_or_minutes() {
        let told = [0, 99, 100, 3_600].map(|seconds| shown(Duration::from_secs(seconds)));
        assert_eq!(told, ["0 s", "99 s", "2 min", "60 min"]);
    }
}
