//! The laws of observe and predict, and what a learner refuses.

use crate::agreement::{assert_near, assert_same};
use crate::draw::Draw;
use crate::models::{
    Case, INPUT, Model, Settings, Streams, VOCAB, cases, classifier, image_classifier, interface, regressor,
};
use mambacl::error::{Error, Result};
use mambacl::learners::{InterfaceConfig, LearnerConfig, Prediction, SequenceConfig, State};
use mambacl::{codebook, meta};
use tch::nn::{Adam, OptimizerConfig};
use tch::{Device, IndexOp, Kind, Tensor};

/// Examples and queries of two streams.
const SIZES: [i64; 3] = [2, 9, 4];

fn configs() -> impl Iterator<Item = LearnerConfig> {
    cases().into_iter().map(|case| {
        println!("{}", case.name); // shown where a test fails
        case.config
    })
}

fn initial(model: &Model, streams: &Streams) -> State {
    model.learner.initial_state(streams.batch(), streams.codebook.as_ref(), 0).unwrap()
}

fn observed(model: &Model, streams: &Streams) -> State {
    model.learner.observe(&initial(model, streams), &streams.train_x, &streams.train_y).unwrap()
}

fn answers(model: &Model, state: &State, x: &Tensor) -> Tensor {
    // Symbols never observed may have no density at all.
    model.learner.predict(state, x, None).unwrap().output.nan_to_num(None, None, 0.0)
}

fn copies(state: &State) -> Vec<Tensor> {
    state.tensors().into_iter().map(Tensor::copy).collect()
}

#[test]
fn at_once_in_pieces_and_one_by_one_come_to_the_same() {
    for config in configs() {
        for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::Double, 1e-13)] {
            let model = Model::new(config.clone(), kind);
            let streams = Streams::draw(config.clone(), kind, SIZES, 0);
            let at_once = observed(&model, &streams);
            for pieces in [vec![1; 9], vec![4, 5], vec![2, 1, 6]] {
                let (mut state, mut start) = (initial(&model, &streams), 0);
                for length in pieces {
                    let cut = |tensor: &Tensor| tensor.narrow(1, start, length);
                    let (x, y) = (cut(&streams.train_x), cut(&streams.train_y));
                    state = model.learner.observe(&state, &x, &y).unwrap();
                    start += length;
                }
                assert_eq!(state.examples, 9);
                for (piecewise, whole) in state.tensors().into_iter().zip(at_once.tensors()) {
                    assert_near("state", piecewise, whole, tolerance);
                }
                let [piecewise, whole] = [&state, &at_once].map(|s| answers(&model, s, &streams.test_x));
                assert_near("answers", &piecewise, &whole, tolerance);
            }
        }
    }
}

#[test]
fn predict_and_observe_leave_the_state_they_are_given() {
    for config in configs() {
        let model = Model::new(config.clone(), Kind::Float);
        let streams = Streams::draw(config.clone(), Kind::Float, SIZES, 0);
        let state = observed(&model, &streams);
        let before = copies(&state);
        let first = answers(&model, &state, &streams.test_x);
        model.learner.observe(&state, &streams.train_x, &streams.train_y).unwrap();
        for (after, before) in state.tensors().into_iter().zip(&before) {
            assert_same("state", after, before);
        }
        assert_same("answers", &answers(&model, &state, &streams.test_x), &first);
    }
}

#[test]
fn queries_are_answered_each_alone_and_in_any_order() {
    for config in configs() {
        let model = Model::new(config.clone(), Kind::Double);
        let streams = Streams::draw(config.clone(), Kind::Double, SIZES, 0);
        let state = observed(&model, &streams);
        let together = answers(&model, &state, &streams.test_x);
        let order = Tensor::from_slice(&[2_i64, 0, 3, 1]);
        let permuted = answers(&model, &state, &streams.test_x.index_select(1, &order));
        assert_near("permuted", &permuted, &together.index_select(1, &order), 1e-13);
        for query in 0..4 {
            let alone = answers(&model, &state, &streams.test_x.narrow(1, query, 1));
            assert_near("alone", &alone, &together.narrow(1, query, 1), 1e-13);
        }
        assert!(together.i((.., 0)) != together.i((.., 1)), "the queries are told apart");
    }
}

