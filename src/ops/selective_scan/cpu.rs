//! Tensors taken apart for the CPU kernel, and its results put together.

use super::kernel::{Backward, Forward, RunBackward, RunForward, Scan};
use super::{OP, SelectiveScan, Sizes};
use crate::error::Result;
use crate::ops::check::state_kind;
use crate::ops::foreign::{Borrowed, kernel, like_inputs, required};
use crate::ops::layout::{
    channels_last, checked_lengths, pointer, pointer_mut, pointer_mut_or_null, pointer_or_null, rows,
};
use crate::ops::parallel::parallel_for;
use crate::ops::simd::{Level, Real, lanes};
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

/// The arguments in the kernel's type and layout; owns whatever had to be converted.
struct Prepared {
    sizes: Sizes,
    delta_softplus: bool,
    u: Tensor,
    delta: Tensor,
    /// (d_state, d_inner), times log2(e)
    a_log2: Tensor,
    b: Tensor,
    c: Tensor,
    d: Option<Tensor>,
    z: Option<Tensor>,
    delta_bias: Option<Tensor>,
    /// (groups, d_state, d_inner)
    initial_state: Option<Tensor>,
    lengths: Option<Tensor>,
}

impl Prepared {
    fn new(scan: &SelectiveScan) -> Result<Self> {
        let sizes = scan.sizes()?;
        let kind = state_kind(scan.u.kind());
        let sequence = |tensor: &Tensor| channels_last(&tensor.to_kind(kind));
        let vector = |tensor: &Tensor| tensor.to_kind(kind).contiguous();
        Ok(Self {
            sizes,
            delta_softplus: scan.delta_softplus,
            u: sequence(scan.u),
            delta: sequence(scan.delta),
            a_log2: (scan.a.to_kind(kind).transpose(0, 1) * std::f64::consts::LOG2_E).contiguous(),
            b: sequence(scan.b),
            c: sequence(scan.c),
            d: scan.d.map(vector),
            z: scan.z.map(sequence),
            delta_bias: scan.delta_bias.map(vector),
            initial_state: scan.initial_state.map(|state| vector(&state.transpose(1, 2))),
            lengths: checked_lengths(OP, scan.lengths, sizes.length)?,
        })
    }

    fn scan<T: Real>(&self) -> Scan<T> {
        let Sizes { batch, length, d_inner, d_state, groups } = self.sizes;
        Scan {
            groups: groups as usize,
            per_group: if groups == 0 { 0 } else { (batch / groups) as usize },
            length: length as usize,
            d_inner: d_inner as usize,
            d_state: d_state as usize,
            u: rows(&self.u),
            delta: rows(&self.delta),
            a_log2: pointer(&self.a_log2),
            b: rows(&self.b),
            c: rows(&self.c),
            d: pointer_or_null(self.d.as_ref()),
            z: self.z.as_ref().map(rows),
            delta_bias: pointer_or_null(self.delta_bias.as_ref()),
            delta_softplus: self.delta_softplus,
            initial_state: pointer_or_null(self.initial_state.as_ref()),
            lengths: pointer_or_null(self.lengths.as_ref()),
        }
    }

    fn empty(&self, shape: &[i64]) -> Tensor {
        Tensor::empty(shape, (self.u.kind(), Device::Cpu))
    }
}

fn forward<T: RunForward>(
    prepared: &Prepared,
    return_final_state: bool,
    level: Level,
) -> (Tensor, Option<Tensor>) {
    let Sizes { batch, length, d_inner, d_state, groups } = prepared.sizes;
    let y = prepared.empty(&[batch, length, d_inner]);
    // Channels lie last in memory; the transpose below shows the documented shape.
    let final_state = return_final_state.then(|| prepared.empty(&[batch, d_state, d_inner]));
    let task = Forward::<T> {
        scan: prepared.scan(),
        y: pointer_mut(&y),
        final_state: pointer_mut_or_null(final_state.as_ref()),
    };
    let tiles = (d_inner as usize).div_ceil(lanes::<T>(level));
    // SAFETY: every pointer is to a tensor that `prepared` or this function holds, of the sizes
    // checked; each task writes the channels of its own tile and the sequences of its own group.
    parallel_for(groups as usize * tiles, &|index| unsafe { T::run(level, &task, index) });
    (y, final_state.map(|state| state.transpose(1, 2)))
}

