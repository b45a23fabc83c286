//! Many callers that begin at once.

use std::sync::Arc;
use std::thread;

use tokio::runtime::Builder;

/// Threads that run the tasks, however many cores there are.
const WORKERS: usize = 4;
/// So that thousands of threads take little memory.
const STACK_BYTES: usize = 64 << 10;

/// Runs a call by each of so many tasks, and returns what the calls return.
pub(super) fn in_tasks<T, F>(callers: usize, call: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(WORKERS).enable_time().build().expect("there are threads");
    runtime.block_on(async {
        let start = Arc::new(tokio::sync::Barrier::new(callers));
        let tasks = (0..callers).map(|number| {
            let (start, call) = (Arc::clone(&start), call(number));
            tokio::spawn(async move {
                start.wait().await;
                call.await
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut results = Vec::with_capacity(callers);
        for task in tasks {
            results.push(task.await.expect("no caller panics"));
        }
        results
    })
}

/// Runs a call by each of so many threads, and returns what the calls return.
pub(super) fn in_threads<T: Send>(callers: usize, call: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(callers);
    let act = &|number| {
        start.wait();
        call(number)
    };
    thread::scope(|scope| {
        let threads = (0..callers).map(|number| {
            let builder = thread::Builder::new().stack_size(STACK_BYTES);
            builder.spawn_scoped(scope, move || act(number)).expect("there are threads")
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().expect("no caller panics")).collect()
    })
}
