//! Sequential Bayes (SB-MCL, Lee, Jeon & Kim, arXiv:2405.18758): Gaussian beliefs about latent variables,
//! sharpened by each example in closed form.
//!
//! ```text
//! an example says ẑ with precision p, a network's output;  the belief after it has
//! precision  P' = P + p        mean  m' = (P m + p ẑ) / P'
//! ```
//!
//! The network is slow: learned in meta-training, fixed in a stream. Beliefs are the state; the order of
//! examples leaves no mark on them. For classes there is one of each symbol, and a query goes where it
//! fits best ([`classes`]); for other targets there is one, which a second network answers from
//! ([`vectors`]). Known of SB-MCL are the update and the networks; their sizes, and that a query's own
//! uncertainty counts, are ours.

mod belief;
mod classes;
mod vectors;

use super::memory::{Memory, MemorySettings};
use crate::encoder::{CnnConfig, EncoderConfig};
use crate::error::{Result, check_size};
use crate::params::Path;
use crate::target::TargetConfig;
use classes::ClassBeliefs;
use serde::{Deserialize, Serialize};
use vectors::LatentBelief;

/// The settings of a sequential Bayesian learner.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BayesConfig {
    /// Numbers in an encoded input.
    pub d_model: i64,
    /// From inputs to `d_model` numbers.
    pub encoder: EncoderConfig,
    /// What examples are labelled with.
    pub target: TargetConfig,
    /// Numbers in a latent variable.
    pub d_latent: i64,
    /// Width of the networks' hidden layers.
    pub d_hidden: i64,
}

impl Default for BayesConfig {
    fn default() -> Self {
        Self {
            d_model: 128,
            encoder: EncoderConfig::Cnn(CnnConfig::default()),
            target: TargetConfig::default(),
            d_latent: 128,
            d_hidden: 512,
        }
    }
}

impl MemorySettings for BayesConfig {
    fn build(&self, path: &Path) -> Result<Box<dyn Memory>> {
        check_size("d_latent", self.d_latent)?;
        check_size("d_hidden", self.d_hidden)?;
        Ok(match self.target {
            TargetConfig::Class { vocab } => Box::new(ClassBeliefs::new(path, self, vocab)?),
            _ => Box::new(LatentBelief::new(path, self)?),
        })
    }
}
