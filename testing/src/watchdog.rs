//! Tests that wait: for something to come true, and for their own end.
//!
//! No test goes by how long something takes: a thread may not be scheduled for
//! seconds, and a whole machine may be paused. What must happen is waited for, however
//! long that takes; what must not happen is asked for once it could have happened.
//! Only a deadlock has to end some day. So both waits here are counted in steps of the
//! waiting thread, which a pause of the machine does not add to, and are far longer
//! than any test takes on a machine with ten times as much to do as it can.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

const SECONDS_MAX: usize = 900;

/// Ends the process with a message unless it is dropped within a quarter of an hour: a
/// deadlock shall have a name.
#[derive(Debug)]
#[must_use = "it watches until it is dropped"]
pub struct Watchdog {
    /// Disconnects when the test ends.
    running: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watchdog {
    /// Starts to watch the test that this thread runs.
    pub fn start() -> Self {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let (running, is_running) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let second = Duration::from_secs(1);
            let ended = |_| is_running.recv_timeout(second) == Err(RecvTimeoutError::Disconnected);
            if !(0..SECONDS_MAX).any(ended) {
                // Not by a macro: the test harness would keep that to itself.
                let mut stderr = std::io::stderr();
                let _ = writeln!(stderr, "{name}: no end after {SECONDS_MAX} s, a deadlock");
                std::process::abort();
            }
        });
        Self { running: Some(running), thread: Some(thread) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.running.take());
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

/// Waits until something has come true that another thread is to bring about.
///
/// # Panics
///
/// If that takes longer than any test may.
pub fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    for _ in 0..SECONDS_MAX / 2 * 1_000 {
        if is_true() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("it never came true that {what}");
}
