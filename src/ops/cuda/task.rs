//! What the ways into GPU kernels share: tensors as the kernels see them, and the launch.

#[cfg(test)]
use super::emulator;
use super::{Grid, Kernel, launch};
use crate::error::{Error, Result};
use std::ffi::c_void;
use tch::{Device, Kind, Tensor};

/// A (batch, length, channels) array whose channels lie side by side: `Rows` of numbers.cuh.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Rows {
    start: *const c_void,
    batch_stride: i64,
    time_stride: i64,
}

impl Rows {
    /// Of a tensor that `channels_last` gave.
    pub fn new(tensor: &Tensor) -> Self {
        let stride = tensor.stride();
        Self { start: tensor.data_ptr().cast_const(), batch_stride: stride[0], time_stride: stride[1] }
    }

    /// Of none.
    pub fn absent() -> Self {
        Self { start: std::ptr::null(), batch_stride: 0, time_stride: 0 }
    }
}

/// An element type by its name in numbers.cuh.
pub(crate) fn element(kind: Kind) -> &'static str {
    match kind {
        Kind::Double => "double",
        Kind::Half => "f16",
        Kind::BFloat16 => "bf16",
        _ => "float",
    }
}

/// Memory for a result or between kernels, contiguous.
pub(crate) fn empty(shape: &[i64], kind: Kind, device: Device) -> Tensor {
    #[cfg(test)]
    if device == Device::Cpu {
        return emulator::guarded(shape, kind);
    }
    Tensor::empty(shape, (kind, device))
}

/// A tensor of partial sums along the first axis, summed up in a fixed order.
pub(crate) fn over_first(partial: &Tensor) -> Tensor {
    if partial.size()[0] == 1 {
        partial.select(0, 0)
    } else {
        partial.sum_dim_intlist(0, false, None::<Kind>)
    }
}

/// Blocks of threads for `channels`, none with more than `most` threads or more idle warps than it must.
pub(crate) fn spans(channels: i64, most: i64) -> (i64, i64) {
    let spans = (channels + most - 1) / most;
    let warps = (channels + 32 * spans.max(1) - 1) / (32 * spans.max(1));
    (spans, 32 * warps)
}

/// Starts a kernel whose only argument is `task`, with `blocks` times `threads` threads, on torch's current stream of
/// the device. Nothing is to do for no blocks.
///
/// # Safety
/// The task must be what the entry takes; its pointers must be to memory of the device, of the sizes that the
/// kernel expects.
pub(crate) unsafe fn start<Task>(
    op: &'static str,
    kernel: &Kernel,
    device: Device,
    blocks: i64,
    threads: i64,
    task: &mut Task,
) -> Result<()> {
    if blocks == 0 {
        return Ok(());
    }
    let Ok(x) = i32::try_from(blocks) else {
        let reason = format!("too large for one launch: {blocks} blocks of threads; divide the batch");
        return Err(Error::Kernel { op, reason });
    };
    let grid = Grid { blocks: (x as u32, 1, 1), threads: (threads as u32, 1, 1), shared_bytes: 0 };
    match device {
        // SAFETY: the caller vouches for the task.
        Device::Cuda(index) => unsafe { launch(kernel, index, grid, &mut [(&raw mut *task).cast()]) },
        #[cfg(test)]
        Device::Cpu => {
            // SAFETY: as above.
            unsafe { emulator::launch(kernel, &grid, task) };
            Ok(())
        }
        _ => {
            let reason = format!("this kernel is of CUDA devices, not of {device:?}");
            Err(Error::Kernel { op, reason })
        }
    }
}
