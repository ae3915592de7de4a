//! The selective scan as its equation reads: the oracle that the kernels are tested against.

use super::SelectiveScan;
use crate::error::Result;
use crate::ops::check::state_kind;
use tch::{Kind, Tensor};

/// As [`SelectiveScan::run`], by a loop over time in plain tensor operations. Differentiable any
/// number of times, on any device, and slow.
///
/// # Errors
/// When an argument's shape, element type or device does not fit.
pub fn selective_scan(scan: &SelectiveScan, return_final_state: bool) -> Result<(Tensor, Tensor)> {
    let sizes = scan.sizes()?;
    let kind = state_kind(scan.u.kind());
    let wide = |tensor: &Tensor| tensor.to_kind(kind);
    let mut h = match scan.initial_state {
        Some(state) => wide(state).repeat_interleave_self_int(sizes.batch / sizes.groups.max(1), 0, None),
        None => {
            let shape = [sizes.batch, sizes.d_inner, sizes.d_state];
            Tensor::zeros(shape, (kind, scan.u.device()))
        }
    }; // (batch, d_inner, d_state)
    let a = wide(scan.a);
    let mut ys = Vec::new();
    for t in 0..sizes.length {
        let real = scan.lengths.map(|lengths| lengths.gt(t)); // (batch)
        let at = |tensor: &Tensor| {
            let now = wide(&tensor.select(1, t));
            // `where`, here and below, and not a product: padding may hold NaN, in both passes.
            real.as_ref().map_or_else(
                || now.shallow_clone(),
                |real| now.where_self(&real.view([-1, 1]), &now.zeros_like()),
            )
        };
        let u = at(scan.u);
        let mut delta = at(scan.delta);
        if let Some(bias) = scan.delta_bias {
            delta = delta + wide(bias);
        }
        if scan.delta_softplus {
            delta = delta.softplus();
        }
        let decay = (delta.unsqueeze(-1) * &a).exp();
        let input = (delta * &u).unsqueeze(-1) * at(scan.b).unsqueeze(1);
        let next = decay * &h + input;
        let mut y = (&next * at(scan.c).unsqueeze(1)).sum_dim_intlist(-1, false, None::<Kind>);
        if let Some(d) = scan.d {
            y = y + &u * wide(d);
        }
        if let Some(z) = scan.z {
            y = y * at(z).silu();
        }
        if let Some(real) = &real {
            h = next.where_self(&real.view([-1, 1, 1]), &h);
            y = y.where_self(&real.view([-1, 1]), &y.zeros_like());
        } else {
            h = next;
        }
        ys.push(y);
    }
    let y = if ys.is_empty() { scan.u.zeros_like() } else { Tensor::stack(&ys, 1) };
    let final_state = if return_final_state { h } else { Tensor::empty([0], (kind, scan.u.device())) };
    Ok((y.to_kind(scan.u.kind()), final_state))
}
