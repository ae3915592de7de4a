//! The Mamba-2 layer against its recurrence, and what its tokens are associated by.

use crate::agreement::assert_all_near;
use crate::draw::Draw;
use crate::layer::{D_MODEL, Given, Layer, OPTIONS, with_all_gradients};
use crate::models::refused;
use mambacl::mixers::{Association, InitialDecay, MixerConfig, mamba2::Mamba2Config};
use mambacl::ops::linear_attention::CHUNK;
use mambacl::params::Schema;
use tch::{Kind, Tensor};

/// Three heads of 4 channels, 5 states.
const CONFIG: Mamba2Config = Mamba2Config {
    d_state: 5,
    d_conv: 4,
    expand: 2,
    headdim: 4,
    dt_min: 0.1,
    dt_max: 1.0,
    initial_decay: InitialDecay::Published,
};
const D_INNER: i64 = 2 * D_MODEL;
const HEADS: i64 = 3;

fn layer() -> Layer {
    Layer::new(&MixerConfig::Mamba2(CONFIG))
}

fn earlier() -> Vec<Tensor> {
    let mut draw = Draw::new(5);
    vec![draw.normal(&[2, D_INNER + 2 * 5, 3]), draw.normal(&[2, HEADS, 4, 5])]
}

/// What one token, (rows, d_model), comes to before the state is read, after the window, (rows, channels,
/// 3): z, x by head, B, C and delta; and the next window.
fn selected(layer: &Layer, token: &Tensor, window: &Tensor) -> ([Tensor; 5], Tensor) {
    let projected = token.matmul(&layer.tensor("in_proj.weight").transpose(0, 1));
    let channels = D_INNER + 2 * 5;
    let window = Tensor::cat(&[window, &projected.narrow(1, D_INNER, channels).unsqueeze(-1)], 2);
    let taps = layer.tensor("conv1d.weight").squeeze_dim(1);
    let sum = (&window * taps).sum_dim_intlist(-1, false, Kind::Double) + layer.tensor("conv1d.bias");
    let convolved = &sum * sum.sigmoid();
    let delta = (projected.narrow(1, D_INNER + channels, HEADS) + layer.tensor("dt_bias")).exp().log1p();
    let x = convolved.narrow(1, 0, D_INNER).unflatten(1, [HEADS, 4]);
    let [b, c] = [0, 1].map(|part| convolved.narrow(1, D_INNER + 5 * part, 5));
    ([projected.narrow(1, 0, D_INNER), x, b, c, delta], window.narrow(2, 1, 3))
}

/// One token through the layer: its output, and the state after it.
fn step(layer: &Layer, token: &Tensor, state: &[Tensor; 2]) -> (Tensor, [Tensor; 2]) {
    let ([z, x, b, c, delta], window) = selected(layer, token, &state[0]);
    let a = (-layer.tensor("A_log").exp() * &delta).exp();
    let written = (&x * delta.unsqueeze(-1)).unsqueeze(-1) * b.unsqueeze(1).unsqueeze(1);
    let ssm_state = &state[1] * a.unsqueeze(-1).unsqueeze(-1) + written; // (rows, heads, 4, 5)
    let read = (&ssm_state * c.unsqueeze(1).unsqueeze(1)).sum_dim_intlist(-1, false, Kind::Double);
    let y = (read + x * layer.tensor("D").unsqueeze(-1)).flatten(1, 2);
    let gated = y * &z * z.sigmoid();
    let mean = gated.square().mean_dim(-1, true, Kind::Double) + 1e-5;
    let normed = gated / mean.sqrt() * layer.tensor("norm.weight");
    (normed.matmul(&layer.tensor("out_proj.weight").transpose(0, 1)), [window, ssm_state])
}

/// Outputs of the stream and of the queries, and the state, token by token.
fn recurrence(layer: &Layer, given: &Given) -> Vec<(&'static str, Tensor)> {
    let mut state = [0, 1].map(|part: usize| given.state.0[part].shallow_clone());
    let mut outputs = Vec::new();
    for t in 0..given.stream.size()[1] {
        let (output, next) = step(layer, &given.stream.select(1, t), &state);
        outputs.push(output);
        state = next;
    }
    let answers: Vec<Tensor> =
        (0..3).map(|query| step(layer, &given.queries.select(1, query), &state).0).collect();
    let [window, ssm_state] = state;
    let (output, answers) = (Tensor::stack(&outputs, 1), Tensor::stack(&answers, 1));
    vec![("output", output), ("answers", answers), ("window", window), ("ssm_state", ssm_state)]
}

#[test]
fn equals_the_recurrence_with_all_gradients() {
    for length in [1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * 5 / 2] {
        let [got, want] = [true, false].map(|chunked| {
            let (layer, given) = (layer(), Given::draw(length, earlier()));
            let results = if chunked {
                let (output, answers, state) = given.through(&layer);
                let [window, ssm_state] = <[Tensor; 2]>::try_from(state.0).unwrap();
                vec![("output", output), ("answers", answers), ("window", window), ("ssm_state", ssm_state)]
            } else {
                recurrence(&layer, &given)
            };
            with_all_gradients(&layer, &given, results)
        });
        // Four results, and gradients by the tokens, the queries, two parts of the state, eight tensors.
        assert_eq!(got.len(), 16);
        assert_all_near(&format!("{length} tokens"), &got, &want, 1e-11);
    }
}

