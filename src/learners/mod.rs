//! Continual learners: a state and two verbs.
//!
//! ```text
//! observe(state, x, y) -> state'     reads labelled examples, in order
//! predict(state, x)    -> answers    answers queries, and leaves the state as it was
//! ```
//!
//! Meta-training, evaluation and deployment call the same two. [`Learner`] is what all kinds share. A kind is a file:
//! its settings, which implement [`memory::MemorySettings`], and its [`memory::Memory`]. To add one: write its file, and
//! a line of `kinds!` below.

mod anml;
mod bayes;
mod class_moments;
mod config;
mod exported;
mod fast;
mod fast_layer;
mod fast_weights;
mod gemcl;
mod inner_loss;
mod interface;
mod learner;
pub mod memory;
mod oml;
mod pieces;
mod prototype;
mod sequence;
mod state;
mod validate;

pub use anml::AnmlConfig;
pub use bayes::BayesConfig;
pub use config::LearnerConfig;
pub use exported::settings_schema;
pub use gemcl::{GemclConfig, Predictive};
pub use interface::InterfaceConfig;
pub use learner::{Learner, Prediction, Trace, accuracy};
pub use oml::OmlConfig;
pub use prototype::PrototypeConfig;
pub use sequence::SequenceConfig;
pub use state::{Labels, State};

use crate::settings::kinds::kinds;
use memory::MemorySettings;

kinds! {
    /// The settings of a learner's memory, by the learner's kind.
    "learner": MemoryConfig, MemorySettings;
    "sequence" = Sequence(SequenceConfig);
    "prototype" = Prototype(PrototypeConfig);
    "gemcl" = Gemcl(GemclConfig);
    "bayes" = Bayes(BayesConfig);
    "oml" = Oml(OmlConfig);
    "anml" = Anml(AnmlConfig);
}
