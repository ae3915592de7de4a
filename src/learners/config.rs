//! The settings of a learner: one table of the interface's and the memory's.

use super::interface::InterfaceConfig;
use super::memory::Memory;
use super::{Learner, MemoryConfig};
use crate::encoder::EncoderConfig;
use crate::error::Result;
use crate::params::{Path, Schema};
use crate::selectivity::SelectivityConfig;
use crate::settings::{self, refused};
use crate::target::TargetConfig;
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use tch::Tensor;

/// The kind of settings that name none.
const USUAL_KIND: &str = "sequence";

/// The settings of a learner. In JSON they are one table: the interface's, the memory's, and `kind`.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnerConfig {
    /// What all kinds have.
    pub interface: InterfaceConfig,
    /// What is the kind's own.
    pub memory: MemoryConfig,
}

impl LearnerConfig {
    /// The settings of a learner with this interface and memory.
    pub fn new(interface: InterfaceConfig, memory: impl Into<MemoryConfig>) -> Self {
        Self { interface, memory: memory.into() }
    }

    /// Reads settings from JSON; without a `kind` they are a sequence learner's.
    ///
    /// # Errors
    /// As [`settings::read`].
    pub fn from_json(json: &str) -> Result<Self> {
        let mut table = match settings::parse(json)? {
            Value::Object(table) => table,
            other => return Err(refused("", "a table", &other)),
        };
        table.entry("kind").or_insert(json!(USUAL_KIND));
        check(&table)?;
        let interface = properties::<InterfaceConfig>();
        let (shared, own) =
            table.into_iter().partition::<Map<_, _>, _>(|(key, _)| interface.contains_key(key));
        Ok(Self {
            interface: settings::typed(Value::Object(shared))?,
            memory: settings::typed(Value::Object(own))?,
        })
    }

    /// All settings as JSON, those that were left out included; keys are in alphabetical order.
    ///
    /// # Errors
    /// When a number is not finite.
    pub fn to_json(&self) -> Result<String> {
        let mut table = Value::Object(self.table()?);
        table.sort_all_objects();
        Ok(table.to_string())
    }

    fn table(&self) -> Result<Map<String, Value>> {
        let mut whole = Map::new();
        for part in [settings::value(&self.interface)?, settings::value(&self.memory)?] {
            whole.extend(
                part.as_object().into_iter().flatten().map(|(key, part)| (key.clone(), part.clone())),
            );
        }
        Ok(whole)
    }

    /// The name of the learner's kind.
    pub fn kind(&self) -> &'static str {
        self.memory.kind()
    }

    /// Numbers in an encoded input.
    pub fn d_model(&self) -> i64 {
        self.interface.d_model
    }

    /// From inputs to `d_model` numbers.
    pub fn encoder(&self) -> &EncoderConfig {
        &self.interface.encoder
    }

    /// What examples are labelled with.
    pub fn target(&self) -> &TargetConfig {
        &self.interface.target
    }

    /// The regulariser of meta-training, of learners that have one.
    pub fn selectivity(&self) -> Option<&SelectivityConfig> {
        self.memory.settings().selectivity()
    }

    /// Whether tokens have positions: the streams of one state must then have read as many examples.
    pub fn uses_positions(&self) -> bool {
        self.memory.settings().uses_positions()
    }

    /// Parts that the state has: a sequence learner's layers, or those of fast weights.
    pub fn state_layers(&self) -> usize {
        self.memory.settings().state_layers(&self.interface)
    }

    /// The parameters and buffers of the model.
    ///
    /// # Errors
    /// When a setting is out of its range, or contradicts another.
    pub fn schema(&self) -> Result<Schema> {
        check(&self.table()?)?;
        let schema = Schema::of(|path| Learner::new(path, self))?;
        let numbers: i64 = schema.specs().iter().map(|spec| spec.shape.iter().product::<i64>()).sum();
        log::debug!("a {} learner of {} tensors, {numbers} numbers", self.kind(), schema.specs().len());
        Ok(schema)
    }

    /// Binds a learner to lent tensors, in the schema's order. The ranges of settings are not checked again:
    /// [`LearnerConfig::schema`] has.
    ///
    /// # Errors
    /// When tensors are missing or do not fit.
    pub fn bind(&self, schema: &Schema, tensors: &[Tensor]) -> Result<Learner> {
        schema.bind(tensors, |path| Learner::new(path, self))
    }

    /// Binds all but the encoder.
    pub(super) fn build(&self, path: &Path) -> Result<Box<dyn Memory>> {
        self.memory.settings().build(path, &self.interface)
    }
}

