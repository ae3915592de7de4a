//! RMSNorm (arXiv:1910.07467) of a few tokens, where no gradient is wanted: libtorch's takes seven
//! operations and a tensor for each.

mod kernel;

pub(crate) use kernel::{Norm, normalise};

use super::foreign;
use super::layout::{axes, pointer, pointer_mut};
use super::simd::{Level, Real};
use kernel::RunNorm;
use tch::{Device, Kind, Tensor};

/// As many numbers as the kernel is for: it runs on one thread.
const MOST_NUMBERS: i64 = 1 << 14;

/// x / sqrt(mean(x^2) + epsilon) * weight over the last of three axes, (rows, length, d_model). None where
/// the kernel does not serve: for long x, on another device than the CPU, where element types differ or
/// are neither float32 nor float64, without contiguity, and where autograd, autocast or a transform of
/// torch would want to know. Then `Tensor::rms_norm` computes the same, and it also refuses what does
/// not fit.
pub fn few(x: &Tensor, weight: &Tensor, epsilon: f64) -> Option<Tensor> {
    let (sizes, [d_model]) = (axes::<3>(x)?, axes::<1>(weight)?);
    let serves = sizes[2] == d_model
        && sizes.iter().product::<i64>() <= MOST_NUMBERS
        && x.device() == Device::Cpu
        && x.kind() == weight.kind()
        && x.is_contiguous()
        && weight.is_contiguous()
        && foreign::unobserved([x, weight]);
    match x.kind() {
        Kind::Float if serves => Some(run::<f32>(x, weight, epsilon, sizes, Level::detect())),
        Kind::Double if serves => Some(run::<f64>(x, weight, epsilon, sizes, Level::detect())),
        _ => None,
    }
}

fn run<T: RunNorm + Real>(
    x: &Tensor,
    weight: &Tensor,
    epsilon: f64,
    sizes: [i64; 3],
    level: Level,
) -> Tensor {
    let to = Tensor::empty(sizes, (T::KIND, Device::Cpu));
    let d_model = sizes[2] as usize;
    let norm = Norm::<T> { x: pointer(x), weight: pointer(weight), epsilon, d_model, to: pointer_mut(&to) };
    for token in 0..(sizes[0] * sizes[1]) as usize {
        // SAFETY: the pointers are to tensors of these sizes, which are checked and contiguous.
        unsafe { T::run(level, &norm, token) };
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Init;

    #[test]
    fn every_level_agrees_with_libtorch() {
        for d_model in [1, 7, 16, 37, 128] {
            let normal = |name: &str, shape: &[i64]| Init::Normal { std: 3.0 }.draw(0, name, shape);
            let (x, weight) = (normal("x", &[3, 2, d_model]), normal("weight", &[d_model]));
            for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::Double, 1e-14)] {
                let (x, weight) = (x.to_kind(kind), weight.to_kind(kind));
                let want = x.rms_norm(weight.size(), Some(&weight), 1e-5);
                let scale = want.abs().max().double_value(&[]);
                for level in Level::available() {
                    let got = match kind {
                        Kind::Double => run::<f64>(&x, &weight, 1e-5, [3, 2, d_model], level),
                        _ => run::<f32>(&x, &weight, 1e-5, [3, 2, d_model], level),
                    };
                    let distance = (got - &want).abs().max().double_value(&[]);
                    assert!(distance <= tolerance * scale, "{level:?}, {d_model}: {distance} of {scale}");
                }
            }
        }
    }

    #[test]
    fn what_the_kernel_is_not_for_is_left_to_libtorch() {
        let options = (Kind::Float, Device::Cpu);
        let (x, weight) = (Tensor::ones([2, 1, 8], options), Tensor::ones([8], options));
        assert!(few(&x, &weight, 1e-5).is_some());
        assert!(few(&x.squeeze_dim(1), &weight, 1e-5).is_none(), "two axes");
        assert!(few(&x, &weight.narrow(0, 0, 7), 1e-5).is_none(), "a weight that does not fit");
        assert!(few(&x, &weight.to_kind(Kind::BFloat16), 1e-5).is_none(), "types that differ");
        assert!(few(&x.transpose(0, 2), &Tensor::ones([2], options), 1e-5).is_none(), "not contiguous");
        assert!(few(&Tensor::ones([2049, 1, 8], options), &weight, 1e-5).is_none(), "long");
        assert!(few(&x.copy().set_requires_grad(true), &weight, 1e-5).is_none(), "a gradient is wanted");
    }
}
