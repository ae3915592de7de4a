//! A Gaussian belief, dimension by dimension, and what is first believed.

use crate::error::Result;
use crate::layer_state::LayerState;
use crate::params::{Init, Path};
use tch::{Kind, Tensor};

/// Means and precisions of the same shape, (..., d_latent).
pub(super) struct Belief {
    pub(super) mean: Tensor,
    pub(super) precision: Tensor,
}

impl Belief {
    /// What a network's output, (..., 2 d_latent), says: a mean, and a precision before softplus.
    pub(super) fn said(output: &Tensor) -> Self {
        let parts = output.chunk(2, -1);
        Self { mean: parts[0].shallow_clone(), precision: parts[1].softplus() }
    }

    /// The memory of a layer.
    pub(super) fn of(layer: &LayerState) -> Self {
        let [mean, precision] = &layer.0[..] else { unreachable!("the state was checked") };
        Self { mean: mean.shallow_clone(), precision: precision.shallow_clone() }
    }

    /// As the memory of a layer.
    pub(super) fn into_layer(self) -> LayerState {
        LayerState(vec![self.mean, self.precision])
    }

    /// The belief after evidence: the sum of precisions said, and the sum of what was said about the
    /// mean, weighted by precision. About the mean, so that it keeps its digits however sharp it is.
    pub(super) fn after(&self, precision: &Tensor, weighted: &Tensor) -> Self {
        let total = &self.precision + precision;
        Self { mean: &self.mean + weighted / &total, precision: total }
    }
}

/// What is believed before any example, learned: mean and precision before softplus, (d_latent) each.
pub(super) struct Prior([Tensor; 2]);

impl Prior {
    /// Binds the tensors.
    ///
    /// # Errors
    /// When a tensor does not fit.
    pub(super) fn new(path: &Path, d_latent: i64) -> Result<Self> {
        let path = path.sub("prior");
        Ok(Self([
            path.undecayed("mean", &[d_latent], Init::Constant(0.0))?,
            path.undecayed("raw_precision", &[d_latent], Init::Constant(0.0))?,
        ]))
    }

    /// The prior as a state of the given axes before d_latent.
    pub(super) fn state(&self, axes: &[i64], kind: Kind) -> LayerState {
        let [mean, precision] = &self.0;
        let size = [axes, &mean.size()].concat();
        let each = |of: Tensor| of.to_kind(kind).expand(&size[..], false).contiguous();
        LayerState(vec![each(mean.shallow_clone()), each(precision.softplus())])
    }
}
