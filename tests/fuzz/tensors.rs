//! Tensors of any shape and element type, to the verbs of a learner and to the operations.

use mambacl::learners::{Labels, Learner, LearnerConfig, State};
use mambacl::meta::{self, Episode};
use mambacl::ops::causal_conv1d::CausalConv1d;
use mambacl::ops::gated_delta_rule::GatedDeltaRule;
use mambacl::ops::linear_attention::LinearAttention;
use mambacl::ops::selective_scan::SelectiveScan;
use proptest::prelude::*;
use proptest::sample::select;
use std::cell::LazyCell;
use tch::{Device, Kind, Tensor};

/// What is wrong with an argument, if anything.
#[derive(Debug, Clone)]
pub enum Flaw {
    None,
    Shape(Vec<i64>),
    Axis(usize, i64),
    Kind(Kind),
    Numbers(f64),
    Turned,
}

/// A call of something with flawed arguments: which, its sizes, the flaw of each argument, a seed.
#[derive(Debug, Clone)]
pub struct Call {
    which: u8,
    sizes: [i64; 4],
    flaws: Vec<Flaw>,
    number: i64,
}

pub fn calls() -> impl Strategy<Value = Call> {
    let kinds = vec![
        Kind::Double,
        Kind::Half,
        Kind::BFloat16,
        Kind::Int64,
        Kind::Bool,
        Kind::Int,
        Kind::ComplexFloat,
    ];
    let flaw = prop_oneof![
        12 => Just(Flaw::None),
        1 => prop::collection::vec(0..4i64, 0..5).prop_map(Flaw::Shape),
        2 => (0..4usize, 0..4i64).prop_map(|(axis, size)| Flaw::Axis(axis, size)),
        1 => select(kinds).prop_map(Flaw::Kind),
        1 => select(vec![f64::NAN, f64::INFINITY, -1.0, 1e30, 7.0]).prop_map(Flaw::Numbers),
        1 => Just(Flaw::Turned),
    ];
    let number = prop_oneof![0..4i64, any::<i64>(), select(vec![-1, i64::MIN, i64::MAX, 1 << 48, 1 << 50])];
    (0..10u8, prop::array::uniform4(1..4i64), prop::collection::vec(flaw, 12), number)
        .prop_map(|(which, sizes, flaws, number)| Call { which, sizes, flaws, number })
}

/// Arguments one after the other, each with its flaw.
struct Arguments<'a>(std::slice::Iter<'a, Flaw>);

impl Arguments<'_> {
    fn next(&mut self, kind: Kind, shape: &[i64]) -> Tensor {
        let flaw = self.0.next().unwrap_or(&Flaw::None);
        let mut shape = shape.to_vec();
        match flaw {
            Flaw::Shape(other) => shape.clone_from(other),
            Flaw::Axis(axis, size) if *axis < shape.len() => shape[*axis] = *size,
            _ => {}
        }
        let kind = if let Flaw::Kind(other) = flaw { *other } else { kind };
        let value = if let Flaw::Numbers(value) = flaw { *value } else { 1.0 };
        let tensor = Tensor::full(&shape[..], value, (Kind::Double, Device::Cpu)).to_kind(kind);
        match flaw {
            // The same shape, in memory the other way round.
            Flaw::Turned => {
                let axes: Vec<i64> = (0..shape.len() as i64).rev().collect();
                tensor.permute(&axes[..]).contiguous().permute(&axes[..])
            }
            _ => tensor,
        }
    }
}

const VOCAB: i64 = 3;

fn learner(mixer: &str, target: &str) -> Learner {
    let json = format!(
        r#"{{"d_model": 8, "n_layer": 1, "encoder": {{"kind": "vector", "dim": 2}}, "target": {target},
            "mixer": {mixer}}}"#
    );
    let config = LearnerConfig::from_json(&json).expect("sound settings");
    let schema = config.schema().expect("sound settings");
    config.bind(&schema, &schema.initial(0)).expect("its own tensors fit")
}

