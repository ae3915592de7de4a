//! Targets: what an example is labelled with, as tokens in and as answers out.

use crate::error::{Result, check_size};
use crate::mlp::Mlp;
use crate::params::{Init, Path};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// The kinds of target by name, with their settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TargetConfig {
    /// A class, shown to the learner as one of `vocab` symbols.
    Class {
        /// Symbols; a stream may have as many classes.
        #[serde(default = "default_vocab")]
        vocab: i64,
    },
    /// A vector; the loss is the mean squared error.
    Vector {
        /// Numbers in a target.
        dim: i64,
    },
    /// A direction given as a vector, an angle as (cos, sin); the loss is 1 - cos.
    Angle {
        /// Numbers in a target.
        #[serde(default = "default_angle_dim")]
        dim: i64,
    },
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self::Class { vocab: default_vocab() }
    }
}

fn default_vocab() -> i64 {
    64
}

fn default_angle_dim() -> i64 {
    2
}

impl TargetConfig {
    /// Numbers in an answer: logits of the symbols, or the vector itself.
    pub fn width(&self) -> i64 {
        match *self {
            Self::Class { vocab } => vocab,
            Self::Vector { dim } | Self::Angle { dim } => dim,
        }
    }

    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Class { .. } => "class",
            Self::Vector { .. } => "vector",
            Self::Angle { .. } => "angle",
        }
    }

    /// Checks its size.
    ///
    /// # Errors
    /// When that is out of range.
    pub(crate) fn check(&self) -> Result<()> {
        check_size(if self.vocab().is_some() { "target.vocab" } else { "target.dim" }, self.width())
    }

    /// The vocabulary of a classifier.
    pub fn vocab(&self) -> Option<i64> {
        match *self {
            Self::Class { vocab } => Some(vocab),
            Self::Vector { .. } | Self::Angle { .. } => None,
        }
    }
}

/// How a target becomes a token, with the tensors bound.
enum Embedding {
    /// (vocab, d_model)
    Symbols(Tensor),
    /// With ReLU.
    Vectors(Mlp),
}

/// The token of a target and the head that answers, with their tensors bound.
pub struct Target {
    embedding: Embedding,
    /// (width, d_model)
    head_weight: Tensor,
    /// (width)
    head_bias: Tensor,
}

impl Target {
    /// Binds the tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &TargetConfig, d_model: i64) -> Result<Self> {
        config.check()?;
        let width = config.width();
        let token = path.sub("target_embedding");
        let embedding = match config {
            // Unit variance, as the encoder's normalised output has.
            TargetConfig::Class { vocab } => Embedding::Symbols(token.parameter(
                "weight",
                &[*vocab, d_model],
                Init::Normal { std: 1.0 },
            )?),
            TargetConfig::Vector { dim } | TargetConfig::Angle { dim } => {
                Embedding::Vectors(Mlp::new(&token, [*dim, d_model, d_model])?)
            }
        };
        let head = path.sub("head");
        Ok(Self {
            embedding,
            head_weight: head.parameter("weight", &[width, d_model], Init::fan_in(d_model))?,
            head_bias: head.undecayed("bias", &[width], Init::fan_in(d_model))?,
        })
    }

    /// The tokens of targets: symbols (batch, n) int64, or vectors (batch, n, dim); as
    /// (batch, n, d_model).
    pub fn embed(&self, targets: &Tensor) -> Tensor {
        match &self.embedding {
            Embedding::Symbols(weight) => Tensor::embedding(weight, targets, -1, false, false),
            Embedding::Vectors(mlp) => mlp.forward(targets, Tensor::relu),
        }
    }

    /// The head's answers, (batch, n, width), to the backbone's outputs, (batch, n, d_model).
    pub fn answer(&self, outputs: &Tensor) -> Tensor {
        outputs.linear(&self.head_weight, Some(&self.head_bias))
    }
}
