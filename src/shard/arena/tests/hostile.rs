//! Sizes that are hard on an allocator, in an arena of 4 MiB, with the real budget.

use super::super::fuzz::Run;
use super::*;

struct Total {
    insertions: u64,
    freed: u64,
    freed_max: u64,
    moved_bytes: u64,
    inserted_bytes: u64,
}

/// Stores records of the sizes, each for the next owner. Everything stays within bounds.
fn store(live_percent: usize, fill: bool, sizes: impl Fn(usize, &mut Rng) -> usize) -> Total {
    const OWNERS: usize = 30_000;
    const INSERTIONS: usize = 20_000;

    let mut random = Rng::with_seed(7);
    let mut run = Run::new(4 << 20, live_percent, OWNERS);
    run.check_every = usize::MAX;
    if fill {
        for number in 0..OWNERS {
            let record = Lengths::new(20, 80).unwrap();
            run.insert(owner(number), record, &mut random);
        }
        (0..OWNERS).step_by(2).for_each(|number| run.vacate(owner(number)));
    }
    let mut total =
        Total { insertions: 0, freed: 0, freed_max: 0, moved_bytes: 0, inserted_bytes: 0 };
    for step in 0..INSERTIONS {
        let bytes = sizes(step, &mut random);
        let lengths = Lengths::new(20, bytes - 20).unwrap();
        let id = owner(step * 2 % OWNERS);
        run.vacate(id);
        let work = run.insert(id, lengths, &mut random);
        assert!(work.moved_bytes <= Claim::budget_bytes(lengths) as u64, "{work:?}");
        total.insertions += 1;
        total.freed += work.freed;
        total.freed_max = total.freed_max.max(work.freed);
        total.moved_bytes += work.moved_bytes;
        total.inserted_bytes += bytes as u64;
        if step % 1_000 == 0 {
            run.check();
        }
    }
    run.check();
    total
}

fn report(name: &str, total: &Total) {
    let count = total.insertions as f64;
    println!(
        "{name}: {:.2} freed, at most {}; {:.0} bytes moved, {:.3} a byte",
        total.freed as f64 / count,
        total.freed_max,
        total.moved_bytes as f64 / count,
        total.moved_bytes as f64 / total.inserted_bytes as f64
    );
}

#[test]
fn every_other_small_record_is_freed_then_larger_ones_come() {
    let total = store(95, true, |_, _| 10_000);
    report("10 kB between small ones", &total);
    assert!(total.moved_bytes <= total.inserted_bytes);
}

#[test]
fn one_of_two_hundred_thousand_bytes_among_fifty_small_ones() {
    let total = store(95, false, |step, _| if step % 50 == 0 { 200_000 } else { 100 });
    report("one of 200 kB among fifty", &total);
    assert!(total.moved_bytes <= total.inserted_bytes);
}

#[test]
fn growing() {
    // Nothing is free but what was freed for the newcomer, if all may be live.
    for (live_percent, moved_a_byte_max) in [(95, 1), (97, 2), (100, 20)] {
        let total = store(live_percent, false, |step, _| 100 + step * 49 / 200);
        report(&format!("growing, {live_percent} % live"), &total);
        assert!(total.moved_bytes <= moved_a_byte_max * total.inserted_bytes);
    }
}

#[test]
fn small_or_large_at_random() {
    let total = store(95, false, |_, random| if random.bool() { 60 } else { 3_000 });
    report("60 or 3,000 at random", &total);
    assert!(total.moved_bytes <= total.inserted_bytes);
}
