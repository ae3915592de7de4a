//! OML (Javed and White, arXiv:1905.12588): a slow encoder, and above it a small network that learns by
//! gradient descent while the stream is read.
//!
//! ```text
//! h = ReLU(encoder(x))        W_t = W_{t-1} - η ∇ loss(mlp(h_t; W_{t-1}), y_t)        answer = mlp(h; W_T)
//! ```
//!
//! as CL-as-Seq (arXiv:2310.11952) runs it: one step on each example, in each stream from the same
//! learned W_0 and with a learned η; see [`super::fast`]. The encoder is fixed in a stream. It ends in a
//! norm here; the ReLU after it makes its output the rectified representation that OML has. The output
//! layer has a bias, which CL-as-Seq's has not, so that all layers of the state look alike.

use super::fast::{Entries, FastNetwork};
use super::fast_layer::Form;
use super::memory::{Answer, Inputs, Memory, MemorySettings, Read, Shared};
use crate::encoder::{CnnConfig, EncoderConfig};
use crate::error::{Result, check_size};
use crate::layer_state::{LayerState, StateSpec};
use crate::params::Path;
use crate::target::TargetConfig;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The settings of OML.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OmlConfig {
    /// Numbers in the encoder's representation.
    pub d_model: i64,
    /// From inputs to the representation: slow.
    pub encoder: EncoderConfig,
    /// What is learned by fast weights.
    pub target: TargetConfig,
    /// Widths of the fast network's hidden layers; none for a linear one.
    pub hidden: Vec<i64>,
    /// The first value of η, which meta-training learns.
    pub inner_lr: f64,
}

impl Default for OmlConfig {
    fn default() -> Self {
        Self {
            d_model: 128,
            encoder: EncoderConfig::Cnn(CnnConfig::default()),
            target: TargetConfig::default(),
            hidden: vec![256],
            inner_lr: 0.03,
        }
    }
}

/// OML with its tensors bound.
pub struct Oml(FastNetwork);

impl Oml {
    /// Binds all tensors but the encoder's.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &OmlConfig) -> Result<Self> {
        for &width in &config.hidden {
            check_size("hidden", width)?;
        }
        let widths = [&config.hidden[..], &[config.target.width()]].concat();
        let forms = Form::dense(config.d_model, &widths);
        Ok(Self(FastNetwork::new(path, forms, &config.target, config.inner_lr)?))
    }
}

impl MemorySettings for OmlConfig {
    fn shared(&self) -> Shared<'_> {
        Shared { d_model: self.d_model, encoder: &self.encoder, target: &self.target }
    }

    fn build(&self, path: &Path) -> Result<Box<dyn Memory>> {
        Ok(Box::new(Oml::new(path, self)?))
    }

    fn state_layers(&self) -> usize {
        self.hidden.len() + 1
    }
}

impl Memory for Oml {
    /// `weight` (out, in) and `bias` (out) of each fast layer.
    fn state_specs(&self) -> Vec<Vec<StateSpec>> {
        self.0.state_specs()
    }

    fn initial_layers(&self, batch: i64, _draw: u64, (kind, _): (Kind, Device)) -> Vec<LayerState> {
        self.0.initial_layers(batch, kind)
    }

    fn observe(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        targets: &Tensor,
        _record: bool,
    ) -> Result<Read> {
        let x = inputs.encoded.relu();
        Ok(Read::only(self.0.learn(layers, &Entries { x: &x, gates: None }, targets)))
    }

    fn answer(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        _record: bool,
    ) -> Result<Answer> {
        let x = inputs.encoded.relu();
        let output = self.0.answer(layers, &Entries { x: &x, gates: None });
        Ok(Answer::only(output.to_kind(inputs.encoded.kind())))
    }
}
