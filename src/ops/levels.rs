//! For tests of kernels: a process uses one SIMD level, and each that the processor has must be right.

use crate::ops::simd::Level;
use crate::params::Init;
use tch::Tensor;

/// Standard normal numbers, as leaves of a graph.
pub(crate) fn normal(name: &str, shape: &[i64]) -> Tensor {
    Init::Normal { std: 1.0 }.draw(0, name, shape).set_requires_grad(true)
}

/// Compares the results of each level with those of the reference, up to a share of the largest number.
pub(crate) fn assert_agree(want: &[Tensor], tolerance: f64, run: impl Fn(Level) -> Vec<Tensor>) {
    for level in Level::available() {
        let got = tch::no_grad(|| run(level));
        assert_eq!(got.len(), want.len());
        for (place, (got, want)) in got.iter().zip(want).enumerate() {
            let scale = want.abs().max().double_value(&[]);
            let distance = (got - want).abs().max().double_value(&[]);
            assert!(distance <= tolerance * scale, "{level:?}, result {place}: {distance} of {scale}");
        }
    }
}
