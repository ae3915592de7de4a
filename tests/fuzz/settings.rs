//! Settings as JSON.

use crate::edits::{byte_edits, edit_bytes, edit_value, value_edits};
use mambacl::learners::{LearnerConfig, MemoryConfig};
use mambacl::mixers::MixerConfig;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// A learner of more numbers than this is declared, and not made.
const MOST_NUMBERS: i64 = 1 << 14;

/// Settings that are sound, all of them written down.
static SOUND: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let of_mixers = MixerConfig::KINDS.iter().map(|mixer| json!({"mixer": {"kind": mixer}}));
    let of_kinds = MemoryConfig::KINDS.iter().map(|kind| json!({"kind": kind}));
    let others = [json!({}), json!({"feed_forward": {"kind": "experts"}})];
    of_mixers.chain(of_kinds).chain(others).map(whole).collect()
});

fn whole(mut table: Value) -> Value {
    table["d_model"] = json!(8);
    if !table["feed_forward"].is_object() {
        table["encoder"] = json!({"kind": "vector", "dim": 3});
    }
    let config = LearnerConfig::from_json(&table.to_string()).expect("sound settings");
    serde_json::from_str(&config.to_json().expect("finite numbers")).expect("JSON")
}

pub fn tables() -> impl Strategy<Value = String> {
    (select(SOUND.clone()), value_edits()).prop_map(|(mut table, edits)| {
        edit_value(&mut table, &edits);
        table.to_string()
    })
}

pub fn texts() -> impl Strategy<Value = String> {
    let edited = (select(SOUND.clone()), byte_edits()).prop_map(|(table, edits)| {
        let mut text = table.to_string().into_bytes();
        edit_bytes(&mut text, &edits);
        String::from_utf8_lossy(&text).into_owned()
    });
    let deep = (0..2000usize).prop_map(|depth| "[".repeat(depth));
    prop_oneof![8 => edited, 1 => ".{0,80}", 1 => deep]
}

/// Reads settings and makes the learner, where it is a small one; whether they make sense.
pub fn takes(text: &str) -> bool {
    let Ok(config) = LearnerConfig::from_json(text) else { return false };
    let Ok(schema) = config.schema() else { return false };
    assert!(config.to_json().is_ok(), "what was read can be written");
    let numbers: i64 = schema.specs().iter().map(|spec| spec.shape.iter().product::<i64>()).sum();
    if numbers <= MOST_NUMBERS {
        let learner = config.bind(&schema, &schema.initial(0)).expect("its own tensors fit");
        drop(learner.state_specs());
    }
    true
}
