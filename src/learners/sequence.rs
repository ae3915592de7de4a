//! MambaCL: a sequence model as a continual learner (arXiv:2310.11952, arXiv:2412.00776).
//!
//! A stream is read as the tokens x_1, y_1, x_2, y_2, …; a query is a token x that continues the
//! state, and its answer is read there. With a state-space mixer the state has a fixed size.

use super::state::{Labels, State};
use super::validate;
use crate::backbone::Backbone;
use crate::encoder::{CnnConfig, Encoder, EncoderConfig, Moments, Statistics};
use crate::error::{Error, Result, check_size};
use crate::mixers::mamba::MambaConfig;
use crate::mixers::{Association, Keys, MixerConfig, Queries};
use crate::params::{Path, Schema};
use crate::selectivity::SelectivityConfig;
use crate::target::{Target, TargetConfig};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// The settings of a sequence learner.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SequenceConfig {
    /// Numbers in a token.
    pub d_model: i64,
    /// Blocks of the backbone.
    pub n_layer: i64,
    /// From inputs to tokens.
    pub encoder: EncoderConfig,
    /// Targets as tokens and answers.
    pub target: TargetConfig,
    /// The layer that mixes along the stream.
    pub mixer: MixerConfig,
    /// The regulariser of meta-training; `None` (JSON's null), or a weight of 0, for none.
    pub selectivity: Option<SelectivityConfig>,
}

impl Default for SequenceConfig {
    fn default() -> Self {
        Self {
            d_model: 128,
            n_layer: 2,
            encoder: EncoderConfig::Cnn(CnnConfig::default()),
            target: TargetConfig::default(),
            mixer: MixerConfig::Mamba(MambaConfig::default()),
            selectivity: Some(SelectivityConfig::default()),
        }
    }
}

impl SequenceConfig {
    /// The parameters and buffers of the model.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn schema(&self) -> Result<Schema> {
        self.check()?;
        let schema = Schema::of(|path| SequenceLearner::new(path, self))?;
        let numbers: i64 = schema.specs().iter().map(|spec| spec.shape.iter().product::<i64>()).sum();
        log::debug!("a sequence learner of {} tensors, {numbers} numbers", schema.specs().len());
        Ok(schema)
    }

    /// Binds a learner to lent tensors, in the schema's order.
    ///
    /// # Errors
    /// When tensors are missing or do not fit.
    pub fn bind(&self, schema: &Schema, tensors: &[Tensor]) -> Result<SequenceLearner> {
        schema.bind(tensors, |path| SequenceLearner::new(path, self))
    }

    fn check(&self) -> Result<()> {
        for (field, size) in [("d_model", self.d_model), ("n_layer", self.n_layer)] {
            check_size(field, size)?;
        }
        self.selectivity.as_ref().map_or(Ok(()), |selectivity| selectivity.check(self.n_layer))
    }

    /// The association that the regulariser wants of each layer.
    fn associations(&self) -> Vec<Option<Association>> {
        match self.selectivity.as_ref().filter(|selectivity| selectivity.weight > 0.0) {
            Some(selectivity) => selectivity.associations(self.n_layer),
            None => self.no_associations(),
        }
    }

    fn no_associations(&self) -> Vec<Option<Association>> {
        vec![None; self.n_layer as usize]
    }
}

/// What reading a stream in training leaves for its queries and the regulariser. It grows with the
/// stream and is no part of the state.
pub struct Trace {
    /// The moments of the encoder's norms, which queries are normalised with.
    pub moments: Vec<Moments>,
    /// What the tokens are found by, for each layer that the regulariser looks at.
    pub keys: Vec<Option<Keys>>,
}

/// Answers to queries.
pub struct Prediction {
    /// Logits by label, (batch, Q, vocab), or vectors, (batch, Q, dim).
    pub output: Tensor,
    /// What the queries look for, for each layer that the regulariser looks at; in training.
    pub queries: Vec<Option<Queries>>,
}

/// A sequence learner with its tensors bound.
pub struct SequenceLearner {
    config: SequenceConfig,
    encoder: Encoder,
    target: Target,
    backbone: Backbone,
}

