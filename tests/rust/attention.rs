//! The Transformer against its formula: the whole learner, one query at a time, in plain operations.

use crate::agreement::{assert_all_near, assert_near};
use crate::draw::Draw;
use crate::models::{Model, Streams, VOCAB, classifier, interface};
use mambacl::backbone::{NormConfig, sinusoidal};
use mambacl::encoder::VectorConfig;
use mambacl::learners::{InterfaceConfig, LearnerConfig, SequenceConfig};
use mambacl::mixers::attention::AttentionConfig;
use tch::{Device, Kind, Tensor};

const D_MODEL: i64 = 8;
const HEADS: i64 = 2;
const EXAMPLES: i64 = 9;

fn config(norm: NormConfig) -> LearnerConfig {
    let attention = AttentionConfig { n_head: HEADS, d_key: Some(3), d_value: Some(5) };
    let encoder = VectorConfig { dim: 5, hidden: vec![] }.into();
    let memory = SequenceConfig { mixer: attention.into(), norm, ..classifier() };
    LearnerConfig::new(InterfaceConfig { encoder, ..interface() }, memory)
}

/// With random numbers where parameters start from constants.
fn model(norm: NormConfig) -> Model {
    let model = Model::new(config(norm), Kind::Double);
    let mut draw = Draw::new(2);
    tch::no_grad(|| {
        for tensor in model.variables.trainable_variables() {
            let _ = tensor.shallow_clone().g_add_(&(draw.normal(&tensor.size()) * 0.2));
        }
    });
    model
}

/// sin and cos of positions, number by number.
fn position(t: i64, d_model: i64) -> Vec<f64> {
    let angle = |axis: i64| t as f64 / 10_000_f64.powf((axis - axis % 2) as f64 / d_model as f64);
    (0..d_model).map(|axis| if axis % 2 == 0 { angle(axis).sin() } else { angle(axis).cos() }).collect()
}

fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let product = x.matmul(&weight.transpose(0, 1));
    bias.map_or(product.shallow_clone(), |bias| product + bias)
}

/// Tokens, (length, d_model), through the blocks and the last norm.
fn transformer(model: &Model, norm: NormConfig, tokens: &Tensor) -> Tensor {
    let normed = |x: &Tensor, name: &str| match norm {
        NormConfig::None => x.shallow_clone(),
        NormConfig::Rms => {
            let root = (x.square().mean_dim(-1, true, Kind::Double) + 1e-5).sqrt();
            x / root * model.tensor(&format!("backbone.{name}.weight"))
        }
    };
    let length = tokens.size()[0];
    let mask = Tensor::ones([length, length], (Kind::Double, Device::Cpu)).tril(0);
    let mut x = tokens.shallow_clone();
    for layer in 0..2 {
        let of = |name: &str| model.tensor(&format!("backbone.layers.{layer}.{name}"));
        let inner = normed(&x, &format!("layers.{layer}.norm"));
        let project = |name: &str| {
            let all = linear(&inner, of(&format!("mixer.{name}.weight")), None);
            all.unflatten(1, [HEADS, -1]).transpose(0, 1) // (heads, length, -1)
        };
        let (q, k, v) = (project("q_proj"), project("k_proj"), project("v_proj"));
        let weights = (q.matmul(&k.transpose(-1, -2)) / 3_f64.sqrt()).exp() * &mask;
        let mixed = (&weights / weights.sum_dim_intlist(-1, true, Kind::Double)).matmul(&v);
        x = x + linear(&mixed.transpose(0, 1).flatten(1, 2), of("mixer.out_proj.weight"), None);
        let inner = normed(&x, &format!("layers.{layer}.feed_forward_norm"));
        let hidden = linear(&inner, of("feed_forward.hidden.weight"), Some(of("feed_forward.hidden.bias")));
        let active = &hidden * ((&hidden / 2_f64.sqrt()).erf() + 1.0) / 2.0;
        x = x + linear(&active, of("feed_forward.output.weight"), Some(of("feed_forward.output.bias")));
    }
    normed(&x, "norm_f")
}

