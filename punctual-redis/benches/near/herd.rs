//! Many tasks want the same key, which nobody has.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::server::{Program, Server};
use crate::subject::{Kind, Subject};

const RUNS: usize = 5;

/// Returns how many `GET`s the server saw in each run.
pub(crate) fn gets(program: &Program, kind: Kind) -> String {
    let runs = (0..RUNS).map(|_| crate::runtime().block_on(run(program, kind)));
    let mut runs: Vec<u64> = runs.collect();
    runs.sort_unstable();
    match (runs[0], runs[RUNS - 1]) {
        (least, most) if least == most => format!("{least}"),
        (least, most) => format!("{least} to {most}"),
    }
}

async fn run(program: &Program, kind: Kind) -> u64 {
    let server = Server::start(program, &[]);
    let subject = Subject::new(kind, &server, 1_000, Duration::from_secs(600)).await;
    server.ask::<()>("SET key value");
    let mut tasks = JoinSet::new();
    for _ in 0..1_000 {
        let mut subject = subject.clone();
        tasks.spawn(async move { subject.get("key").await });
    }
    while let Some(value) = tasks.join_next().await {
        let value = value.expect("no panic").expect("the server is there");
        assert_eq!(value.as_deref(), Some(&b"value"[..]));
    }
    server.calls("get")
}
