//! Reserved memory is not resident memory: a cache is as large in the machine's
//! memory as it once was full, however generous its capacity.
//!
//! A test file of its own, hence a process of its own: what other tests allocate
//! and free would be resident too.

#![cfg(all(target_os = "linux", not(any(punctual_loom, miri))))]

use std::fs;
use std::time::Duration;

use punctual::{ManualClock, unsync::Cache};
use punctual_testing::proc::kibibytes;

const SECOND: Duration = Duration::from_secs(1);
const CAPACITY: usize = 5_000_000;

/// What anything else in this process may take meanwhile.
const OTHER_BYTES_MAX: usize = 2 << 20;

/// Bytes of this process in the machine's memory.
///
/// From the page tables themselves, where the kernel offers that: its running
/// count may be off by some megabytes on a machine with many processors.
fn resident_bytes() -> usize {
    let resident = kibibytes("/proc/self/smaps_rollup", "Rss:")
        .or_else(|| kibibytes("/proc/self/status", "VmRSS:"));
    resident.expect("Linux tells how much of a process is resident") * 1024
}

fn page_bytes() -> usize {
    kibibytes("/proc/self/smaps", "KernelPageSize:").unwrap_or(4) * 1024
}

/// Whether the kernel hands out huge pages unasked, so that one touched byte makes
/// two megabytes resident: then no allocation of any program follows what is used.
fn huge_pages_are_forced() -> bool {
    fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|modes| modes.contains("[always]"))
}

fn report(what: &str, bytes: usize, of: usize) {
    println!(
        "{what}: {:.1} MB, {:.1} % of the footprint",
        bytes as f64 / 1e6,
        bytes as f64 / of as f64 * 100.0
    );
}

#[test]
fn resident_memory_follows_the_live_peak_and_not_the_capacity() {
    if huge_pages_are_forced() {
        println!("not measured: transparent huge pages are set to `always`");
        return;
    }
    let clock = ManualClock::new();
    let builder = Cache::<u64, u64>::builder().capacity(CAPACITY).ttl(SECOND).clock(clock.clone());
    let before = resident_bytes();
    let growth = || resident_bytes().saturating_sub(before);
    let mut cache = builder.build().unwrap();
    let footprint = cache.footprint();
    let total = footprint.total();
    report("built", growth(), total);

    // A million insertions, one in 100 µs, each gone after a second: 10,000 are
    // live at once, and those that are due a little longer.
    for key in 0..1_000_000 {
        cache.insert(key, key);
        clock.advance(Duration::from_micros(100));
    }
    let stats = cache.stats();
    assert!((10_000..12_000).contains(&stats.live_peak), "{stats:?}");
    assert!(stats.expired > 980_000, "{stats:?}");
    let resident = growth();
    report("10,000 live at once, of a million inserted", resident, total);
    // The index is used everywhere after a million keys, since hashes are spread
    // all over it. The wheels' heads and the policy's bitmaps and fingerprints are
    // written to when they are made. All of that together is a quarter of the
    // footprint, and the larger keys and values are, the less.
    let spread_out = total - footprint.slots();
    // The slots are the rest: in each shard, no more are touched than were ever
    // taken at once, since the one freed last is taken first. The shards' peaks
    // need not coincide, and their slots end in the middle of a page.
    let smallest = Cache::<u64, u64>::builder().capacity(1).footprint().unwrap();
    let thousand = Cache::<u64, u64>::builder().capacity(1_000).footprint().unwrap();
    let shards = footprint.wheel() / thousand.wheel();
    let live = 3 * stats.live_peak as usize * smallest.slots();
    let slots = live + shards * 2 * page_bytes();
    assert!(slots < footprint.slots() / 4, "{slots} bytes of slots allowed: {footprint:?}");
    let most = spread_out + slots + OTHER_BYTES_MAX;
    assert!(resident <= most, "{resident} bytes resident, not {most}: {footprint:?}");

    // The other way round, which shows that the above would have been seen: with
    // half the entries live at once, half the slots are resident.
    for key in 0..CAPACITY as u64 / 2 {
        cache.insert(key, key);
    }
    let resident = growth();
    report("half of the entries live at once", resident, total);
    let least = footprint.slots() * 45 / 100 + footprint.index() * 9 / 10;
    let most = footprint.slots() * 55 / 100 + spread_out + OTHER_BYTES_MAX;
    assert!((least..=most).contains(&resident), "{resident} resident: {footprint:?}");

    // And full and beyond, it is the footprint and no more.
    for key in 0..CAPACITY as u64 * 5 / 4 {
        cache.insert(key, key);
    }
    let resident = growth();
    report("filled", resident, total);
    assert!(resident <= total + OTHER_BYTES_MAX, "{resident} resident: {footprint:?}");
    assert!(resident >= total * 9 / 10, "{resident} resident: {footprint:?}");
}
