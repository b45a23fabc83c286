//! The server goes away, and comes back.

mod support;

use std::time::{Duration, Instant};

use punctual_redis::{Error, WhileAway};
use support::proxy::{Mode, Proxy};
use support::server::Server;
use support::{Near, until, until_value, with_servers_and_forms};

const STALE: WhileAway = WhileAway::Stale { at_most: Duration::from_secs(60) };

/// What a caller does, one after the other. None of it may panic or hang, wherever the server is.
const SCRIPT: [&str; 9] = ["get", "absent", "again", "many", "set", "get", "ttl", "forget", "many"];

async fn step(near: &Near, name: &str) -> Result<(), Error> {
    match name {
        "get" | "again" => near.get("key").await.map(drop),
        "absent" => near.get("absent").await.map(drop),
        "many" => near.get_many(&["key", "other", "absent"]).await.map(drop),
        "set" => near.set("key", "new").await,
        "ttl" => near.set_with_ttl("key", "new", Duration::from_secs(100)).await,
        _ => {
            near.forget("key");
            Ok(())
        }
    }
}

/// Kills the server before each step of the script, and during it. Whatever the cache held: once it
/// is connected to the server that was started instead, it serves what that one has.
#[test]
fn a_server_may_be_killed_at_every_step() {
    with_servers_and_forms(|program, form| async move {
        for policy in [WhileAway::Error, STALE] {
            for (at, during) in (0..SCRIPT.len()).flat_map(|at| [(at, false), (at, true)]) {
                let mut server = Server::start(&program, &[]);
                let near = Near::start(form.near(server.url()).while_away(policy)).await;
                server.ask::<()>("MSET key before other before");
                for name in &SCRIPT[..at] {
                    step(&near, name).await.unwrap();
                }
                let rest = tokio::spawn({
                    let near = near.clone();
                    if !during {
                        server.kill();
                    }
                    async move {
                        let mut errors = 0;
                        for name in &SCRIPT[at..] {
                            errors += usize::from(step(&near, name).await.is_err());
                        }
                        errors
                    }
                });
                if during {
                    tokio::time::sleep(Duration::from_micros(fastrand::u64(..400))).await;
                    server.kill();
                }
                rest.await.expect("no step panics");
                until("the loss is noticed", || !near.stats().is_connected).await;
                let away = near.set("key", "").await;
                assert!(matches!(away, Err(Error::Away | Error::Redis(_))), "{away:?}");
                if policy == WhileAway::Error {
                    assert!(near.get("key").await.is_err());
                    // Nothing is served from the loss on; it is dropped right after that.
                    until("everything has left", || near.stats().held == 0).await;
                }

                assert!(server.start_again(&[]));
                server.ask::<()>("SET key after");
                until("it is connected", || near.stats().is_connected).await;
                // It does not know these, and from now on they are not served.
                for _ in 0..3 {
                    assert_eq!(near.get("other").await.unwrap(), None);
                    assert_eq!(near.get("absent").await.unwrap(), None);
                    assert_eq!(near.get("key").await.unwrap().as_deref(), Some("after"));
                }
                server.ask::<()>("SET key later");
                until_value(&near, "key", Some("later")).await;
                assert_eq!(near.stats().reconnects, 1);
            }
        }
    });
}

#[test]
fn a_connection_that_the_server_closes_is_replaced() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        server.ask::<()>("SET key 1");
        let mut connection = server.connection();
        for round in 1..30 {
            until_value(&near, "key", Some(&round.to_string())).await;
            // All in one: what is set is set while there is no connection that hears of it.
            redis::pipe()
                .cmd("CLIENT")
                .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
                .ignore()
                .cmd("SET")
                .arg("key")
                .arg(round + 1)
                .exec(&mut connection)
                .unwrap();
        }
        until("the last loss is noticed", || near.stats().reconnects == 29).await;
        assert_eq!(near.stats().losses, 29);
    });
}

