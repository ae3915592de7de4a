//! Tensors taken apart for the GPU kernels, and their results put together.

use super::cpu::arguments;
use super::{CausalConv1d, OP, Sizes};
use crate::error::Result;
use crate::ops::check::state_kind;
use crate::ops::cuda::task::{Rows, element, empty, over_first, spans, start};
use crate::ops::cuda::{Choice, Kernel, Source};
use crate::ops::foreign::{Borrowed, kernel, like_inputs, required};
use crate::ops::layout::{channels_last, pointer_mut, pointer_mut_or_null, pointer_or_null};
use std::ffi::c_void;
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

/// The text of an entry: what both share, then its own.
macro_rules! source {
    ($name:literal) => {
        Source {
            name: concat!("causal_conv1d_", $name),
            text: concat!(
                include_str!("../cuda/numbers.cuh"),
                include_str!("kernel.cu"),
                include_str!(concat!($name, ".cu"))
            ),
        }
    };
}

static FORWARD: Source = source!("forward");
static BACKWARD: Source = source!("backward");

const MOST_THREADS: i64 = 128;
/// Steps that a thread takes: few enough that a handful of sequences fill a GPU, many beside the 2 (d_conv - 1) that it
/// reads besides.
const PIECE: i64 = 64;

/// What the kernels are compiled for.
fn defines(kind: Kind, d_conv: i64, silu: bool, threads: i64) -> Vec<(&'static str, String)> {
    vec![
        ("REAL", element(state_kind(kind)).into()),
        ("X", element(kind).into()),
        ("TAPS", d_conv.to_string()),
        ("SILU", i32::from(silu).to_string()),
        ("THREADS", threads.to_string()),
        ("PIECE", PIECE.to_string()),
    ]
}

/// The kernels that learners ask for: source, entry, what is defined.
pub(crate) fn kernels() -> Vec<Choice> {
    let kinds = [Kind::Float, Kind::BFloat16, Kind::Half, Kind::Double];
    let both = |kind| {
        [&FORWARD, &BACKWARD].map(|source| (source, source.name, defines(kind, 4, true, MOST_THREADS)))
    };
    kinds.into_iter().flat_map(both).collect()
}

/// `Convolution` of kernel.cu.
#[derive(Clone, Copy)]
#[repr(C)]
struct Convolution {
    x: Rows,
    weight: *const c_void,
    bias: *const c_void,
    initial_window: *const c_void,
    window_strides: [i64; 3],
    lengths: *const i64,
    batch: i64,
    per_group: i64,
    length: i64,
    d_inner: i64,
}

/// `Forward` of forward.cu.
#[repr(C)]
struct Forward {
    convolution: Convolution,
    pieces: i64,
    y: *mut c_void,
    final_window: *mut c_void,
}

/// `Backward` of backward.cu.
#[repr(C)]
struct Backward {
    convolution: Convolution,
    dy: Rows,
    dfinal_window: *const c_void,
    pieces: i64,
    dx: *mut c_void,
    dweight: *mut c_void,
    dbias: *mut c_void,
    dinitial_window: *mut c_void,
}

/// The arguments in the kernels' types and layout; owns whatever had to be converted.
struct Prepared {
    sizes: Sizes,
    device: Device,
    /// Of sums.
    real: Kind,
    silu: bool,
    x: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
    initial_window: Option<Tensor>,
    lengths: Option<Tensor>,
}

impl Prepared {
    fn new(convolution: &CausalConv1d) -> Result<Self> {
        let sizes = convolution.sizes()?;
        let real = state_kind(convolution.x.kind());
        Ok(Self {
            sizes,
            device: convolution.x.device(),
            real,
            silu: convolution.silu,
            x: channels_last(convolution.x),
            weight: convolution.weight.to_kind(real).contiguous(),
            bias: convolution.bias.map(|bias| bias.to_kind(real).contiguous()),
            initial_window: convolution.initial_window.map(|window| window.to_kind(real)),
            lengths: convolution.lengths.map(Tensor::contiguous),
        })
    }

    fn convolution(&self) -> Convolution {
        let Sizes { batch, length, d_inner, groups, .. } = self.sizes;
        let mut window_strides = [0; 3];
        if let Some(window) = &self.initial_window {
            window_strides.copy_from_slice(&window.stride());
        }
        Convolution {
            x: Rows::new(&self.x),
            weight: pointer_or_null(Some(&self.weight)),
            bias: pointer_or_null(self.bias.as_ref()),
            initial_window: pointer_or_null(self.initial_window.as_ref()),
            window_strides,
            lengths: pointer_or_null(self.lengths.as_ref()),
            batch,
            per_group: if groups == 0 { 1 } else { batch / groups },
            length,
            d_inner,
        }
    }

    /// Pieces of a sequence: one also of an empty one, whose window passes through.
    fn pieces(&self) -> i64 {
        ((self.sizes.length + PIECE - 1) / PIECE).max(1)
    }

