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
pub mod proc;
pub mod threads;
pub mod watchdog;

/// All eviction policies, the default one first.
#[macro_export]
macro_rules! policies {
    ($eviction:ident) => {
        [$eviction::Adaptive, $eviction::S3Clock, $eviction::S3Fifo, $eviction::Fifo]
    };
}

/// Makes tests of functions that are generic over the kind of cache: each is called for
/// what is named `Shared` and for what is named `Unsync` beside them.
#[macro_export]
macro_rules! test_both_caches {
    ($($test:ident)*) => {
        mod both {
            mod shared {
                $(#[test] fn $test() { super::super::$test::<super::super::Shared>(); })*
            }
            mod unsync {
                $(#[test] fn $test() { super::super::$test::<super::super::Unsync>(); })*
            }
        }
    };
}
