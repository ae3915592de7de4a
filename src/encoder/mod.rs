//! Encoders: from an input to `d_model` numbers.
//!
//! An encoder is a file: its settings, which implement [`EncoderSettings`], and the tensors it binds, which
//! implement [`Network`]. To add one: write its file, and a line of `kinds!` below.

mod batch_norm;
mod cnn;
mod vector;

pub use batch_norm::{Moments, Statistics};
pub use cnn::CnnConfig;
pub use vector::VectorConfig;

use crate::error::Result;
use crate::params::Path;
use crate::settings::kinds::kinds;
use tch::{Device, Kind, Tensor};

/// The settings of one kind of encoder.
pub trait EncoderSettings {
    /// The shape of one input.
    fn input_shape(&self) -> Vec<i64>;

    /// Binds the tensors.
    ///
    /// # Errors
    /// When settings contradict one another, or a tensor does not fit.
    fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Network>>;
}

/// An encoder's network with its tensors bound.
pub trait Network {
    /// The element type and device of the parameters: the model's.
    fn options(&self) -> (Kind, Device);

    /// Encodes inputs, (n, input shape...), as (n, d_model).
    ///
    /// # Errors
    /// When recorded moments are missing.
    fn forward(&self, inputs: &Tensor, statistics: &mut Statistics) -> Result<Tensor>;
}

kinds! {
    /// The settings of an encoder, by its kind.
    "encoder": EncoderConfig, EncoderSettings;
    "cnn" = Cnn(CnnConfig);
    "vector" = Vector(VectorConfig);
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self::Cnn(CnnConfig::default())
    }
}

/// An encoder with its tensors bound.
pub struct Encoder {
    input_shape: Vec<i64>,
    network: Box<dyn Network>,
}

impl Encoder {
    /// Binds an encoder's tensors.
    ///
    /// # Errors
    /// When settings contradict one another, or a tensor does not fit.
    pub fn new(path: &Path, config: &EncoderConfig, d_model: i64) -> Result<Self> {
        let settings = config.settings();
        Ok(Self { input_shape: settings.input_shape(), network: settings.build(path, d_model)? })
    }

    /// The shape of one input.
    pub fn input_shape(&self) -> &[i64] {
        &self.input_shape
    }

    /// The element type and device of its parameters: the model's.
    pub fn options(&self) -> (Kind, Device) {
        self.network.options()
    }

    /// Encodes inputs, (batch, n, input shape...), as (batch, n, d_model).
    ///
    /// # Errors
    /// When recorded moments are missing.
    pub fn encode(&self, x: &Tensor, mut statistics: Statistics) -> Result<Tensor> {
        let features = self.network.forward(&x.flatten(0, 1), &mut statistics)?;
        let size = x.size();
        Ok(features.view([size[0], size[1], -1]))
    }
}
