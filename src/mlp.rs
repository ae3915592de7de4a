//! A network of one hidden layer.

use crate::error::Result;
use crate::params::{Init, Path};
use tch::Tensor;

/// A hidden layer and a linear one: (hidden, input), (hidden), (output, hidden), (output).
pub struct Mlp([Tensor; 4]);

impl Mlp {
    /// Binds the tensors.
    ///
    /// # Errors
    /// When a tensor does not fit.
    pub fn new(path: &Path, [input, hidden, output]: [i64; 3]) -> Result<Self> {
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
    pub fn forward(&self, x: &Tensor, activation: impl Fn(&Tensor) -> Tensor) -> Tensor {
        let [hidden, hidden_bias, output, output_bias] = &self.0;
        activation(&x.linear(hidden, Some(hidden_bias))).linear(output, Some(output_bias))
    }
}
