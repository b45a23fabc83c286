//! What is the byte form's own: limits of size, and that any bytes are a value.

mod support;

use std::time::{Duration, Instant};

use punctual_redis::{Error, NearCache};
use support::server::Server;
use support::{Form, SOON, block_on, near, until, with_servers};
use tokio::task::JoinSet;

async fn start(server: &Server) -> NearCache<Vec<u8>> {
    Form::Bytes.near(server.url()).build().await.expect("the server is there")
}

fn set(server: &Server, key: &[u8], value: &[u8]) {
    redis::cmd("SET").arg(key).arg(value).exec(&mut server.connection()).unwrap();
}

#[test]
fn any_bytes_are_read_as_they_are() {
    with_servers(|program| async move {
        let server = Server::start(&program, &[]);
        let near = start(&server).await;
        let values =
            [vec![], vec![0], vec![1], vec![1, 0], (0..=255).collect(), vec![b'v'; 10_000]];
        let key = |at: usize| [0, b' ', 255, at as u8];
        for (at, value) in values.iter().enumerate() {
            set(&server, &key(at), value);
            assert_eq!(near.get(&key(at)).await.unwrap().as_ref(), Some(value));
            assert_eq!(near.get(&key(at)).await.unwrap().as_ref(), Some(value));
        }
        let keys: Vec<_> = (0..=values.len()).map(key).collect();
        let expected: Vec<_> = values.into_iter().map(Some).chain([None]).collect();
        for _ in 0..2 {
            assert_eq!(near.get_many(&keys).await.unwrap(), expected);
        }
        assert_eq!((near.stats().loads, near.stats().held), (7, 7));
    });
}

/// An absent key is an entry of its own length and a byte; what comes after it is a value.
#[test]
fn absent_keys_are_held() {
    with_servers(|program| async move {
        let server = Server::start(&program, &[]);
        let near = start(&server).await;
        for _ in 0..3 {
            assert_eq!(near.get("key").await.unwrap(), None);
            assert_eq!(near.get_many(&["key"]).await.unwrap(), [None]);
        }
        let stats = near.stats();
        assert_eq!((stats.loads, stats.held, stats.live_bytes), (1, 1, 4));
        set(&server, b"key", b"");
        until("it is heard of", || near.stats().invalidations == 1).await;
        for _ in 0..3 {
            assert_eq!(near.get("key").await.unwrap(), Some(vec![]));
        }
        server.ask::<()>("DEL key");
        until("it is heard of", || near.stats().invalidations == 2).await;
        assert_eq!(near.get("key").await.unwrap(), None);
        assert_eq!((near.stats().loads, near.stats().held), (3, 1));
    });
}

