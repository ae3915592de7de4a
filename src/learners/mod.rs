//! Continual learners: a state and two verbs.
//!
//! ```text
//! observe(state, x, y) -> state'     reads labelled examples, in order
//! predict(state, x)    -> answers    answers queries, and leaves the state as it was
//! ```
//!
//! Meta-training, evaluation and deployment call the same two. [`Learner`] is what all kinds share;
//! each kind is a file with its settings and its [`memory::Memory`], named in [`LearnerConfig`].

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
pub use config::{LearnerConfig, MemoryConfig};
pub use exported::settings_schema;
pub use gemcl::{GemclConfig, Predictive};
pub use interface::InterfaceConfig;
pub use learner::{Learner, Prediction, Trace, accuracy};
pub use oml::OmlConfig;
pub use prototype::PrototypeConfig;
pub use sequence::SequenceConfig;
pub use state::{Labels, State};