thread_local! {
    static LEARNERS: LazyCell<[Learner; 3]> = LazyCell::new(|| {
        let (classes, vectors) = (r#"{"kind": "class", "vocab": 3}"#, r#"{"kind": "vector", "dim": 2}"#);
        [
            learner(r#"{"kind": "mamba", "d_state": 2}"#, classes),
            learner(r#"{"kind": "attention", "n_head": 2}"#, classes),
            learner(r#"{"kind": "gated_delta_net", "n_head": 2}"#, vectors),
        ]
    });
}

pub fn takes(call: Call) -> bool {
    let mut arguments = Arguments(call.flaws.iter());
    let [batch, length, d_inner, d_state] = call.sizes;
    let mut float = |shape: &[i64]| arguments.next(Kind::Float, shape);
    match call.which {
        0 => {
            let (u, delta) = (float(&[batch, length, d_inner]), float(&[batch, length, d_inner]));
            let a = float(&[d_inner, d_state]);
            let (b, c) = (float(&[batch, length, d_state]), float(&[batch, length, d_state]));
            let (d, z) = (float(&[d_inner]), float(&[batch, length, d_inner]));
            let (bias, initial) = (float(&[d_inner]), float(&[batch, d_inner, d_state]));
            let lengths = arguments.next(Kind::Int64, &[batch]);
            let scan = SelectiveScan {
                d: Some(&d),
                z: Some(&z),
                delta_bias: Some(&bias),
                initial_state: Some(&initial),
                lengths: Some(&lengths),
                ..SelectiveScan::new(&u, &delta, &a, &b, &c)
            };
            scan.run(true).is_ok()
        }
        1 => {
            let (x, weight) = (float(&[batch, length, d_inner]), float(&[d_inner, d_state]));
            let (bias, window) = (float(&[d_inner]), float(&[batch, d_inner, d_state - 1]));
            let lengths = arguments.next(Kind::Int64, &[batch]);
            let convolution = CausalConv1d {
                bias: Some(&bias),
                silu: true,
                initial_window: Some(&window),
                lengths: Some(&lengths),
                ..CausalConv1d::new(&x, &weight)
            };
            convolution.run(true).is_ok()
        }
        2 => {
            let (heads, d_key) = (d_inner, d_state);
            let [q, k, v] = [(); 3].map(|()| float(&[batch, heads, length, d_key]));
            let (decay, initial) = (float(&[batch, heads, length]), float(&[batch, heads, d_key, d_key]));
            let attention =
                LinearAttention { q: &q, k: &k, v: &v, log_decay: Some(&decay), initial_state: &initial };
            let each = attention.each().is_ok();
            attention.run().is_ok() && each
        }
        3 => {
            let (heads, d_key) = (d_inner, d_state);
            let [q, k, v] = [(); 3].map(|()| float(&[batch, heads, length, d_key]));
            let [log_decay, beta] = [(); 2].map(|()| float(&[batch, heads, length]));
            let initial_state = float(&[batch, heads, d_key, d_key]);
            let rule = GatedDeltaRule {
                q: &q,
                k: &k,
                v: &v,
                log_decay: &log_decay,
                beta: &beta,
                initial_state: &initial_state,
            };
            rule.run().is_ok()
        }
        which => LEARNERS.with(|learners| live(&learners[usize::from(which % 3)], &call, &mut arguments)),
    }
}

/// Observes and predicts, or runs an episode, with flawed arguments.
fn live(learner: &Learner, call: &Call, arguments: &mut Arguments) -> bool {
    let [batch, examples, queries, _] = call.sizes;
    let classes = learner.config().target().vocab().is_some();
    let inputs = |arguments: &mut Arguments, n: i64| arguments.next(Kind::Float, &[batch, n, 2]);
    let targets = |arguments: &mut Arguments, n: i64| match classes {
        true => arguments.next(Kind::Int64, &[batch, n]),
        false => arguments.next(Kind::Float, &[batch, n, 2]),
    };
    let row = Tensor::arange(VOCAB, (Kind::Int64, Device::Cpu)).expand([batch, VOCAB], false);
    let flawed = arguments.next(Kind::Int64, &[batch, VOCAB]);
    let codebook = if call.number == 3 { flawed } else { row };
    let codebook = classes.then_some(&codebook);
    if call.which < 6 {
        let (train_x, train_y) = (inputs(arguments, examples), targets(arguments, examples));
        let (test_x, test_y) = (inputs(arguments, queries), targets(arguments, queries));
        let [train_task, test_task] = [examples, queries].map(|n| arguments.next(Kind::Int64, &[batch, n]));
        let (train_task, test_task) = (Some(&train_task), Some(&test_task));
        let (train_x, train_y, test_x, test_y) = (&train_x, &train_y, &test_x, &test_y);
        let episode = Episode { train_x, train_y, test_x, test_y, codebook, train_task, test_task };
        return meta::run(learner, &episode, (call.number != 0).then_some(call.number)).is_ok();
    }
    let Ok(state) = learner.initial_state(batch, codebook, 0) else { return false };
    let (x, y) = (inputs(arguments, examples), targets(arguments, examples));
    let Ok(state) = learner.observe(&state, &x, &y) else { return false };
    // A state of another caller's making.
    let tensors = state.tensors().into_iter();
    let tensors = tensors.map(|tensor| match arguments.0.next() {
        Some(Flaw::None) | None => tensor.shallow_clone(),
        Some(flaw) => Arguments(std::slice::from_ref(flaw).iter()).next(tensor.kind(), &tensor.size()),
    });
    let tensors: Vec<Tensor> = tensors.collect();
    let number = if call.number % 2 == 0 { state.examples } else { call.number };
    let Ok(state) = State::from_tensors(number, tensors, classes, 1) else { return false };
    let seen = state.labels.as_ref().map(|Labels { seen, .. }| seen.shallow_clone());
    let again = learner.observe(&state, &x, &y).is_ok();
    let Ok(prediction) = learner.predict(&state, &inputs(arguments, queries), None) else { return false };
    seen.is_none_or(|seen| prediction.argmax_seen(&seen).size() == [batch, queries]) && again
}
