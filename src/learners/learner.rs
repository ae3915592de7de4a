//! What all learners share: checks at the edge, the encoder, and labels as symbols.

use super::LearnerConfig;
use super::memory::{Inputs, Memory};
use super::state::{Labels, State};
use super::validate;
use crate::encoder::{Encoder, Moments, Statistics};
use crate::error::{Error, Result, check_numbers};
use crate::layer_state::StateSpec;
use crate::mixers::{Keys, Queries};
use crate::ops::state_kind;
use crate::params::Path;
use tch::{Device, Kind, Tensor};

/// More examples than any stream has; positions of tokens are computed from their number.
const LONGEST_STREAM: i64 = 1 << 48;

/// What reading a stream in training leaves for its queries and the loss. It grows with the stream
/// and is no part of the state.
pub struct Trace {
    /// The moments of the encoder's norms, which queries are normalised with.
    pub moments: Vec<Moments>,
    /// What the tokens are found by, for each layer that the regulariser looks at.
    pub keys: Vec<Option<Keys>>,
    /// Added to the loss: the balance of experts, a number; where there are experts.
    pub auxiliary: Option<Tensor>,
}

/// Answers to queries.
pub struct Prediction {
    /// Logits by label, (batch, Q, vocab), or vectors, (batch, Q, dim).
    pub output: Tensor,
    /// What the queries look for, for each layer that the regulariser looks at; in training.
    pub queries: Vec<Option<Queries>>,
    /// As [`Trace::auxiliary`].
    pub auxiliary: Option<Tensor>,
}

/// A continual learner with its tensors bound.
pub struct Learner {
    config: LearnerConfig,
    encoder: Encoder,
    memory: Box<dyn Memory>,
}

