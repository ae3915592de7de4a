//! Tensors taken apart for the CPU kernel, and its results put together.

use super::kernel::{RunStep, Scratch, Sizes, Step, Strided};
use super::{MambaStep, Stepped};
use crate::ops::layout::{pointer, pointer_mut, pointer_mut_or_null, strides};
use crate::ops::simd::Level;
use std::cell::RefCell;
use tch::{Device, Kind, Tensor};

/// The unit that scratch memory is allocated in: a line of the cache.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "reached through pointers")] [u8; 64]);

thread_local! {
    /// Scratch memory of this thread's steps; it grows to what the largest one needs.
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Runs the kernel on arguments of one type, checked and contiguous but for the states.
pub(super) fn step(arguments: &MambaStep, sizes: &Sizes, keep_state: bool, level: Level) -> Stepped {
    match arguments.x.kind() {
        Kind::Double => run::<f64>(arguments, sizes, keep_state, level),
        _ => run::<f32>(arguments, sizes, keep_state, level),
    }
}

fn run<T: RunStep>(arguments: &MambaStep, sizes: &Sizes, keep_state: bool, level: Level) -> Stepped {
    let [rows, length, d_model] = [sizes.rows, sizes.length, sizes.d_model].map(|size| size as i64);
    let [d_inner, d_state, d_conv] = [sizes.d_inner, sizes.d_state, sizes.d_conv].map(|size| size as i64);
    let options = (T::KIND, Device::Cpu);
    let output = Tensor::empty([rows, length, d_model], options);
    // Channels lie side by side, as the kernels of longer sequences leave them.
    let state = |steps: i64| {
        let strides = [steps * d_inner, 1, d_inner];
        keep_state.then(|| Tensor::empty_strided([rows, d_inner, steps], strides, options))
    };
    let (conv_window, ssm_state) = (state(d_conv - 1), state(d_state));
    SCRATCH.with_borrow_mut(|memory| {
        let lines = (sizes.scratch() * size_of::<T>()).div_ceil(size_of::<Line>());
        if memory.len() < lines {
            memory.resize(lines, Line([0; 64]));
        }
        let task = Step::<T> {
            sizes: *sizes,
            epsilon: arguments.norm_epsilon,
            x: pointer(arguments.x),
            norm_weight: pointer(arguments.norm_weight),
            in_proj: pointer(arguments.in_proj),
            conv_weight: pointer(arguments.conv_weight),
            conv_bias: pointer(arguments.conv_bias),
            x_proj: pointer(arguments.x_proj),
            dt_weight: pointer(arguments.dt_weight),
            dt_bias: pointer(arguments.dt_bias),
            a_log: pointer(arguments.a_log),
            d: pointer(arguments.d),
            out_proj: pointer(arguments.out_proj),
            window: strided(arguments.conv_window),
            state: strided(arguments.ssm_state),
            // SAFETY: the memory has room for as many numbers.
            scratch: unsafe { Scratch::new(memory.as_mut_ptr().cast(), sizes) },
            output: pointer_mut(&output),
            final_window: pointer_mut_or_null(conv_window.as_ref()),
            final_state: pointer_mut_or_null(ssm_state.as_ref()),
        };
        // SAFETY: every pointer is to a tensor that the caller or this function holds, of the sizes
        // checked, or to this thread's scratch memory.
        unsafe { T::run(level, &task, 0) };
    });
    Stepped { output, state: conv_window.zip(ssm_state) }
}

/// A state of three axes, which need not be contiguous.
fn strided<T>(tensor: &Tensor) -> Strided<T> {
    let [group, channel, step] = strides::<3>(tensor).map(|stride| stride as usize);
    Strided { start: pointer(tensor), group, channel, step }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::levels::assert_agree;
    use crate::ops::mamba_step::reference::mamba_step;
    use crate::params::Init;

    /// Normal numbers, whose products with vectors of as many are of order 1.
    fn normal(name: &str, shape: &[i64]) -> Tensor {
        let std = if shape.len() > 1 { (shape[shape.len() - 1] as f64).powf(-0.5) } else { 1.0 };
        Init::Normal { std }.draw(0, name, shape)
    }

    /// At sizes off and on the width of every level.
    #[test]
    fn every_level_agrees_with_the_reference() {
        for (d_model, d_inner, d_state, d_conv, dt_rank) in [(21, 37, 13, 4, 3), (32, 64, 16, 2, 16)] {
            let step = MambaStep {
                x: &normal("x", &[4, 2, d_model]),
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
                conv_window: &normal("window", &[2, d_inner, d_conv - 1]),
                ssm_state: &normal("state", &[2, d_inner, d_state]),
            };
            let tensors = |Stepped { output, state }| {
                let (window, state) = state.unwrap();
                vec![output, window, state]
            };
            assert_agree(&tensors(mamba_step(&step, true).unwrap()), 3e-6, |level| {
                tensors(super::step(&step, &step.sizes().unwrap(), true, level))
            });
        }
    }
}
