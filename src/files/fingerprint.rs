//! What tells one model from another.

use super::bytes::Raw;
use super::container::hex;
use crate::error::Result;
use crate::learners::LearnerConfig;
use crate::ops::kind_name;
use crate::params::Schema;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tch::Tensor;

/// The setting of a mixer that concerns its first values alone.
pub(super) const INITIAL_DECAY: &str = "initial_decay";

/// The fingerprint of a model, in hexadecimal: the SHA-256 of its settings, and of the name, element type,
/// shape and bytes of each of its tensors, given in the schema's order.
///
/// Of the settings, those that have their default are left out: a later version may add some, whose
/// default changes nothing. The initial decay of a mixer is left out too: the tensors hold what became of it.
///
/// # Errors
/// When a setting or tensor cannot be written down.
pub fn fingerprint(config: &LearnerConfig, schema: &Schema, tensors: &[Tensor]) -> Result<String> {
    let raw = schema.specs().iter().zip(tensors).map(|(spec, tensor)| Raw::of(&spec.name, tensor));
    let raw = raw.collect::<Result<Vec<_>>>()?;
    of_raw(config, schema.specs().iter().map(|spec| spec.name.as_str()).zip(&raw))
}

pub(super) fn of_raw<'a>(
    config: &LearnerConfig,
    tensors: impl Iterator<Item = (&'a str, &'a Raw)>,
) -> Result<String> {
    let mut hasher = Sha256::new();
    // A line for each thing that is told, so that no two models are written alike.
    hasher.update(format!("mambacl model 1\n{}\n", told(config)?));
    for (name, raw) in tensors {
        hasher.update(format!("{name} {} {:?}\n", kind_name(raw.kind), raw.shape()));
        hasher.update(raw.data());
    }
    Ok(hex(&hasher.finalize()))
}

/// The settings that differ from their defaults, the kinds among them and what has no default.
fn told(config: &LearnerConfig) -> Result<Value> {
    let read = |json: &str| serde_json::from_str::<Value>(json).unwrap_or_default();
    let mut all = read(&config.to_json()?);
    if let Some(mixer) = all.get_mut("mixer").and_then(Value::as_object_mut) {
        mixer.remove(INITIAL_DECAY);
    }
    let default = LearnerConfig::from_json(&kinds(&all).to_string())?.to_json()?;
    Ok(difference(all, &read(&default)))
}

/// Of a table, the kinds of its parts and `dim`, which has no default.
fn kinds(value: &Value) -> Value {
    let Value::Object(table) = value else { return Value::Null };
    let kept = table.iter().filter_map(|(key, value)| match (key.as_str(), value) {
        ("kind" | "dim", _) => Some((key.clone(), value.clone())),
        (_, Value::Object(part)) if part.contains_key("kind") => Some((key.clone(), kinds(value))),
        _ => None,
    });
    Value::Object(kept.collect())
}

fn difference(value: Value, default: &Value) -> Value {
    let Value::Object(table) = value else { return value };
    let mut differs = Map::new();
    for (key, value) in table {
        let usual = default.get(&key);
        if key == "kind" || usual != Some(&value) {
            differs.insert(key, difference(value, usual.unwrap_or(&Value::Null)));
        }
    }
    Value::Object(differs)
}
