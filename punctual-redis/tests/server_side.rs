//! What the server does by itself or for others: flushes, expiry, evictions, modes.

mod support;

use std::time::Duration;

use punctual_redis::Error;
use support::fake::{Fake, bulk};
use support::server::Server;
use support::{Near, in_each_form, until, until_value, with_servers_and_forms};

#[test]
fn a_flush_clears_everything() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        for command in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC", "FLUSHDB ASYNC"] {
            server.ask::<()>("MSET a 1 b 2");
            until_value(&near, "a", Some("1")).await;
            until_value(&near, "b", Some("2")).await;
            server.ask::<()>(command);
            until("everything has left", || near.stats().held == 0).await;
            assert_eq!(near.get("a").await.unwrap(), None);
            assert_eq!(near.get("b").await.unwrap(), None);
        }
        assert!(near.stats().flushes >= 4);
    });
}

/// Also of keys that were absent when they were read.
#[test]
fn flushes_beside_loads_leave_nothing_stale() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let near = near.clone();
                tokio::spawn(async move {
                    for _ in 0..2_000 {
                        near.get(&format!("key:{}", fastrand::u32(..20))).await.unwrap();
                    }
                })
            })
            .collect();
        let mut connection = server.connection();
        for round in 0..300 {
            for id in 0..20 {
                let (key, value) = (format!("key:{id}"), round.to_string());
                redis::cmd("SET").arg(key).arg(value).exec(&mut connection).unwrap();
            }
            redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
            tokio::task::yield_now().await;
        }
        for reader in readers {
            reader.await.unwrap();
        }
        for id in 0..20 {
            until_value(&near, &format!("key:{id}"), None).await;
        }
        // For good.
        tokio::time::sleep(Duration::from_millis(50)).await;
        for id in 0..20 {
            assert_eq!(near.get(&format!("key:{id}")).await.unwrap(), None);
        }
    });
}

#[test]
fn a_shortened_ttl_is_heard_of() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        server.ask::<()>("SET key value");
        until_value(&near, "key", Some("value")).await;
        server.ask::<()>("PEXPIRE key 120");
        until_value(&near, "key", None).await;
        server.ask::<()>("SET key value PX 100000");
        until_value(&near, "key", Some("value")).await;
        server.ask::<()>("PERSIST key");
        server.ask::<()>("EXPIREAT key 1");
        until_value(&near, "key", None).await;
    });
}

#[test]
fn evictions_are_heard_of() {
    with_servers_and_forms(|program, form| async move {
        let arguments = ["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-random"];
        let server = Server::start(&program, &arguments);
        let near = Near::start(form.near_of(50_000, server.url())).await;
        let value = "v".repeat(200);
        for id in 0..20_000 {
            let key = format!("key:{id}");
            near.set(&key, &value).await.unwrap();
            near.get(&key).await.unwrap();
        }
        let stats: String = server.ask("INFO stats");
        let evicted = stats.lines().find_map(|line| line.strip_prefix("evicted_keys:")).unwrap();
        assert!(evicted.parse::<u64>().unwrap() > 1_000, "{evicted}");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut connection = server.connection();
        let mut wrong = 0;
        for id in 0..20_000 {
            let key = format!("key:{id}");
            let is_there: bool = redis::cmd("EXISTS").arg(&key).query(&mut connection).unwrap();
            wrong += usize::from(near.get(&key).await.unwrap().is_some() != is_there);
        }
        assert_eq!(wrong, 0);
    });
}

/// Reads go on; what is refused is an error, and not held.
#[test]
fn a_server_without_memory_refuses_writes() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &["--maxmemory-policy", "noeviction"]);
        let near = form.build(&server).await;
        near.set("key", "old").await.unwrap();
        near.get("key").await.unwrap();
        server.ask::<()>("CONFIG SET maxmemory 1");
        let refused = near.set("key", "new").await;
        assert!(
            matches!(&refused, Err(Error::Redis(error)) if error.code() == Some("OOM")),
            "{refused:?}"
        );
        assert_eq!(near.get("key").await.unwrap().as_deref(), Some("old"));
        assert_eq!(near.stats().losses, 0);
    });
}

