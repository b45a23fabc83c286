//! Memory: bytes an entry and allocations an insert, as the allocator counts them; what the
//! builders say; and what the kernel holds resident.

mod resident;

use punctual::{Cache, unsync};
use punctual_figures::record::{CountedMemory, FootprintBytes, Memory};
use punctual_testing::alloc::Count;

pub(crate) use resident::{CHILD, child};

use crate::progress;
use crate::speed::entrants::build;
use crate::speed::keys::Material;
use crate::speed::work::Contestant;
use crate::subjects::registry::Who;

/// Twenty capacities, evenly spread over the orders of magnitude from 10,000 to the largest, and
/// none of them round.
pub(crate) fn capacities(largest: f64) -> impl Iterator<Item = usize> {
    let ratio = largest / 10_000.0;
    (0..20).map(move |step| (10_000.0 * ratio.powf(f64::from(step) / 19.0)) as usize)
}

/// The largest capacity, and up to which capacity caches of strings are filled.
const SHORT: (f64, usize) = (1e6, 100_000);
const FULL: (f64, usize) = (1e7, 1_000_000);

const FOOTPRINTS_OF: [usize; 5] = [10_000, 50_000, 500_000, 1_000_000, 10_000_000];

/// Measures all caches at several capacities.
pub(crate) fn run(full: bool) -> Memory {
    let (largest, largest_of_strings) = if full { FULL } else { SHORT };
    let mut counted = Vec::new();
    for capacity in capacities(largest) {
        progress::step(&format!("memory: {capacity} entries"));
        counted.extend(Who::regular().map(|who| count::<u64>(who, capacity)));
        if capacity <= largest_of_strings {
            counted.extend(Who::regular().map(|who| count::<String>(who, capacity)));
        }
    }
    progress::step("memory: resident");
    Memory { counted, footprints: FOOTPRINTS_OF.map(footprint).into(), resident: resident::run() }
}

fn footprint(capacity: usize) -> FootprintBytes {
    let unsync = unsync::Cache::<u64, u64>::builder().capacity(capacity).footprint();
    let unsync = unsync.expect("the capacity is possible");
    FootprintBytes {
        capacity,
        total: unsync.total(),
        slots: unsync.slots(),
        index: unsync.index(),
        wheel: unsync.wheel(),
        eviction: unsync.eviction(),
        total_of_shared: footprint_bytes::<u64>(capacity),
    }
}

/// Bytes that a `Cache` of `capacity` entries takes.
pub(crate) fn footprint_bytes<M: Material>(capacity: usize) -> usize {
    let builder = Cache::<M, M>::builder().capacity(capacity);
    builder.footprint().expect("the capacity is possible").total()
}

fn count<M: Material>(who: Who, capacity: usize) -> CountedMemory {
    let bytes_said = match who {
        Who::Punctual => Some(footprint_bytes::<M>(capacity)),
        Who::Unsync => {
            let builder = unsync::Cache::<M, M>::builder().capacity(capacity);
            Some(builder.footprint().expect("the capacity is possible").total())
        }
        _ => None,
    };
    let count = Count::start();
    let before = count.traffic().bytes_kept;
    let mut cache = build::<M>(who, capacity, 1);
    let mut next = 0;
    let evicts_slowly = who.facts().evicts_slowly;
    // Over the brim, so that all has grown that grows.
    let fill = if evicts_slowly { capacity } else { capacity + capacity / 2 };
    insert_fresh(&mut *cache, &mut next, fill);
    let handle = size_of_val(&*cache) as isize;
    let bytes = usize::try_from(count.traffic().bytes_kept - before - handle).unwrap_or(0);
    // A key and a value of a string are an allocation each, in whatever cache.
    let own_allocations = if std::mem::needs_drop::<M>() { 2.0 } else { 0.0 };
    let inserts = if evicts_slowly { 64 } else { (capacity / 4).max(1) };
    let before = count.traffic().allocations;
    insert_fresh(&mut *cache, &mut next, inserts);
    let allocations = (count.traffic().allocations - before) as f64 / inserts as f64;
    drop(count);
    CountedMemory {
        subject: who.name().to_owned(),
        material: M::NAME.to_owned(),
        capacity,
        bytes,
        bytes_said,
        allocations_an_insert: allocations - own_allocations,
    }
}

fn insert_fresh<M: Material>(cache: &mut dyn Contestant<M>, next: &mut u64, count: usize) {
    let numbers = *next..*next + count as u64;
    *next = numbers.end;
    cache.fill(&mut numbers.map(M::entry));
}
