//! An encoder for vectors: linear maps with batch normalisation, which also centres them.
//!
//! Inputs that share a large constant part would make all associations alike.

use super::batch_norm::{Normalised, Statistics};
use super::{EncoderSettings, Network};
use crate::error::Result;
use crate::params::Path;
use crate::settings::ranges::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Linear maps with batch normalisation for vectors, such as features of a frozen encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VectorConfig {
    /// Numbers in an input.
    #[schemars(with = "Size")]
    pub dim: i64,
    /// Widths of hidden layers, each followed by ReLU; none by default.
    #[serde(default)]
    #[schemars(with = "Vec<Size>")]
    pub hidden: Vec<i64>,
}

impl EncoderSettings for VectorConfig {
    fn input_shape(&self) -> Vec<i64> {
        vec![self.dim]
    }

    fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Network>> {
        Ok(Box::new(Vector::new(path, self, d_model)?))
    }
}

/// The vector encoder with its tensors bound.
pub struct Vector {
    layers: Vec<Normalised>,
}

impl Vector {
    /// Binds the encoder's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &VectorConfig, d_model: i64) -> Result<Self> {
        let sizes: Vec<i64> = [config.dim].into_iter().chain(config.hidden.iter().copied()).collect();
        let layer = |(index, &before): (usize, &i64)| {
            let width = sizes.get(index + 1).copied().unwrap_or(d_model);
            Normalised::new(&path.sub("layers").sub(index), "linear", &[width, before])
        };
        Ok(Self { layers: sizes.iter().enumerate().map(layer).collect::<Result<_>>()? })
    }
}

impl Network for Vector {
    fn options(&self) -> (Kind, Device) {
        self.layers[0].options() // there is always one, to d_model
    }

    fn forward(&self, vectors: &Tensor, statistics: &mut Statistics) -> Result<Tensor> {
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
