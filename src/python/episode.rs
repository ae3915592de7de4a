//! Episode plans and augmentation draws, as tensors.

use pyo3::prelude::*;

use crate::episode::{self, EpisodePlan, EpisodeSpec};
use crate::ops::tensor_of;
use crate::python::errors::detached;
use crate::python::tensor::PyTensor;

/// `(classes, train, test, codebook)` of episode `index`, four int64 tensors on the CPU; see
/// [`EpisodePlan`].
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "one flat call per episode, named in Python")]
#[pyo3(signature = (seed, split, index, examples_per_class, *, tasks, train_shots, test_shots, vocab))]
pub fn plan_episode(
    py: Python<'_>,
    seed: u64,
    split: &str,
    index: u64,
    examples_per_class: Vec<usize>,
    tasks: usize,
    train_shots: usize,
    test_shots: usize,
    vocab: usize,
) -> PyResult<(PyTensor, PyTensor, PyTensor, PyTensor)> {
    let spec = EpisodeSpec { tasks, train_shots, test_shots, vocab };
    detached(py, || {
        let plan = EpisodePlan::draw(&spec, &examples_per_class, seed, split, index)?;
        Ok((indices(&plan.classes), indices(&plan.train), indices(&plan.test), tensor(&plan.codebook)))
    })
}

/// `count` float32 numbers uniform in [0, 1) for the augmentation of episode `index`.
#[pyfunction]
pub fn uniforms(py: Python<'_>, seed: u64, split: &str, index: u64, count: usize) -> PyResult<PyTensor> {
    detached(py, || {
        let drawn = episode::uniforms(seed, split, index, count)?;
        Ok(PyTensor(tensor_of(&drawn, &[drawn.len() as i64])))
    })
}

fn indices(values: &[usize]) -> PyTensor {
    let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
    tensor(&values)
}

fn tensor(values: &[i64]) -> PyTensor {
    PyTensor(tensor_of(values, &[values.len() as i64]))
}
