//! Sequence mixers: how the tokens of a stream affect the answer to a query.
//!
//! A mixer is a file: its settings, which implement [`MixerSettings`], and the tensors it binds, which implement
//! [`Mixer`]. To add one: write its file, and a line of `kinds!` below.

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
#[cfg(test)]
mod token_mean;

pub use association::{Association, Keys, Queries, Similarity};
pub use initial_decay::InitialDecay;

use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::params::Path;
use crate::settings::kinds::kinds;
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

/// The settings of one kind of mixer, and what is true of the kind.
pub trait MixerSettings {
    /// Binds a layer's tensors.
    ///
    /// # Errors
    /// When settings contradict one another, or a tensor does not fit.
    fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Mixer>>;

    /// Whether the mixer is blind to order, so that its tokens need positions.
    fn uses_positions(&self) -> bool {
        false
    }

    /// Whether the block that the mixer is published with has a feed-forward layer.
    fn usual_feed_forward(&self) -> bool {
        false
    }

    /// The associations that the mixer has. Those other than the content need steps of time.
    fn associations(&self) -> &'static [Association] {
        &[Association::Content, Association::Gated, Association::Decayed]
    }

    /// The heads of an association, in a model of `d_model` numbers a token.
    fn association_heads(&self, _association: Association, _d_model: i64) -> i64 {
        1
    }
}

kinds! {
    /// The settings of a mixer, by its kind.
    "mixer": MixerConfig, MixerSettings;
    "mamba" = Mamba(mamba::MambaConfig);
    "attention" = Attention(attention::AttentionConfig);
    "linear_attention" = LinearAttention(linear_attention::LinearAttentionConfig);
    "performer" = Performer(performer::PerformerConfig);
    "mamba2" = Mamba2(mamba2::Mamba2Config);
    "mamba3" = Mamba3(mamba3::Mamba3Config);
    "gated_delta_net" = GatedDeltaNet(gated_delta_net::GatedDeltaNetConfig);
    #[cfg(test)]
    "token_mean" = TokenMean(token_mean::TokenMeanConfig);
}
