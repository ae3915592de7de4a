//! A belief about each class: where its examples lie.
//!
//! ```text
//! ẑ, p = network(x);  an example sharpens the belief of its own symbol
//! logit of c = ln N(ẑ; m_c, 1 / P_c + 1 / p)        summed over dimensions, of the query's ẑ and p
//! ```
//!
//! A symbol without examples has the prior's belief.

use super::BayesConfig;
use super::belief::{Belief, Prior};
use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::learners::memory::{Answer, Inputs, Memory, Read};
use crate::learners::pieces::in_pieces;
use crate::mlp::Mlp;
use crate::params::Path;
use tch::{Device, Kind, Tensor};

/// Beliefs about classes, with the network's tensors bound.
pub(super) struct ClassBeliefs {
    vocab: i64,
    d_latent: i64,
    /// From x to ẑ and the precision before softplus.
    writer: Mlp,
    prior: Prior,
}

impl ClassBeliefs {
    /// Binds all tensors but the encoder's.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub(super) fn new(path: &Path, config: &BayesConfig, d_model: i64, vocab: i64) -> Result<Self> {
        let BayesConfig { d_latent, d_hidden } = *config;
        Ok(Self {
            vocab,
            d_latent,
            writer: Mlp::new(&path.sub("writer"), [d_model, d_hidden, 2 * d_latent])?,
            prior: Prior::new(path, d_latent)?,
        })
    }

    /// What inputs say, (batch, n, d_latent) each.
    fn said(&self, inputs: &Inputs, kind: Kind) -> Belief {
        Belief::said(&self.writer.forward(inputs.encoded, Tensor::relu).to_kind(kind))
    }
}

impl Memory for ClassBeliefs {
    /// `mean` (vocab, d_latent) and `precision` (vocab, d_latent).
    fn state_specs(&self) -> Vec<Vec<StateSpec>> {
        let size = [self.vocab, self.d_latent];
        vec![vec![StateSpec::new("mean", &size), StateSpec::new("precision", &size)]]
    }

    fn initial_layers(&self, batch: i64, _draw: u64, (kind, _): (Kind, Device)) -> Vec<LayerState> {
        vec![self.prior.state(&[batch, self.vocab], kind)]
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
        let said = self.said(inputs, before.mean.kind());
        let member = targets.one_hot(self.vocab).to_kind(before.mean.kind()); // (batch, n, vocab)
        let apart = &said.mean - member.matmul(&before.mean);
        let of_symbols = member.transpose(1, 2);
        let after =
            before.after(&of_symbols.matmul(&said.precision), &of_symbols.matmul(&(&said.precision * apart)));
        Ok(Read::only(vec![after.into_layer()]))
    }

    fn answer(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        _record: bool,
    ) -> Result<Answer> {
        let belief = Belief::of(&layers[0]);
        let said = self.said(inputs, belief.mean.kind());
        let (means, variances) = (belief.mean.unsqueeze(1), belief.precision.reciprocal().unsqueeze(1));
        let queries = [&said.mean, &said.precision.reciprocal()];
        Ok(Answer::only(in_pieces(queries, belief.mean.numel() as i64, |[mean, variance]| {
            let variance = variance.unsqueeze(2) + &variances; // (batch, a piece, vocab, d_latent)
            let apart = mean.unsqueeze(2) - &means;
            let surprise = apart.square() / &variance + variance.log();
            surprise.sum_dim_intlist(-1, false, None::<Kind>) * -0.5
        })))
    }
}
