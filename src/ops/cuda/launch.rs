//! A launch: on the device of the tensors, on the stream that torch works on there.

use super::{Kernel, driver, module};
use crate::error::{Error, Result};
use cudarc::driver::{result, sys};
use std::ffi::{CStr, c_char, c_void};

unsafe extern "C" {
    /// The current stream of a CUDA device, as torch has it. A status other than 0 means that
    /// `mambacl_call_error` says why.
    fn mambacl_cuda_stream(device: i64, stream: *mut *mut c_void) -> i32;
    fn mambacl_call_error() -> *const c_char;
}

/// How many blocks of how many threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub blocks: (u32, u32, u32),
    pub threads: (u32, u32, u32),
    /// Dynamic shared memory of a block, in bytes; at most 48 KiB.
    pub shared_bytes: u32,
}

/// Launches a kernel on torch's current stream of a device, and waits for nothing. A grid without blocks is
/// no work.
///
/// # Errors
/// Without a driver, a compiler or such a device; as `module::function`; when CUDA refuses the launch. What a
/// kernel does wrong while it runs shows in a later call, as with torch's own.
///
/// # Safety
/// `args` must point to values of the types that the entry declares, and pointers in them to memory of that
/// device which torch allocated for its current stream.
pub(crate) unsafe fn launch(
    kernel: &Kernel,
    device: usize,
    grid: Grid,
    args: &mut [*mut c_void],
) -> Result<()> {
    if [grid.blocks.0, grid.blocks.1, grid.blocks.2].contains(&0) {
        return Ok(());
    }
    let stream = current_stream(device)?;
    let on = driver::device(device)?;
    let _entered = on.enter()?;
    // SAFETY: the device is entered and the stream its own; the arguments are the caller's.
    unsafe {
        let function = module::function(kernel, device, &on, stream)?;
        result::launch_kernel(function.0, grid.blocks, grid.threads, grid.shared_bytes, stream, args)
            .map_err(|error| driver::explained(&format!("launching {}", kernel.entry), error))
    }
}

fn current_stream(device: usize) -> Result<sys::CUstream> {
    let mut stream = std::ptr::null_mut();
    // SAFETY: writes the stream, or the text that is read after a failure.
    unsafe {
        if mambacl_cuda_stream(device as i64, &raw mut stream) != 0 {
            let reason = CStr::from_ptr(mambacl_call_error()).to_string_lossy().into_owned();
            return Err(Error::Cuda { reason });
        }
    }
    Ok(stream.cast())
}
