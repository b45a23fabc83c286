//! Caches of byte strings as one thread uses them in real time, and what a round asks of them.

use std::hint::black_box;
use std::time::Duration;

use punctual::{ByteCache, unsync};

/// Of the keys of pairs of ids.
pub(crate) const KEY_BYTES: usize = 20;
pub(crate) type Key = [u8; KEY_BYTES];

/// Returns the key of a number.
pub(crate) fn key(number: u64) -> Key {
    let mut key = *b"session:            ";
    key[12..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    key
}

pub(crate) trait Player {
    /// Copies the value of a key to a buffer that is used again and again, or as near to that as the
    /// cache can come.
    fn get(&mut self, key: &Key, into: &mut Vec<u8>) -> bool;

    /// Looks at the first byte of a value, without a copy if the cache can.
    fn read(&mut self, key: &Key) -> Option<u8>;

    fn insert(&mut self, key: &Key, value: &[u8]);
}

/// A call that is timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operation {
    Get,
    Read,
    /// New keys, into a full cache.
    Insert,
    ReadThrough,
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Read => "read",
            Self::Insert => "insert",
            Self::ReadThrough => "read-through",
        }
    }
}

/// A player whatever its type: does a round, and returns how many keys were found.
pub(crate) trait Round {
    fn play(&mut self, operation: Operation, keys: &[(Key, &[u8])]) -> usize;
}

impl<P: Player> Round for P {
    fn play(&mut self, operation: Operation, keys: &[(Key, &[u8])]) -> usize {
        match operation {
            Operation::Get => get(self, keys),
            Operation::Read => read(self, keys),
            Operation::Insert => insert(self, keys),
            Operation::ReadThrough => read_through(self, keys),
        }
    }
}

// A function for each, so that the optimiser sees each loop by itself.

#[inline(never)]
fn get(player: &mut impl Player, keys: &[(Key, &[u8])]) -> usize {
    let mut value = Vec::new();
    let found = keys.iter().filter(|(key, _)| player.get(black_box(key), &mut value));
    found.count()
}

#[inline(never)]
fn read(player: &mut impl Player, keys: &[(Key, &[u8])]) -> usize {
    keys.iter().filter(|(key, _)| black_box(player.read(black_box(key))).is_some()).count()
}

#[inline(never)]
fn insert(player: &mut impl Player, keys: &[(Key, &[u8])]) -> usize {
    for (key, value) in keys {
        player.insert(black_box(key), black_box(value));
    }
    0
}

#[inline(never)]
fn read_through(player: &mut impl Player, keys: &[(Key, &[u8])]) -> usize {
    let mut value = Vec::new();
    let found = keys.iter().filter(|(key, made)| {
        let is_hit = player.get(black_box(key), &mut value);
        if !is_hit {
            player.insert(key, made);
        }
        is_hit
    });
    found.count()
}

/// How large a cache is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) budget_bytes: usize,
    /// Of key and value.
    pub(crate) mean_entry: usize,
}

const TTL: Duration = Duration::from_secs(3_600);

pub(crate) struct Ours(pub(crate) ByteCache);

impl Ours {
    pub(crate) fn new(room: Room) -> Self {
        let builder = ByteCache::builder().memory_budget(room.budget_bytes);
        let builder = builder.mean_entry(room.mean_entry).ttl(TTL);
        Self(builder.build().expect("the budget suffices"))
    }
}

impl Player for Ours {
    #[inline]
    fn get(&mut self, key: &Key, into: &mut Vec<u8>) -> bool {
        into.clear();
        black_box(self.0.get_into(key, into)).is_some()
    }

    #[inline]
    fn read(&mut self, key: &Key) -> Option<u8> {
        self.0.read(key, |value| value[0])
    }

    #[inline]
    fn insert(&mut self, key: &Key, value: &[u8]) {
        black_box(self.0.insert(key, value)).expect("it fits");
    }
}

/// The same cache whose `get` allocates a vector.
pub(crate) struct Vectors(pub(crate) Ours);

impl Player for Vectors {
    #[inline]
    fn get(&mut self, key: &Key, _: &mut Vec<u8>) -> bool {
        black_box(self.0.0.get(key)).is_some()
    }

