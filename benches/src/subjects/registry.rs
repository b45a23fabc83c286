//! Everyone who is compared, in the order of the tables.
//!
//! A new peer is one file and one entry:
//!
//! 1. `subjects/NAME.rs`, declared in `subjects/mod.rs`, implements [`Subject`] for it, and says
//!    where it had to choose.
//! 2. The entry below has its id, what threads do with it (`shared`: each has a handle; `mutexed`:
//!    all use one behind a mutex; `single`: one thread has it for itself), how it is made, and the
//!    [`Facts`]. `ttl` is for those with one TTL for all entries.
//!
//! Speed, storm, promptness, memory, hit ratios, the oracle, tables and pictures take it from here.
//! Its colour is in `figures/src/palette.rs`; without one it is drawn grey.

use std::time::Duration;

use punctual::{Eviction, ManualClock};
use punctual_figures::subject::{Kind, Subject as Description};

use super::bare_map::BareMap;
use super::foyer::Foyer;
use super::lru_deadline::LruDeadline;
use super::mini_moka::MiniMoka;
use super::moka_expiry::MokaExpiry;
use super::moka_ttl::MokaTtl;
use super::nothing::Nothing;
use super::original::Original;
use super::pingora::Pingora;
use super::policies::{Fifo, Lru, S3Fifo, Sieve};
use super::punctual_batches::PunctualBatches;
use super::punctual_cache::PunctualCache;
use super::punctual_unsync::PunctualUnsync;
use super::quick_cache::QuickCache;
use super::quick_cache_deadline::QuickCacheDeadline;
use super::quick_cache_unsync::QuickCacheUnsync;
use super::scc::Scc;
use super::sharded_map::ShardedMap;
use super::stretto::Stretto;
use super::time::Time;
use super::tiny_ufo::TinyUfo;
use super::ttl_cache::TtlCache;
use super::{Key, Subject, Value};

/// Defines [`Who`], and for each of them how it is made and what is known of it.
macro_rules! subjects {
    (
        ($capacity:ident, $ttl:ident, $time:ident)
        $($who:ident: $sharing:ident($make:expr), $facts:expr;)*
    ) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Who { $($who),* }

        impl Who {
            pub(crate) const ALL: &[Self] = &[$(Self::$who),*];

            pub(crate) const fn facts(self) -> Facts {
                match self { $(Self::$who => $facts),* }
            }

            /// Makes an empty one, and shows it to the visitor.
            pub(crate) fn visit<K: Key, V: Value, T: Visitor<K, V>>(
                self,
                $capacity: usize,
                $ttl: Duration,
                $time: &impl Time,
                visitor: T,
            ) -> T::Output {
                match self { $(Self::$who => visitor.$sharing($make)),* }
            }
        }
    };
}

subjects! {
    (capacity, ttl, time)

    Punctual: shared(PunctualCache::new(capacity, Eviction::default(), time)), Facts {
        kind: Kind::Punctual,
        makes_once: true,
        is_regular: true,
        ..ours("punctual")
    };
    Unsync: single(PunctualUnsync::new(capacity, Eviction::default(), time.clock(), time)),
        Facts { is_regular: true, is_single: true, ..ours("punctual unsync") };
    Original: mutexed(Original::new(capacity, time)), Facts {
        kind: Kind::Predecessor,
        removes: false,
        takes_clock: true,
        hit: Hit::WithTtls,
        ..peer("original")
    };
    MokaTtl: shared(MokaTtl::new(capacity, ttl)),
        Facts { makes_once: true, same_bytes: true, ..peer("moka") };
    MokaExpiry: shared(MokaExpiry::new(capacity)),
        Facts { hit: Hit::WithTtls, ..peer("moka Expiry") };
    MiniMoka: shared(MiniMoka::new(capacity, ttl)),
        Facts { same_bytes: true, ..peer("mini-moka") };
    Stretto: shared(Stretto::new(capacity)), Facts {
        stores: false,
        evicts_slowly: true,
        same_bytes: true,
        ..peer("stretto")
    };
    QuickCache: shared(QuickCache::new(capacity)), Facts {
        expires: false,
        makes_once: true,
        hit: Hit::WithoutTtls,
        same_bytes: true,
        ..peer("quick_cache")
    };
    QuickCacheDeadline: shared(QuickCacheDeadline::new(capacity, time.clone())), Facts {
        takes_clock: true,
        hit: Hit::WithTtls,
        ..peer("quick_cache + deadline")
    };
    LruDeadline: mutexed(LruDeadline::new(capacity, time.clone())), Facts {
        takes_clock: true,
        hit: Hit::WithTtls,
        same_bytes: true,
        ..peer("lru + deadline")
    };
    TtlCache: mutexed(TtlCache::new(capacity)),
        Facts { hit: Hit::WithTtls, ..peer("ttl_cache") };
    Scc: shared(Scc::new(capacity)), Facts {
        expires: false,
        stores: false,
        hit: Hit::WithoutTtls,
        same_bytes: true,
        ..peer("scc")
    };
    TinyUfo: shared(TinyUfo::new(capacity)), Facts {
        expires: false,
        hit: Hit::WithoutTtls,
        same_bytes: true,
        ..peer("TinyUFO")
    };
    Pingora: shared(Pingora::new(capacity)),
        Facts { hit: Hit::WithTtls, ..peer("pingora-memory-cache") };
    Foyer: shared(Foyer::new(capacity)), Facts {
        expires: false,
        hit: Hit::WithoutTtls,
        same_bytes: true,
        ..peer("foyer")
    };

    // Those below take part only where they are named.
    ShardedMap: shared(ShardedMap::<16, K, V>::new(capacity)), map("sharded map");
    ShardedMap64: shared(ShardedMap::<64, K, V>::new(capacity)), map("sharded map, 64 locks");
    BareMap: single(BareMap::new(capacity)), Facts { is_single: true, ..map("bare map") };
    QuickCacheUnsync: single(QuickCacheUnsync::new(capacity)), Facts {
        kind: Kind::PeerUnsync,
        expires: false,
        is_regular: false,
        is_single: true,
        hit: Hit::Nowhere,
        ..peer("quick_cache unsync")
    };
    PunctualS3Clock: shared(PunctualCache::new(capacity, Eviction::S3Clock, time)),
        ours("punctual S3Clock");
    PunctualS3Fifo: shared(PunctualCache::new(capacity, Eviction::S3Fifo, time)),
        ours("punctual S3Fifo");
    PunctualFifo: shared(PunctualCache::new(capacity, Eviction::Fifo, time)), ours("punctual Fifo");
    // By a clock that its user sets, and here nobody does.
    UnsyncKeptClock: single(PunctualUnsync::new(
        capacity,
        Eviction::default(),
        Some(ManualClock::new()),
        time,
    )), Facts {
        expires: false,
        is_single: true,
        hit: Hit::Nowhere,
        ..ours("punctual unsync, kept clock")
    };
    BatchesOf100: single(PunctualBatches::new(capacity, 100, time)),
        batches("punctual, 100 keys a call");
    BatchesOf1000: single(PunctualBatches::new(capacity, 1_000, time)),
        batches("punctual, 1,000 keys a call");
    Fifo: single(Fifo::new(capacity)), textbook("FIFO");
    Lru: single(Lru::new(capacity)), textbook("LRU");
    Sieve: single(Sieve::new(capacity)), textbook("SIEVE");
    S3Fifo: single(S3Fifo::new(capacity)), textbook("S3-FIFO");
    Nothing: single(Nothing), Facts { kind: Kind::Noise, ..map("no cache") };
}

