//! Anything may come in: files, settings, sizes and tensors that make no sense are refused by an error,
//! never by a panic, a crash or a great deal of memory.
//!
//! ```text
//! cargo test --release --test fuzz                                                 # a few thousand inputs
//! MAMBACL_FUZZ_CASES=1000000 cargo test --release --test fuzz -- --nocapture       # as many as wanted
//! ```
//!
//! A panic is caught by proptest, which shrinks the input and shows it.

mod edits;
mod files;
#[path = "../rust/opened.rs"]
mod opened;
mod settings;
mod sizes;
mod tensors;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};
use std::fmt::Debug;
use std::time::Instant;

/// Of a quick run.
const CASES: u32 = 4000;
/// Bytes that all of this may take above what a process with libtorch takes.
const MOST_MEMORY: u64 = 1 << 30;

/// Gives inputs to a reader, and tells how many it took as sound.
fn attack<Input: Debug>(
    name: &str,
    cases: u32,
    inputs: impl Strategy<Value = Input>,
    takes: impl Fn(Input) -> bool,
) -> u32 {
    let taken = std::cell::Cell::new(0u32);
    let began = Instant::now();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&inputs, |input| {
            taken.set(taken.get() + u32::from(takes(input)));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{name}: {failure}"));
    let seconds = began.elapsed().as_secs_f64();
    println!("{name:<28} {cases:>8} inputs, {:>8} of them taken, {seconds:>6.1} s", taken.get());
    cases
}

/// Memory of the process by a field of /proc/self/status, bytes.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0");
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap_or(0) * 1024
}

#[test]
fn no_input_is_too_much() {
    let told = std::env::var("MAMBACL_FUZZ_CASES").ok();
    let cases: u32 = told.map_or(CASES, |cases| cases.parse().expect("a number of inputs"));
    tch::set_num_threads(1);
    let _no_grad = tch::no_grad_guard();
    // Random bytes and bytes that were altered, files that were altered and sealed again, of learners and
    // of states; settings; sizes; tensors. The last costs the most.
    let share = |percent: u32| (cases / 100 * percent).max(1);
    files::warm_up();
    let before = [memory("VmPeak:"), memory("VmHWM:")];
    let mut done = 0;
    done += attack("learner: altered bytes", share(15), files::altered(&files::LEARNER), files::learner);
    done += attack("learner: sealed again", share(20), files::sealed(&files::LEARNER), files::learner);
    done += attack("state: altered bytes", share(15), files::altered(&files::STATE), files::state);
    done += attack("state: sealed again", share(20), files::sealed(&files::STATE), files::state);
    done += attack("settings: altered text", share(5), settings::texts(), |text| settings::takes(&text));
    done += attack("settings: altered values", share(10), settings::tables(), |text| settings::takes(&text));
    done += attack("sizes", share(10), sizes::sizes(), sizes::takes);
    done += attack("tensors", cases.saturating_sub(done), tensors::calls(), tensors::takes);
    let grown = [memory("VmPeak:"), memory("VmHWM:")].map(|bytes| bytes >> 20);
    println!("{done} inputs; address space and resident memory at most {grown:?} MiB");
    for (field, before) in ["VmPeak:", "VmHWM:"].into_iter().zip(before) {
        assert!(memory(field) - before < MOST_MEMORY, "{field} {before} grew to {}", memory(field));
    }
}
