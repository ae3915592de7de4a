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

use super::interface::InterfaceConfig;
use super::memory::{Memory, MemorySettings};
use crate::error::Result;
use crate::params::Path;
use crate::settings::ranges::Size;
use classes::ClassBeliefs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vectors::LatentBelief;

/// Sequential Bayes (SB-MCL, arXiv:2405.18758): Gaussian beliefs about latent variables, sharpened by each example in
/// closed form. For classes there is one for each symbol, and a query goes where it fits best; for vectors there is one,
/// which a network answers from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BayesConfig {
    /// Numbers in a latent variable.
    #[schemars(with = "Size")]
    pub d_latent: i64,
    /// Width of the networks' hidden layers.
    #[schemars(with = "Size")]
    pub d_hidden: i64,
}

impl Default for BayesConfig {
    fn default() -> Self {
        Self { d_latent: 128, d_hidden: 512 }
    }
}

impl MemorySettings for BayesConfig {
    fn build(&self, path: &Path, interface: &InterfaceConfig) -> Result<Box<dyn Memory>> {
        Ok(match interface.target.vocab() {
            Some(vocab) => Box::new(ClassBeliefs::new(path, self, interface.d_model, vocab)?),
            None => Box::new(LatentBelief::new(path, self, interface)?),
        })
    }
}
