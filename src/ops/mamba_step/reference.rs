//! The block in plain tensor operations: the oracle that the kernel is tested against.

use super::{MambaStep, Stepped};
use crate::error::Result;
use crate::ops::causal_conv1d::{self, CausalConv1d};
use crate::ops::selective_scan::{self, SelectiveScan};
use tch::{Kind, Tensor};

/// The block over any number of tokens, on any device, differentiable.
///
/// # Errors
/// When an argument's shape, element type or device does not fit.
pub fn mamba_step(step: &MambaStep, keep_state: bool) -> Result<Stepped> {
    step.sizes()?;
    let x = step.x;
    let mean_square = x.square().mean_dim(-1, true, None::<Kind>);
    let normed = x / (mean_square + step.norm_epsilon).sqrt() * step.norm_weight;
    let projected = normed.linear(step.in_proj, None::<&Tensor>).chunk(2, -1);
    let taps = step.conv_weight.squeeze_dim(1);
    let convolution = CausalConv1d {
        bias: Some(step.conv_bias),
        silu: true,
        initial_window: Some(step.conv_window),
        ..CausalConv1d::new(&projected[0], &taps)
    };
    let (u, window) = causal_conv1d::reference::causal_conv1d(&convolution, true)?;
    let d_state = step.a_log.size()[1];
    let sizes = [step.dt_weight.size()[1], d_state, d_state];
    let selected = u.linear(step.x_proj, None::<&Tensor>).split_with_sizes(sizes, -1);
    let delta = selected[0].linear(step.dt_weight, Some(step.dt_bias));
    let a = -step.a_log.exp();
    let scan = SelectiveScan {
        d: Some(step.d),
        z: Some(&projected[1]),
        delta_softplus: true,
        initial_state: Some(step.ssm_state),
        ..SelectiveScan::new(&u, &delta, &a, &selected[1], &selected[2])
    };
    let (y, state) = selective_scan::reference::selective_scan(&scan, true)?;
    let output = x + y.linear(step.out_proj, None::<&Tensor>);
    Ok(Stepped { output, state: keep_state.then_some((window, state)) })
}
