//! What the tests, examples and benchmarks of `punctual` have in common.
//!
//! It does not depend on `punctual`, whose unit tests would then see two different
//! `Cache` types. Where a type of `punctual` is needed, there is a macro that takes
//! its name.

#![deny(unsafe_code)]

pub mod alloc;
pub mod clocks;
pub mod instances;
pub mod keys;
pub mod log;
pub mod panics;
pub mod watchdog;

/// All eviction policies, the default one first.
#[macro_export]
macro_rules! policies {
    ($eviction:ident) => {
        [$eviction::Adaptive, $eviction::S3Clock, $eviction::S3Fifo, $eviction::Fifo]
    };
}

/// Makes tests of functions that are generic over the kind of cache: each is called once
/// for `Shared` and once for `Unsync`, with the type arguments that follow.
#[macro_export]
macro_rules! test_both_caches {
    ($($test:ident)*) => {
        mod shared {
            $(#[test] fn $test() { super::$test::<super::Shared>(); })*
        }
        mod unsync {
            $(#[test] fn $test() { super::$test::<super::Unsync>(); })*
        }
    };
}
