//! The Performer's layer against its recurrence, and its features against softmax attention.

use crate::agreement::{assert_all_near, assert_near};
use crate::draw::Draw;
use crate::layer::{D_MODEL, Given, Layer, OPTIONS, with_all_gradients};
use crate::models::{Model, classifier};
use mambacl::layer_state::LayerState;
use mambacl::learners::SequenceConfig;
use mambacl::mixers::{MixerConfig, performer::PerformerConfig};
use mambacl::ops::linear_attention::CHUNK;
use tch::{Kind, Tensor};

const HEADS: i64 = 2;
const D_KEY: i64 = 5;

fn layer(d_feature: i64) -> Layer {
    let config =
        PerformerConfig { n_head: HEADS, d_key: Some(D_KEY), d_value: Some(4), d_feature: Some(d_feature) };
    Layer::new(&MixerConfig::Performer(config))
}

/// The state of a stream read before: sums of positive features, at a scale of their own.
fn earlier(layer: &Layer) -> Vec<Tensor> {
    let mut draw = Draw::new(5);
    let projection = layer.mixer.initial_state(2, 7, OPTIONS).0.remove(3);
    vec![
        draw.normal(&[2, HEADS, 8, 4]),
        draw.normal(&[2, HEADS, 8]).abs() + 1.0,
        draw.normal(&[2, HEADS]),
        projection,
    ]
}

/// exp(w · x - |x|² / 2), as it reads: (rows, heads, length, d_feature).
fn features(raw: &Tensor, projection: &Tensor) -> Tensor {
    let x = raw / (D_KEY as f64).powf(0.25);
    let products = x.matmul(&projection.unsqueeze(1).transpose(-1, -2));
    (products - x.square().sum_dim_intlist(-1, true, Kind::Double) / 2.0).exp()
}

/// Sums as they are, and not as shares of their scale.
fn unscaled(state: &[Tensor]) -> [Tensor; 2] {
    let scale = state[2].exp().unsqueeze(-1);
    [&state[0] * scale.unsqueeze(-1), &state[1] * scale]
}

/// Outputs of the stream and of the queries, and the sums, token by token.
fn recurrence(layer: &Layer, given: &Given) -> Vec<(&'static str, Tensor)> {
    let projection = &given.state.0[3];
    let run = |tokens: &Tensor, [kv, normaliser]: &[Tensor; 2], keep: bool| {
        let of = |name| layer.heads(tokens, name, HEADS);
        let (q, k) = (features(&of("q_proj.weight"), projection), features(&of("k_proj.weight"), projection));
        let v = of("v_proj.weight");
        let (mut kv, mut normaliser) = (kv.shallow_clone(), normaliser.shallow_clone());
        let mut outputs = Vec::new();
        for t in 0..tokens.size()[1] {
            let (q, k, v) = (q.select(2, t), k.select(2, t), v.select(2, t));
            let (next, sum) = (&kv + k.unsqueeze(-1) * v.unsqueeze(-2), &normaliser + &k);
            let numerator = (&next * q.unsqueeze(-1)).sum_dim_intlist(-2, false, Kind::Double);
            outputs.push(numerator / (&sum * q).sum_dim_intlist(-1, true, Kind::Double));
            if keep {
                (kv, normaliser) = (next, sum);
            }
        }
        (layer.merged(&Tensor::stack(&outputs, 2)), [kv, normaliser])
    };
    let (output, state) = run(&given.stream, &unscaled(&given.state.0), true);
    let (answers, _) = run(&given.queries, &state, false);
    let [kv, normaliser] = state;
    vec![("output", output), ("answers", answers), ("kv", kv), ("normaliser", normaliser)]
}

#[test]
fn equals_the_recurrence_with_all_gradients() {
    for length in [1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * 5 / 2] {
        let [got, want] = [true, false].map(|chunked| {
            let layer = layer(8);
            let given = Given::draw(length, earlier(&layer));
            let results = if chunked {
                let (output, answers, state) = given.through(&layer);
                let [kv, normaliser] = unscaled(&state.0);
                vec![("output", output), ("answers", answers), ("kv", kv), ("normaliser", normaliser)]
            } else {
                recurrence(&layer, &given)
            };
            with_all_gradients(&layer, &given, results)
        });
        // Four results, and gradients by the tokens, the queries, four parts of the state, four weights.
        assert_eq!(got.len(), 14);
        assert_all_near(&format!("{length} tokens"), &got, &want, 1e-9);
    }
}

/// Features of keys of length 1000: none is left of some, and nothing overflows.
#[test]
fn large_inputs_stay_finite_and_may_be_read_in_pieces() {
    let layer = layer(8);
    let mut given = Given::draw(CHUNK + 5, layer.mixer.initial_state(2, 0, OPTIONS).0);
    given.stream = (given.stream.detach() * 1e3).set_requires_grad(true);
    let (output, answers, state) = given.through(&layer);
    let mut pieces = LayerState(given.state.0.iter().map(Tensor::shallow_clone).collect());
    for piece in given.stream.split(7, 1) {
        pieces = layer.mixer.observe(&piece, &pieces, None).unwrap().state;
    }
    for (piecewise, whole) in pieces.0.iter().zip(&state.0) {
        assert_near("state", piecewise, whole, 1e-12);
    }
    for (name, tensor) in with_all_gradients(&layer, &given, vec![("output", output), ("answers", answers)]) {
        assert!(tensor.isfinite().all().int64_value(&[]) == 1, "{name}");
    }
}

