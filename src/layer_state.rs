//! What a layer remembers of a stream: its tensors, and what they are called and look like.

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
}
