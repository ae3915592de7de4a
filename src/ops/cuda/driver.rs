//! The CUDA driver: whether it is there, and the context of a device that torch works in.

use crate::error::{Error, Result};
use cudarc::driver::{result, sys};
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

/// A device's primary context, which the runtime and so torch use. Retained once and never released: torch keeps
/// it to the end of the process.
#[derive(Clone, Copy)]
pub(super) struct Device {
    context: sys::CUcontext,
    /// Compute capability, 10 major + minor.
    pub capability: u32,
}

// SAFETY: a context may be used from any thread that makes it current.
unsafe impl Send for Device {}

/// A device by torch's index.
///
/// # Errors
/// Without a driver or such a device.
pub(super) fn device(index: usize) -> Result<Device> {
    static DEVICES: Mutex<Option<HashMap<usize, Device>>> = Mutex::new(None);
    let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    let devices = devices.get_or_insert_default();
    if let Some(device) = devices.get(&index) {
        return Ok(*device);
    }
    start()?;
    let device = open(index).map_err(|error| explained(&format!("device cuda:{index}"), error))?;
    devices.insert(index, device);
    Ok(device)
}

/// Starts the driver, once.
fn start() -> Result<()> {
    static STARTED: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let started = STARTED.get_or_init(|| {
        // SAFETY: opens a library by the driver's name.
        if !unsafe { sys::is_culib_present() } {
            return Err("this machine has no NVIDIA driver (libcuda.so was not found)".into());
        }
        result::init().map_err(|error| explained("the NVIDIA driver does not start", error).to_string())
    });
    started.clone().map_err(|reason| Error::Cuda { reason })
}

fn open(index: usize) -> std::result::Result<Device, result::DriverError> {
    use sys::CUdevice_attribute as Attribute;
    let device = result::device::get(i32::try_from(index).unwrap_or(i32::MAX))?;
    // SAFETY: the driver gave the device.
    unsafe {
        let read = |attribute| Ok(result::device::get_attribute(device, attribute)?.unsigned_abs());
        let major = read(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let capability = 10 * major + read(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        Ok(Device { context: result::primary_ctx::retain(device)?, capability })
    }
}

impl Device {
    /// Makes it this thread's device until the guard is dropped: torch's may be another.
    pub fn enter(&self) -> Result<Entered> {
        let current = result::ctx::get_current().map_err(|error| explained("the context", error))?;
        if current == Some(self.context) {
            return Ok(Entered { before: None });
        }
        // SAFETY: a retained context.
        unsafe { result::ctx::set_current(self.context) }.map_err(|error| explained("the context", error))?;
        Ok(Entered { before: Some(current.unwrap_or(std::ptr::null_mut())) })
    }
}

/// Gives this thread back the device that it had.
pub(super) struct Entered {
    before: Option<sys::CUcontext>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // SAFETY: it was current before; null is none. A failure shows in torch's next call.
            let _ = unsafe { result::ctx::set_current(before) };
        }
    }
}

/// An error with the driver's own words for it.
pub(super) fn explained(what: &str, error: result::DriverError) -> Error {
    let words = error.error_string().map(|text| text.to_string_lossy().into_owned());
    Error::Cuda { reason: format!("{what}: {}", words.unwrap_or_else(|_| format!("{error:?}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_driver_or_such_a_device_the_error_says_so() {
        let error = device(1000).map(drop).unwrap_err().to_string();
        assert!(error.contains("no NVIDIA driver") || error.contains("cuda:1000"), "{error}");
    }
}
