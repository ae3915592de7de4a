//! The regulariser against plain computations, and what it does to a learner.

use crate::agreement::assert_near;
use crate::draw::Draw;
use crate::models::{Model, Settings, Streams, VOCAB, classifier, regressing};
use mambacl::error::Error;
use mambacl::learners::{LearnerConfig, SequenceConfig};
use mambacl::meta::{self, Episode};
use mambacl::mixers::{
    Association, Keys, Mixer, MixerConfig, Queries, Similarity, attention::AttentionConfig,
    gated_delta_net::GatedDeltaNetConfig, linear_attention::LinearAttentionConfig, mamba::MambaConfig,
    mamba2::Mamba2Config, mamba3::Mamba3Config, performer::PerformerConfig,
};
use mambacl::ops::selective_scan::SelectiveScan;
use mambacl::params::Schema;
use mambacl::selectivity::{KeyTokens, Layers, NamedLayers, SelectivityConfig, Target};
use std::collections::HashMap;
use tch::nn::{Adam, OptimizerConfig};
use tch::{Device, Kind, Tensor};

/// Logits (queries, tokens) of one stream, as numbers.
type Logits = Vec<Vec<f64>>;

/// The penalty of one stream as its equation reads.
fn plain_penalty(config: &SelectivityConfig, logits: &Logits, stream: &[i64], queries: &[i64]) -> f64 {
    let mut each = Vec::new();
    for (logits, label) in logits.iter().zip(queries) {
        // (logit, whether it matches) of the tokens that take part.
        let tokens: Vec<(f64, bool)> = logits
            .iter()
            .enumerate()
            .filter(|(token, _)| config.keys == KeyTokens::All || token % 2 == 1)
            .map(|(token, logit)| (*logit, stream[token / 2] == *label))
            .collect();
        let total: f64 = tokens.iter().map(|(logit, _)| logit.exp()).sum();
        let matching: Vec<f64> =
            tokens.iter().filter(|(_, matches)| *matches).map(|(logit, _)| logit.exp() / total).collect();
        if matching.is_empty() {
            continue;
        }
        let share = 1.0 / matching.len() as f64;
        each.push(match config.target {
            Target::Mass => -matching.iter().sum::<f64>().ln(),
            Target::Uniform => matching.iter().map(|q| share * (share / q).ln()).sum(),
        });
    }
    each.iter().sum::<f64>() / each.len() as f64
}

/// Features of one stream of five examples, three queries and one head, and their logits.
fn drawn(seed: u64, weighted: bool) -> (Keys, Queries, Logits) {
    let mut draw = Draw::new(seed);
    let keys = Keys {
        features: draw.normal(&[1, 1, 10, 4]),
        log_weight: weighted.then(|| draw.normal(&[1, 1, 10])),
        similarity: Similarity::InnerProduct,
    };
    let queries = Queries { features: draw.normal(&[1, 1, 3, 4]) };
    let key = Vec::<Vec<f64>>::try_from(keys.features.view([10, 4])).unwrap();
    let query = Vec::<Vec<f64>>::try_from(queries.features.view([3, 4])).unwrap();
    let weight = match &keys.log_weight {
        Some(weight) => Vec::try_from(weight.view([10])).unwrap(),
        None => vec![0.0; 10],
    };
    let logit = |query: &Vec<f64>, token: usize| {
        query.iter().zip(&key[token]).map(|(q, k)| q * k).sum::<f64>() + weight[token]
    };
    let logits = query.iter().map(|query| (0..10).map(|token| logit(query, token)).collect());
    let logits = logits.collect();
    (keys, queries, logits)
}

const STREAM: [i64; 5] = [2, 0, 2, 1, 2];

fn labels(labels: &[i64]) -> Tensor {
    Tensor::from_slice(labels).unsqueeze(0)
}

#[test]
fn is_what_its_equation_says() {
    // The last query has no match in the stream: it does not count.
    for queries in [[2, 0, 1], [2, 1, 4]] {
        for target in [Target::Mass, Target::Uniform] {
            for keys in [KeyTokens::Label, KeyTokens::All] {
                let config = SelectivityConfig { target, keys, ..SelectivityConfig::default() };
                let layers = [drawn(0, false), drawn(1, true)];
                let pairs: Vec<_> = layers.iter().map(|(keys, queries, _)| (keys, queries)).collect();
                let got = config.penalty(&pairs, &labels(&STREAM), &labels(&queries)).unwrap();
                let each = layers.iter().map(|(_, _, l)| plain_penalty(&config, l, &STREAM, &queries));
                let want = each.sum::<f64>() / 2.0;
                let got = got.double_value(&[]);
                assert!((got - want).abs() < 1e-6, "{config:?}, {queries:?}: {got} is not {want}");
            }
        }
    }
}

