//! The weights of a fast layer while a stream is read: a matrix, and the steps that it has yet to take.
//!
//! ```text
//! W = W_0 + Dᵀ R        x Wᵀ = x W_0ᵀ + (x Rᵀ) D        d W = d W_0 + (d Dᵀ) R
//! ```
//!
//! A step adds the product of a descent and a row. A matrix written after each example would have to be
//! kept for autograd, T of them in each stream. So steps are gathered, as descents D and rows R, and
//! taken together once there are [`RANK`] rows.

use crate::layer_state::LayerState;
use tch::{Kind, Tensor};

/// Rows gathered before the matrix takes their steps.
const RANK: i64 = 32;

/// The weights of a layer in each stream.
pub(super) struct FastWeights {
    /// W_0, (batch, out, in)
    matrix: Tensor,
    /// D, (batch, rows, out), and R, (batch, rows, in).
    steps: Option<[Tensor; 2]>,
    /// (batch, out); it takes each step at once.
    bias: Tensor,
}

impl FastWeights {
    /// Those of a state: `weight` and `bias`.
    pub fn of(state: &LayerState) -> Self {
        let [weight, bias] = &state.0[..] else { unreachable!("the state was checked") };
        Self { matrix: weight.shallow_clone(), steps: None, bias: bias.shallow_clone() }
    }

    /// The state, with all steps taken.
    pub fn into_state(self) -> LayerState {
        LayerState(vec![self.whole(), self.bias])
    }

    /// The layer's outputs for rows (batch, rows, in).
    // Under autocast products may be of half precision; what fast weights are and learn from is not.
    pub fn forward(&self, rows: &Tensor) -> Tensor {
        let mut output = self.bias.unsqueeze(1).baddbmm(rows, &self.matrix.transpose(1, 2), 1, 1);
        if let Some([descents, earlier]) = &self.steps {
            output = output.baddbmm(&rows.bmm(&earlier.transpose(1, 2)), descents, 1, 1);
        }
        output.to_kind(self.matrix.kind())
    }

    /// From descents by the outputs, (batch, rows, out), those by the rows.
    pub fn backward(&self, descent: &Tensor) -> Tensor {
        let mut back = descent.bmm(&self.matrix);
        if let Some([descents, earlier]) = &self.steps {
            back = back.baddbmm(&descent.bmm(&descents.transpose(1, 2)), earlier, 1, 1);
        }
        back.to_kind(self.matrix.kind())
    }

    /// The weights after a step: -η times the gradient by the outputs, and the rows that went in.
    pub fn step(&self, descent: &Tensor, rows: &Tensor) -> Self {
        let bias = &self.bias + descent.sum_dim_intlist(1, false, None::<Kind>);
        let steps = match &self.steps {
            Some([descents, earlier]) => {
                [Tensor::cat(&[descents, descent], 1), Tensor::cat(&[earlier, rows], 1)]
            }
            None => [descent.shallow_clone(), rows.shallow_clone()],
        };
        let full = steps[0].size()[1] >= RANK;
        let mut after = Self { matrix: self.matrix.shallow_clone(), steps: Some(steps), bias };
        if full {
            after = Self { matrix: after.whole(), steps: None, bias: after.bias };
        }
        after
    }

    /// W
    fn whole(&self) -> Tensor {
        match &self.steps {
            Some([descents, rows]) => {
                &self.matrix + descents.transpose(1, 2).bmm(rows).to_kind(self.matrix.kind())
            }
            None => self.matrix.shallow_clone(),
        }
    }
}