impl SequenceLearner {
    /// Binds all tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &SequenceConfig) -> Result<Self> {
        Ok(Self {
            config: config.clone(),
            encoder: Encoder::new(&path.sub("encoder"), &config.encoder, config.d_model)?,
            target: Target::new(path, &config.target, config.d_model)?,
            backbone: Backbone::new(&path.sub("backbone"), &config.mixer, config.d_model, config.n_layer)?,
        })
    }

    /// The settings.
    pub fn config(&self) -> &SequenceConfig {
        &self.config
    }

    /// The names of a layer's state tensors, in order.
    pub fn state_names(&self) -> &'static [&'static str] {
        self.backbone.state_names()
    }

    /// The state before any example. A classifier takes a codebook, int64 (batch, vocab), which also
    /// says the batch; another learner the batch alone.
    ///
    /// # Errors
    /// When a classifier has no codebook, or it is not a permutation in each row.
    pub fn initial_state(&self, batch: i64, codebook: Option<&Tensor>) -> Result<State> {
        let op = "init_state";
        if batch < 1 {
            let (expected, got) = ("at least 1".into(), batch.to_string());
            return Err(Error::Value { op, argument: "batch".into(), expected, got });
        }
        let labels = match (self.config.target.vocab(), codebook) {
            (Some(vocab), Some(codebook)) => {
                validate::codebook(op, "codebook", codebook, vocab, self.target.options().1)?;
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
        Ok(State { examples: 0, labels, layers: self.backbone.initial_states(batch) })
    }

    /// Reads examples in order: x (batch, n, input shape...), y labels int64 (batch, n) or vectors
    /// (batch, n, dim). Reading at once, in pieces or one by one comes to the same.
    ///
    /// # Errors
    /// When shapes, element types, devices or labels do not fit.
    pub fn observe(&self, state: &State, x: &Tensor, y: &Tensor) -> Result<State> {
        self.check_examples(state, x, y)?;
        let inputs = self.encoder.encode(x, Statistics::Running)?;
        Ok(self.read(state, &inputs, y, &self.config.no_associations())?.0)
    }

    /// As [`SequenceLearner::observe`], for training: the encoder normalises with the moments of
    /// these examples and updates its running ones, and the trace goes to the queries.
    ///
    /// # Errors
    /// As [`SequenceLearner::observe`].
    pub fn observe_traced(&self, state: &State, x: &Tensor, y: &Tensor) -> Result<(State, Trace)> {
        self.check_examples(state, x, y)?;
        let mut moments = Vec::new();
        let inputs = self.encoder.encode(x, Statistics::Batch(&mut moments))?;
        let (state, keys) = self.read(state, &inputs, y, &self.config.associations())?;
        Ok((state, Trace { moments, keys }))
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
        let (statistics, associations) = match trace {
            Some(trace) => (Statistics::recorded(&trace.moments), self.config.associations()),
            None => (Statistics::Running, self.config.no_associations()),
        };
        let inputs = self.encoder.encode(x, statistics)?;
        let (outputs, queries) = self.backbone.answer(&inputs, &state.layers, &associations)?;
        let mut output = self.target.answer(&outputs);
        if let Some(labels) = &state.labels {
            // From logits of symbols to logits of labels.
            let size = output.size();
            let symbols = labels.codebook.unsqueeze(1).expand(&size[..], false);
            output = output.gather(2, &symbols, false);
        }
        Ok(Prediction { output, queries })
    }

    fn check_examples(&self, state: &State, x: &Tensor, y: &Tensor) -> Result<()> {
        let op = "observe";
        self.check_state(op, state)?;
        let batch = state.batch();
        validate::inputs(op, x, batch, &self.encoder.input_shape(), self.target.options())?;
        self.check_targets(op, y, batch, x.size()[1])
    }

    /// Checks that a state is one of this learner's.
    fn check_state(&self, op: &'static str, state: &State) -> Result<()> {
        let names = self.state_names();
        let initial = self.backbone.initial_states(1);
        let complete = state.layers.iter().all(|layer| layer.0.len() == names.len());
        if state.layers.len() != initial.len() || !complete {
            let reason = format!("must hold {} layers of {names:?}", initial.len());
            return Err(Error::Config { field: "state".into(), reason });
        }
        let device = self.target.options().1;
        match (self.config.target.vocab(), &state.labels) {
            (Some(vocab), Some(Labels { codebook, seen })) => {
                validate::codebook(op, "state.codebook", codebook, vocab, device)?;
                let like = Tensor::zeros([1, vocab], (Kind::Bool, device));
                validate::of_state(op, "state.seen", seen, &like, codebook.size()[0])?;
            }
            (None, None) => {}
            (vocab, _) => {
                let kind = if vocab.is_some() { "labels" } else { "no labels" };
                let reason = format!("must hold {kind}, as the learner's target");
                return Err(Error::Config { field: "state".into(), reason });
            }
        }
        let batch = state.batch();
        for (index, (layer, like)) in state.layers.iter().zip(&initial).enumerate() {
            for ((name, tensor), like) in names.iter().zip(&layer.0).zip(&like.0) {
                let argument = format!("state.layers[{index}].{name}");
                validate::of_state(op, &argument, tensor, like, batch)?;
            }
        }
        Ok(())
    }

    /// Checks queries of `batch` streams.
    ///
    /// # Errors
    /// When the shape, element type or device does not fit, or an input is not finite.
    pub fn check_queries(&self, x: &Tensor, batch: i64) -> Result<()> {
        validate::inputs("predict", x, batch, &self.encoder.input_shape(), self.target.options())
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
        let options = self.target.options();
        match self.config.target.vocab() {
            Some(vocab) => validate::labels(op, y, [batch, n], vocab, options.1),
            None => validate::vectors(op, y, [batch, n, self.config.target.width()], options),
        }
    }

    /// Reads encoded examples, (batch, n, d_model), with their targets.
    fn read(
        &self,
        state: &State,
        inputs: &Tensor,
        y: &Tensor,
        associations: &[Option<Association>],
    ) -> Result<(State, Vec<Option<Keys>>)> {
        let (labels, tokens) = match &state.labels {
            Some(labels) => {
                let symbols = labels.codebook.gather(1, y, false);
                (Some(labels.with(y)), self.target.embed(&symbols))
            }
            None => (None, self.target.embed(y)),
        };
        // x_1, y_1, x_2, y_2, …: (batch, 2n, d_model)
        let stream = Tensor::stack(&[inputs, &tokens], 2).flatten(1, 2);
        let (layers, keys) = self.backbone.observe(stream, &state.layers, associations)?;
        let examples = state.examples + y.size()[1];
        Ok((State { examples, labels, layers }, keys))
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