#[test]
fn without_any_match_it_is_zero_with_zero_gradient() {
    for target in [Target::Mass, Target::Uniform] {
        let config = SelectivityConfig { target, ..SelectivityConfig::default() };
        let (keys, queries, _) = drawn(0, false);
        let keys = Keys { features: keys.features.set_requires_grad(true), ..keys };
        let penalty = config.penalty(&[(&keys, &queries)], &labels(&STREAM), &labels(&[5, 6, 7])).unwrap();
        assert_eq!(penalty.double_value(&[]), 0.0);
        penalty.backward();
        assert!(keys.features.grad() == keys.features.zeros_like());
    }
}

#[test]
fn a_query_without_a_match_has_no_gradient() {
    for target in [Target::Mass, Target::Uniform] {
        let config = SelectivityConfig { target, ..SelectivityConfig::default() };
        let (keys, queries, _) = drawn(0, false);
        let queries = Queries { features: queries.features.set_requires_grad(true) };
        config.penalty(&[(&keys, &queries)], &labels(&STREAM), &labels(&[2, 9, 1])).unwrap().backward();
        let gradient = queries.features.grad().abs().sum_dim_intlist(-1, false, Kind::Double).view([3]);
        let [first, without, last] = [0, 1, 2].map(|query| gradient.double_value(&[query]));
        assert!(first > 1e-6 && last > 1e-6 && without == 0.0, "{first}, {without}, {last}");
    }
}

#[test]
fn layers_that_were_not_recorded_are_an_error() {
    let error = SelectivityConfig::default().penalty(&[], &labels(&STREAM), &labels(&[1])).unwrap_err();
    assert!(matches!(error, Error::Config { field, .. } if field == "selectivity.layers"));
}

#[test]
fn heads_that_take_no_part_do_not_count() {
    let mut draw = Draw::new(4);
    let similarity = Similarity::InnerProduct;
    let log_weight = Some(draw.normal(&[1, 3, 10]));
    // Keys that the heads share, as Mamba-2's.
    let keys = Keys { features: draw.normal(&[1, 1, 10, 4]), log_weight, similarity };
    let queries = Queries { features: draw.normal(&[1, 3, 3, 4]) };
    let of = |heads, keys: &Keys, queries: &Queries| {
        let config = SelectivityConfig { heads, ..SelectivityConfig::default() };
        config.penalty(&[(keys, queries)], &labels(&STREAM), &labels(&[2, 0, 1]))
    };
    let some = of(Some(2), &keys, &queries).unwrap();
    let first = |tensor: &Tensor| tensor.narrow(1, 0, 2);
    let (features, log_weight) = (keys.features.shallow_clone(), keys.log_weight.as_ref().map(first));
    let cut = Keys { features, log_weight, similarity };
    let want = of(None, &cut, &Queries { features: first(&queries.features) }).unwrap();
    assert_near("two heads", &some, &want, 1e-14);
    let all = of(None, &keys, &queries).unwrap();
    assert!(all != some && of(Some(3), &keys, &queries).unwrap() == all);
    let error = of(Some(4), &keys, &queries).unwrap_err().to_string();
    assert!(error.contains("`selectivity.heads` must be at most 3"), "{error}");
}

#[test]
fn layers_are_the_last_all_or_a_list() {
    let some = Some(Association::Content);
    let of = |layers| SelectivityConfig { layers, ..SelectivityConfig::default() };
    assert_eq!(of(Layers::Named(NamedLayers::Last)).associations(3), [None, None, some]);
    assert_eq!(of(Layers::Named(NamedLayers::All)).associations(3), [some, some, some]);
    assert_eq!(of(Layers::List(vec![0, 2])).associations(3), [some, None, some]);
}

