//! A few tokens through a block in one pass: against the same in plain tensor operations.

use crate::agreement::{assert_near, assert_same};
use crate::allocations;
use crate::draw::Draw;
use crate::models::{Model, Settings, Streams, classifier, image_classifier, regressor};
use mambacl::backbone::{FeedForwardConfig, MlpConfig};
use mambacl::error::Error;
use mambacl::learners::SequenceConfig;
use mambacl::mixers::{MixerConfig, mamba::MambaConfig};
use mambacl::ops::mamba_step::{MambaStep, Stepped, reference};
use proptest::prelude::*;
use tch::{Kind, Tensor, no_grad};

#[derive(Debug, Clone, Copy)]
struct Sizes {
    groups: i64,
    per_group: i64,
    length: i64,
    d_model: i64,
    d_inner: i64,
    d_state: i64,
    d_conv: i64,
    dt_rank: i64,
}

const SMALL: Sizes =
    Sizes { groups: 2, per_group: 2, length: 2, d_model: 19, d_inner: 37, d_state: 5, d_conv: 4, dt_rank: 3 };

struct Arguments {
    x: Tensor,
    parameters: [Tensor; 10],
    conv_window: Tensor,
    ssm_state: Tensor,
}

impl Arguments {
    fn draw(sizes: Sizes, seed: u64, kind: Kind) -> Self {
        let Sizes { groups, per_group, length, d_model, d_inner, d_state, d_conv, dt_rank } = sizes;
        let mut draw = Draw::new(seed);
        let mut normal = |shape: &[i64], scale: f64| (draw.normal(shape) * scale).to_kind(kind);
        // Products of order 1, as a trained model's.
        let over = |inputs: i64| (inputs as f64).powf(-0.5);
        Self {
            x: normal(&[groups * per_group, length, d_model], 2.0),
            parameters: [
                normal(&[d_model], 1.0),
                normal(&[2 * d_inner, d_model], over(d_model)),
                normal(&[d_inner, 1, d_conv], over(d_conv)),
                normal(&[d_inner], 1.0),
                normal(&[dt_rank + 2 * d_state, d_inner], over(d_inner)),
                normal(&[d_inner, dt_rank], over(dt_rank)),
                normal(&[d_inner], 2.0),
                normal(&[d_inner, d_state], 1.0),
                normal(&[d_inner], 1.0),
                normal(&[d_model, d_inner], over(d_inner)),
            ],
            conv_window: normal(&[groups, d_inner, d_conv - 1], 1.0),
            ssm_state: normal(&[groups, d_inner, d_state], 1.0),
        }
    }

    fn step(&self) -> MambaStep<'_> {
        let [norm_weight, in_proj, conv_weight, conv_bias, x_proj, dt_weight, dt_bias, a_log, d, out_proj] =
            &self.parameters;
        MambaStep {
            x: &self.x,
            norm_weight,
            norm_epsilon: 1e-5,
            in_proj,
            conv_weight,
            conv_bias,
            x_proj,
            dt_weight,
            dt_bias,
            a_log,
            d,
            out_proj,
            conv_window: &self.conv_window,
            ssm_state: &self.ssm_state,
        }
    }

    /// The states with their channels side by side, as the kernels leave them.
    fn channels_last(&mut self) {
        for state in [&mut self.conv_window, &mut self.ssm_state] {
            *state = state.transpose(1, 2).contiguous().transpose(1, 2);
        }
    }
}

fn run(step: &MambaStep) -> Stepped {
    step.run(true).unwrap().expect("the kernel serves")
}

fn assert_steps_near(got: &Stepped, want: &Stepped, tolerance: f64) {
    assert_near("output", &got.output, &want.output, tolerance);
    let ((window, state), (want_window, want_state)) =
        (got.state.as_ref().unwrap(), want.state.as_ref().unwrap());
    assert_near("window", window, want_window, tolerance);
    assert_near("state", state, want_state, tolerance);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Any sizes, with states shared by groups and laid out either way; and what was given stays.
    #[test]
    fn the_kernel_agrees_with_the_equation(
        (groups, per_group, length) in prop::sample::select(vec![
            (1, 1, 1), (1, 1, 2), (1, 4, 1), (2, 2, 1), (2, 1, 2), (2, 2, 2), (4, 1, 1), (1, 2, 3), (1, 1, 8),
        ]),
        d_model in 1..70i64,
        d_inner in 1..70i64,
        d_state in 1..=32i64,
        d_conv in 1..=4i64,
        dt_rank in 1..20i64,
        channels_last: bool,
        seed: u64,
    ) {
        let sizes = Sizes { groups, per_group, length, d_model, d_inner, d_state, d_conv, dt_rank };
        for (kind, tolerance) in [(Kind::Double, 1e-13), (Kind::Float, 5e-6)] {
            let mut arguments = Arguments::draw(sizes, seed, kind);
            if channels_last {
                arguments.channels_last();
            }
            let before = (arguments.conv_window.copy(), arguments.ssm_state.copy());
            let got = run(&arguments.step());
            assert_steps_near(&got, &reference::mamba_step(&arguments.step(), true).unwrap(), tolerance);
            assert_same("the window given", &arguments.conv_window, &before.0);
            assert_same("the state given", &arguments.ssm_state, &before.1);
            let answer = arguments.step().run(false).unwrap().unwrap();
            assert!(answer.state.is_none());
            assert_same("without a state", &answer.output, &got.output);
        }
    }
}

