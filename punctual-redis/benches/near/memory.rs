//! Bytes that are allocated in this process, counted in the allocator.

use std::time::{Duration, Instant};

use punctual_testing::alloc::Count;
use tokio::task::JoinSet;

use crate::server::{Program, Server};
use crate::subject::{Kind, Subject};

const ENTRIES: usize = 100_000;
const TASKS: usize = 50;
/// Longer than it takes to fill the cache.
const TTL: Duration = Duration::from_secs(15);

/// Returns what is allocated when the cache is empty, full, and after all TTLs have passed, with
/// nobody touching it.
pub(crate) fn mebibytes(program: &Program, kind: Kind) -> String {
    crate::runtime().block_on(run(program, kind))
}

async fn run(program: &Program, kind: Kind) -> String {
    let server = Server::start(program, &[]);
    let mut connection = server.connection();
    let value = "v".repeat(200);
    for first in (0..ENTRIES).step_by(1_000) {
        let mut pipe = redis::pipe();
        for id in first..first + 1_000 {
            pipe.set(format!("key:{id}"), &value).ignore();
        }
        pipe.exec(&mut connection).expect("the server is there");
    }
    let count = Count::start();
    let before = count.traffic().bytes_kept;
    let mebibytes = || (count.traffic().bytes_kept - before) as f64 / f64::from(1 << 20);
    let subject = Subject::new(kind, &server, ENTRIES, TTL).await;
    let empty = mebibytes();
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let mut subject = subject.clone();
        tasks.spawn(async move {
            for id in (task..ENTRIES).step_by(TASKS) {
                let value = subject.get(&format!("key:{id}")).await.expect("it is there");
                assert_eq!(value.map(|value| value.len()), Some(200));
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
    assert!(began.elapsed() < TTL, "the first have left already");
    let full = mebibytes();
    tokio::time::sleep(TTL + Duration::from_secs(1)).await;
    format!("{empty:.1} → {full:.1} → {:.1}", mebibytes())
}
