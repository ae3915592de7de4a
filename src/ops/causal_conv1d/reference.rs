//! The causal convolution as its equation reads: the oracle that the kernels are tested against.

use super::CausalConv1d;
use crate::error::Result;
use crate::ops::check::state_kind;
use tch::Tensor;

/// As [`CausalConv1d::run`], by one shifted product for each tap in plain tensor operations.
/// Differentiable any number of times, on any device, and slow.
///
/// # Errors
/// When an argument's shape, element type or device does not fit.
pub fn causal_conv1d(convolution: &CausalConv1d, return_final_window: bool) -> Result<(Tensor, Tensor)> {
    let sizes = convolution.sizes()?;
    let kind = state_kind(convolution.x.kind());
    let options = (kind, convolution.x.device());
    let before = sizes.d_conv - 1;
    let mut x = convolution.x.to_kind(kind);
    let time = Tensor::arange(sizes.length, (tch::Kind::Int64, convolution.x.device()));
    let real = convolution.lengths.map(|lengths| lengths.unsqueeze(1).gt_tensor(&time).unsqueeze(-1));
    if let Some(real) = &real {
        // `where` and not a product: padding may hold NaN.
        x = x.where_self(real, &x.zeros_like());
    }
    let window = match convolution.initial_window {
        Some(window) => window.to_kind(kind).transpose(1, 2).repeat_interleave_self_int(
            sizes.batch / sizes.groups.max(1),
            0,
            None,
        ),
        None => Tensor::zeros([sizes.batch, before, sizes.d_inner], options),
    }; // (batch, d_conv - 1, d_inner)
    let extended = Tensor::cat(&[&window, &x], 1);
    let weight = convolution.weight.to_kind(kind);
    let mut y = Tensor::zeros([sizes.batch, sizes.length, sizes.d_inner], options);
    for k in 0..sizes.d_conv {
        y = y + extended.narrow(1, k, sizes.length) * weight.select(1, k);
    }
    if let Some(bias) = convolution.bias {
        y = y + bias.to_kind(kind);
    }
    if convolution.silu {
        y = y.silu();
    }
    if let Some(real) = &real {
        y = y.where_self(real, &y.zeros_like());
    }
    let final_window = if return_final_window {
        let ends = match convolution.lengths {
            Some(lengths) => lengths.shallow_clone(),
            None => Tensor::full([sizes.batch], sizes.length, (tch::Kind::Int64, x.device())),
        };
        let taps = Tensor::arange(before, (tch::Kind::Int64, x.device()));
        let rows = (ends.unsqueeze(1) + taps).unsqueeze(-1); // (batch, d_conv - 1, 1)
        extended.gather(1, &rows.expand([-1, -1, sizes.d_inner], false), false).transpose(1, 2)
    } else {
        Tensor::empty([0], options)
    };
    Ok((y.to_kind(convolution.x.kind()), final_window))
}