/// Checks the one table of a learner's settings.
fn check(table: &Map<String, Value>) -> Result<()> {
    let mut schema = settings::schema::<MemoryConfig>();
    for kind in schema.get_mut("kinds").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        let mut whole = properties::<InterfaceConfig>();
        whole.extend(kind["properties"].as_object().cloned().unwrap_or_default());
        kind["properties"] = Value::Object(whole);
    }
    settings::check(&Value::Object(table.clone()), &schema, "")
}

/// The schemas of a struct's fields.
fn properties<T: JsonSchema>() -> Map<String, Value> {
    let schema = settings::schema::<T>();
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learners::SequenceConfig;

    fn refusal(json: &str) -> String {
        LearnerConfig::from_json(json).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_table_is_the_default() {
        let default = LearnerConfig::new(InterfaceConfig::default(), SequenceConfig::default());
        assert_eq!(LearnerConfig::from_json("{}").unwrap(), default);
    }

    #[test]
    fn a_misspelt_name_is_refused_with_the_nearest() {
        assert_eq!(
            refusal(r#"{"n_layers": 3}"#),
            "configuration: `n_layers` is no setting; did you mean `n_layer`?"
        );
        assert_eq!(
            refusal(r#"{"mixer": {"kind": "mamba", "d_stat": 3}}"#),
            "configuration: `mixer.d_stat` is no setting; did you mean `mixer.d_state`?"
        );
        assert!(refusal(r#"{"mixer": {"kind": "manba"}}"#).ends_with("did you mean `mamba`?"));
        assert!(refusal(r#"{"norm": "rmss"}"#).ends_with("did you mean `rms`?"));
        let far = refusal(r#"{"selectivity": {"zzz": 1.0}}"#);
        assert!(far.contains("`weight`") && !far.contains("did you mean"), "{far}");
    }

    #[test]
    fn a_wrong_type_or_range_is_refused_with_its_place() {
        for (json, reason) in [
            (r#"{"d_model": "128"}"#, "`d_model` must be an integer, got \"128\""),
            (r#"{"d_model": 0}"#, "`d_model` must be at least 1, got 0"),
            (
                r#"{"mixer": {"kind": "mamba", "d_state": 9999999}}"#,
                "`mixer.d_state` must be at most 1048576, got 9999999",
            ),
            (r#"{"selectivity": {"weight": "much"}}"#, "`selectivity.weight` must be a number, got \"much\""),
            (r#"{"selectivity": {"weight": -1}}"#, "`selectivity.weight` must be at least 0.0, got -1"),
            (r#"{"encoder": {"kind": "vector"}}"#, "`encoder.dim` is missing"),
            (r#"{"encoder": {"dim": 3}}"#, "`encoder.kind` is missing: `cnn` or `vector`"),
            (
                r#"{"encoder": {"kind": "vector", "dim": 3, "hidden": [0]}}"#,
                "`encoder.hidden` must be at least 1, got 0",
            ),
            (
                r#"{"feed_forward": {"kind": "none", "d_hidden": 3}}"#,
                "`feed_forward.d_hidden` is no setting; there is none here",
            ),
            (
                r#"{"kind": 7}"#,
                "`kind` must be `sequence`, `prototype`, `gemcl`, `bayes`, `oml` or `anml`, got 7",
            ),
            ("[]", "`settings` must be a table, got []"),
        ] {
            assert_eq!(refusal(json), format!("configuration: {reason}"));
        }
    }

    #[test]
    fn settings_survive_json() {
        for kind in MemoryConfig::KINDS {
            let config = LearnerConfig::from_json(&json!({"kind": kind}).to_string()).unwrap();
            assert_eq!(LearnerConfig::from_json(&config.to_json().unwrap()).unwrap(), config);
        }
    }
}
