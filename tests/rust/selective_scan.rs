//! The selective scan: the fused kernel against the equation in plain tensor operations.

use crate::agreement::{Named, assert_all_near, assert_same, with_gradients};
use crate::draw::Draw;
use mambacl::error::{Error, Result};
use mambacl::ops::selective_scan::{SelectiveScan, reference};
use proptest::prelude::*;
use tch::{Kind, Tensor};

#[derive(Debug, Clone, Copy)]
struct Sizes {
    groups: i64,
    per_group: i64,
    length: i64,
    d_inner: i64,
    d_state: i64,
}

const SMALL: Sizes = Sizes { groups: 3, per_group: 2, length: 5, d_inner: 19, d_state: 8 };

struct Arguments {
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Option<Tensor>,
    z: Option<Tensor>,
    delta_bias: Option<Tensor>,
    delta_softplus: bool,
    initial_state: Option<Tensor>,
    lengths: Option<Tensor>,
}

impl Arguments {
    /// Every argument but the lengths.
    fn draw(sizes: Sizes, seed: u64) -> Self {
        let Sizes { groups, per_group, length, d_inner, d_state } = sizes;
        let batch = groups * per_group;
        let mut draw = Draw::new(seed);
        Self {
            u: draw.normal(&[batch, length, d_inner]),
            delta: draw.normal(&[batch, length, d_inner]),
            a: -draw.normal(&[d_inner, d_state]).exp(),
            b: draw.normal(&[batch, length, d_state]),
            c: draw.normal(&[batch, length, d_state]),
            d: Some(draw.normal(&[d_inner])),
            z: Some(draw.normal(&[batch, length, d_inner])),
            delta_bias: Some(draw.normal(&[d_inner])),
            delta_softplus: true,
            initial_state: Some(draw.normal(&[groups, d_inner, d_state])),
            lengths: None,
        }
    }

    /// With lengths from 0 to the whole sequence, and NaN where they say padding.
    fn padded(mut self) -> Self {
        let (batch, length, _) = self.u.size3().unwrap();
        let lengths = (0..batch).map(|row| match row {
            0 => length,
            1 => 0,
            _ => 3 * row % (length + 1),
        });
        let lengths: Vec<i64> = lengths.collect();
        let lengths = Tensor::from_slice(&lengths);
        let times = Tensor::arange(length, (Kind::Int64, tch::Device::Cpu));
        let padding = times.unsqueeze(0).ge_tensor(&lengths.unsqueeze(1)).unsqueeze(-1);
        for tensor in [&mut self.u, &mut self.delta, &mut self.b, &mut self.c].into_iter().chain(&mut self.z)
        {
            *tensor = tensor.masked_fill(&padding, f64::NAN);
        }
        self.lengths = Some(lengths);
        self
    }

    /// The same with each floating tensor changed.
    fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            u: change(&self.u),
            delta: change(&self.delta),
            a: change(&self.a),
            b: change(&self.b),
            c: change(&self.c),
            d: self.d.as_ref().map(&change),
            z: self.z.as_ref().map(&change),
            delta_bias: self.delta_bias.as_ref().map(&change),
            delta_softplus: self.delta_softplus,
            initial_state: self.initial_state.as_ref().map(&change),
            lengths: self.lengths.as_ref().map(Tensor::shallow_clone),
        }
    }

    /// The same numbers as leaves of a graph, rounded to a type.
    fn leaves(&self, kind: Kind) -> Self {
        self.map(|tensor| tensor.to_kind(kind).detach().copy().set_requires_grad(true))
    }

    fn named(&self) -> Vec<(&'static str, &Tensor)> {
        let always = [("u", &self.u), ("delta", &self.delta), ("A", &self.a), ("B", &self.b), ("C", &self.c)];
        let optional = [
            ("D", &self.d),
            ("z", &self.z),
            ("delta_bias", &self.delta_bias),
            ("initial_state", &self.initial_state),
        ];
        let given = optional.into_iter().filter_map(|(name, tensor)| Some((name, tensor.as_ref()?)));
        always.into_iter().chain(given).collect()
    }

    fn scan(&self) -> SelectiveScan<'_> {
        SelectiveScan {
            d: self.d.as_ref(),
            z: self.z.as_ref(),
            delta_bias: self.delta_bias.as_ref(),
            delta_softplus: self.delta_softplus,
            initial_state: self.initial_state.as_ref(),
            lengths: self.lengths.as_ref(),
            ..SelectiveScan::new(&self.u, &self.delta, &self.a, &self.b, &self.c)
        }
    }

    /// Steps `start..start + length`, from a state.
    fn piece(&self, start: i64, length: i64, state: Tensor) -> Self {
        let cut = |tensor: &Tensor| tensor.narrow(1, start, length);
        let mut piece = self.map(Tensor::shallow_clone);
        piece.u = cut(&self.u);
        piece.delta = cut(&self.delta);
        piece.b = cut(&self.b);
        piece.c = cut(&self.c);
        piece.z = self.z.as_ref().map(cut);
        piece.initial_state = Some(state);
        piece
    }
}

