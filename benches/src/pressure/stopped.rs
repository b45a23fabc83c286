//! A process that is stopped and goes on: what it returns that fell due meanwhile.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use punctual::{Cache, Clock, SystemClock};
use punctual_figures::record::BarLine;
use rustix::process::{Pid, Signal, kill_process};

use crate::bar::{Bar, COUNT, Limit};

/// The first argument of the process that is stopped.
pub(crate) const CHILD: &str = "stopped";

const ROUNDS: usize = 8;
const STOPPED: Duration = Duration::from_secs(3);
const READERS: u64 = 4;
const ENTRIES: u64 = 1_000;
const RESOLUTION: Duration = Duration::from_millis(10);

pub(super) fn lines() -> Vec<BarLine> {
    let line = |ttl: Duration, aim: bool| {
        let most = (0..ROUNDS).map(|_| stop_and_go_on(ttl)).collect();
        let name =
            format!("most late returns of a thread after the process was stopped, TTL {ttl:?}");
        let bar = Bar::new(name, COUNT, Limit::at_most(64.0));
        let bar = if aim { bar.aim(Limit::at_most(0.0)) } else { bar };
        bar.worst(most, &format!("{ROUNDS} rounds"))
    };
    // The second: due too long after what the process knows to be doubted.
    vec![line(Duration::from_secs(1), true), line(Duration::from_millis(2_500), false)]
}

/// Returns how often one of the child's threads has returned what had fallen due.
fn stop_and_go_on(ttl: Duration) -> f64 {
    let program = std::env::current_exe().expect("it has a path");
    let mut child = Command::new(program)
        .args([CHILD, &ttl.as_millis().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started again");
    let mut output = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut next = || output.next().expect("it goes on").expect("it is text");
    assert_eq!(next(), "ready");
    let process = Pid::from_raw(child.id() as i32).expect("it is not 0");
    kill_process(process, Signal::STOP).expect("it can be stopped");
    thread::sleep(STOPPED);
    kill_process(process, Signal::CONT).expect("it can go on");
    let most = next().parse().expect("it is a number");
    child.wait().expect("it ends");
    most
}

/// In a process of its own: looks up what falls due, and prints the most late returns of a thread.
pub(crate) fn child(ttl_millis: &str) {
    let ttl = Duration::from_millis(ttl_millis.parse().expect("it is a number"));
    let cache: Cache<u64, Instant> = Cache::builder().capacity(4_000).ttl(ttl).build().unwrap();
    let allowed = RESOLUTION + SystemClock.lag();
    for key in 0..ENTRIES {
        cache.insert(key, Instant::now() + ttl + allowed);
    }
    let is_over = AtomicBool::new(false);
    let most = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let (cache, is_over) = (&cache, &is_over);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(number);
                    let mut late = 0;
                    while !is_over.load(Relaxed) {
                        let before = Instant::now();
                        let found = cache.get(&random.u64(..ENTRIES));
                        late += u64::from(found.is_some_and(|until| before > until + allowed));
                    }
                    late
                })
            })
            .collect();
        // Until the reaper keeps the time.
        thread::sleep(Duration::from_millis(200));
        println!("ready");
        std::io::stdout().flush().expect("somebody reads it");
        while !cache.is_empty() {
            thread::sleep(Duration::from_millis(10));
        }
        is_over.store(true, Relaxed);
        readers.into_iter().map(|reader| reader.join().expect("it counts")).max()
    });
    println!("{}", most.unwrap_or(0));
}
