//! What the model knows, and what it predicts.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Wake;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::{Cache, Clock, LoadEnd, LoadTicket, LoadWait, ManualClock, Stats};

pub(super) const KEYS: u64 = 24;
pub(super) const RESOLUTION: Duration = Duration::from_millis(1);
/// The longest power of two nanoseconds within the resolution.
pub(super) const TICK_NANOS: u64 = 1 << 19;

pub(super) type Tested = Cache<u64, u64, FixedState>;

/// The number of a load, in order of their beginnings.
pub(super) type Number = usize;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) value: u64,
    /// The tick from which on it is due.
    pub(super) deadline: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Sharing {
    Shared { record: usize, is_overruled: bool },
    Unshared { writes_before: u64 },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) key: u64,
    pub(super) sharing: Sharing,
    pub(super) began: Duration,
    pub(super) end: Option<LoadEnd>,
}

/// What one shard knows of loads.
pub(super) struct Table {
    /// The records without a load in flight, the one to be used next first.
    pub(super) queue: VecDeque<usize>,
    /// The latest load of each record.
    pub(super) latest: Vec<Option<Number>>,
    pub(super) running: HashMap<u64, Number>,
    /// How many writes the log holds, how many there were, and which was the last of each key.
    pub(super) log_size: u64,
    pub(super) writes: u64,
    pub(super) last_written: HashMap<u64, u64>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Expected {
    Hit(u64),
    Refresh(u64, Number),
    Miss(Number),
    Loading(Number),
}

pub(super) struct Ticket {
    pub(super) ticket: LoadTicket<u64, u64, FixedState>,
    pub(super) load: Number,
}

#[derive(Default)]
pub(super) struct Sleeper(pub(super) AtomicUsize);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

pub(super) struct Waiter {
    pub(super) wait: LoadWait,
    pub(super) load: Number,
    pub(super) sleeper: Arc<Sleeper>,
    /// Whether it has been polled, and not woken since.
    pub(super) sleeps: bool,
    pub(super) wakes: usize,
}

pub(super) struct Player {
    pub(super) random: fastrand::Rng,
    pub(super) clock: ManualClock,
    pub(super) cache: Tested,
    pub(super) ttl: Option<Duration>,
    pub(super) entries: HashMap<u64, Entry>,
    pub(super) shards: HashMap<u64, usize>,
    pub(super) tables: Vec<Table>,
    pub(super) loads: Vec<Load>,
    pub(super) tickets: Vec<Ticket>,
    pub(super) waiters: Vec<Waiter>,
    /// The keys whose loaders run, the innermost last.
    pub(super) loaders: Vec<u64>,
    pub(super) next_value: u64,
    pub(super) expected: Stats,
    /// Times that each thing happened, for the test not to be idle.
    pub(super) seen: HashMap<&'static str, u64>,
}

impl Player {
    pub(super) fn nanos(&self) -> u64 {
        self.clock.now().as_nanos() as u64
    }

    pub(super) fn deadline(&self, ttl: Option<Duration>) -> Option<u64> {
        let ttl = ttl.filter(|&ttl| ttl < Duration::MAX)?;
        Some((self.nanos() + ttl.as_nanos() as u64).div_ceil(TICK_NANOS))
    }

    pub(super) fn live(&self, key: u64) -> Option<Entry> {
        let is_live =
            |entry: &Entry| entry.deadline.is_none_or(|tick| self.nanos() / TICK_NANOS < tick);
        self.entries.get(&key).copied().filter(is_live)
    }

    pub(super) fn table(&mut self, key: u64) -> &mut Table {
        &mut self.tables[self.shards[&key]]
    }

    pub(super) fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Counts a use.
    pub(super) fn hit(&mut self, key: u64) -> Option<Entry> {
        let found = self.live(key);
        *if found.is_some() { &mut self.expected.hits } else { &mut self.expected.misses } += 1;
        found
    }

    /// A value gets in, by whatever way.
    pub(super) fn put(&mut self, key: u64, value: u64, ttl: Option<Duration>) {
        self.expected.inserts += 1;
        self.expected.replaced += u64::from(self.live(key).is_some());
        if ttl == Some(Duration::ZERO) {
            self.entries.remove(&key);
        } else {
            self.entries.insert(key, Entry { value, deadline: self.deadline(ttl) });
        }
    }

    /// A caller writes a key.
    pub(super) fn write(&mut self, key: u64) {
        let table = self.table(key);
        table.last_written.insert(key, table.writes);
        table.writes += 1;
        self.overrule_shared(key);
    }

