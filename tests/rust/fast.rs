//! Fast weights: their gradient to second order, what they learn, and steps that are too large.

use crate::agreement::assert_near;
use crate::learner::separated;
use crate::models::{Model, Settings, Streams, anml, images, interface, oml, regressing};
use mambacl::error::Error;
use mambacl::learners::{AnmlConfig, InterfaceConfig, LearnerConfig, OmlConfig};
use mambacl::meta;
use mambacl::params::Role;
use mambacl::target::{AngleTarget, ClassTarget, VectorTarget};
use tch::nn::{Adam, OptimizerConfig};
use tch::{Kind, Tensor};

/// Examples and queries of two streams.
const SIZES: [i64; 3] = [2, 5, 3];

fn configs() -> Vec<(&'static str, LearnerConfig)> {
    let angles = InterfaceConfig { target: AngleTarget { dim: 2 }.into(), ..interface() };
    vec![
        ("oml", oml().learner()),
        ("oml without a hidden layer", OmlConfig { hidden: vec![], ..oml() }.learner()),
        ("oml of two hidden layers", OmlConfig { hidden: vec![7, 4], ..oml() }.learner()),
        ("vectors by oml", LearnerConfig::new(regressing(), oml())),
        ("angles by oml", LearnerConfig::new(angles.clone(), oml())),
        ("anml", anml().learner()),
        ("vectors by anml", LearnerConfig::new(regressing(), anml())),
        ("angles by anml", LearnerConfig::new(angles, anml())),
        ("images by anml", LearnerConfig::new(images(), AnmlConfig { hidden: Some(vec![3, 4]), ..anml() })),
    ]
}

/// The loss of meta-training.
fn loss(model: &Model, streams: &Streams) -> Tensor {
    meta::run(&model.learner, &streams.episode(), Some(0)).unwrap().loss
}

/// The gradient of the loss by a parameter, number by number, from differences.
fn slopes(model: &Model, streams: &Streams, parameter: &Tensor) -> Tensor {
    let step = 1e-6;
    let _guard = tch::no_grad_guard();
    let mut numbers = parameter.detach().view([-1]); // shares the parameter's memory
    let mut slope = |index: i64| {
        let own = numbers.double_value(&[index]);
        let at = |value: f64| {
            let _ = numbers.narrow(0, index, 1).fill_(value);
            loss(model, streams).double_value(&[])
        };
        let difference = at(own + step) - at(own - step);
        at(own);
        difference / (2.0 * step)
    };
    let slopes: Vec<f64> = (0..parameter.numel() as i64).map(&mut slope).collect();
    numbers = Tensor::from_slice(&slopes);
    numbers.view_as(parameter)
}

#[test]
fn meta_gradients_are_those_of_finite_differences() {
    // And of a stream that is longer than steps are gathered for.
    let long = ("a long stream by oml", oml().learner(), [1, 70, 2]);
    let cases = configs().into_iter().map(|(name, config)| (name, config, SIZES));
    for (name, config, sizes) in cases.chain([long]) {
        let model = Model::new(config.clone(), Kind::Double);
        let streams = Streams::draw(config, Kind::Double, sizes, 0);
        loss(&model, &streams).backward();
        for (spec, parameter) in model.schema.specs().iter().zip(&model.tensors) {
            if spec.role == Role::Buffer {
                continue;
            }
            let gradient = parameter.grad();
            assert!(gradient.abs().max().double_value(&[]) > 1e-6, "{name}, {}", spec.name);
            let want = slopes(&model, &streams, parameter);
            assert_near(&format!("{name}, {}", spec.name), &gradient, &want, 1e-7);
        }
    }
}

/// Steps are gathered from where a piece begins, which must not show.
#[test]
fn long_streams_in_pieces_come_to_the_same() {
    for (name, config) in configs() {
        let model = Model::new(config.clone(), Kind::Double);
        let streams = Streams::draw(config, Kind::Double, [2, 80, 3], 0);
        let read = |pieces: &[i64]| {
            let mut state = model.learner.initial_state(2, streams.codebook.as_ref(), 0).unwrap();
            for &length in pieces {
                let cut = |of: &Tensor| of.narrow(1, state.examples, length);
                let (x, y) = (cut(&streams.train_x), cut(&streams.train_y));
                state = model.learner.observe(&state, &x, &y).unwrap();
            }
            state
        };
        let whole = read(&[80]);
        for pieces in [vec![1; 80], vec![31, 1, 48], vec![33, 47]] {
            for (piecewise, whole) in read(&pieces).tensors().into_iter().zip(whole.tensors()) {
                assert_near(name, piecewise, whole, 1e-12);
            }
        }
    }
}

