//! The learners by name, with their settings. A new kind is a line of `kinds!`; its settings have `d_model`,
//! `encoder` and `target`, as all have.

use super::Learner;
use super::anml::AnmlConfig;
use super::bayes::BayesConfig;
use super::gemcl::GemclConfig;
use super::memory::{Memory, MemorySettings};
use super::oml::OmlConfig;
use super::prototype::PrototypeConfig;
use super::sequence::SequenceConfig;
use crate::encoder::EncoderConfig;
use crate::error::{Error, Result, check_size};
use crate::mixers::InitialDecay;
use crate::params::{Path, Schema};
use crate::selectivity::SelectivityConfig;
use crate::settings;
use crate::target::TargetConfig;
use serde_json::{Value, json};
use tch::Tensor;

/// The kind of settings that name none.
const USUAL_KIND: &str = "sequence";

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident($config:ident) = $name:literal;)*) => {
        /// The settings of a learner, by its kind.
        #[derive(Debug, Clone)]
        pub enum LearnerConfig {
            $($(#[$doc])* $kind($config),)*
        }

        impl LearnerConfig {
            /// The name of its kind.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $name,)*
                }
            }

            /// Numbers in an encoded input.
            pub fn d_model(&self) -> i64 {
                match self {
                    $(Self::$kind(config) => config.d_model,)*
                }
            }

            /// From inputs to `d_model` numbers.
            pub fn encoder(&self) -> &EncoderConfig {
                match self {
                    $(Self::$kind(config) => &config.encoder,)*
                }
            }

            /// What examples are labelled with.
            pub fn target(&self) -> &TargetConfig {
                match self {
                    $(Self::$kind(config) => &config.target,)*
                }
            }

            fn settings(&self) -> &dyn MemorySettings {
                match self {
                    $(Self::$kind(config) => config,)*
                }
            }

            fn read(kind: &str, json: &str) -> Result<Self> {
                match kind {
                    $($name => settings::read(json).map(Self::$kind),)*
                    other => Err(settings::unknown("kind", other, &[$($name),*])),
                }
            }

            fn to_value(&self) -> serde_json::Result<Value> {
                match self {
                    $(Self::$kind(config) => serde_json::to_value(config),)*
                }
            }
        }

        $(impl From<$config> for LearnerConfig {
            fn from(config: $config) -> Self {
                Self::$kind(config)
            }
        })*
    };
}

kinds! {
    /// A sequence model that reads the stream: MambaCL, Transformers and their like.
    Sequence(SequenceConfig) = "sequence";
    /// Class means of a learned encoder (arXiv:1703.05175).
    Prototype(PrototypeConfig) = "prototype";
    /// A Gaussian for each class, its precision under a learned prior.
    Gemcl(GemclConfig) = "gemcl";
    /// A Gaussian belief about a latent variable (arXiv:2405.18758).
    Bayes(BayesConfig) = "bayes";
    /// A slow encoder and a fast network above it (arXiv:1905.12588).
    Oml(OmlConfig) = "oml";
    /// A fast network, gated by a slow one (arXiv:2002.09571).
    Anml(AnmlConfig) = "anml";
}

impl LearnerConfig {
    /// Reads settings from JSON; without a `kind` they are a sequence learner's.
    ///
    /// # Errors
    /// As [`settings::read`].
    pub fn from_json(json: &str) -> Result<Self> {
        // Not serde's tagged enums: within one, an error has lost its place.
        let mut table: Value = settings::read(json)?;
        let kind = table.as_object_mut().and_then(|table| table.remove("kind"));
        let kind = kind.unwrap_or(json!(USUAL_KIND));
        let told = kind.to_string();
        Self::read(kind.as_str().unwrap_or(&told), &table.to_string())
    }

    /// All settings as JSON, those that were left out included.
    ///
    /// # Errors
    /// When a number is not finite.
    pub fn to_json(&self) -> Result<String> {
        let mut table = self.to_value().map_err(|error| {
            let reason = error.to_string();
            Error::Config { field: "model".into(), reason }
        })?;
        table["kind"] = json!(self.kind());
        Ok(table.to_string())
    }

    /// The regulariser of meta-training, of learners that have one.
    pub fn selectivity(&self) -> Option<&SelectivityConfig> {
        self.settings().selectivity()
    }

    /// How fast states decay before training, of learners with a mixer whose states do.
    pub(crate) fn initial_decay_mut(&mut self) -> Option<&mut InitialDecay> {
        match self {
            Self::Sequence(config) => config.mixer.initial_decay_mut(),
            _ => None,
        }
    }

    /// Whether tokens are told their positions: the streams of a state must then have read as many.
    pub fn tells_positions(&self) -> bool {
        self.settings().tells_positions()
    }

    /// Parts that the state has: a sequence learner's layers, or those of fast weights.
    pub fn state_layers(&self) -> usize {
        self.settings().state_layers()
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
        self.settings().build(path)
    }
}
