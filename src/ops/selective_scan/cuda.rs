//! Tensors taken apart for the GPU kernels, and their results put together.

use super::cpu::arguments;
use super::variant::{Entry, Variant};
use super::{OP, SelectiveScan, Sizes};
use crate::error::Result;
use crate::ops::check::state_kind;
use crate::ops::cuda::task::{Rows, empty, over_first, start};
use crate::ops::foreign::{Borrowed, kernel, like_inputs, required};
use crate::ops::layout::{channels_last, pointer_mut, pointer_mut_or_null, pointer_or_null};
use std::ffi::c_void;
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

/// Lanes that fill a large GPU some times over. With more, a block of the backward pass takes several sequences,
/// one after another, and sums their gradients by what they share.
/// Tests have few, and take both ways.
const ENOUGH_LANES: i64 = if cfg!(test) { 1 << 6 } else { 1 << 17 };

/// `Scan` of kernel.cu.
#[derive(Clone, Copy)]
#[repr(C)]
struct Scan {
    u: Rows,
    delta: Rows,
    z: Rows,
    b: Rows,
    c: Rows,
    a: *const c_void,
    d: *const c_void,
    delta_bias: *const c_void,
    initial_state: *const c_void,
    state_strides: [i64; 3],
    lengths: *const i64,
    batch: i64,
    per_group: i64,
    length: i64,
    d_inner: i64,
    d_state: i32,
}

/// `Forward` of forward.cu.
#[repr(C)]
struct Forward {
    scan: Scan,
    y: *mut c_void,
    final_state: *mut c_void,
}

/// `Visit` of states.cu.
#[repr(C)]
struct Visit {
    scan: Scan,
    starts: *mut c_void,
}

/// `Backward` of backward.cu.
#[repr(C)]
struct Backward {
    scan: Scan,
    dy: Rows,
    dfinal_state: *const c_void,
    run: i64,
    shared: i64,
    starts: *const c_void,
    du: *mut c_void,
    ddelta: *mut c_void,
    dz: *mut c_void,
    da: *mut c_void,
    dinitial_state: *mut c_void,
    dselection: *mut c_void,
    dd: *mut c_void,
    ddelta_bias: *mut c_void,
}

/// The arguments in the kernels' types and layout; owns whatever had to be converted. What has the size of u is
/// read in its own type; what is small, or differs in type from its fellow, is converted.
pub(super) struct Prepared {
    sizes: Sizes,
    device: Device,
    /// Of states and sums.
    real: Kind,
    delta_softplus: bool,
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Option<Tensor>,
    z: Option<Tensor>,
    delta_bias: Option<Tensor>,
    initial_state: Option<Tensor>,
    lengths: Option<Tensor>,
}

impl Prepared {
    pub fn new(scan: &SelectiveScan) -> Result<Self> {
        let sizes = scan.sizes()?;
        let real = state_kind(scan.u.kind());
        let vector = |tensor: &Tensor| tensor.to_kind(real).contiguous();
        let selection = if scan.b.kind() == scan.c.kind() { scan.b.kind() } else { real };
        Ok(Self {
            sizes,
            device: scan.u.device(),
            real,
            delta_softplus: scan.delta_softplus,
            u: channels_last(scan.u),
            delta: channels_last(scan.delta),
            a: vector(scan.a),
            b: channels_last(&scan.b.to_kind(selection)),
            c: channels_last(&scan.c.to_kind(selection)),
            d: scan.d.map(vector),
            z: scan.z.map(channels_last),
            delta_bias: scan.delta_bias.map(vector),
            initial_state: scan.initial_state.map(|state| state.to_kind(real)),
            lengths: scan.lengths.map(Tensor::contiguous),
        })
    }

