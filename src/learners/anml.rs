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

use super::fast::{Entries, FastMemory, FastNetwork};
use super::fast_layer::Form;
use super::interface::InterfaceConfig;
use super::memory::{Inputs, Memory, MemorySettings};
use crate::encoder::EncoderConfig;
use crate::error::{Error, Result};
use crate::params::{Init, Path};
use crate::settings::ranges::{Positive, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// ANML (arXiv:2002.09571): a network of fast weights that learns from each example of a stream by a step of gradient
/// descent, and a slow one that gates its last hidden layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnmlConfig {
    /// Hidden layers of the fast network, which sees inputs as they come and of order 1: for images the channels of each
    /// convolution, for vectors the widths of dense layers. None for
    /// (16, 32, 64, 64) and (256, 256).
    #[schemars(with = "Option<Vec<Size>>")]
    pub hidden: Option<Vec<i64>>,
    /// The first value of the steps' learning rate η, which meta-training learns.
    #[schemars(with = "Positive")]
    pub inner_lr: f64,
}

impl Default for AnmlConfig {
    fn default() -> Self {
        Self { hidden: None, inner_lr: 0.01 }
    }
}

impl AnmlConfig {
    /// Channels or widths of the prediction network's hidden layers.
    fn hidden(&self, encoder: &EncoderConfig) -> &[i64] {
        match (&self.hidden, encoder) {
            (Some(hidden), _) => hidden,
            (None, EncoderConfig::Cnn(_)) => &[16, 32, 64, 64],
            (None, EncoderConfig::Vector(_)) => &[256, 256],
        }
    }
}

impl MemorySettings for AnmlConfig {
    fn build(&self, path: &Path, interface: &InterfaceConfig) -> Result<Box<dyn Memory>> {
        let InterfaceConfig { encoder, target, d_model } = interface;
        let hidden = self.hidden(encoder);
        let Some(&width) = hidden.last() else {
            let reason = "must be a list of sizes, got none".into();
            return Err(Error::Config { field: "hidden".into(), reason });
        };
        let (mut forms, positions) = match encoder {
            EncoderConfig::Cnn(images) => Form::convolutions(images.in_channels, images.image_size, hidden),
            EncoderConfig::Vector(vectors) => (Form::dense(vectors.dim, hidden), 1),
        };
        let input = width * positions;
        forms.push(Form::Dense { input, positions, output: target.width() });
        // From the encoder to the gates of the last hidden layer, before sigmoid.
        let (gate, init) = (path.sub("gate"), Init::fan_in(*d_model));
        let weight = gate.parameter("weight", &[input, *d_model], init)?;
        let bias = gate.undecayed("bias", &[input], init)?;
        Ok(Box::new(FastMemory {
            network: FastNetwork::new(path, forms, target, self.inner_lr)?,
            enter: move |inputs: &Inputs| Entries {
                x: inputs.raw.shallow_clone(),
                gates: Some(inputs.encoded.linear(&weight, Some(&bias)).sigmoid()),
            },
        }))
    }

    fn state_layers(&self, interface: &InterfaceConfig) -> usize {
        self.hidden(&interface.encoder).len() + 1
    }
}
