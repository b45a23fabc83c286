//! The wheel alone against tokio-util's `DelayQueue`.

use super::{Line, at_least, verdict};
use crate::wheels::{self, Phase};

/// Times as fast as `DelayQueue`, in each phase.
const MUST: f64 = 3.0;
/// Inserts a second on one core.
const AIM_INSERTS: f64 = 10e6;

pub(super) fn lines() -> Vec<Line> {
    eprintln!("the wheel alone ...");
    let results = wheels::compare();
    let nanos = |name: &str, phase| {
        let result = results.iter().find(|result| result.subject == name);
        result.expect("it took part").median_nanos(phase)
    };
    let mut lines = Vec::new();
    for phase in Phase::ALL {
        let own = nanos(wheels::OURS, phase);
        let peer = nanos(wheels::DELAY_QUEUE, phase);
        lines.push(Line {
            bar: format!("wheel, {}", phase.name()),
            against: wheels::DELAY_QUEUE.to_owned(),
            must: at_least(Some(MUST)),
            aim: String::new(),
            measured: format!("{:.2}", peer / own),
            verdict: verdict(peer / own, Some(MUST), None),
            details: format!("{own:.1} ns : {peer:.1} ns"),
        });
    }
    let inserts = 1e9 / nanos(wheels::OURS, Phase::Insert);
    lines.push(Line {
        bar: "wheel, inserts a second".to_owned(),
        against: String::new(),
        must: String::new(),
        aim: format!(">= {:.0} million", AIM_INSERTS / 1e6),
        measured: format!("{:.1} million", inserts / 1e6),
        verdict: verdict(inserts, None, Some(AIM_INSERTS)),
        details: String::new(),
    });
    lines
}
