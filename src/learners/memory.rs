//! What one kind of learner is: how encoded examples become a state, and answers come from it.
//!
//! What all learners share is around it, in [`super::Learner`]: checks, the encoder, and labels,
//! which a memory knows as symbols.

use super::interface::InterfaceConfig;
use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::mixers::{Keys, Queries};
use crate::params::Path;
use crate::selectivity::SelectivityConfig;
use tch::{Device, Kind, Tensor};

/// Inputs as they came and as the encoder has them.
pub struct Inputs<'a> {
    /// (batch, n, input shape...)
    pub raw: &'a Tensor,
    /// (batch, n, d_model)
    pub encoded: &'a Tensor,
}

/// What was read.
pub struct Read {
    /// The state after it.
    pub layers: Vec<LayerState>,
    /// What the tokens are found by, for each layer that the regulariser looks at.
    pub keys: Vec<Option<Keys>>,
    /// Added to the loss of meta-training, a number.
    pub auxiliary: Option<Tensor>,
}

/// What was answered.
pub struct Answer {
    /// Logits by symbol, (batch, Q, vocab), or vectors, (batch, Q, dim).
    pub output: Tensor,
    /// What the queries look for, for each layer that the regulariser looks at.
    pub queries: Vec<Option<Queries>>,
    /// As [`Read::auxiliary`].
    pub auxiliary: Option<Tensor>,
}

impl Read {
    /// A state, of learners that leave nothing else.
    pub fn only(layers: Vec<LayerState>) -> Self {
        Self { layers, keys: Vec::new(), auxiliary: None }
    }
}

impl Answer {
    /// Answers, of learners that leave nothing else.
    pub fn only(output: Tensor) -> Self {
        Self { output, queries: Vec::new(), auxiliary: None }
    }
}

/// The settings of one kind of learner, beside those that all kinds have.
pub trait MemorySettings {
    /// Binds all tensors but the encoder's.
    ///
    /// # Errors
    /// When settings contradict one another, or a tensor does not fit.
    fn build(&self, path: &Path, interface: &InterfaceConfig) -> Result<Box<dyn Memory>>;

    /// Parts that the state has.
    fn state_layers(&self, _interface: &InterfaceConfig) -> usize {
        1
    }

    /// Whether tokens have positions in the stream.
    fn uses_positions(&self) -> bool {
        false
    }

    /// The regulariser of meta-training, of learners that have one.
    fn selectivity(&self) -> Option<&SelectivityConfig> {
        None
    }
}

/// The two verbs of one kind of learner, with its tensors bound.
pub trait Memory {
    /// The tensors of each layer's state, in order.
    fn state_specs(&self) -> Vec<Vec<StateSpec>>;

    /// Tokens that so many examples are read as, where the state grows with them.
    fn tokens(&self, _examples: i64) -> i64 {
        0
    }

    /// The state before any example. `draw` numbers the episode, for memories that draw at random.
    fn initial_layers(&self, batch: i64, _draw: u64, options: (Kind, Device)) -> Vec<LayerState> {
        self.state_specs().iter().map(|specs| LayerState::zeros(specs, batch, options)).collect()
    }

    /// Reads examples in order, after `examples` others. Targets are symbols int64 (batch, n) or
    /// vectors (batch, n, dim). `record` asks for what the regulariser needs.
    ///
    /// # Errors
    /// When shapes do not fit.
    fn observe(
        &self,
        layers: &[LayerState],
        examples: i64,
        inputs: &Inputs,
        targets: &Tensor,
        record: bool,
    ) -> Result<Read>;

    /// Answers queries, each alone, from a state of `examples` examples, which stays as it is.
    ///
    /// # Errors
    /// When shapes do not fit.
    fn answer(&self, layers: &[LayerState], examples: i64, inputs: &Inputs, record: bool) -> Result<Answer>;
}
