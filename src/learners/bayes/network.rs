//! The slow networks around beliefs.

use crate::error::Result;
use crate::params::{Init, Path};
use tch::Tensor;

/// A hidden layer with ReLU and a linear one: (hidden, input), (hidden), (output, hidden), (output).
pub(super) struct Network([Tensor; 4]);

impl Network {
    /// Binds the tensors.
    ///
    /// # Errors
    /// When a tensor does not fit.
    pub(super) fn new(path: &Path, [input, hidden, output]: [i64; 3]) -> Result<Self> {
        let (first, second) = (Init::fan_in(input), Init::fan_in(hidden));
        let (lower, upper) = (path.sub("hidden"), path.sub("output"));
        Ok(Self([
            lower.parameter("weight", &[hidden, input], first)?,
            lower.undecayed("bias", &[hidden], first)?,
            upper.parameter("weight", &[output, hidden], second)?,
            upper.undecayed("bias", &[output], second)?,
        ]))
    }

    /// (..., input) -> (..., output)
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let [hidden, hidden_bias, output, output_bias] = &self.0;
        x.linear(hidden, Some(hidden_bias)).relu().linear(output, Some(output_bias))
    }
}
