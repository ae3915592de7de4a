//! Full precision for what must not be rounded: recurrences of tensor operations, whose products autocast
//! would otherwise take in half precision.

use std::ffi::c_void;

unsafe extern "C" {
    fn mambacl_autocast_off() -> *mut c_void;
    fn mambacl_autocast_back(guard: *mut c_void);
}

/// As long as it lives, this thread's operations are not autocast.
struct Off(*mut c_void);

impl Drop for Off {
    fn drop(&mut self) {
        // SAFETY: the pointer is of `mambacl_autocast_off` and given back once, on the same thread: a raw
        // pointer is not `Send`.
        unsafe { mambacl_autocast_back(self.0) }
    }
}

/// Runs operations in the types that their tensors have, also under autocast.
pub(crate) fn without_autocast<Result>(run: impl FnOnce() -> Result) -> Result {
    // SAFETY: takes nothing; what it gives is given back when `_off` is dropped.
    let _off = Off(unsafe { mambacl_autocast_off() });
    run()
}
