//! The memory of the byte form, counted in the allocator: alone in its process.

mod support;

use punctual_redis::NearCache;
use punctual_testing::alloc::{Count, Counting, OnDemand, Process};
use support::server::Server;
use support::with_servers;
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: Counting<Process<OnDemand>> = Counting(Process(OnDemand));

const BUDGET: usize = 4 << 20;
const KEYS: usize = 2_000;
const ROUNDS: usize = 6;
const TASKS: usize = 8;

/// Buffers of the connection and of tokio, which grow with the largest reply.
const BESIDE: usize = 256 << 10;

/// Values of changing sizes go through, of three times the budget at each time.
#[test]
fn memory_stays_as_the_footprint_says() {
    with_servers(|program| async move {
        let server = Server::start(&program, &[]);
        let mut connection = server.connection();
        let count = Count::start();
        let before = count.traffic().bytes_kept;
        let kept = || usize::try_from(count.traffic().bytes_kept - before).unwrap();
        let builder = NearCache::builder().url(server.url()).memory_budget(BUDGET);
        let near = builder.mean_entry(2_000).build().await.unwrap();
        let footprint = near.footprint();
        assert!((BUDGET * 9 / 10..=BUDGET).contains(&footprint), "{footprint}");
        let mut most = kept();
        assert!((footprint..footprint + BESIDE).contains(&most), "{most}, {footprint}");
        for round in 0..ROUNDS {
            for id in 0..KEYS {
                // Up to 20 kB, in the mean 6.
                let length =
                    fastrand::usize(..=20) * fastrand::usize(..1_000) + fastrand::usize(..1_000);
                let value = vec![b'v'; length];
                redis::cmd("SET").arg(id).arg(value).exec(&mut connection).unwrap();
            }
            let mut tasks = JoinSet::new();
            for task in 0..TASKS {
                let near = near.clone();
                tasks.spawn(async move {
                    for id in (task..KEYS).step_by(TASKS) {
                        near.get(&id.to_string()).await.unwrap().expect("it is set");
                    }
                });
            }
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap();
            }
            most = most.max(kept());
            let stats = near.stats();
            println!("round {round}: {} bytes kept, {stats:?}", kept());
            assert!(stats.live_bytes > BUDGET as u64 / 2, "{stats:?}");
            assert!(stats.evicted as usize > round * KEYS / 4, "{stats:?}");
        }
        assert_eq!(near.footprint(), footprint);
        assert!(most < footprint + BESIDE, "{most} bytes, {footprint}");
        assert_eq!(near.stats().errors, 0);
    });
}