    fn scan(&self) -> Scan {
        let Sizes { batch, length, d_inner, d_state, groups } = self.sizes;
        let mut state_strides = [0; 3];
        if let Some(state) = &self.initial_state {
            state_strides.copy_from_slice(&state.stride());
        }
        Scan {
            u: Rows::new(&self.u),
            delta: Rows::new(&self.delta),
            z: self.z.as_ref().map_or_else(Rows::absent, Rows::new),
            b: Rows::new(&self.b),
            c: Rows::new(&self.c),
            a: pointer_or_null(Some(&self.a)),
            d: pointer_or_null(self.d.as_ref()),
            delta_bias: pointer_or_null(self.delta_bias.as_ref()),
            initial_state: pointer_or_null(self.initial_state.as_ref()),
            state_strides,
            lengths: pointer_or_null(self.lengths.as_ref()),
            batch,
            per_group: if groups == 0 { 1 } else { batch / groups },
            length,
            d_inner,
            d_state: d_state as i32,
        }
    }

    fn variant(&self) -> Variant {
        Variant {
            u: self.u.kind(),
            delta: self.delta.kind(),
            z: self.z.as_ref().map(Tensor::kind),
            selection: self.b.kind(),
            delta_softplus: self.delta_softplus,
            length: self.sizes.length,
            d_inner: self.sizes.d_inner,
            d_state: self.sizes.d_state,
        }
    }

    /// Starts a kernel for `rows` times all channels.
    ///
    /// # Safety
    /// As for [`start`].
    unsafe fn start<Task>(&self, entry: Entry, rows: i64, task: &mut Task) -> Result<()> {
        let (spans, threads) = entry.spans(self.sizes.d_inner);
        let defines = self.variant().defines(entry);
        // SAFETY: the caller vouches for the task.
        unsafe { start(OP, &entry.kernel(&defines), self.device, rows * spans, threads, task) }
    }

    fn empty(&self, shape: &[i64], kind: Kind) -> Tensor {
        empty(shape, kind, self.device)
    }
}

pub(super) fn forward(prepared: &Prepared, return_final_state: bool) -> Result<(Tensor, Option<Tensor>)> {
    let Sizes { batch, length, d_inner, d_state, .. } = prepared.sizes;
    let y = prepared.empty(&[batch, length, d_inner], prepared.u.kind());
    let final_state = return_final_state.then(|| prepared.empty(&[batch, d_inner, d_state], prepared.real));
    let mut task = Forward {
        scan: prepared.scan(),
        y: pointer_mut(&y),
        final_state: pointer_mut_or_null(final_state.as_ref()),
    };
    // SAFETY: every pointer is to a tensor that `prepared` or this function holds, of the sizes checked.
    unsafe { prepared.start(Entry::Forward, batch, &mut task)? };
    Ok((y, final_state))
}

/// Sequences that a block of the backward pass takes, and those of them that share an initial state.
fn run(sizes: &Sizes) -> (i64, i64) {
    let per_group = if sizes.groups == 0 { 1 } else { sizes.batch / sizes.groups };
    let wanted = (sizes.batch * sizes.d_inner / ENOUGH_LANES).max(1);
    if wanted >= per_group {
        return (wanted / per_group * per_group, per_group);
    }
    let divides = |run: &i64| per_group % run == 0;
    let run = (1..=wanted).rev().find(divides).expect("1 divides every number");
    (run, run)
}