fn results(leaves: &Arguments, run: impl Fn(&SelectiveScan) -> Result<(Tensor, Tensor)>) -> Named {
    let (y, state) = run(&leaves.scan()).unwrap();
    with_gradients([("y", y), ("final state", state)], &leaves.named())
}

/// The fused kernel in one type lies near the reference in float64, at the same (rounded) numbers.
fn assert_agrees(case: &str, arguments: &Arguments, kind: Kind, tolerance: f64) {
    let fused = results(&arguments.leaves(kind), |scan| scan.run(true));
    let rounded = arguments.map(|tensor| tensor.to_kind(kind)).leaves(Kind::Double);
    let want = results(&rounded, |scan| reference::selective_scan(scan, true));
    assert_all_near(case, &fused, &want, tolerance);
}

const TYPES: [(Kind, f64); 2] = [(Kind::Float, 5e-6), (Kind::Double, 1e-13)];

#[test]
fn agrees_with_the_reference_at_every_size() {
    for length in [1, 2, 3, 63, 64, 65, 300] {
        for d_state in [1, 8, 16, 64] {
            for (groups, per_group) in [(1, 2), (3, 1)] {
                let sizes = Sizes { groups, per_group, length, d_inner: 19, d_state };
                let arguments = Arguments::draw(sizes, 0);
                for (kind, tolerance) in TYPES {
                    assert_agrees(&format!("{sizes:?}, {kind:?}"), &arguments, kind, tolerance);
                }
            }
        }
    }
}

#[test]
fn agrees_with_the_reference_without_optional_arguments() {
    let arguments = Arguments {
        d: None,
        z: None,
        delta_bias: None,
        delta_softplus: false,
        initial_state: None,
        ..Arguments::draw(SMALL, 0)
    };
    // Without softplus a step size must be positive by itself, or states grow without bound.
    let arguments = Arguments { delta: arguments.delta.abs(), ..arguments };
    for (kind, tolerance) in TYPES {
        assert_agrees(&format!("{kind:?}"), &arguments, kind, tolerance);
    }
}

#[test]
fn padding_is_never_read() {
    for length in [1, 5, 64, 65, 300] {
        let arguments = Arguments::draw(Sizes { length, ..SMALL }, 0).padded();
        for (kind, tolerance) in TYPES {
            assert_agrees(&format!("length {length}, {kind:?}"), &arguments, kind, tolerance);
        }
    }
}

#[test]
fn a_sequence_of_length_0_gives_its_initial_state() {
    let lengths = Some(Tensor::zeros([6], (Kind::Int64, tch::Device::Cpu)));
    let arguments = Arguments { lengths, ..Arguments::draw(SMALL, 0) };
    let (y, state) = arguments.scan().run(true).unwrap();
    let initial = arguments.initial_state.as_ref().unwrap();
    assert_same("state", &state.contiguous(), &initial.repeat_interleave_self_int(2, 0, None));
    assert_same("y", &y, &y.zeros_like());
}

#[test]
fn in_pieces_gives_the_same_bits_as_at_once() {
    let sizes = Sizes { groups: 2, per_group: 1, length: 70, d_inner: 19, d_state: 11 };
    for kind in [Kind::Float, Kind::Double] {
        let arguments = Arguments::draw(sizes, 0).map(|tensor| tensor.to_kind(kind));
        let (y, final_state) = arguments.scan().run(true).unwrap();
        for pieces in [vec![1; 70], vec![64, 6], vec![63, 1, 6], vec![5, 0, 65]] {
            let mut state = arguments.initial_state.as_ref().unwrap().shallow_clone();
            let (mut ys, mut start) = (Vec::new(), 0);
            for &length in &pieces {
                let (y, after) = arguments.piece(start, length, state).scan().run(true).unwrap();
                (start, state) = (start + length, after);
                ys.push(y);
            }
            assert_same(&format!("y, {pieces:?}"), &Tensor::cat(&ys, 1), &y);
            assert_same(&format!("state, {pieces:?}"), &state, &final_state);
        }
    }
}

#[test]
fn half_precision_keeps_states_in_float32() {
    for kind in [Kind::BFloat16, Kind::Half] {
        let half = Arguments::draw(SMALL, 0).map(|tensor| tensor.to_kind(kind));
        let (y, state) = half.scan().run(true).unwrap();
        let wide = half.map(|tensor| tensor.to_kind(Kind::Float));
        let (wide_y, wide_state) = wide.scan().run(true).unwrap();
        assert_same("state", &state, &wide_state);
        assert_same("y", &y, &wide_y.to_kind(kind));
    }
}

