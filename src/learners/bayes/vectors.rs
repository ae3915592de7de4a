//! One belief about all that a stream says, for targets that are vectors.
//!
//! ```text
//! ẑ, p = network of (x, y)        answer = network of (x, m)
//! ```
//!
//! The belief's mean is decoded; SB-MCL also samples.

use super::BayesConfig;
use super::belief::{Belief, Prior};
use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::learners::interface::InterfaceConfig;
use crate::learners::memory::{Answer, Inputs, Memory, Read};
use crate::mlp::Mlp;
use crate::params::Path;
use crate::target::Target;
use tch::{Device, Kind, Tensor};

/// The belief and the networks around it, with their tensors bound.
pub(super) struct LatentBelief {
    d_latent: i64,
    target: Target,
    /// From (x, y) to ẑ and the precision before softplus.
    writer: Mlp,
    /// From (x, m) to what the head answers from.
    reader: Mlp,
    prior: Prior,
}

impl LatentBelief {
    /// Binds all tensors but the encoder's.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub(super) fn new(path: &Path, config: &BayesConfig, interface: &InterfaceConfig) -> Result<Self> {
        let BayesConfig { d_latent, d_hidden } = *config;
        let d_model = interface.d_model;
        Ok(Self {
            d_latent,
            target: Target::new(path, &interface.target, d_model)?,
            writer: Mlp::new(&path.sub("writer"), [2 * d_model, d_hidden, 2 * d_latent])?,
            reader: Mlp::new(&path.sub("reader"), [d_model + d_latent, d_hidden, d_model])?,
            prior: Prior::new(path, d_latent)?,
        })
    }
}

impl Memory for LatentBelief {
    /// `mean` (d_latent) and `precision` (d_latent).
    fn state_specs(&self) -> Vec<Vec<StateSpec>> {
        let size = [self.d_latent];
        vec![vec![StateSpec::new("mean", &size), StateSpec::new("precision", &size)]]
    }

    fn initial_layers(&self, batch: i64, _draw: u64, (kind, _): (Kind, Device)) -> Vec<LayerState> {
        vec![self.prior.state(&[batch], kind)]
    }

    fn observe(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        targets: &Tensor,
        _record: bool,
    ) -> Result<Read> {
        let before = Belief::of(&layers[0]);
        let pairs = Tensor::cat(&[inputs.encoded, &self.target.embed(targets)], -1);
        let said = Belief::said(&self.writer.forward(&pairs, Tensor::relu).to_kind(before.mean.kind()));
        let total = |of: &Tensor| of.sum_dim_intlist(1, false, None::<Kind>);
        let weighted = &said.precision * (&said.mean - before.mean.unsqueeze(1));
        Ok(Read::only(vec![before.after(&total(&said.precision), &total(&weighted)).into_layer()]))
    }

    fn answer(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        _record: bool,
    ) -> Result<Answer> {
        let mean = layers[0].0[0].to_kind(inputs.encoded.kind());
        let queries = inputs.encoded.size()[1];
        let belief = mean.unsqueeze(1).expand([-1, queries, -1], false);
        let read = self.reader.forward(&Tensor::cat(&[inputs.encoded, &belief], -1), Tensor::relu);
        Ok(Answer::only(self.target.answer(&read)))
    }
}
