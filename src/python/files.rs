//! Learners and states through the doorway as bytes; Python reads and writes the files.

use super::errors::detached;
use super::learner::{Learner, PyState, to_python};
use super::tensor::PyTensor;
use crate::files::{Model, SavedState};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tch::Tensor;

/// The fingerprint of a model.
#[pyfunction]
pub fn fingerprint(py: Python<'_>, learner: &Learner, tensors: Vec<PyTensor>) -> PyResult<String> {
    detached(py, move || learner.model(tensors).fingerprint())
}

/// The bytes of a learner's file.
#[pyfunction]
pub fn pack_learner<'py>(
    py: Python<'py>,
    learner: &Learner,
    tensors: Vec<PyTensor>,
) -> PyResult<Bound<'py, PyBytes>> {
    let file = detached(py, move || learner.model(tensors).pack())?;
    Ok(PyBytes::new(py, &file))
}

/// Settings as JSON, and the tensors in the schema's order, of a learner's file.
#[pyfunction]
pub fn unpack_learner(py: Python<'_>, file: &str, data: &[u8]) -> PyResult<(String, Vec<PyTensor>)> {
    detached(py, move || {
        let Model { config, tensors, .. } = Model::unpack(file, data)?;
        // Fake ones where all are: made of the numbers, which the fingerprint is of.
        let lifted = |tensor: Tensor| PyTensor(tensor.lift_fresh());
        Ok((config.to_json()?, tensors.into_iter().map(lifted).collect()))
    })
}

/// The bytes of a state's file; counts are the examples of each stream.
#[pyfunction]
pub fn pack_state<'py>(
    py: Python<'py>,
    learner: &Learner,
    tensors: Vec<PyTensor>,
    state: PyState,
    counts: Vec<i64>,
) -> PyResult<Bound<'py, PyBytes>> {
    let file = detached(py, move || {
        SavedState { state: learner.state(state)?, counts }.pack(&learner.model(tensors))
    })?;
    Ok(PyBytes::new(py, &file))
}

/// The state and the examples of each stream, of a state's file.
#[pyfunction]
pub fn unpack_state(
    py: Python<'_>,
    learner: &Learner,
    tensors: Vec<PyTensor>,
    file: &str,
    data: &[u8],
) -> PyResult<(PyState, Vec<i64>)> {
    detached(py, move || {
        let SavedState { state, counts } = SavedState::unpack(file, data, &learner.model(tensors))?;
        Ok((to_python(&state), counts))
    })
}
