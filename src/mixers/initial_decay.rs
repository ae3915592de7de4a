//! How fast the states of a recurrent mixer decay before training.
//!
//! After n tokens a state keeps exp(-a Δ n) of what was written to it, where A = -a and Δ is the step size.
//! The published values of A are made for language; a continual learner has to keep what it read for longer.

use crate::error::{Error, Result};
use crate::params::Init;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// How a text names [`InitialDecay::Published`].
const PUBLISHED: &str = "published";
/// The slowest rate and the fastest.
const RANGE: std::ops::RangeInclusive<f64> = 1e-6..=1e3;

/// The A that a mixer begins with. In files and tables it is the text "published" or a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InitialDecay {
    /// As the mixer is published.
    Published,
    /// Every A is the negative of this number, from 1e-6 to 1e3.
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

    /// Checks the range of a rate.
    ///
    /// # Errors
    /// When it is out of its range.
    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::Rate(rate) if !RANGE.contains(&rate) => {
                Err(Error::Config { field: "mixer.initial_decay".into(), reason: refusal(&rate) })
            }
            _ => Ok(()),
        }
    }
}

fn refusal(got: &dyn std::fmt::Display) -> String {
    let (slowest, fastest) = (RANGE.start(), RANGE.end());
    format!("must be {PUBLISHED:?} or a number from {slowest} to {fastest}, got {got}")
}

impl Serialize for InitialDecay {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Published => serializer.serialize_str(PUBLISHED),
            Self::Rate(rate) => serializer.serialize_f64(*rate),
        }
    }
}

impl<'de> Deserialize<'de> for InitialDecay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match (value.as_str(), value.as_f64()) {
            (Some(PUBLISHED), _) => Ok(Self::Published),
            (_, Some(rate)) => Ok(Self::Rate(rate)),
            // `settings::read` takes the place from a name that stands in front.
            _ => Err(de::Error::custom(format!("`initial_decay` {}", refusal(&value)))),
        }
    }
}
