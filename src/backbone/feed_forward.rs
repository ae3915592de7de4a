//! What follows the mixer in a block: nothing, a small network, or a mixture of them.

use super::experts::ExpertsConfig;
use crate::error::Result;
use crate::mlp::Mlp;
use crate::params::Path;
use crate::settings::kinds::kinds;
use crate::settings::ranges::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// A feed-forward layer with its tensors bound.
pub trait FeedForward {
    /// Each token, (..., d_model), by itself; and the loss that keeps experts in use, if there are experts.
    fn forward(&self, x: &Tensor) -> (Tensor, Option<Tensor>);

    /// Whether it gives a loss, so that it learns even where nobody reads its output.
    fn balances(&self) -> bool {
        false
    }
}

/// The settings of one kind of feed-forward layer.
pub trait FeedForwardSettings {
    /// Binds the tensors; none where there is no layer.
    ///
    /// # Errors
    /// When settings contradict one another, or a tensor does not fit.
    fn build(&self, path: &Path, d_model: i64) -> Result<Option<Box<dyn FeedForward>>>;
}

kinds! {
    /// The settings of a feed-forward layer, by its kind.
    "feed_forward": FeedForwardConfig, FeedForwardSettings;
    "none" = None(NoConfig);
    "mlp" = Mlp(MlpConfig);
    "experts" = Experts(ExpertsConfig);
}

/// No layer: a block is its mixer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

impl FeedForwardSettings for NoConfig {
    fn build(&self, _path: &Path, _d_model: i64) -> Result<Option<Box<dyn FeedForward>>> {
        Ok(None)
    }
}

/// A hidden layer with GELU, as in Transformers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// Width of the hidden layer; None for 2 d_model, CL-as-Seq's ratio.
    #[schemars(with = "Option<Size>")]
    pub d_hidden: Option<i64>,
}

impl FeedForwardSettings for MlpConfig {
    fn build(&self, path: &Path, d_model: i64) -> Result<Option<Box<dyn FeedForward>>> {
        let d_hidden = self.d_hidden.unwrap_or(2 * d_model);
        Ok(Some(Box::new(Mlp::new(path, [d_model, d_hidden, d_model])?)))
    }
}

impl FeedForward for Mlp {
    fn forward(&self, x: &Tensor) -> (Tensor, Option<Tensor>) {
        (Mlp::forward(self, x, |hidden| hidden.gelu("none")), None)
    }
}
