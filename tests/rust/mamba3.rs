//! Mamba-3: the layer in chunks against its equations, token by token.

use crate::agreement::{assert_all_near, assert_near};
use crate::draw::Draw;
use crate::layer::{D_MODEL, Given, Layer, with_all_gradients};
use crate::models::refused;
use mambacl::mixers::{Association, InitialDecay, MixerConfig, mamba3::Mamba3Config};
use mambacl::ops::linear_attention::CHUNK;
use mambacl::params::Schema;
use std::f64::consts::PI;
use tch::{Kind, Tensor};

const EXPAND: i64 = 2;
const D_INNER: i64 = EXPAND * D_MODEL;
const HEADDIM: i64 = 4;
const HEADS: i64 = D_INNER / HEADDIM;
const D_STATE: i64 = 8;
const ANGLES: i64 = 2;

fn config(initial_decay: InitialDecay) -> MixerConfig {
    // Large steps: angles of many turns, and memories that fade within the stream.
    MixerConfig::Mamba3(Mamba3Config {
        d_state: D_STATE,
        expand: EXPAND,
        headdim: HEADDIM,
        rope_fraction: 0.5,
        dt_min: 0.05,
        dt_max: 2.0,
        initial_decay,
    })
}

/// A state that is not zero.
fn earlier() -> Vec<Tensor> {
    let mut draw = Draw::new(5);
    vec![
        draw.normal(&[2, HEADS, ANGLES]),
        draw.normal(&[2, HEADS, HEADDIM, D_STATE]),
        draw.normal(&[2, HEADS, D_STATE]),
        draw.normal(&[2, HEADS, HEADDIM]),
    ]
}

/// θ (rows, heads, angles), S (rows, heads, headdim, d_state), and of the last token b (rows, heads,
/// d_state) and x (rows, heads, headdim).
struct Memory {
    angle: Tensor,
    s: Tensor,
    b: Tensor,
    x: Tensor,
}

/// What a token is found by and looks for: turned, (rows, heads, d_state); and its step and ln α,
/// (rows, heads).
struct Found {
    b: Tensor,
    c: Tensor,
    dt: Tensor,
    log_alpha: Tensor,
}

/// Pairs of neighbours as complex numbers, the first of them turned.
fn turned(vector: &Tensor, angle: &Tensor) -> Tensor {
    let mut numbers: Vec<Tensor> = (0..D_STATE).map(|index| vector.select(-1, index)).collect();
    for pair in 0..ANGLES {
        let (real, imaginary) = (2 * pair as usize, 2 * pair as usize + 1);
        let by = angle.select(-1, pair);
        let (cos, sin) = (by.cos(), by.sin());
        let turned = [
            &numbers[real] * &cos - &numbers[imaginary] * &sin,
            &numbers[real] * &sin + &numbers[imaginary] * &cos,
        ];
        [numbers[real], numbers[imaginary]] = turned;
    }
    Tensor::stack(&numbers, -1)
}

/// A token's output, (rows, d_model), and the memory after it.
fn step(layer: &Layer, token: &Tensor, memory: &Memory) -> (Tensor, Memory, Found) {
    let projected = token.matmul(&layer.tensor("in_proj.weight").transpose(0, 1));
    let mut start = 0;
    let mut next = |size: i64| {
        start += size;
        projected.narrow(-1, start - size, size)
    };
    let (z, x) = (next(D_INNER), next(D_INNER).view([-1, HEADS, HEADDIM]));
    let (b, c) = (next(D_STATE), next(D_STATE));
    let (dd_dt, dd_a, trap, angle) = (next(HEADS), next(HEADS), next(HEADS), next(ANGLES));
    assert_eq!(start, projected.size()[1]);
    let dt = ((dd_dt + layer.tensor("dt_bias")).exp() + 1.0).log();
    let heavy = (&dd_a + 1.0).where_self(&dd_a.ge(0.0), &(1.0 / (1.0 - &dd_a)));
    // The floor does not bind at numbers like these. A layer whose decay is that published has no A_log.
    let a_log = layer.tensors().find(|(name, _)| name == "A_log");
    let rate = a_log.map_or(heavy.shallow_clone(), |(_, a_log)| &heavy * a_log.exp());
    let log_alpha = -rate * &dt;
    let alpha = log_alpha.exp();
    let lambda = trap.sigmoid();
    let (beta, gamma) = ((1.0 - &lambda) * &dt * &alpha, lambda * &dt);
    let angle = &memory.angle + angle.tanh().unsqueeze(1) * PI * dt.unsqueeze(-1);
    let found = |x: Tensor, name: &str| {
        let mean = (&x * &x).mean_dim(-1, true, Kind::Double);
        let normed = x / (mean + 1e-5).sqrt() * layer.tensor(&format!("{name}_norm.weight"));
        turned(&(normed.unsqueeze(1) + layer.tensor(&format!("{name}_bias")).squeeze_dim(1)), &angle)
    };
    let (b, c) = (found(b, "B"), found(c, "C"));
    let scalar = |tensor: &Tensor| tensor.unsqueeze(-1).unsqueeze(-1);
    let outer = |x: &Tensor, b: &Tensor| x.unsqueeze(-1).matmul(&b.unsqueeze(-2));
    let s = scalar(&alpha) * &memory.s
        + scalar(&beta) * outer(&memory.x, &memory.b)
        + scalar(&gamma) * outer(&x, &b);
    let y = s.matmul(&c.unsqueeze(-1)).squeeze_dim(-1) + layer.tensor("D").unsqueeze(-1) * &x;
    let gated = y.flatten(1, 2) * &z * z.sigmoid();
    let output = gated.matmul(&layer.tensor("out_proj.weight").transpose(0, 1));
    let after = Memory { angle, s, b: b.shallow_clone(), x };
    (output, after, Found { b, c, dt, log_alpha })
}

