//! Encoders: from an input to `d_model` numbers.

mod batch_norm;
mod cnn;
mod vector;

pub use batch_norm::{Moments, Statistics};
pub use cnn::CnnConfig;
pub use vector::VectorConfig;

use crate::error::Result;
use crate::params::Path;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The encoders by name, with their settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EncoderConfig {
    /// A small convolutional network for square images.
    Cnn(CnnConfig),
    /// A linear map or small network for vectors: features of a frozen encoder, or raw numbers.
    Vector(VectorConfig),
}

/// An encoder with its tensors bound.
pub enum Encoder {
    /// For images.
    Cnn(cnn::Cnn),
    /// For vectors.
    Vector(vector::Vector),
}

impl Encoder {
    /// Binds an encoder's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &EncoderConfig, d_model: i64) -> Result<Self> {
        Ok(match config {
            EncoderConfig::Cnn(config) => Self::Cnn(cnn::Cnn::new(path, config, d_model)?),
            EncoderConfig::Vector(config) => Self::Vector(vector::Vector::new(path, config, d_model)?),
        })
    }

    /// The shape of one input.
    pub fn input_shape(&self) -> Vec<i64> {
        match self {
            Self::Cnn(cnn) => cnn.input_shape(),
            Self::Vector(vector) => vec![vector.dim()],
        }
    }

    /// The element type and device of its parameters: the model's.
    pub fn options(&self) -> (Kind, Device) {
        match self {
            Self::Cnn(cnn) => cnn.options(),
            Self::Vector(vector) => vector.options(),
        }
    }

    /// Encodes inputs, (batch, n, input shape...), as (batch, n, d_model).
    ///
    /// # Errors
    /// When recorded moments are missing.
    pub fn encode(&self, x: &Tensor, mut statistics: Statistics) -> Result<Tensor> {
        let inputs = x.flatten(0, 1);
        let features = match self {
            Self::Cnn(cnn) => cnn.forward(&inputs, &mut statistics)?,
            Self::Vector(vector) => vector.forward(&inputs, &mut statistics)?,
        };
        let size = x.size();
        Ok(features.view([size[0], size[1], -1]))
    }
}