/// The gradients by u, delta, A, B, C, D, z, delta_bias and the initial state.
fn backward<T: RunBackward>(
    prepared: &Prepared,
    dy: &Tensor,
    dfinal_state: Option<&Tensor>,
    level: Level,
) -> [Option<Tensor>; 9] {
    let Sizes { batch, length, d_inner, d_state, groups } = prepared.sizes;
    let tiles = (d_inner as usize).div_ceil(lanes::<T>(level));
    // Enough tasks for many threads when there are few sequences. A function of the sizes alone, so
    // that the order of sums, and so each bit of the result, is the same for any number of threads.
    let spans = (32 / groups.max(1) as usize).clamp(1, 8).min(tiles.max(1));
    let kind = prepared.u.kind();
    let sequence = || prepared.empty(&[batch, length, d_inner]);
    let by_group = || prepared.empty(&[groups, d_inner]);
    let by_state = || prepared.empty(&[groups, d_state, d_inner]);
    let by_span = || Tensor::zeros([spans as i64, batch, length, d_state], (kind, Device::Cpu));

    let (du, ddelta, dz) = (sequence(), sequence(), prepared.z.as_ref().map(|_| sequence()));
    let (da, db, dc) = (by_state(), by_span(), by_span());
    let dd = prepared.d.as_ref().map(|_| by_group());
    let ddelta_bias = prepared.delta_bias.as_ref().map(|_| by_group());
    let dinitial_state = prepared.initial_state.as_ref().map(|_| by_state());
    let dy = channels_last(&dy.to_kind(kind));
    let dfinal_state = dfinal_state.map(|gradient| gradient.to_kind(kind).transpose(1, 2).contiguous());

    let task = Backward::<T> {
        scan: prepared.scan(),
        dy: rows(&dy),
        dfinal_state: pointer_or_null(dfinal_state.as_ref()),
        spans,
        du: pointer_mut(&du),
        ddelta: pointer_mut(&ddelta),
        dz: pointer_mut_or_null(dz.as_ref()),
        da: pointer_mut(&da),
        dinitial_state: pointer_mut_or_null(dinitial_state.as_ref()),
        db: pointer_mut(&db),
        dc: pointer_mut(&dc),
        dd: pointer_mut_or_null(dd.as_ref()),
        ddelta_bias: pointer_mut_or_null(ddelta_bias.as_ref()),
    };
    // SAFETY: as in `forward`; a task writes the channels and the sums of its own span, and the
    // sequences of its own group.
    parallel_for(groups as usize * spans, &|index| unsafe { T::run(level, &task, index) });

    let over_first = |tensor: &Tensor| tensor.sum_dim_intlist(0, false, None::<Kind>);
    [
        Some(du),
        Some(ddelta),
        Some(over_first(&da).transpose(0, 1).contiguous()),
        Some(over_first(&db)),
        Some(over_first(&dc)),
        dd.as_ref().map(over_first),
        dz,
        ddelta_bias.as_ref().map(over_first),
        dinitial_state.map(|gradient| gradient.transpose(1, 2)),
    ]
}

/// The first ten inputs of either operator, as `autograd.cpp` orders them.
pub(super) fn arguments<'a>(
    inputs: &[Option<&'a Tensor>],
    delta_softplus: bool,
) -> Result<SelectiveScan<'a>> {
    let required = |index| required(inputs, index);
    Ok(SelectiveScan {
        d: inputs[5],
        z: inputs[6],
        delta_bias: inputs[7],
        delta_softplus,
        initial_state: inputs[8],
        lengths: inputs[9],
        ..SelectiveScan::new(required(0)?, required(1)?, required(2)?, required(3)?, required(4)?)
    })
}

