//! Meta-learned continual learning with selective state-space models: the engine of mambacl.
//!
//! A continual learner is a state and two verbs, `observe` and `predict` (see [`learners`]).
//! Meta-training unrolls an episode with them ([`meta`]) and differentiates through it. Imports point
//! down this list:
//!
//! | module | what it holds |
//! | --- | --- |
//! | `python` | the doorway to Python, with the feature of that name |
//! | [`meta`] | one episode of meta-training |
//! | [`files`] | learners and states as files |
//! | [`learners`] | observe and predict |
//! | [`selectivity`], [`objective`] | the regulariser; the losses |
//! | [`backbone`], [`encoder`], [`target`] | the parts of a sequence learner |
//! | [`mixers`] | how the stream affects an answer: Mamba, attention and others |
//! | [`ops`] | functions of tensors with fused kernels |
//! | [`params`], `mlp`, [`layer_state`], `disk`, [`codebook`], [`episode`], [`settings`], [`error`] | the ground |

#![warn(missing_docs)]

pub mod backbone;
pub mod codebook;
mod disk;
pub mod encoder;
pub mod episode;
pub mod error;
pub mod files;
pub mod layer_state;
pub mod learners;
pub mod meta;
pub mod mixers;
mod mlp;
pub mod objective;
pub mod ops;
pub mod params;
#[cfg(feature = "python")]
mod python;
mod random;
pub mod selectivity;
pub mod settings;
pub mod target;
