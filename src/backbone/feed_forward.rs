//! What follows the mixer in a block: nothing, a small network, or a mixture of them.

use super::experts::{Experts, ExpertsConfig};
use crate::error::{Result, check_size};
use crate::mlp::Mlp;
use crate::params::Path;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// The feed-forward layers by name, with their settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FeedForwardConfig {
    /// None: a block is its mixer. With braces, so that it refuses settings.
    None {},
    /// A hidden layer with GELU, as in Transformers.
    Mlp(MlpConfig),
    /// A mixture of such networks, of which each token uses a few.
    Experts(ExpertsConfig),
}

/// The settings of a feed-forward network.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// Width of the hidden layer; 2 d_model, CL-as-Seq's ratio, when absent.
    pub d_hidden: Option<i64>,
}

/// A feed-forward layer with its tensors bound.
pub enum FeedForward {
    /// A network.
    Mlp(Mlp),
    /// A mixture of networks.
    Experts(Experts),
}

impl FeedForward {
    /// Binds the tensors; none for [`FeedForwardConfig::None`].
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &FeedForwardConfig, d_model: i64) -> Result<Option<Self>> {
        Ok(match config {
            FeedForwardConfig::None {} => None,
            FeedForwardConfig::Mlp(config) => {
                let d_hidden = config.d_hidden.unwrap_or(2 * d_model);
                check_size("feed_forward.d_hidden", d_hidden)?;
                Some(Self::Mlp(Mlp::new(path, [d_model, d_hidden, d_model])?))
            }
            FeedForwardConfig::Experts(config) => Some(Self::Experts(Experts::new(path, config, d_model)?)),
        })
    }

    /// Each token, (..., d_model), by itself; and the loss that keeps experts in use, if there are
    /// experts.
    pub fn forward(&self, x: &Tensor) -> (Tensor, Option<Tensor>) {
        match self {
            Self::Mlp(mlp) => (mlp.forward(x, |hidden| hidden.gelu("none")), None),
            Self::Experts(experts) => {
                let (output, balance) = experts.forward(x);
                (output, Some(balance))
            }
        }
    }
}
