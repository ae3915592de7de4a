//! Gated DeltaNet: the chunked rule against its recurrence, and the layer against its equations.

use crate::agreement::{assert_all_near, assert_near, with_gradients};
use crate::draw::Draw;
use crate::layer::{Given, Layer, with_all_gradients};
use crate::models::refused;
use mambacl::error::{Error, Result};
use mambacl::mixers::{Association, MixerConfig, gated_delta_net::GatedDeltaNetConfig};
use mambacl::ops::gated_delta_rule::GatedDeltaRule;
use mambacl::ops::linear_attention::CHUNK;
use tch::{Kind, Tensor};

const LENGTHS: [i64; 5] = [1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * 5 / 2];

/// The arguments of a rule, as leaves.
struct Arguments {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    beta: Tensor,
    initial_state: Tensor,
}

/// Two streams, three heads, keys of 5 and values of 4; logarithms of decays of the order of `decay`.
fn draw(length: i64, decay: f64) -> Arguments {
    let mut draw = Draw::new(length as u64);
    let mut normal = |shape: &[i64]| draw.normal(shape);
    let k = normal(&[2, 3, length, 5]);
    let leaf = |tensor: Tensor| tensor.set_requires_grad(true);
    Arguments {
        q: leaf(normal(&[2, 3, length, 5])),
        k: leaf(&k / k.norm_scalaropt_dim(2.0, [-1i64], true)),
        v: leaf(normal(&[2, 3, length, 4])),
        log_decay: leaf(-normal(&[2, 3, length]).abs() * decay),
        beta: leaf(normal(&[2, 3, length]).sigmoid()),
        initial_state: leaf(normal(&[2, 3, 5, 4])),
    }
}

impl Arguments {
    fn rule(&self) -> GatedDeltaRule<'_> {
        let Self { q, k, v, log_decay, beta, initial_state } = self;
        GatedDeltaRule { q, k, v, log_decay, beta, initial_state }
    }

    fn leaves(&self) -> [(&'static str, &Tensor); 6] {
        let Self { q, k, v, log_decay, beta, initial_state } = self;
        [
            ("q", q),
            ("k", k),
            ("v", v),
            ("log_decay", log_decay),
            ("beta", beta),
            ("initial state", initial_state),
        ]
    }
}

type Way = fn(&GatedDeltaRule) -> Result<(Tensor, Tensor)>;

const WAYS: [Way; 2] = [|rule| rule.run(), |rule| rule.reference()];

#[test]
fn the_rule_equals_its_recurrence_with_all_gradients() {
    for length in LENGTHS {
        // As drawn; nearly nothing forgotten; all forgotten at each step.
        for decay in [0.1, 1e-8, 1e4] {
            let [got, want] = WAYS.map(|run| {
                let arguments = draw(length, decay);
                let (o, state) = run(&arguments.rule()).unwrap();
                with_gradients([("o", o), ("state", state)], &arguments.leaves())
            });
            assert_all_near(&format!("{length} steps, {decay}"), &got, &want, 1e-12);
        }
    }
}

#[test]
fn in_float32_a_step_that_forgets_all_leaves_the_later_decays_exact() {
    let mut arguments = draw(CHUNK, 0.01);
    let _ = tch::no_grad(|| arguments.log_decay.narrow(2, 9, 1).fill_(-1e9));
    let (o, state) = arguments.rule().reference().unwrap();
    let Arguments { q, k, v, log_decay, beta, initial_state } = &mut arguments;
    for tensor in [q, k, v, log_decay, beta, initial_state] {
        *tensor = tensor.to_kind(Kind::Float);
    }
    let got = arguments.rule().run().unwrap();
    assert_near("o", &got.0, &o, 5e-6);
    assert_near("state", &got.1, &state, 5e-6);
}

#[test]
fn a_rewritten_key_answers_its_last_value_and_others_theirs() {
    let length = 8;
    let mut arguments = draw(length, 0.0);
    // Keys e_0 .. e_3, each written twice, always in full.
    let keys = Tensor::eye(5, (Kind::Double, tch::Device::Cpu)).narrow(0, 0, 4).repeat([2, 1]);
    arguments.k = keys.expand([2, 3, length, 5], false);
    arguments.beta = arguments.beta.ones_like();
    let (_, state) = arguments.rule().run().unwrap();
    assert_near("values", &state.narrow(2, 0, 4), &arguments.v.narrow(2, 4, 4), 1e-13);
}

