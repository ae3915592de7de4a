//! The operations' checks and references; the operators themselves are `torch.ops.mambacl`.

use super::errors::{caught, detached};
use super::tensor::PyTensor;
use crate::error::{Error, Result};
use crate::ops::causal_conv1d::{self, CausalConv1d};
use crate::ops::selective_scan::{self, SelectiveScan};
use pyo3::prelude::*;
use tch::Tensor;

/// The arguments of a scan, as Python orders them.
/// Not a struct: what refuses a tensor would come out as a `TypeError` of a field.
type ScanTensors = (
    PyTensor,
    PyTensor,
    PyTensor,
    PyTensor,
    PyTensor,
    Option<PyTensor>,
    Option<PyTensor>,
    Option<PyTensor>,
    Option<PyTensor>,
    Option<PyTensor>,
);

fn tensor(given: &Option<PyTensor>) -> Option<&Tensor> {
    given.as_ref().map(|tensor| &tensor.0)
}

fn scan(of: &ScanTensors, delta_softplus: bool) -> SelectiveScan<'_> {
    SelectiveScan {
        d: tensor(&of.5),
        z: tensor(&of.6),
        delta_bias: tensor(&of.7),
        delta_softplus,
        initial_state: tensor(&of.8),
        lengths: tensor(&of.9),
        ..SelectiveScan::new(&of.0.0, &of.1.0, &of.2.0, &of.3.0, &of.4.0)
    }
}

/// Checks (u, delta, A, B, C, D, z, delta_bias, initial_state, lengths).
#[pyfunction]
pub fn check_selective_scan(py: Python<'_>, tensors: ScanTensors) -> PyResult<()> {
    caught(py, || scan(&tensors, false).check())
}

/// The reference scan of (u, delta, A, B, C, D, z, delta_bias, initial_state, lengths).
#[pyfunction]
pub fn reference_selective_scan(
    py: Python<'_>,
    tensors: ScanTensors,
    delta_softplus: bool,
    return_final_state: bool,
) -> PyResult<(PyTensor, PyTensor)> {
    let (y, state) = detached(py, move || {
        selective_scan::reference::selective_scan(&scan(&tensors, delta_softplus), return_final_state)
    })?;
    Ok((PyTensor(y), PyTensor(state)))
}

/// The arguments of a convolution, as Python orders them.
type ConvTensors = (PyTensor, PyTensor, Option<PyTensor>, Option<PyTensor>, Option<PyTensor>);

fn convolution<'a>(of: &'a ConvTensors, activation: Option<&str>) -> Result<CausalConv1d<'a>> {
    let silu = match activation {
        None => false,
        Some("silu") => true,
        Some(other) => {
            return Err(Error::Value {
                op: "causal_conv1d",
                argument: "activation".into(),
                expected: "None or \"silu\"".into(),
                got: format!("{other:?}"),
            });
        }
    };
    Ok(CausalConv1d {
        bias: tensor(&of.2),
        silu,
        initial_window: tensor(&of.3),
        lengths: tensor(&of.4),
        ..CausalConv1d::new(&of.0.0, &of.1.0)
    })
}

/// Checks (x, weight, bias, initial_window, lengths) and the activation.
#[pyfunction]
#[pyo3(signature = (tensors, activation))]
pub fn check_causal_conv1d(py: Python<'_>, tensors: ConvTensors, activation: Option<&str>) -> PyResult<()> {
    caught(py, || convolution(&tensors, activation)?.check())
}

/// Whether a tensor has numbers in the memory of the CPU: a fake, wrapped or batched one has none.
#[pyfunction]
pub fn has_numbers(tensor: PyTensor) -> bool {
    crate::ops::has_numbers(&tensor.0)
}

/// The reference convolution of (x, weight, bias, initial_window, lengths).
#[pyfunction]
#[pyo3(signature = (tensors, activation, return_final_window))]
pub fn reference_causal_conv1d(
    py: Python<'_>,
    tensors: ConvTensors,
    activation: Option<&str>,
    return_final_window: bool,
) -> PyResult<(PyTensor, PyTensor)> {
    let (y, window) = detached(py, move || {
        let convolution = convolution(&tensors, activation)?;
        causal_conv1d::reference::causal_conv1d(&convolution, return_final_window)
    })?;
    Ok((PyTensor(y), PyTensor(window)))
}

/// The SIMD level of the CPU kernels: "avx512", "avx2" or "portable".
#[pyfunction]
pub fn simd_level(py: Python<'_>) -> PyResult<&'static str> {
    caught(py, || Ok(crate::ops::simd_level().name()))
}

/// The version of the NVRTC that CUDA kernels are compiled by, (major, minor).
#[pyfunction]
pub fn nvrtc_version(py: Python<'_>) -> PyResult<(i32, i32)> {
    detached(py, crate::ops::cuda::version)
}

/// Compiles every CUDA kernel for an architecture such as "sm_90", which needs no GPU: (entry, bytes) of each.
#[pyfunction]
pub fn compile_cuda_kernels(py: Python<'_>, architecture: &str) -> PyResult<Vec<(&'static str, usize)>> {
    detached(py, || crate::ops::gpu_kernels::compile_all(architecture))
}
