//! The processor's time-stamp counter.
//!
//! Reading the system's precise clock waits for all earlier loads, so that the cache misses
//! of one insertion cannot overlap with those of the next. The counter from which that clock
//! is computed can be read without waiting. [`tsc_clock`](crate::time::tsc_clock) converts
//! it into a time.

#![allow(unsafe_code, reason = "the counter can be read in no other way")]

/// A time-stamp counter that runs at one constant rate, and is synchronized between all
/// processors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tsc(());

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(any(miri, punctual_loom))))]
impl Tsc {
    /// Returns `None` where the processor does not promise a constant rate (an *invariant
    /// TSC*, which all have had for many years), or the system does not use the counter as
    /// its own clock source.
    pub(crate) fn new() -> Option<Self> {
        (Self::is_invariant() && Self::is_clocksource()).then_some(Self(()))
    }

    /// Returns whether the system uses the counter as its clock source: then it has found
    /// the processors' counters to be synchronized. Allocates nothing.
    fn is_clocksource() -> bool {
        use std::fs::File;
        use std::io::Read;

        const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let mut name = [0; 64];
        let length = File::open(SOURCE).and_then(|mut file| file.read(&mut name)).unwrap_or(0);
        let computed_from_tsc: [&[u8]; 3] = [b"tsc", b"kvm-clock", b"hyperv_clocksource_tsc_page"];
        computed_from_tsc.contains(&name[..length].trim_ascii())
    }

    fn is_invariant() -> bool {
        use std::arch::x86_64::__cpuid;

        const POWER_MANAGEMENT: u32 = 0x8000_0007;
        const INVARIANT: u32 = 1 << 8;

        // SAFETY: all processors of this architecture have the instruction. Newer compilers
        // know that.
        #[allow(unused_unsafe)]
        let leaf = |number| unsafe { __cpuid(number) };
        let has_leaf = leaf(0x8000_0000).eax >= POWER_MANAGEMENT;
        has_leaf && leaf(POWER_MANAGEMENT).edx & INVARIANT != 0
    }

    /// Returns the counter at some moment near this call: the processor may reorder the
    /// reading with the instructions before and after it.
    #[inline]
    pub(crate) fn read(self) -> u64 {
        // SAFETY: all processors of this architecture have the instruction; it touches no
        // memory. A process that has disabled it for itself (`PR_SET_TSC`) cannot read the
        // system's clock either, which is computed from it: see `is_clocksource`.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(any(miri, punctual_loom)))))]
impl Tsc {
    pub(crate) fn new() -> Option<Self> {
        None
    }

    #[inline]
    pub(crate) fn read(self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that the `unsafe` code is trusted with: it returns a counter that advances.
    #[test]
    fn it_counts() {
        let Some(counter) = Tsc::new() else { return };
        let first = counter.read();
        while counter.read().wrapping_sub(first) < 1_000_000 {}
        assert!(counter.read() != 0);
    }
}
