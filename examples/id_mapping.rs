//! The two-way map of the incident, sized right.
//!
//! ```sh
//! cargo run --release --example id_mapping
//! ```
//!
//! Two caches, `user_id_012345678901 → display_id_ABCDEFGH` and back, TTL 30
//! minutes. First with a generous capacity, to learn how many entries are live at
//! once; then with what the cache recommends; then with keys that need no heap.

use std::error::Error;
use std::time::Duration;

use punctual::{BuildError, Cache, ManualClock, Stats};

const TTL: Duration = Duration::from_secs(30 * 60);
const GENEROUS: usize = 500_000;
const HEADROOM: f64 = 1.2;

/// The digits of a user id: the prefix is the same for all.
type UserId = u64;

/// The letters of a display id: eight bytes that lie in the slot.
type DisplayId = [u8; 8];

/// Both directions in one place, so that they cannot differ.
struct IdMapping {
    to_display: Cache<UserId, DisplayId>,
    to_user: Cache<DisplayId, UserId>,
}

impl IdMapping {
    fn new(capacity: usize, clock: &ManualClock) -> Result<Self, BuildError> {
        Ok(Self {
            to_display: Cache::builder()
                .capacity(capacity)
                .ttl(TTL)
                .clock(clock.clone())
                .build()?,
            to_user: Cache::builder().capacity(capacity).ttl(TTL).clock(clock.clone()).build()?,
        })
    }

    fn learn(&self, user: UserId, display: DisplayId) {
        self.to_display.insert(user, display);
        self.to_user.insert(display, user);
    }

    fn footprint_bytes(&self) -> usize {
        self.to_display.footprint().total() + self.to_user.footprint().total()
    }

    /// Simulated traffic: two hours of 40 users a second.
    fn busy_hours(&self, clock: &ManualClock) -> Stats {
        for second in 0..2 * 3600 {
            clock.advance(Duration::from_secs(1));
            for request in 0..40u64 {
                let user: UserId = (second * 40 + request) * 7919 % 1_000_000;
                if self.to_display.get(&user).is_none() {
                    self.learn(user, display_id(user));
                }
            }
        }
        self.to_display.stats()
    }
}

/// Eight letters for a number: the database, in earnest.
fn display_id(mut user: UserId) -> DisplayId {
    let mut letters = [b'A'; 8];
    for letter in letters.iter_mut().rev() {
        *letter += (user % 26) as u8;
        user /= 26;
    }
    letters
}

fn main() -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::new();
    let generous = IdMapping::new(GENEROUS, &clock)?;
    let stats = generous.busy_hours(&clock);
    let recommended = stats.recommended_capacity(HEADROOM).ok_or("it had to evict")?;
    println!("capacity {GENEROUS}: at most {} held at once, none evicted", stats.live_peak);
    println!("recommended_capacity({HEADROOM}): {recommended}");
    assert_eq!(stats.evicted, 0);

    let right = IdMapping::new(recommended, &clock)?;
    let stats = right.busy_hours(&clock);
    assert_eq!(stats.evicted, 0);
    println!("capacity {recommended}: {} evicted", stats.evicted);

    // The same entries as strings: two objects on the heap for each, besides.
    let strings = Cache::<String, String>::builder().capacity(recommended).footprint()?;
    let heap_bytes = recommended * ("user_id_012345678901".len() + "display_id_ABCDEFGH".len());
    println!();
    println!("both directions, MiB of 2^20 bytes:");
    println!("  inline, {GENEROUS}     {:>6.1}", mib(generous.footprint_bytes()));
    println!("  inline, {recommended}      {:>6.1}", mib(right.footprint_bytes()));
    println!("  strings, {recommended}     {:>6.1}", mib(2 * (strings.total() + heap_bytes)));
    println!("                   and what the allocator adds to each string");
    Ok(())
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
