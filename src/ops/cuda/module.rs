//! Kernels as they are loaded on each device: once, to the end of the process.

use super::driver::{self, Device};
use super::{Kernel, cache, nvrtc};
use crate::error::{Error, Result};
use cudarc::driver::{result, sys};
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};

/// A kernel on a device, ready to be launched.
#[derive(Clone, Copy)]
pub(super) struct Function(pub sys::CUfunction);

// SAFETY: a handle, which any thread may launch in the context it is of.
unsafe impl Send for Function {}

/// The kernel on the device; the first call of a process compiles or reads and loads it. Others wait for it.
///
/// # Errors
/// Where it cannot be compiled or loaded, and where it would have to be loaded while `stream` is captured.
///
/// # Safety
/// The device must be entered, and `stream` one of its streams.
pub(super) unsafe fn function(
    kernel: &Kernel,
    index: usize,
    device: &Device,
    stream: sys::CUstream,
) -> Result<Function> {
    static LOADED: Mutex<Option<HashMap<String, Function>>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = loaded.get_or_insert_default();
    let key = key(kernel, index);
    if let Some(function) = loaded.get(&key) {
        return Ok(*function);
    }
    // SAFETY: the caller's.
    let capturing = unsafe { result::stream::is_capturing(stream) }
        .map_err(|error| driver::explained("the stream", error))?;
    if capturing != sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE {
        return Err(Error::Cuda {
            reason: format!(
                "the kernel {} would have to be loaded while a CUDA graph is captured, which CUDA does not allow: \
                 run one step with the same shapes and dtypes before the capture",
                kernel.entry
            ),
        });
    }
    let image = cache::image(kernel.source, kernel.defines, &nvrtc::architecture(device.capability)?)?;
    // PTX is a text that ends with a NUL, which a cubin does not mind.
    let image = [&image[..], &[0]].concat();
    let entry = CString::new(kernel.entry).unwrap_or_default();
    // SAFETY: an image of NVRTC for this device, whose context is current.
    let function = unsafe {
        result::module::load_data(image.as_ptr().cast())
            .and_then(|module| result::module::get_function(module, entry))
    };
    let function =
        function.map_err(|error| driver::explained(&format!("loading {}", kernel.entry), error))?;
    loaded.insert(key, Function(function));
    Ok(Function(function))
}

fn key(kernel: &Kernel, device: usize) -> String {
    let mut key = format!("{device} {} {}", kernel.source.name, kernel.entry);
    for (name, value) in kernel.defines {
        key.extend([" ", *name, "=", &**value]);
    }
    key
}