    /// Starts a kernel for all pieces and channels.
    ///
    /// # Safety
    /// As for [`start`].
    unsafe fn start<Task>(&self, source: &Source, task: &mut Task) -> Result<()> {
        let (spans, threads) = spans(self.sizes.d_inner, MOST_THREADS);
        let defines = defines(self.x.kind(), self.sizes.d_conv, self.silu, threads);
        let kernel = Kernel { source, entry: source.name, defines: &defines };
        let blocks = self.sizes.batch * self.pieces() * spans;
        // SAFETY: the caller vouches for the task.
        unsafe { start(OP, &kernel, self.device, blocks, threads, task) }
    }

    fn empty(&self, shape: &[i64], kind: Kind) -> Tensor {
        empty(shape, kind, self.device)
    }
}

fn forward(prepared: &Prepared, return_final_window: bool) -> Result<(Tensor, Option<Tensor>)> {
    let Sizes { batch, length, d_inner, d_conv, .. } = prepared.sizes;
    let y = prepared.empty(&[batch, length, d_inner], prepared.x.kind());
    let final_window =
        return_final_window.then(|| prepared.empty(&[batch, d_inner, d_conv - 1], prepared.real));
    let mut task = Forward {
        convolution: prepared.convolution(),
        pieces: prepared.pieces(),
        y: pointer_mut(&y),
        final_window: pointer_mut_or_null(final_window.as_ref()),
    };
    // SAFETY: every pointer is to a tensor that `prepared` or this function holds, of the sizes checked.
    unsafe { prepared.start(&FORWARD, &mut task)? };
    Ok((y, final_window))
}

/// The gradients by x, weight, bias and the initial window.
fn backward(prepared: &Prepared, dy: &Tensor, dfinal_window: Option<&Tensor>) -> Result<[Option<Tensor>; 4]> {
    let Sizes { batch, length, d_inner, d_conv, groups } = prepared.sizes;
    let real = prepared.real;
    let rows = batch * prepared.pieces();
    let dx = prepared.empty(&[batch, length, d_inner], prepared.x.kind());
    let dweight = prepared.empty(&[rows, d_inner, d_conv], real);
    let dbias = prepared.empty(&[rows, d_inner], real);
    let dinitial_window =
        prepared.initial_window.as_ref().map(|_| prepared.empty(&[batch, d_inner, d_conv - 1], real));
    let dy = channels_last(&dy.to_kind(prepared.x.kind()));
    let dfinal_window = dfinal_window.map(|gradient| gradient.to_kind(real).contiguous());
    let mut task = Backward {
        convolution: prepared.convolution(),
        dy: Rows::new(&dy),
        dfinal_window: pointer_or_null(dfinal_window.as_ref()),
        pieces: prepared.pieces(),
        dx: pointer_mut(&dx),
        dweight: pointer_mut(&dweight),
        dbias: pointer_mut(&dbias),
        dinitial_window: pointer_mut_or_null(dinitial_window.as_ref()),
    };
    // SAFETY: as in `forward`.
    unsafe { prepared.start(&BACKWARD, &mut task)? };
    let over_group = |gradient: Tensor| {
        let shape = [groups, batch / groups.max(1), d_inner, d_conv - 1];
        gradient.view(shape).sum_dim_intlist(1, false, None::<Kind>)
    };
    Ok([
        Some(dx),
        Some(over_first(&dweight)),
        prepared.bias.as_ref().map(|_| over_first(&dbias)),
        dinitial_window.map(over_group),
    ])
}

/// # Safety
/// Five tensors or nulls in, room for two out.
#[unsafe(no_mangle)]
unsafe extern "C" fn mambacl_causal_conv1d_cuda(
    inputs: *const *mut C_tensor,
    silu: bool,
    return_final_window: bool,
    outputs: *mut *mut C_tensor,
) -> i32 {
    let run = || {
        // SAFETY: C++ lends five tensors or nulls for the time of the call.
        let inputs = unsafe { Borrowed::<5>::new(inputs) };
        let convolution = arguments(&inputs.tensors(), silu)?;
        let (y, final_window) = forward(&Prepared::new(&convolution)?, return_final_window)?;
        Ok([Some(y), final_window])
    };
    // SAFETY: C++ has room for two results.
    unsafe { kernel(outputs, run) }
}

/// # Safety
/// Seven tensors or nulls in, room for four out.
#[unsafe(no_mangle)]
unsafe extern "C" fn mambacl_causal_conv1d_backward_cuda(
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
        let gradients = backward(&Prepared::new(&convolution)?, dy, tensors[6])?;
        Ok(like_inputs(gradients, &tensors))
    };
    // SAFETY: C++ has room for four results.
    unsafe { kernel(outputs, run) }
}

