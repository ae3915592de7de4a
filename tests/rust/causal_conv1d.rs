//! The causal convolution: the fused kernel against the equation in plain tensor operations.

use crate::agreement::{Named, assert_all_near, assert_same, with_gradients};
use crate::draw::Draw;
use mambacl::error::{Error, Result};
use mambacl::ops::causal_conv1d::{CausalConv1d, reference};
use proptest::prelude::*;
use tch::{Kind, Tensor};

#[derive(Debug, Clone, Copy)]
struct Sizes {
    groups: i64,
    per_group: i64,
    length: i64,
    d_inner: i64,
    d_conv: i64,
}

const SMALL: Sizes = Sizes { groups: 3, per_group: 2, length: 5, d_inner: 19, d_conv: 4 };

struct Arguments {
    x: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    silu: bool,
    initial_window: Option<Tensor>,
    lengths: Option<Tensor>,
}

impl Arguments {
    /// Every argument but the lengths.
    fn draw(sizes: Sizes, seed: u64) -> Self {
        let Sizes { groups, per_group, length, d_inner, d_conv } = sizes;
        let mut draw = Draw::new(seed);
        Self {
            x: draw.normal(&[groups * per_group, length, d_inner]),
            weight: draw.normal(&[d_inner, d_conv]),
            bias: Some(draw.normal(&[d_inner])),
            silu: true,
            initial_window: Some(draw.normal(&[groups, d_inner, d_conv - 1])),
            lengths: None,
        }
    }

    /// With lengths from 0 to the whole sequence, and NaN where they say padding.
    fn padded(mut self) -> Self {
        let (batch, length, _) = self.x.size3().unwrap();
        let lengths = (0..batch).map(|row| match row {
            0 => length,
            1 => 0,
            _ => 3 * row % (length + 1),
        });
        let lengths: Vec<i64> = lengths.collect();
        let lengths = Tensor::from_slice(&lengths);
        let times = Tensor::arange(length, (Kind::Int64, tch::Device::Cpu));
        let padding = times.unsqueeze(0).ge_tensor(&lengths.unsqueeze(1)).unsqueeze(-1);
        self.x = self.x.masked_fill(&padding, f64::NAN);
        self.lengths = Some(lengths);
        self
    }

    /// The same with each floating tensor changed.
    fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            x: change(&self.x),
            weight: change(&self.weight),
            bias: self.bias.as_ref().map(&change),
            silu: self.silu,
            initial_window: self.initial_window.as_ref().map(&change),
            lengths: self.lengths.as_ref().map(Tensor::shallow_clone),
        }
    }

    /// The same numbers as leaves of a graph, rounded to a type.
    fn leaves(&self, kind: Kind) -> Self {
        self.map(|tensor| tensor.to_kind(kind).detach().copy().set_requires_grad(true))
    }

    fn named(&self) -> Vec<(&'static str, &Tensor)> {
        let optional = [("bias", &self.bias), ("initial_window", &self.initial_window)];
        let given = optional.into_iter().filter_map(|(name, tensor)| Some((name, tensor.as_ref()?)));
        [("x", &self.x), ("weight", &self.weight)].into_iter().chain(given).collect()
    }

    fn convolution(&self) -> CausalConv1d<'_> {
        CausalConv1d {
            bias: self.bias.as_ref(),
            silu: self.silu,
            initial_window: self.initial_window.as_ref(),
            lengths: self.lengths.as_ref(),
            ..CausalConv1d::new(&self.x, &self.weight)
        }
    }
}

fn results(leaves: &Arguments, run: impl Fn(&CausalConv1d) -> Result<(Tensor, Tensor)>) -> Named {
    let (y, window) = run(&leaves.convolution()).unwrap();
    with_gradients([("y", y), ("final window", window)], &leaves.named())
}

/// The fused kernel in one type lies near the reference in float64, at the same (rounded) numbers.
fn assert_agrees(case: &str, arguments: &Arguments, kind: Kind, tolerance: f64) {
    let fused = results(&arguments.leaves(kind), |convolution| convolution.run(true));
    let rounded = arguments.map(|tensor| tensor.to_kind(kind)).leaves(Kind::Double);
    let want = results(&rounded, |convolution| reference::causal_conv1d(convolution, true));
    assert_all_near(case, &fused, &want, tolerance);
}

const TYPES: [(Kind, f64); 2] = [(Kind::Float, 2e-6), (Kind::Double, 1e-14)];

