//! The task that keeps the connection: probes it, and replaces it when it is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use redis::{Client, cmd};
use tokio::time::sleep;

use crate::connect::connect;
use crate::link::Line;
use crate::shared::Shared;
use crate::stats::count;

/// A connection that has lasted so long was a good one: after its loss the delays begin anew.
const GOOD_AFTER: Duration = Duration::from_secs(1);

/// Makes a connection the one to use. Everything is cleared before, which overrules whatever an
/// earlier connection has brought: see `link`.
pub(crate) fn publish<V: Clone + Send + Sync + 'static>(shared: &Shared<V>, line: Line) -> bool {
    shared.local.clear();
    // Nothing is held, so all that is known is current.
    shared.link.publish(line, Instant::now())
}

/// Keeps the connection until the link is closed.
pub(crate) async fn keep<V: Clone + Send + Sync + 'static>(
    shared: Arc<Shared<V>>,
    client: Client,
    mut line: Line,
) {
    let (min, max) = shared.settings.reconnect_delays;
    let delays = ExponentialBuilder::new()
        .with_min_delay(min)
        .with_max_delay(max)
        .without_max_times()
        .with_jitter();
    let mut left = delays.build();
    loop {
        let since = Instant::now();
        let epoch = line.epoch;
        tokio::select! {
            () = probe(&shared, line) => shared.lose(epoch),
            () = shared.link.left(epoch) => {}
        }
        if since.elapsed() > GOOD_AFTER {
            left = delays.build();
        }
        let Some(next) = reconnect(&shared, &client, &mut left).await else { return };
        line = next;
    }
}

/// Returns when a probe is not answered.
///
/// An answer says more than that the server is there: it comes after the invalidations of all that
/// was changed before the probe arrived, so those are known.
async fn probe<V: Clone + Send + Sync + 'static>(shared: &Shared<V>, mut line: Line) {
    loop {
        let asked = Instant::now();
        if cmd("PING").exec_async(&mut line.connection).await.is_err() {
            return;
        }
        shared.link.verify(line.epoch, asked);
        sleep(shared.settings.probe_every).await;
    }
}

/// Connects, however often it takes; `None` when the link is closed.
async fn reconnect<V: Clone + Send + Sync + 'static>(
    shared: &Arc<Shared<V>>,
    client: &Client,
    delays: &mut ExponentialBackoff,
) -> Option<Line> {
    loop {
        sleep(delays.next().unwrap_or(shared.settings.reconnect_delays.1)).await;
        let epoch = shared.link.epoch();
        if epoch.is_closed() {
            return None;
        }
        match connect(client, shared, epoch.next()).await {
            Ok(line) if publish(shared, line.clone()) => {
                count(&shared.counters.reconnects, 1);
                return Some(line);
            }
            Ok(_) => {}
            Err(_) => {
                count(&shared.counters.failed_connects, 1);
                shared.link.skip(epoch.next());
            }
        }
    }
}
