//! What this crate gains beside redis-rs's own client-side cache (`cache-aio`), with a real server.
//!
//! `cargo bench -p punctual-redis` prints the table of the README. `PUNCTUAL_REDIS_RUNS` says how
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
    // What `cargo bench` and `cargo test` pass on is of no interest.
    let Some(program) = server::programs().into_iter().next() else { return };
    let program: &Program = &program;
    println!("| | punctual-redis | redis-rs 1.8, `cache-aio` | must |\n|---|--:|--:|--:|");
    for readers in [16, 64] {
        row(
            &format!("keys of 200 that are stale 300 ms after the last write, {readers} readers"),
            |kind| race::stale_keys(program, kind, readers),
            "0",
        );
    }
    row("`GET`s when 1,000 tasks ask for one missing key", |kind| herd::gets(program, kind), "1");
    hit::rows(program);
    row(
        "MiB with 100,000 entries of 200 bytes: empty → full → after their TTLs, untouched",
        |kind| memory::mebibytes(program, kind),
        "as empty",
    );
    row(
        "server killed and started again under load: values served that it does not know",
        |kind| restart::unknown_values(program, kind),
        "0",
    );
}