impl Learner {
    /// Binds all tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &LearnerConfig) -> Result<Self> {
        Ok(Self {
            config: config.clone(),
            encoder: Encoder::new(&path.sub("encoder"), config.encoder(), config.d_model())?,
            memory: config.build(path)?,
        })
    }

    /// The settings.
    pub fn config(&self) -> &LearnerConfig {
        &self.config
    }

    /// The tensors of each layer's state, in order.
    pub fn state_specs(&self) -> Vec<Vec<StateSpec>> {
        self.memory.state_specs()
    }

    /// The state before any example. A classifier takes a codebook, int64 (batch, vocab), which also
    /// says the batch; another learner the batch alone. `draw` numbers the episode, for learners that
    /// draw something at random for each.
    ///
    /// # Errors
    /// When a classifier has no codebook, or it is not a permutation in each row; when the batch is below 1,
    /// or its states would hold more than 2^30 numbers.
    pub fn initial_state(&self, batch: i64, codebook: Option<&Tensor>, draw: u64) -> Result<State> {
        let op = "init_state";
        if batch < 1 {
            let (expected, got) = ("at least 1".into(), batch.to_string());
            return Err(Error::Value { op, argument: "batch".into(), expected, got });
        }
        let labels = match (self.config.target().vocab(), codebook) {
            (Some(vocab), Some(codebook)) => {
                validate::codebook(op, "codebook", codebook, vocab, self.encoder.options().1)?;
                if codebook.size()[0] != batch {
                    let expected = format!("(batch = {batch}, vocab = {vocab})");
                    let got = codebook.size();
                    return Err(Error::Shape { op, argument: "codebook".into(), expected, got });
                }
                Some(Labels::unseen(codebook.shallow_clone()))
            }
            (Some(vocab), None) => {
                let expected = format!("a tensor of shape (batch, {vocab}) for a classifier");
                let got = "None".into();
                return Err(Error::Value { op, argument: "codebook".into(), expected, got });
            }
            (None, _) => None,
        };
        let specs = self.memory.state_specs();
        check_numbers(op, "batch", batch, specs.iter().flatten().map(|spec| spec.size(batch, 0)))?;
        Ok(State {
            examples: 0,
            labels,
            layers: self.memory.initial_layers(batch, draw, self.state_options()),
        })
    }

    /// Reads examples in order: x (batch, n, input shape...), y labels int64 (batch, n) or vectors
    /// (batch, n, dim). Reading at once, in pieces or one by one comes to the same.
    ///
    /// # Errors
    /// When shapes, element types, devices or labels do not fit.
    pub fn observe(&self, state: &State, x: &Tensor, y: &Tensor) -> Result<State> {
        Ok(self.read(state, x, y, Statistics::Running, false)?.0)
    }

    /// As [`Learner::observe`], for training: the encoder normalises with the moments of these
    /// examples and updates its running ones, and the trace goes to the queries.
    ///
    /// # Errors
    /// As [`Learner::observe`].
    pub fn observe_traced(&self, state: &State, x: &Tensor, y: &Tensor) -> Result<(State, Trace)> {
        let mut moments = Vec::new();
        let (state, keys, auxiliary) = self.read(state, x, y, Statistics::Batch(&mut moments), true)?;
        Ok((state, Trace { moments, keys, auxiliary }))
    }

    /// Answers queries, x (batch, Q, input shape...), each alone, from a state that stays as it is.
    /// With the trace of the stream, as training needs it.
    ///
    /// # Errors
    /// When shapes, element types or devices do not fit; when the state has seen no example.
    pub fn predict(&self, state: &State, x: &Tensor, trace: Option<&Trace>) -> Result<Prediction> {
        let op = "predict";
        if state.examples == 0 {
            let argument = "state".into();
            let expected = "a state that has observed examples".into();
            return Err(Error::Value { op, argument, expected, got: "an initial state".into() });
        }
        self.check_state(op, state)?;
        self.check_queries(x, state.batch())?;
        let statistics = trace.map_or(Statistics::Running, |trace| Statistics::recorded(&trace.moments));
        let encoded = self.encoder.encode(x, statistics)?;
        let inputs = Inputs { raw: x, encoded: &encoded };
        let answer = self.memory.answer(&state.layers, state.examples, &inputs, trace.is_some())?;
        let mut output = answer.output;
        if let Some(labels) = &state.labels {
            // From logits of symbols to logits of labels.
            let size = output.size();
            let symbols = labels.codebook.unsqueeze(1).expand(&size[..], false);
            output = output.gather(2, &symbols, false);
        }
        Ok(Prediction { output, queries: answer.queries, auxiliary: answer.auxiliary })
    }

    fn read(
        &self,
        state: &State,
        x: &Tensor,
        y: &Tensor,
        statistics: Statistics,
        record: bool,
    ) -> Result<(State, Vec<Option<Keys>>, Option<Tensor>)> {
        let op = "observe";
        self.check_state(op, state)?;
        let batch = state.batch();
        validate::inputs(op, x, batch, self.encoder.input_shape(), self.encoder.options())?;
        self.check_targets(op, y, batch, x.size()[1])?;
        let encoded = self.encoder.encode(x, statistics)?;
        let inputs = Inputs { raw: x, encoded: &encoded };
        let (labels, targets) = match &state.labels {
            Some(labels) => (Some(labels.with(y)), labels.codebook.gather(1, y, false)),
            None => (None, y.shallow_clone()),
        };
        let read = self.memory.observe(&state.layers, state.examples, &inputs, &targets, record)?;
        let examples = state.examples + y.size()[1];
        Ok((State { examples, labels, layers: read.layers }, read.keys, read.auxiliary))
    }

    /// Tokens that so many examples are read as, where the state grows with them; None for a number that
    /// no stream has.
    pub(crate) fn tokens(&self, examples: i64) -> Option<i64> {
        (0..=LONGEST_STREAM).contains(&examples).then(|| self.memory.tokens(examples))
    }

    /// Checks that a state is one of this learner's.
    pub(crate) fn check_state(&self, op: &'static str, state: &State) -> Result<()> {
        let specs = self.memory.state_specs();
        let pairs = state.layers.iter().zip(&specs);
        let complete = pairs.clone().all(|(layer, specs)| layer.0.len() == specs.len());
        if state.layers.len() != specs.len() || !complete {
            let names: Vec<_> = specs.iter().flatten().map(|spec| spec.name).collect();
            let reason = format!("must hold {} layers of the tensors {names:?}", specs.len());
            return Err(Error::Config { field: "state".into(), reason });
        }
        if !(0..=LONGEST_STREAM).contains(&state.examples) {
            let (argument, got) = ("state.examples".into(), state.examples.to_string());
            let expected = format!("from 0 to {LONGEST_STREAM}");
            return Err(Error::Value { op, argument, expected, got });
        }
        let device = self.encoder.options().1;
        match (self.config.target().vocab(), &state.labels) {
            (Some(vocab), Some(Labels { codebook, seen })) => {
                validate::codebook(op, "state.codebook", codebook, vocab, device)?;
                let size = [codebook.size()[0], vocab];
                validate::of_state(op, "state.seen", seen, &size, (Kind::Bool, device))?;
            }
            (None, None) => {}
            (vocab, _) => {
                let kind = if vocab.is_some() { "labels" } else { "no labels" };
                let reason = format!("must hold {kind}, as the learner's target");
                return Err(Error::Config { field: "state".into(), reason });
            }
        }
        let (batch, tokens) = (state.batch(), self.memory.tokens(state.examples));
        for (index, (layer, specs)) in pairs.enumerate() {
            for (spec, tensor) in specs.iter().zip(&layer.0) {
                let argument = format!("state.layers[{index}].{}", spec.name);
                let size = spec.size(batch, tokens);
                validate::of_state(op, &argument, tensor, &size, self.state_options())?;
            }
        }
        Ok(())
    }

    /// The element type and device of a state's memory.
    fn state_options(&self) -> (Kind, Device) {
        let (kind, device) = self.encoder.options();
        (state_kind(kind), device)
    }

    /// Checks queries of `batch` streams.
    ///
    /// # Errors
    /// When the shape, element type or device does not fit, or an input is not finite.
    pub fn check_queries(&self, x: &Tensor, batch: i64) -> Result<()> {
        validate::inputs("predict", x, batch, self.encoder.input_shape(), self.encoder.options())
    }

    /// Checks the tasks of `n` examples or queries of each stream.
    ///
    /// # Errors
    /// When the shape or element type does not fit.
    pub fn check_tasks(&self, argument: &str, task: &Tensor, batch: i64, n: i64) -> Result<()> {
        validate::tasks("episode", argument, task, [batch, n])
    }

    /// Checks targets of `n` examples or queries of each stream.
    ///
    /// # Errors
    /// When the shape, element type or device does not fit, or a label lies outside the vocabulary.
    pub fn check_targets(&self, op: &'static str, y: &Tensor, batch: i64, n: i64) -> Result<()> {
        let options = self.encoder.options();
        let target = self.config.target();
        match target.vocab() {
            Some(vocab) => validate::labels(op, y, [batch, n], vocab, options.1),
            None => validate::vectors(op, y, [batch, n, target.width()], options),
        }
    }
}

impl Prediction {
    /// The answer among the labels seen so far, int64 (batch, Q): the primary prediction of a
    /// classifier.
    pub fn argmax_seen(&self, seen: &Tensor) -> Tensor {
        let unseen = seen.logical_not().unsqueeze(1);
        self.output.masked_fill(&unseen, f64::NEG_INFINITY).argmax(-1, false)
    }

    /// The answer in the whole vocabulary, int64 (batch, Q).
    pub fn argmax_vocabulary(&self) -> Tensor {
        self.output.argmax(-1, false)
    }
}

/// The share of answers that are right.
pub fn accuracy(answers: &Tensor, labels: &Tensor) -> Tensor {
    answers.eq_tensor(labels).to_kind(Kind::Float).mean(None::<Kind>)
}