#[test]
fn each_stream_answers_from_its_own_examples() {
    for config in configs() {
        let model = Model::new(config.clone(), Kind::Double);
        let streams = Streams::draw(config.clone(), Kind::Double, SIZES, 0);
        let together = answers(&model, &observed(&model, &streams), &streams.test_x);
        for row in 0..2 {
            let cut = |tensor: &Tensor| tensor.narrow(0, row, 1);
            let own = Streams {
                train_x: cut(&streams.train_x),
                train_y: cut(&streams.train_y),
                test_x: cut(&streams.test_x),
                test_y: cut(&streams.test_y),
                codebook: streams.codebook.as_ref().map(cut),
            };
            let alone = answers(&model, &observed(&model, &own), &own.test_x);
            assert_near("alone", &alone, &cut(&together), 1e-13);
        }
        // The same query, asked of the other stream, has another answer.
        let crossed = answers(&model, &observed(&model, &streams), &streams.test_x.flip([0]));
        assert!((crossed.flip([0]) - together).abs().max().double_value(&[]) > 1e-6);
    }
}

#[test]
fn the_state_has_its_documented_size() {
    for Case { name, config, numbers } in cases() {
        let model = Model::new(config.clone(), Kind::Float);
        for examples in [5, 50] {
            let streams = Streams::draw(config.clone(), Kind::Float, [2, examples, 1], 0);
            // Symbols in int64 and whether they were seen.
            let labels = config.target().vocab().map_or(0, |vocab| vocab as usize * (8 + 1));
            let bytes = 2 * (4 * numbers(examples as usize) + labels);
            assert_eq!(observed(&model, &streams).nbytes(), bytes, "{name}");
        }
    }
}

#[test]
fn a_state_survives_its_tensors() {
    let model = Model::new(classifier(), Kind::Float);
    let streams = Streams::draw(classifier(), Kind::Float, SIZES, 0);
    let state = observed(&model, &streams);
    let again = State::from_tensors(state.examples, copies(&state), true, 2).unwrap();
    let [want, got] = [&state, &again].map(|state| answers(&model, state, &streams.test_x));
    assert_same("answers", &got, &want);
    let error = State::from_tensors(9, copies(&state), true, 3).unwrap_err().to_string();
    assert!(error.contains("`state` has 6 tensors, which 3 layers cannot share"), "{error}");
}

/// With label l renamed π(l) and the codebook renamed alike, the learner sees the same symbols.
#[test]
fn logits_belong_to_labels_whatever_the_codebook() {
    let model = Model::new(classifier(), Kind::Float);
    let streams = Streams::draw(classifier(), Kind::Float, SIZES, 0);
    let renaming = Tensor::from_slice(&[4_i64, 2, 0, 5, 1, 3]);
    let original = renaming.argsort(0, false); // original[π(l)] = l
    let renamed = Streams {
        train_y: renaming.take(&streams.train_y),
        codebook: streams.codebook.as_ref().map(|codebook| codebook.index_select(1, &original)),
        ..Streams::draw(classifier(), Kind::Float, SIZES, 0)
    };
    let (state, renamed_state) = (observed(&model, &streams), observed(&model, &renamed));
    let prediction = model.learner.predict(&state, &streams.test_x, None).unwrap();
    let other = model.learner.predict(&renamed_state, &streams.test_x, None).unwrap();
    assert_same("logits", &other.output, &prediction.output.index_select(2, &original));
    let seen = |state: &State| state.labels.as_ref().unwrap().seen.copy();
    assert_same("seen", &seen(&renamed_state), &seen(&state).index_select(1, &original));
    let got = other.argmax_seen(&seen(&renamed_state));
    assert_same("answers", &got, &renaming.take(&prediction.argmax_seen(&seen(&state))));
}

