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

use super::fast::{Entries, FastMemory, FastNetwork};
use super::fast_layer::Form;
use super::memory::{Inputs, Memory, MemorySettings};
use crate::encoder::{CnnConfig, EncoderConfig};
use crate::error::{Result, check_size};
use crate::params::Path;
use crate::target::TargetConfig;
use serde::{Deserialize, Serialize};

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

impl MemorySettings for OmlConfig {
    fn build(&self, path: &Path) -> Result<Box<dyn Memory>> {
        for &width in &self.hidden {
            check_size("hidden", width)?;
        }
        let forms = Form::dense(self.d_model, &[&self.hidden[..], &[self.target.width()]].concat());
        Ok(Box::new(FastMemory {
            network: FastNetwork::new(path, forms, &self.target, self.inner_lr)?,
            enter: |inputs: &Inputs| Entries { x: inputs.encoded.relu(), gates: None },
        }))
    }

    fn state_layers(&self) -> usize {
        self.hidden.len() + 1
    }
}
