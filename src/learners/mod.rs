//! Continual learners: a state and two verbs.
//!
//! ```text
//! observe(state, x, y) -> state'     reads labelled examples, in order
//! predict(state, x)    -> answers    answers queries, and leaves the state as it was
//! ```
//!
//! Meta-training, evaluation and deployment call the same two.

mod sequence;
mod state;
mod validate;

pub use sequence::{Prediction, SequenceConfig, SequenceLearner, Trace, accuracy};
pub use state::{Labels, State};
