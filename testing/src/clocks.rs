//! Clocks made of closures.

/// Defines `ClockFn`, a clock that tells what its closure returns, for the `Clock` of
/// that name. It takes as many bytes as the closure does.
#[macro_export]
macro_rules! clock_fn {
    ($clock:ident) => {
        struct ClockFn<F>(F);

        impl<F: Fn() -> std::time::Duration> $clock for ClockFn<F> {
            fn now(&self) -> std::time::Duration {
                (self.0)()
            }
        }
    };
}
