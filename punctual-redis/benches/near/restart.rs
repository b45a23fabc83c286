//! The server is killed while many read, and started again with nothing in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::server::{Program, Server};
use crate::subject::{Kind, Subject};

const KEYS: usize = 200;
const READERS: usize = 64;
const RUNS: usize = 5;

/// Returns how many values were served after the reconnect that the new server does not know.
pub(crate) fn unknown_values(program: &Program, kind: Kind) -> String {
    let runs = (0..RUNS).map(|_| crate::runtime().block_on(run(program, kind)));
    let (unknown, all) = runs.fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
    format!("{unknown} of {all} in {RUNS} runs")
}

async fn run(program: &Program, kind: Kind) -> (u64, u64) {
    let mut server = Server::start(program, &[]);
    for id in 0..KEYS {
        server.ask::<()>(format!("SET key:{id} old"));
    }
    let mut subject = Subject::new(kind, &server, 1_000, Duration::from_secs(600)).await;
    let (stop, is_back) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (unknown, all) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (mut subject, stop, is_back) = (subject.clone(), stop.clone(), is_back.clone());
        let (unknown, all) = (unknown.clone(), all.clone());
        readers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let began_after = is_back.load(Ordering::SeqCst);
                let value = subject.get(&format!("key:{}", fastrand::usize(..KEYS))).await;
                if began_after && let Ok(value) = value {
                    all.fetch_add(1, Ordering::Relaxed);
                    unknown.fetch_add(u64::from(value.is_some()), Ordering::Relaxed);
                }
                tokio::task::yield_now().await;
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.kill();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(server.start_again(&[]), "the port is still free");
    // Of a key that nobody has asked for: the server must have answered.
    let mut number = 0;
    while subject.get(&format!("fresh:{number}")).await.is_err() {
        number += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    is_back.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = readers.join_next().await {
        ended.expect("no panic");
    }
    (unknown.load(Ordering::Relaxed), all.load(Ordering::Relaxed))
}