/// The answers to queries, each alone after its stream: (batch, Q, vocab).
fn plain(model: &Model, norm: NormConfig, streams: &Streams) -> Tensor {
    let encode = |x: &Tensor| {
        // Running moments are 0 and 1.
        let mapped =
            linear(x, model.tensor("encoder.layers.0.linear.weight"), None) / (1.0 + 1e-5_f64).sqrt();
        mapped * model.tensor("encoder.layers.0.norm.weight") + model.tensor("encoder.layers.0.norm.bias")
    };
    let codebook = streams.codebook.as_ref().unwrap();
    let positions: Vec<f64> = (0..=2 * EXAMPLES).flat_map(|t| position(t, D_MODEL)).collect();
    let positions = Tensor::from_slice(&positions).view([-1, D_MODEL]);
    let answer = |row: i64, query: i64| {
        let codebook = codebook.get(row);
        let mut tokens = Vec::new();
        for example in 0..EXAMPLES {
            tokens.push(encode(&streams.train_x.get(row).get(example)));
            let symbol = codebook.int64_value(&[streams.train_y.int64_value(&[row, example])]);
            tokens.push(model.tensor("target_embedding.weight").get(symbol));
        }
        tokens.push(encode(&streams.test_x.get(row).get(query)));
        let tokens = Tensor::stack(&tokens, 0) + &positions;
        let last = transformer(model, norm, &tokens).get(2 * EXAMPLES);
        let logits = linear(&last, model.tensor("head.weight"), Some(model.tensor("head.bias")));
        logits.index_select(0, &codebook)
    };
    let rows =
        (0..2).map(|row| Tensor::stack(&(0..4).map(|query| answer(row, query)).collect::<Vec<_>>(), 0));
    Tensor::stack(&rows.collect::<Vec<_>>(), 0)
}

#[test]
fn a_query_sees_the_stream_and_itself_as_the_formula_says_with_all_gradients() {
    for norm in [NormConfig::None, NormConfig::Rms] {
        let [got, want] = [true, false].map(|engine| {
            let model = model(norm);
            let mut streams = Streams::draw(config(norm), Kind::Double, [2, EXAMPLES, 4], 0);
            streams.train_x = streams.train_x.set_requires_grad(true);
            streams.test_x = streams.test_x.set_requires_grad(true);
            let output = if engine {
                let learner = &model.learner;
                let mut state = learner.initial_state(2, streams.codebook.as_ref(), 0).unwrap();
                // In two pieces: the second has keys of the first before it.
                for (start, length) in [(0, 4), (4, EXAMPLES - 4)] {
                    let cut = |tensor: &Tensor| tensor.narrow(1, start, length);
                    state = learner.observe(&state, &cut(&streams.train_x), &cut(&streams.train_y)).unwrap();
                }
                learner.predict(&state, &streams.test_x, None).unwrap().output
            } else {
                plain(&model, norm, &streams)
            };
            (&output * Draw::new(6).normal(&[2, 4, VOCAB])).sum(Kind::Double).backward();
            let mut named = vec![("answers".to_owned(), output.detach())];
            named.push(("by the stream".into(), streams.train_x.grad()));
            named.push(("by the queries".into(), streams.test_x.grad()));
            for (spec, tensor) in model.schema.specs().iter().zip(&model.tensors) {
                if tensor.requires_grad() {
                    named.push((format!("by {}", spec.name), tensor.grad()));
                }
            }
            named
        });
        assert_all_near(&format!("{norm:?}"), &got, &want, 1e-12);
        let last =
            &want.iter().find(|(name, _)| name == "by backbone.layers.1.mixer.q_proj.weight").unwrap().1;
        assert!(last.abs().max().double_value(&[]) > 1e-4, "nothing to compare");
    }
}

#[test]
fn positions_are_the_formula_far_beyond_any_training() {
    for (first, d_model) in [(0, 8), (0, 7), (1_000_000, 8)] {
        let got = sinusoidal(first, 5, d_model, (Kind::Double, Device::Cpu));
        let want: Vec<f64> = (first..first + 5).flat_map(|t| position(t, d_model)).collect();
        assert_near("positions", &got, &Tensor::from_slice(&want).view([5, d_model]), 1e-9);
    }
}

#[test]
fn streams_ten_times_longer_have_finite_answers() {
    let model = model(NormConfig::Rms);
    for examples in [20, 200] {
        let streams = Streams::draw(config(NormConfig::Rms), Kind::Double, [2, examples, 4], 0);
        let initial = model.learner.initial_state(2, streams.codebook.as_ref(), 0).unwrap();
        let state = model.learner.observe(&initial, &streams.train_x, &streams.train_y).unwrap();
        let output = model.learner.predict(&state, &streams.test_x, None).unwrap().output;
        assert!(output.isfinite().all().int64_value(&[]) == 1);
    }
}
