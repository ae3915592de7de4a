//! GeMCL (Banayeeanzade et al., NeurIPS 2021): a Gaussian for each class, its precision under a
//! Gamma prior that is learned.
//!
//! ```text
//! precision λ ~ Gamma(α, β),  mean ~ N(·, 1 / (κ λ)) with κ → 0;  after n examples, in each dimension,
//! α' = α + n / 2,  β' = β + (summed squares about the mean) / 2
//! Student-t:  ln t(x; 2α' degrees of freedom, mean, β'/α' (1 + 1/n))       the posterior predictive
//! MAP:        ln N(x; mean, β' / (α' - 1/2))                               at the posterior's mode
//! ```
//!
//! as CL-as-Seq (arXiv:2310.11952) computes it, but for the terms that depend on n, which cancel
//! there because all classes have as many shots. The logit of a class sums them over dimensions. The
//! state is a count, a mean and summed squares of each symbol.

use super::class_moments::ClassMoments;
use super::interface::InterfaceConfig;
use super::memory::{Answer, Inputs, Memory, MemorySettings, Read};
use super::pieces::in_pieces;
use super::validate::classes_only;
use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::params::{Init, Path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::{PI, TAU};
use tch::{Kind, Tensor};

/// First values of the prior, ours: a variance of 1, which the encoder's norm gives all examples
/// together, with the certainty of 20 examples.
const PRIOR: f64 = 10.0;
/// Keeps α' - 1/2 from zero while the prior is learned.
const SMALLEST: f64 = 1e-3;

/// What a class's Gaussian is taken at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Predictive {
    /// All of the posterior: a Student-t distribution.
    #[default]
    StudentT,
    /// The posterior's mode: a Gaussian.
    Map,
}

/// GeMCL (Banayeeanzade et al., NeurIPS 2021): a Gaussian for each class, its precision under a learned Gamma prior. For
/// classes only.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GemclConfig {
    /// What a class's Gaussian is taken at.
    pub predictive: Predictive,
}

/// GeMCL with its tensors bound.
pub struct Gemcl {
    vocab: i64,
    d_model: i64,
    predictive: Predictive,
    /// ln α and ln β
    log_prior: [Tensor; 2],
}

impl Gemcl {
    /// Binds all tensors but the encoder's.
    ///
    /// # Errors
    /// When the target is no class, or a tensor does not fit.
    pub fn new(path: &Path, config: &GemclConfig, interface: &InterfaceConfig) -> Result<Self> {
        let prior = Init::Constant(PRIOR.ln());
        let log_prior = [path.undecayed("log_alpha", &[1], prior)?, path.undecayed("log_beta", &[1], prior)?];
        let vocab = classes_only(&interface.target)?;
        Ok(Self { vocab, d_model: interface.d_model, predictive: config.predictive, log_prior })
    }

    /// ln of the density of x (batch, Q, d_model) in each class, up to what all classes share: (batch, Q, vocab).
    fn log_density(&self, x: &Tensor, classes: &ClassMoments) -> Tensor {
        let Some(deviations) = &classes.deviations else { unreachable!("the state was checked") };
        let [alpha, beta] = self.log_prior.each_ref().map(Tensor::exp);
        let counts = classes.counts.unsqueeze(-1);
        let alpha = alpha + &counts * 0.5; // (batch, vocab, 1)
        let beta = beta + deviations * 0.5; // (batch, vocab, d_model)
        // In each dimension the density is the peak less `slope` times the distance, which is scaled.
        let (scale, peak, slope) = match self.predictive {
            Predictive::StudentT => {
                let square_scale = beta / &alpha * (counts.clamp_min(1.0).reciprocal() + 1.0);
                let peak = (&alpha + 0.5).lgamma()
                    - alpha.lgamma()
                    - (&alpha * (2.0 * PI)).log() * 0.5
                    - square_scale.log() * 0.5;
                (square_scale * &alpha * 2.0, peak, alpha + 0.5)
            }
            Predictive::Map => {
                let variance = beta / (&alpha - 0.5).clamp_min(SMALLEST);
                let peak = (&variance * TAU).log() * -0.5;
                (variance, peak, alpha.full_like(0.5))
            }
        };
        let sum = |each: Tensor| each.sum_dim_intlist(-1, false, None::<Kind>);
        let (means, scale) = (classes.means.unsqueeze(1), scale.unsqueeze(1)); // for every query
        let (peak, slope) = (sum(peak).unsqueeze(1), slope.transpose(1, 2)); // (batch, 1, vocab)
        in_pieces([x], classes.means.numel() as i64, |[x]| {
            let square = (x.unsqueeze(2) - &means).square() / &scale; // (batch, a piece, vocab, d_model)
            let distance = match self.predictive {
                Predictive::StudentT => square.log1p(),
                Predictive::Map => square,
            };
            &peak - sum(distance) * &slope
        })
    }
}

impl MemorySettings for GemclConfig {
    fn build(&self, path: &Path, interface: &InterfaceConfig) -> Result<Box<dyn Memory>> {
        Ok(Box::new(Gemcl::new(path, self, interface)?))
    }
}

impl Memory for Gemcl {
    /// `counts` (vocab), `means` (vocab, d_model) and `deviations` (vocab, d_model).
    fn state_specs(&self) -> Vec<Vec<StateSpec>> {
        let size = [self.vocab, self.d_model];
        vec![vec![
            StateSpec::new("counts", &size[..1]),
            StateSpec::new("means", &size),
            StateSpec::new("deviations", &size),
        ]]
    }

    fn observe(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        targets: &Tensor,
        _record: bool,
    ) -> Result<Read> {
        let after = ClassMoments::of(&layers[0]).with(inputs.encoded, targets);
        Ok(Read::only(vec![after.into_layer()]))
    }

    fn answer(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        _record: bool,
    ) -> Result<Answer> {
        let classes = ClassMoments::of(&layers[0]);
        let logits = self.log_density(&inputs.encoded.to_kind(classes.means.kind()), &classes);
        Ok(Answer::only(classes.seen_only(&logits)))
    }
}
