//! Replies and invalidations in one stream: with a server that says exactly what a test has
//! written, and so needs none to be installed.

mod support;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;

use punctual_redis::NearCache;
use support::fake::{Fake, bulk, flush, invalidation};
use support::{Form, Near, SOON, block_on, in_each_form, near, until};

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}

const NO_TTL: &str = ":-1\r\n";

/// Builds a cache before a server that answers the nth `GET`, from 0, with what `reply` says, the
/// answer to `PTTL` included.
async fn with_replies(
    form: Form,
    reply: impl Fn(u32) -> String + Send + Sync + 'static,
) -> (Fake, Near, Arc<AtomicU32>) {
    let gets = Arc::new(AtomicU32::new(0));
    let counter = gets.clone();
    let fake = Fake::start(move |command| match command[0].as_str() {
        "GET" => Some(reply(counter.fetch_add(1, Ordering::SeqCst))),
        "PTTL" => Some(String::new()),
        _ => None,
    })
    .await;
    let near = Near::start(form.near(fake.url())).await;
    (fake, near, gets)
}

/// Whichever of the two tasks is faster, the entry is gone in the end.
async fn is_asked_for_again(near: &Near, gets: &AtomicU32, key: &str) {
    tokio::time::timeout(SOON, async {
        while gets.load(Ordering::SeqCst) < 2 {
            near.get(key).await.unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the entry is invalidated");
    assert_eq!(near.get(key).await.unwrap().as_deref(), Some("new"));
}

#[test]
fn an_invalidation_right_after_the_reply_wins() {
    in_each_form(|form| async move {
        for _ in 0..300 {
            let (_fake, near, gets) = with_replies(form, |number| match number {
                // In one piece: the driver reads both before or after the value is stored.
                0 => format!("{}{NO_TTL}{}", bulk("old"), invalidation("key")),
                _ => format!("{}{NO_TTL}", bulk("new")),
            })
            .await;
            assert_eq!(near.get("key").await.unwrap().as_deref(), Some("old"));
            is_asked_for_again(&near, &gets, "key").await;
            assert_eq!(near.stats().invalidations, 1);
        }
    });
}

#[test]
fn a_flush_right_after_the_reply_wins() {
    in_each_form(|form| async move {
        for _ in 0..300 {
            let (_fake, near, gets) = with_replies(form, |number| match number {
                0 => format!("{}{NO_TTL}{}", bulk("old"), flush()),
                _ => format!("{}{NO_TTL}", bulk("new")),
            })
            .await;
            assert_eq!(near.get("key").await.unwrap().as_deref(), Some("old"));
            is_asked_for_again(&near, &gets, "key").await;
            assert_eq!(near.stats().flushes, 1);
        }
    });
}

/// Between the replies to `GET` and to `PTTL`, and before both.
#[test]
fn an_invalidation_before_the_reply_overrules_the_load() {
    in_each_form(|form| async move {
        let replies: [fn() -> String; 4] = [
            || format!("{}{}{NO_TTL}", bulk("old"), invalidation("key")),
            || format!("{}{}{NO_TTL}", invalidation("key"), bulk("old")),
            || format!("{}{}{NO_TTL}", bulk("old"), flush()),
            || format!("{}{}{NO_TTL}", flush(), bulk("old")),
        ];
        for first in replies {
            let (_fake, near, gets) = with_replies(form, move |number| match number {
                0 => first(),
                _ => format!("{}{NO_TTL}", bulk("new")),
            })
            .await;
            assert_eq!(near.get("key").await.unwrap().as_deref(), Some("old"));
            assert_eq!(near.stats().held, 0, "the driver has read both before the reply");
            assert_eq!(near.get("key").await.unwrap().as_deref(), Some("new"));
            assert_eq!(near.get("key").await.unwrap().as_deref(), Some("new"));
            assert_eq!((gets.load(Ordering::SeqCst), near.stats().loads_not_stored), (2, 1));
        }
    });
}

#[test]
fn a_reply_comes_after_what_came_before_it() {
    in_each_form(|form| async move {
        for push in [invalidation("key"), flush()] {
            for _ in 0..300 {
                let push = push.clone();
                let (_fake, near, _) = with_replies(form, move |number| match number {
                    0 => format!("{}{NO_TTL}", bulk("old")),
                    // To `GET other`.
                    1 => format!("{push}{}{NO_TTL}", bulk("other")),
                    _ => format!("{}{NO_TTL}", bulk("new")),
                })
                .await;
                assert_eq!(near.get("key").await.unwrap().as_deref(), Some("old"));
                assert_eq!(near.get("key").await.unwrap().as_deref(), Some("old"));
                assert_eq!(near.get("other").await.unwrap().as_deref(), Some("other"));
                // Not soon: at once.
                assert_eq!(near.get("key").await.unwrap().as_deref(), Some("new"));
            }
        }
    });
}

/// `get_many` stores each of its keys as `get` does.
#[test]
fn an_invalidation_overrules_a_load_of_many() {
    in_each_form(|form| async move {
        let is_first = AtomicBool::new(true);
        let fake = Fake::start(move |command| match command[0].as_str() {
            "MGET" if is_first.swap(false, Ordering::SeqCst) => {
                Some(format!("*2\r\n{}{}{}", bulk("old"), bulk("b"), invalidation("a")))
            }
            "MGET" => Some(format!("*1\r\n{}", bulk("new"))),
            "PTTL" => Some(NO_TTL.to_owned()),
            _ => None,
        })
        .await;
        let near = Near::start(form.near(fake.url())).await;
        let texts = |values: Vec<Option<String>>| values.into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(texts(near.get_many(&["a", "b"]).await.unwrap()), ["old", "b"]);
        assert_eq!(near.stats().held, 1);
        assert_eq!(texts(near.get_many(&["a", "b"]).await.unwrap()), ["new", "b"]);
        assert_eq!(near.stats().loads, 3);
    });
}

/// A key that changes during each of its loads, and many callers: none waits for all the others.
#[test]
fn a_key_that_is_always_overruled_is_served() {
    in_each_form(|form| async move {
        let (_fake, near, gets) =
            with_replies(form, |_| format!("{}{}{NO_TTL}", invalidation("key"), bulk("hot"))).await;
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                let near = near.clone();
                tokio::spawn(async move { near.get("key").await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap().as_deref(), Some("hot"));
        }
        assert!(gets.load(Ordering::SeqCst) <= 200);
    });
}

/// What nobody understands empties the cache.
#[test]
fn a_strange_invalidation_clears() {
    in_each_form(|form| async move {
        for push in [">2\r\n$10\r\ninvalidate\r\n:7\r\n", ">2\r\n$10\r\ninvalidate\r\n*1\r\n:7\r\n"]
        {
            let (_fake, near, _) = with_replies(form, move |number| match number {
                0 => format!("{}{NO_TTL}", bulk("old")),
                1 => format!("{push}{}{NO_TTL}", bulk("other")),
                _ => format!("{}{NO_TTL}", bulk("new")),
            })
            .await;
            near.get("key").await.unwrap();
            near.get("other").await.unwrap();
            assert_eq!(near.get("key").await.unwrap().as_deref(), Some("new"));
        }
    });
}

/// A value whose destructor panics, on the connection's own task.
#[test]
fn a_panic_in_drop_loses_no_invalidation() {
    #[derive(Clone)]
    struct Bomb(Arc<AtomicBool>, String);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.0.swap(false, Ordering::SeqCst), "as it should");
        }
    }
    impl redis::FromRedisValue for Bomb {
        fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
            Ok(Self(Arc::default(), String::from_redis_value(value)?))
        }
    }

    block_on(async {
        for push in [invalidation("key"), flush()] {
            let gets = AtomicU32::new(0);
            let fake = Fake::start(move |command| match command[0].as_str() {
                "GET" if command[1] == "other" => Some(format!("{push}{}", bulk("other"))),
                "GET" => Some(bulk(&gets.fetch_add(1, Ordering::SeqCst).to_string())),
                "PTTL" => Some(NO_TTL.to_owned()),
                _ => None,
            })
            .await;
            let near: NearCache<Bomb> = near(fake.url()).build().await.unwrap();
            let old = near.get("key").await.unwrap().unwrap();
            assert_eq!(old.1, "0");
            // The one that is held, when it is dropped.
            old.0.store(true, Ordering::SeqCst);
            near.get("other").await.unwrap();
            assert!(!old.0.load(Ordering::SeqCst), "it has panicked");
            assert_eq!(near.get("key").await.unwrap().unwrap().1, "1");
            assert_eq!(near.stats().losses, 0);
        }
    });
}

