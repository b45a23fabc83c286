//! Read-through in the same bytes: what is found, beside peers with weighers, and by policy.

use std::sync::Mutex;

use punctual::Eviction;
use punctual_figures::record::BarLine;
use rayon::prelude::*;

use super::entrants::Who;
use super::mixes::{self, Mix};
use super::replay::{Replayed, replay_in_same_bytes};
use super::{Extent, real, told};
use crate::bar::{Bar, Limit, POINTS};

const OURS: Who = Who::Ours(Eviction::Adaptive);
const PEERS: [Who; 3] = [Who::QuickCache, Who::Moka, Who::Foyer];
const POLICIES: [Eviction; 4] =
    [Eviction::Adaptive, Eviction::S3Clock, Eviction::S3Fifo, Eviction::Fifo];

fn all() -> Vec<Mix> {
    mixes::WITH_TTLS.into_iter().chain(mixes::without_ttls()).collect()
}

fn name(mix: &Mix) -> String {
    format!("{}, {}", mix.name, if mix.has_ttls() { "TTLs" } else { "no TTLs" })
}

/// How far ahead of quick_cache.
pub(super) fn lines(extent: Extent) -> Vec<BarLine> {
    let peers = &PEERS[..if extent == Extent::Quick { 1 } else { PEERS.len() }];
    let everyone: Vec<Who> = [OURS].into_iter().chain(peers.iter().copied()).collect();
    let mixes = all();
    let replayed = replay_all(&mixes, &everyone, extent);
    let line = |(mix, replayed): (&Mix, &[Replayed])| {
        let (ours, quick_cache) = (&replayed[0], &replayed[1]);
        let must = if mix.has_ttls() { 0.0 } else { -1.5 };
        let bar = format!("hits more than quick_cache, {}", name(mix));
        let bar = Bar::new(bar, POINTS, Limit::at_least(must)).aim(Limit::at_least(0.0));
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let others = everyone.iter().zip(replayed).skip(1).map(|(who, it)| {
            let (ratio, mib) = (it.hit_percent(), mib(it.real_bytes()));
            format!("{} {ratio:.2} % in {mib:.1} MiB", who.name())
        });
        let others = others.collect::<Vec<_>>().join(", ");
        let bytes = mib(mix.budget_bytes as f64);
        let used = 100.0 * ours.live_bytes() / mix.budget_bytes as f64;
        let ratio = ours.hit_percent();
        let remark = format!("{ratio:.2} % in {bytes} MiB, {used:.0} % used; {others}");
        bar.once(ours.hit_percent() - quick_cache.hit_percent(), &remark)
    };
    mixes.iter().zip(replayed.chunks(everyone.len())).map(line).collect()
}

/// The hit ratio of each policy.
pub(super) fn policies(extent: Extent) -> Vec<BarLine> {
    let policies = POLICIES.map(Who::Ours);
    let mixes = all();
    let replayed = replay_all(&mixes, &policies, extent);
    let line = |(mix, replayed): (&Mix, &[Replayed])| {
        let ratios: Vec<f64> = replayed.iter().map(Replayed::hit_percent).collect();
        let words =
            POLICIES.iter().zip(&ratios).map(|(policy, ratio)| format!("{policy} {ratio:.2} %"));
        let words = words.collect::<Vec<_>>().join(", ");
        told(format!("hits by policy, {}", name(mix)), words, ratios)
    };
    mixes.iter().zip(replayed.chunks(POLICIES.len())).map(line).collect()
}

/// Replays each mix with everyone, on all processors.
fn replay_all(mixes: &[Mix], everyone: &[Who], extent: Extent) -> Vec<Replayed> {
    // What a thread of moka's frees may be another one's, so they take turns.
    let turn = Mutex::new(());
    real::start();
    let of_mix = |mix: &Mix| {
        let trace = mix.trace(extent.of(100));
        let short = mix.trace(extent.of(100) / 3);
        let replays = everyone.par_iter().map(|&who| {
            let _turn = (who == Who::Moka).then(|| turn.lock().expect("no replay panics"));
            replay_in_same_bytes(&trace, &short, who)
        });
        replays.collect::<Vec<_>>()
    };
    let replayed = mixes.iter().flat_map(of_mix).collect();
    real::stop();
    replayed
}