#[test]
fn values_may_be_served_while_the_server_is_away() {
    with_servers_and_forms(|program, form| async move {
        let mut server = Server::start(&program, &[]);
        let stale = WhileAway::Stale { at_most: Duration::from_millis(1_000) };
        let near = Near::start(form.near(server.url()).while_away(stale)).await;
        server.ask::<()>("MSET key value other value");
        server.ask::<()>("SET short value PX 250");
        for key in ["key", "short", "absent"] {
            near.get(key).await.unwrap();
        }
        server.kill();
        let began = Instant::now();
        until("the loss is noticed", || !near.stats().is_connected).await;
        assert_eq!(near.get("key").await.unwrap().as_deref(), Some("value"));
        assert_eq!(near.get("absent").await.unwrap(), None);
        let both = near.get_many(&["key", "absent"]).await.unwrap();
        assert_eq!(both, [Some("value".to_owned()), None]);
        assert!(matches!(near.get("other").await, Err(Error::Away)), "it was not held");
        assert!(matches!(near.get_many(&["key", "other"]).await, Err(Error::Away)));
        assert!(near.stats().stale_served >= 4);
        let mut short_was_served = false;
        let served_until = loop {
            let asked = began.elapsed();
            let Ok(value) = near.get("key").await else { break asked };
            assert_eq!(value.as_deref(), Some("value"));
            assert!(asked <= Duration::from_millis(1_000), "too old");
            short_was_served = near.get("short").await.is_ok();
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert!(!short_was_served, "its own TTL has passed before");
        // The last probe was a tenth of a second before the end, or a little more.
        assert!(served_until > Duration::from_millis(400), "{served_until:?}");

        assert!(server.start_again(&[]));
        until_value(&near, "key", None).await;
    });
}

/// A network that swallows everything: the server's changes are not heard of, and it does not hang up.
#[test]
fn a_silent_network_is_noticed_by_a_probe() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let proxy = Proxy::start(server.port()).await;
        let builder = form.near(proxy.url()).probe_every(Duration::from_millis(100));
        let near = Near::start(builder.response_timeout(Duration::from_millis(200))).await;
        server.ask::<()>("SET key old");
        near.get("key").await.unwrap();
        proxy.set(Mode::Hold);
        server.ask::<()>("SET key new");
        let changed = Instant::now();
        while let Ok(value) = near.get("key").await {
            assert_eq!(value.as_deref(), Some("old"));
            // 300 ms, and what busy processors take.
            assert!(changed.elapsed() < Duration::from_millis(1_500), "served for too long");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(changed.elapsed() > Duration::from_millis(100), "{:?}", changed.elapsed());
        until("everything has left", || near.stats().held == 0).await;
        proxy.set(Mode::Pass);
        // What the old connection brings now is nobody's any more.
        until_value(&near, "key", Some("new")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(near.get("key").await.unwrap().as_deref(), Some("new"));
    });
}

/// A reader far behind: invalidations queue up in the network, with the replies, and all arrive.
#[test]
fn a_slow_reader_loses_no_invalidation() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let proxy = Proxy::start(server.port()).await;
        let builder = form.near(proxy.url()).response_timeout(Duration::from_secs(20));
        let near = Near::start(builder.concurrent_loads(600)).await;
        let keys: Vec<String> = (0..500).map(|id| format!("key:{id}")).collect();
        near.get_many(&keys).await.unwrap();
        assert_eq!(near.stats().held, 500);
        proxy.set(Mode::Trickle);
        let mut connection = server.connection();
        for key in &keys {
            redis::cmd("SET").arg(key).arg("value").exec(&mut connection).unwrap();
        }
        until("all are invalidated", || near.stats().invalidations >= 500).await;
        assert_eq!(near.stats().losses, 0);
        proxy.set(Mode::Pass);
        let values = near.get_many(&keys).await.unwrap();
        assert!(values.iter().all(|value| value.as_deref() == Some("value")));
    });
}

/// A server that stands still answers nothing; its clients' time-outs say so.
#[test]
fn a_slow_server_is_an_error_or_serves_what_is_held() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &["--enable-debug-command", "yes"]);
        for policy in [WhileAway::Error, STALE] {
            let builder = form.near(server.url()).while_away(policy);
            let near = Near::start(builder.response_timeout(Duration::from_millis(100))).await;
            near.get("key").await.unwrap();
            let sleep = tokio::task::spawn_blocking({
                let mut connection = server.connection();
                move || redis::cmd("DEBUG").arg(&["SLEEP", "1.5"]).exec(&mut connection)
            });
            // Until it has fallen asleep.
            let mut number = 0;
            while near.get(&format!("fresh:{number}")).await.is_ok() {
                number += 1;
            }
            until("a probe fails", || !near.stats().is_connected).await;
            assert_eq!(near.get("key").await.is_ok(), policy == STALE);
            sleep.await.unwrap().unwrap();
            until("it is connected", || near.stats().is_connected).await;
            assert_eq!(near.get("other").await.unwrap(), None);
            near.close().await;
        }
    });
}

/// Attempts to connect become rarer, and go on for as long as it takes.
#[test]
fn attempts_to_connect_become_rarer() {
    with_servers_and_forms(|program, form| async move {
        let mut server = Server::start(&program, &[]);
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(320));
        let near = Near::start(form.near(server.url()).reconnect_delays(min, max)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        // Doubled delays, with up to as much again: 10, 20, 40, … 320, 320.
        let failed = near.stats().failed_connects;
        assert!((3..=10).contains(&failed), "{failed}");
        assert!(server.start_again(&[]));
        until("it is connected", || near.stats().is_connected).await;
        assert_eq!(near.stats().losses, 1);
    });
}
