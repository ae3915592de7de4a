//! Continual learners: a state and two verbs.
//!
//! ```text
//! observe(state, x, y) -> state'     reads labelled examples, in order
//! predict(state, x)    -> answers    answers queries, and leaves the state as it was
//! ```
//!
//! Meta-training, evaluation and deployment call the same two. [`Learner`] is what all kinds share;
//! each kind is a file with its settings and its [`memory::Memory`], named in [`LearnerConfig`].

mod bayes;
mod class_moments;
mod config;
mod gemcl;
mod learner;
pub mod memory;
mod prototype;
mod sequence;
mod state;
mod validate;

pub use bayes::BayesConfig;
pub use config::LearnerConfig;
pub use gemcl::{GemclConfig, Predictive};
pub use learner::{Learner, Prediction, Trace, accuracy};
pub use prototype::PrototypeConfig;
pub use sequence::SequenceConfig;
pub use state::{Labels, State};