/// A server that has become somebody's replica, or lost its keys to another node, is left.
#[test]
fn a_server_that_has_moved_is_left() {
    in_each_form(|form| async move {
        for refusal in ["-MOVED 1 somewhere:1\r\n", "-LOADING not yet\r\n", "-MASTERDOWN wait\r\n"]
        {
            let fake = Fake::start(move |command| match command[0].as_str() {
                "GET" if command[1] == "moved" => Some(refusal.to_owned()),
                "GET" => Some(bulk("value")),
                "PTTL" => Some(":-1\r\n".to_owned()),
                _ => None,
            })
            .await;
            let near = Near::start(form.near(fake.url())).await;
            near.get("key").await.unwrap();
            assert!(matches!(near.get("moved").await, Err(Error::Redis(_))));
            assert_eq!((near.stats().held, near.stats().losses), (0, 1));
            until("it connects anew", || fake.connections() == 2 && near.stats().is_connected)
                .await;
            assert_eq!(near.get("key").await.unwrap().as_deref(), Some("value"));
        }
    });
}

#[test]
fn broadcast_mode_holds_what_has_a_prefix() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = Near::start(form.near(server.url()).broadcast(["user:", "price:"])).await;
        server.ask::<()>("MSET user:1 Ada price:1 7 other 1");
        until("it has heard of them", || near.stats().invalidations == 2).await;
        for _ in 0..3 {
            assert_eq!(near.get("user:1").await.unwrap().as_deref(), Some("Ada"));
            let values = near.get_many(&["price:1", "other"]).await.unwrap();
            assert_eq!(values, [Some("7".to_owned()), Some("1".to_owned())]);
            assert_eq!(near.get("other").await.unwrap().as_deref(), Some("1"));
        }
        let stats = near.stats();
        assert_eq!((stats.held, stats.hits, stats.misses, stats.bypassed), (2, 4, 2, 6));
        server.ask::<()>("MSET user:1 Grace price:1 8 other 2");
        until_value(&near, "user:1", Some("Grace")).await;
        until_value(&near, "price:1", Some("8")).await;
        assert_eq!(near.get("other").await.unwrap().as_deref(), Some("2"));
        server.ask::<()>("FLUSHALL");
        until_value(&near, "user:1", None).await;
        server.ask::<()>("SET user:2 Alan PX 500");
        until_value(&near, "user:2", Some("Alan")).await;
        until_value(&near, "user:2", None).await;

        let builder = form.near(server.url()).broadcast(["user:", "user:1"]);
        assert!(matches!(builder.build().await, Err(Error::Redis(_))), "they overlap");
        let everything = Near::start(form.near(server.url()).broadcast([""])).await;
        everything.get("anything").await.unwrap();
        assert_eq!(everything.stats().held, 1);
    });
}

/// `maxmemory-clients` disconnects the client that needs most memory. That is safe; with
/// `CLIENT NO-EVICT` it does not happen.
#[test]
fn a_client_is_evicted_unless_it_asks_not_to_be() {
    with_servers_and_forms(|program, form| async move {
        for no_evict in [false, true] {
            let server = Server::start(&program, &[]);
            let near = Near::start(form.near(server.url()).no_evict(no_evict)).await;
            let flags = server.ask::<String>("CLIENT LIST");
            assert_eq!(
                flags.contains("flags=te") || flags.contains("flags=et"),
                no_evict,
                "{flags}"
            );
            near.set("key", "old").await.unwrap();
            near.get("key").await.unwrap();
            server.ask::<()>("CONFIG SET maxmemory-clients 200kb");
            // The buffer that it arrives in counts.
            let written = near.set("large", "v".repeat(1 << 20)).await;
            assert_eq!(written.is_ok(), no_evict, "{written:?}");
            assert_eq!(near.stats().losses > 0, !no_evict, "{:?}", near.stats());
            server.ask::<()>("CONFIG SET maxmemory-clients 0");
            server.ask::<()>("SET key new");
            until_value(&near, "key", Some("new")).await;
        }
    });
}