#[test]
fn seen_are_the_labels_of_all_pieces_of_a_stream() {
    let model = Model::new(classifier(), Kind::Float);
    let codebook = codebook::draw(VOCAB, 0, 2).expect("sizes in range");
    let mut state = model.learner.initial_state(2, Some(&codebook), 0).unwrap();
    for labels in [[[4_i64, 4], [0, 1]], [[2, 4], [1, 5]]] {
        let x = Draw::new(0).normal(&[2, 2, INPUT]).to_kind(Kind::Float);
        state = model.learner.observe(&state, &x, &Tensor::from_slice2(&labels)).unwrap();
    }
    let seen = Vec::<Vec<bool>>::try_from(&state.labels.as_ref().unwrap().seen).unwrap();
    assert_eq!(seen[0], [false, false, true, false, true, false]);
    assert_eq!(seen[1], [true, true, false, false, false, true]);
}

#[test]
fn an_unseen_label_is_no_answer_but_counts_in_the_vocabulary() {
    let output = Tensor::from_slice(&[5.0, 3.0, 4.0, 9.0_f32]).view([1, 1, 4]);
    let prediction = Prediction { output, queries: Vec::new(), auxiliary: None };
    let seen = Tensor::from_slice(&[false, true, true, false]).view([1, 4]);
    assert_eq!(prediction.argmax_seen(&seen).int64_value(&[0, 0]), 2);
    assert_eq!(prediction.argmax_vocabulary().int64_value(&[0, 0]), 3);
}

#[test]
fn nothing_changes_in_evaluation() {
    for config in configs() {
        let model = Model::new(config.clone(), Kind::Float);
        let streams = Streams::draw(config.clone(), Kind::Float, SIZES, 0);
        // Statistics other than the first ones, which a change might restore.
        meta::run(&model.learner, &streams.episode(), Some(0)).unwrap();
        let before: Vec<Tensor> = model.tensors.iter().map(Tensor::copy).collect();
        meta::run(&model.learner, &streams.episode(), None).unwrap();
        for (after, before) in model.tensors.iter().zip(&before) {
            assert_same("a tensor", after, before);
        }
    }
}

#[test]
fn running_statistics_move_in_training_with_the_stream_alone() {
    for config in configs() {
        let buffers = |change: fn(&mut Streams)| {
            let model = Model::new(config.clone(), Kind::Float);
            let mut streams = Streams::draw(config.clone(), Kind::Float, SIZES, 0);
            change(&mut streams);
            meta::run(&model.learner, &streams.episode(), Some(0)).unwrap();
            model.buffers()
        };
        let first = Model::new(config.clone(), Kind::Float).buffers();
        let moved = buffers(|_| ());
        let other_queries = buffers(|streams| streams.test_x = &streams.test_x * 3.0 + 1.0);
        let other_stream = buffers(|streams| streams.train_x = &streams.train_x * 3.0 + 1.0);
        for (index, moved) in moved.iter().enumerate() {
            assert!(*moved != first[index]);
            assert_same("with other queries", &other_queries[index], moved);
            assert!(*moved != other_stream[index]);
        }
    }
}

/// The first layer is linear: its statistics can be computed from the inputs.
#[test]
fn running_statistics_are_blended_as_in_pytorch() {
    let model = Model::new(regressor(), Kind::Double);
    let streams = Streams::draw(regressor(), Kind::Double, SIZES, 0);
    meta::run(&model.learner, &streams.episode(), Some(0)).unwrap();
    let weight = model.tensor("encoder.layers.0.linear.weight");
    let mapped = streams.train_x.flatten(0, 1).matmul(&weight.transpose(0, 1)); // (18, 7)
    let mean = mapped.mean_dim(0, false, Kind::Double) * 0.1;
    assert_near("mean", model.tensor("encoder.layers.0.norm.running_mean"), &mean, 1e-12);
    let variance = mapped.var_dim(0, true, false) * 0.1 + 0.9;
    assert_near("variance", model.tensor("encoder.layers.0.norm.running_var"), &variance, 1e-12);
}

