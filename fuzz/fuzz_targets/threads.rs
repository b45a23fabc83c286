//! See `punctual::fuzz::threads`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| punctual::fuzz::threads(bytes));
