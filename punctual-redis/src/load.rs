//! Asking the server for one key, at most once for all that ask at the same time.

use std::time::Instant;

use punctual::LoadEnd;
use redis::{FromRedisValue, Pipeline, Value};
use tokio::time::timeout;

use crate::error::Error;
use crate::local::{Found, Stored, Ticket};
use crate::server_ttl::End;
use crate::shared::Shared;
use crate::stats::count;

/// How often a caller waits for others' loads, and looks again, before it loads by itself: a key that
/// is written more often than it loads serves one caller a load.
pub(crate) const ROUNDS_MAX: u32 = 3;

/// A waiting caller's patience, as a multiple of the time that a response may take. Who loads may
/// never be polled again.
pub(crate) const PATIENCE: u32 = 2;

impl<V: FromRedisValue + Clone + Send + Sync + 'static> Shared<V> {
    /// Returns the value of a key that was no hit.
    pub(crate) async fn get_missing(&self, key: &[u8]) -> Result<Option<V>, Error> {
        let may_be_held = self.may_be_held(key);
        let epoch = self.link.epoch();
        if !epoch.is_live() {
            return self.stale(key);
        }
        count(if may_be_held { &self.counters.misses } else { &self.counters.bypassed }, 1);
        if !may_be_held {
            return self.load_alone(key).await;
        }
        let mut rounds = 1;
        loop {
            let epoch = self.link.epoch();
            if !epoch.is_live() {
                return self.stale(key);
            }
            match self.local.lookup(key) {
                Found::Hit(value) => {
                    count(&self.counters.other_hits, 1);
                    if self.link.is_still(epoch) {
                        return Ok(value);
                    }
                }
                Found::Miss(ticket) => return self.load(ticket).await,
                Found::Loading(load) => {
                    count(&self.counters.loads_joined, 1);
                    match timeout(self.settings.response_timeout * PATIENCE, load).await {
                        Ok(LoadEnd::Failed) if self.link.epoch().is_live() => {
                            return Err(Error::LeaderFailed);
                        }
                        Ok(LoadEnd::Failed) => return self.stale(key),
                        Ok(_) if rounds < ROUNDS_MAX => rounds += 1,
                        Ok(_) | Err(_) => return self.load_alone(key).await,
                    }
                }
            }
        }
    }

    /// Loads a key and stores it, unless it is invalidated meanwhile.
    async fn load(&self, ticket: Ticket<V>) -> Result<Option<V>, Error> {
        match self.ask(ticket.key()).await {
            Ok((value, end)) => {
                self.store(ticket, &value, end);
                Ok(value)
            }
            Err(error) => {
                count(&self.counters.loads_failed, 1);
                ticket.fail();
                Err(error)
            }
        }
    }

    /// Loads a key and stores nothing.
    async fn load_alone(&self, key: &[u8]) -> Result<Option<V>, Error> {
        self.ask(key).await.map(|(value, _)| value)
    }

    async fn ask(&self, key: &[u8]) -> Result<(Option<V>, End), Error> {
        // After the ticket was taken: see `link`.
        let mut line = self.line()?;
        count(&self.counters.loads, 1);
        let mut request = Pipeline::with_capacity(2);
        request.get(key).pttl(key);
        let asked = Instant::now();
        let replies = line.connection.send_packed_commands(&request, 0, 2).await;
        let parsed = replies.map_err(Error::from).and_then(|replies| {
            let [value, pttl] = <[Value; 2]>::try_from(replies).map_err(|_| unexpected())?;
            let value = parse(value.extract_error()?)?;
            let pttl = i64::from_redis_value(pttl.extract_error()?)?;
            let end = End::new(asked, pttl, value.is_some(), &self.settings.limits);
            Ok((value, end))
        });
        parsed.map_err(|error| self.failed(&line, error))
    }

    pub(crate) fn store(&self, ticket: Ticket<V>, value: &Option<V>, end: End) {
        let ttl = end.ttl(&self.settings.limits);
        let key: Box<[u8]> = ticket.key().into();
        match ticket.store(value, ttl) {
            Stored::TooLarge => count(&self.counters.too_large, 1),
            Stored::Overruled => count(&self.counters.loads_not_stored, 1),
            Stored::Yes if ttl.is_zero() => count(&self.counters.loads_not_stored, 1),
            Stored::Yes if end.is_outlived_by(ttl) => self.forget_late(&key),
            Stored::Yes => {}
        }
    }

    /// The system kept this thread from storing the value in time.
    #[cold]
    fn forget_late(&self, key: &[u8]) {
        self.local.remove(key);
        count(&self.counters.loads_not_stored, 1);
    }
}

/// Parses the reply to a `GET`.
pub(crate) fn parse<V: FromRedisValue>(value: Value) -> Result<Option<V>, Error> {
    match value {
        Value::Nil => Ok(None),
        value => Ok(Some(V::from_redis_value(value)?)),
    }
}

/// The server has answered with more or fewer replies than there were commands.
pub(crate) fn unexpected() -> Error {
    let kind = redis::ErrorKind::UnexpectedReturnType;
    Error::Redis((kind, "as many replies as commands were expected").into())
}
