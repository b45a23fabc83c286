//! Opening a connection on which the server tells of changes.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ProtocolVersion, RedisResult, cmd};

use crate::error::Error;
use crate::link::{Epoch, Line};
use crate::pushes::Pushes;
use crate::shared::{Settings, Shared};

/// Returns a client that speaks RESP3, without which there are no pushes.
pub(crate) fn with_resp3(client: &Client) -> RedisResult<Client> {
    let info = client.get_connection_info().clone();
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Client::open(info.set_redis_settings(settings))
}

/// Connects, and returns when tracking is on.
pub(crate) async fn connect<V: Clone + Send + Sync + 'static>(
    client: &Client,
    shared: &Arc<Shared<V>>,
    epoch: Epoch,
) -> Result<Line, Error> {
    let settings = &shared.settings;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.response_timeout))
        .set_response_timeout(Some(settings.response_timeout))
        .set_push_sender(Pushes::new(Arc::downgrade(shared), epoch));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    track(&mut connection, settings).await?;
    Ok(Line { epoch, connection })
}

async fn track(connection: &mut MultiplexedConnection, settings: &Settings) -> RedisResult<()> {
    if settings.no_evict {
        cmd("CLIENT").arg("NO-EVICT").arg("ON").exec_async(connection).await?;
    }
    // Without NOLOOP: what this connection writes is invalidated in order, like all else.
    let mut tracking = cmd("CLIENT");
    tracking.arg("TRACKING").arg("ON");
    if !settings.prefixes.is_empty() {
        tracking.arg("BCAST");
        for prefix in &settings.prefixes {
            tracking.arg("PREFIX").arg(&**prefix);
        }
    }
    tracking.exec_async(connection).await
}