/// The kernels run by the emulator, on tensors of the CPU.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::causal_conv1d::reference::causal_conv1d;
    use crate::ops::cuda::emulator::{Order, amid_nan, assert_near, with_order};
    use crate::params::Init;
    use tch::IndexOp;

    #[derive(Clone, Copy, Debug)]
    struct Case {
        groups: i64,
        per_group: i64,
        length: i64,
        d_inner: i64,
        d_conv: i64,
        /// Bias, SiLU, the initial window and gradients by the final one.
        everything: bool,
        padded: bool,
        kind: Kind,
    }

    const USUAL: Case = Case {
        groups: 2,
        per_group: 2,
        length: 70,
        d_inner: 37,
        d_conv: 4,
        everything: true,
        padded: false,
        kind: Kind::Float,
    };

    fn assert_agrees(case: &Case) {
        let Case { groups, per_group, length, d_inner, d_conv, everything, padded, kind } = *case;
        let batch = groups * per_group;
        let real = state_kind(kind);
        let normal =
            |name: &str, kind, shape: &[i64]| Init::Normal { std: 1.0 }.draw(0, name, shape).to_kind(kind);
        let mut inputs =
            vec![normal("x", kind, &[batch, length, d_inner]), normal("weight", real, &[d_inner, d_conv])];
        if everything {
            inputs.push(normal("bias", real, &[d_inner]));
            inputs.push(normal("window", real, &[groups, d_inner, d_conv - 1]));
        }
        let dy = normal("dy", kind, &[batch, length, d_inner]);
        let lengths = padded.then(|| {
            let lengths: Vec<_> =
                (0..batch).map(|row| [length, 0, length / 2, 1][row as usize % 4]).collect();
            for (row, real) in lengths.iter().enumerate() {
                let _ = inputs[0].i((row as i64, *real..)).fill_(f64::NAN);
                let _ = dy.i((row as i64, *real..)).fill_(f64::NAN);
            }
            Tensor::from_slice(&lengths)
        });
        let inputs: Vec<_> = inputs.iter().map(amid_nan).collect();
        let (dy, dfinal) = (amid_nan(&dy), normal("dfinal", real, &[batch, d_inner, d_conv - 1]));
        fn convolution<'a>(
            inputs: &'a [Tensor],
            lengths: Option<&'a Tensor>,
            silu: bool,
        ) -> CausalConv1d<'a> {
            CausalConv1d {
                bias: inputs.get(2),
                silu,
                initial_window: inputs.get(3),
                lengths,
                ..CausalConv1d::new(&inputs[0], &inputs[1])
            }
        }

        let wide = |tensor: &Tensor| tensor.to_kind(Kind::Double).detach().copy();
        let leaves: Vec<_> = inputs.iter().map(|tensor| wide(tensor).set_requires_grad(true)).collect();
        let (y, window) = causal_conv1d(&convolution(&leaves, lengths.as_ref(), everything), true).unwrap();
        let mut loss = (&y * wide(&dy).nan_to_num(0.0, None, None)).sum(Kind::Double);
        if everything {
            loss = loss + (&window * wide(&dfinal)).sum(Kind::Double);
        }
        loss.backward();
        let wanted: Vec<_> =
            [y.detach(), window.detach()].into_iter().chain(leaves.iter().map(Tensor::grad)).collect();

        let emulated = || -> Vec<Tensor> {
            let prepared = Prepared::new(&convolution(&inputs, lengths.as_ref(), everything)).unwrap();
            let (y, window) = forward(&prepared, true).unwrap();
            let gradients = backward(&prepared, &dy, everything.then_some(&dfinal)).unwrap();
            [y, window.unwrap()].into_iter().chain(gradients.into_iter().flatten()).collect()
        };
        let got = emulated();
        assert_near(&format!("{case:?}"), &got, &wanted);
        for order in [Order::Backwards, Order::Shuffled] {
            for (place, (again, got)) in with_order(order, emulated).iter().zip(&got).enumerate() {
                assert!(again.equal(got), "{case:?}, result {place} depends on the order: {order:?}");
            }
        }
    }

    #[test]
    fn it_agrees_with_the_reference() {
        assert_agrees(&USUAL);
        assert_agrees(&Case { everything: false, ..USUAL });
        assert_agrees(&Case { padded: true, ..USUAL });
        assert_agrees(&Case { padded: true, everything: false, ..USUAL });
    }

    #[test]
    fn in_sizes_on_and_off_its_pieces() {
        for d_conv in [1, 2, 3, 7] {
            assert_agrees(&Case { d_conv, length: 11, ..USUAL });
        }
        for length in [0, 1, 3, 64, 65, 130] {
            assert_agrees(&Case { length, d_inner: 5, padded: length > 1, ..USUAL });
        }
        for d_inner in [0, 1, 32, 129] {
            assert_agrees(&Case { d_inner, length: 9, ..USUAL });
        }
        for (groups, per_group) in [(1, 1), (3, 1), (1, 5)] {
            assert_agrees(&Case { groups, per_group, length: 10, ..USUAL });
        }
    }

    #[test]
    fn in_every_type() {
        for kind in [Kind::Double, Kind::Half, Kind::BFloat16] {
            assert_agrees(&Case { kind, padded: true, ..USUAL });
        }
    }
}