#[test]
fn gradients_of_gradients_are_those_of_the_recurrence() {
    let [got, want] = WAYS.map(|run| {
        let arguments = draw(CHUNK + 3, 0.1);
        let (o, state) = run(&arguments.rule()).unwrap();
        let loss = o.square().sum(Kind::Double) + state.square().sum(Kind::Double);
        let leaves = arguments.leaves().map(|(_, leaf)| leaf);
        let gradients = Tensor::run_backward(&[loss], &leaves, true, true);
        let sum = gradients.iter().map(|gradient| gradient.square().sum(Kind::Double)).sum::<Tensor>();
        with_gradients([("sum", sum), ("o", o.detach())], &arguments.leaves())
    });
    assert_all_near("twice", &got, &want, 1e-11);
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    let refused = |change: fn(&mut Arguments)| {
        let mut arguments = draw(4, 0.1);
        change(&mut arguments);
        match arguments.rule().run() {
            Err(Error::Shape { op: "gated_delta_rule", argument, .. }) => argument,
            other => panic!("{:?}", other.map(drop)),
        }
    };
    assert_eq!(refused(|a| a.q = a.q.narrow(1, 0, 2)), "q");
    assert_eq!(refused(|a| a.k = a.k.narrow(3, 0, 4)), "k");
    assert_eq!(refused(|a| a.v = a.v.select(1, 0)), "v");
    assert_eq!(refused(|a| a.v = a.v.narrow(2, 0, 0)), "v");
    assert_eq!(refused(|a| a.log_decay = a.log_decay.unsqueeze(-1)), "log_decay");
    assert_eq!(refused(|a| a.beta = a.beta.narrow(2, 0, 3)), "beta");
    assert_eq!(refused(|a| a.initial_state = a.initial_state.transpose(2, 3)), "initial_state");
}

const HEADS: i64 = 2;
const D_KEY: i64 = 5;
const D_VALUE: i64 = 4;
const TAPS: i64 = 4;

fn config() -> MixerConfig {
    MixerConfig::GatedDeltaNet(GatedDeltaNetConfig {
        n_head: HEADS,
        d_key: Some(D_KEY),
        d_value: Some(D_VALUE),
        d_conv: TAPS,
        ..GatedDeltaNetConfig::default()
    })
}

/// A state that is not zero.
fn earlier() -> Vec<Tensor> {
    let mut draw = Draw::new(5);
    vec![draw.normal(&[2, HEADS * (2 * D_KEY + D_VALUE), TAPS - 1]), draw.normal(&[2, HEADS, D_KEY, D_VALUE])]
}

/// Inputs of the convolution so far, (rows, channels) each; and S, (rows, heads, d_value, d_key).
struct Memory {
    inputs: Vec<Tensor>,
    s: Tensor,
}

/// What one token, (rows, d_model), is found by and looks for, in units of length.
struct Found {
    q: Tensor,
    k: Tensor,
    log_decay: Tensor,
    b: Tensor,
}

/// A token's output and the memory after it, from the equations.
fn step(layer: &Layer, token: &Tensor, memory: &Memory) -> (Tensor, Memory, Found) {
    let by = |name: &str| token.matmul(&layer.tensor(name).transpose(0, 1));
    let names = ["q", "k", "v"];
    let input = Tensor::cat(&names.map(|name| by(&format!("{name}_proj.weight"))), -1);
    let mut inputs: Vec<_> = memory.inputs.iter().map(Tensor::shallow_clone).collect();
    inputs.push(input);
    let taps = Tensor::cat(&names.map(|name| layer.tensor(&format!("{name}_conv1d.weight"))), 0);
    let first = inputs.len() as i64 - TAPS;
    let sum: Tensor =
        (0..TAPS).map(|tap| &inputs[(first + tap) as usize] * taps.select(2, tap).squeeze()).sum();
    let x = &sum * sum.sigmoid();
    let heads = |start: i64, size: i64| x.narrow(-1, start, HEADS * size).unflatten(-1, [HEADS, size]);
    let (q, k) = (heads(0, D_KEY), heads(HEADS * D_KEY, D_KEY));
    let v = heads(2 * HEADS * D_KEY, D_VALUE).unsqueeze(-1);
    let [q, k] = [q, k].map(|x| {
        let square = (&x * &x).sum_dim_intlist(-1, true, Kind::Double);
        x / (square + 1e-6).sqrt()
    });
    let rate = layer.tensor("A_log").exp();
    let log_decay = -rate * ((by("a_proj.weight") + layer.tensor("dt_bias")).exp() + 1.0).log();
    let b = by("b_proj.weight").sigmoid();
    let scalar = |tensor: &Tensor| tensor.unsqueeze(-1).unsqueeze(-1);
    let (column, row) = (k.unsqueeze(-1), k.unsqueeze(-2));
    let kept = Tensor::eye(D_KEY, (Kind::Double, tch::Device::Cpu)) - scalar(&b) * column.matmul(&row);
    let s = scalar(&log_decay.exp()) * memory.s.matmul(&kept) + scalar(&b) * v.matmul(&row);
    let o = s.matmul(&q.unsqueeze(-1)).squeeze_dim(-1) / (D_KEY as f64).sqrt();
    let mean = (&o * &o).mean_dim(-1, true, Kind::Double);
    let normed = o / (mean + 1e-5).sqrt() * layer.tensor("o_norm.weight");
    let gate = by("g_proj.weight");
    let gated = normed.flatten(1, 2) * &gate * gate.sigmoid();
    let output = gated.matmul(&layer.tensor("o_proj.weight").transpose(0, 1));
    (output, Memory { inputs, s }, Found { q, k, log_decay, b })
}

