//! Tensors taken apart for the CPU kernel, and its results put together.

use super::kernel::{Backward, Convolution, Forward, RunBackward, RunForward};
use super::{CausalConv1d, OP, Sizes};
use crate::error::Result;
use crate::ops::check::state_kind;
use crate::ops::foreign::{Borrowed, kernel, like_inputs, required};
use crate::ops::layout::{
    channels_last, checked_lengths, pointer, pointer_mut, pointer_mut_or_null, pointer_or_null, rows,
};
use crate::ops::parallel::parallel_for;
use crate::ops::simd::{Level, Real};
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

/// The arguments in the kernel's type and layout; owns whatever had to be converted.
struct Prepared {
    sizes: Sizes,
    silu: bool,
    x: Tensor,
    /// (d_conv, d_inner)
    weight: Tensor,
    bias: Option<Tensor>,
    /// (groups, d_conv - 1, d_inner)
    initial_window: Option<Tensor>,
    lengths: Option<Tensor>,
}

impl Prepared {
    fn new(convolution: &CausalConv1d) -> Result<Self> {
        let sizes = convolution.sizes()?;
        let kind = state_kind(convolution.x.kind());
        let window = |window: &Tensor| window.to_kind(kind).transpose(1, 2).contiguous();
        Ok(Self {
            sizes,
            silu: convolution.silu,
            x: channels_last(&convolution.x.to_kind(kind)),
            weight: convolution.weight.to_kind(kind).transpose(0, 1).contiguous(),
            bias: convolution.bias.map(|bias| bias.to_kind(kind).contiguous()),
            initial_window: convolution.initial_window.map(window),
            lengths: checked_lengths(OP, convolution.lengths, sizes.length)?,
        })
    }

    fn convolution<T: Real>(&self) -> Convolution<T> {
        let Sizes { batch, length, d_inner, d_conv, groups } = self.sizes;
        Convolution {
            per_group: if groups == 0 { 0 } else { (batch / groups) as usize },
            length: length as usize,
            channels: d_inner as usize,
            d_conv: d_conv as usize,
            x: rows(&self.x),
            weight: pointer(&self.weight),
            bias: pointer_or_null(self.bias.as_ref()),
            silu: self.silu,
            initial_window: pointer_or_null(self.initial_window.as_ref()),
            lengths: pointer_or_null(self.lengths.as_ref()),
        }
    }

    fn empty(&self, shape: &[i64]) -> Tensor {
        Tensor::empty(shape, (self.x.kind(), Device::Cpu))
    }
}

fn forward<T: RunForward>(
    prepared: &Prepared,
    return_final_window: bool,
    level: Level,
) -> (Tensor, Option<Tensor>) {
    let Sizes { batch, length, d_inner, d_conv, groups } = prepared.sizes;
    let y = prepared.empty(&[batch, length, d_inner]);
    // Channels lie last in memory; the transpose below shows the documented shape.
    let final_window = return_final_window.then(|| prepared.empty(&[batch, d_conv - 1, d_inner]));
    let task = Forward::<T> {
        convolution: prepared.convolution(),
        y: pointer_mut(&y),
        final_window: pointer_mut_or_null(final_window.as_ref()),
    };
    // SAFETY: every pointer is to a tensor that `prepared` or this function holds, of the sizes
    // checked; each task writes the sequences of its own group.
    parallel_for(groups as usize, &|group| unsafe { T::run(level, &task, group) });
    (y, final_window.map(|window| window.transpose(1, 2)))
}

/// The gradients by x, weight, bias and the initial window.
fn backward<T: RunBackward>(
    prepared: &Prepared,
    dy: &Tensor,
    dfinal_window: Option<&Tensor>,
    level: Level,
) -> [Option<Tensor>; 4] {
    let Sizes { batch, length, d_inner, d_conv, groups } = prepared.sizes;
    let kind = prepared.x.kind();
    let dx = prepared.empty(&[batch, length, d_inner]);
    let dweight = prepared.empty(&[groups, d_conv, d_inner]);
    let dbias = prepared.bias.as_ref().map(|_| prepared.empty(&[groups, d_inner]));
    let dinitial_window =
        prepared.initial_window.as_ref().map(|_| prepared.empty(&[groups, d_conv - 1, d_inner]));
    let dy = channels_last(&dy.to_kind(kind));
    let dfinal_window = dfinal_window.map(|gradient| gradient.to_kind(kind).transpose(1, 2).contiguous());
    let task = Backward::<T> {
        convolution: prepared.convolution(),
        dy: rows(&dy),
        dfinal_window: pointer_or_null(dfinal_window.as_ref()),
        dx: pointer_mut(&dx),
        dweight: pointer_mut(&dweight),
        dbias: pointer_mut_or_null(dbias.as_ref()),
        dinitial_window: pointer_mut_or_null(dinitial_window.as_ref()),
    };
    // SAFETY: as in `forward`.
    parallel_for(groups as usize, &|group| unsafe { T::run(level, &task, group) });
    let over_groups = |tensor: &Tensor| tensor.sum_dim_intlist(0, false, None::<Kind>);
    [
        Some(dx),
        Some(over_groups(&dweight).transpose(0, 1).contiguous()),
        dbias.as_ref().map(over_groups),
        dinitial_window.map(|gradient| gradient.transpose(1, 2)),
    ]
}

