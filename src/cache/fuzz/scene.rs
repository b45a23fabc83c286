//! What the two threads are to do.

use arbitrary::Arbitrary;

use super::THREADS;

#[derive(Arbitrary, Debug)]
pub(crate) struct Scene {
    pub(super) eviction: Policy,
    pub(super) capacity: u8,
    pub(super) shards: u8,
    pub(super) reap_limit: u8,
    pub(super) concurrent_loads: u8,
    pub(super) ttl: Option<u8>,
    pub(super) scripts: [Vec<Step>; THREADS],
}

#[derive(Arbitrary, Debug)]
pub(super) enum Policy {
    Adaptive,
    S3Clock,
    S3Fifo,
    Fifo,
}

/// TTLs and advances are in halves of the resolution.
#[derive(Arbitrary, Clone, Debug)]
pub(super) enum Step {
    Insert { key: u8 },
    InsertWithTtl { key: u8, ttl: u8 },
    InsertMany { keys: Vec<u8>, ttl: Option<u8> },
    Get { key: u8 },
    GetMany { keys: Vec<u8> },
    Peek { key: u8 },
    Read { key: u8 },
    Update { key: u8 },
    Contains { key: u8 },
    ExpiresIn { key: u8 },
    Remove { key: u8 },
    SetTtl { key: u8, ttl: u8 },
    GetAndSetTtl { key: u8, ttl: u8 },
    GetOrInsert { key: u8 },
    Load { key: u8, ttl: u8, outcome: Outcome },
    Lookup { key: u8, refresh_before: u8 },
    EndTicket { number: u8, end: TicketEnd },
    Advance { by: u8 },
    Reap { limit: u8 },
    NextExpiry,
    Retain { odd: bool },
    ForEach,
    Clear,
    Ask,
}

#[derive(Arbitrary, Clone, Debug)]
pub(super) enum Outcome {
    Value,
    Error,
    Panic,
    /// Meanwhile, the loader inserts, or removes, that key itself.
    Overruled {
        by_removal: bool,
    },
}

#[derive(Arbitrary, Clone, Debug)]
pub(super) enum TicketEnd {
    Store { ttl: u8 },
    Fail,
    Drop,
}
