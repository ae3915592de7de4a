//! What a layer remembers of a stream: its tensors, and what they are called and look like.

use crate::error::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Of a [`StateSpec`]'s axis: as long as the tokens read.
pub const GROWS: i64 = -1;

/// A tensor of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSpec {
    /// What it holds.
    pub name: &'static str,
    /// Its axes after the batch; [`GROWS`] for one that grows with the stream.
    pub shape: Vec<i64>,
}

impl StateSpec {
    /// A tensor of the given name and axes after the batch.
    pub fn new(name: &'static str, shape: &[i64]) -> Self {
        Self { name, shape: shape.to_vec() }
    }

    /// Its sizes for `batch` streams after `tokens` tokens.
    pub fn size(&self, batch: i64, tokens: i64) -> Vec<i64> {
        let after = self.shape.iter().map(|&size| if size == GROWS { tokens } else { size });
        std::iter::once(batch).chain(after).collect()
    }
}

/// What a layer remembers of a stream: tensors, each with the batch as its first axis.
#[derive(Debug)]
pub struct LayerState(pub Vec<Tensor>);

impl LayerState {
    /// Zeros, and nothing along axes that grow: the state of most layers before any token.
    pub fn zeros(specs: &[StateSpec], batch: i64, options: (Kind, Device)) -> Self {
        Self(specs.iter().map(|spec| Tensor::zeros(spec.size(batch, 0), options)).collect())
    }

    /// The tensors, which must be as many as their names, of a layer such as "a Mamba layer".
    ///
    /// # Errors
    /// When there are more or fewer.
    pub(crate) fn parts<const N: usize>(&self, of: &str, names: [&str; N]) -> Result<[&Tensor; N]> {
        let parts = <&[Tensor; N]>::try_from(&self.0[..]).map_err(|_| {
            let (first, last) = (names[..N - 1].join(", "), names[N - 1]);
            let reason = format!("needs {N} tensors, {first} and {last}, got {}", self.0.len());
            Error::Config { field: format!("state of {of}"), reason }
        })?;
        Ok(parts.each_ref())
    }
}
