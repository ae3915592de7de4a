//! The operations' checks and references; the operators themselves are `torch.ops.mambacl`.

use super::errors::{caught, detached};
use super::tensor::PyTensor;
use crate::error::{Error, Result};
use crate::ops::causal_conv1d::{self, CausalConv1d};
use crate::ops::selective_scan::{self, SelectiveScan};
use pyo3::prelude::*;
use tch::Tensor;

/// The arguments of a scan, as Python orders them.
#[derive(FromPyObject)]
pub struct ScanTensors(
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

impl ScanTensors {
    fn scan(&self, delta_softplus: bool) -> SelectiveScan<'_> {
        SelectiveScan {
            d: tensor(&self.5),
            z: tensor(&self.6),
            delta_bias: tensor(&self.7),
            delta_softplus,
            initial_state: tensor(&self.8),
            lengths: tensor(&self.9),
            ..SelectiveScan::new(&self.0.0, &self.1.0, &self.2.0, &self.3.0, &self.4.0)
        }
    }
}

/// Checks (u, delta, A, B, C, D, z, delta_bias, initial_state, lengths).
#[pyfunction]
pub fn check_selective_scan(py: Python<'_>, tensors: ScanTensors) -> PyResult<()> {
    caught(py, || tensors.scan(false).check())
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
        selective_scan::reference::selective_scan(&tensors.scan(delta_softplus), return_final_state)
    })?;
    Ok((PyTensor(y), PyTensor(state)))
}

/// The arguments of a convolution, as Python orders them.
#[derive(FromPyObject)]
pub struct ConvTensors(PyTensor, PyTensor, Option<PyTensor>, Option<PyTensor>, Option<PyTensor>);

impl ConvTensors {
    fn convolution(&self, activation: Option<&str>) -> Result<CausalConv1d<'_>> {
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
            bias: tensor(&self.2),
            silu,
            initial_window: tensor(&self.3),
            lengths: tensor(&self.4),
            ..CausalConv1d::new(&self.0.0, &self.1.0)
        })
    }
}

/// Checks (x, weight, bias, initial_window, lengths) and the activation.
#[pyfunction]
#[pyo3(signature = (tensors, activation))]
pub fn check_causal_conv1d(py: Python<'_>, tensors: ConvTensors, activation: Option<&str>) -> PyResult<()> {
    caught(py, || tensors.convolution(activation)?.check())
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
        let convolution = tensors.convolution(activation)?;
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