/// # Safety
/// Ten tensors or nulls in, room for two out.
#[unsafe(no_mangle)]
unsafe extern "C" fn mambacl_selective_scan_cpu(
    inputs: *const *mut C_tensor,
    delta_softplus: bool,
    return_final_state: bool,
    outputs: *mut *mut C_tensor,
) -> i32 {
    let run = || {
        // SAFETY: C++ lends ten tensors or nulls for the time of the call.
        let inputs = unsafe { Borrowed::<10>::new(inputs) };
        let scan = arguments(&inputs.tensors(), delta_softplus)?;
        let prepared = Prepared::new(&scan)?;
        let level = Level::detect();
        let (y, final_state) = match prepared.u.kind() {
            Kind::Double => forward::<f64>(&prepared, return_final_state, level),
            _ => forward::<f32>(&prepared, return_final_state, level),
        };
        Ok([Some(y.to_kind(scan.u.kind())), final_state])
    };
    // SAFETY: C++ has room for two results.
    unsafe { kernel(outputs, run) }
}

/// # Safety
/// Twelve tensors or nulls in, room for nine out.
#[unsafe(no_mangle)]
unsafe extern "C" fn mambacl_selective_scan_backward_cpu(
    inputs: *const *mut C_tensor,
    delta_softplus: bool,
    outputs: *mut *mut C_tensor,
) -> i32 {
    let run = || {
        // SAFETY: C++ lends twelve tensors or nulls for the time of the call.
        let inputs = unsafe { Borrowed::<12>::new(inputs) };
        let tensors = inputs.tensors();
        let scan = arguments(&tensors, delta_softplus)?;
        let dy = required(&tensors, 10)?;
        scan.check_gradients(dy, tensors[11])?;
        let prepared = Prepared::new(&scan)?;
        let level = Level::detect();
        let gradients = match prepared.u.kind() {
            Kind::Double => backward::<f64>(&prepared, dy, tensors[11], level),
            _ => backward::<f32>(&prepared, dy, tensors[11], level),
        };
        Ok(like_inputs(gradients, &tensors))
    };
    // SAFETY: C++ has room for nine results.
    unsafe { kernel(outputs, run) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::levels::{assert_agree, normal};
    use crate::ops::selective_scan::reference::selective_scan;

    /// At channels and states off the width of every level, over more than one chunk of time.
    #[test]
    fn every_level_agrees_with_the_reference() {
        let (batch, length, d_inner, d_state) = (4, 260, 37, 13);
        let sequence = |name, width| normal(name, &[batch, length, width]);
        let (u, delta, z) = (sequence("u", d_inner), sequence("delta", d_inner), sequence("z", d_inner));
        let (b, c) = (sequence("B", d_state), sequence("C", d_state));
        let a = (-normal("A", &[d_inner, d_state]).exp()).detach().set_requires_grad(true);
        let (d, bias) = (normal("D", &[d_inner]), normal("bias", &[d_inner]));
        let state = normal("state", &[2, d_inner, d_state]);
        let scan = SelectiveScan {
            d: Some(&d),
            z: Some(&z),
            delta_bias: Some(&bias),
            delta_softplus: true,
            initial_state: Some(&state),
            ..SelectiveScan::new(&u, &delta, &a, &b, &c)
        };
        let (y, final_state) = selective_scan(&scan, true).unwrap();
        let (dy, dfinal) = (normal("dy", &y.size()).detach(), normal("df", &final_state.size()).detach());
        ((&y * &dy).sum(Kind::Float) + (&final_state * &dfinal).sum(Kind::Float)).backward();
        let leaves = [&u, &delta, &a, &b, &c, &d, &z, &bias, &state];
        let want: Vec<_> = leaves.iter().map(|leaf| leaf.grad()).chain([y, final_state]).collect();

        let prepared = tch::no_grad(|| Prepared::new(&scan).unwrap());
        assert_agree(&want, 5e-6, |level| {
            let (y, final_state) = forward::<f32>(&prepared, true, level);
            let gradients = backward::<f32>(&prepared, &dy, Some(&dfinal), level);
            gradients.into_iter().chain([Some(y), final_state]).flatten().collect()
        });
    }
}
