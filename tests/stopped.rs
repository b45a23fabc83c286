//! A process that is stopped for a while, as containers and virtual machines are: what falls due
//! meanwhile is hardly ever returned afterwards.

#![cfg(target_os = "linux")]
#![cfg(not(any(punctual_loom, miri)))]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use punctual::{Cache, Clock, SystemClock};
use punctual_testing::watchdog::Watchdog;
use rustix::process::{Pid, Signal, kill_process};

const MARK: &str = "PUNCTUAL_TEST_TTL_OF_A_STOPPED_PROCESS";
const STOPPED: Duration = Duration::from_secs(2);
const READERS: u64 = 4;
const ENTRIES: u64 = 1_000;

/// Calls of a thread that may return it: those that it begins before it looks at the clock.
const LATE_MAX: u64 = 64;

#[test]
fn hardly_anything_is_returned_late() {
    if let Ok(ttl_millis) = std::env::var(MARK) {
        return stopped_process(Duration::from_millis(ttl_millis.parse().unwrap()));
    }
    let _watchdog = Watchdog::start();
    // Due so soon that the time is doubted anyhow, and later.
    for (ttl_millis, late_max) in [(600, 0), (1_500, LATE_MAX)] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["hardly_anything_is_returned_late", "--exact", "--nocapture"])
            .env(MARK, ttl_millis.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("ready")));
        let process = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        kill_process(process, Signal::STOP).unwrap();
        thread::sleep(STOPPED);
        kill_process(process, Signal::CONT).unwrap();
        let late = lines.find_map(|line| line.strip_prefix("late: ")?.parse::<u64>().ok());
        assert!(child.wait().unwrap().success());
        assert!(late.is_some_and(|late| late <= late_max), "{ttl_millis} ms: {late:?}");
    }
}

/// Looks up what falls due, until all is freed. Prints the most late returns of a thread.
fn stopped_process(ttl: Duration) {
    let cache: Cache<u64, Instant> = Cache::builder().capacity(4_000).build().unwrap();
    for key in 0..ENTRIES {
        // An insertion may be interrupted after it has read the clock, and that is before.
        let until = Instant::now() + ttl + Duration::from_millis(10) + SystemClock.lag();
        cache.insert_with_ttl(key, until, ttl);
    }
    let is_over = AtomicBool::new(false);
    let late = thread::scope(|scope| {
        let reader = |number| {
            let (cache, is_over) = (&cache, &is_over);
            move || {
                let mut random = fastrand::Rng::with_seed(number);
                let mut late = 0;
                while !is_over.load(Relaxed) {
                    let before = Instant::now();
                    let until = cache.get(&random.u64(..ENTRIES));
                    late += u64::from(until.is_some_and(|until| before > until + MARGIN));
                }
                late
            }
        };
        let readers: Vec<_> = (0..READERS).map(|number| scope.spawn(reader(number))).collect();
        // Until the reaper caches the time.
        thread::sleep(Duration::from_millis(100));
        println!("ready");
        while !cache.is_empty() {
            thread::sleep(Duration::from_millis(10));
        }
        is_over.store(true, Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).max().unwrap()
    });
    println!("late: {late}");
}

/// Insertions may be interrupted for as long before they read the clock.
const MARGIN: Duration = Duration::from_millis(500);
