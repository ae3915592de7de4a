//! The border between Rust kernels and `autograd.cpp`, in both directions.

use crate::error::{Error, Result};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tch::kind::Element;
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn mambacl_call_error() -> *const c_char;
    fn mambacl_unobserved(tensors: *const *const C_tensor, count: i64) -> bool;
    fn mambacl_has_numbers(tensor: *const C_tensor) -> bool;
    fn mambacl_may_follow(tensor: *const C_tensor) -> bool;
    fn mambacl_numbers(
        tensor: *const C_tensor,
        kind: i32,
        start: *mut *const c_void,
        bytes: *mut i64,
        holder: *mut *mut C_tensor,
    ) -> i32;
    fn mambacl_tensor_of(data: *const c_void, sizes: *const i64, axes: i64, kind: i32) -> *mut C_tensor;
    #[cfg(feature = "python")]
    fn mambacl_unfit(tensor: *const C_tensor) -> *const c_char;
    #[cfg(feature = "python")]
    fn mambacl_in_transform() -> bool;
    fn mambacl_pinned(tensor: *const C_tensor) -> *mut C_tensor;
}

thread_local! {
    static KERNEL_ERROR: RefCell<CString> = RefCell::default();
}

/// Why the last kernel of this thread failed; read by the C++ side after a status other than 0.
#[unsafe(no_mangle)]
extern "C" fn mambacl_kernel_error() -> *const c_char {
    KERNEL_ERROR.with(|error| error.borrow().as_ptr())
}

/// Tensors lent by C++ for the time of a call.
pub(crate) struct Borrowed<const N: usize>([Option<ManuallyDrop<Tensor>>; N]);

impl<const N: usize> Borrowed<N> {
    /// # Safety
    /// `inputs` must hold N pointers, each null or to a tensor that outlives the value.
    pub unsafe fn new(inputs: *const *mut C_tensor) -> Self {
        Self(std::array::from_fn(|index| {
            // SAFETY: the caller vouches for N pointers; ManuallyDrop leaves the tensor its owner's.
            unsafe {
                let input = *inputs.add(index);
                (!input.is_null()).then(|| ManuallyDrop::new(Tensor::from_ptr(input)))
            }
        }))
    }

    /// The tensors, in order.
    pub fn tensors(&self) -> [Option<&Tensor>; N] {
        std::array::from_fn(|index| self.0[index].as_deref())
    }
}

/// An input that every call has.
pub(crate) fn required<'a>(inputs: &[Option<&'a Tensor>], index: usize) -> Result<&'a Tensor> {
    let missing =
        || Error::Kernel { op: "autograd.cpp", reason: format!("must give tensor {index}, got none") };
    inputs[index].ok_or_else(missing)
}

/// The gradients by the first inputs, each in the type of its own; none where that is absent.
pub(crate) fn like_inputs<const N: usize>(
    gradients: [Option<Tensor>; N],
    inputs: &[Option<&Tensor>],
) -> [Option<Tensor>; N] {
    let mut inputs = inputs.iter();
    gradients.map(|gradient| {
        let input = inputs.next()?.as_ref()?;
        Some(gradient?.to_kind(input.kind()))
    })
}

/// Runs a kernel for C++: its results go to `outputs`, an error or panic becomes a status.
///
/// # Safety
/// `outputs` must have room for as many pointers as the kernel gives results.
pub(crate) unsafe fn kernel<const N: usize>(
    outputs: *mut *mut C_tensor,
    run: impl FnOnce() -> Result<[Option<Tensor>; N]>,
) -> i32 {
    let reason = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(results)) => {
            for (index, result) in results.into_iter().enumerate() {
                let pointer = result
                    .map_or(std::ptr::null_mut(), |tensor| ManuallyDrop::new(tensor).as_ptr().cast_mut());
                // SAFETY: the caller vouches for the room.
                unsafe { *outputs.add(index) = pointer };
            }
            return 0;
        }
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("the kernel panicked: {}", crate::error::panic_text(&*panic)),
    };
    let reason = CString::new(reason.replace('\0', " ")).unwrap_or_default();
    KERNEL_ERROR.with(|error| *error.borrow_mut() = reason);
    1
}

