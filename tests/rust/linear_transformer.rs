//! The linear Transformer's layer against its recurrence and against its masked form.

use crate::agreement::assert_all_near;
use crate::draw::Draw;
use crate::layer::{Given, Layer, OPTIONS, with_all_gradients};
use mambacl::mixers::{MixerConfig, linear_attention::LinearAttentionConfig};
use mambacl::ops::linear_attention::CHUNK;
use tch::{Kind, Tensor};

const HEADS: i64 = 2;

fn layer() -> Layer {
    let config = LinearAttentionConfig { n_head: HEADS, d_key: Some(5), d_value: Some(4) };
    Layer::new(&MixerConfig::LinearAttention(config))
}

/// The state of a stream read before: sums of positive features.
fn earlier() -> Vec<Tensor> {
    let mut draw = Draw::new(5);
    vec![draw.normal(&[2, HEADS, 5, 4]), draw.normal(&[2, HEADS, 5]).abs() + 1.0]
}

fn map(x: &Tensor) -> Tensor {
    (x + 1.0).where_self(&x.gt(0.0), &x.exp())
}

/// q, k and v of tokens, (rows, heads, length, -1).
fn projected(layer: &Layer, tokens: &Tensor) -> [Tensor; 3] {
    let [q, k, v] =
        ["q_proj", "k_proj", "v_proj"].map(|name| layer.heads(tokens, &format!("{name}.weight"), HEADS));
    [map(&q), map(&k), v]
}

/// S and z after a token, and its output.
fn step([q, k, v]: [&Tensor; 3], [kv, normaliser]: [&Tensor; 2]) -> (Tensor, [Tensor; 2]) {
    let kv = kv + k.unsqueeze(-1) * v.unsqueeze(-2);
    let normaliser = normaliser + k;
    let numerator = (&kv * q.unsqueeze(-1)).sum_dim_intlist(-2, false, Kind::Double);
    let denominator = (&normaliser * q).sum_dim_intlist(-1, true, Kind::Double) + 1e-6;
    (numerator / denominator, [kv, normaliser])
}

/// Outputs of the stream and of the queries, and the state, token by token.
fn recurrence(layer: &Layer, given: &Given) -> Vec<(&'static str, Tensor)> {
    let run = |tokens: &Tensor, initial: &[Tensor; 2], keep: bool| {
        let parts = projected(layer, tokens);
        let (mut state, mut outputs) = (initial.each_ref().map(Tensor::shallow_clone), Vec::new());
        for t in 0..tokens.size()[1] {
            let now = parts.each_ref().map(|part| part.select(2, t));
            let (output, next) = step(now.each_ref(), state.each_ref());
            outputs.push(output);
            if keep {
                state = next;
            }
        }
        (layer.merged(&Tensor::stack(&outputs, 2)), state)
    };
    let initial = [given.state.0[0].shallow_clone(), given.state.0[1].shallow_clone()];
    let (output, state) = run(&given.stream, &initial, true);
    let (answers, _) = run(&given.queries, &state, false);
    let [kv, normaliser] = state;
    vec![("output", output), ("answers", answers), ("kv", kv), ("normaliser", normaliser)]
}

#[test]
fn equals_the_recurrence_with_all_gradients() {
    for length in [1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * 5 / 2] {
        let [got, want] = [true, false].map(|chunked| {
            let (layer, given) = (layer(), Given::draw(length, earlier()));
            let results = if chunked {
                let (output, answers, state) = given.through(&layer);
                let [kv, normaliser] = <[Tensor; 2]>::try_from(state.0).unwrap();
                vec![("output", output), ("answers", answers), ("kv", kv), ("normaliser", normaliser)]
            } else {
                recurrence(&layer, &given)
            };
            with_all_gradients(&layer, &given, results)
        });
        // Four results, and gradients by the tokens, the queries, two parts of the state and four weights.
        assert_eq!(got.len(), 12);
        assert_all_near(&format!("{length} tokens"), &got, &want, 1e-12);
    }
}

/// From nothing, a token's output is the mean of the values up to it, weighted by φ(q) · φ(k).
#[test]
fn equals_the_masked_form() {
    let length = CHUNK + 7;
    let layer = layer();
    let given = Given::draw(length, layer.mixer.initial_state(2, 0, OPTIONS).0);
    let [q, k, v] = projected(&layer, &Tensor::cat(&[&given.stream, &given.queries], 1));
    // A query sees the stream and itself.
    let ones = Tensor::ones([length + 3, length + 3], OPTIONS);
    let own = Tensor::eye(length + 3, OPTIONS);
    let mask = ones.tril(0) * ones.slice(1, 0, length, 1).constant_pad_nd([0, 3]) + own;
    let weights = q.matmul(&k.transpose(-1, -2)) * mask.clamp_max(1.0);
    let sums = weights.sum_dim_intlist(-1, true, Kind::Double) + 1e-6;
    let want = layer.merged(&(&weights / sums).matmul(&v));
    let (output, answers, _) = given.through(&layer);
    let got = vec![("all".into(), Tensor::cat(&[output, answers], 1))];
    assert_all_near("masked", &got, &vec![("all".into(), want)], 1e-12);
}
