//! The norm before each part of a block.

use crate::error::Result;
use crate::ops::rms_norm;
use crate::params::{Init, Path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

const EPSILON: f64 = 1e-5;

/// The norms by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NormConfig {
    /// RMSNorm (arXiv:1910.07467).
    #[default]
    Rms,
    /// None at all, as in the Transformers of CL-as-Seq (arXiv:2310.11952).
    None,
}

/// A norm with its tensor bound.
pub enum Norm {
    /// RMSNorm, with its weight (d_model).
    Rms(Tensor),
    /// The tokens as they are.
    None,
}

impl Norm {
    /// Binds the tensor.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn new(path: &Path, config: NormConfig, d_model: i64) -> Result<Self> {
        Ok(match config {
            NormConfig::Rms => Self::Rms(path.undecayed("weight", &[d_model], Init::Constant(1.0))?),
            NormConfig::None => Self::None,
        })
    }

    /// The weight and the epsilon of an RMSNorm.
    pub fn rms(&self) -> Option<(&Tensor, f64)> {
        match self {
            Self::Rms(weight) => Some((weight, EPSILON)),
            Self::None => None,
        }
    }

    /// Tokens, (..., d_model), normalised.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Rms(weight) => {
                if let Some(normed) = rms_norm::few(x, weight, EPSILON) {
                    return normed;
                }
                // Under autocast x may be of half precision; the norm is taken in the weight's.
                x.to_kind(weight.kind()).rms_norm(weight.size(), Some(weight), EPSILON)
            }
            Self::None => x.shallow_clone(),
        }
    }
}
