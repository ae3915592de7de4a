//! Sequential Bayes (SB-MCL, Lee, Jeon & Kim, arXiv:2405.18758): a Gaussian belief about a latent
//! variable, sharpened by each example in closed form.
//!
//! ```text
//! an example says  ẑ, p = networks of (x, y);  the belief after it has
//! precision  P' = P + p        mean  m' = (P m + p ẑ) / P'
//! answer = network of (x, m)
//! ```
//!
//! The networks are slow: learned in meta-training, fixed in a stream. The belief is the state; the
//! order of examples leaves no mark on it. Its mean is decoded (SB-MCL also samples). Known are the
//! update and the two networks; their sizes are ours.

use super::memory::{Answer, Inputs, Memory, MemorySettings, Read, Shared};
use crate::encoder::{CnnConfig, EncoderConfig};
use crate::error::{Result, check_size};
use crate::layer_state::{LayerState, StateSpec};
use crate::params::{Init, Path};
use crate::target::{Target, TargetConfig};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The settings of a sequential Bayesian learner.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BayesConfig {
    /// Numbers in an encoded input, and in the networks' hidden layers' output.
    pub d_model: i64,
    /// From inputs to `d_model` numbers.
    pub encoder: EncoderConfig,
    /// Targets as tokens and answers.
    pub target: TargetConfig,
    /// Numbers in the latent variable.
    pub d_latent: i64,
    /// Width of the hidden layer of both networks.
    pub d_hidden: i64,
}

impl Default for BayesConfig {
    fn default() -> Self {
        Self {
            d_model: 128,
            encoder: EncoderConfig::Cnn(CnnConfig::default()),
            target: TargetConfig::default(),
            d_latent: 512,
            d_hidden: 512,
        }
    }
}

/// A hidden layer with ReLU and a linear one: (d_hidden, in), (d_hidden), (out, d_hidden), (out).
struct Network([Tensor; 4]);

impl Network {
    fn new(path: &Path, [input, hidden, output]: [i64; 3]) -> Result<Self> {
        let (first, second) = (Init::fan_in(input), Init::fan_in(hidden));
        let (lower, upper) = (path.sub("hidden"), path.sub("output"));
        Ok(Self([
            lower.parameter("weight", &[hidden, input], first)?,
            lower.undecayed("bias", &[hidden], first)?,
            upper.parameter("weight", &[output, hidden], second)?,
            upper.undecayed("bias", &[output], second)?,
        ]))
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let [hidden, hidden_bias, output, output_bias] = &self.0;
        x.linear(hidden, Some(hidden_bias)).relu().linear(output, Some(output_bias))
    }
}

/// A sequential Bayesian learner with its tensors bound.
pub struct Bayes {
    target: Target,
    /// From (x, y) to ẑ and the precision before softplus.
    writer: Network,
    /// From (x, m) to what the head answers from.
    reader: Network,
    /// The belief before any example: mean and precision before softplus, (d_latent) each.
    prior: [Tensor; 2],
}

impl Bayes {
    /// Binds all tensors but the encoder's.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &BayesConfig) -> Result<Self> {
        let BayesConfig { d_model, d_latent, d_hidden, .. } = *config;
        check_size("d_latent", d_latent)?;
        check_size("d_hidden", d_hidden)?;
        let prior = path.sub("prior");
        Ok(Self {
            target: Target::new(path, &config.target, d_model)?,
            writer: Network::new(&path.sub("writer"), [2 * d_model, d_hidden, 2 * d_latent])?,
            reader: Network::new(&path.sub("reader"), [d_model + d_latent, d_hidden, d_model])?,
            prior: [
                prior.undecayed("mean", &[d_latent], Init::Constant(0.0))?,
                prior.undecayed("raw_precision", &[d_latent], Init::Constant(0.0))?,
            ],
        })
    }
}

impl MemorySettings for BayesConfig {
    fn shared(&self) -> Shared<'_> {
        Shared { d_model: self.d_model, encoder: &self.encoder, target: &self.target }
    }

    fn build(&self, path: &Path) -> Result<Box<dyn Memory>> {
        Ok(Box::new(Bayes::new(path, self)?))
    }
}

impl Memory for Bayes {
    /// `mean` (d_latent) and `precision` (d_latent).
    fn state_specs(&self) -> Vec<Vec<StateSpec>> {
        let size = self.prior[0].size();
        vec![vec![StateSpec::new("mean", &size), StateSpec::new("precision", &size)]]
    }

    fn initial_layers(&self, batch: i64, _draw: u64, (kind, _): (Kind, Device)) -> Vec<LayerState> {
        let [mean, precision] = &self.prior;
        let each = |of: Tensor| of.to_kind(kind).unsqueeze(0).repeat([batch, 1]);
        vec![LayerState(vec![each(mean.shallow_clone()), each(precision.softplus())])]
    }

    fn observe(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        targets: &Tensor,
        _record: bool,
    ) -> Result<Read> {
        let [mean, precision] = &layers[0].0[..] else { unreachable!("the state was checked") };
        let pairs = Tensor::cat(&[inputs.encoded, &self.target.embed(targets)], -1);
        let said = self.writer.forward(&pairs).to_kind(mean.kind()).chunk(2, -1);
        let certainty = said[1].softplus(); // (batch, n, d_latent)
        let total = precision + certainty.sum_dim_intlist(1, false, None::<Kind>);
        // About the mean, so that it keeps its digits however sharp the belief.
        let apart = &said[0] - mean.unsqueeze(1);
        let moved = (certainty * apart).sum_dim_intlist(1, false, None::<Kind>) / &total;
        Ok(Read::only(vec![LayerState(vec![mean + moved, total])]))
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
        let read = self.reader.forward(&Tensor::cat(&[inputs.encoded, &belief], -1));
        Ok(Answer::only(self.target.answer(&read)))
    }
}
