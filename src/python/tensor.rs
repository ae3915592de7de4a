//! Tensors through the doorway: a `torch.Tensor` and a [`tch::Tensor`] share one C++ object.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use tch::Tensor;

/// A tensor that came from Python or goes there; its autograd history comes along.
pub struct PyTensor(pub Tensor);

impl<'py> FromPyObject<'_, 'py> for PyTensor {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        // SAFETY: the pointer is to a live Python object, and the GIL is held.
        let tensor = unsafe { Tensor::pyobject_unpack(object.as_ptr().cast()) };
        let tensor = tensor.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        tensor.map(PyTensor).ok_or_else(|| {
            let got = object.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
            PyTypeError::new_err(format!("expected a torch.Tensor, got {got}"))
        })
    }
}

impl<'py> IntoPyObject<'py> for PyTensor {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let object = self.0.pyobject_wrap();
        let object = object.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        // SAFETY: `pyobject_wrap` gives a new reference.
        unsafe { Bound::from_owned_ptr_or_err(py, object.cast()) }
    }
}
