//! How fast the states of a recurrent mixer decay before training.
//!
//! After n tokens a state keeps exp(-a Δ n) of what was written to it, where A = -a and Δ is the step size.
//! The published values of A are made for language; a continual learner has to keep what it read for longer.

use crate::params::Init;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The A that a mixer begins with. In files and tables it is the text "published" or a number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialDecay {
    /// As the mixer is published.
    Published,
    /// Every A is the negative of this number, from 1e-6 to 1e3.
    #[serde(untagged)]
    Rate(f64),
}

impl Default for InitialDecay {
    fn default() -> Self {
        Self::Rate(0.1)
    }
}

impl InitialDecay {
    /// The first values of A_log, where A = -exp(A_log).
    pub(super) fn log_rate(self, published: Init) -> Init {
        match self {
            Self::Published => published,
            Self::Rate(rate) => Init::Constant(rate.ln()),
        }
    }
}

impl JsonSchema for InitialDecay {
    fn schema_name() -> Cow<'static, str> {
        "InitialDecay".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {"type": "string", "const": "published"},
                {"type": "number", "minimum": 1e-6, "maximum": 1e3},
            ],
        })
    }
}
