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
        let unpack = || {
            // SAFETY: the pointer is to a live Python object, and the GIL is held.
            Ok(unsafe { Tensor::pyobject_unpack(object.as_ptr().cast()) }?)
        };
        let Some(tensor) = caught(object.py(), unpack)? else {
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
        let object = caught(py, || Ok(self.0.pyobject_wrap()?))?;
        // SAFETY: `pyobject_wrap` gives a new reference.
        unsafe { Bound::from_owned_ptr_or_err(py, object.cast()) }
    }
}
