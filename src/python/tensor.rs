//! Tensors through the doorway: a `torch.Tensor` and a [`tch::Tensor`] share one C++ object.

use super::errors::{InvalidValueError, caught};
use crate::ops::unfit;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use tch::Tensor;

/// A tensor that came from Python or goes there; its autograd history comes along.
pub struct PyTensor(pub Tensor);

impl<'py> FromPyObject<'_, 'py> for PyTensor {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let name = || object.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
        // SAFETY: the pointer is to a live Python object, and the GIL is held.
        let unpacked = unsafe { Tensor::pyobject_unpack(object.as_ptr().cast()) };
        let unpacked = unpacked.or_else(|error| caught(object.py(), || Err(error.into())))?;
        let Some(tensor) = unpacked else {
            return Err(PyTypeError::new_err(format!("expected a torch.Tensor, got {}", name())));
        };
        match unfit(&tensor) {
            None => Ok(PyTensor(tensor)),
            Some(kind) => Err(InvalidValueError::new_err(format!(
                "expected a dense torch.Tensor with sizes that are numbers, got {kind} ({})",
                name()
            ))),
        }
    }
}

impl<'py> IntoPyObject<'py> for PyTensor {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let object = self.0.pyobject_wrap().or_else(|error| caught(py, || Err(error.into())))?;
        // SAFETY: `pyobject_wrap` gives a new reference.
        unsafe { Bound::from_owned_ptr_or_err(py, object.cast()) }
    }
}
