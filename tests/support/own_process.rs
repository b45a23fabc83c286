//! Tests in processes of their own, where each knows all threads.

use std::process::Command;

use punctual_testing::watchdog::Watchdog;

/// Runs a test in a process where no other has started the reaper, or can be hit
/// by its end.
pub(crate) fn in_a_process_of_its_own(name: &str, test: impl FnOnce()) {
    const STACK_BYTES: u64 = 2 << 20; // std's own choice
    in_a_process_with_stacks_of(STACK_BYTES, name, test);
}

pub(crate) fn in_a_process_with_stacks_of(stack_bytes: u64, name: &str, test: impl FnOnce()) {
    const MARK: &str = "PUNCTUAL_TEST_IN_A_PROCESS_OF_ITS_OWN";
    if std::env::var(MARK).is_ok_and(|marked| marked == name) {
        let _watchdog = Watchdog::start();
        return test();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--include-ignored", "--nocapture"])
        .env(MARK, name)
        .env("RUST_MIN_STACK", stack_bytes.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "no test of the name {name}: {text}");
}

/// The threads of this process that are named as the reaper is.
#[cfg(target_os = "linux")]
pub(crate) fn reapers() -> usize {
    punctual_testing::proc::threads_named("punctual-reaper").len()
}
