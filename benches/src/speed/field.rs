//! The field: who can take part in a comparison, by name.

use punctual::{Eviction, ManualClock, SystemClock};

use super::batches::Batches;
use super::keys::Material;
use super::work::{Contestant, OneThread, SeveralThreads};
use crate::subjects::Subject;
use crate::subjects::bare_map::BareMap;
use crate::subjects::lru_deadline::LruDeadline;
use crate::subjects::mini_moka::MiniMoka;
use crate::subjects::moka_expiry::MokaExpiry;
use crate::subjects::moka_ttl::MokaTtl;
use crate::subjects::mutexed::Mutexed;
use crate::subjects::original::Original;
use crate::subjects::punctual_cache::PunctualCache;
use crate::subjects::punctual_unsync::PunctualUnsync;
use crate::subjects::quick_cache::QuickCache;
use crate::subjects::quick_cache_deadline::QuickCacheDeadline;
use crate::subjects::quick_cache_unsync::QuickCacheUnsync;
use crate::subjects::sharded_map::ShardedMap;
use crate::subjects::stretto::Stretto;
use crate::subjects::time::RealTime;
use crate::subjects::ttl_cache::TtlCache;

/// How the subject is named everywhere, and what there is to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entrant {
    pub(crate) name: &'static str,
    pub(crate) who: Who,
    /// Whether its entries leave when their time is up, on read at least.
    pub(crate) expires: bool,
    /// Whether it can be full: the maps hold whatever they are given.
    pub(crate) is_bounded: bool,
    pub(crate) removes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Punctual(Eviction),
    /// With so many keys a call.
    PunctualBatches(usize),
    /// Reads the system's coarse clock at each call.
    PunctualUnsync,
    /// By a clock that the caller keeps.
    PunctualUnsyncKeptClock,
    Original,
    MokaTtl,
    MokaExpiry,
    MiniMoka,
    Stretto,
    QuickCache,
    QuickCacheDeadline,
    QuickCacheUnsync,
    LruDeadline,
    TtlCache,
    ShardedMap,
    BareMap,
}

const fn cache(name: &'static str, who: Who, expires: bool) -> Entrant {
    Entrant { name, who, expires, is_bounded: true, removes: true }
}

const fn map(name: &'static str, who: Who) -> Entrant {
    Entrant { name, who, expires: false, is_bounded: false, removes: true }
}

pub(crate) const UNSYNC: Entrant = cache("punctual unsync", Who::PunctualUnsync, true);
pub(crate) const UNSYNC_KEPT_CLOCK: Entrant =
    cache("punctual unsync, kept clock", Who::PunctualUnsyncKeptClock, true);
pub(crate) const ORIGINAL: Entrant =
    Entrant { removes: false, ..cache("original", Who::Original, true) };
pub(crate) const MOKA_TTL: Entrant = cache("moka", Who::MokaTtl, true);
pub(crate) const MOKA_EXPIRY: Entrant = cache("moka Expiry", Who::MokaExpiry, true);
pub(crate) const MINI_MOKA: Entrant = cache("mini-moka", Who::MiniMoka, true);
pub(crate) const STRETTO: Entrant = cache("stretto", Who::Stretto, true);
pub(crate) const QUICK_CACHE: Entrant = cache("quick_cache", Who::QuickCache, false);
pub(crate) const QUICK_CACHE_DEADLINE: Entrant =
    cache("quick_cache + deadline", Who::QuickCacheDeadline, true);
pub(crate) const QUICK_CACHE_UNSYNC: Entrant =
    cache("quick_cache unsync", Who::QuickCacheUnsync, false);
pub(crate) const LRU_DEADLINE: Entrant = cache("lru + deadline", Who::LruDeadline, true);
pub(crate) const TTL_CACHE: Entrant = cache("ttl_cache", Who::TtlCache, true);
pub(crate) const SHARDED_MAP: Entrant = map("sharded map", Who::ShardedMap);
pub(crate) const BARE_MAP: Entrant = map("bare map", Who::BareMap);

