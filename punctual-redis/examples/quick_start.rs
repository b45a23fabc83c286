//! Starts a server on a free port of the loopback, and shows what a near-cache does with it:
//! `cargo run -p punctual-redis --example quick_start`. It needs `redis-server`.

#[path = "../tests/support/server.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use more of it")]
mod server;

use std::time::{Duration, Instant};

use punctual_redis::{Error, NearCache};
use server::Server;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let Some(program) = server::programs().into_iter().next() else { return Ok(()) };
    let mut server = Server::start(&program, &[]);
    println!("a server on port {}", server.port());
    let users: NearCache<String> = NearCache::builder()
        .url(server.url())
        .capacity(10_000)
        .longest_ttl(Duration::from_secs(60))
        .build()
        .await?;

    users.set("user:7", &"Ada".to_owned()).await?;
    let began = Instant::now();
    println!("from the server: {:?} in {:?}", users.get("user:7").await?, began.elapsed());
    let began = Instant::now();
    println!("from memory:     {:?} in {:?}", users.get("user:7").await?, began.elapsed());

    // A thousand tasks want a key that is not held.
    server.ask::<()>("SET user:8 Grace");
    let mut tasks = JoinSet::new();
    for _ in 0..1_000 {
        let users = users.clone();
        tasks.spawn(async move { users.get("user:8").await });
    }
    while let Some(user) = tasks.join_next().await {
        assert_eq!(user.expect("no panic")?.as_deref(), Some("Grace"));
    }
    println!("1,000 tasks, one key: {} loads so far", users.stats().loads);

    // Another client changes a key; the server tells.
    server.ask::<()>("SET user:7 Alan");
    let changed = Instant::now();
    while users.get("user:7").await?.as_deref() != Some("Alan") {
        tokio::task::yield_now().await;
    }
    println!("a change was seen after {:?}", changed.elapsed());

    // The server dies, and comes back with nothing.
    server.kill();
    while users.get("user:7").await.is_ok() {
        tokio::task::yield_now().await;
    }
    println!("the server was killed: {}", users.get("user:7").await.expect_err("it is away"));
    assert!(server.start_again(&[]));
    let user = loop {
        match users.get("user:7").await {
            Ok(user) => break user,
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    println!("started again, it has no user 7, and nor has the cache: {user:?}");
    println!("{:#?}", users.stats());
    users.close().await;
    Ok(())
}