/// Queries see the statistics of the stream: in training they are answered as by a learner whose
/// running statistics are the stream's own.
#[test]
fn queries_use_the_statistics_of_their_stream_in_training() {
    let model = Model::new(image_classifier(), Kind::Double);
    let streams = Streams::draw(image_classifier(), Kind::Double, SIZES, 0);
    let trained = meta::run(&model.learner, &streams.episode(), Some(0)).unwrap().output;
    let running = meta::run(&model.learner, &streams.episode(), None).unwrap().output;
    assert!((&trained - running).abs().max().double_value(&[]) > 1e-6);
    let (_, trace) = {
        let initial = initial(&model, &streams);
        model.learner.observe_traced(&initial, &streams.train_x, &streams.train_y).unwrap()
    };
    let moments = trace.moments.iter().flat_map(|moments| [&moments.mean, &moments.variance]);
    let names = ["encoder.layers.0", "encoder.layers.1", "encoder.projection"]
        .iter()
        .flat_map(|part| ["running_mean", "running_var"].map(|name| format!("{part}.norm.{name}")));
    tch::no_grad(|| {
        for (name, value) in names.zip(moments) {
            model.tensor(&name).shallow_clone().copy_(value);
        }
    });
    let with_moments = meta::run(&model.learner, &streams.episode(), None).unwrap().output;
    assert_near("answers", &with_moments, &trained, 1e-11);
}

/// An episode of `classes` well separated classes with two examples and one query each.
pub fn separated(classes: i64, batch: i64, seed: u64) -> Streams {
    let mut draw = Draw::new(seed);
    let centres = draw.normal(&[batch, classes, INPUT]) * 2.0;
    let y = Tensor::arange(classes, (Kind::Int64, Device::Cpu)).expand([batch, classes], false);
    let train_y = y.repeat_interleave_self_int(2, 1, None);
    let noise = draw.normal(&[batch, 2 * classes, INPUT]) * 0.1;
    Streams {
        train_x: (centres.repeat_interleave_self_int(2, 1, None) + noise).to_kind(Kind::Float),
        train_y,
        test_x: (centres + draw.normal(&[batch, classes, INPUT]) * 0.1).to_kind(Kind::Float),
        test_y: y,
        codebook: Some(codebook::draw(VOCAB, seed, batch).expect("sizes in range")),
    }
}

#[test]
fn a_meta_trained_learner_reads_new_classes_under_new_codebooks() {
    let config = LearnerConfig::new(
        InterfaceConfig { d_model: 32, ..interface() },
        SequenceConfig { n_layer: 1, ..classifier() },
    );
    let model = Model::new(config.clone(), Kind::Float);
    let mut optimizer = Adam::default().build(&model.variables, 5e-3).unwrap();
    for step in 0..150 {
        let outcome = meta::run(&model.learner, &separated(2, 16, step).episode(), Some(step as i64));
        optimizer.backward_step(&outcome.unwrap().loss);
    }
    let fresh = meta::run(&model.learner, &separated(2, 100, 1 << 40).episode(), None).unwrap();
    let accuracy = fresh.accuracy.unwrap().double_value(&[]);
    assert!(accuracy > 0.8, "accuracy {accuracy}, chance 0.5");
    let vocabulary_accuracy = fresh.vocabulary_accuracy.unwrap().double_value(&[]);
    assert!(vocabulary_accuracy <= accuracy && vocabulary_accuracy > 0.5, "{vocabulary_accuracy}");
}

fn refusal<T>(result: Result<T>) -> (&'static str, String, String) {
    let error = result.map(drop).unwrap_err();
    let text = error.to_string();
    let (kind, argument) = match error {
        Error::Shape { argument, .. } => ("shape", argument),
        Error::Dtype { argument, .. } => ("dtype", argument),
        Error::Device { argument, .. } => ("device", argument),
        Error::Value { argument, .. } => ("value", argument),
        other => panic!("{other:?}"),
    };
    assert!(text.contains(&format!("argument `{argument}`")), "{text}");
    (kind, argument, text)
}

