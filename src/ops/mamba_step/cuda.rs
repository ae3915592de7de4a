//! Tensors taken apart for the GPU kernels, and their results put together.

use super::kernel::Sizes;
use super::{MambaStep, OP, Stepped};
use crate::error::Result;
use crate::ops::cuda::task::{element, empty, start};
use crate::ops::cuda::{Choice, Kernel, Source};
use crate::ops::layout::{pointer_mut, pointer_mut_or_null, pointer_or_null};
use std::ffi::c_void;
use tch::{Kind, Tensor};

static STEP: Source = Source {
    name: "mamba_step",
    text: concat!(include_str!("../cuda/numbers.cuh"), include_str!("kernel.cu")),
};

const THREADS: i64 = 128;

/// `Product` of kernel.cu.
#[repr(C)]
struct Product {
    x: *const c_void,
    norm_weight: *const c_void,
    epsilon: f64,
    weight: *const c_void,
    residual: *const c_void,
    to: *mut c_void,
    tokens: i64,
    inner: i64,
    outputs: i64,
}

/// `Convolve` of kernel.cu.
#[repr(C)]
struct Convolve {
    projected: *const c_void,
    weight: *const c_void,
    bias: *const c_void,
    window: *const c_void,
    strides: [i64; 3],
    u: *mut c_void,
    final_window: *mut c_void,
    rows: i64,
    per_group: i64,
    length: i64,
    d_inner: i64,
}

/// `Scan` of kernel.cu.
#[repr(C)]
struct Scan {
    projected: *const c_void,
    u: *const c_void,
    selected: *const c_void,
    dt_weight: *const c_void,
    dt_bias: *const c_void,
    a_log: *const c_void,
    d: *const c_void,
    state: *const c_void,
    strides: [i64; 3],
    y: *mut c_void,
    final_state: *mut c_void,
    rows: i64,
    per_group: i64,
    length: i64,
    d_inner: i64,
    dt_rank: i64,
}

