//! Many writers and readers at once: nothing is stale once they have come to rest.

mod support;

use std::collections::BTreeSet;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::proxy::{Mode, Proxy};
use support::server::Server;
use support::{Near, SOON, with_servers_and_forms};
use tokio::task::JoinSet;

/// Seconds for which writers write; a few by default.
const SECONDS: &str = "PUNCTUAL_REDIS_SECONDS";

const KEYS: usize = 200;

fn seconds() -> Duration {
    let seconds = env::var(SECONDS).map_or(2.0, |text| text.parse().expect("a number"));
    Duration::from_secs_f64(seconds)
}

fn key(id: usize) -> String {
    format!("key:{id}")
}

/// Changes a key in one of all the ways. Values grow, so that a reader sees if time goes back.
async fn change(connection: &mut redis::aio::MultiplexedConnection, number: u64) {
    let key = key(fastrand::usize(..KEYS));
    let command = match fastrand::u32(..20) {
        0 => redis::cmd("DEL").arg(&key).take(),
        1 => redis::cmd("SET").arg(&key).arg(number).arg("PX").arg(fastrand::u32(1..80)).take(),
        2 => redis::cmd("PEXPIRE").arg(&key).arg(fastrand::u32(1..80)).take(),
        3 if fastrand::u32(..200) == 0 => redis::cmd("FLUSHALL"),
        _ => redis::cmd("SET").arg(&key).arg(number).take(),
    };
    command.exec_async(connection).await.unwrap();
}

struct Load<'a> {
    server: &'a Server,
    near: &'a Near,
    writers: usize,
    readers: usize,
    duration: Duration,
}

impl Load<'_> {
    /// Runs writers and readers, and returns how many writes there were.
    async fn run(self) -> u64 {
        let mut tasks = JoinSet::new();
        let (stop, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
        for _ in 0..self.readers {
            let (near, stop) = (self.near.clone(), stop.clone());
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if fastrand::u32(..8) == 0 {
                        let keys: Vec<_> = (0..5).map(|_| key(fastrand::usize(..KEYS))).collect();
                        let _ = near.get_many(&keys).await;
                    } else {
                        let _ = near.get(&key(fastrand::usize(..KEYS))).await;
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
        let client = self.server.client();
        let mut writers = JoinSet::new();
        let end = Instant::now() + self.duration;
        for _ in 0..self.writers {
            let (client, near, number) = (client.clone(), self.near.clone(), number.clone());
            writers.spawn(async move {
                let mut connection = client.get_multiplexed_async_connection().await.unwrap();
                while Instant::now() < end {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    if fastrand::u32(..10) == 0 {
                        let _ = near.set(&key(fastrand::usize(..KEYS)), number).await;
                    } else {
                        change(&mut connection, number).await;
                    }
                }
            });
        }
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
        // Readers go on for a while after the last write, as they do in life.
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::Relaxed);
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        number.load(Ordering::Relaxed)
    }
}

/// The keys that are not now as the server has them.
async fn stale(server: &Server, near: &Near) -> BTreeSet<String> {
    let mut stale = BTreeSet::new();
    let mut connection = server.connection();
    for id in 0..KEYS {
        let key = key(id);
        let held = near.get(&key).await.unwrap();
        let there: Option<String> = redis::cmd("GET").arg(&key).query(&mut connection).unwrap();
        if held != there {
            stale.insert(key);
        }
    }
    stale
}

#[test]
fn nothing_is_stale_at_rest() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = Near::start(form.near(server.url()).response_timeout(SOON)).await;
        let load =
            Load { server: &server, near: &near, writers: 16, readers: 64, duration: seconds() };
        let writes = load.run().await;
        let stats = near.stats();
        println!("{writes} writes, {stats:?}");
        assert_eq!(stale(&server, &near).await, BTreeSet::new(), "{stats:?}");
        assert_eq!(stats.losses, 0);
        assert!(stats.hits > stats.loads && stats.loads_not_stored > 0, "{stats:?}");
    });
}

#[test]
fn nothing_is_stale_at_rest_in_broadcast_mode() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let builder = form.near(server.url()).response_timeout(SOON).broadcast(["key:"]);
        let near = Near::start(builder).await;
        let load =
            Load { server: &server, near: &near, writers: 16, readers: 64, duration: seconds() };
        load.run().await;
        assert_eq!(stale(&server, &near).await, BTreeSet::new(), "{:?}", near.stats());
    });
}

/// The connection is closed by the server again and again, and comes in pieces through a proxy.
#[test]
fn nothing_is_stale_at_rest_on_a_bad_network() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let proxy = Proxy::start(server.port()).await;
        let near = Near::start(form.near(proxy.url()).response_timeout(SOON)).await;
        let killer = tokio::spawn({
            let client = server.client();
            let duration = seconds();
            async move {
                let end = Instant::now() + duration;
                let mut connection = client.get_multiplexed_async_connection().await.unwrap();
                while Instant::now() < end {
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(20..100))).await;
                    proxy.set(if fastrand::bool() { Mode::Pass } else { Mode::Trickle });
                    let list: String = redis::cmd("CLIENT")
                        .arg("LIST")
                        .query_async(&mut connection)
                        .await
                        .unwrap();
                    // The one that is tracked: `t` among its flags.
                    let near = list.lines().find(|line| {
                        line.split(' ').any(|word| word.starts_with("flags=") && word.contains('t'))
                    });
                    let words = near.map(|line| line.split(' ').next().unwrap());
                    if let Some(id) = words.and_then(|word| word.strip_prefix("id=")) {
                        let mut kill = redis::cmd("CLIENT");
                        kill.arg("KILL").arg("ID").arg(id);
                        let _: u32 = kill.query_async(&mut connection).await.unwrap();
                    }
                }
                proxy.set(Mode::Pass);
                proxy
            }
        });
        let load =
            Load { server: &server, near: &near, writers: 4, readers: 32, duration: seconds() };
        load.run().await;
        let _proxy = killer.await.unwrap();
        support::until("it is connected", || near.stats().is_connected).await;
        let stats = near.stats();
        assert!(stats.reconnects > 3, "{stats:?}");
        assert_eq!(stale(&server, &near).await, BTreeSet::new(), "{stats:?}");
    });
}

/// A hundred short runs: of 200 keys none is stale 300 ms after the last write.
#[test]
#[ignore = "takes four minutes"]
fn nothing_is_stale_in_a_hundred_runs() {
    with_servers_and_forms(|program, form| async move {
        for (run, readers) in (0..100).flat_map(|run| [(run, 16), (run, 64)]) {
            let server = Server::start(&program, &[]);
            let near = Near::start(form.near(server.url()).response_timeout(SOON)).await;
            let duration = Duration::from_millis(250);
            Load { server: &server, near: &near, writers: 16, readers, duration }.run().await;
            assert_eq!(stale(&server, &near).await, BTreeSet::new(), "run {run}, {readers}");
        }
        println!("{form:?}: 0 of {KEYS} keys stale in 100 runs with 16 readers and 100 with 64");
    });
}

/// One task sees its own writes, and after an answer of the server nothing older.
#[test]
fn a_writer_reads_what_it_has_written() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        let mut tasks = JoinSet::new();
        for writer in 0..16 {
            let near = near.clone();
            tasks.spawn(async move {
                let key = key(writer);
                for number in 0..200 {
                    near.set(&key, number).await.unwrap();
                    // Others read it, too.
                    let other = format!("key:{}", fastrand::u32(..16));
                    near.get(&other).await.unwrap();
                    assert_eq!(near.get(&key).await.unwrap(), Some(number.to_string()));
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    });
}