/// The gradients by u, delta, A, B, C, D, z, delta_bias and the initial state.
pub(super) fn backward(
    prepared: &Prepared,
    dy: &Tensor,
    dfinal_state: Option<&Tensor>,
) -> Result<[Option<Tensor>; 9]> {
    let Sizes { batch, length, d_inner, d_state, groups } = prepared.sizes;
    let real = prepared.real;
    let sequence = |like: &Tensor| prepared.empty(&[batch, length, d_inner], like.kind());
    let (du, ddelta) = (sequence(&prepared.u), sequence(&prepared.delta));
    let dz = prepared.z.as_ref().map(sequence);
    let (run, shared) = run(&prepared.sizes);
    let rows = (batch + run - 1) / run;
    let spans = Entry::Backward.spans(d_inner).0;
    let da = prepared.empty(&[rows, d_inner, d_state], real);
    let dselection = prepared.empty(&[2, spans, batch, length, d_state], real);
    let (dd, ddelta_bias) = (prepared.empty(&[rows, d_inner], real), prepared.empty(&[rows, d_inner], real));
    let dinitial_state =
        prepared.initial_state.as_ref().map(|_| prepared.empty(&[batch / shared, d_inner, d_state], real));
    let dy = channels_last(&dy.to_kind(prepared.u.kind()));
    let dfinal_state = dfinal_state.map(|gradient| gradient.to_kind(real).contiguous());

    let variant = prepared.variant();
    let steps = variant.steps(Entry::Backward);
    let (states, blocks) = variant.blocks();
    let tiles = (length + steps - 1) / steps;
    let warps = (d_inner + 31) / 32;
    let starts = prepared.empty(&[batch, tiles, warps, blocks, 4, 32, states], real);
    let mut visit = Visit { scan: prepared.scan(), starts: pointer_mut(&starts) };
    let mut task = Backward {
        scan: prepared.scan(),
        dy: Rows::new(&dy),
        dfinal_state: pointer_or_null(dfinal_state.as_ref()),
        run,
        shared,
        starts: pointer_mut(&starts),
        du: pointer_mut(&du),
        ddelta: pointer_mut(&ddelta),
        dz: pointer_mut_or_null(dz.as_ref()),
        da: pointer_mut(&da),
        dinitial_state: pointer_mut_or_null(dinitial_state.as_ref()),
        dselection: pointer_mut(&dselection),
        dd: pointer_mut(&dd),
        ddelta_bias: pointer_mut(&ddelta_bias),
    };
    // SAFETY: as in `forward`; memory that is freed here is used again only in the order of the stream.
    unsafe {
        prepared.start(Entry::States, batch, &mut visit)?;
        prepared.start(Entry::Backward, rows, &mut task)?;
    }

    let over_parts = |gradient: Tensor| {
        let shape = [groups, batch / groups.max(1) / shared, d_inner, d_state];
        gradient.view(shape).sum_dim_intlist(1, false, None::<Kind>)
    };
    Ok([
        Some(du),
        Some(ddelta),
        Some(over_first(&da)),
        Some(over_first(&dselection.select(0, 0))),
        Some(over_first(&dselection.select(0, 1))),
        prepared.d.as_ref().map(|_| over_first(&dd)),
        dz,
        prepared.delta_bias.as_ref().map(|_| over_first(&ddelta_bias)),
        dinitial_state.map(over_parts),
    ])
}

/// # Safety
/// Ten tensors or nulls in, room for two out.
#[unsafe(no_mangle)]
unsafe extern "C" fn mambacl_selective_scan_cuda(
    inputs: *const *mut C_tensor,
    delta_softplus: bool,
    return_final_state: bool,
    outputs: *mut *mut C_tensor,
) -> i32 {
    let run = || {
        // SAFETY: C++ lends ten tensors or nulls for the time of the call.
        let inputs = unsafe { Borrowed::<10>::new(inputs) };
        let scan = arguments(&inputs.tensors(), delta_softplus)?;
        let (y, final_state) = forward(&Prepared::new(&scan)?, return_final_state)?;
        Ok([Some(y), final_state])
    };
    // SAFETY: C++ has room for two results.
    unsafe { kernel(outputs, run) }
}

/// # Safety
/// Twelve tensors or nulls in, room for nine out.
#[unsafe(no_mangle)]
unsafe extern "C" fn mambacl_selective_scan_backward_cuda(
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
        let gradients = backward(&Prepared::new(&scan)?, dy, tensors[11])?;
        Ok(like_inputs(gradients, &tensors))
    };
    // SAFETY: C++ has room for nine results.
    unsafe { kernel(outputs, run) }
}
