//! The wheel alone against tokio-util's `DelayQueue`.

use punctual_figures::record::{Target, TimersResult};

use super::limits::Limits;
use crate::wheels;

/// Times as fast as `DelayQueue`, in each phase.
const PHASE: Limits = Limits::at_least(Some(3.0), None);
/// Inserts a second on one core.
const INSERTS: Limits = Limits::at_least(None, Some(10.0)).in_unit(" million");

pub(super) fn lines(timers: &[TimersResult]) -> Vec<Target> {
    let of = |name: &str| {
        let timers = timers.iter().find(|timers| timers.subject == name);
        timers.expect("it took part").medians()
    };
    let (own, peer) = (of(wheels::OURS), of(wheels::DELAY_QUEUE));
    let phases = TimersResult::PHASES.into_iter().zip(own.into_iter().zip(peer));
    let phases = phases.map(|(phase, (own, peer))| {
        let (bar, details) = (format!("wheel, {phase}"), format!("{own:.1} ns : {peer:.1} ns"));
        PHASE.target(bar, wheels::DELAY_QUEUE, peer / own, details)
    });
    let millions = 1e3 / own[0];
    let inserts = INSERTS.target("wheel, inserts a second", "", millions, String::new());
    phases.chain([inserts]).collect()
}
