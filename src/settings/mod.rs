//! Settings: what a user chooses of a model, read from JSON.
//!
//! A struct of settings is all that there is to say about them: its fields are the settings, their documentation
//! describes them, `Default` holds their defaults, and the types of [`ranges`] their ranges. A part of a model that
//! comes in kinds, such as the mixer, is an enum made by `kinds!`, with a line for each kind. The JSON schemas of
//! these types are what settings are checked against here, and what Python's settings are generated from
//! (`learners::settings_schema`).

mod check;
pub(crate) mod kinds;
mod nearest;
pub mod ranges;

pub(crate) use check::{check, refused};
pub use nearest::nearest;

use crate::error::{Error, Result};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads settings from JSON.
///
/// # Errors
/// [`Error::Config`] with the place of the first setting that is unknown, missing, of another type or out of its
/// range; for a name that was probably misspelt, with the nearest that is known.
///
/// # Examples
/// ```
/// use mambacl::mixers::mamba::MambaConfig;
/// let config: MambaConfig = mambacl::settings::read(r#"{"d_state": 32}"#)?;
/// assert_eq!((config.d_state, config.d_conv), (32, 4));
/// let error = mambacl::settings::read::<MambaConfig>(r#"{"d_stat": 32}"#).unwrap_err();
/// assert!(error.to_string().ends_with("did you mean `d_state`?"));
/// # Ok::<(), mambacl::error::Error>(())
/// ```
pub fn read<T: DeserializeOwned + JsonSchema>(json: &str) -> Result<T> {
    let value = parse(json)?;
    check(&value, &schema::<T>(), "")?;
    typed(value)
}

/// A JSON text as a value.
pub(crate) fn parse(json: &str) -> Result<Value> {
    serde_json::from_str(json).map_err(|error| Error::Config {
        field: "settings".into(),
        reason: format!("must be JSON, got a text with an error: {error}"),
    })
}

/// Settings that were checked, as their type.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|error| Error::Config { field: "settings".into(), reason: error.to_string() })
}

/// Settings as a JSON value, nothing left out.
///
/// # Errors
/// When a number is not finite: JSON has none.
pub(crate) fn value<T: Serialize>(settings: &T) -> Result<Value> {
    serde_json::to_value(settings)
        .map_err(|error| Error::Config { field: "settings".into(), reason: error.to_string() })
}

/// The JSON schema of settings, with those of their parts in place.
pub(crate) fn schema<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>()
}
