//! An encoder for vectors: linear maps with batch normalisation, which also centres them.
//!
//! Inputs that share a large constant part would make all associations alike.

use super::batch_norm::{Normalised, Statistics};
use crate::error::{Result, check_size};
use crate::params::Path;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The settings of the vector encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorConfig {
    /// Numbers in an input.
    pub dim: i64,
    /// Widths of hidden layers, each followed by ReLU; none by default.
    #[serde(default)]
    pub hidden: Vec<i64>,
}

/// The vector encoder with its tensors bound.
pub struct Vector {
    dim: i64,
    layers: Vec<Normalised>,
}

impl Vector {
    /// Binds the encoder's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &VectorConfig, d_model: i64) -> Result<Self> {
        let sizes: Vec<i64> = [config.dim].into_iter().chain(config.hidden.iter().copied()).collect();
        check_size("encoder.dim", config.dim)?;
        for &width in &config.hidden {
            check_size("encoder.hidden", width)?;
        }
        let layer = |(index, &before): (usize, &i64)| {
            let width = sizes.get(index + 1).copied().unwrap_or(d_model);
            Normalised::new(&path.sub("layers").sub(index), "linear", &[width, before])
        };
        Ok(Self { dim: config.dim, layers: sizes.iter().enumerate().map(layer).collect::<Result<_>>()? })
    }

    /// Numbers in an input.
    pub fn dim(&self) -> i64 {
        self.dim
    }

    /// The element type and device of the parameters.
    pub fn options(&self) -> (Kind, Device) {
        self.layers[0].options() // there is always one, to d_model
    }

    /// Encodes vectors, (n, dim), as (n, d_model).
    ///
    /// # Errors
    /// When recorded moments are missing.
    pub fn forward(&self, vectors: &Tensor, statistics: &mut Statistics) -> Result<Tensor> {
        let map = |x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| x.linear(weight, bias);
        let mut x = vectors.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            if index > 0 {
                x = x.relu();
            }
            x = layer.forward(&x, statistics, map)?;
        }
        Ok(x)
    }
}
