//! Targets: what an example is labelled with, as tokens in and as answers out.

use crate::error::Result;
use crate::mlp::Mlp;
use crate::params::{Init, Path};
use crate::settings::kinds::kinds;
use crate::settings::ranges::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// The settings of one kind of target.
pub trait TargetSettings {
    /// Numbers in an answer: logits of the symbols, or the vector itself.
    fn width(&self) -> i64;

    /// The vocabulary, of targets that are classes.
    fn vocab(&self) -> Option<i64> {
        None
    }
}

kinds! {
    /// The settings of a target, by its kind.
    "target": TargetConfig, TargetSettings;
    "class" = Class(ClassTarget);
    "vector" = Vector(VectorTarget);
    "angle" = Angle(AngleTarget);
}

/// Targets are classes, shown to the learner as symbols that a codebook chooses for each stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassTarget {
    /// Symbols; a stream may hold as many classes.
    #[schemars(with = "Size")]
    pub vocab: i64,
}

impl Default for ClassTarget {
    fn default() -> Self {
        Self { vocab: 64 }
    }
}

impl TargetSettings for ClassTarget {
    fn width(&self) -> i64 {
        self.vocab
    }

    fn vocab(&self) -> Option<i64> {
        Some(self.vocab)
    }
}

/// Targets are vectors; the loss is the mean squared error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VectorTarget {
    /// Numbers in a target.
    #[schemars(with = "Size")]
    pub dim: i64,
}

impl TargetSettings for VectorTarget {
    fn width(&self) -> i64 {
        self.dim
    }
}

/// Targets are directions, an angle given as (cos, sin); the loss is 1 - cos.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AngleTarget {
    /// Numbers in a target.
    #[schemars(with = "Size")]
    pub dim: i64,
}

impl Default for AngleTarget {
    fn default() -> Self {
        Self { dim: 2 }
    }
}

impl TargetSettings for AngleTarget {
    fn width(&self) -> i64 {
        self.dim
    }
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self::Class(ClassTarget::default())
    }
}

impl TargetConfig {
    /// Numbers in an answer: logits of the symbols, or the vector itself.
    pub fn width(&self) -> i64 {
        self.settings().width()
    }

    /// The vocabulary of a classifier.
    pub fn vocab(&self) -> Option<i64> {
        self.settings().vocab()
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
        let width = config.width();
        let token = path.sub("target_embedding");
        let embedding = match config {
            // Unit variance, as the encoder's normalised output has.
            TargetConfig::Class(_) => {
                Embedding::Symbols(token.parameter("weight", &[width, d_model], Init::Normal { std: 1.0 })?)
            }
            TargetConfig::Vector(_) | TargetConfig::Angle(_) => {
                Embedding::Vectors(Mlp::new(&token, [width, d_model, d_model])?)
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
