//! What keys and values take, and what lies beside them, in full caches.

use foldhash::fast::FixedState;
use punctual::ByteCache;
use punctual_figures::grouped;
use punctual_figures::record::BarLine;

use super::Extent;
use super::mixes::{Mix, WITH_TTLS};
use crate::bar::{BYTES, Bar, COUNT, Limit, PERCENT};
use crate::speed::keys::Material;

const BUDGET_BYTES: usize = 64 << 20;
/// So many times as many entries as fit are put in.
const TURNS: usize = 4;

/// How many slots there are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slots {
    /// For a quarter more entries of the mean size than fit, as the builder has it.
    Default,
    /// For 6 % more.
    Six,
}

impl Slots {
    const BOTH: [Self; 2] = [Self::Six, Self::Default];

    fn name(self) -> &'static str {
        match self {
            Self::Default => "by mean_entry",
            Self::Six => "slots for 6 % more than fit",
        }
    }

    /// Returns the mean that the builder is to be told.
    fn mean_entry(self, bytes: usize) -> usize {
        /// Of a record, besides key and value: as the builder reckons.
        const RECORD_BYTES: f64 = 11.5;
        match self {
            Self::Default => bytes,
            Self::Six => {
                ((bytes as f64 + RECORD_BYTES) * 1.25 / 1.06 - RECORD_BYTES).round() as usize
            }
        }
    }
}

fn mix(name: &str) -> Mix {
    WITH_TTLS.into_iter().find(|mix| mix.name == name).expect("it is one of them")
}

fn cache(mean_entry: usize) -> ByteCache<FixedState> {
    let builder = ByteCache::builder().memory_budget(BUDGET_BYTES).mean_entry(mean_entry);
    let builder = builder.hasher(FixedState::with_seed(3)).processors(super::entrants::PROCESSORS);
    builder.build().expect("the budget suffices")
}

/// A cache in which entries like those of a mix have come and gone.
fn full(mix: Mix, slots: Slots) -> ByteCache<FixedState> {
    let cache = cache(slots.mean_entry(mix.mean_entry()));
    let mut random = fastrand::Rng::with_seed(5);
    let bytes = vec![0x5a; 1 << 20];
    let mut key = vec![0; mix.key_bytes];
    for number in 0..(TURNS * BUDGET_BYTES / (mix.mean_entry() + 40)) as u64 {
        key[..8].copy_from_slice(&number.to_le_bytes());
        let length = mix.value_length(&mut random).min(bytes.len());
        cache.insert(&key, &bytes[..length]).expect("it fits");
    }
    assert!(cache.stats().evicted > 0);
    cache
}

/// What a full cache takes for an entry, besides its key and value.
pub(super) fn beside(_: Extent) -> Vec<BarLine> {
    let sizes = [
        ("id pairs", "39 B each", [44.0, 50.0], 40.0),
        ("cluster 19", "42 B + 101 B, lognormal", [53.0, 59.0], 48.0),
        ("cluster 29", "36 B + 799 B, lognormal", [90.0, 96.0], 72.0),
    ];
    let lines = sizes.into_iter().flat_map(|(name, sizes, musts, aim)| {
        Slots::BOTH.into_iter().zip(musts).map(move |(slots, must)| {
            let cache = full(mix(name), slots);
            let (stats, total) = (cache.stats(), cache.footprint().total());
            let bytes = (total as f64 - stats.live_bytes as f64) / stats.held as f64;
            let bar = format!("beside key and value, an entry, {sizes}, {}", slots.name());
            let remark = format!(
                "{} entries, {} slots, {:.1} % used",
                grouped(stats.held as usize),
                grouped(cache.capacity()),
                100.0 * stats.live_bytes as f64 / total as f64
            );
            let bar = Bar::new(bar, BYTES, Limit::at_most(must));
            bar.aim(Limit::at_most(aim)).once(bytes, &remark)
        })
    });
    lines.collect()
}

/// How much of the budget is keys and values, and how many pairs of ids fit.
pub(super) fn used(_: Extent) -> Vec<BarLine> {
    let kilobytes = ["cluster 7", "cluster 4", "cluster 13"].map(|name| {
        let mix = mix(name);
        let cache = full(mix, Slots::Default);
        let stats = cache.stats();
        let percent = 100.0 * stats.live_bytes as f64 / BUDGET_BYTES as f64;
        let sizes = format!("{} B + {} B, lognormal", mix.key_bytes, grouped(mix.value_bytes));
        let bar = format!("keys and values, of the budget, {sizes}");
        let bar = Bar::new(bar, PERCENT, Limit::at_least(92.0)).aim(Limit::at_least(95.0));
        bar.once(percent, &format!("{} entries", grouped(stats.held as usize)))
    });
    let pairs = Slots::BOTH.into_iter().zip([800_000.0, 760_000.0]).map(|(slots, must)| {
        let cache = cache(slots.mean_entry(39));
        for number in 0..2_000_000 {
            let (key, value) = String::entry(number);
            cache.insert(key, value.as_bytes()).expect("it fits");
        }
        let bar = format!("pairs of ids in 64 MiB, {}", slots.name());
        let bar = Bar::new(bar, COUNT, Limit::at_least(must)).aim(Limit::at_least(840_000.0));
        bar.once(cache.len() as f64, &format!("{} slots", grouped(cache.capacity())))
    });
    kilobytes.into_iter().chain(pairs).collect()
}