#[test]
fn settings_read_as_written() {
    let text = r#"{"association": "decayed", "target": "uniform", "keys": "label", "layers": [0, 2],
        "heads": 4, "weight": 0.1, "end_step": 30}"#;
    let want = SelectivityConfig {
        association: Association::Decayed,
        target: Target::Uniform,
        keys: KeyTokens::Label,
        layers: Layers::List(vec![0, 2]),
        heads: Some(4),
        weight: 0.1,
        end_step: Some(30),
    };
    assert_eq!(serde_json::from_str::<SelectivityConfig>(text).unwrap(), want);
    let defaults = serde_json::from_str::<SelectivityConfig>(r#"{"layers": "last"}"#).unwrap();
    assert_eq!(defaults, SelectivityConfig::default());
    assert!(serde_json::from_str::<SelectivityConfig>(r#"{"lambda": 1}"#).is_err());
}

#[test]
fn settings_out_of_range_are_refused_by_field() {
    let refuse = |selectivity| {
        let config = SequenceConfig { selectivity: Some(selectivity), ..classifier() };
        let error = config.learner().schema().unwrap_err();
        let Error::Config { field, .. } = error else { panic!("{error:?}") };
        field
    };
    let default = SelectivityConfig::default;
    for weight in [-0.1, f64::NAN, f64::INFINITY] {
        assert_eq!(refuse(SelectivityConfig { weight, ..default() }), "selectivity.weight");
    }
    for heads in [-1, 0] {
        assert_eq!(refuse(SelectivityConfig { heads: Some(heads), ..default() }), "selectivity.heads");
    }
    for layers in [vec![], vec![0, 2]] {
        let layers = Layers::List(layers);
        assert_eq!(refuse(SelectivityConfig { layers, ..default() }), "selectivity.layers");
    }
}

#[test]
fn an_association_that_a_mixer_lacks_is_refused() {
    let refuse = |mixer: MixerConfig, association| {
        let selectivity = Some(SelectivityConfig { association, ..SelectivityConfig::default() });
        let config = SequenceConfig { mixer, selectivity, ..classifier() };
        let error = config.learner().schema().unwrap_err();
        let Error::Config { field, reason } = error else { panic!("{error:?}") };
        assert_eq!(field, "selectivity.association");
        reason
    };
    for association in [Association::Gated, Association::Decayed] {
        for mixer in [AttentionConfig::default().into(), LinearAttentionConfig::default().into()] {
            let reason = refuse(mixer, association);
            assert!(reason.starts_with("must be \"content\" with this mixer, got \""), "{reason}");
        }
    }
}

#[test]
fn the_weight_ends_at_its_step() {
    let config = SelectivityConfig { weight: 0.7, end_step: Some(10), ..SelectivityConfig::default() };
    assert_eq!([0, 9, 10, 11].map(|step| config.weight_at(step)), [0.7, 0.7, 0.0, 0.0]);
    let endless = SelectivityConfig { end_step: None, ..config };
    assert_eq!(endless.weight_at(i64::MAX), 0.7);
}

/// A Mamba layer in float64 and its tensors by name.
struct Layer {
    mixer: Box<dyn Mixer>,
    tensors: HashMap<String, Tensor>,
}

const D_MODEL: i64 = 6;
const D_STATE: i64 = 3;

impl Layer {
    fn new() -> Self {
        let config = MambaConfig { d_state: D_STATE, dt_min: 0.1, dt_max: 1.0, ..MambaConfig::default() };
        let config = MixerConfig::Mamba(config);
        let schema = Schema::of(|path| config.settings().build(path, D_MODEL)).unwrap();
        let tensors: Vec<_> = schema.initial(0).iter().map(|tensor| tensor.to_kind(Kind::Double)).collect();
        let mixer = schema.bind(&tensors, |path| config.settings().build(path, D_MODEL)).unwrap();
        let names = schema.specs().iter().map(|spec| spec.name.clone());
        Self { mixer, tensors: names.zip(tensors).collect() }
    }

    /// Logits of queries (1, Q, d_model), each after the stream (1, T, d_model), as the layer says:
    /// (Q, T).
    fn logits(&self, stream: &Tensor, queries: &Tensor, association: Association) -> Tensor {
        let initial = self.mixer.initial_state(1, 0, (Kind::Double, Device::Cpu));
        let observed = self.mixer.observe(stream, &initial, Some(association)).unwrap();
        let tokens = queries.transpose(0, 1); // (Q, 1, d_model)
        let answered = self.mixer.answer(&tokens, &observed.state, Some(association)).unwrap();
        answered.queries.unwrap().logits(&observed.keys.unwrap()).squeeze_dim(0).squeeze_dim(0)
    }

    /// The step size (T + 1, d_inner), B and C (T + 1, d_state) of a stream and one more token.
    fn selection(&self, stream: &Tensor, query: &Tensor) -> [Tensor; 3] {
        let weight = |name: &str| &self.tensors[name];
        let tokens = Tensor::cat(&[stream, query], 1).squeeze_dim(0);
        let length = tokens.size()[0];
        let projected = tokens.matmul(&weight("in_proj.weight").transpose(0, 1));
        let x = projected.narrow(1, 0, 2 * D_MODEL);
        let padded = Tensor::cat(&[x.new_zeros([3, 2 * D_MODEL], (Kind::Double, x.device())), x], 0);
        let taps = weight("conv1d.weight").squeeze_dim(1);
        let sums = (0..4).map(|tap| padded.narrow(0, tap, length) * taps.select(1, tap));
        let u = (sums.sum::<Tensor>() + weight("conv1d.bias")).silu();
        let selected = u.matmul(&weight("x_proj.weight").transpose(0, 1));
        let low_rank = selected.narrow(1, 0, 1);
        let raw = low_rank.matmul(&weight("dt_proj.weight").transpose(0, 1)) + weight("dt_proj.bias");
        [raw.softplus(), selected.narrow(1, 1, D_STATE), selected.narrow(1, 1 + D_STATE, D_STATE)]
    }

    fn a(&self) -> Tensor {
        -self.tensors["A_log"].exp()
    }
}

const LENGTH: i64 = 7;

/// A stream and three queries.
fn tokens() -> (Tensor, Tensor) {
    let mut draw = Draw::new(3);
    (draw.normal(&[1, LENGTH, D_MODEL]), draw.normal(&[1, 3, D_MODEL]))
}

#[test]
fn content_is_the_inner_product_of_c_and_b() {
    let (layer, (stream, queries)) = (Layer::new(), tokens());
    let logits = layer.logits(&stream, &queries, Association::Content);
    for query in 0..3 {
        let [_, b, c] = layer.selection(&stream, &queries.narrow(1, query, 1));
        let want = b.narrow(0, 0, LENGTH).matmul(&c.select(0, LENGTH));
        assert_near("content", &logits.select(0, query), &want, 1e-14);
    }
}

#[test]
fn gated_weighs_the_content_by_the_mean_step_size() {
    let (layer, (stream, queries)) = (Layer::new(), tokens());
    let logits = layer.logits(&stream, &queries, Association::Gated);
    for query in 0..3 {
        let [delta, b, c] = layer.selection(&stream, &queries.narrow(1, query, 1));
        let step = delta.narrow(0, 0, LENGTH).mean_dim(-1, false, Kind::Double);
        let want = step * b.narrow(0, 0, LENGTH).matmul(&c.select(0, LENGTH)).exp();
        let got = logits.select(0, query).softmax(-1, Kind::Double);
        assert_near("gated", &got, &(&want / want.sum(Kind::Double)), 1e-14);
    }
}

/// The mean over channels of C_t (the product of Abar over j + 1 .. t) Bbar_j, factor by factor.
fn kernel(layer: &Layer, stream: &Tensor, query: &Tensor) -> Vec<f64> {
    let [delta, b, c] = layer.selection(stream, query).map(|t| Vec::<Vec<f64>>::try_from(t).unwrap());
    let a = Vec::<Vec<f64>>::try_from(layer.a()).unwrap();
    let last = LENGTH as usize;
    let entry = |token: usize| {
        let mut sum = 0.0;
        for (channel, rates) in a.iter().enumerate() {
            for (state, rate) in rates.iter().enumerate() {
                let kept: f64 = (token + 1..=last).map(|step| (delta[step][channel] * rate).exp()).product();
                sum += c[last][state] * kept * delta[token][channel] * b[token][state];
            }
        }
        sum / a.len() as f64
    };
    (0..last).map(entry).collect()
}

#[test]
fn decayed_is_what_is_left_of_a_token() {
    let (layer, (stream, queries)) = (Layer::new(), tokens());
    let logits = layer.logits(&stream, &queries, Association::Decayed);
    for query in 0..3 {
        let want = kernel(&layer, &stream, &queries.narrow(1, query, 1));
        assert!(want.iter().any(|entry| entry.abs() > 1e-4), "nothing to compare: {want:?}");
        assert_near("decayed", &logits.select(0, query), &Tensor::from_slice(&want), 1e-14);
    }
}

/// An input of 1 at one token and 0 elsewhere comes out of the scan at the query as the association.
#[test]
fn decayed_is_what_the_scan_answers_to_an_impulse() {
    let (layer, (stream, queries)) = (Layer::new(), tokens());
    let logits = layer.logits(&stream, &queries, Association::Decayed);
    let [delta, b, c] = layer.selection(&stream, &queries.narrow(1, 0, 1)).map(|t| t.unsqueeze(0));
    let a = layer.a();
    for token in 0..LENGTH {
        let impulse = delta.zeros_like();
        let _ = impulse.narrow(1, token, 1).fill_(1.0);
        let (y, _) = SelectiveScan::new(&impulse, &delta, &a, &b, &c).run(false).unwrap();
        let answer = y.select(1, LENGTH).mean(Kind::Double).double_value(&[]);
        let logit = logits.double_value(&[0, token]);
        assert!((answer - logit).abs() < 1e-14, "token {token}: {answer} is not {logit}");
    }
}

/// A mixer with an association that it knows, and the tensors that this comes from.
struct Guided {
    mixer: MixerConfig,
    association: Association,
    selects: &'static [&'static str],
}

fn guided() -> Vec<Guided> {
    let attention = AttentionConfig { n_head: 2, ..AttentionConfig::default() };
    let linear = LinearAttentionConfig { n_head: 2, ..LinearAttentionConfig::default() };
    let delta = GatedDeltaNetConfig { n_head: 2, ..GatedDeltaNetConfig::default() };
    let mamba3 = Mamba3Config { d_state: 8, headdim: 8, ..Mamba3Config::default() };
    let performer = PerformerConfig { n_head: 2, d_feature: Some(16), ..PerformerConfig::default() };
    let mamba2 = Mamba2Config { d_state: 4, headdim: 8, ..Mamba2Config::default() };
    let of = |mixer: MixerConfig, selects| {
        let each = |&association| Guided { mixer: mixer.clone(), association, selects };
        mixer.settings().associations().iter().map(each).collect::<Vec<_>>()
    };
    [
        of(classifier().mixer, &["in_proj", "x_proj"]),
        of(attention.into(), &["q_proj", "k_proj"]),
        of(linear.into(), &["q_proj", "k_proj"]),
        of(delta.into(), &["q_proj", "k_proj", "q_conv1d", "k_conv1d"]),
        of(mamba3.into(), &["in_proj", "B_norm", "C_norm"]),
        of(performer.into(), &["q_proj", "k_proj"]),
        of(mamba2.into(), &["in_proj", "conv1d"]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A classifier with a regulariser on all layers, and an episode in which every label occurs.
fn regularised(mixer: MixerConfig, association: Association) -> (SequenceConfig, Streams) {
    let selectivity = SelectivityConfig {
        association,
        layers: Layers::Named(NamedLayers::All),
        ..SelectivityConfig::default()
    };
    let config = SequenceConfig { mixer, selectivity: Some(selectivity), ..classifier() };
    let mut streams = Streams::draw(config.clone(), Kind::Float, [2, 2 * VOCAB, 4], 0);
    let all = Tensor::arange(VOCAB, (Kind::Int64, streams.train_y.device()));
    streams.train_y = all.repeat([2, 2]);
    (config, streams)
}

#[test]
fn the_penalty_reaches_what_selects() {
    for Guided { mixer, association, selects } in guided() {
        let (config, streams) = regularised(mixer, association);
        let model = Model::new(config.clone(), Kind::Float);
        let outcome = meta::run(&model.learner, &streams.episode(), Some(0)).unwrap();
        outcome.penalty.unwrap().backward();
        for layer in 0..2 {
            for name in selects {
                let name = format!("backbone.layers.{layer}.mixer.{name}.weight");
                let largest = model.tensor(&name).grad().abs().max().double_value(&[]);
                assert!(largest.is_finite() && largest > 0.0, "{association:?}, {name}: {largest}");
            }
        }
        // Reading alone decides the association: the head has no part in it.
        assert!(!model.tensor("head.weight").grad().defined());
    }
}

#[test]
fn descent_on_the_penalty_moves_mass_to_the_right_class() {
    for Guided { mixer, association, .. } in guided() {
        println!("{association:?} of {mixer:?}"); // shown where it fails
        let (config, mut streams) = regularised(mixer, association);
        // Each query is an input of the stream, so that there is something to find it by.
        streams.test_x = streams.train_x.narrow(1, 3, 4);
        streams.test_y = streams.train_y.narrow(1, 3, 4);
        let model = Model::new(config.clone(), Kind::Float);
        let mut optimizer = Adam::default().build(&model.variables, 1e-2).unwrap();
        let penalty = || {
            let outcome = meta::run(&model.learner, &streams.episode(), Some(0)).unwrap();
            outcome.penalty.unwrap()
        };
        // exp(-penalty) is a mean share of the association, at the start about one class of six.
        let share = |penalty: &Tensor| (-penalty.double_value(&[])).exp();
        let before = share(&penalty());
        assert!((0.1..0.25).contains(&before), "{association:?}: {before}");
        // The decayed association starts flat, and when it leaves that plateau rounding decides.
        let doubled = (0..1000).any(|_| {
            let penalty = penalty();
            optimizer.backward_step(&penalty);
            share(&penalty) > 2.0 * before
        });
        assert!(doubled, "{association:?}: {before} became {}", share(&penalty()));
    }
}

#[test]
fn the_loss_is_the_objective_and_the_weighted_penalty() {
    let (config, streams) = regularised(classifier().mixer, Association::Content);
    let selectivity = config.selectivity.as_ref().unwrap();
    let selectivity = SelectivityConfig { weight: 0.3, end_step: Some(10), ..selectivity.clone() };
    let config = SequenceConfig { selectivity: Some(selectivity), ..config };
    let run = |step| {
        let model = Model::new(config.clone(), Kind::Float);
        meta::run(&model.learner, &streams.episode(), step).unwrap()
    };
    let on = run(Some(9));
    assert_near("loss", &on.loss, &(&on.objective + on.penalty.unwrap() * 0.3), 1e-6);
    for off in [run(Some(10)), run(None)] {
        assert!(off.penalty.is_none() && off.loss == off.objective);
    }
}

#[test]
fn vector_targets_need_tasks() {
    let selectivity = Some(SelectivityConfig::default());
    let config = LearnerConfig::new(regressing(), SequenceConfig { selectivity, ..classifier() });
    let model = Model::new(config.clone(), Kind::Float);
    let streams = Streams::draw(config.clone(), Kind::Float, [2, 4, 2], 0);
    let text = meta::run(&model.learner, &streams.episode(), Some(0)).err().unwrap().to_string();
    assert!(text.contains("give `train_task` and `test_task`"), "{text}");
    let tasks = |n| Tensor::arange(n, (Kind::Int64, tch::Device::Cpu)).expand([2, n], false);
    let (train_task, test_task) = (tasks(4), tasks(2));
    let episode = Episode { train_task: Some(&train_task), test_task: Some(&test_task), ..streams.episode() };
    let penalty = meta::run(&model.learner, &episode, Some(0)).unwrap().penalty.unwrap();
    assert!(penalty.double_value(&[]) > 0.0);
}

/// A query that its own class's tokens are all but orthogonal to, as features of linear attention may be.
#[test]
fn the_gradient_is_finite_where_products_underflow() {
    let features = |values: &[f32]| Tensor::from_slice(values).view([1, 1, -1, 2]).set_requires_grad(true);
    let keys = Keys {
        features: features(&[1e-30, 1.0, 1e-30, 1.0, 1.0, 1e-30, 1.0, 1e-30]),
        log_weight: None,
        similarity: Similarity::LogInnerProduct,
    };
    let queries = Queries { features: features(&[1e-30, 1.0]) };
    let labels = Tensor::from_slice(&[0_i64, 1]).view([1, 2]);
    let asked = Tensor::from_slice(&[1_i64]).view([1, 1]);
    let penalty = SelectivityConfig::default().penalty(&[(&keys, &queries)], &labels, &asked).unwrap();
    penalty.backward();
    for tensor in [&keys.features, &queries.features] {
        let squares = tensor.grad().square().sum(Kind::Float);
        assert!(squares.double_value(&[]).is_finite(), "{:?}", tensor.grad());
    }
}
