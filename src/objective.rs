//! The losses of an episode's answers.

use crate::target::TargetConfig;
use tch::{Kind, Reduction, Tensor};

impl TargetConfig {
    /// The mean loss over all queries: cross-entropy over the vocabulary for classes, mean squared
    /// error for vectors, 1 - cos for directions.
    ///
    /// `output` (batch, Q, width); `y` labels int64 (batch, Q), or vectors (batch, Q, dim).
    pub fn loss(&self, output: &Tensor, y: &Tensor) -> Tensor {
        match self {
            // Not tch's `cross_entropy_for_logits`, which computes in float32 whatever the type.
            Self::Class(_) => output.flatten(0, 1).cross_entropy_loss(
                &y.flatten(0, 1),
                None::<&Tensor>,
                Reduction::Mean,
                -100,
                0.0,
            ),
            Self::Vector(_) => output.mse_loss(y, Reduction::Mean),
            Self::Angle(_) => {
                let cosine = Tensor::cosine_similarity(output, y, -1, 1e-8);
                (-cosine + 1.0).mean(None::<Kind>)
            }
        }
    }
}
