//! Tests that wait: for something to come true, and for their own end.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Runs a test, and ends the process with a message if that takes a minute: a
/// deadlock shall have a name.
pub(crate) fn watched<R>(test: impl FnOnce() -> R) -> R {
    use std::io::Write;

    let name = thread::current().name().unwrap_or("a test").to_owned();
    let (running, is_running) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let ended = is_running.recv_timeout(Duration::from_secs(60));
        if ended == Err(RecvTimeoutError::Timeout) {
            // Not by a macro: the test harness would keep that to itself.
            let _ = writeln!(std::io::stderr(), "{name}: no end after 60 s, a deadlock");
            std::process::abort();
        }
    });
    let result = test();
    drop(running);
    watchdog.join().unwrap();
    result
}

/// Waits until something has come true that the reaper is to bring about.
pub(crate) fn await_that(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if is_true() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("it never came true that {what}");
}