/// A stream, and each query after it.
struct Run {
    results: Vec<(&'static str, Tensor)>,
    tokens: Vec<Found>,
    queries: Vec<Found>,
}

fn recurrence(layer: &Layer, given: &Given) -> Run {
    let [angle, s, b, x] = &given.state.0[..] else { panic!("four tensors") };
    let [angle, s, b, x] = [angle, s, b, x].map(Tensor::shallow_clone);
    let mut memory = Memory { angle, s, b, x };
    let (mut outputs, mut tokens) = (Vec::new(), Vec::new());
    for t in 0..given.stream.size()[1] {
        let (output, after, found) = step(layer, &given.stream.select(1, t), &memory);
        memory = after;
        outputs.push(output);
        tokens.push(found);
    }
    let (mut answers, mut queries) = (Vec::new(), Vec::new());
    for query in 0..given.queries.size()[1] {
        let (answer, _, found) = step(layer, &given.queries.select(1, query), &memory);
        answers.push(answer);
        queries.push(found);
    }
    let (outputs, answers) = (Tensor::stack(&outputs, 1), Tensor::stack(&answers, 1));
    Run { results: named(outputs, answers, [memory.angle, memory.s, memory.b, memory.x]), tokens, queries }
}

/// Results by name; of angles their direction.
fn named(output: Tensor, answers: Tensor, state: [Tensor; 4]) -> Vec<(&'static str, Tensor)> {
    let [angle, s, b, x] = state;
    vec![
        ("output", output),
        ("answers", answers),
        ("cosine", angle.cos()),
        ("sine", angle.sin()),
        ("ssm_state", s),
        ("last_b", b),
        ("last_x", x),
    ]
}

fn through(layer: &Layer, given: &Given) -> Vec<(&'static str, Tensor)> {
    let (output, answers, state) = given.through(layer);
    named(output, answers, state.0.try_into().unwrap())
}

#[test]
fn equals_its_equations_with_all_gradients() {
    let lengths = [1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * 5 / 2];
    let published = lengths.map(|length| (length, InitialDecay::Published));
    for (length, decay) in published.into_iter().chain([(CHUNK * 5 / 2, InitialDecay::Rate(0.3))]) {
        let [got, want] = [true, false].map(|chunked| {
            let (layer, given) = (Layer::new(&config(decay)), Given::draw(length, earlier()));
            let results = if chunked { through(&layer, &given) } else { recurrence(&layer, &given).results };
            with_all_gradients(&layer, &given, results)
        });
        // Seven results; gradients by the tokens, the queries, four parts of the state and 8 tensors, or 9.
        let tensors = if decay == InitialDecay::Published { 8 } else { 9 };
        assert_eq!(got.len(), 7 + 6 + tensors);
        assert_all_near(&format!("{length} tokens, {decay:?}"), &got, &want, 1e-11);
    }
}

#[test]
fn the_angle_is_kept_within_a_turn() {
    let (layer, given) = (Layer::new(&config(InitialDecay::Published)), Given::draw(CHUNK, earlier()));
    let (_, _, state) = given.through(&layer);
    let turns = recurrence(&layer, &given).tokens.iter().map(|found| &found.dt).sum::<Tensor>();
    assert!(turns.max().double_value(&[]) > 10.0, "enough to turn around");
    assert!(state.0[0].abs().max().double_value(&[]) <= PI + 1e-12);
}

/// b · c / √d_state; and ln dt; and with that the logarithms of all later decays.
#[test]
fn associations_are_what_they_say() {
    let length = 9;
    let (layer, given) = (Layer::new(&config(InitialDecay::Published)), Given::draw(length, earlier()));
    let Run { tokens, queries, .. } = recurrence(&layer, &given);
    let stacked = |found: &[Found], part: fn(&Found) -> &Tensor| {
        Tensor::stack(&found.iter().map(part).collect::<Vec<_>>(), 2) // (rows, heads, tokens, ...)
    };
    let (c, b) = (stacked(&queries, |found| &found.c), stacked(&tokens, |found| &found.b));
    let content = c.matmul(&b.transpose(-1, -2)) / (D_STATE as f64).sqrt();
    let gate = stacked(&tokens, |found| &found.dt).log().unsqueeze(2);
    let later: Vec<Tensor> = (0..length as usize)
        .map(|t| tokens[t + 1..].iter().fold(tokens[0].dt.zeros_like(), |sum, found| sum + &found.log_alpha))
        .collect();
    let later = Tensor::stack(&later, 2).unsqueeze(2);
    for (association, want) in [
        (Association::Content, content.shallow_clone()),
        (Association::Gated, &content + &gate),
        (Association::Decayed, &content + &gate + later),
    ] {
        let observed = layer.mixer.observe(&given.stream, &given.state, Some(association)).unwrap();
        let rows = given.queries.flatten(0, 1).unsqueeze(1);
        let answered = layer.mixer.answer(&rows, &observed.state, Some(association)).unwrap();
        let logits = answered.queries.unwrap().logits(&observed.keys.unwrap());
        assert_near(&format!("{association:?}"), &logits, &want, 1e-12);
    }
}

/// With dd_A far below zero, A is the floor: ln dt, which is of all tokens the same, falls by A dt a token.
#[test]
fn a_state_decays_at_least_at_the_floor() {
    let (layer, given) = (Layer::new(&config(InitialDecay::Published)), Given::draw(5, earlier()));
    let rows = layer.tensor("in_proj.weight").narrow(0, 2 * D_INNER + 2 * D_STATE + HEADS, HEADS);
    let _ = tch::no_grad(|| rows.shallow_clone().fill_(-1e5));
    let stream = given.stream.ones_like();
    let observed = layer.mixer.observe(&stream, &given.state, Some(Association::Decayed)).unwrap();
    let weight = observed.keys.unwrap().log_weight.unwrap(); // (2, heads, 5)
    let dt = weight.narrow(2, 4, 1).exp();
    let fallen = weight.narrow(2, 4, 1) - weight;
    let want = dt * 1e-4 * Tensor::from_slice(&[4.0, 3.0, 2.0, 1.0, 0.0]);
    assert_near("fallen", &(fallen * 1e4), &(want * 1e4), 1e-9);
}

#[test]
fn steps_of_any_size_give_finite_numbers_and_gradients() {
    for dt in [-200.0, 200.0, 1e6] {
        let (layer, given) =
            (Layer::new(&config(InitialDecay::Published)), Given::draw(CHUNK + 5, earlier()));
        let _ = tch::no_grad(|| layer.tensor("dt_bias").shallow_clone().fill_(dt));
        for (name, tensor) in with_all_gradients(&layer, &given, through(&layer, &given)) {
            assert!(tensor.isfinite().all().int64_value(&[]) == 1, "{name} at a bias of {dt}");
        }
    }
}

#[test]
fn settings_out_of_range_are_refused_by_field() {
    let field = |config: Mamba3Config| refused(config, 16);
    let default = Mamba3Config::default;
    assert!(Schema::of(|path| MixerConfig::from(default()).settings().build(path, 16)).is_ok());
    for d_state in [0, 7] {
        assert_eq!(field(Mamba3Config { d_state, ..default() }), "mixer.d_state");
    }
    assert_eq!(field(Mamba3Config { expand: 0, ..default() }), "mixer.expand");
    for headdim in [0, 33] {
        assert_eq!(field(Mamba3Config { headdim, ..default() }), "mixer.headdim");
    }
    for rope_fraction in [0.0, 0.01, 1.01, f64::NAN] {
        assert_eq!(field(Mamba3Config { rope_fraction, ..default() }), "mixer.rope_fraction");
    }
    assert_eq!(field(Mamba3Config { dt_min: 1.0, ..default() }), "mixer.dt_min");
}
