//! Tasks spread over libtorch's own threads.
//!
//! A pool of our own would fight libtorch's for the cores: its workers spin for a while after each
//! matrix product. `at::parallel_for` also makes the count follow `torch.set_num_threads`.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

unsafe extern "C" {
    fn mambacl_parallel_for(
        tasks: i64,
        body: unsafe extern "C" fn(*const c_void, i64),
        context: *const c_void,
    );
}

struct Context<'a> {
    body: &'a (dyn Fn(usize) + Sync),
    panicked: AtomicBool,
}

unsafe extern "C" fn call(context: *const c_void, index: i64) {
    // SAFETY: `parallel_for` below passes a `Context` that outlives the call.
    let context = unsafe { &*context.cast::<Context>() };
    if catch_unwind(AssertUnwindSafe(|| (context.body)(index as usize))).is_err() {
        context.panicked.store(true, Ordering::Relaxed);
    }
}

/// Calls `body` with each of `0..tasks`, on as many threads as torch uses. A forked process must have torch use one, as
/// the Python package does (`mambacl/_forks.py`): OpenMP's threads do not survive a fork.
///
/// # Panics
/// After all tasks, when one of them panicked.
pub(crate) fn parallel_for(tasks: usize, body: &(dyn Fn(usize) + Sync)) {
    let context = Context { body, panicked: AtomicBool::new(false) };
    // SAFETY: the context lives until the call returns; `call` lets no panic through to C++.
    unsafe { mambacl_parallel_for(tasks as i64, call, (&raw const context).cast()) };
    assert!(!context.panicked.into_inner(), "a task of a parallel loop panicked");
}
