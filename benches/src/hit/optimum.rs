//! Belady's optimum (1966): evict what is asked for last of all, or never again. It knows the
//! future, and no policy can pass it.

use std::collections::BinaryHeap;
use std::time::Duration;

use super::trace::Trace;

/// Not asked for again, or not before it has expired.
const NEVER: u32 = u32::MAX;

/// The share of hits. Where entries expire this is a mark rather than a proven optimum: a key that
/// is asked for again only after its deadline counts as one that is never asked for again.
pub(crate) fn hit_ratio(trace: &Trace, capacity: usize) -> f64 {
    let next_requests = next_requests(trace);
    let at = |number: usize| trace.times.as_ref().map_or(Duration::ZERO, |times| times[number].at);
    // For each key that is held: when it is asked for next, and when it expires.
    let mut held: Vec<Option<(u32, Duration)>> = vec![None; trace.key_count];
    let mut held_count = 0;
    // With outdated ones, of keys asked for or evicted since.
    let mut latest = BinaryHeap::new();
    let mut hits = 0;
    for (number, &key) in trace.keys.iter().enumerate() {
        let live = held[key as usize].filter(|&(_, deadline)| deadline > at(number));
        if held[key as usize].is_some() {
            held_count -= 1;
            held[key as usize] = None;
        }
        let deadline = match live {
            Some((_, deadline)) => {
                hits += 1;
                deadline
            }
            None => match &trace.times {
                None => Duration::MAX,
                Some(times) => times[number].at + times[number].ttl,
            },
        };
        let next = next_requests[number];
        if next == NEVER || at(next as usize) >= deadline {
            continue;
        }
        held[key as usize] = Some((next, deadline));
        held_count += 1;
        latest.push((next, key));
        while held_count > capacity {
            let (next, key) = latest.pop().expect("each held key is in the heap");
            if held[key as usize].is_some_and(|(expected, _)| expected == next) {
                held[key as usize] = None;
                held_count -= 1;
            }
        }
    }
    f64::from(hits) / trace.keys.len() as f64
}

/// For each request, the number of the next one for the same key.
fn next_requests(trace: &Trace) -> Vec<u32> {
    let mut next_of_key = vec![NEVER; trace.key_count];
    let mut next_requests = vec![NEVER; trace.keys.len()];
    for (number, &key) in trace.keys.iter().enumerate().rev() {
        next_requests[number] = std::mem::replace(&mut next_of_key[key as usize], number as u32);
    }
    next_requests
}
