//! What is read, written and forgotten, with a real server.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use punctual_redis::{Error, NearCache};
use support::server::Server;
use support::{Near, near, until, until_value, with_servers, with_servers_and_forms};
use tokio::task::JoinSet;

#[test]
fn a_key_is_asked_for_once() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        server.ask::<()>("SET key value");
        for _ in 0..5 {
            assert_eq!(near.get("key").await.unwrap().as_deref(), Some("value"));
            assert_eq!(near.get("absent").await.unwrap(), None);
        }
        assert_eq!(server.calls("get"), 2);
        let stats = near.stats();
        assert_eq!((stats.hits, stats.misses, stats.loads, stats.held), (8, 2, 2, 2));
        assert_eq!((stats.errors, stats.losses, stats.is_connected), (0, 0, true));
        // Keys are bytes.
        assert_eq!(near.get(b"key").await.unwrap().as_deref(), Some("value"));
        assert_eq!(near.get(&String::from("key")).await.unwrap().as_deref(), Some("value"));
    });
}

#[test]
fn what_others_change_is_seen() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        until_value(&near, "key", None).await;
        server.ask::<()>("SET key 1");
        until_value(&near, "key", Some("1")).await;
        server.ask::<()>("APPEND key 2");
        until_value(&near, "key", Some("12")).await;
        server.ask::<()>("RENAME key other");
        until_value(&near, "key", None).await;
        until_value(&near, "other", Some("12")).await;
        server.ask::<()>("DEL other");
        until_value(&near, "other", None).await;
        assert!(near.stats().invalidations >= 4);
    });
}

#[test]
fn a_thousand_tasks_make_one_request() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        server.ask::<()>("SET key value");
        let mut tasks = JoinSet::new();
        for _ in 0..1_000 {
            let near = near.clone();
            tasks.spawn(async move { near.get("key").await });
        }
        while let Some(value) = tasks.join_next().await {
            assert_eq!(value.unwrap().unwrap().as_deref(), Some("value"));
        }
        assert_eq!(server.calls("get"), 1);
        let stats = near.stats();
        assert_eq!(stats.loads, 1);
        assert_eq!(stats.hits + stats.misses, 1_000);
    });
}

#[test]
fn many_keys_take_one_round_trip() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        server.ask::<()>("MSET a 1 b 2 c 3");
        near.get("b").await.unwrap();
        let some = |text: &str| Some(text.to_owned());
        let expected = [some("1"), some("2"), None, some("1"), some("3")];
        for _ in 0..3 {
            assert_eq!(near.get_many(&["a", "b", "none", "a", "c"]).await.unwrap(), expected);
        }
        assert_eq!((server.calls("mget"), server.calls("get")), (1, 1));
        assert_eq!(near.stats().loads, 4);
        assert_eq!(near.get("none").await.unwrap(), None);
        assert!(near.get_many::<&str>(&[]).await.unwrap().is_empty());
        assert_eq!((server.calls("mget"), server.calls("get")), (1, 1));
    });
}

#[test]
fn many_keys_share_their_loads() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = Near::start(form.near(server.url()).concurrent_loads(500)).await;
        let keys: Arc<Vec<String>> = Arc::new((0..300).map(|id| format!("key:{id}")).collect());
        for key in &*keys {
            server.ask::<()>(format!("SET {key} {key}"));
        }
        let mut tasks = JoinSet::new();
        for task in 0..50 {
            let (near, keys) = (near.clone(), keys.clone());
            tasks.spawn(async move {
                // Overlapping windows, in both directions.
                let mut wanted: Vec<&String> = keys.iter().skip(task * 5).take(60).collect();
                if task % 2 == 1 {
                    wanted.reverse();
                }
                let values = near.get_many(&wanted).await.unwrap();
                for (key, value) in wanted.into_iter().zip(values) {
                    assert_eq!(value.as_ref(), Some(key));
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        let distinct = 49 * 5 + 55; // the last windows are cut short
        assert_eq!(near.stats().loads, distinct);
    });
}

#[test]
fn what_is_set_is_read() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        for number in 0..200 {
            let value = number.to_string();
            near.set("key", &value).await.unwrap();
            assert_eq!(near.get("key").await.unwrap(), Some(value.clone()));
            assert_eq!(server.ask::<String>("GET key"), value);
        }
        near.set_with_ttl("key", "short", Duration::from_secs(1)).await.unwrap();
        assert_eq!(near.get("key").await.unwrap().as_deref(), Some("short"));
        assert!((1..=1_000).contains(&server.ask::<i64>("PTTL key")));
        until_value(&near, "key", None).await;
        near.set_with_ttl("key", "never there", Duration::ZERO).await.unwrap();
        until_value(&near, "key", None).await;
        near.set_with_ttl("key", "for ever", Duration::MAX).await.unwrap();
        assert_eq!(near.get("key").await.unwrap().as_deref(), Some("for ever"));
    });
}

#[test]
fn what_is_forgotten_is_asked_for_again() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        assert!(!near.forget("key"));
        near.get("key").await.unwrap();
        assert!(near.forget("key"));
        near.get("key").await.unwrap();
        assert_eq!(server.calls("get"), 2);
    });
}

