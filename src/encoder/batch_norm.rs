//! Batch normalisation whose statistics come from the stream alone.
//!
//! Ordinary batch normalisation over an episode's examples and queries together lets queries affect
//! one another, and labels of a batch leak through its statistics. Here the moments are those of the
//! examples that are read; queries are normalised with them, in training and after it.

use crate::error::{Error, Result};
use crate::ops::state_kind;
use crate::params::{Init, Path};
use tch::{Device, Kind, Tensor};

const EPSILON: f64 = 1e-5;
/// Share of a batch's moments in the running ones.
const MOMENTUM: f64 = 0.1;

/// Mean and variance of each channel, (channels).
#[derive(Debug)]
pub struct Moments {
    /// Mean.
    pub mean: Tensor,
    /// Variance, biased: divided by the number of values.
    pub variance: Tensor,
}

/// Which moments normalise, and what becomes of the batch's own.
pub enum Statistics<'a> {
    /// The running moments; nothing changes. For use after training.
    Running,
    /// The batch's moments, which are recorded here and blended into the running ones. For reading
    /// a stream in training.
    Batch(&'a mut Vec<Moments>),
    /// Moments recorded from a stream, taken in order. For queries in training.
    Recorded(std::slice::Iter<'a, Moments>),
}

impl<'a> Statistics<'a> {
    /// Moments that a stream left.
    pub fn recorded(moments: &'a [Moments]) -> Self {
        Self::Recorded(moments.iter())
    }
}

/// A linear map without bias, followed by batch normalisation.
pub struct Normalised {
    /// The linear map, (channels, ...).
    weight: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl Normalised {
    /// Binds a map of the given shape, whose first axis is the channels, and its norm.
    ///
    /// # Errors
    /// When a tensor does not fit.
    pub fn new(path: &Path, name: &str, shape: &[i64]) -> Result<Self> {
        let channels = &shape[..1];
        let norm = path.sub("norm");
        let fan_in = shape[1..].iter().product();
        Ok(Self {
            weight: path.sub(name).parameter("weight", shape, Init::fan_in(fan_in))?,
            norm_weight: norm.undecayed("weight", channels, Init::Constant(1.0))?,
            norm_bias: norm.undecayed("bias", channels, Init::Constant(0.0))?,
            running_mean: norm.buffer("running_mean", channels, Init::Constant(0.0))?,
            running_var: norm.buffer("running_var", channels, Init::Constant(1.0))?,
        })
    }

    /// The element type and device of the parameters.
    pub fn options(&self) -> (Kind, Device) {
        (self.weight.kind(), self.weight.device())
    }

    /// Applies the map, (x, weight, bias) -> (n, channels, ...), and normalises the result.
    ///
    /// # Errors
    /// When recorded moments are missing.
    pub fn forward(
        &self,
        x: &Tensor,
        statistics: &mut Statistics,
        map: impl Fn(&Tensor, &Tensor, Option<&Tensor>) -> Tensor,
    ) -> Result<Tensor> {
        match statistics {
            Statistics::Batch(recorded) => {
                // Under autocast y may be of half precision: moments are taken and kept in float32.
                let y = map(x, &self.weight, None);
                let y = y.to_kind(state_kind(y.kind()));
                let moments = moments(&y);
                self.update(&moments, y.numel() as i64 / y.size()[1]);
                let (scale, shift) = self.affine(&moments.mean, &moments.variance);
                recorded.push(moments);
                let (scale, shift) = (by_channel(&scale, &y), by_channel(&shift, &y));
                // Back in the model's type, where that is half precision.
                Ok(shift.addcmul(&y, &scale).to_kind(self.weight.kind()))
            }
            // For few inputs the map has more numbers than they: it is not worth a copy with the norm in it.
            Statistics::Running if self.weight.numel() > x.numel() => Ok(map(x, &self.weight, None)
                .batch_norm(
                    Some(&self.norm_weight),
                    Some(&self.norm_bias),
                    Some(&self.running_mean),
                    Some(&self.running_var),
                    false,
                    MOMENTUM,
                    EPSILON,
                    false,
                )),
            Statistics::Running => Ok(self.folded(x, &self.running_mean, &self.running_var, map)),
            Statistics::Recorded(moments) => {
                let Some(moments) = moments.next() else {
                    let reason = "has fewer moments than the encoder has norms".into();
                    return Err(Error::Config { field: "trace".into(), reason });
                };
                Ok(self.folded(x, &moments.mean, &moments.variance, map))
            }
        }
    }

    /// With moments known beforehand the norm is part of the map: one pass over the data less.
    fn folded(
        &self,
        x: &Tensor,
        mean: &Tensor,
        variance: &Tensor,
        map: impl Fn(&Tensor, &Tensor, Option<&Tensor>) -> Tensor,
    ) -> Tensor {
        let (scale, shift) = self.affine(mean, variance);
        let axes = vec![1; self.weight.dim() - 1];
        let kind = self.weight.kind();
        let weight = &self.weight * scale.view(&[&[-1], &axes[..]].concat()[..]).to_kind(kind);
        map(x, &weight, Some(&shift.to_kind(kind)))
    }

    /// The norm as y -> scale y + shift.
    fn affine(&self, mean: &Tensor, variance: &Tensor) -> (Tensor, Tensor) {
        let scale = &self.norm_weight * (variance + EPSILON).rsqrt();
        let shift = &self.norm_bias - mean * &scale;
        (scale, shift)
    }

    fn update(&self, moments: &Moments, values: i64) {
        // A guard, which also a panic drops: `tch::no_grad` would leave gradients off for good.
        let _no_grad = tch::no_grad_guard();
        // As PyTorch: the running variance is the unbiased one.
        let unbiased = values as f64 / (values - 1).max(1) as f64;
        let mut mean = self.running_mean.shallow_clone();
        let mut variance = self.running_var.shallow_clone();
        let _ = mean.lerp_(&moments.mean.to_kind(mean.kind()), MOMENTUM);
        let _ = variance.lerp_(&(&moments.variance * unbiased).to_kind(variance.kind()), MOMENTUM);
    }
}

/// The moments of each channel of (n, channels, ...).
///
/// Of images by sums of values and of squares: `var_mean` and its derivative take more than twice as
/// long on a CPU, and little cancels, since pixels have a mean of the order of their deviation. Vectors
/// may lie far from zero, so theirs are taken about the mean.
fn moments(y: &Tensor) -> Moments {
    if y.dim() == 2 {
        let mean = y.mean_dim(0, false, None::<Kind>);
        let variance = (y - &mean).square().mean_dim(0, false, None::<Kind>);
        return Moments { mean, variance };
    }
    let y = y.unsqueeze(-1).flatten(2, -1); // (n, channels, places)
    let values = (y.size()[0] * y.size()[2]) as f64;
    let total = |by_place: Tensor| by_place.sum_dim_intlist(0, false, None::<Kind>) / values;
    let mean = total(y.sum_dim_intlist(-1, false, None::<Kind>));
    let squares = total(y.norm_scalaropt_dim(2.0, [-1], false).square());
    let variance = (squares - mean.square()).clamp_min(0.0);
    Moments { mean, variance }
}

/// (channels) as an axis of (n, channels, ...).
fn by_channel(values: &Tensor, y: &Tensor) -> Tensor {
    let mut shape = vec![1; y.dim()];
    shape[1] = -1;
    values.view(&shape[..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Schema;

    /// With the running moments the norm is in the map for many inputs and after it for few: to both
    /// sides of where it changes, one input alone is as among others.
    #[test]
    fn few_inputs_are_normalised_as_many() {
        let construct = |path: &Path| Normalised::new(path, "linear", &[6, 5]);
        let schema = Schema::of(construct).unwrap();
        let tensors: Vec<_> = schema.initial(0).iter().map(|tensor| tensor.to_kind(Kind::Double)).collect();
        for (place, spec) in schema.specs().iter().enumerate().filter(|(_, spec)| spec.name.contains("norm"))
        {
            let _ = tensors[place].shallow_clone().fill_(0.3 + place as f64 / 7.0);
            assert_eq!(spec.shape, [6]);
        }
        let layer = schema.bind(&tensors, construct).unwrap();
        let x = Tensor::arange(50, (Kind::Double, Device::Cpu)).sin().view([10, 5]);
        let run = |x: &Tensor| {
            let map = |x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| x.linear(weight, bias);
            layer.forward(x, &mut Statistics::Running, map).unwrap()
        };
        let many = run(&x);
        for n in [1, 5, 6, 7] {
            let distance = (run(&x.narrow(0, 0, n)) - many.narrow(0, 0, n)).abs().max().double_value(&[]);
            assert!(distance < 1e-14, "{n} inputs: {distance}");
        }
    }
}