/// The gradient that takes the inner steps for constants is another: the test above can fail.
#[test]
fn first_order_gradients_are_not() {
    for (name, config) in configs() {
        let model = Model::new(config.clone(), Kind::Double);
        let streams = Streams::draw(config, Kind::Double, SIZES, 0);
        let initial = model.learner.initial_state(2, streams.codebook.as_ref(), 0).unwrap();
        let (mut state, trace) =
            model.learner.observe_traced(&initial, &streams.train_x, &streams.train_y).unwrap();
        for layer in &mut state.layers {
            layer.0 = layer.0.iter().map(|tensor| tensor.detach().set_requires_grad(true)).collect();
        }
        let answers = model.learner.predict(&state, &streams.test_x, Some(&trace)).unwrap().output;
        model.learner.config().target().loss(&answers, &streams.test_y).backward();
        let first_order = state.layers[0].0[0].grad().sum_dim_intlist(0, false, Kind::Double);
        let want = slopes(&model, &streams, model.tensor("fast.0.weight"));
        let distance = (first_order - &want).abs().max().double_value(&[]);
        assert!(distance > 1e-3, "{name}: {distance}");
    }
}

#[test]
fn meta_training_teaches_to_learn_by_gradient_descent() {
    let wide = InterfaceConfig { d_model: 32, ..interface() };
    let oml = OmlConfig { hidden: vec![32], inner_lr: 0.03 };
    let anml = AnmlConfig { hidden: Some(vec![32, 32]), inner_lr: 0.01 };
    for config in [LearnerConfig::new(wide.clone(), oml), LearnerConfig::new(wide, anml)] {
        let model = Model::new(config, Kind::Float);
        let mut optimizer = Adam::default().build(&model.variables, 5e-3).unwrap();
        let fresh = || {
            let outcome = meta::run(&model.learner, &separated(4, 100, 1 << 40).episode(), None).unwrap();
            outcome.accuracy.unwrap().double_value(&[])
        };
        let before = fresh();
        for step in 0..150 {
            optimizer.backward_step(&loss(&model, &separated(4, 16, step)));
        }
        let (kind, after) = (model.learner.config().kind(), fresh());
        println!("{kind} from {before} to {after}");
        assert!(after > 0.8 && after > before + 0.2, "{kind} from {before} to {after}, chance 0.25");
    }
}

/// A rate too large is no panic: the answers are useless, most often NaN, and the loss says so.
#[test]
fn steps_too_large_show_in_the_loss() {
    for (name, config) in configs() {
        let model = Model::new(config.clone(), Kind::Float);
        let streams = Streams::draw(config, Kind::Float, [2, 9, 3], 0);
        let _ = tch::no_grad(|| model.tensor("log_inner_lr").shallow_clone().fill_(60.0));
        let loss = loss(&model, &streams).double_value(&[]);
        assert!(loss.is_nan() || loss > 1e6, "{name}: {loss}");
    }
}

#[test]
fn settings_out_of_range_are_refused_by_field() {
    let refuse = |config: LearnerConfig| {
        let Error::Config { field, .. } = config.schema().unwrap_err() else { panic!("another error") };
        field
    };
    for inner_lr in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        assert_eq!(refuse(OmlConfig { inner_lr, ..oml() }.learner()), "inner_lr");
        assert_eq!(refuse(AnmlConfig { inner_lr, ..anml() }.learner()), "inner_lr");
    }
    assert_eq!(refuse(OmlConfig { hidden: vec![3, 0], ..oml() }.learner()), "hidden");
    for hidden in [vec![], vec![0]] {
        assert_eq!(refuse(AnmlConfig { hidden: Some(hidden), ..anml() }.learner()), "hidden");
    }
    let labelled = |target| InterfaceConfig { target, ..interface() };
    let target = ClassTarget { vocab: 0 }.into();
    assert_eq!(refuse(LearnerConfig::new(labelled(target), oml())), "target.vocab");
    let target = VectorTarget { dim: 0 }.into();
    assert_eq!(refuse(LearnerConfig::new(labelled(target), anml())), "target.dim");
}