/// What is known of a subject before it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// As all tables have it. What follows a comma is a remark.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether its entries leave when their time is up, on read at least.
    pub(crate) expires: bool,
    /// Whether it can be full: the maps hold whatever they are given.
    pub(crate) is_bounded: bool,
    pub(crate) removes: bool,
    /// Whether what is put in is there, as long as there is room.
    pub(crate) stores: bool,
    /// Whether it looks at all entries to evict one: with a million of them, that takes longer
    /// than all the rest.
    pub(crate) evicts_slowly: bool,
    /// Whether, of many callers that miss a key, it lets one make the value.
    pub(crate) makes_once: bool,
    /// Whether it can be given a clock, and so live in simulated time.
    pub(crate) takes_clock: bool,
    /// Whether it is for one thread.
    pub(crate) is_single: bool,
    /// Whether it takes part wherever caches are compared.
    pub(crate) is_regular: bool,
    pub(crate) hit: Hit,
    /// Whether its hit ratio at the same number of bytes says something: not where another one does
    /// the same in fewer of them.
    pub(crate) same_bytes: bool,
}

/// On which traces a hit ratio says something that no other one says. At the same number of
/// entries, a deadline in the value changes nothing where nothing expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    Nowhere,
    Everywhere,
    WithTtls,
    WithoutTtls,
}

const fn peer(name: &'static str) -> Facts {
    Facts {
        name,
        kind: Kind::Peer,
        expires: true,
        is_bounded: true,
        removes: true,
        stores: true,
        evicts_slowly: false,
        makes_once: false,
        takes_clock: false,
        is_single: false,
        is_regular: true,
        hit: Hit::Everywhere,
        same_bytes: false,
    }
}

const fn ours(name: &'static str) -> Facts {
    Facts { kind: Kind::Variant, takes_clock: true, is_regular: false, ..peer(name) }
}

const fn batches(name: &'static str) -> Facts {
    Facts { is_single: true, hit: Hit::Nowhere, ..ours(name) }
}

const fn textbook(name: &'static str) -> Facts {
    let peer = peer(name);
    Facts { kind: Kind::Mark, expires: false, is_single: true, is_regular: false, ..peer }
}

const fn map(name: &'static str) -> Facts {
    Facts {
        kind: Kind::Map,
        expires: false,
        is_bounded: false,
        is_regular: false,
        hit: Hit::Nowhere,
        ..peer(name)
    }
}

impl Who {
    pub(crate) const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Every cache as it comes.
    pub(crate) fn regular() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|who| who.facts().is_regular)
    }

    /// As records have it.
    pub(crate) fn description(self) -> Description {
        let Facts { name, kind, expires, .. } = self.facts();
        Description::new(name, kind, expires)
    }
}

/// Is shown one subject, whatever its type.
pub(crate) trait Visitor<K, V>: Sized {
    type Output;

    /// One that a thread has for itself.
    fn single(self, subject: impl Subject<K, V> + 'static) -> Self::Output;

    /// One that threads can use behind a mutex.
    fn mutexed(self, subject: impl Subject<K, V> + Send + 'static) -> Self::Output {
        self.single(subject)
    }

    /// A handle, of which each thread has its own.
    fn shared(self, subject: impl Subject<K, V> + Clone + Send + 'static) -> Self::Output {
        self.single(subject)
    }
}
