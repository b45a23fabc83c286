//! The processor's time-stamp counter: the only file with `unsafe` code.
//!
//! The system's precise clock waits until every load that is under way has come back, so
//! that the misses of one insertion cannot overlap with those of the next. The counter that
//! it is made of can be read without waiting. [`tsc_clock`](crate::time::tsc_clock) turns
//! it into a time.

#![allow(unsafe_code, reason = "the counter can be read in no other way")]

/// A counter that goes at one rate on all processors, whatever they do meanwhile, and is
/// the same on all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tsc(());

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(any(miri, punctual_loom))))]
impl Tsc {
    /// `None` where the processor does not promise the rate (its "invariant TSC", which all
    /// have had for many years), or the system does not make its own clock of the counter.
    pub(crate) fn new() -> Option<Self> {
        (Self::is_invariant() && Self::is_clocksource()).then_some(Self(()))
    }

    /// The system has compared the processors' counters. Allocates nothing.
    fn is_clocksource() -> bool {
        use std::fs::File;
        use std::io::Read;

        const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let mut name = [0; 64];
        let length = File::open(SOURCE).and_then(|mut file| file.read(&mut name)).unwrap_or(0);
        let made_of_it: [&[u8]; 3] = [b"tsc", b"kvm-clock", b"hyperv_clocksource_tsc_page"];
        made_of_it.contains(&name[..length].trim_ascii())
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

    /// The counter, as of some moment near this call: the processor may read it before
    /// what comes first in the program is done, and after what follows has begun.
    #[inline]
    pub(crate) fn read(self) -> u64 {
        // SAFETY: all processors of this architecture have the instruction; it touches no
        // memory. A process that has forbidden itself to use it (`PR_SET_TSC`) cannot ask
        // the system's clock either, which is made of it: see `is_clocksource`.
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

    /// What the `unsafe` code is trusted with: that it tells a counter that goes on.
    #[test]
    fn it_counts() {
        let Some(counter) = Tsc::new() else { return };
        let first = counter.read();
        while counter.read().wrapping_sub(first) < 1_000_000 {}
        assert!(counter.read() != 0);
    }
}