/// Whether a kernel may read these tensors without the dispatcher knowing: plain tensors of CPU or GPU, of
/// which no gradient is wanted, while no transform of torch is at work.
pub(crate) fn unobserved<const N: usize>(tensors: [&Tensor; N]) -> bool {
    let tensors = tensors.map(Tensor::as_ptr);
    // SAFETY: N pointers to tensors that live for the time of the call.
    unsafe { mambacl_unobserved(tensors.as_ptr(), N as i64) }
}

/// Whether what is computed may follow from a tensor's numbers, such as the size of a result: where it has some
/// in the memory of the CPU, and torch neither traces nor transforms.
pub(crate) fn may_follow(tensor: &Tensor) -> bool {
    // SAFETY: the tensor lives for the time of the call.
    unsafe { mambacl_may_follow(tensor.as_ptr()) }
}

/// Reads the bytes of a tensor's numbers, in order and as a kind. None where it has no numbers in the memory
/// of the CPU: on another device, and what torch only thinks of as a tensor (fake, wrapped, in a transform).
/// Neither autograd nor a mode of torch sees it.
pub(crate) fn bytes<R>(tensor: &Tensor, kind: Kind, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
    let (mut start, mut count, mut holder) = (std::ptr::null(), 0, std::ptr::null_mut());
    // SAFETY: the tensor lives for the time of the calls, and there is room for what they write.
    let status = unsafe {
        if !mambacl_has_numbers(tensor.as_ptr()) {
            return None;
        }
        let kind = scalar_type(kind);
        mambacl_numbers(tensor.as_ptr(), kind, &raw mut start, &raw mut count, &raw mut holder)
    };
    assert!(status == 0, "{}", call_error());
    // SAFETY: where there is a holder, it is owned.
    let _holder = (!holder.is_null()).then(|| unsafe { Tensor::from_ptr(holder) });
    if count == 0 {
        return Some(read(&[]));
    }
    // SAFETY: as many bytes lie there, as long as the tensor and the holder live.
    Some(read(unsafe { std::slice::from_raw_parts(start.cast(), count as usize) }))
}

/// As [`bytes`], of the numbers themselves.
pub(crate) fn numbers<T: Element, R>(tensor: &Tensor, read: impl FnOnce(&[T]) -> R) -> Option<R> {
    bytes(tensor, T::KIND, |bytes| {
        if bytes.is_empty() {
            return read(&[]);
        }
        // SAFETY: torch aligns memory for every kind, and the bytes are numbers of this one.
        read(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) })
    })
}

/// A tensor of given bytes, with memory also where a mode of torch makes tensors without. There must be as many
/// as the kind and size need.
pub(crate) fn tensor_of_bytes(bytes: &[u8], kind: Kind, size: &[i64]) -> Tensor {
    let needed = size.iter().product::<i64>() * kind.elt_size_in_bytes() as i64;
    assert_eq!(bytes.len() as i64, needed, "bytes of a {size:?} tensor of {kind:?}");
    // SAFETY: as many bytes are read as were counted; what comes back is owned, or null.
    unsafe {
        let (data, axes) = (bytes.as_ptr().cast(), size.len() as i64);
        let made = mambacl_tensor_of(data, size.as_ptr(), axes, scalar_type(kind));
        assert!(!made.is_null(), "{}", call_error());
        Tensor::from_ptr(made)
    }
}

/// A tensor of given numbers, as `torch.tensor` makes one: a fake one where all are.
pub(crate) fn tensor_of<T: Element>(numbers: &[T], size: &[i64]) -> Tensor {
    // SAFETY: the bytes of a slice of numbers.
    let bytes = unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) };
    tensor_of_bytes(bytes, T::KIND, size).lift_fresh()
}

/// The number that libtorch has for an element type that memory is read and written in.
fn scalar_type(kind: Kind) -> i32 {
    match kind {
        Kind::Int64 => 4,
        Kind::Half => 5,
        Kind::Float => 6,
        Kind::Double => 7,
        Kind::Bool => 11,
        Kind::BFloat16 => 15,
        other => panic!("memory is not read as {other:?}"),
    }
}

/// What the last failed call of this thread said.
fn call_error() -> String {
    // SAFETY: the text belongs to this thread until its next failed call.
    unsafe { CStr::from_ptr(mambacl_call_error()) }.to_string_lossy().into_owned()
}

