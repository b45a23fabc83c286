//! A resolver's cache that refreshes ahead, and so survives an outage of its upstream.
//!
//! ```sh
//! cargo run --release --example dns_resolver
//! ```
//!
//! Clients ask for sixty names for three seconds; for half a second of these, upstream times
//! out. An answer may be served for a second. Loaded on a miss, answers run out during the
//! outage. Refreshed while they have 700 ms left, in the background, they outlast it: nothing is
//! ever served late, and nobody waits.
//!
//! Negative caching: that there is no such name is an answer with a TTL of its own, and so is,
//! for 50 ms, that upstream has failed.

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use punctual::{Cache, LoadEnd, LoadTicket, Lookup};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const TTL: Duration = millis(1_000);
const NO_SUCH_NAME_TTL: Duration = millis(2_000);
const FAILED_TTL: Duration = millis(50);
const REFRESH_BEFORE: Duration = millis(700);
const REFRESHERS: usize = 4;

const RUN: Duration = millis(3_000);
const OUTAGE: std::ops::Range<Duration> = millis(1_000)..millis(1_500);

#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Address(Ipv4Addr),
    NoSuchName,
    Failed,
}

impl Answer {
    fn ttl(self) -> Duration {
        match self {
            Self::Address(_) => TTL,
            Self::NoSuchName => NO_SUCH_NAME_TTL,
            Self::Failed => FAILED_TTL,
        }
    }
}

/// What would be a server elsewhere.
struct Upstream {
    started: Instant,
    queries: AtomicU32,
    queries_in_outage: AtomicU32,
}

impl Upstream {
    fn new() -> Self {
        let (queries, queries_in_outage) = Default::default();
        Self { started: Instant::now(), queries, queries_in_outage }
    }

    fn query(&self, name: &str) -> Answer {
        self.queries.fetch_add(1, Relaxed);
        if OUTAGE.contains(&self.started.elapsed()) {
            self.queries_in_outage.fetch_add(1, Relaxed);
            thread::sleep(millis(50));
            return Answer::Failed;
        }
        thread::sleep(millis(10));
        if name.starts_with("host5") {
            return Answer::NoSuchName;
        }
        Answer::Address(Ipv4Addr::new(192, 0, 2, 1))
    }
}

/// Answers a name.
trait Resolve: Sync {
    fn resolve(&self, name: &str) -> Answer;
}

/// Asks upstream when there is no answer, once for all that want it.
struct OnMiss {
    cache: Cache<String, Answer>,
    upstream: Arc<Upstream>,
}

impl Resolve for OnMiss {
    fn resolve(&self, name: &str) -> Answer {
        let load = || {
            let answer = self.upstream.query(name);
            Ok::<_, ()>((answer, answer.ttl()))
        };
        self.cache.get_or_load(name, load).expect("a failure is an answer, too")
    }
}

type Ticket = LoadTicket<String, Answer>;

/// Has answers refreshed in the background before they run out.
struct RefreshAhead {
    cache: Cache<String, Answer>,
    upstream: Arc<Upstream>,
    refreshers: SyncSender<Ticket>,
}

impl RefreshAhead {
    fn new(cache: Cache<String, Answer>, upstream: Arc<Upstream>) -> Self {
        let (refreshers, tickets) = sync_channel(1_000);
        let tickets = Arc::new(Mutex::new(tickets));
        for _ in 0..REFRESHERS {
            let (upstream, tickets) = (upstream.clone(), tickets.clone());
            thread::spawn(move || refresh(&upstream, &tickets));
        }
        Self { cache, upstream, refreshers }
    }
}

/// Refreshes what comes in. So few threads bound what an outage sends upstream.
fn refresh(upstream: &Upstream, tickets: &Mutex<Receiver<Ticket>>) {
    loop {
        let received = tickets.lock().expect("no refresher panics").recv();
        let Ok(ticket) = received else { return };
        match upstream.query(ticket.key()) {
            // What is there may be served until its own TTL ends. Somebody tries again.
            Answer::Failed => ticket.fail(),
            answer => _ = ticket.store(answer, answer.ttl()),
        }
    }
}

impl Resolve for RefreshAhead {
    fn resolve(&self, name: &str) -> Answer {
        loop {
            match self.cache.lookup(name, REFRESH_BEFORE) {
                Lookup::Hit(answer) => return answer,
                // Its TTL is below REFRESH_BEFORE, so it is due at once: let it expire.
                Lookup::Refresh(answer, _) if answer == Answer::Failed => return answer,
                Lookup::Refresh(answer, ticket) => {
                    // If too many wait already, the ticket is dropped, and the next caller has it.
                    let _ = self.refreshers.try_send(ticket);
                    return answer;
                }
                Lookup::Miss(ticket) => {
                    let answer = self.upstream.query(name);
                    ticket.store(answer, answer.ttl());
                    return answer;
                }
                Lookup::Loading(load) => {
                    if load.wait(Duration::MAX) == LoadEnd::Failed {
                        return Answer::Failed;
                    }
                }
            }
        }
    }
}

/// What one client has seen.
#[derive(Default)]
struct Seen {
    answers: u32,
    failed: u32,
    slow: u32,
}

fn ask(resolver: &dyn Resolve, until: Instant, client: usize) -> Seen {
    let mut seen = Seen::default();
    for number in client.. {
        let began = Instant::now();
        if began >= until {
            break;
        }
        let answer = resolver.resolve(&format!("host{}.example", number % 60));
        seen.answers += 1;
        seen.failed += u32::from(answer == Answer::Failed);
        seen.slow += u32::from(began.elapsed() > millis(5));
        thread::sleep(millis(1));
    }
    seen
}

fn run(how: &str, cache: &Cache<String, Answer>, upstream: &Upstream, resolver: &dyn Resolve) {
    let until = upstream.started + RUN;
    let seen = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..4).map(|client| scope.spawn(move || ask(resolver, until, 15 * client))).collect();
        let seen = clients.into_iter().map(|client| client.join().expect("no client panics"));
        seen.fold(Seen::default(), |sum, one| Seen {
            answers: sum.answers + one.answers,
            failed: sum.failed + one.failed,
            slow: sum.slow + one.slow,
        })
    });
    println!(
        "{how:<14} {:>7} {:>7} {:>13} {:>17} {:>14} {:>7}",
        seen.answers,
        seen.failed,
        seen.slow,
        upstream.queries.load(Relaxed),
        upstream.queries_in_outage.load(Relaxed),
        cache.stats().loads_joined,
    );
}

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{:<14} {:>7} {:>7} {:>13} {:>17} {:>14} {:>7}",
        "", "answers", "failed", "slower than", "queries upstream", "of them in", "waited"
    );
    println!("{:<14} {:>7} {:>7} {:>13} {:>17} {:>14}", "", "", "", "5 ms", "", "the outage");

    let build = || Cache::builder().capacity(10_000).build();
    let (cache, upstream) = (build()?, Arc::new(Upstream::new()));
    let resolver = OnMiss { cache: cache.clone(), upstream: upstream.clone() };
    run("on a miss", &cache, &upstream, &resolver);

    let (cache, upstream) = (build()?, Arc::new(Upstream::new()));
    let resolver = RefreshAhead::new(cache.clone(), upstream.clone());
    run("refresh ahead", &cache, &upstream, &resolver);
    Ok(())
}
