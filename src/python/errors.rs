//! Errors through the doorway: each kind becomes an exception of `mambacl.errors`.

use crate::error::{Error, Result, panic_text};
use pyo3::import_exception;
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
/// tch panics where libtorch throws; a panic becomes a `TorchError` and never reaches the user.
pub fn detached<T: Send>(py: Python<'_>, run: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    let result = py.detach(|| catch_unwind(AssertUnwindSafe(run)));
    match result {
        Ok(result) => Ok(result?),
        Err(panic) => Err(TorchError::new_err(panic_text(&*panic).to_owned())),
    }
}
