//! Asking the server for many keys in one round trip.

use std::time::Instant;

use punctual::{LoadEnd, LoadWait};
use redis::{FromRedisValue, Pipeline, Value};
use tokio::time::{Instant as Deadline, timeout_at};

use crate::error::Error;
use crate::load::{PATIENCE, ROUNDS_MAX, parse, unexpected};
use crate::local::{Found, Ticket};
use crate::server_ttl::End;
use crate::shared::Shared;
use crate::stats::count;

/// What is known of each key so far. The inner `None`: the server does not have it.
type Values<V> = Vec<Option<Option<V>>>;

impl<V: FromRedisValue + Clone + Send + Sync + 'static> Shared<V> {
    /// Returns the values of the keys, in their order.
    pub(crate) async fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<V>>, Error> {
        let mut values = self.hits(keys);
        let mut missing: Vec<usize> = (0..keys.len()).filter(|&at| values[at].is_none()).collect();
        if missing.is_empty() {
            return Ok(values.into_iter().flatten().collect());
        }
        if self.link.epoch().is_live() {
            let misses = missing.iter().filter(|&&at| self.may_be_held(keys[at])).count();
            count(&self.counters.misses, misses);
            count(&self.counters.bypassed, missing.len() - misses);
        }
        for _ in 0..ROUNDS_MAX {
            if missing.is_empty() {
                break;
            }
            missing = Box::pin(self.round(keys, missing, &mut values)).await?;
        }
        if self.link.epoch().is_live() {
            self.load_alone_many(keys, &missing, &mut values).await?;
        } else {
            self.stale_many(keys, &missing, &mut values)?;
        }
        Ok(values.into_iter().flatten().collect())
    }

    /// Fills in what may be served although the server is away.
    fn stale_many(
        &self,
        keys: &[&[u8]],
        missing: &[usize],
        values: &mut Values<V>,
    ) -> Result<(), Error> {
        for &at in missing {
            values[at] = Some(self.stale(keys[at])?);
        }
        Ok(())
    }

    /// What is held and current.
    fn hits(&self, keys: &[&[u8]]) -> Values<V> {
        let epoch = self.link.epoch();
        let values = self.local.get_many(keys);
        if self.link.is_still(epoch) {
            return values;
        }
        count(&self.counters.other_hits, values.iter().flatten().count());
        vec![None; keys.len()]
    }

    /// Loads what nobody else loads, then waits for the rest: in this order, so that two callers
    /// never wait for each other. Returns those of which nothing is known yet.
    async fn round(
        &self,
        keys: &[&[u8]],
        missing: Vec<usize>,
        values: &mut Values<V>,
    ) -> Result<Vec<usize>, Error> {
        let epoch = self.link.epoch();
        if !epoch.is_live() {
            self.stale_many(keys, &missing, values)?;
            return Ok(Vec::new());
        }
        let mut own: Vec<(usize, Ticket<V>)> = Vec::new();
        let mut others: Vec<(usize, LoadWait)> = Vec::new();
        let mut bypassed = Vec::new();
        let mut again = Vec::new();
        for at in missing {
            if !self.may_be_held(keys[at]) {
                bypassed.push(at);
                continue;
            }
            match self.local.lookup(keys[at]) {
                Found::Hit(value) => {
                    count(&self.counters.other_hits, 1);
                    if self.link.is_still(epoch) {
                        values[at] = Some(value);
                    } else {
                        again.push(at);
                    }
                }
                Found::Miss(ticket) => own.push((at, ticket)),
                Found::Loading(load) => others.push((at, load)),
            }
        }
        self.load_many(own, values).await?;
        self.load_alone_many(keys, &bypassed, values).await?;
        again.extend(self.wait_for(others).await?);
        Ok(again)
    }

    /// Loads keys and stores them, unless they are invalidated meanwhile.
    async fn load_many(
        &self,
        own: Vec<(usize, Ticket<V>)>,
        values: &mut Values<V>,
    ) -> Result<(), Error> {
        if own.is_empty() {
            return Ok(());
        }
        let keys: Vec<&[u8]> = own.iter().map(|(_, ticket)| ticket.key()).collect();
        let asked = self.ask_many(&keys).await;
        match asked {
            Ok(replies) => {
                for ((at, ticket), (value, end)) in own.into_iter().zip(replies) {
                    self.store(ticket, &value, end);
                    values[at] = Some(value);
                }
                Ok(())
            }
            Err(error) => {
                count(&self.counters.loads_failed, own.len());
                own.into_iter().for_each(|(_, ticket)| ticket.fail());
                Err(error)
            }
        }
    }

    /// Loads keys and stores nothing.
    async fn load_alone_many(
        &self,
        keys: &[&[u8]],
        missing: &[usize],
        values: &mut Values<V>,
    ) -> Result<(), Error> {
        if missing.is_empty() {
            return Ok(());
        }
        let asked: Vec<&[u8]> = missing.iter().map(|&at| keys[at]).collect();
        for (&at, (value, _)) in missing.iter().zip(self.ask_many(&asked).await?) {
            values[at] = Some(value);
        }
        Ok(())
    }

    /// Waits for other callers' loads. Returns the keys to look up again.
    async fn wait_for(&self, others: Vec<(usize, LoadWait)>) -> Result<Vec<usize>, Error> {
        count(&self.counters.loads_joined, others.len());
        let mut again = Vec::new();
        let patience = Deadline::now() + self.settings.response_timeout * PATIENCE;
        for (at, load) in others {
            let end = timeout_at(patience, load).await;
            // Of a failure while the server is away, the next round finds a value to be served.
            if end == Ok(LoadEnd::Failed) && self.link.epoch().is_live() {
                return Err(Error::LeaderFailed);
            }
            again.push(at);
        }
        Ok(again)
    }

    async fn ask_many(&self, keys: &[&[u8]]) -> Result<Vec<(Option<V>, End)>, Error> {
        // After the tickets were taken: see `link`.
        let mut line = self.line()?;
        count(&self.counters.loads, keys.len());
        let mut request = Pipeline::with_capacity(keys.len() + 1);
        request.mget(keys);
        for key in keys {
            request.pttl(*key);
        }
        let asked = Instant::now();
        let replies = line.connection.send_packed_commands(&request, 0, keys.len() + 1).await;
        let parsed = replies.map_err(Error::from).and_then(|replies| {
            let mut replies = replies.into_iter();
            let values = replies.next().ok_or_else(unexpected)?.extract_error()?;
            let values = Vec::<Value>::from_redis_value(values)?;
            if values.len() != keys.len() || replies.len() != keys.len() {
                return Err(unexpected());
            }
            let pairs = values.into_iter().zip(replies).map(|(value, pttl)| {
                let value = parse(value)?;
                let pttl = i64::from_redis_value(pttl.extract_error()?)?;
                let end = End::new(asked, pttl, value.is_some(), &self.settings.limits);
                Ok((value, end))
            });
            pairs.collect()
        });
        parsed.map_err(|error| self.failed(&line, error))
    }
}
