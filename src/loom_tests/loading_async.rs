//! Single flight by futures.

use std::future::{Future, pending};
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::sync::shim::{Condvar, Mutex};

/// Wakes the thread that blocks on a future.
#[derive(Default)]
struct Parker {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Parker {
    fn park(&self) {
        let mut is_woken = self.is_woken.lock();
        while !*is_woken {
            is_woken = self.woken.wait(is_woken);
        }
        *is_woken = false;
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *self.is_woken.lock() = true;
        self.woken.notify_all();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let parker = Arc::new(Parker::default());
    let waker = Waker::from(parker.clone());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => parker.park(),
        }
    }
}

/// Purpose: a future and a thread wait for each other's load, and no wake-up is lost.
#[test]
fn a_future_and_a_thread_load_once() {
    explore(None, || {
        let cache = builder(1).build_with_reaper(None).unwrap();
        let loads = Arc::new(Note::new(0));
        let load = {
            let loads = loads.clone();
            move || {
                loads.fetch_add(1, SeqCst);
                Ok::<_, ()>((7, LATE))
            }
        };
        let thread = {
            let (cache, load) = (cache.clone(), load.clone());
            spawn(move || cache.get_or_load(&1, load))
        };
        assert_eq!(block_on(cache.get_or_load_async(&1, || async { load() })), Ok(7));
        assert_eq!(thread.join().unwrap(), Ok(7));
        assert_eq!(loads.load(SeqCst), 1);
    });
}

/// Purpose: where a future is dropped before its load ends, another future or a thread
/// becomes the leader.
#[test]
fn a_dropped_future_hands_over_the_lead() {
    explore(Some(4), || {
        let cache = builder(1).build_with_reaper(None).unwrap();
        let dropped = {
            let cache = cache.clone();
            spawn(move || {
                let load = pending::<Result<(u64, Duration), ()>>;
                let mut future = pin!(cache.get_or_load_async(&1, load));
                let mut context = Context::from_waker(Waker::noop());
                let _ = future.as_mut().poll(&mut context);
            })
        };
        let thread = {
            let cache = cache.clone();
            spawn(move || cache.get_or_load(&1, || Ok::<_, ()>((7, LATE))))
        };
        let load = || async { Ok::<_, ()>((7, LATE)) };
        assert_eq!(block_on(cache.get_or_load_async(&1, load)), Ok(7));
        assert_eq!(thread.join().unwrap(), Ok(7));
        dropped.join().unwrap();
    });
}
