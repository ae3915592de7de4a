//! A state as a file.

use super::Model;
use super::bytes::Raw;
use super::container::{self, Holds, Unpacked};
use crate::disk;
use crate::error::{Error, Result};
use crate::layer_state::{LayerState, StateSpec};
use crate::learners::{Labels, Learner, State};
use crate::ops::{kind_name, numbers, state_kind};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::{Kind, Tensor};

/// What the file of a state says of it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    /// The kind of its learner.
    learner: String,
    /// The element type of its memory.
    dtype: String,
    /// The fingerprint of its model.
    model: String,
    /// How many streams it is of.
    streams: i64,
}

/// A state, and how much each of its streams has read.
#[derive(Debug)]
pub struct SavedState {
    /// The state; its `examples` are those of the stream that has read the fewest.
    pub state: State,
    /// Examples that each stream has read.
    pub counts: Vec<i64>,
}

impl SavedState {
    /// A state whose streams have all read as much.
    pub fn uniform(state: State) -> Self {
        let counts = vec![state.examples; usize::try_from(state.batch()).unwrap_or(0)];
        Self { state, counts }
    }

    /// The bytes of its file, for the model it is of.
    ///
    /// # Errors
    /// When the state does not fit the model, or the counts do not fit the state.
    pub fn pack(&self, model: &Model) -> Result<Vec<u8>> {
        let learner = model.bind()?;
        self.check("save_state", &learner)?;
        let mut named = vec![("examples".to_owned(), Raw::numbers(&self.counts))];
        let mut add = |name: String, tensor: &Tensor| -> Result<()> {
            let raw = Raw::of(&name, tensor)?;
            named.push((name, raw));
            Ok(())
        };
        if let Some(Labels { codebook, seen }) = &self.state.labels {
            add("codebook".into(), codebook)?;
            add("seen".into(), seen)?;
        }
        for (index, (layer, specs)) in self.state.layers.iter().zip(learner.state_specs()).enumerate() {
            for (spec, tensor) in specs.iter().zip(&layer.0) {
                add(name(index, spec), tensor)?;
            }
        }
        let facts = Facts {
            learner: model.config.kind().into(),
            dtype: kind_name(memory_kind(model)?).into(),
            model: model.fingerprint()?,
            streams: self.state.batch(),
        };
        container::pack(Holds::State, &facts, &named)
    }

    /// Writes its file for the model it is of, whole or not at all, and only if it can be read again; one that was there
    /// is replaced.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written, and as [`SavedState::pack`] and [`SavedState::unpack`].
    pub fn write(&self, path: &Path, model: &Model) -> Result<()> {
        let name = path.display().to_string();
        disk::write(path, &self.pack(model)?, |back| Self::unpack(&name, back, model).map(drop))
    }

    /// Reads the file of a state.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, and as [`SavedState::unpack`].
    pub fn read(path: &Path, model: &Model) -> Result<Self> {
        Self::unpack(&path.display().to_string(), &disk::read(path)?, model)
    }

    /// Reads the bytes of a state's file; `file` is its name, for messages. Its tensors lie where the
    /// model's do.
    ///
    /// # Errors
    /// [`Error::File`] when it is damaged, of a newer format, of another model, or no state of this one.
    pub fn unpack(file: &str, bytes: &[u8], model: &Model) -> Result<Self> {
        let unpacked = container::unpack::<Facts>(file, Holds::State, bytes)?;
        let facts = &unpacked.facts;
        let is = model.fingerprint()?;
        if facts.model != is {
            let said = &facts.model;
            return Err(unpacked.refused(format!(
                "must be a state of this model, whose fingerprint is {is}, got one of {said}"
            )));
        }
        let kind = memory_kind(model)?;
        if (facts.learner.as_str(), facts.dtype.as_str()) != (model.config.kind(), kind_name(kind)) {
            let (want, dtype) = (model.config.kind(), kind_name(kind));
            let got = format!("{:?} and {:?}", facts.learner, facts.dtype);
            return Err(unpacked.refused(format!("must be of a {want} learner and {dtype}, got {got}")));
        }
        let learner = model.bind()?;
        let saved = Self::tensors(&unpacked, model, &learner, kind)?;
        saved
            .check("load_state", &learner)
            .map_err(|error| unpacked.refused(format!("must hold a state of this learner: {error}")))?;
        Ok(saved)
    }

    fn tensors(unpacked: &Unpacked<Facts>, model: &Model, learner: &Learner, kind: Kind) -> Result<Self> {
        let streams = unpacked.facts.streams;
        let counts = unpacked.tensor("examples", Kind::Int64, &[streams])?;
        let counts = numbers(&counts, <[i64]>::to_vec).unwrap_or_default();
        let Some(&examples) = counts.iter().min() else {
            return Err(unpacked.refused("must be of at least 1 stream, got none".into()));
        };
        let device = model.tensors.first().map_or(tch::Device::Cpu, Tensor::device);
        let get = |name: &str, kind: Kind, size: &[i64]| {
            Ok::<_, Error>(unpacked.tensor(name, kind, size)?.f_to_device(device)?)
        };
        let labels = match model.config.target().vocab() {
            Some(vocab) => Some(Labels {
                codebook: get("codebook", Kind::Int64, &[streams, vocab])?,
                seen: get("seen", Kind::Bool, &[streams, vocab])?,
            }),
            None => None,
        };
        let specs = learner.state_specs();
        let tokens = learner.tokens(examples).ok_or_else(|| {
            unpacked.refused(format!("must hold numbers of examples that make sense, got {examples}"))
        })?;
        let layer = |(index, specs): (usize, &Vec<StateSpec>)| {
            let tensors = specs.iter().map(|spec| get(&name(index, spec), kind, &spec.size(streams, tokens)));
            Ok::<_, Error>(LayerState(tensors.collect::<Result<_>>()?))
        };
        let layers = specs.iter().enumerate().map(layer).collect::<Result<_>>()?;
        let needed = 1 + 2 * usize::from(labels.is_some()) + specs.iter().map(Vec::len).sum::<usize>();
        if unpacked.len() != needed {
            let got = unpacked.len();
            return Err(unpacked.refused(format!("must hold {needed} tensors, got {got}")));
        }
        Ok(Self { state: State { examples, labels, layers }, counts })
    }

    /// Checks the state, and that the counts are its.
    fn check(&self, op: &'static str, learner: &Learner) -> Result<()> {
        learner.check_state(op, &self.state)?;
        let refuse = |expected: String| {
            let got = format!("{} numbers, the least {:?}", self.counts.len(), self.counts.iter().min());
            Err(Error::Value { op, argument: "counts".into(), expected, got })
        };
        let (streams, least) = (self.state.batch(), self.state.examples);
        if self.counts.len() as i64 != streams || self.counts.iter().min() != Some(&least) {
            return refuse(format!("{streams} numbers of examples, the least {least}"));
        }
        if learner.config().uses_positions() && self.counts.iter().any(|&count| count != least) {
            return refuse(format!("{least} examples of each stream, as tokens have positions"));
        }
        Ok(())
    }
}

/// The name of a tensor of a layer.
fn name(layer: usize, spec: &StateSpec) -> String {
    format!("layers.{layer}.{}", spec.name)
}

/// The element type of a model's states.
fn memory_kind(model: &Model) -> Result<Kind> {
    let first = model.tensors.first().ok_or(Error::MissingParameter { name: "any".into() })?;
    Ok(state_kind(first.f_kind()?))
}
