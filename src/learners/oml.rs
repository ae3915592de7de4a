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
use super::interface::InterfaceConfig;
use super::memory::{Inputs, Memory, MemorySettings};
use crate::error::Result;
use crate::params::Path;
use crate::settings::ranges::{Positive, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// OML (arXiv:1905.12588): a slow encoder, and above it a small network of fast weights, which learns from each example of
/// a stream by a step of gradient descent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OmlConfig {
    /// Widths of the fast network's hidden layers; none for a linear one.
    #[schemars(with = "Vec<Size>")]
    pub hidden: Vec<i64>,
    /// The first value of the steps' learning rate η, which meta-training learns.
    #[schemars(with = "Positive")]
    pub inner_lr: f64,
}

impl Default for OmlConfig {
    fn default() -> Self {
        Self { hidden: vec![256], inner_lr: 0.03 }
    }
}

impl MemorySettings for OmlConfig {
    fn build(&self, path: &Path, interface: &InterfaceConfig) -> Result<Box<dyn Memory>> {
        let InterfaceConfig { d_model, target, .. } = interface;
        let forms = Form::dense(*d_model, &[&self.hidden[..], &[target.width()]].concat());
        Ok(Box::new(FastMemory {
            network: FastNetwork::new(path, forms, target, self.inner_lr)?,
            enter: |inputs: &Inputs| Entries { x: inputs.encoded.relu(), gates: None },
        }))
    }

    fn state_layers(&self, _interface: &InterfaceConfig) -> usize {
        self.hidden.len() + 1
    }
}
