//! What may be sent to and shared between threads, decided by the compiler: this
//! file holds if it compiles.

use std::error::Error;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::MutexGuard;

use punctual::{
    BuildError, Builder, ByteBuilder, ByteCache, ByteLookup, ByteTicket, Cache, DefaultHasher,
    Eviction, Footprint, ManualClock, RandomState, Reaper, RemovalCause, Stats, SystemClock,
    TooLarge, original, unsync,
};

/// Does not compile unless the type is all of that.
macro_rules! assert_is {
    ($type:ty: $($bound:tt)+) => {
        const _: () = {
            const fn is<T: ?Sized + $($bound)+>() {}
            is::<$type>();
        };
    };
}

/// Does not compile if the type is any of that: there would be two candidates then for
/// the parameter of `Undecided`.
macro_rules! assert_is_not {
    ($type:ty: $($bound:path),+) => {
        $(const _: () = {
            trait Undecided<Candidate> {
                const DECIDED: () = ();
            }
            impl<T: ?Sized> Undecided<()> for T {}
            impl<T: ?Sized + $bound> Undecided<u8> for T {}
            <$type as Undecided<_>>::DECIDED
        };)+
    };
}

/// May be sent, and not shared.
type Sent = std::cell::Cell<u8>;
/// May be shared, and not sent.
type Shared = MutexGuard<'static, u8>;
/// Neither.
type Local = Rc<u8>;
/// Both, and nothing else.
struct Plain;

assert_is!(Sent: Send);
assert_is_not!(Sent: Sync);
assert_is!(Shared: Sync);
assert_is_not!(Shared: Send);
assert_is_not!(Local: Send, Sync);

// A handle goes anywhere if keys and values may be sent and shared, as readers share them.
assert_is!(Cache<u64, u64>: Send + Sync);
assert_is!(Cache<String, Vec<u8>>: Send + Sync);
assert_is!(Cache<u64, Box<dyn Send + Sync>>: Send + Sync);
assert_is!(Cache<u64, u64, std::hash::RandomState>: Send + Sync);

assert_is!(ByteCache: Send + Sync + Clone);
assert_is!(ByteBuilder: Send);
assert_is!(ByteTicket: Send + Sync);
assert_is!(ByteLookup: Send);
assert_is!(TooLarge: Error + Copy + Send + Sync);
assert_is_not!(unsync::ByteCache: Send, Sync);

assert_is_not!(Cache<u64, Sent>: Send, Sync);
assert_is_not!(Cache<Sent, u64>: Send, Sync);
assert_is_not!(Cache<u64, Shared>: Send, Sync);
assert_is_not!(Cache<Shared, u64>: Send, Sync);
assert_is_not!(Cache<u64, Local>: Send, Sync);
assert_is_not!(Cache<Local, u64>: Send, Sync);
// All threads hash with the same hasher.
assert_is_not!(Cache<u64, u64, Sent>: Send, Sync);
assert_is_not!(Cache<u64, u64, Local>: Send);

// A handle is cloned, never a value.
assert_is!(Cache<u64, PhantomData<Sent>>: Clone);
assert_is!(Cache<u64, Shared>: Clone);
assert_is!(Cache<Plain, Plain, Plain>: Clone);
assert_is_not!(Plain: Clone);
assert_is!(Cache<u64, Plain>: std::fmt::Debug);

// The cache for one thread stays there, whatever is in it: its listener and its
// clock may.
assert_is_not!(unsync::Cache<u64, u64>: Send, Sync);
assert_is_not!(unsync::Cache<Local, Local>: Send);

// Builders may be made in one place and used in another.
assert_is!(Builder<u64, u64>: Send + Sync);
assert_is!(Builder<Sent, Sent>: Send);

assert_is!(BuildError: Error + Send + Sync + Clone + 'static);
assert_is!(ManualClock: Send + Sync + Clone + 'static);
assert_is!(SystemClock: Send + Sync + Copy + 'static);
assert_is!(RandomState: Send + Sync + Clone + 'static);
assert_is!(DefaultHasher: Send + Sync);
assert_is!(Stats: Send + Sync + Copy + 'static);
assert_is!(Footprint: Send + Sync + Copy + 'static);
assert_is!(Eviction: Send + Sync + Copy + Eq + 'static);
assert_is!(Reaper: Send + Sync + Copy + Eq + 'static);
assert_is!(RemovalCause: Send + Sync + Copy + Eq + 'static);
assert_is!(original::LocalCache<u64, u64>: Send);

/// The future of a loader goes where its keys, values and loader go.
#[cfg(feature = "async")]
const _: () = {
    const fn is_send<T: Send>(_: &T) {}

    #[expect(dead_code, reason = "it is only compiled")]
    fn loads<'a>(cache: &'a Cache<String, Vec<u8>>, key: &'a str) -> impl Send + 'a {
        let loading = cache.get_or_load_async(key, || async {
            std::future::ready(()).await;
            Err::<(Vec<u8>, std::time::Duration), String>(String::new())
        });
        is_send(&loading);
        loading
    }
};
