//! The wheel alone against tokio-util's `DelayQueue`.

use punctual_figures::record::{BarLine, Wheel};

use super::{at_least, verdict};
use crate::wheels;

/// Times as fast as `DelayQueue`, in each phase.
const MUST: f64 = 3.0;
/// Inserts a second on one core.
const AIM_INSERTS: f64 = 10e6;

pub(super) fn lines(wheel: &Wheel) -> Vec<BarLine> {
    let of = |name: &str| {
        let timers = wheel.timers.iter().find(|timers| timers.subject == name);
        timers.expect("it took part").medians()
    };
    let (own, peer) = (of(wheels::OURS), of(wheels::DELAY_QUEUE));
    let mut lines = Vec::new();
    for ((phase, own), (_, peer)) in own.into_iter().zip(peer) {
        lines.push(BarLine {
            bar: format!("wheel, {phase}"),
            against: wheels::DELAY_QUEUE.to_owned(),
            must: at_least(Some(MUST)),
            aim: String::new(),
            measured: format!("{:.2}", peer / own),
            verdict: verdict(peer / own, Some(MUST), None).to_owned(),
            details: format!("{own:.1} ns : {peer:.1} ns"),
        });
    }
    let inserts = 1e9 / own[0].1;
    lines.push(BarLine {
        bar: "wheel, inserts a second".to_owned(),
        against: String::new(),
        must: String::new(),
        aim: format!("≥ {:.0} million", AIM_INSERTS / 1e6),
        measured: format!("{:.1} million", inserts / 1e6),
        verdict: verdict(inserts, None, Some(AIM_INSERTS)).to_owned(),
        details: String::new(),
    });
    lines
}