#[test]
fn agrees_with_the_reference_at_every_size() {
    for length in [1, 2, 3, 63, 64, 65, 300] {
        for (d_inner, d_conv) in [(1, 4), (16, 4), (19, 4), (33, 2), (19, 7), (19, 1)] {
            for (groups, per_group) in [(1, 3), (3, 1), (3, 2)] {
                let sizes = Sizes { groups, per_group, length, d_inner, d_conv };
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
    let arguments = Arguments { bias: None, silu: false, initial_window: None, ..Arguments::draw(SMALL, 0) };
    for (kind, tolerance) in TYPES {
        assert_agrees(&format!("{kind:?}"), &arguments, kind, tolerance);
    }
}

#[test]
fn padding_is_never_read() {
    for length in [1, 2, 5, 64, 300] {
        let arguments = Arguments::draw(Sizes { length, ..SMALL }, 0).padded();
        for (kind, tolerance) in TYPES {
            assert_agrees(&format!("length {length}, {kind:?}"), &arguments, kind, tolerance);
        }
    }
}

#[test]
fn in_pieces_gives_the_same_bits_as_at_once() {
    let sizes = Sizes { groups: 2, per_group: 1, length: 70, ..SMALL };
    for kind in [Kind::Float, Kind::Double] {
        let arguments = Arguments::draw(sizes, 0).map(|tensor| tensor.to_kind(kind));
        let (y, final_window) = arguments.convolution().run(true).unwrap();
        for pieces in [vec![1; 70], vec![64, 6], vec![2, 68], vec![5, 0, 65]] {
            let mut window = arguments.initial_window.as_ref().unwrap().shallow_clone();
            let (mut ys, mut start) = (Vec::new(), 0);
            for &length in &pieces {
                let mut piece = arguments.map(Tensor::shallow_clone);
                piece.x = arguments.x.narrow(1, start, length);
                piece.initial_window = Some(window);
                let (y, after) = piece.convolution().run(true).unwrap();
                (start, window) = (start + length, after);
                ys.push(y);
            }
            assert_same(&format!("y, {pieces:?}"), &Tensor::cat(&ys, 1), &y);
            assert_same(&format!("window, {pieces:?}"), &window, &final_window);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn agrees_with_the_reference_at_random_sizes(
        (groups, per_group, length) in (1..4_i64, 1..4_i64, 1..70_i64),
        (d_inner, d_conv) in (1..40_i64, 1..6_i64),
        (seed, padded, options) in (0..1000_u64, any::<bool>(), 0..8),
    ) {
        let sizes = Sizes { groups, per_group, length, d_inner, d_conv };
        let mut arguments = Arguments::draw(sizes, seed);
        if padded {
            arguments = arguments.padded();
        }
        arguments.bias = arguments.bias.filter(|_| options & 1 > 0);
        arguments.initial_window = arguments.initial_window.filter(|_| options & 2 > 0);
        arguments.silu = options & 4 > 0;
        assert_agrees(&format!("{sizes:?}"), &arguments, Kind::Double, 1e-10);
    }
}

#[test]
fn a_wrong_argument_is_refused_by_name() {
    let good = Arguments::draw(SMALL, 0).padded();
    let cases: [(&str, &[i64]); 6] = [
        ("x", &[6, 5]),
        ("weight", &[18, 4]),
        ("weight", &[19, 0]),
        ("bias", &[19, 1]),
        ("initial_window", &[3, 19, 4]),
        ("lengths", &[5]),
    ];
    for (name, shape) in cases {
        let kind = if name == "lengths" { Kind::Int64 } else { Kind::Double };
        let error = with(&good, name, Tensor::zeros(shape, (kind, tch::Device::Cpu))).unwrap_err();
        let Error::Shape { op: "causal_conv1d", argument, got, .. } = error else { panic!("{error:?}") };
        assert_eq!((argument.as_str(), got.as_slice()), (name, shape));
    }
    for (name, tensor) in good.named().into_iter().chain([("lengths", good.lengths.as_ref().unwrap())]) {
        let error = with(&good, name, tensor.zeros_like().to_kind(Kind::Int)).unwrap_err();
        let Error::Dtype { op: "causal_conv1d", argument, .. } = error else { panic!("{error:?}") };
        assert_eq!(argument, name);
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

/// Runs a convolution with one argument replaced.
fn with(good: &Arguments, name: &str, tensor: Tensor) -> Result<(Tensor, Tensor)> {
    let mut convolution = good.convolution();
    match name {
        "x" => convolution.x = &tensor,
        "weight" => convolution.weight = &tensor,
        "bias" => convolution.bias = Some(&tensor),
        "initial_window" => convolution.initial_window = Some(&tensor),
        "lengths" => convolution.lengths = Some(&tensor),
        other => panic!("no argument {other}"),
    }
    convolution.run(true)
}
