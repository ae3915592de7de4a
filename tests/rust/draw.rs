//! Random tensors of a seed. Not torch's generator: tests that run side by side would share it.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tch::Tensor;

pub struct Draw(ChaCha8Rng);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Standard normal numbers in float64.
    pub fn normal(&mut self, shape: &[i64]) -> Tensor {
        let count = shape.iter().product::<i64>();
        let values: Vec<f64> = (0..count).map(|_| StandardNormal.sample(&mut self.0)).collect();
        Tensor::from_slice(&values).view(shape)
    }

    /// Whole numbers in [0, below), int64.
    pub fn below(&mut self, below: i64, shape: &[i64]) -> Tensor {
        let count = shape.iter().product::<i64>();
        let values: Vec<i64> = (0..count).map(|_| i64::from(self.0.next_u32()) % below).collect();
        Tensor::from_slice(&values).view(shape)
    }
}