#[test]
fn a_second_derivative_is_refused() {
    let arguments = Arguments::draw(SMALL, 0).leaves(Kind::Double);
    let (y, _) = arguments.scan().run(false).unwrap();
    let first = Tensor::run_backward(&[y.square().sum(Kind::Double)], &[&arguments.u], true, true);
    let second = first[0].square().sum(Kind::Double).f_backward();
    let text = second.unwrap_err().to_string();
    assert!(text.contains("can be differentiated once only"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn agrees_with_the_reference_at_random_sizes(
        (groups, per_group, length) in (1..4_i64, 1..4_i64, 1..70_i64),
        (d_inner, d_state) in (1..40_i64, 1..21_i64),
        (seed, padded, options) in (0..1000_u64, any::<bool>(), 0..16),
    ) {
        let sizes = Sizes { groups, per_group, length, d_inner, d_state };
        let mut arguments = Arguments::draw(sizes, seed);
        if padded {
            arguments = arguments.padded();
        }
        arguments.d = arguments.d.filter(|_| options & 1 > 0);
        arguments.z = arguments.z.filter(|_| options & 2 > 0);
        arguments.delta_bias = arguments.delta_bias.filter(|_| options & 4 > 0);
        arguments.initial_state = arguments.initial_state.filter(|_| options & 8 > 0);
        // float64: what cancels to almost nothing in a small case would fail float32's tolerance.
        assert_agrees(&format!("{sizes:?}"), &arguments, Kind::Double, 1e-10);
    }
}

#[test]
fn a_wrong_shape_is_refused_by_name() {
    let good = Arguments::draw(SMALL, 0).padded();
    let cases: [(&str, &[i64]); 10] = [
        ("u", &[6, 5]),
        ("delta", &[6, 4, 19]),
        ("A", &[18, 8]),
        ("B", &[6, 5, 7]),
        ("C", &[6, 5, 8, 1]),
        ("D", &[18]),
        ("z", &[5, 5, 19]),
        ("delta_bias", &[19, 1]),
        ("initial_state", &[4, 19, 8]),
        ("lengths", &[5]),
    ];
    for (name, shape) in cases {
        let kind = if name == "lengths" { Kind::Int64 } else { Kind::Double };
        let error = with(&good, name, Tensor::zeros(shape, (kind, tch::Device::Cpu))).unwrap_err();
        assert!(error.to_string().contains(&format!("argument `{name}` must have shape")), "{error}");
        let Error::Shape { op: "selective_scan", argument, got, .. } = error else { panic!("{error:?}") };
        assert_eq!((argument.as_str(), got.as_slice()), (name, shape));
    }
}

#[test]
fn a_wrong_type_is_refused_by_name() {
    let good = Arguments::draw(SMALL, 0).padded();
    for (name, tensor) in good.named().into_iter().chain([("lengths", good.lengths.as_ref().unwrap())]) {
        for kind in [Kind::Int, Kind::Float, Kind::Bool] {
            let error = with(&good, name, tensor.zeros_like().to_kind(kind)).unwrap_err();
            let Error::Dtype { op: "selective_scan", argument, .. } = error else { panic!("{error:?}") };
            // With `u` in float32 the first of the others is the odd one.
            assert_eq!(argument, if (name, kind) == ("u", Kind::Float) { "delta" } else { name });
        }
    }
}

#[test]
fn a_length_out_of_range_is_refused_by_name() {
    for bad in [-1, 6] {
        let lengths = Tensor::from_slice(&[0, 1, 2, bad, 4, 5_i64]);
        let error = with(&Arguments::draw(SMALL, 0), "lengths", lengths).unwrap_err().to_string();
        let text = "argument `lengths` must be between 0 and the sequence length 5, got values from";
        assert!(error.contains(text), "{error}");
    }
}

/// Runs a scan with one argument replaced.
fn with(good: &Arguments, name: &str, tensor: Tensor) -> Result<(Tensor, Tensor)> {
    let mut scan = good.scan();
    match name {
        "u" => scan.u = &tensor,
        "delta" => scan.delta = &tensor,
        "A" => scan.a = &tensor,
        "B" => scan.b = &tensor,
        "C" => scan.c = &tensor,
        "D" => scan.d = Some(&tensor),
        "z" => scan.z = Some(&tensor),
        "delta_bias" => scan.delta_bias = Some(&tensor),
        "initial_state" => scan.initial_state = Some(&tensor),
        "lengths" => scan.lengths = Some(&tensor),
        other => panic!("no argument {other}"),
    }
    scan.run(true)
}