    #[inline]
    fn read(&mut self, key: &Key) -> Option<u8> {
        self.0.read(key)
    }

    #[inline]
    fn insert(&mut self, key: &Key, value: &[u8]) {
        self.0.insert(key, value);
    }
}

pub(crate) struct Unsync(unsync::ByteCache);

impl Unsync {
    pub(crate) fn new(room: Room) -> Self {
        let builder = unsync::ByteCache::builder().memory_budget(room.budget_bytes);
        let builder = builder.mean_entry(room.mean_entry).ttl(TTL);
        Self(builder.build().expect("the budget suffices"))
    }
}

impl Player for Unsync {
    #[inline]
    fn get(&mut self, key: &Key, into: &mut Vec<u8>) -> bool {
        into.clear();
        black_box(self.0.get_into(key, into)).is_some()
    }

    #[inline]
    fn read(&mut self, key: &Key) -> Option<u8> {
        self.0.get(key).map(|value| value[0])
    }

    #[inline]
    fn insert(&mut self, key: &Key, value: &[u8]) {
        black_box(self.0.insert(key, value)).expect("it fits");
    }
}

type Bytes = Box<[u8]>;

pub(crate) struct QuickCache(quick_cache::sync::Cache<Bytes, Bytes, Weigher>);

#[derive(Clone)]
pub(crate) struct Weigher;

impl quick_cache::Weighter<Bytes, Bytes> for Weigher {
    fn weight(&self, key: &Bytes, value: &Bytes) -> u64 {
        (key.len() + value.len()) as u64
    }
}

impl QuickCache {
    /// One for as many entries as there are.
    pub(crate) fn new(entries: usize, mean_entry: usize) -> Self {
        let weight = (entries * mean_entry) as u64;
        Self(quick_cache::sync::Cache::with_weighter(entries, weight, Weigher))
    }
}

impl Player for QuickCache {
    #[inline]
    fn get(&mut self, key: &Key, _: &mut Vec<u8>) -> bool {
        black_box(self.0.get(&key[..])).is_some()
    }

    #[inline]
    fn read(&mut self, key: &Key) -> Option<u8> {
        self.0.get(&key[..]).map(|value| value[0])
    }

    #[inline]
    fn insert(&mut self, key: &Key, value: &[u8]) {
        self.0.insert(key[..].into(), value.into());
    }
}

pub(crate) struct Moka(moka::sync::Cache<Bytes, Bytes>);

impl Moka {
    pub(crate) fn new(entries: usize, mean_entry: usize) -> Self {
        let builder = moka::sync::Cache::builder().max_capacity((entries * mean_entry) as u64);
        let builder =
            builder.weigher(|key: &Bytes, value: &Bytes| (key.len() + value.len()) as u32);
        Self(builder.time_to_live(TTL).build())
    }
}

impl Player for Moka {
    #[inline]
    fn get(&mut self, key: &Key, _: &mut Vec<u8>) -> bool {
        black_box(self.0.get(&key[..])).is_some()
    }

    #[inline]
    fn read(&mut self, key: &Key) -> Option<u8> {
        self.0.get(&key[..]).map(|value| value[0])
    }

    #[inline]
    fn insert(&mut self, key: &Key, value: &[u8]) {
        self.0.insert(key[..].into(), value.into());
    }
}

pub(crate) struct Foyer(foyer_memory::Cache<Bytes, Bytes>);

impl Foyer {
    pub(crate) fn new(entries: usize, mean_entry: usize) -> Self {
        let builder = foyer_memory::Cache::builder(entries * mean_entry);
        let weigher = |key: &Bytes, value: &Bytes| key.len() + value.len();
        Self(builder.with_weighter(weigher).build())
    }
}

impl Player for Foyer {
    #[inline]
    fn get(&mut self, key: &Key, into: &mut Vec<u8>) -> bool {
        let Some(entry) = self.0.get(&key[..]) else { return false };
        into.clear();
        into.extend_from_slice(black_box(entry.value()));
        true
    }

    #[inline]
    fn read(&mut self, key: &Key) -> Option<u8> {
        self.0.get(&key[..]).map(|entry| entry.value()[0])
    }

    #[inline]
    fn insert(&mut self, key: &Key, value: &[u8]) {
        self.0.insert(key[..].into(), value.into());
    }
}