/// Why the engine cannot take a tensor: its kind, such as "a nested tensor"; None where it can.
#[cfg(feature = "python")]
pub(crate) fn unfit(tensor: &Tensor) -> Option<&'static str> {
    // SAFETY: the tensor lives for the time of the call; the text, if any, is a constant.
    unsafe {
        let kind = mambacl_unfit(tensor.as_ptr());
        (!kind.is_null()).then(|| CStr::from_ptr(kind).to_str().unwrap_or("an unusual tensor"))
    }
}

/// Whether a tensor has numbers to be read by [`bytes`].
#[cfg(feature = "python")]
pub(crate) fn has_numbers(tensor: &Tensor) -> bool {
    // SAFETY: the tensor lives for the time of the call.
    unsafe { mambacl_has_numbers(tensor.as_ptr()) }
}

/// Whether a transform of torch.func (grad, vmap, jvp, ...) is at work in this thread.
#[cfg(feature = "python")]
pub(crate) fn in_transform() -> bool {
    // SAFETY: reads a variable of the thread.
    unsafe { mambacl_in_transform() }
}

/// A tensor of the CPU on a device; to CUDA by way of pinned memory, so that nothing waits for the copy.
pub(crate) fn sent(tensor: &Tensor, device: Device) -> Tensor {
    if !device.is_cuda() {
        return tensor.to_device(device);
    }
    // SAFETY: the tensor lives for the time of the call; what comes back is owned, or null.
    let pinned = unsafe {
        let pinned = mambacl_pinned(tensor.as_ptr());
        (!pinned.is_null()).then(|| Tensor::from_ptr(pinned))
    };
    pinned.as_ref().unwrap_or(tensor).to_device_(device, tensor.kind(), true, false)
}

/// Calls an operator through `autograd.cpp` with N borrowed tensors, for two results.
pub(crate) fn call<const N: usize>(
    op: &'static str,
    inputs: [Option<&Tensor>; N],
    operator: impl FnOnce(*const *const C_tensor, *mut *mut C_tensor) -> i32,
) -> Result<(Tensor, Tensor)> {
    let inputs = inputs.map(|input| input.map_or(std::ptr::null(), Tensor::as_ptr));
    let mut outputs = [std::ptr::null_mut(); 2];
    if operator(inputs.as_ptr(), outputs.as_mut_ptr()) != 0 {
        return Err(Error::Kernel { op, reason: call_error() });
    }
    // SAFETY: a status of 0 means two owned tensors.
    unsafe { Ok((Tensor::from_ptr(outputs[0]), Tensor::from_ptr(outputs[1]))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_order_whatever_their_layout() {
        let tensor = tensor_of(&[1f32, 2., 3., 4., 5., 6.], &[2, 3]);
        let read = |tensor: &Tensor| numbers(tensor, <[f32]>::to_vec);
        assert_eq!(read(&tensor).unwrap(), [1., 2., 3., 4., 5., 6.]);
        assert_eq!(read(&tensor.transpose(0, 1)).unwrap(), [1., 4., 2., 5., 3., 6.]);
        assert_eq!(read(&tensor.select(0, 1)).unwrap(), [4., 5., 6.]);
        assert_eq!(read(&tensor.select(1, 0).unsqueeze(1).expand([2, 2], false)).unwrap(), [1., 1., 4., 4.]);
        assert_eq!(read(&tensor.internal_neg_view()).unwrap(), [-1., -2., -3., -4., -5., -6.]);
        assert_eq!(read(&tensor.narrow(0, 0, 0)).unwrap(), [0f32; 0]);
        assert_eq!(read(&tensor.to_kind(Kind::BFloat16)).unwrap(), [1., 2., 3., 4., 5., 6.]);
        assert_eq!(numbers(&tensor, <[f64]>::to_vec).unwrap(), [1., 2., 3., 4., 5., 6.]);
        assert_eq!(read(&tensor.set_requires_grad(true)).unwrap(), [1., 2., 3., 4., 5., 6.]);
    }

    #[test]
    fn bytes_come_back_as_they_were() {
        for kind in [Kind::Half, Kind::BFloat16, Kind::Float, Kind::Double, Kind::Int64, Kind::Bool] {
            let tensor = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([3, 2]).to_kind(kind);
            let copy = bytes(&tensor, kind, |bytes| tensor_of_bytes(bytes, kind, &[3, 2])).unwrap();
            assert_eq!(copy.kind(), kind);
            assert!(copy.equal(&tensor), "{kind:?}");
        }
    }
}
