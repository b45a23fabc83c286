//! Writers and readers at once; then all are left alone, and the keys are compared.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::server::{Program, Server};
use crate::subject::{Kind, Subject};

const KEYS: usize = 200;
const WRITERS: usize = 16;
const WRITING: Duration = Duration::from_millis(250);

fn key(id: usize) -> String {
    format!("key:{id}")
}

/// Returns how many keys were stale in each run: the least and the most.
pub(crate) fn stale_keys(program: &Program, kind: Kind, readers: usize) -> String {
    let runs = env::var("PUNCTUAL_REDIS_RUNS").map_or(10, |runs| runs.parse().expect("a number"));
    let counts = (0..runs).map(|_| crate::runtime().block_on(run(program, kind, readers)));
    let counts: Vec<usize> = counts.collect();
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    if least == most {
        format!("{least} in each of {runs} runs")
    } else {
        format!("{least} to {most} in {runs} runs")
    }
}

async fn run(program: &Program, kind: Kind, readers: usize) -> usize {
    let server = Server::start(program, &[]);
    let mut subject = Subject::new(kind, &server, 1_000, Duration::from_secs(600)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut reading = JoinSet::new();
    for _ in 0..readers {
        let (mut subject, stop) = (subject.clone(), stop.clone());
        reading.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let _ = subject.get(&key(fastrand::usize(..KEYS))).await;
                tokio::task::yield_now().await;
            }
        });
    }
    let mut writing = JoinSet::new();
    let end = Instant::now() + WRITING;
    for _ in 0..WRITERS {
        let client = server.client();
        writing.spawn(async move {
            let mut connection =
                client.get_multiplexed_async_connection().await.expect("the server is there");
            while Instant::now() < end {
                let mut set = redis::cmd("SET");
                set.arg(key(fastrand::usize(..KEYS))).arg(fastrand::u64(..));
                set.exec_async(&mut connection).await.expect("the server is there");
            }
        });
    }
    while let Some(ended) = writing.join_next().await {
        ended.expect("no panic");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = reading.join_next().await {
        ended.expect("no panic");
    }
    let mut connection = server.connection();
    let mut stale = 0;
    for id in 0..KEYS {
        let held = subject.get(&key(id)).await.expect("the server is there");
        let there: Option<Vec<u8>> =
            redis::cmd("GET").arg(key(id)).query(&mut connection).expect("the server is there");
        stale += usize::from(held != there);
    }
    stale
}