#[test]
fn nothing_is_served_past_its_end_on_the_server() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        let mut connection = server.connection();
        for round in 0..30 {
            let ttl = Duration::from_millis(60 + round * 7);
            let key = format!("key:{round}");
            // Not later than this the server has it no more.
            redis::cmd("SET")
                .arg(&[&key, "value", "PX", &ttl.as_millis().to_string()])
                .exec(&mut connection)
                .unwrap();
            let end = Instant::now() + ttl;
            loop {
                let began = Instant::now();
                let value = near.get(&key).await.unwrap();
                if value.is_none() {
                    break;
                }
                // A millisecond, since the server counts whole ones.
                assert!(began <= end + Duration::from_millis(1), "{:?} late", began - end);
                tokio::task::yield_now().await;
            }
        }
        assert!(near.stats().hits > 1_000, "{:?}", near.stats());
    });
}

#[test]
fn keys_without_an_end_have_the_longest_ttl() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let builder = form.near(server.url()).longest_ttl(Duration::from_millis(500));
        let near = Near::start(builder.absent_ttl(Duration::from_millis(400))).await;
        server.ask::<()>("SET key value");
        near.get("key").await.unwrap();
        near.get("absent").await.unwrap();
        assert_eq!(near.stats().held, 2);
        // Nobody asks.
        until("it is freed", || near.stats().held == 0).await;
        assert_eq!((near.stats().expired, near.stats().live_bytes), (2, 0));
    });
}

#[test]
fn absent_keys_may_be_asked_for_each_time() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = Near::start(form.near(server.url()).absent_ttl(Duration::ZERO)).await;
        for _ in 0..3 {
            assert_eq!(near.get("absent").await.unwrap(), None);
        }
        assert_eq!(server.calls("get"), 3);
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let near = near.clone();
                tokio::spawn(async move { near.get("absent").await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), None);
        }
    });
}

#[test]
fn values_are_parsed_or_are_errors() {
    with_servers(|program| async move {
        let server = Server::start(&program, &[]);
        let near: NearCache<u64> = near(server.url()).build().await.unwrap();
        server.ask::<()>("MSET number 7 text seven");
        server.ask::<()>("LPUSH list 7");
        assert_eq!(near.get("number").await.unwrap(), Some(7));
        assert!(matches!(near.get("text").await, Err(Error::Redis(_))));
        assert!(matches!(near.get("list").await, Err(Error::Redis(_))));
        assert!(matches!(near.get_many(&["number", "text"]).await, Err(Error::Redis(_))));
        let stats = near.stats();
        assert_eq!((stats.errors, stats.loads_failed, stats.losses), (3, 3, 0));
        assert_eq!(near.get("number").await.unwrap(), Some(7));
    });
}

#[test]
fn a_closed_cache_says_so() {
    with_servers_and_forms(|program, form| async move {
        let server = Server::start(&program, &[]);
        let near = form.build(&server).await;
        near.get("key").await.unwrap();
        let other = near.clone();
        near.close().await;
        near.close().await;
        assert!(matches!(other.get("key").await, Err(Error::Closed)));
        assert!(matches!(other.get_many(&["key"]).await, Err(Error::Closed)));
        assert!(matches!(other.set("key", "").await, Err(Error::Closed)));
        assert_eq!((other.stats().held, other.stats().is_connected), (0, false));
        until("the connection is closed", || {
            !server.ask::<String>("CLIENT LIST").contains("cmd=ping")
        })
        .await;

        let near = form.build(&server).await;
        let connections = || server.ask::<String>("CLIENT LIST").lines().count();
        assert_eq!(connections(), 2);
        drop(near);
        until("the connection of the last handle is closed", || connections() == 1).await;
    });
}

/// Futures can be spawned, and handles be shared.
#[test]
fn everything_can_be_sent() {
    fn is_send<T: Send>(_: &T) {}
    fn is_shared<T: Send + Sync + Clone>() {}
    is_shared::<NearCache<String>>();
    let _ = |near: NearCache<String>| {
        is_send(&near.get("key"));
        is_send(&near.get_many(&["key"]));
        is_send(&near.set("key", &String::new()));
        is_send(&near.close());
    };
}

#[test]
fn senseless_settings_are_errors() {
    support::block_on(async {
        let near = || near::<String>("redis://[::1]:1/");
        let zero = Duration::ZERO;
        assert!(matches!(near().capacity(0).build().await, Err(Error::Local(_))));
        assert!(matches!(near().longest_ttl(zero).build().await, Err(Error::Setting(_))));
        assert!(matches!(near().probe_every(zero).build().await, Err(Error::Setting(_))));
        assert!(matches!(near().response_timeout(zero).build().await, Err(Error::Setting(_))));
        let delays = near().reconnect_delays(Duration::from_secs(2), Duration::from_secs(1));
        assert!(matches!(delays.build().await, Err(Error::Setting(_))));
        assert!(matches!(near().url("no URL").build().await, Err(Error::Redis(_))));
        assert!(matches!(near().build().await, Err(Error::Redis(_))), "nobody listens");
    });
}
