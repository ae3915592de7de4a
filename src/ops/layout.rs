//! Tensors as the kernels see them: pointers and strides.

use super::foreign::numbers;
use super::rows::Rows;
use crate::error::{Error, Result};
use tch::Tensor;

/// The sizes of a tensor with N axes, None when it has another number. Unlike `Tensor::size` it
/// allocates nothing.
pub(crate) fn axes<const N: usize>(tensor: &Tensor) -> Option<[i64; N]> {
    let mut sizes = [-1; N];
    // SAFETY: the tensor writes as many sizes as it has axes.
    (tensor.dim() == N)
        .then(|| unsafe { torch_sys::at_shape(tensor.as_ptr().cast_mut(), sizes.as_mut_ptr()) })?;
    if sizes.contains(&-1) {
        tensor.dim(); // The sizes could not be told: tch panics with what libtorch said.
    }
    Some(sizes)
}

/// The strides of a tensor with N axes.
pub(crate) fn strides<const N: usize>(tensor: &Tensor) -> [i64; N] {
    assert_eq!(tensor.dim(), N);
    let mut strides = [0; N];
    // SAFETY: as above.
    unsafe { torch_sys::at_stride(tensor.as_ptr().cast_mut(), strides.as_mut_ptr()) };
    strides
}

/// The first element of a tensor.
pub(crate) fn pointer<T>(tensor: &Tensor) -> *const T {
    tensor.data_ptr().cast_const().cast()
}

/// The first element of a tensor that a kernel writes.
pub(crate) fn pointer_mut<T>(tensor: &Tensor) -> *mut T {
    tensor.data_ptr().cast()
}

/// The first element, null when there is no tensor.
pub(crate) fn pointer_or_null<T>(tensor: Option<&Tensor>) -> *const T {
    tensor.map_or(std::ptr::null(), pointer)
}

/// The first element of a tensor that a kernel writes, null when there is no tensor.
pub(crate) fn pointer_mut_or_null<T>(tensor: Option<&Tensor>) -> *mut T {
    tensor.map_or(std::ptr::null_mut(), pointer_mut)
}

/// A (batch, length, channels) tensor whose channels lie side by side: itself where they do.
pub(crate) fn channels_last(tensor: &Tensor) -> Tensor {
    let stride = tensor.stride();
    if tensor.size()[2] <= 1 || stride[2] == 1 { tensor.shallow_clone() } else { tensor.contiguous() }
}

/// The rows of a tensor that [`channels_last`] gave.
pub(crate) fn rows<T>(tensor: &Tensor) -> Rows<T> {
    let stride = tensor.stride();
    Rows { start: pointer(tensor), batch_stride: stride[0] as usize, time_stride: stride[1] as usize }
}

/// Lengths on the CPU, contiguous, after a check that each lies in [0, length].
pub(crate) fn checked_lengths(
    op: &'static str,
    lengths: Option<&Tensor>,
    length: i64,
) -> Result<Option<Tensor>> {
    let Some(lengths) = lengths else { return Ok(None) };
    let bounds = numbers(lengths, |lengths: &[i64]| Some((*lengths.iter().min()?, *lengths.iter().max()?)));
    match bounds.flatten() {
        Some((low, high)) if low < 0 || high > length => Err(Error::Value {
            op,
            argument: "lengths".into(),
            expected: format!("between 0 and the sequence length {length}"),
            got: format!("values from {low} to {high}"),
        }),
        _ => Ok(Some(lengths.contiguous())),
    }
}