/// Whoever has the ticket may never be polled again.
#[test]
fn a_leader_that_stands_still_keeps_nobody_for_long() {
    in_each_form(|form| async move {
        let (_fake, near, _) = with_replies(form, |_| format!("{}{NO_TTL}", bulk("value"))).await;
        let mut leader = Box::pin(near.get("key"));
        while poll_once(&mut leader).await.is_ready() {
            // This thread stood still, and the reply was there.
            near.forget("key");
            leader = Box::pin(near.get("key"));
        }
        // It has asked, and waits. Its reply has come. Nobody takes it.
        let value = tokio::time::timeout(SOON, near.get("key")).await.expect("it is served");
        assert_eq!(value.unwrap().as_deref(), Some("value"));
        assert_eq!(leader.await.unwrap().as_deref(), Some("value"));
        assert_eq!(near.stats().held, 1);
    });
}

/// A caller that leaves passes its load on.
#[test]
fn a_load_that_is_dropped_is_taken_over() {
    in_each_form(|form| async move {
        let fake = Fake::start(|command| match command[0].as_str() {
            "GET" => Some(bulk("value")),
            "PTTL" => Some(NO_TTL.to_owned()),
            _ => None,
        })
        .await;
        let near = Near::start(form.near(fake.url())).await;
        for round in 0..100 {
            let key = format!("key:{round}");
            let mut leader = Box::pin(near.get(&key));
            if poll_once(&mut leader).await.is_ready() {
                continue; // this thread stood still, and the reply was there
            }
            let waiting = near.stats().loads_joined;
            let follower = tokio::spawn({
                let (near, key) = (near.clone(), key.clone());
                async move { near.get(&key).await }
            });
            if round % 2 == 0 {
                until("the follower waits", || near.stats().loads_joined > waiting).await;
            }
            drop(leader);
            let value = tokio::time::timeout(SOON, follower).await.expect("it takes over");
            assert_eq!(value.unwrap().unwrap().as_deref(), Some("value"));
        }
    });
}
