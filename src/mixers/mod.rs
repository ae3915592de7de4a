//! Sequence mixers: how the tokens of a stream affect the answer to a query.
//!
//! Each mixer is a file of its own with a configuration, the tensors it binds, and the [`Mixer`]
//! trait. To add one: write its file, and name it in [`MixerConfig`].

mod association;
pub mod attention;
pub mod gated_delta_net;
pub mod heads;
mod initial_decay;
pub mod linear_attention;
pub mod mamba;
pub mod mamba2;
pub mod mamba3;
pub mod performer;
mod step_size;

pub use association::{Association, Keys, Queries, Similarity};
pub use initial_decay::InitialDecay;

use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::params::Path;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

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

/// What a pass over a few tokens gives.
pub struct Stepped {
    /// x + mixer(norm(x)), of the shape of x
    pub output: Tensor,
    /// The state after the tokens, when asked for.
    pub state: Option<LayerState>,
}

/// A layer that mixes along the stream, with its tensors bound.
pub trait Mixer {
    /// The tensors of the state, in order.
    fn state_specs(&self) -> Vec<StateSpec>;

    /// The state before any token. `draw` numbers the episode, for mixers that draw at random.
    fn initial_state(&self, batch: i64, _draw: u64, options: (Kind, Device)) -> LayerState {
        LayerState::zeros(&self.state_specs(), batch, options)
    }

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

    /// x + mixer(norm(x)) of a few tokens in one pass, (rows, length, d_model), rows a multiple of the
    /// state's, where no gradient is wanted. The norm is RMSNorm, of a weight and an epsilon. None where
    /// the mixer has no such pass: [`Mixer::observe`] and [`Mixer::answer`] come to the same.
    ///
    /// # Errors
    /// When shapes do not fit.
    fn step(
        &self,
        _x: &Tensor,
        _norm: (&Tensor, f64),
        _state: &LayerState,
        _keep_state: bool,
    ) -> Result<Option<Stepped>> {
        Ok(None)
    }
}

/// The mixers by name, with their settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MixerConfig {
    /// Mamba (arXiv:2312.00752).
    Mamba(mamba::MambaConfig),
    /// Softmax attention (arXiv:1706.03762).
    Attention(heads::HeadsConfig),
    /// Linear attention (arXiv:2006.16236).
    LinearAttention(heads::HeadsConfig),
    /// Performer (arXiv:2009.14794).
    Performer(performer::PerformerConfig),
    /// Mamba-2 (arXiv:2405.21060).
    Mamba2(mamba2::Mamba2Config),
    /// Mamba-3 (arXiv:2603.15569).
    Mamba3(mamba3::Mamba3Config),
    /// Gated DeltaNet (arXiv:2412.06464).
    GatedDeltaNet(gated_delta_net::GatedDeltaNetConfig),
}

impl MixerConfig {
    /// Binds a layer's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Mixer>> {
        Ok(match self {
            Self::Mamba(config) => Box::new(mamba::Mamba::new(path, config, d_model)?),
            Self::Attention(config) => Box::new(attention::Attention::new(path, config, d_model)?),
            Self::LinearAttention(config) => {
                Box::new(linear_attention::LinearTransformer::new(path, config, d_model)?)
            }
            Self::Performer(config) => Box::new(performer::Performer::new(path, config, d_model)?),
            Self::Mamba2(config) => Box::new(mamba2::Mamba2::new(path, config, d_model)?),
            Self::Mamba3(config) => Box::new(mamba3::Mamba3::new(path, config, d_model)?),
            Self::GatedDeltaNet(config) => {
                Box::new(gated_delta_net::GatedDeltaNet::new(path, config, d_model)?)
            }
        })
    }

    /// How fast the states decay at the start, of mixers whose states do.
    pub(crate) fn initial_decay_mut(&mut self) -> Option<&mut InitialDecay> {
        match self {
            Self::Mamba(config) => Some(&mut config.initial_decay),
            Self::Mamba2(config) => Some(&mut config.initial_decay),
            Self::Mamba3(config) => Some(&mut config.initial_decay),
            Self::GatedDeltaNet(config) => Some(&mut config.initial_decay),
            Self::Attention(_) | Self::LinearAttention(_) | Self::Performer(_) => None,
        }
    }

    /// Whether the mixer is an attention: blind to order, so that tokens need positions, and without steps
    /// of time.
    pub fn is_attention(&self) -> bool {
        matches!(self, Self::Attention(_) | Self::LinearAttention(_) | Self::Performer(_))
    }

    /// The associations that the mixer can tell of; only what has steps of time has all.
    pub fn associations(&self) -> &'static [Association] {
        const ALL: &[Association] = &[Association::Content, Association::Gated, Association::Decayed];
        if self.is_attention() { &ALL[..1] } else { ALL }
    }

    /// The heads of an association, in a model of `d_model` numbers a token.
    pub fn association_heads(&self, association: Association, d_model: i64) -> i64 {
        match self {
            Self::Mamba(_) => 1,
            Self::Attention(config) | Self::LinearAttention(config) => config.n_head,
            Self::Performer(config) => config.n_head,
            // All heads of Mamba-2 share B and C.
            Self::Mamba2(_) if association == Association::Content => 1,
            Self::Mamba2(config) => config.expand * d_model / config.headdim,
            Self::Mamba3(config) => config.expand * d_model / config.headdim,
            Self::GatedDeltaNet(config) => config.n_head,
        }
    }
}