/// The mean of φ(k) · φ(q) over draws of the projection is exp(k · q), φ(k) being what the layer has
/// written of a key.
#[test]
fn products_of_features_are_unbiased() {
    let layer = layer(16);
    let token = Draw::new(0).normal(&[1, 1, D_MODEL]);
    let scale = (D_KEY as f64).powf(-0.25);
    let k = layer.heads(&token, "k_proj.weight", HEADS).select(2, 0).squeeze_dim(0) * scale; // (heads, d_key)
    let q = Draw::new(1).normal(&[D_KEY]) * 0.5;
    let want = k.matmul(&q).exp();
    let estimates: Vec<Tensor> = (0..4000)
        .map(|draw| {
            let initial = layer.mixer.initial_state(1, draw, OPTIONS);
            let state = layer.mixer.observe(&token, &initial, None).unwrap().state;
            let projection = state.0[3].squeeze_dim(0); // (d_feature, d_key)
            let of_query = (projection.matmul(&q) - q.square().sum(Kind::Double) / 2.0).exp();
            let [_, of_key] = unscaled(&state.0);
            of_key.squeeze_dim(0).matmul(&of_query) / 16.0 // (heads)
        })
        .collect();
    let estimates = Tensor::stack(&estimates, 0).detach();
    let mean = estimates.mean_dim(0, false, Kind::Double);
    let error = estimates.std_dim(0, true, false) / (4000_f64).sqrt();
    for head in 0..HEADS {
        let [mean, error, want] = [&mean, &error, &want].map(|tensor| tensor.double_value(&[head]));
        assert!(error < 0.02 * want, "nothing is known: {error}");
        assert!((mean - want).abs() < 4.0 * error, "{mean} is not {want}, with an error of {error}");
    }
}

/// The distance to softmax attention, with as many features, over several draws.
fn distance(d_feature: i64) -> f64 {
    let layer = layer(d_feature);
    let mut given = Given::draw(12, layer.mixer.initial_state(2, 0, OPTIONS).0);
    // Of long keys and queries, few features tell nearly all, and their mean is slow to settle.
    given.stream = given.stream.detach() * 0.5;
    let of = |name| layer.heads(&given.stream, name, HEADS);
    let (q, k, v) = (of("q_proj.weight"), of("k_proj.weight"), of("v_proj.weight"));
    let logits = q.matmul(&k.transpose(-1, -2)) / (D_KEY as f64).sqrt();
    let later = Tensor::ones([12, 12], (Kind::Bool, tch::Device::Cpu)).triu(1);
    let weights = logits.masked_fill(&later, f64::NEG_INFINITY).softmax(-1, Kind::Double);
    let want = layer.merged(&weights.matmul(&v));
    let square = (0..40).map(|draw| {
        let initial = layer.mixer.initial_state(2, draw, OPTIONS);
        let output = layer.mixer.observe(&given.stream, &initial, None).unwrap().output;
        (output - &want).square().mean(Kind::Double).double_value(&[])
    });
    (square.sum::<f64>() / 40.0).sqrt()
}

#[test]
fn the_distance_to_softmax_attention_falls_with_the_root_of_the_features() {
    let distances = [64, 256, 1024, 4096].map(distance);
    for pair in distances.windows(2) {
        // Four times as many features: half the distance.
        assert!((1.5..2.7).contains(&(pair[0] / pair[1])), "{distances:?}");
    }
    assert!((6.0..10.7).contains(&(distances[0] / distances[3])), "{distances:?}");
}

#[test]
fn features_are_drawn_for_each_draw_and_layer_and_kept_in_the_state() {
    let mixer = MixerConfig::Performer(PerformerConfig { n_head: 2, ..PerformerConfig::default() });
    let model = Model::new(SequenceConfig { mixer, ..classifier() }, Kind::Float);
    let codebook = mambacl::codebook::draw(crate::models::VOCAB, 0, 3).expect("sizes in range");
    let projections = |draw| {
        let state = model.learner.initial_state(3, Some(&codebook), draw).unwrap();
        let each: Vec<_> = state.layers.iter().map(|layer| layer.0[3].copy()).collect();
        <[Tensor; 2]>::try_from(each).unwrap()
    };
    let [first, second] = projections(5);
    // Keys of 4 numbers: 4 ln 4 features, rounded up; the same for each stream.
    assert_eq!(first.size(), [3, 6, 4]);
    assert!(first.select(0, 0) == first.select(0, 2));
    assert!(projections(5)[0] == first && projections(6)[0] != first && second != first);
}
