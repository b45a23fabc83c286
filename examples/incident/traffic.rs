//! The requests of one worker: which users ask, in which direction, and how often.

use std::fmt::Write;

/// What is replayed. Times are simulated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Places in each of the worker's two caches.
    pub(crate) capacity: usize,
    pub(crate) ttl_seconds: u64,
    pub(crate) hours: u64,
    /// Requests of one worker; each looks up one of its two caches, drawn evenly.
    pub(crate) requests_per_second: u64,
    /// Users there are. The r-th most active of them makes a share of about 1 / (r ln users) of
    /// all requests: Zipf's law with an exponent of 1.
    pub(crate) users: u32,
    pub(crate) seed: u64,
}

impl Scenario {
    /// Capacity and TTL are the article's. It names no rate; this one keeps about a quarter of each
    /// cache alive ("far below 500,000") and fills the original within two hours ("hours after each
    /// restart").
    pub(crate) const INCIDENT: Self = Self {
        capacity: 500_000,
        ttl_seconds: 1_800,
        hours: 4,
        requests_per_second: 400,
        users: 10_000_000,
        seed: 2023,
    };

    pub(crate) fn requests(&self) -> u64 {
        self.requests_per_second * self.hours * 3_600
    }
}

/// The direction of a lookup, which is also the cache that it goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    UserToDisplay,
    DisplayToUser,
}

/// Draws requests. The same scenario gives the same requests in every run, whatever is replayed.
pub(crate) struct Traffic {
    random: fastrand::Rng,
    ln_users: f64,
}

impl Traffic {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            random: fastrand::Rng::with_seed(scenario.seed),
            ln_users: f64::from(scenario.users).ln(),
        }
    }

    /// The next request: a user's number, from 1 for the most active, and what is asked of them.
    pub(crate) fn next_request(&mut self) -> (u32, Direction) {
        let direction =
            if self.random.bool() { Direction::UserToDisplay } else { Direction::DisplayToUser };
        // users^u, for u spread evenly over 0..1, falls in r..r+1 with a chance of
        // ln((r + 1) / r) / ln(users), which is close to 1 / (r ln users).
        let user = (self.random.f64() * self.ln_users).exp() as u32;
        (user, direction)
    }
}

/// Writes the user's id, 20 bytes like `user_id_012345678901`, over what `text` held.
pub(crate) fn write_user_id(text: &mut String, user: u32) {
    text.clear();
    write!(text, "user_id_{user:012}").expect("writing to a String cannot fail");
}

/// Writes the user's display id, 19 bytes like `display_id_ABCDEFGH`, over what `text` held.
pub(crate) fn write_display_id(text: &mut String, user: u32) {
    const LETTERS: u32 = 8;
    text.clear();
    text.push_str("display_id_");
    for place in (0..LETTERS).rev() {
        let digit = u64::from(user) / 26_u64.pow(place) % 26;
        text.push(char::from(b'A' + digit as u8));
    }
}