#[test]
fn extreme_steps_stay_finite() {
    for bias in [-200.0, 200.0, 1e30] {
        let (layer, given) = (layer(), Given::draw(CHUNK + 9, earlier()));
        let _ = tch::no_grad(|| layer.tensor("dt_bias").shallow_clone().fill_(bias));
        let (output, answers, _) = given.through(&layer);
        let results = vec![("output", output), ("answers", answers)];
        for (name, tensor) in with_all_gradients(&layer, &given, results) {
            assert!(tensor.isfinite().all().int64_value(&[]) == 1, "{name} with a bias of {bias}");
        }
    }
}

/// Logits of the queries of the first stream, (heads or 1, queries, tokens).
fn logits(layer: &Layer, given: &Given, association: Association) -> Tensor {
    let initial = layer.mixer.initial_state(2, 0, OPTIONS);
    let observed = layer.mixer.observe(&given.stream, &initial, Some(association)).unwrap();
    let queries = given.queries.flatten(0, 1).unsqueeze(1);
    let answered = layer.mixer.answer(&queries, &observed.state, Some(association)).unwrap();
    answered.queries.unwrap().logits(&observed.keys.unwrap()).select(0, 0).detach()
}

#[test]
fn associations_are_what_is_written_and_read() {
    let (layer, given) = (layer(), Given::draw(7, earlier()));
    let [content, gated, decayed] = [Association::Content, Association::Gated, Association::Decayed]
        .map(|association| logits(&layer, &given, association));
    assert_eq!([content.size(), gated.size(), decayed.size()], [[1, 3, 7], [HEADS, 3, 7], [HEADS, 3, 7]]);
    let mut window = Tensor::zeros([2, D_INNER + 2 * 5, 3], OPTIONS);
    let mut tokens = Vec::new();
    for t in 0..7 {
        let (parts, next) = selected(&layer, &given.stream.select(1, t), &window);
        tokens.push(parts);
        window = next;
    }
    let a = layer.tensor("A_log").exp().neg();
    for query in 0..3 {
        let ([.., c, last], _) = selected(&layer, &given.queries.select(1, query), &window);
        for (t, [_, _, b, _, delta]) in tokens.iter().enumerate() {
            let product = (b * &c).sum_dim_intlist(-1, false, Kind::Double).double_value(&[0]);
            for head in 0..HEADS {
                let at = |tensor: &Tensor| tensor.double_value(&[0, head]);
                let later = tokens[t + 1..].iter().map(|parts| at(&parts[4])).sum::<f64>() + at(&last);
                let left = (a.double_value(&[head]) * later).exp();
                let place = [head, query, t as i64];
                let near = |what: &str, got: f64, want: f64| {
                    assert!((got - want).abs() < 1e-12, "{what} at {place:?}: {got} is not {want}");
                };
                near("content", content.double_value(&[0, query, t as i64]), product);
                near("gated", gated.double_value(&place), product + at(delta).ln());
                near("decayed", decayed.double_value(&place), left * at(delta) * product);
            }
        }
    }
}

#[test]
fn tensors_are_named_as_in_mamba_ssm() {
    let config = MixerConfig::Mamba2(Mamba2Config::default());
    let schema = Schema::of(|path| config.settings().build(path, 96)).unwrap();
    let specs: Vec<_> = schema.specs().iter().map(|spec| (&spec.name[..], &spec.shape[..])).collect();
    let want: [(&str, &[i64]); 8] = [
        ("in_proj.weight", &[2 * 192 + 2 * 64 + 3, 96]),
        ("conv1d.weight", &[192 + 2 * 64, 1, 4]),
        ("conv1d.bias", &[192 + 2 * 64]),
        ("dt_bias", &[3]),
        ("A_log", &[3]),
        ("D", &[3]),
        ("norm.weight", &[192]),
        ("out_proj.weight", &[96, 192]),
    ];
    assert_eq!(specs, want);
}

#[test]
fn settings_out_of_range_are_refused_by_field() {
    let refuse = |config: Mamba2Config| refused(config, D_MODEL);
    for headdim in [0, 5, 24] {
        assert_eq!(refuse(Mamba2Config { headdim, ..CONFIG }), "mixer.headdim");
    }
    assert_eq!(refuse(Mamba2Config { d_state: 0, ..CONFIG }), "mixer.d_state");
    assert_eq!(refuse(Mamba2Config { d_conv: 0, ..CONFIG }), "mixer.d_conv");
    assert_eq!(refuse(Mamba2Config { expand: 0, ..CONFIG }), "mixer.expand");
    assert_eq!(refuse(Mamba2Config { dt_min: 2.0, ..CONFIG }), "mixer.dt_min");
}
