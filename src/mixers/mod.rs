//! Sequence mixers: how the tokens of a stream affect the answer to a query.
//!
//! Each mixer is a file of its own with a configuration, the tensors it binds, and the [`Mixer`]
//! trait. To add one: write its file, and name it in [`MixerConfig`].

mod association;
pub mod mamba;

pub use association::{Association, Keys, Queries};

use crate::error::Result;
use crate::params::Path;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// What a layer remembers of a stream: the mixer's tensors, each with the batch as its first axis.
#[derive(Debug)]
pub struct LayerState(pub Vec<Tensor>);

/// What reading a stream gives.
pub struct Observed {
    /// (batch, length, d_model)
    pub output: Tensor,
    /// The state after the stream.
    pub state: LayerState,
    /// What the stream's tokens are found by, when asked for.
    pub keys: Option<Keys>,
}

/// What answering queries gives.
pub struct Answered {
    /// (batch x queries, 1, d_model)
    pub output: Tensor,
    /// What the queries look for, when asked for.
    pub queries: Option<Queries>,
}

/// A layer that mixes along the stream, with its tensors bound.
pub trait Mixer {
    /// The names of the state's tensors, in order.
    fn state_names(&self) -> &'static [&'static str];

    /// The state before any token.
    fn initial_state(&self, batch: i64) -> LayerState;

    /// Reads tokens, (batch, length, d_model), from a state of as many rows.
    ///
    /// # Errors
    /// When shapes do not fit.
    fn observe(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Observed>;

    /// Answers queries, (batch x queries, 1, d_model), each alone from the state of its own row,
    /// which stays as it is.
    ///
    /// # Errors
    /// When shapes do not fit.
    fn answer(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Answered>;
}

/// The mixers by name, with their settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MixerConfig {
    /// Mamba (arXiv:2312.00752).
    Mamba(mamba::MambaConfig),
}

impl MixerConfig {
    /// Binds a layer's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Mixer>> {
        match self {
            Self::Mamba(config) => Ok(Box::new(mamba::Mamba::new(path, config, d_model)?)),
        }
    }
}