/// A stream and each query of it, token by token: what with_all_gradients compares, and what is found.
fn recurrence(layer: &Layer, given: &Given) -> (Vec<(&'static str, Tensor)>, Vec<Found>, Vec<Found>) {
    let [window, s] = &given.state.0[..] else { panic!("two tensors") };
    let inputs = (0..TAPS - 1).map(|at| window.select(2, at)).collect();
    let mut memory = Memory { inputs, s: s.transpose(-1, -2) };
    let (mut outputs, mut keys) = (Vec::new(), Vec::new());
    for t in 0..given.stream.size()[1] {
        let (output, next, found) = step(layer, &given.stream.select(1, t), &memory);
        memory = next;
        outputs.push(output);
        keys.push(found);
    }
    let (mut answers, mut queries) = (Vec::new(), Vec::new());
    for query in 0..given.queries.size()[1] {
        let (answer, _, found) = step(layer, &given.queries.select(1, query), &memory);
        answers.push(answer);
        queries.push(found);
    }
    let last = &memory.inputs[memory.inputs.len() - (TAPS - 1) as usize..];
    let results = vec![
        ("output", Tensor::stack(&outputs, 1)),
        ("answers", Tensor::stack(&answers, 1)),
        ("window", Tensor::stack(last, 2)),
        ("memory", memory.s.transpose(-1, -2)),
    ];
    (results, keys, queries)
}

#[test]
fn the_layer_equals_its_equations_with_all_gradients() {
    for length in LENGTHS {
        let [got, want] = [true, false].map(|chunked| {
            let (layer, given) = (Layer::new(&config()), Given::draw(length, earlier()));
            let results = if chunked {
                let (output, answers, state) = given.through(&layer);
                let [window, memory] = <[Tensor; 2]>::try_from(state.0).unwrap();
                vec![("output", output), ("answers", answers), ("window", window), ("memory", memory)]
            } else {
                recurrence(&layer, &given).0
            };
            with_all_gradients(&layer, &given, results)
        });
        // Four results; gradients by the tokens, the queries, two parts of the state and 13 tensors.
        assert_eq!(got.len(), 4 + 4 + 13);
        assert_all_near(&format!("{length} tokens"), &got, &want, 1e-11);
    }
}

/// √d_key q · k; and ln b; and with that the logarithms of all later decays.
#[test]
fn associations_are_what_they_say() {
    let length = 9;
    let (layer, given) = (Layer::new(&config()), Given::draw(length, earlier()));
    let (_, keys, queries) = recurrence(&layer, &given);
    let stacked = |found: &[Found], part: fn(&Found) -> &Tensor| {
        Tensor::stack(&found.iter().map(part).collect::<Vec<_>>(), 2) // (rows, heads, tokens, ...)
    };
    let (q, k) = (stacked(&queries, |found| &found.q), stacked(&keys, |found| &found.k));
    let content = q.matmul(&k.transpose(-1, -2)) * (D_KEY as f64).sqrt();
    let gate = stacked(&keys, |found| &found.b).log().unsqueeze(2);
    let later: Vec<Tensor> = (0..length as usize)
        .map(|t| keys[t + 1..].iter().fold(keys[0].b.zeros_like(), |sum, found| sum + &found.log_decay))
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

#[test]
fn decays_of_any_strength_give_finite_numbers_and_gradients() {
    for dt in [-200.0, 200.0] {
        let (layer, given) = (Layer::new(&config()), Given::draw(CHUNK + 5, earlier()));
        let _ = tch::no_grad(|| layer.tensor("dt_bias").shallow_clone().fill_(dt));
        let (output, answers, state) = given.through(&layer);
        let [window, memory] = <[Tensor; 2]>::try_from(state.0).unwrap();
        let results = vec![("output", output), ("answers", answers), ("window", window), ("memory", memory)];
        for (name, tensor) in with_all_gradients(&layer, &given, results) {
            assert!(tensor.isfinite().all().int64_value(&[]) == 1, "{name} at a bias of {dt}");
        }
    }
}

#[test]
fn settings_out_of_range_are_refused_by_field() {
    let field = |config: GatedDeltaNetConfig| refused(config, 6);
    let default = GatedDeltaNetConfig::default;
    assert_eq!(field(GatedDeltaNetConfig { n_head: 0, ..default() }), "mixer.n_head");
    assert_eq!(field(GatedDeltaNetConfig { n_head: 4, ..default() }), "mixer.n_head");
    assert_eq!(field(GatedDeltaNetConfig { d_key: Some(0), n_head: 2, ..default() }), "mixer.d_key");
    assert_eq!(field(GatedDeltaNetConfig { d_value: Some(0), n_head: 2, ..default() }), "mixer.d_value");
    assert_eq!(field(GatedDeltaNetConfig { d_conv: 0, ..default() }), "mixer.d_conv");
    assert_eq!(field(GatedDeltaNetConfig { dt_min: 0.0, n_head: 2, ..default() }), "mixer.dt_min");
}