    pub(super) fn overrule_shared(&mut self, key: u64) {
        let running = self.table(key).running.get(&key).copied();
        if let Some(Sharing::Shared { is_overruled, .. }) =
            running.map(|number| &mut self.loads[number].sharing)
        {
            *is_overruled = true;
        }
    }

    pub(super) fn write_all(&mut self) {
        for shard in 0..self.tables.len() {
            self.tables[shard].writes += self.tables[shard].log_size + 1;
            let running: Vec<u64> = self.tables[shard].running.keys().copied().collect();
            running.into_iter().for_each(|key| self.overrule_shared(key));
        }
    }

    pub(super) fn begin(&mut self, key: u64) -> Number {
        let number = self.loads.len();
        let table = self.table(key);
        let sharing = match table.queue.pop_front() {
            Some(record) => {
                table.latest[record] = Some(number);
                assert_eq!(table.running.insert(key, number), None);
                Sharing::Shared { record, is_overruled: false }
            }
            None => Sharing::Unshared { writes_before: table.writes },
        };
        let is_unshared = matches!(sharing, Sharing::Unshared { .. });
        self.expected.loads += 1;
        self.expected.loads_unshared += u64::from(is_unshared);
        self.see(if is_unshared { "unshared" } else { "shared" });
        self.loads.push(Load { key, sharing, began: self.clock.now(), end: None });
        number
    }

    /// Returns whether the load was not overruled.
    pub(super) fn end(&mut self, number: Number, end: LoadEnd) -> bool {
        let Load { key, sharing, began, end: None } = self.loads[number] else {
            panic!("it ends twice");
        };
        self.expected.load_nanos += (self.clock.now() - began).as_nanos() as u64;
        self.expected.loads_failed += u64::from(end == LoadEnd::Failed);
        let is_valid = match sharing {
            Sharing::Shared { record, is_overruled } => {
                let table = self.table(key);
                assert_eq!(table.running.remove(&key), Some(number));
                table.queue.push_back(record);
                !is_overruled
            }
            Sharing::Unshared { writes_before } => {
                let table = self.table(key);
                let is_known = table.writes - writes_before <= table.log_size;
                let is_written =
                    table.last_written.get(&key).is_some_and(|&write| write >= writes_before);
                self.see(match (is_known, is_written) {
                    (false, _) => "unshared, and nobody knows",
                    (true, false) => "unshared, and not written",
                    (true, true) => "unshared, and written",
                });
                is_known && !is_written
            }
        };
        self.loads[number].end = Some(if is_valid { end } else { LoadEnd::NotStored });
        for waiter in self.waiters.iter_mut().filter(|waiter| waiter.load == number) {
            waiter.wakes += usize::from(std::mem::take(&mut waiter.sleeps));
        }
        is_valid
    }

    /// How a waiter sees the load end.
    pub(super) fn end_of(&self, number: Number) -> Option<LoadEnd> {
        let Load { key, sharing: Sharing::Shared { record, .. }, end, .. } = self.loads[number]
        else {
            panic!("nobody waits for an unshared load");
        };
        let is_forgotten = self.tables[self.shards[&key]].latest[record] != Some(number);
        if is_forgotten { Some(LoadEnd::Abandoned) } else { end }
    }

    pub(super) fn end_with_value(
        &mut self,
        number: Number,
        value: u64,
        ttl: Option<Duration>,
    ) -> bool {
        let key = self.loads[number].key;
        let is_shared = matches!(self.loads[number].sharing, Sharing::Shared { .. });
        if !self.end(number, LoadEnd::Stored) || !is_shared && self.live(key).is_some() {
            self.see("overruled");
            return false;
        }
        // What began last stays.
        if !is_shared && self.table(key).running.get(&key).is_some_and(|&other| other < number) {
            self.overrule_shared(key);
        }
        self.put(key, value, ttl);
        self.see("stored");
        true
    }

    pub(super) fn expect_lookup(&mut self, key: u64, refresh_before: Duration) -> Expected {
        let running = self.table(key).running.get(&key).copied();
        let Some(Entry { value, deadline }) = self.hit(key) else {
            return match running {
                Some(number) => {
                    self.expected.loads_joined += 1;
                    Expected::Loading(number)
                }
                None => Expected::Miss(self.begin(key)),
            };
        };
        let nanos = self.nanos();
        let left =
            |tick: u64| Duration::from_nanos(((tick - 1) * TICK_NANOS).saturating_sub(nanos));
        let is_due_soon = deadline.is_some_and(|tick| left(tick) < refresh_before);
        if is_due_soon && running.is_none() && !self.table(key).queue.is_empty() {
            Expected::Refresh(value, self.begin(key))
        } else {
            Expected::Hit(value)
        }
    }
}
