//! How far the run is, by the time that its parts take.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use punctual_figures::progress::Progress;

/// None in the processes that a measurement starts.
static RUN: Mutex<Option<Run>> = Mutex::new(None);

struct Run {
    progress: Progress,
    /// Of the parts that are done, as they were expected.
    seconds_done: u64,
    /// Of the part that is measured now.
    seconds_of_part: u64,
    began: Instant,
}

/// Begins a run that should take so long.
pub(crate) fn start(seconds: u64) {
    let progress = Progress::new(seconds, Some(Duration::from_secs(seconds)));
    let run = Run { progress, seconds_done: 0, seconds_of_part: 0, began: Instant::now() };
    *RUN.lock().expect("nobody panics with it") = Some(run);
}

/// Begins a part that should take so long; the one before is done.
pub(crate) fn part(seconds: u64) {
    if let Some(run) = &mut *RUN.lock().expect("nobody panics with it") {
        run.seconds_done += run.seconds_of_part;
        run.seconds_of_part = seconds;
        run.began = Instant::now();
    }
}

/// Says what is measured next.
pub(crate) fn step(what: &str) {
    if let Some(run) = &*RUN.lock().expect("nobody panics with it") {
        let of_part = run.began.elapsed().as_secs().min(run.seconds_of_part);
        run.progress.step(run.seconds_done + of_part, what);
    }
}

/// Prints something that stays.
pub(crate) fn note(text: &str) {
    if let Some(run) = &*RUN.lock().expect("nobody panics with it") {
        run.progress.note(text);
    }
}

pub(crate) fn finish() {
    if let Some(run) = RUN.lock().expect("nobody panics with it").take() {
        run.progress.finish();
    }
}