/// A row's results are the same bits whatever rows are beside it, and tokens at once or one by one.
#[test]
fn rows_and_tokens_alone_give_the_same_bits() {
    let together = Arguments::draw(SMALL, 3, Kind::Float);
    let whole = run(&together.step());
    let (window, state) = whole.state.unwrap();
    for row in 0..4 {
        let of_row = |tensor: &Tensor| tensor.narrow(0, row, 1);
        let group = together.conv_window.narrow(0, row / 2, 1);
        let mut step = MambaStep { conv_window: &group, ..together.step() };
        let (x, ssm_state) = (of_row(&together.x), together.ssm_state.narrow(0, row / 2, 1));
        let (first, second) = (x.narrow(1, 0, 1), x.narrow(1, 1, 1));
        (step.x, step.ssm_state) = (&first, &ssm_state);
        let (first_output, after) = (run(&step).output, run(&step).state.unwrap());
        (step.x, step.conv_window, step.ssm_state) = (&second, &after.0, &after.1);
        let stepped = run(&step);
        let output = Tensor::cat(&[first_output, stepped.output], 1);
        assert_same("output", &output, &of_row(&whole.output));
        let (own_window, own_state) = stepped.state.unwrap();
        assert_same("window", &own_window, &of_row(&window));
        assert_same("state", &own_state, &of_row(&state));
    }
}

#[test]
fn the_kernel_leaves_to_others_what_it_cannot_do() {
    let arguments = Arguments::draw(SMALL, 0, Kind::Float);
    let serves = |step: &MambaStep| step.run(true).unwrap().is_some();
    assert!(serves(&arguments.step()));
    let nine = Arguments::draw(Sizes { groups: 1, per_group: 3, length: 3, ..SMALL }, 0, Kind::Float);
    assert!(!serves(&nine.step()), "nine tokens");
    let none = Arguments::draw(Sizes { length: 0, ..SMALL }, 0, Kind::Float);
    assert!(!serves(&none.step()), "no token");
    let half = Arguments::draw(SMALL, 0, Kind::BFloat16);
    assert!(!serves(&half.step()), "bfloat16");
    let wide = arguments.ssm_state.to_kind(Kind::BFloat16);
    assert!(!serves(&MambaStep { ssm_state: &wide, ..arguments.step() }), "types that differ");
    let turned = arguments.step().in_proj.transpose(0, 1).contiguous().transpose(0, 1);
    assert!(!serves(&MambaStep { in_proj: &turned, ..arguments.step() }), "a matrix column by column");
    let leaf = arguments.step().d.copy().set_requires_grad(true);
    let trained = MambaStep { d: &leaf, ..arguments.step() };
    assert!(!serves(&trained), "a gradient is wanted");
    assert!(no_grad(|| serves(&trained)), "and here it is not");
}

#[test]
fn what_does_not_fit_is_named() {
    let arguments = Arguments::draw(SMALL, 0, Kind::Float);
    let step = arguments.step();
    let one_group = step.ssm_state.narrow(0, 0, 1);
    let short = step.conv_window.narrow(2, 0, 1);
    let narrow = step.x_proj.narrow(0, 1, 5);
    let wide = step.d.to_kind(Kind::Double);
    let refused = |step: MambaStep| step.run(true).err().expect("an error");
    let error = refused(MambaStep { ssm_state: &one_group, ..step });
    assert!(matches!(error, Error::Shape { argument, .. } if argument == "ssm_state"));
    let error = refused(MambaStep { conv_window: &short, ..step });
    assert!(matches!(error, Error::Shape { argument, .. } if argument == "conv_window"));
    let error = refused(MambaStep { x_proj: &narrow, ..step });
    assert!(matches!(error, Error::Shape { argument, .. } if argument == "x_proj"));
    let error = refused(MambaStep { d: &wide, ..step });
    assert!(matches!(error, Error::Dtype { argument, .. } if argument == "d"));
}

/// The tensors of the results are libtorch's to allocate, and counted from Python; Rust adds nothing.
#[test]
fn a_step_allocates_nothing_of_its_own() {
    let mut arguments = Arguments::draw(SMALL, 0, Kind::Float);
    for channels_last in [false, true] {
        if channels_last {
            arguments.channels_last();
        }
        let step = arguments.step();
        run(&step); // this thread's scratch memory
        let mut stepped = None;
        assert_eq!(allocations::count(|| stepped = step.run(true).unwrap()), 0);
        assert!(stepped.is_some());
    }
    // The count counts.
    assert!(allocations::count(|| drop(std::hint::black_box(vec![0u8; 9]))) > 0);
}

/// Learners in use, where no gradient is wanted, answer as where one is, which is the long way.
#[test]
fn learners_answer_as_the_long_way() {
    let wide = MambaConfig { d_state: 17, d_conv: 2, expand: 3, ..MambaConfig::default() };
    let mlp = FeedForwardConfig::Mlp(MlpConfig::default());
    let other = SequenceConfig { feed_forward: Some(mlp), mixer: MixerConfig::Mamba(wide), ..classifier() };
    for config in [classifier().learner(), image_classifier(), regressor(), other.learner()] {
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 2e-5)] {
            let model = Model::new(config.clone(), kind);
            // Two streams of two examples, and four queries of each: eight tokens.
            let streams = Streams::draw(config.clone(), kind, [2, 2, 4], 5);
            let initial = model.learner.initial_state(2, streams.codebook.as_ref(), 0).unwrap();
            let live = || {
                let state = model.learner.observe(&initial, &streams.train_x, &streams.train_y).unwrap();
                let output = model.learner.predict(&state, &streams.test_x, None).unwrap().output;
                (state, output)
            };
            let ((state, output), (want_state, want_output)) = (no_grad(live), live());
            assert!(want_output.requires_grad() && !output.requires_grad());
            assert_near("answers", &output, &want_output, tolerance);
            for (got, want) in state.tensors().iter().zip(want_state.tensors()) {
                assert_near("state", got, want, tolerance);
            }
        }
    }
}