/// The first five inputs of either operator, as `autograd.cpp` orders them.
pub(super) fn arguments<'a>(inputs: &[Option<&'a Tensor>], silu: bool) -> Result<CausalConv1d<'a>> {
    Ok(CausalConv1d {
        x: required(inputs, 0)?,
        weight: required(inputs, 1)?,
        bias: inputs[2],
        silu,
        initial_window: inputs[3],
        lengths: inputs[4],
    })
}

/// # Safety
/// Five tensors or nulls in, room for two out.
#[unsafe(no_mangle)]
unsafe extern "C" fn mambacl_causal_conv1d_cpu(
    inputs: *const *mut C_tensor,
    silu: bool,
    return_final_window: bool,
    outputs: *mut *mut C_tensor,
) -> i32 {
    let run = || {
        // SAFETY: C++ lends five tensors or nulls for the time of the call.
        let inputs = unsafe { Borrowed::<5>::new(inputs) };
        let convolution = arguments(&inputs.tensors(), silu)?;
        let prepared = Prepared::new(&convolution)?;
        let level = Level::detect();
        let (y, final_window) = match prepared.x.kind() {
            Kind::Double => forward::<f64>(&prepared, return_final_window, level),
            _ => forward::<f32>(&prepared, return_final_window, level),
        };
        Ok([Some(y.to_kind(convolution.x.kind())), final_window])
    };
    // SAFETY: C++ has room for two results.
    unsafe { kernel(outputs, run) }
}

/// # Safety
/// Seven tensors or nulls in, room for four out.
#[unsafe(no_mangle)]
unsafe extern "C" fn mambacl_causal_conv1d_backward_cpu(
    inputs: *const *mut C_tensor,
    silu: bool,
    outputs: *mut *mut C_tensor,
) -> i32 {
    let run = || {
        // SAFETY: C++ lends seven tensors or nulls for the time of the call.
        let inputs = unsafe { Borrowed::<7>::new(inputs) };
        let tensors = inputs.tensors();
        let convolution = arguments(&tensors, silu)?;
        let dy = required(&tensors, 5)?;
        convolution.check_gradients(dy, tensors[6])?;
        let prepared = Prepared::new(&convolution)?;
        let level = Level::detect();
        let gradients = match prepared.x.kind() {
            Kind::Double => backward::<f64>(&prepared, dy, tensors[6], level),
            _ => backward::<f32>(&prepared, dy, tensors[6], level),
        };
        Ok(like_inputs(gradients, &tensors))
    };
    // SAFETY: C++ has room for four results.
    unsafe { kernel(outputs, run) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::causal_conv1d::reference::causal_conv1d;
    use crate::ops::levels::{assert_agree, normal};

    /// At channels off the width of every level.
    #[test]
    fn every_level_agrees_with_the_reference() {
        let (x, weight) = (normal("x", &[4, 70, 37]), normal("weight", &[37, 4]));
        let (bias, window) = (normal("bias", &[37]), normal("window", &[2, 37, 3]));
        let convolution = CausalConv1d {
            bias: Some(&bias),
            silu: true,
            initial_window: Some(&window),
            ..CausalConv1d::new(&x, &weight)
        };
        let (y, final_window) = causal_conv1d(&convolution, true).unwrap();
        let (dy, dfinal) = (normal("dy", &y.size()).detach(), normal("df", &final_window.size()).detach());
        ((&y * &dy).sum(Kind::Float) + (&final_window * &dfinal).sum(Kind::Float)).backward();
        let leaves = [&x, &weight, &bias, &window];
        let want: Vec<_> = leaves.iter().map(|leaf| leaf.grad()).chain([y, final_window]).collect();

        let prepared = tch::no_grad(|| Prepared::new(&convolution).unwrap());
        assert_agree(&want, 2e-6, |level| {
            let (y, final_window) = forward::<f32>(&prepared, true, level);
            let gradients = backward::<f32>(&prepared, &dy, Some(&dfinal), level);
            gradients.into_iter().chain([Some(y), final_window]).flatten().collect()
        });
    }
}