#[test]
fn bad_examples_are_refused_by_name() {
    let model = Model::new(classifier(), Kind::Float);
    let good = Streams::draw(classifier(), Kind::Float, SIZES, 0);
    let state = initial(&model, &good);
    let observe = |x: &Tensor, y: &Tensor| {
        let (kind, argument, _) = refusal(model.learner.observe(&state, x, y));
        let traced = refusal(model.learner.observe_traced(&state, x, y));
        assert_eq!((kind, argument.as_str()), (traced.0, traced.1.as_str()));
        (kind, argument)
    };
    let is = |kind: &'static str, argument: &str| (kind, argument.to_owned());
    let (x, y) = (&good.train_x, &good.train_y);
    assert_eq!(observe(&x.narrow(2, 0, 4), y), is("shape", "x"));
    assert_eq!(observe(&x.narrow(0, 0, 1), y), is("shape", "x"));
    assert_eq!(observe(&x.unsqueeze(-1), y), is("shape", "x"));
    assert_eq!(observe(&x.narrow(1, 0, 0), &y.narrow(1, 0, 0)), is("shape", "x"));
    assert_eq!(observe(&x.to_kind(Kind::Double), y), is("dtype", "x"));
    assert_eq!(observe(&x.to_kind(Kind::Int64), y), is("dtype", "x"));
    assert_eq!(observe(&x.masked_fill(&x.gt(0.5), f64::NAN), y), is("value", "x"));
    assert_eq!(observe(&x.masked_fill(&x.gt(0.5), f64::INFINITY), y), is("value", "x"));
    assert_eq!(observe(x, &y.narrow(1, 0, 8)), is("shape", "y"));
    assert_eq!(observe(x, &y.to_kind(Kind::Int)), is("dtype", "y"));
    assert_eq!(observe(x, &x.select(2, 0)), is("dtype", "y"));
    assert_eq!(observe(x, &(y - 6)), is("value", "y"));
    assert_eq!(observe(x, &(y + VOCAB)), is("value", "y"));
}

#[test]
fn bad_vectors_are_refused_by_name() {
    let model = Model::new(regressor(), Kind::Float);
    let good = Streams::draw(regressor(), Kind::Float, SIZES, 0);
    let state = initial(&model, &good);
    let observe = |y: &Tensor| {
        let (kind, argument, _) = refusal(model.learner.observe(&state, &good.train_x, y));
        assert_eq!(argument, "y");
        kind
    };
    let y = &good.train_y;
    assert_eq!(observe(&y.narrow(2, 0, 2)), "shape");
    assert_eq!(observe(&y.select(2, 0)), "shape");
    assert_eq!(observe(&y.to_kind(Kind::Double)), "dtype");
    assert_eq!(observe(&y.masked_fill(&y.gt(0.5), f64::NAN)), "value");
}

#[test]
fn bad_queries_are_refused_by_name() {
    let model = Model::new(classifier(), Kind::Float);
    let good = Streams::draw(classifier(), Kind::Float, SIZES, 0);
    let state = observed(&model, &good);
    let predict = |x: &Tensor| {
        let (kind, argument, _) = refusal(model.learner.predict(&state, x, None));
        assert_eq!(argument, "x");
        kind
    };
    let x = &good.test_x;
    assert_eq!(predict(&x.narrow(2, 0, 4)), "shape");
    assert_eq!(predict(&x.narrow(1, 0, 0)), "shape");
    assert_eq!(predict(&x.narrow(0, 0, 1)), "shape");
    assert_eq!(predict(&x.to_kind(Kind::Half)), "dtype");
    assert_eq!(predict(&x.masked_fill(&x.gt(0.5), f64::NAN)), "value");
}

#[test]
fn predict_before_observe_is_refused() {
    for config in configs() {
        let model = Model::new(config.clone(), Kind::Float);
        let streams = Streams::draw(config.clone(), Kind::Float, SIZES, 0);
        let (kind, argument, text) =
            refusal(model.learner.predict(&initial(&model, &streams), &streams.test_x, None));
        assert_eq!((kind, argument.as_str()), ("value", "state"));
        assert!(text.contains("must be a state that has observed examples, got an initial state"), "{text}");
    }
}

