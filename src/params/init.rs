//! First values of parameters, drawn the same in every language and on every machine.

use crate::ops::tensor_of;
use crate::random::generator;
use rand_distr::{Distribution, StandardNormal, Uniform};
use tch::Tensor;

/// How a tensor is filled before training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// The same number everywhere.
    Constant(f64),
    /// Uniform in (-bound, bound).
    Uniform {
        /// The largest magnitude.
        bound: f64,
    },
    /// Normal with mean 0.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// ln(1), ln(2), ... along the last axis: A = -exp(A_log) is then -(1 .. d_state), the
    /// real part of S4D's initialisation.
    LogOfIndex,
    /// ln of numbers uniform in [min, max]: A = -exp(A_log) of Mamba-2 and its kin.
    LogOfUniform {
        /// The smallest number.
        min: f64,
        /// The largest number.
        max: f64,
    },
    /// Values whose softplus is log-uniform in [min, max]: the bias of delta in mamba-ssm.
    InverseSoftplus {
        /// The smallest step size.
        min: f64,
        /// The largest step size.
        max: f64,
    },
}

impl Init {
    /// PyTorch's own for the weight of a linear layer or a convolution: uniform in
    /// ±1/√fan_in, which is Kaiming's bound with a = √5.
    pub fn fan_in(fan_in: i64) -> Self {
        Self::Uniform { bound: (fan_in as f64).powf(-0.5) }
    }

    /// Draws a float32 tensor. Its numbers depend on the seed, the name and the shape alone.
    pub fn draw(self, seed: u64, name: &str, shape: &[i64]) -> Tensor {
        let count = shape.iter().product::<i64>() as usize;
        let mut rng = generator(seed, name, 0, 0);
        let values: Vec<f32> = match self {
            Self::Constant(value) => vec![value as f32; count],
            Self::Uniform { bound } => {
                let unit = Uniform::new_inclusive(-1.0, 1.0).expect("-1 lies below 1");
                (0..count).map(|_| (bound * unit.sample(&mut rng)) as f32).collect()
            }
            Self::Normal { std } => (0..count)
                .map(|_| {
                    let normal: f64 = StandardNormal.sample(&mut rng);
                    (std * normal) as f32
                })
                .collect(),
            Self::LogOfIndex => {
                let last = shape.last().map_or(1, |&size| size as usize);
                (0..count).map(|index| ((index % last + 1) as f64).ln() as f32).collect()
            }
            Self::LogOfUniform { min, max } => {
                let uniform = Uniform::new_inclusive(min, max).expect("min <= max");
                (0..count).map(|_| uniform.sample(&mut rng).ln() as f32).collect()
            }
            Self::InverseSoftplus { min, max } => {
                let exponent = Uniform::new_inclusive(min.ln(), max.ln()).expect("min <= max");
                let inverse = |delta: f64| delta + (-(-delta).exp_m1()).ln();
                (0..count).map(|_| inverse(exponent.sample(&mut rng).exp()) as f32).collect()
            }
        };
        tensor_of(&values, shape)
    }
}
