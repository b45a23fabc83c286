//! What this crate gains beside redis-rs's own client-side cache (`cache-aio`), with a real server.
//!
//! `cargo bench -p punctual-redis` prints the table of the README, `-- hit` at its end one part of it. `PUNCTUAL_REDIS_RUNS` says how
//! often the race for stale keys is run, ten times by default.

mod herd;
mod hit;
mod memory;
mod race;
mod restart;
#[path = "../../tests/support/server.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use more of it")]
mod server;
mod subject;

use std::env;

use punctual_testing::alloc::{Counting, OnDemand, Process};
use tokio::runtime::{Builder, Runtime};

use server::Program;
use subject::Kind;

#[global_allocator]
static ALLOCATOR: Counting<Process<OnDemand>> = Counting(Process(OnDemand));

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("there are threads")
}

/// Prints one line of the table.
fn row(what: &str, of: impl Fn(Kind) -> String, must: &str) {
    println!("| {what} | {} | {} | {must} |", of(Kind::Near), of(Kind::RedisRs));
}

fn main() {
    let Some(program) = server::programs().into_iter().next() else { return };
    let program: &Program = &program;
    // One of the parts below; what `cargo bench` itself passes on begins with a dash.
    let part = env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wants = |name: &str| part.as_deref().is_none_or(|part| part == name);
    println!("| | punctual-redis | redis-rs 1.8, `cache-aio` | must |\n|---|--:|--:|--:|");
    if wants("stale") {
        for readers in [16, 64] {
            row(
                &format!("keys of 200 stale 300 ms after the last write, {readers} readers"),
                |kind| race::stale_keys(program, kind, readers),
                "0",
            );
        }
    }
    if wants("herd") {
        let what = "`GET`s when 1,000 tasks ask for one missing key";
        row(what, |kind| herd::gets(program, kind), "1");
    }
    if wants("hit") {
        hit::rows(program);
    }
    if wants("memory") {
        row(
            "MiB with 100,000 entries of 200 bytes: empty → full → after their TTLs, untouched",
            |kind| memory::mebibytes(program, kind),
            "as empty",
        );
    }
    if wants("restart") {
        row(
            "server killed and started again under load: values served that it does not know",
            |kind| restart::unknown_values(program, kind),
            "0",
        );
    }
}
