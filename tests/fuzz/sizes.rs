//! Numbers of things: none, few, or more than there can be.

use mambacl::codebook;
use mambacl::episode::{EpisodePlan, EpisodeSpec, uniforms};
use mambacl::learners::LearnerConfig;
use proptest::prelude::*;

/// Small, or beyond all that any machine holds; in between, what was asked for is made.
fn size() -> impl Strategy<Value = i64> {
    let edges = [i64::MIN, -1, 1 << 40, (1 << 62) + 1, i64::MAX];
    prop_oneof![6 => 0..12i64, 2 => prop::sample::select(edges.to_vec()), 1 => (1i64 << 33)..]
}

/// A function that takes sizes, and as many of them as any takes.
pub fn sizes() -> impl Strategy<Value = (u8, [i64; 6], u64)> {
    (0..4u8, [size(), size(), size(), size(), size(), size()], any::<u64>())
}

pub fn takes((which, sizes, seed): (u8, [i64; 6], u64)) -> bool {
    let [a, b, c, d, e, f] = sizes.map(|size| size as usize);
    match which {
        0 => codebook::draw(sizes[0], seed, sizes[1]).is_ok(),
        1 => uniforms(seed, "train", seed, a).is_ok(),
        2 => {
            let spec = EpisodeSpec { tasks: a, train_shots: b, test_shots: c, vocab: d };
            EpisodePlan::draw(&spec, &[e, f, 5, 9], seed, "test", seed).is_ok()
        }
        _ => {
            let [kind, dim, ..] =
                [["mamba", "attention", "performer"][a % 3], if f % 2 == 0 { "2" } else { "3" }];
            let json = format!(
                r#"{{"d_model": 32, "encoder": {{"kind": "vector", "dim": {dim}}},
                    "target": {{"kind": "vector", "dim": 2}}, "mixer": {{"kind": "{kind}"}}}}"#
            );
            let Ok(config) = LearnerConfig::from_json(&json) else { return false };
            let schema = config.schema().expect("sound settings");
            let learner = config.bind(&schema, &schema.initial(0)).expect("its own tensors fit");
            learner.initial_state(sizes[1], None, seed).is_ok()
        }
    }
}