/// What the kernels of a step are compiled for.
fn defines(kind: Kind, sizes: &Sizes) -> [(&'static str, String); 5] {
    [
        ("REAL", element(kind).into()),
        ("TOKENS", sizes.tokens().next_power_of_two().to_string()),
        ("TAPS", sizes.d_conv.to_string()),
        ("D_STATE", sizes.d_state.to_string()),
        ("THREADS", THREADS.to_string()),
    ]
}

/// The kernels that learners ask for: source, entry, what is defined.
pub(crate) fn kernels() -> Vec<Choice> {
    let sizes = Sizes {
        rows: 1,
        per_group: 1,
        length: 1,
        d_model: 512,
        d_inner: 1024,
        d_state: 16,
        d_conv: 4,
        dt_rank: 32,
    };
    let of = |kind, rows| {
        ["mamba_step_product", "mamba_step_convolve", "mamba_step_scan"]
            .map(|entry| (&STEP, entry, defines(kind, &Sizes { rows, ..sizes }).to_vec()))
    };
    [(Kind::Float, 1), (Kind::Float, 8), (Kind::Double, 1)]
        .into_iter()
        .flat_map(|(kind, rows)| of(kind, rows))
        .collect()
}

fn address(tensor: &Tensor) -> *const c_void {
    pointer_or_null(Some(tensor))
}

/// Runs the kernels on arguments of one type, checked and contiguous but for the states.
pub(super) fn step(step: &MambaStep, sizes: &Sizes, keep_state: bool) -> Result<Stepped> {
    let (kind, device) = (step.x.kind(), step.x.device());
    let size = |size: usize| size as i64;
    let (rows, per_group, length) = (size(sizes.rows), size(sizes.per_group), size(sizes.length));
    let (d_model, d_inner, d_state) = (size(sizes.d_model), size(sizes.d_inner), size(sizes.d_state));
    let (before, dt_rank) = (size(sizes.d_conv) - 1, size(sizes.dt_rank));
    let tokens = rows * length;
    let empty = |shape: &[i64]| empty(shape, kind, device);
    let output = empty(&[rows, length, d_model]);
    let (projected, u, y) =
        (empty(&[tokens, 2 * d_inner]), empty(&[tokens, d_inner]), empty(&[tokens, d_inner]));
    let selected = empty(&[tokens, dt_rank + 2 * d_state]);
    let state = keep_state.then(|| (empty(&[rows, d_inner, before]), empty(&[rows, d_inner, d_state])));
    let strides = |tensor: &Tensor| <[i64; 3]>::try_from(tensor.stride()).expect("a state has three axes");

    let defines = defines(kind, sizes);
    let kernel = |entry| Kernel { source: &STEP, entry, defines: &defines };
    let product =
        |x: &Tensor, norm: Option<&Tensor>, weight: &Tensor, residual: Option<&Tensor>, to: &Tensor| {
            let (inner, outputs) = (weight.size()[1], weight.size()[0]);
            let mut task = Product {
                x: address(x),
                norm_weight: pointer_or_null(norm),
                epsilon: step.norm_epsilon,
                weight: address(weight),
                residual: pointer_or_null(residual),
                to: pointer_mut(to),
                tokens,
                inner,
                outputs,
            };
            let warps = THREADS / 32;
            let blocks = (outputs + warps - 1) / warps;
            // SAFETY: every pointer is to a tensor that the caller or `step` holds, of the sizes checked.
            unsafe { start(OP, &kernel("mamba_step_product"), device, blocks, THREADS, &mut task) }
        };
    let blocks = (rows * d_inner + THREADS - 1) / THREADS;

    product(step.x, Some(step.norm_weight), step.in_proj, None, &projected)?;
    let mut convolve = Convolve {
        projected: address(&projected),
        weight: address(step.conv_weight),
        bias: address(step.conv_bias),
        window: address(step.conv_window),
        strides: strides(step.conv_window),
        u: pointer_mut(&u),
        final_window: pointer_mut_or_null(state.as_ref().map(|(window, _)| window)),
        rows,
        per_group,
        length,
        d_inner,
    };
    // SAFETY: as above.
    unsafe { start(OP, &kernel("mamba_step_convolve"), device, blocks, THREADS, &mut convolve)? };
    product(&u, None, step.x_proj, None, &selected)?;
    let mut scan = Scan {
        projected: address(&projected),
        u: address(&u),
        selected: address(&selected),
        dt_weight: address(step.dt_weight),
        dt_bias: address(step.dt_bias),
        a_log: address(step.a_log),
        d: address(step.d),
        state: address(step.ssm_state),
        strides: strides(step.ssm_state),
        y: pointer_mut(&y),
        final_state: pointer_mut_or_null(state.as_ref().map(|(_, state)| state)),
        rows,
        per_group,
        length,
        d_inner,
        dt_rank,
    };
    // SAFETY: as above.
    unsafe { start(OP, &kernel("mamba_step_scan"), device, blocks, THREADS, &mut scan)? };
    product(&y, None, step.out_proj, Some(step.x), &output)?;
    Ok(Stepped { output, state })
}

/// The kernels run by the emulator, on tensors of the CPU.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::cuda::emulator::{Order, assert_near, with_order};
    use crate::ops::mamba_step::reference::mamba_step;
    use crate::params::Init;

    #[test]
    fn it_agrees_with_the_reference() {
        let sizes = [(21, 37, 13, 4, 3, 4, 2), (32, 64, 16, 2, 16, 2, 1), (8, 5, 1, 1, 1, 6, 1)];
        for (d_model, d_inner, d_state, d_conv, dt_rank, rows, length) in sizes {
            for kind in [Kind::Float, Kind::Double] {
                let normal = |name: &str, shape: &[i64]| {
                    let std = if shape.len() > 1 { (shape[shape.len() - 1] as f64).powf(-0.5) } else { 1.0 };
                    Init::Normal { std }.draw(0, name, shape).to_kind(kind)
                };
                // States whose channels lie side by side, as the CPU leaves them.
                let state = |name: &str, steps: i64| {
                    let state = Init::Normal { std: 1.0 }.draw(0, name, &[2, steps, d_inner]);
                    state.to_kind(kind).transpose(1, 2)
                };
                let step = MambaStep {
                    x: &normal("x", &[rows, length, d_model]),
                    norm_weight: &normal("norm", &[d_model]),
                    norm_epsilon: 1e-5,
                    in_proj: &normal("in_proj", &[2 * d_inner, d_model]),
                    conv_weight: &normal("conv", &[d_inner, 1, d_conv]),
                    conv_bias: &normal("conv_bias", &[d_inner]),
                    x_proj: &normal("x_proj", &[dt_rank + 2 * d_state, d_inner]),
                    dt_weight: &normal("dt", &[d_inner, dt_rank]),
                    dt_bias: &normal("dt_bias", &[d_inner]),
                    a_log: &normal("A_log", &[d_inner, d_state]),
                    d: &normal("D", &[d_inner]),
                    out_proj: &normal("out_proj", &[d_model, d_inner]),
                    conv_window: &state("window", d_conv - 1),
                    ssm_state: &state("state", d_state),
                };
                let tensors = |stepped: Stepped| {
                    let (window, state) = stepped.state.unwrap();
                    vec![stepped.output, window, state]
                };
                let run = || tensors(super::step(&step, &step.sizes().unwrap(), true).unwrap());
                let wanted: Vec<_> = tensors(mamba_step(&step, true).unwrap())
                    .iter()
                    .map(|tensor| tensor.to_kind(Kind::Double))
                    .collect();
                let got = run();
                assert_near(&format!("d_model {d_model}, {kind:?}"), &got, &wanted);
                for order in [Order::Backwards, Order::Shuffled] {
                    let again = with_order(order, run);
                    assert!(again.iter().zip(&got).all(|(again, got)| again.equal(got)), "{order:?}");
                }
                let state = super::step(&step, &step.sizes().unwrap(), false).unwrap().state;
                assert!(state.is_none());
            }
        }
    }
}
