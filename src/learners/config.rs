//! The learners by name, with their settings.

use super::Learner;
use super::anml::{Anml, AnmlConfig};
use super::bayes::{Bayes, BayesConfig};
use super::gemcl::{Gemcl, GemclConfig};
use super::memory::Memory;
use super::oml::{Oml, OmlConfig};
use super::prototype::{Prototype, PrototypeConfig};
use super::sequence::{Sequence, SequenceConfig};
use crate::encoder::EncoderConfig;
use crate::error::{Error, Result, check_size};
use crate::params::{Path, Schema};
use crate::selectivity::SelectivityConfig;
use crate::settings;
use crate::target::TargetConfig;
use serde_json::{Value, json};
use tch::Tensor;

/// The settings of a learner, by its kind.
#[derive(Debug, Clone)]
pub enum LearnerConfig {
    /// A sequence model that reads the stream: MambaCL, Transformers and their like.
    Sequence(SequenceConfig),
    /// Class means of a learned encoder (arXiv:1703.05175).
    Prototype(PrototypeConfig),
    /// A Gaussian for each class, its precision under a learned prior.
    Gemcl(GemclConfig),
    /// A Gaussian belief about a latent variable (arXiv:2405.18758).
    Bayes(BayesConfig),
    /// A slow encoder and a fast network above it (arXiv:1905.12588).
    Oml(OmlConfig),
    /// A fast network, gated by a slow one (arXiv:2002.09571).
    Anml(AnmlConfig),
}

/// Calls with the settings of whatever kind.
macro_rules! each {
    ($config:expr, $name:ident => $value:expr) => {
        match $config {
            LearnerConfig::Sequence($name) => $value,
            LearnerConfig::Prototype($name) => $value,
            LearnerConfig::Gemcl($name) => $value,
            LearnerConfig::Bayes($name) => $value,
            LearnerConfig::Oml($name) => $value,
            LearnerConfig::Anml($name) => $value,
        }
    };
}

impl LearnerConfig {
    const KINDS: [&str; 6] = ["sequence", "prototype", "gemcl", "bayes", "oml", "anml"];

    /// Reads settings from JSON; without a `kind` they are a sequence learner's.
    ///
    /// # Errors
    /// As [`settings::read`].
    pub fn from_json(json: &str) -> Result<Self> {
        // Not serde's tagged enums: within one, an error has lost its place.
        let mut table: Value = settings::read(json)?;
        let kind = table.as_object_mut().and_then(|table| table.remove("kind"));
        let json = table.to_string();
        match kind.as_ref().unwrap_or(&json!("sequence")).as_str() {
            Some("sequence") => settings::read(&json).map(Self::Sequence),
            Some("prototype") => settings::read(&json).map(Self::Prototype),
            Some("gemcl") => settings::read(&json).map(Self::Gemcl),
            Some("bayes") => settings::read(&json).map(Self::Bayes),
            Some("oml") => settings::read(&json).map(Self::Oml),
            Some("anml") => settings::read(&json).map(Self::Anml),
            _ => Err(settings::unknown("kind", &kind.unwrap_or_default().to_string(), &Self::KINDS)),
        }
    }

    /// All settings as JSON, those that were left out included.
    ///
    /// # Errors
    /// When a number is not finite.
    pub fn to_json(&self) -> Result<String> {
        let refuse =
            |error: serde_json::Error| Error::Config { field: "model".into(), reason: error.to_string() };
        let mut table = each!(self, config => serde_json::to_value(config)).map_err(refuse)?;
        table["kind"] = json!(self.kind());
        Ok(table.to_string())
    }

    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sequence(_) => "sequence",
            Self::Prototype(_) => "prototype",
            Self::Gemcl(_) => "gemcl",
            Self::Bayes(_) => "bayes",
            Self::Oml(_) => "oml",
            Self::Anml(_) => "anml",
        }
    }

    /// Numbers in an encoded input.
    pub fn d_model(&self) -> i64 {
        each!(self, config => config.d_model)
    }

    /// From inputs to `d_model` numbers.
    pub fn encoder(&self) -> &EncoderConfig {
        each!(self, config => &config.encoder)
    }

    /// What examples are labelled with.
    pub fn target(&self) -> &TargetConfig {
        each!(self, config => &config.target)
    }

    /// The regulariser of meta-training, of learners that have one.
    pub fn selectivity(&self) -> Option<&SelectivityConfig> {
        match self {
            Self::Sequence(config) => config.selectivity.as_ref(),
            _ => None,
        }
    }

    /// Parts that the state has: a sequence learner's layers, or those of fast weights.
    pub fn state_layers(&self) -> usize {
        match self {
            Self::Sequence(config) => config.n_layer as usize,
            Self::Oml(config) => config.hidden.len() + 1,
            Self::Anml(config) => config.hidden().len() + 1,
            _ => 1,
        }
    }

    /// The parameters and buffers of the model.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn schema(&self) -> Result<Schema> {
        check_size("d_model", self.d_model())?;
        let schema = Schema::of(|path| Learner::new(path, self))?;
        let numbers: i64 = schema.specs().iter().map(|spec| spec.shape.iter().product::<i64>()).sum();
        log::debug!("a {} learner of {} tensors, {numbers} numbers", self.kind(), schema.specs().len());
        Ok(schema)
    }

    /// Binds a learner to lent tensors, in the schema's order.
    ///
    /// # Errors
    /// When tensors are missing or do not fit.
    pub fn bind(&self, schema: &Schema, tensors: &[Tensor]) -> Result<Learner> {
        schema.bind(tensors, |path| Learner::new(path, self))
    }

    /// Binds all but the encoder.
    pub(super) fn build(&self, path: &Path) -> Result<Box<dyn Memory>> {
        Ok(match self {
            Self::Sequence(config) => Box::new(Sequence::new(path, config)?),
            Self::Prototype(config) => Box::new(Prototype::new(path, config)?),
            Self::Gemcl(config) => Box::new(Gemcl::new(path, config)?),
            Self::Bayes(config) => Box::new(Bayes::new(path, config)?),
            Self::Oml(config) => Box::new(Oml::new(path, config)?),
            Self::Anml(config) => Box::new(Anml::new(path, config)?),
        })
    }
}

impl From<SequenceConfig> for LearnerConfig {
    fn from(config: SequenceConfig) -> Self {
        Self::Sequence(config)
    }
}
