//! ANML (Beaulieu et al., arXiv:2002.09571): a network that learns by gradient descent while the stream
//! is read, and a slow one that gates it.
//!
//! ```text
//! g = sigmoid(linear(encoder(x)))                              the neuromodulatory network, slow
//! f(x; W) = output layer of (g ⊙ hidden layers of x)           the prediction network, all of it fast
//! W_t = W_{t-1} - η ∇ loss(f(x_t; W_{t-1}), y_t)
//! ```
//!
//! as CL-as-Seq (arXiv:2310.11952) runs it: one step on each example, in each stream from the same
//! learned W_0 and with a learned η; see [`super::fast`]. The gates stand before the output layer, so
//! they choose what answers and, as the gradient goes through them, what learns.
//!
//! The prediction network sees inputs as they come: for images 3x3 convolutions of stride 2, each with
//! ReLU and weights of each stream's own; for vectors dense layers. Nothing normalises its inputs or
//! its layers: inputs should be of order 1, as pixels from 0 to 1 or the features of a normalised
//! encoder are, or steps of the first layer grow with their square. The network is smaller than
//! CL-as-Seq's by default, its first convolution has stride 2 instead of 1, and its gates are an
//! encoder's with a linear map instead of a last norm's.

use super::fast::{Entries, FastNetwork};
use super::fast_layer::Form;
use super::memory::{Answer, Inputs, Memory, MemorySettings, Read, Shared};
use crate::encoder::{CnnConfig, EncoderConfig};
use crate::error::{Error, Result, check_size};
use crate::layer_state::{LayerState, StateSpec};
use crate::params::{Init, Path};
use crate::target::TargetConfig;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The settings of ANML.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnmlConfig {
    /// Numbers that the encoder gives the gates.
    pub d_model: i64,
    /// From inputs to what the gates are made of: slow.
    pub encoder: EncoderConfig,
    /// What is learned by fast weights.
    pub target: TargetConfig,
    /// Hidden layers of the prediction network: for images the channels of each convolution, 16, 32, 64
    /// and 64 when absent; for vectors the widths of dense layers, 256 and 256 when absent.
    pub hidden: Option<Vec<i64>>,
    /// The first value of η, which meta-training learns.
    pub inner_lr: f64,
}

impl Default for AnmlConfig {
    fn default() -> Self {
        Self {
            d_model: 128,
            encoder: EncoderConfig::Cnn(CnnConfig::default()),
            target: TargetConfig::default(),
            hidden: None,
            inner_lr: 0.01,
        }
    }
}

impl AnmlConfig {
    /// Channels or widths of the prediction network's hidden layers.
    pub(super) fn hidden(&self) -> &[i64] {
        match (&self.hidden, &self.encoder) {
            (Some(hidden), _) => hidden,
            (None, EncoderConfig::Cnn(_)) => &[16, 32, 64, 64],
            (None, EncoderConfig::Vector(_)) => &[256, 256],
        }
    }
}

/// ANML with its tensors bound.
pub struct Anml {
    prediction: FastNetwork,
    /// From the encoder to the gates before sigmoid: (width, d_model), (width)
    gate: [Tensor; 2],
}

impl Anml {
    /// Binds all tensors but the encoder's.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &AnmlConfig) -> Result<Self> {
        let hidden = config.hidden();
        for &size in hidden {
            check_size("hidden", size)?;
        }
        let Some(&width) = hidden.last() else {
            let reason = "must be a list of sizes, got none".into();
            return Err(Error::Config { field: "hidden".into(), reason });
        };
        let (mut forms, positions) = match &config.encoder {
            EncoderConfig::Cnn(images) => Form::convolutions(images.in_channels, images.image_size, hidden),
            EncoderConfig::Vector(vectors) => (Form::dense(vectors.dim, hidden), 1),
        };
        let input = width * positions;
        forms.push(Form::Dense { input, positions, output: config.target.width() });
        let (path_of_gate, init) = (path.sub("gate"), Init::fan_in(config.d_model));
        Ok(Self {
            gate: [
                path_of_gate.parameter("weight", &[input, config.d_model], init)?,
                path_of_gate.undecayed("bias", &[input], init)?,
            ],
            prediction: FastNetwork::new(path, forms, &config.target, config.inner_lr)?,
        })
    }

    /// Gates of the last hidden layer, (batch, n, width).
    fn gates(&self, encoded: &Tensor) -> Tensor {
        let [weight, bias] = &self.gate;
        encoded.linear(weight, Some(bias)).sigmoid()
    }
}

impl MemorySettings for AnmlConfig {
    fn shared(&self) -> Shared<'_> {
        Shared { d_model: self.d_model, encoder: &self.encoder, target: &self.target }
    }

    fn build(&self, path: &Path) -> Result<Box<dyn Memory>> {
        Ok(Box::new(Anml::new(path, self)?))
    }

    fn state_layers(&self) -> usize {
        self.hidden().len() + 1
    }
}

impl Memory for Anml {
    /// `weight` (out, in) and `bias` (out) of each layer; a convolution's inputs are in x 3 x 3.
    fn state_specs(&self) -> Vec<Vec<StateSpec>> {
        self.prediction.state_specs()
    }

    fn initial_layers(&self, batch: i64, _draw: u64, (kind, _): (Kind, Device)) -> Vec<LayerState> {
        self.prediction.initial_layers(batch, kind)
    }

    fn observe(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        targets: &Tensor,
        _record: bool,
    ) -> Result<Read> {
        let gates = self.gates(inputs.encoded);
        let stream = Entries { x: inputs.raw, gates: Some(&gates) };
        Ok(Read::only(self.prediction.learn(layers, &stream, targets)))
    }

    fn answer(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        _record: bool,
    ) -> Result<Answer> {
        let gates = self.gates(inputs.encoded);
        let queries = Entries { x: inputs.raw, gates: Some(&gates) };
        let output = self.prediction.answer(layers, &queries);
        Ok(Answer::only(output.to_kind(inputs.encoded.kind())))
    }
}
