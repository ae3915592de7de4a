//! Learners through the doorway: its settings live here, its tensors come with each call.

use super::errors::{caught, detached};
use super::tensor::PyTensor;
use crate::encoder::{EncoderConfig, Moments};
use crate::error::Result;
use crate::files::Model;
use crate::layer_state::StateSpec;
use crate::learners::{self, LearnerConfig, State, Trace};
use crate::meta::{self, Episode};
use crate::mixers::{Keys, Similarity};
use crate::params::{Role, Schema};
use crate::settings;
use pyo3::prelude::*;
use tch::Tensor;

/// The settings and the schema of a learner.
#[pyclass(frozen)]
pub struct Learner {
    config: LearnerConfig,
    schema: Schema,
}

/// A state: the number of examples and the tensors.
pub(super) type PyState = (i64, Vec<PyTensor>);
/// What a layer's state is made of: name and axes of each tensor.
type PyLayerSpec = Vec<(&'static str, Vec<i64>)>;
/// Features, log weights, and whether features are positive, so that logits are logarithms.
type PyKeys = (PyTensor, Option<PyTensor>, bool);
/// A trace: mean and variance of each norm; the keys of each layer that has any; the auxiliary loss.
type PyTrace = (Vec<(PyTensor, PyTensor)>, Vec<Option<PyKeys>>, Option<PyTensor>);
/// Loss, objective, penalty, output, accuracy and whole-vocabulary accuracy.
type PyOutcome = (PyTensor, PyTensor, Option<PyTensor>, PyTensor, Option<PyTensor>, Option<PyTensor>);

/// The tensors of an episode, in the order of `mambacl.Episode`.
type EpisodeTensors =
    (PyTensor, PyTensor, PyTensor, PyTensor, Option<PyTensor>, Option<PyTensor>, Option<PyTensor>);

pub(super) fn plain(tensors: Vec<PyTensor>) -> Vec<Tensor> {
    tensors.into_iter().map(|tensor| tensor.0).collect()
}

pub(super) fn to_python(state: &State) -> PyState {
    let tensors = state.tensors().into_iter().map(|tensor| PyTensor(tensor.shallow_clone()));
    (state.examples, tensors.collect())
}

fn trace_to_python(trace: Trace) -> PyTrace {
    let moments = trace.moments.into_iter().map(|m| (PyTensor(m.mean), PyTensor(m.variance)));
    let keys = trace.keys.into_iter().map(|keys| {
        keys.map(|keys| {
            let positive = keys.similarity == Similarity::LogInnerProduct;
            (PyTensor(keys.features), keys.log_weight.map(PyTensor), positive)
        })
    });
    (moments.collect(), keys.collect(), trace.auxiliary.map(PyTensor))
}

fn trace_from_python((moments, keys, auxiliary): PyTrace) -> Trace {
    let moments = moments.into_iter().map(|(mean, variance)| Moments { mean: mean.0, variance: variance.0 });
    let keys = keys.into_iter().map(|keys| {
        keys.map(|(features, weight, positive)| Keys {
            features: features.0,
            log_weight: weight.map(|weight| weight.0),
            similarity: if positive { Similarity::LogInnerProduct } else { Similarity::InnerProduct },
        })
    });
    Trace { moments: moments.collect(), keys: keys.collect(), auxiliary: auxiliary.map(|loss| loss.0) }
}

impl Learner {
    fn bind(&self, tensors: &[Tensor]) -> Result<learners::Learner> {
        self.config.bind(&self.schema, tensors)
    }

    /// The settings with tensors lent to them.
    pub(super) fn model(&self, tensors: Vec<PyTensor>) -> Model {
        Model { config: self.config.clone(), schema: self.schema.clone(), tensors: plain(tensors) }
    }

    pub(super) fn state(&self, (examples, tensors): PyState) -> Result<State> {
        let classifier = self.config.target().vocab().is_some();
        State::from_tensors(examples, plain(tensors), classifier, self.config.state_layers())
    }
}

#[pymethods]
impl Learner {
    /// Reads the settings from JSON.
    #[new]
    fn new(py: Python<'_>, config: &str) -> PyResult<Self> {
        caught(py, || {
            let config = LearnerConfig::from_json(config)?;
            let schema = config.schema()?;
            Ok(Self { config, schema })
        })
    }

    /// All settings as JSON, those that were left out included.
    fn config(&self, py: Python<'_>) -> PyResult<String> {
        caught(py, || self.config.to_json())
    }

    /// Whether tokens have positions.
    fn uses_positions(&self) -> bool {
        self.config.uses_positions()
    }

    /// Name and axes after the batch of each tensor of each layer's state; -1 for an axis that grows.
    fn state_specs(&self, py: Python<'_>, tensors: Vec<PyTensor>) -> PyResult<Vec<PyLayerSpec>> {
        detached(py, move || {
            let specs = self.bind(&plain(tensors))?.state_specs();
            let layer =
                |specs: Vec<StateSpec>| specs.into_iter().map(|spec| (spec.name, spec.shape)).collect();
            Ok(specs.into_iter().map(layer).collect())
        })
    }

    /// Name, shape and role ("decayed", "undecayed" or "buffer") of each tensor, in order.
    fn schema(&self) -> Vec<(String, Vec<i64>, &'static str)> {
        let role = |role| match role {
            Role::Decayed => "decayed",
            Role::Undecayed => "undecayed",
            Role::Buffer => "buffer",
        };
        let specs = self.schema.specs().iter();
        specs.map(|spec| (spec.name.clone(), spec.shape.clone(), role(spec.role))).collect()
    }

    /// First values of all tensors.
    fn initial(&self, py: Python<'_>, seed: u64) -> PyResult<Vec<PyTensor>> {
        detached(py, || Ok(self.schema.initial(seed).into_iter().map(PyTensor).collect()))
    }

    #[pyo3(signature = (tensors, batch, codebook, draw))]
    fn initial_state(
        &self,
        py: Python<'_>,
        tensors: Vec<PyTensor>,
        batch: i64,
        codebook: Option<PyTensor>,
        draw: u64,
    ) -> PyResult<PyState> {
        detached(py, move || {
            let learner = self.bind(&plain(tensors))?;
            let codebook = codebook.as_ref().map(|codebook| &codebook.0);
            Ok(to_python(&learner.initial_state(batch, codebook, draw)?))
        })
    }

    fn observe(
        &self,
        py: Python<'_>,
        tensors: Vec<PyTensor>,
        state: PyState,
        x: PyTensor,
        y: PyTensor,
    ) -> PyResult<PyState> {
        detached(py, move || {
            let learner = self.bind(&plain(tensors))?;
            Ok(to_python(&learner.observe(&self.state(state)?, &x.0, &y.0)?))
        })
    }

    fn observe_traced(
        &self,
        py: Python<'_>,
        tensors: Vec<PyTensor>,
        state: PyState,
        x: PyTensor,
        y: PyTensor,
    ) -> PyResult<(PyState, PyTrace)> {
        detached(py, move || {
            let learner = self.bind(&plain(tensors))?;
            let (state, trace) = learner.observe_traced(&self.state(state)?, &x.0, &y.0)?;
            Ok((to_python(&state), trace_to_python(trace)))
        })
    }

    #[pyo3(signature = (tensors, state, x, trace))]
    fn predict(
        &self,
        py: Python<'_>,
        tensors: Vec<PyTensor>,
        state: PyState,
        x: PyTensor,
        trace: Option<PyTrace>,
    ) -> PyResult<PyTensor> {
        detached(py, move || {
            let learner = self.bind(&plain(tensors))?;
            let trace = trace.map(trace_from_python);
            let prediction = learner.predict(&self.state(state)?, &x.0, trace.as_ref())?;
            Ok(PyTensor(prediction.output))
        })
    }

    /// The association of queries with the tokens of a traced stream, (batch, heads, Q, tokens), for
    /// each layer that has keys.
    fn associate(
        &self,
        py: Python<'_>,
        tensors: Vec<PyTensor>,
        state: PyState,
        x: PyTensor,
        trace: PyTrace,
    ) -> PyResult<Vec<Option<PyTensor>>> {
        detached(py, move || {
            let learner = self.bind(&plain(tensors))?;
            let trace = trace_from_python(trace);
            let prediction = learner.predict(&self.state(state)?, &x.0, Some(&trace))?;
            let layers = prediction.queries.iter().zip(&trace.keys);
            let softmax = |logits: Tensor| PyTensor(logits.softmax(-1, None::<tch::Kind>));
            Ok(layers
                .map(|(queries, keys)| Some(softmax(queries.as_ref()?.logits(keys.as_ref()?))))
                .collect())
        })
    }

    /// The objective of answers.
    fn loss(&self, py: Python<'_>, output: PyTensor, y: PyTensor) -> PyResult<PyTensor> {
        detached(py, move || Ok(PyTensor(self.config.target().loss(&output.0, &y.0))))
    }

    #[pyo3(signature = (tensors, episode, step))]
    fn run(
        &self,
        py: Python<'_>,
        tensors: Vec<PyTensor>,
        episode: EpisodeTensors,
        step: Option<i64>,
    ) -> PyResult<PyOutcome> {
        detached(py, move || {
            let learner = self.bind(&plain(tensors))?;
            let optional = |tensor| Option::as_ref(tensor).map(|tensor: &PyTensor| &tensor.0);
            let episode = Episode {
                train_x: &episode.0.0,
                train_y: &episode.1.0,
                test_x: &episode.2.0,
                test_y: &episode.3.0,
                codebook: optional(&episode.4),
                train_task: optional(&episode.5),
                test_task: optional(&episode.6),
            };
            let outcome = meta::run(&learner, &episode, step)?;
            Ok((
                PyTensor(outcome.loss),
                PyTensor(outcome.objective),
                outcome.penalty.map(PyTensor),
                PyTensor(outcome.output),
                outcome.accuracy.map(PyTensor),
                outcome.vocabulary_accuracy.map(PyTensor),
            ))
        })
    }
}

/// Codebooks of `batch` streams, int64 (batch, vocab).
#[pyfunction]
pub fn draw_codebook(py: Python<'_>, vocab: i64, seed: u64, batch: i64) -> PyResult<PyTensor> {
    detached(py, || Ok(PyTensor(crate::codebook::draw(vocab, seed, batch)?)))
}

/// The shape of one input of an encoder, whose settings are JSON.
#[pyfunction]
pub fn encoder_input_shape(encoder: &str) -> PyResult<Vec<i64>> {
    Ok(settings::read::<EncoderConfig>(encoder)?.settings().input_shape())
}

/// The JSON schemas of a learner's settings.
#[pyfunction]
pub fn settings_schema() -> String {
    learners::settings_schema()
}