#[test]
fn a_bad_codebook_is_refused_by_name() {
    let learner = Model::new(classifier(), Kind::Float).learner;
    let good = codebook::draw(VOCAB, 0, 2).expect("sizes in range");
    let refuse = |batch, codebook: Option<&Tensor>| {
        let (kind, argument, _) = refusal(learner.initial_state(batch, codebook, 0));
        (kind, argument)
    };
    let codebook = |kind| (kind, "codebook".to_owned());
    assert_eq!(refuse(2, None), codebook("value"));
    assert_eq!(refuse(3, Some(&good)), codebook("shape"));
    assert_eq!(refuse(2, Some(&good.narrow(1, 0, 5))), codebook("shape"));
    assert_eq!(refuse(2, Some(&good.to_kind(Kind::Int))), codebook("dtype"));
    assert_eq!(refuse(2, Some(&(&good + 1))), codebook("value"));
    assert_eq!(refuse(2, Some(&good.zeros_like())), codebook("value"));
    assert_eq!(refuse(0, Some(&good)), ("value", "batch".to_owned()));
}

#[test]
fn an_episode_is_checked_whole() {
    let model = Model::new(classifier(), Kind::Float);
    let good = Streams::draw(classifier(), Kind::Float, SIZES, 0);
    let run = |test_y: &Tensor| {
        let episode = meta::Episode { test_y, ..good.episode() };
        let (kind, argument, _) = refusal(meta::run(&model.learner, &episode, None));
        assert_eq!(argument, "y");
        kind
    };
    assert_eq!(run(&good.test_y.narrow(1, 0, 3)), "shape");
    assert_eq!(run(&good.test_y.to_kind(Kind::Float)), "dtype");
    assert_eq!(run(&(&good.test_y + VOCAB)), "value");
    let empty = Tensor::zeros([0, 9, INPUT], (Kind::Float, Device::Cpu));
    let episode = meta::Episode { train_x: &empty, ..good.episode() };
    let (kind, argument, _) = refusal(meta::run(&model.learner, &episode, None));
    assert_eq!((kind, argument.as_str()), ("value", "batch"));
}

#[test]
fn a_configuration_out_of_range_is_refused_by_field() {
    let refuse = |config: LearnerConfig| {
        let error = config.schema().unwrap_err();
        let Error::Config { field, .. } = error else { panic!("{error:?}") };
        field
    };
    assert_eq!(
        refuse(LearnerConfig::new(InterfaceConfig { d_model: 0, ..interface() }, classifier())),
        "d_model"
    );
    assert_eq!(refuse(SequenceConfig { n_layer: 0, ..classifier() }.learner()), "n_layer");
    let config = r#"{"d_model": 8, "n_layer": 1, "encoder": {"kind": "vector", "dim": 0},
        "target": {"kind": "class", "vocab": 4}, "mixer": {"kind": "mamba"}}"#;
    let with = |from: &str, to: &str| {
        let config = config.replace("\"dim\": 0", "\"dim\": 3").replace(from, to);
        match LearnerConfig::from_json(&config).and_then(|config| config.schema().map(drop)) {
            Err(Error::Config { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with("\"dim\": 3", "\"dim\": 0"), "encoder.dim");
    assert_eq!(with("\"dim\": 3", "\"dim\": 3, \"hidden\": [0]"), "encoder.hidden");
    assert_eq!(with("\"vocab\": 4", "\"vocab\": 0"), "target.vocab");
    for (setting, value) in [("d_state", 0), ("d_conv", 0), ("expand", 0), ("dt_rank", 0), ("dt_min", 0)] {
        let mixer = format!("\"mamba\", \"{setting}\": {value}");
        assert_eq!(with("\"mamba\"", &mixer), format!("mixer.{setting}"));
    }
    assert_eq!(with("\"vector\", \"dim\": 3", "\"cnn\", \"channels\": []"), "encoder.channels");
    assert_eq!(with("\"vector\", \"dim\": 3", "\"cnn\", \"image_size\": 0"), "encoder.image_size");
    assert_eq!(with("\"vector\", \"dim\": 3", "\"cnn\", \"strides\": [1]"), "encoder.strides");
    assert_eq!(with("\"vector\", \"dim\": 3", "\"cnn\", \"strides\": [1, 2, 0]"), "encoder.strides");
}
