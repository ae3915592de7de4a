//! A trained learner as a file.

use super::bytes::Raw;
use super::container::{self, Holds, Unpacked};
use super::fingerprint::{INITIAL_DECAY, fingerprint, of_raw};
use crate::disk;
use crate::error::{Error, Result};
use crate::learners::{Learner, LearnerConfig};
use crate::ops::kind_name;
use crate::params::Schema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;
use tch::{Kind, Tensor};

/// The element types of a model.
const DTYPES: [Kind; 4] = [Kind::Float, Kind::Double, Kind::Half, Kind::BFloat16];

/// What the file of a learner says of it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    /// Its kind.
    learner: String,
    /// The element type of its tensors.
    dtype: String,
    /// Its fingerprint.
    model: String,
    /// Its settings, nothing left out.
    config: Value,
}

impl Facts {
    /// The settings. Where a file has no initial decay it was written before there was a choice: the decay was
    /// that published.
    fn settings(&self) -> Result<LearnerConfig> {
        let config = LearnerConfig::from_json(&self.config.to_string())?;
        let mut whole: Value = serde_json::from_str(&config.to_json()?).unwrap_or_default();
        let decay = &mut whole["mixer"][INITIAL_DECAY];
        if decay.is_null() || !self.config["mixer"][INITIAL_DECAY].is_null() {
            return Ok(config);
        }
        *decay = json!("published");
        LearnerConfig::from_json(&whole.to_string())
    }
}

/// A learner's settings with the tensors they need, in the schema's order.
pub struct Model {
    /// The settings.
    pub config: LearnerConfig,
    /// What the settings need.
    pub schema: Schema,
    /// Parameters and buffers.
    pub tensors: Vec<Tensor>,
}

impl Model {
    /// The learner, which shares the tensors.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit.
    pub fn bind(&self) -> Result<Learner> {
        self.config.bind(&self.schema, &self.tensors)
    }

    /// As [`fingerprint`].
    ///
    /// # Errors
    /// As there.
    pub fn fingerprint(&self) -> Result<String> {
        fingerprint(&self.config, &self.schema, &self.tensors)
    }

    /// The bytes of its file.
    ///
    /// # Errors
    /// When tensors are missing, do not fit, or have more than one element type.
    pub fn pack(&self) -> Result<Vec<u8>> {
        self.bind()?; // that each tensor is there, and as it must be
        let specs = self.schema.specs().iter();
        let named = specs
            .zip(&self.tensors)
            .map(|(spec, tensor)| Ok((spec.name.clone(), Raw::of(&spec.name, tensor)?)));
        let named = named.collect::<Result<Vec<_>>>()?;
        let kind = named.first().map_or(Kind::Float, |(_, raw)| raw.kind);
        if let Some((name, raw)) = named.iter().find(|(_, raw)| raw.kind != kind || !DTYPES.contains(&kind)) {
            let expected = format!("that of the other tensors, {}", kind_name(kind));
            let got = kind_name(raw.kind).into();
            return Err(Error::Dtype { op: "save_learner", argument: name.clone(), expected, got });
        }
        let facts = Facts {
            learner: self.config.kind().into(),
            dtype: kind_name(kind).into(),
            model: of_raw(&self.config, named.iter().map(|(name, raw)| (name.as_str(), raw)))?,
            config: serde_json::from_str(&self.config.to_json()?).unwrap_or_default(),
        };
        container::pack(Holds::Learner, &facts, &named)
    }

    /// Writes its file, whole or not at all, and only if it can be read again; one that was there is replaced.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written, and as [`Model::pack`] and [`Model::unpack`].
    pub fn write(&self, path: &Path) -> Result<()> {
        let name = path.display().to_string();
        disk::write(path, &self.pack()?, |back| Self::unpack(&name, back).map(drop))
    }

    /// Reads the file of a learner.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, and as [`Model::unpack`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::unpack(&path.display().to_string(), &disk::read(path)?)
    }

    /// Reads the bytes of a learner's file; `file` is its name, for messages. Tensors are on the CPU.
    ///
    /// # Errors
    /// [`Error::File`] when it is damaged, of a newer format, or does not hold what its settings need.
    pub fn unpack(file: &str, bytes: &[u8]) -> Result<Self> {
        let unpacked = container::unpack::<Facts>(file, Holds::Learner, bytes)?;
        let facts = &unpacked.facts;
        let settings = |error: Error| unpacked.refused(format!("holds settings that make no sense: {error}"));
        let config = facts.settings().map_err(settings)?;
        if config.state_layers() > unpacked.len() {
            let layers = config.state_layers();
            let got = unpacked.len();
            return Err(unpacked.refused(format!("must hold the tensors of {layers} layers, got {got}")));
        }
        let schema = config.schema().map_err(settings)?;
        let tensors = Self::tensors(&unpacked, &schema)?;
        let model = Self { config, schema, tensors };
        model.bind().map_err(settings)?;
        let (said, is) = (&model.config.kind(), &facts.learner);
        if said != is {
            return Err(unpacked.refused(format!("must hold a learner of kind {said:?}, got {is:?}")));
        }
        let is = model.fingerprint()?;
        if is != facts.model {
            let said = &facts.model;
            return Err(unpacked.refused(format!("must hold the model of fingerprint {said}, got {is}")));
        }
        Ok(model)
    }

    fn tensors(unpacked: &Unpacked<Facts>, schema: &Schema) -> Result<Vec<Tensor>> {
        let dtype = &unpacked.facts.dtype;
        let Some(kind) = DTYPES.into_iter().find(|&kind| kind_name(kind) == dtype) else {
            return Err(unpacked.refused(format!("must be of a floating dtype, got {dtype:?}")));
        };
        let (needed, got) = (schema.specs().len(), unpacked.len());
        if needed != got {
            return Err(
                unpacked.refused(format!("must hold the {needed} tensors of its settings, got {got}"))
            );
        }
        schema.specs().iter().map(|spec| unpacked.tensor(&spec.name, kind, &spec.shape)).collect()
    }
}
