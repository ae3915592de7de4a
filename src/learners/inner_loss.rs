//! The loss that fast weights descend, by its gradient.
//!
//! ```text
//! class       cross-entropy over the vocabulary       softmax(o) - onehot(y)
//! vector      mean of (o - y)²                        2 (o - y) / dim
//! direction   1 - o·y / (max(‖o‖, 0.1) ‖y‖)           -(ŷ - [‖o‖ > 0.1] cos ô) / max(‖o‖, 0.1)
//! ```
//!
//! As CL-as-Seq has them: the bound on the norm keeps a step finite near o = 0, where a direction has
//! none.

use crate::target::TargetConfig;
use tch::{Kind, Tensor};

/// Below it, the norm of an output that stands for a direction is taken for it.
const LEAST_NORM: f64 = 0.1;
/// Keeps a target of zeros from a division by zero.
const TINY: f64 = 1e-8;

/// A loss of one output and its target.
pub(super) struct InnerLoss(TargetConfig);

impl InnerLoss {
    /// The loss of a target.
    pub fn new(target: &TargetConfig) -> Self {
        Self(target.clone())
    }

    /// What outputs are compared with, (batch, n, width): symbols, int64 (batch, n), as one-hot vectors,
    /// vectors as they are, directions at length 1.
    pub fn wanted(&self, targets: &Tensor, kind: Kind) -> Tensor {
        match self.0 {
            TargetConfig::Class(ref class) => targets.one_hot(class.vocab).to_kind(kind),
            TargetConfig::Vector(_) => targets.to_kind(kind),
            TargetConfig::Angle(_) => {
                let targets = targets.to_kind(kind);
                &targets / length(&targets).clamp_min(TINY)
            }
        }
    }

    /// The gradient of each output's own loss by the output, (..., width) both.
    pub fn gradient(&self, output: &Tensor, wanted: &Tensor) -> Tensor {
        match self.0 {
            TargetConfig::Class(_) => output.softmax(-1, output.kind()) - wanted,
            TargetConfig::Vector(ref vector) => (output - wanted) * (2.0 / vector.dim as f64),
            TargetConfig::Angle(_) => {
                let norm = length(output);
                let free = norm.gt(LEAST_NORM);
                let norm = norm.clamp_min(LEAST_NORM);
                let unit = output / &norm;
                let cosine = (&unit * wanted).sum_dim_intlist(-1, true, None::<Kind>);
                (unit * cosine * free - wanted) / norm
            }
        }
    }
}

/// ‖·‖ along the last axis, which stays. Its derivative at 0 is 0.
fn length(of: &Tensor) -> Tensor {
    of.norm_scalaropt_dim(2, -1, true)
}
