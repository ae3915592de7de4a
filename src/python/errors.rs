//! Errors through the doorway: each kind becomes an exception of `mambacl.errors`.

use crate::error::{Error, Result, panic_text};
use crate::ops::in_transform;
use pyo3::import_exception;
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

import_exception!(mambacl.errors, ShapeError);
import_exception!(mambacl.errors, DtypeError);
import_exception!(mambacl.errors, DeviceError);
import_exception!(mambacl.errors, InvalidValueError);
import_exception!(mambacl.errors, ConfigError);
import_exception!(mambacl.errors, FileError);
import_exception!(mambacl.errors, KernelError);
import_exception!(mambacl.errors, TorchError);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Shape { .. } => ShapeError::new_err(text),
            Error::Dtype { .. } => DtypeError::new_err(text),
            Error::Device { .. } => DeviceError::new_err(text),
            Error::Value { .. } => InvalidValueError::new_err(text),
            Error::Config { .. } | Error::MissingParameter { .. } => ConfigError::new_err(text),
            Error::File { .. } => FileError::new_err(text),
            Error::Kernel { .. } | Error::Cuda { .. } => KernelError::new_err(text),
            Error::Torch(_) => TorchError::new_err(text),
        }
    }
}

/// Runs the engine without the GIL: libtorch's backward pass needs it free, and so do other threads.
/// Errors as in [`caught`].
pub fn detached<T: Send>(py: Python<'_>, run: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    // The panic is carried past the doorway to the GIL.
    caught(py, || {
        py.detach(|| catch_unwind(AssertUnwindSafe(run))).unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Runs the engine. tch panics where libtorch throws; a panic becomes a `TorchError` and never reaches the
/// user.
///
/// Where Python code that an operation of torch called raised an exception (a hook, a mode, a subclass of
/// tensors, Ctrl-C in any of these), libtorch threw on its account and left it pending in this thread. It is
/// what comes out, the very object, whatever the engine made of the failure.
pub fn caught<T>(py: Python<'_>, run: impl FnOnce() -> Result<T>) -> PyResult<T> {
    let result = catch_unwind(AssertUnwindSafe(run));
    if let Some(raised) = PyErr::take(py) {
        return Err(raised);
    }
    let failure = match result {
        Ok(Ok(result)) => return Ok(result),
        Ok(Err(error @ (Error::Torch(_) | Error::Kernel { .. }))) if in_transform() => error.to_string(),
        Ok(Err(error)) => return Err(error.into()),
        Err(panic) => panic_text(&*panic).to_owned(),
    };
    Err(TorchError::new_err(if in_transform() { not_in_transforms(&failure) } else { failure }))
}

fn not_in_transforms(failure: &str) -> String {
    format!(
        "not possible inside a transform of torch.func (grad, vmap, jvp, ...): {failure}. Use \
         torch.autograd.grad, with torch.func.functional_call for other parameters, and batches of streams \
         instead of vmap"
    )
}
