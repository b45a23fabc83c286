//! The two caches, behind one face.

use std::num::NonZeroUsize;
use std::time::Duration;

use punctual_redis::{Error, NearCache};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::caching::CacheConfig;
use redis::{AsyncCommands, Client};

use crate::server::Server;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Near,
    RedisRs,
}

/// Held by each task.
#[derive(Clone)]
pub(crate) enum Subject {
    Near(NearCache<Vec<u8>>),
    /// The manager connects anew, which a plain connection does not.
    RedisRs(ConnectionManager),
}

/// What both are given.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
const DELAYS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

impl Subject {
    pub(crate) async fn new(kind: Kind, server: &Server, capacity: usize, ttl: Duration) -> Self {
        match kind {
            Kind::Near => {
                let near = NearCache::builder()
                    .url(server.url())
                    .capacity(capacity)
                    .longest_ttl(ttl)
                    .absent_ttl(ttl)
                    .response_timeout(TIMEOUT)
                    .reconnect_delays(DELAYS.0, DELAYS.1);
                Self::Near(near.build().await.expect("the server is there"))
            }
            Kind::RedisRs => {
                let size = NonZeroUsize::new(capacity).expect("there is room");
                let cache = CacheConfig::new().set_size(size).set_default_client_ttl(ttl);
                let config = ConnectionManagerConfig::new()
                    .set_min_delay(DELAYS.0)
                    .set_max_delay(DELAYS.1)
                    .set_number_of_retries(usize::MAX)
                    .set_connection_timeout(Some(TIMEOUT))
                    .set_response_timeout(Some(TIMEOUT))
                    .set_cache_config(cache);
                let url = format!("{}?protocol=resp3", server.url());
                let client = Client::open(url).expect("the URL is one");
                let manager = ConnectionManager::new_with_config(client, config).await;
                Self::RedisRs(manager.expect("the server is there"))
            }
        }
    }

    pub(crate) async fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::Near(near) => near.get(key).await,
            Self::RedisRs(connection) => connection.get(key).await.map_err(Error::from),
        }
    }
}
