//! Ways to spoil bytes and JSON.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

/// A change of bytes.
#[derive(Debug, Clone)]
pub enum ByteEdit {
    Xor(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Length(u64),
}

pub fn byte_edits() -> impl Strategy<Value = Vec<ByteEdit>> {
    let edit = prop_oneof![
        8 => (any::<Index>(), 1u8..).prop_map(|(place, bits)| ByteEdit::Xor(place, bits)),
        2 => any::<Index>().prop_map(ByteEdit::Cut),
        2 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(place, bytes)| ByteEdit::Insert(place, bytes)),
        1 => prop_oneof![any::<u64>(), 0..4096u64].prop_map(ByteEdit::Length),
    ];
    prop::collection::vec(edit, 1..4)
}

pub fn edit_bytes(bytes: &mut Vec<u8>, edits: &[ByteEdit]) {
    for edit in edits {
        if bytes.is_empty() {
            return;
        }
        let size = bytes.len();
        match edit {
            ByteEdit::Xor(place, bits) => bytes[place.index(size)] ^= bits,
            ByteEdit::Cut(place) => bytes.truncate(place.index(size)),
            ByteEdit::Insert(place, more) => {
                let place = place.index(size);
                bytes.splice(place..place, more.iter().copied());
            }
            ByteEdit::Length(length) => {
                bytes.iter_mut().zip(length.to_le_bytes()).for_each(|(byte, new)| *byte = new);
            }
        }
    }
}

/// A change of a value somewhere in JSON.
#[derive(Debug, Clone)]
pub enum ValueEdit {
    Replace(Value),
    Remove,
    Rename(String),
}

pub type ValueEdits = Vec<(Index, ValueEdit)>;

pub fn value_edits() -> impl Strategy<Value = ValueEdits> {
    let edit = prop_oneof![
        6 => values().prop_map(ValueEdit::Replace),
        1 => Just(ValueEdit::Remove),
        1 => select(vec!["kind", "dim", "d_model", "weight", "x", "", "shape"])
            .prop_map(|name| ValueEdit::Rename(name.into())),
    ];
    prop::collection::vec((any::<Index>(), edit), 1..4)
}

/// Values at the edges of what makes sense, and beyond.
fn values() -> impl Strategy<Value = Value> {
    let edges = [
        json!(0),
        json!(-1),
        json!(1),
        json!(2),
        json!(3),
        json!(1 << 16),
        json!(1 << 20),
        json!((1 << 20) + 1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(0.5),
        json!(-0.0),
        json!(1e308),
        json!(1e-308),
        json!(null),
        json!(true),
        json!(""),
        json!("class"),
        json!("vector"),
        json!("all"),
        json!([]),
        json!({}),
        json!([0]),
        json!([-1]),
        json!([1, 1 << 20]),
        json!([i64::MAX, 2]),
        json!({"kind": "vector", "dim": 3}),
        json!({"kind": "attention", "n_head": 0}),
    ];
    let kinds =
        ["mamba", "mamba2", "mamba3", "performer", "linear_attention", "gated_delta_net", "oml", "anml"];
    let kinds = kinds.map(|kind| json!({"kind": kind}));
    prop_oneof![
        4 => select(edges.to_vec()),
        1 => select(kinds.to_vec()),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => (0..64i64).prop_map(|number| json!(number)),
    ]
}

pub fn edit_value(value: &mut Value, edits: &ValueEdits) {
    for (place, edit) in edits {
        let count = count(value);
        if count > 0 {
            apply(value, &mut place.index(count), edit);
        }
    }
}

/// Values within a value.
fn count(value: &Value) -> usize {
    match value {
        Value::Object(table) => table.values().map(|value| 1 + count(value)).sum(),
        Value::Array(list) => list.iter().map(|value| 1 + count(value)).sum(),
        _ => 0,
    }
}

/// Changes the value that `left` others come before; whether it was found.
fn apply(value: &mut Value, left: &mut usize, edit: &ValueEdit) -> bool {
    let keys: Vec<String> = match value {
        Value::Object(table) => table.keys().cloned().collect(),
        Value::Array(list) => {
            for index in 0..list.len() {
                if *left == 0 {
                    match edit {
                        ValueEdit::Replace(new) => list[index] = new.clone(),
                        _ => drop(list.remove(index)),
                    }
                    return true;
                }
                *left -= 1;
                if apply(&mut list[index], left, edit) {
                    return true;
                }
            }
            return false;
        }
        _ => return false,
    };
    let Value::Object(table) = value else { return false };
    for key in keys {
        if *left == 0 {
            let old = table.remove(&key).unwrap_or_default();
            match edit {
                ValueEdit::Replace(new) => drop(table.insert(key, new.clone())),
                ValueEdit::Remove => {}
                ValueEdit::Rename(name) => drop(table.insert(name.clone(), old)),
            }
            return true;
        }
        *left -= 1;
        if apply(&mut table[&key], left, edit) {
            return true;
        }
    }
    false
}