/// Such values are stored in parts, between which the key may be invalidated.
#[test]
fn large_values_are_whole_and_not_stale_at_rest() {
    with_servers(|program| async move {
        let server = Server::start(&program, &[]);
        let builder = Form::Bytes.near(server.url()).memory_budget(16 << 20).mean_entry(100_000);
        let near = builder.response_timeout(SOON).build().await.unwrap();
        let key = || format!("key:{}", fastrand::u32(..4));
        let end = Instant::now() + Duration::from_secs(2);
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let near = near.clone();
            tasks.spawn(async move {
                while Instant::now() < end {
                    if let Some(value) = near.get(&key()).await.unwrap() {
                        assert!(value.iter().all(|byte| *byte == value[0]), "of two values");
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
        let client = server.client();
        tasks.spawn(async move {
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            while Instant::now() < end {
                let value = vec![fastrand::u8(..); fastrand::usize(100_000..400_000)];
                redis::cmd("SET").arg(key()).arg(value).exec_async(&mut connection).await.unwrap();
            }
        });
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        // What was written last has been heard of, or is within that time.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let stats = near.stats();
        for id in 0..4 {
            let key = format!("key:{id}");
            let there: Option<Vec<u8>> =
                redis::cmd("GET").arg(&key).query(&mut server.connection()).unwrap();
            assert!(near.get(&key).await.unwrap() == there, "{stats:?}");
        }
        assert!(stats.hits > 0 && stats.loads > 10 && stats.too_large == 0, "{stats:?}");
    });
}

/// They are served to all that ask, by `get` and by `get_many`, and nobody gets an error.
#[test]
fn what_is_too_large_is_served_and_not_held() {
    with_servers(|program| async move {
        let server = Server::start(&program, &[]);
        let near = start(&server).await;
        let large = vec![b'v'; near.footprint()];
        set(&server, b"large", &large);
        set(&server, b"small", b"small");
        let mut tasks = JoinSet::new();
        for task in 0..100 {
            let near = near.clone();
            tasks.spawn(async move {
                if task % 2 == 0 {
                    near.get("large").await.unwrap()
                } else {
                    near.get_many(&["small", "large"]).await.unwrap().remove(1)
                }
            });
        }
        while let Some(value) = tasks.join_next().await {
            assert!(value.unwrap().as_ref() == Some(&large));
        }
        let stats = near.stats();
        assert_eq!((stats.held, stats.errors, stats.loads_failed), (1, 0, 0), "{stats:?}");
        assert!((1..=100).contains(&stats.too_large), "{stats:?}");
        // One that is small again is held again, and one that has grown is not.
        set(&server, b"large", b"no longer");
        set(&server, b"small", &large);
        until("both are heard of", || near.stats().invalidations >= 2).await;
        for _ in 0..3 {
            assert_eq!(near.get("large").await.unwrap().as_deref(), Some(&b"no longer"[..]));
            assert!(near.get("small").await.unwrap().as_ref() == Some(&large));
        }
        assert_eq!((near.stats().held, near.stats().too_large), (1, stats.too_large + 3));
    });
}

#[test]
fn a_key_that_is_too_long_is_asked_for_each_time() {
    with_servers(|program| async move {
        let server = Server::start(&program, &[]);
        let builder = near::<Vec<u8>>(server.url());
        let parsed = builder.build().await.unwrap();
        let bytes = start(&server).await;
        let long = vec![b'k'; 40_000];
        set(&server, &long, b"value");
        for near in [&parsed, &bytes] {
            for _ in 0..3 {
                assert_eq!(near.get(&long).await.unwrap().as_deref(), Some(&b"value"[..]));
                let both = near.get_many(&[&long[..], b"key"]).await.unwrap();
                assert_eq!(both, [Some(b"value".to_vec()), None]);
            }
            assert!(near.stats().errors == 0);
        }
        let counts = |near: &NearCache<_>| {
            let stats = near.stats();
            (stats.held, stats.misses, stats.bypassed, stats.too_large)
        };
        assert_eq!((counts(&parsed), counts(&bytes)), ((2, 2, 0, 0), (1, 1, 6, 0)));
        assert!(!bytes.forget(&long));
    });
}

/// Without a call, and to the last byte.
#[test]
fn expiry_frees_live_bytes() {
    with_servers(|program| async move {
        let server = Server::start(&program, &[]);
        let builder = Form::Bytes.near(server.url()).longest_ttl(Duration::from_secs(3));
        let near = builder.build().await.unwrap();
        for id in 0..100 {
            set(&server, format!("key:{id:03}").as_bytes(), &vec![b'v'; id]);
        }
        let keys: Vec<_> = (0..200).map(|id| format!("key:{id:03}")).collect();
        near.get_many(&keys).await.unwrap();
        // 200 keys and tags, values of 0 to 99 bytes.
        assert_eq!((near.stats().held, near.stats().live_bytes), (200, 200 * 8 + 99 * 50));
        until("it is freed", || near.stats().live_bytes == 0).await;
        let stats = near.stats();
        assert_eq!((stats.held, stats.expired, stats.evicted), (0, 200, 0));
    });
}

#[test]
fn a_size_is_given_once() {
    block_on(async {
        let near = || NearCache::<Vec<u8>>::builder().url("redis://[::1]:1/");
        let senseless = [
            near(),
            near().mean_entry(100),
            near().memory_budget(1 << 20),
            near().memory_budget(1 << 20).capacity(10),
            near().memory_budget(1 << 20).mean_entry(100).capacity(10),
            near().mean_entry(100).capacity(10),
        ];
        for builder in senseless {
            assert!(matches!(builder.build().await, Err(Error::Setting(_))));
        }
        let impossible = [
            near().memory_budget(0).mean_entry(100),
            near().memory_budget(1 << 20).mean_entry(0),
            near().memory_budget(1 << 20).mean_entry(usize::MAX),
            near().memory_budget(10).mean_entry(100),
        ];
        for builder in impossible {
            assert!(matches!(builder.build().await, Err(Error::Local(_))));
        }
        let built = near().memory_budget(1 << 20).mean_entry(100).build().await;
        assert!(matches!(built, Err(Error::Redis(_))), "nobody listens");
    });
}
