//! Loads of a cache of bytes.

use std::hash::BuildHasher;
use std::ops::Deref;
use std::time::Duration;

use super::error::LoadError;
use super::in_flight::End;
use super::leading::{Ended, Leading, Sharing};
use super::single_flight::{IfLeaderFails, LeaderFailed, Turn};
use super::waiters::HasLoads as _;
use crate::cache::inner::Inner;
use crate::cache::insert_bytes::{Gate, Insertions, Stored};
use crate::cache::locked_shard::Guard;
use crate::error::TooLarge;
use crate::panic::{DropGuard, FirstPanic};
use crate::shard::bytes::NewRecord;
use crate::shard::key_hash::KeyHash;
use crate::shard::probe::ByteKey;
use crate::time::ttl::Ttl;

type ByteInner<S> = Inner<(), (), S>;

/// A value and its TTL, as a loader returns them.
type Loaded<E> = Result<(Vec<u8>, Ttl), E>;

impl<S: BuildHasher> Inner<(), (), S> {
    /// Returns the value of a key; where there is none, the one that `load` returns.
    pub(in crate::cache) fn load_bytes<E>(
        &self,
        insertions: &Insertions,
        key: &[u8],
        load: impl FnOnce() -> Loaded<E>,
    ) -> Result<Vec<u8>, LoadError<E>> {
        let query = &ByteKey(key);
        if let Some(value) = self.get_to_load(query, |_, found| found.bytes().to_vec()) {
            return Ok(value);
        }
        let hash = KeyHash::new(&self.hasher, query);
        let turn =
            self.wait_for_turn(hash, query, IfLeaderFails::Fail, |found| found.bytes().to_vec());
        match turn {
            Ok(Turn::Hit(value)) => Ok(value),
            Ok(Turn::Lead(mut leading)) => {
                let loaded = leading.run(load);
                leading.finish_bytes(insertions, key, loaded)
            }
            Err(LeaderFailed) => Err(LoadError::LeaderFailed),
        }
    }

    /// [`load_bytes`](Self::load_bytes) by a future.
    #[cfg(feature = "async")]
    pub(in crate::cache) async fn load_bytes_async<E, F>(
        &self,
        insertions: &Insertions,
        key: &[u8],
        load: impl FnOnce() -> F,
    ) -> Result<Vec<u8>, LoadError<E>>
    where
        F: Future<Output = Loaded<E>>,
    {
        let query = &ByteKey(key);
        if let Some(value) = self.get_to_load(query, |_, found| found.bytes().to_vec()) {
            return Ok(value);
        }
        let hash = KeyHash::new(&self.hasher, query);
        let turn =
            self.await_turn(hash, query, IfLeaderFails::Fail, |found| found.bytes().to_vec());
        match turn.await {
            Ok(Turn::Hit(value)) => Ok(value),
            Ok(Turn::Lead(leading)) => {
                let (leading, loaded) = leading.run_async(load).await;
                leading.finish_bytes(insertions, key, loaded.into_inner())
            }
            Err(LeaderFailed) => Err(LoadError::LeaderFailed),
        }
    }
}

impl<S: BuildHasher, H: Deref<Target = ByteInner<S>>> Leading<H> {
    /// Ends the load with what its loader returned, which is also returned.
    fn finish_bytes<E>(
        mut self,
        insertions: &Insertions,
        key: &[u8],
        loaded: Loaded<E>,
    ) -> Result<Vec<u8>, LoadError<E>> {
        // Clocks and wakers may panic.
        let mut panics = FirstPanic::default();
        let (value, ttl) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                let error: DropGuard<E> = self.fail_with(error, (), &mut panics);
                return Err(LoadError::Failed(panics.resume_or(error.into_inner())));
            }
        };
        let ttl = self.cache.ttl_of_bytes(ttl, self.hash);
        let is_zero = ttl == Some(Duration::ZERO);
        if is_zero || self.store_bytes(insertions, key, &value, ttl, &mut panics).is_err() {
            self.store_nothing((), &mut panics);
        }
        Ok(panics.resume_or(value))
    }

    /// Ends the load with a value to store. Returns whether it was stored, rather than overruled.
    ///
    /// # Errors
    ///
    /// If the entry is too large: then the load goes on.
    pub(super) fn store_bytes(
        &mut self,
        insertions: &Insertions,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
        panics: &mut FirstPanic,
    ) -> Result<bool, TooLarge> {
        let lengths = insertions.lengths(key, value)?;
        self.cache.begin_call();
        let reading = self.cache.now_for_ttl();
        let new = NewRecord { hash: self.hash, key, value, lengths };
        let nanos = self.cache.timebase.nanos_of(reading).saturating_sub(self.began_nanos);
        let sharing = std::mem::replace(&mut self.sharing, Sharing::Done);
        let mut gate = ByLoad { hash: self.hash, sharing, nanos, ended: None };
        let stored = self.cache.store_bytes(insertions, new, ttl, reading, &mut gate, panics);
        let loads = self.cache.loads_of(self.hash);
        // What was refused ends here: nobody finds an entry by it.
        let ended = gate.ended.unwrap_or_else(|| gate.sharing.end(loads, End::Stored, nanos));
        self.wake(ended, panics);
        Ok(stored != Stored::Refused)
    }
}

/// The gate of a load, which ends under the lock under which its value is put in.
struct ByLoad {
    hash: KeyHash,
    sharing: Sharing,
    nanos: u64,
    ended: Option<Ended>,
}

impl Gate for ByLoad {
    fn admits(&self, state: &Guard<'_, (), ()>, has_live: bool) -> bool {
        match self.sharing {
            Sharing::Shared(load) => state.loads().is_valid_shared(load),
            // A live entry was stored by another load since this one began: it stays.
            Sharing::Unshared(load) => !has_live && state.loads().is_valid(load, self.hash),
            Sharing::Done => false,
        }
    }

    fn passed(&mut self, state: &Guard<'_, (), ()>) {
        let loads = state.loads();
        if let Sharing::Unshared(load) = self.sharing {
            loads.overrule_older(load, self.hash);
        }
        let sharing = std::mem::replace(&mut self.sharing, Sharing::Done);
        self.ended = Some(sharing.end(loads, End::Stored, self.nanos));
    }
}
