//! Files of learners and states.

use crate::edits::{byte_edits, edit_bytes, edit_value, value_edits};
use crate::opened::Opened;
use mambacl::codebook;
use mambacl::files::{Model, SavedState};
use mambacl::learners::LearnerConfig;
use proptest::prelude::*;
use std::cell::LazyCell;
use std::sync::LazyLock;
use tch::{Device, Kind, Tensor};

const CONFIG: &str = r#"{"d_model": 4, "n_layer": 1, "encoder": {"kind": "vector", "dim": 2},
    "target": {"kind": "class", "vocab": 3}, "mixer": {"kind": "mamba", "d_state": 2}}"#;

/// Files that are sound.
pub static LEARNER: LazyLock<Vec<u8>> = LazyLock::new(|| model().pack().expect("a sound learner"));
pub static STATE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let model = model();
    let learner = model.bind().expect("a sound learner");
    let symbols = codebook::draw(3, 0, 2).expect("sizes in range");
    let state = learner.initial_state(2, Some(&symbols), 0).expect("a codebook that fits");
    let (x, y) = (
        Tensor::ones([2, 3, 2], (Kind::Float, Device::Cpu)),
        Tensor::zeros([2, 3], (Kind::Int64, Device::Cpu)),
    );
    let state = learner.observe(&state, &x, &y).expect("inputs that fit");
    SavedState { state, counts: vec![3, 5] }.pack(&model).expect("a sound state")
});

thread_local! {
    static MODEL: LazyCell<Model> = const { LazyCell::new(model) };
}

fn model() -> Model {
    let config = LearnerConfig::from_json(CONFIG).expect("sound settings");
    let schema = config.schema().expect("sound settings");
    let tensors = schema.initial(0);
    Model { config, schema, tensors }
}

/// Loads all that is loaded once.
pub fn warm_up() {
    assert!(learner(LEARNER.clone()) && state(STATE.clone()), "sound files are taken");
}

pub fn learner(file: Vec<u8>) -> bool {
    Model::unpack("it", &file).is_ok()
}

pub fn state(file: Vec<u8>) -> bool {
    MODEL.with(|model| SavedState::unpack("it", &file, model).is_ok())
}

/// A file with changes somewhere; or no file at all.
pub fn altered(file: &'static LazyLock<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edited = byte_edits().prop_map(|edits| {
        let mut bytes = file.to_vec();
        edit_bytes(&mut bytes, &edits);
        bytes
    });
    prop_oneof![4 => edited, 1 => prop::collection::vec(any::<u8>(), 0..300)]
}

/// A file whose parts were changed, under a digest that fits.
pub fn sealed(file: &'static LazyLock<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let no_bytes = Just(Vec::new());
    (value_edits(), value_edits(), prop_oneof![3 => no_bytes, 1 => byte_edits()], 0..4u8).prop_map(
        |(of_header, of_tensors, of_data, which)| {
            let mut opened = Opened::new(file);
            if which != 0 {
                edit_value(&mut opened.header, &of_header);
            }
            if which != 1 {
                edit_value(&mut opened.tensors, &of_tensors);
            }
            edit_bytes(&mut opened.data, &of_data);
            opened.sealed()
        },
    )
}