/// `punctual::Cache` as it comes.
pub(crate) fn punctual() -> Entrant {
    cache("punctual", Who::Punctual(Eviction::default()), true)
}

/// `punctual::Cache` with first in, first out.
pub(crate) const PUNCTUAL_FIFO: Entrant =
    cache("punctual Fifo", Who::Punctual(Eviction::Fifo), true);

/// `punctual::Cache`, called for so many keys at once.
pub(crate) const BATCHES_OF_100: Entrant =
    cache("punctual, 100 keys a call", Who::PunctualBatches(100), true);
pub(crate) const BATCHES_OF_1000: Entrant =
    cache("punctual, 1,000 keys a call", Who::PunctualBatches(1_000), true);

/// Longer than any measurement: a TTL of those that have one for all entries.
const TTL: std::time::Duration = std::time::Duration::from_secs(3600);

impl Entrant {
    /// Whether it is this crate's.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(
            self.who,
            Who::Punctual(_)
                | Who::PunctualBatches(_)
                | Who::PunctualUnsync
                | Who::PunctualUnsyncKeptClock
        )
    }

    /// An empty one, for so many threads. What is made for one thread is shared behind a mutex.
    pub(crate) fn build<M: Material>(
        &self,
        capacity: usize,
        threads: usize,
    ) -> Box<dyn Contestant<M>> {
        fn shared<M: Material>(
            subject: impl Subject<M, M> + Clone + Send + 'static,
            threads: usize,
        ) -> Box<dyn Contestant<M>> {
            if threads == 1 {
                Box::new(OneThread(subject))
            } else {
                Box::new(SeveralThreads(subject))
            }
        }
        fn mutexed<M: Material>(
            subject: impl Subject<M, M> + Send + 'static,
            threads: usize,
        ) -> Box<dyn Contestant<M>> {
            if threads == 1 {
                Box::new(OneThread(subject))
            } else {
                Box::new(SeveralThreads(Mutexed::new(subject)))
            }
        }
        fn single<M: Material>(
            subject: impl Subject<M, M> + 'static,
            threads: usize,
        ) -> Box<dyn Contestant<M>> {
            assert_eq!(threads, 1, "a subject that cannot be shared");
            Box::new(OneThread(subject))
        }
        match self.who {
            Who::Punctual(eviction) => shared(PunctualCache::new(capacity, eviction), threads),
            Who::PunctualBatches(size) => {
                assert_eq!(threads, 1, "batches are called by one thread");
                Box::new(Batches::new(capacity, size))
            }
            Who::PunctualUnsync => {
                single(PunctualUnsync::new(capacity, Eviction::default(), SystemClock), threads)
            }
            Who::PunctualUnsyncKeptClock => {
                let clock = ManualClock::new();
                single(PunctualUnsync::new(capacity, Eviction::default(), clock), threads)
            }
            Who::Original => mutexed(Original::new(capacity), threads),
            Who::MokaTtl => shared(MokaTtl::new(capacity, TTL), threads),
            Who::MokaExpiry => shared(MokaExpiry::new(capacity), threads),
            Who::MiniMoka => shared(MiniMoka::new(capacity, TTL), threads),
            Who::Stretto => shared(Stretto::new(capacity), threads),
            Who::QuickCache => shared(QuickCache::new(capacity), threads),
            Who::QuickCacheDeadline => shared(QuickCacheDeadline::new(capacity, RealTime), threads),
            Who::QuickCacheUnsync => single(QuickCacheUnsync::new(capacity), threads),
            Who::LruDeadline => mutexed(LruDeadline::new(capacity, RealTime), threads),
            Who::TtlCache => mutexed(TtlCache::new(capacity), threads),
            Who::ShardedMap => shared(ShardedMap::new(capacity), threads),
            Who::BareMap => single(BareMap::new(capacity), threads),
        }
    }
}
