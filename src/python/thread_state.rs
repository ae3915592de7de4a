//! One name of Python's that torch's headers ask for, where the Python that runs has it under another.
//!
//! torch-sys compiles headers of torch that ask which thread state is current: by `_PyThreadState_UncheckedGet` where
//! the Python that builds is older than 3.13, which took that name away, and else by `PyThreadState_GetUnchecked`,
//! which older ones lack. Neither is in the stable ABI, by which one wheel serves all. The interpreter's own is found
//! before the one here, so that this answers only where there is none: with the state of this thread, which is the
//! same, for embedded interpreters have not been thought of.

use pyo3::ffi::{PyGILState_GetThisThreadState, PyThreadState};

#[unsafe(no_mangle)]
extern "C" fn _PyThreadState_UncheckedGet() -> *mut PyThreadState {
    // SAFETY: may be called at any time; null where the thread has none.
    unsafe { PyGILState_GetThisThreadState() }
}

#[unsafe(no_mangle)]
extern "C" fn PyThreadState_GetUnchecked() -> *mut PyThreadState {
    // SAFETY: as above.
    unsafe { PyGILState_GetThisThreadState() }
}
