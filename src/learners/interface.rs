//! What every learner has at its edges: inputs as numbers, and targets.

use crate::encoder::EncoderConfig;
use crate::settings::ranges::Size;
use crate::target::TargetConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings that all kinds of learners share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InterfaceConfig {
    /// From inputs to `d_model` numbers.
    pub encoder: EncoderConfig,
    /// What examples are labelled with.
    pub target: TargetConfig,
    /// Numbers in an encoded input, which is a token of a sequence learner.
    #[schemars(with = "Size")]
    pub d_model: i64,
}

impl Default for InterfaceConfig {
    fn default() -> Self {
        Self { encoder: EncoderConfig::default(), target: TargetConfig::default(), d_model: 128 }
    }
}
