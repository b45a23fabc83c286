//! Sessions that live as long as they are used.
//!
//! ```sh
//! cargo run --release --example session_store
//! ```
//!
//! A session ends after 30 minutes in which nobody used it, and after 12 hours
//! whatever happens. `get_and_set_ttl` finds a session and renews its TTL in one
//! call. The clock is moved by hand, so that hours pass at once.

use std::error::Error;
use std::time::Duration;

use punctual::{Cache, Clock, ManualClock, RemovalCause};

const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
const AGE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Session {
    user: &'static str,
    began_at: Duration,
}

struct Sessions {
    cache: Cache<u64, Session>,
    clock: ManualClock,
}

impl Sessions {
    fn log_in(&self, id: u64, user: &'static str) {
        let session = Session { user, began_at: self.clock.now() };
        self.cache.insert_with_ttl(id, session, IDLE_MAX);
    }

    /// The user of a session, which lives on for it.
    fn user(&self, id: u64) -> Option<&'static str> {
        let session = self.cache.get_and_set_ttl(&id, IDLE_MAX)?;
        let age = self.clock.now() - session.began_at;
        if age + IDLE_MAX > AGE_MAX {
            // The last stretch: no renewal goes beyond the session's greatest age.
            self.cache.set_ttl(&id, AGE_MAX.saturating_sub(age));
        }
        (age < AGE_MAX).then_some(session.user)
    }

    fn log_out(&self, id: u64) {
        self.cache.remove(&id);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::new();
    let cache = Cache::builder()
        .capacity(10_000)
        .clock(clock.clone())
        .on_removal(|id: &u64, session: &Session, cause| match cause {
            RemovalCause::Expired => println!("  session {id} of {} has expired", session.user),
            RemovalCause::Removed => println!("  session {id} of {} has ended", session.user),
            other => println!("  session {id}: {other:?}"),
        })
        .build()?;
    let sessions = Sessions { cache, clock: clock.clone() };

    sessions.log_in(1, "Ada");
    sessions.log_in(2, "Grace");
    sessions.log_in(3, "Edsger");

    println!("Ada asks for a page every 20 minutes, the others for none:");
    let mut minutes = 0;
    while sessions.user(1).is_some() {
        clock.advance(20 * MINUTE);
        minutes += 20;
        if minutes == 20 {
            sessions.log_out(3);
        }
        // With `Reaper::Thread` and the system's clock nobody would have to.
        sessions.cache.reap(100);
    }
    println!("Ada was logged in for {} hours.", minutes / 60);
    assert_eq!(minutes, 12 * 60);
    assert!(sessions.cache.is_empty());
    Ok(())
}
