//! The border between Rust kernels and `autograd.cpp`, in both directions.

use crate::error::{Error, Result};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tch::{Device, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn mambacl_call_error() -> *const c_char;
    fn mambacl_unobserved(tensors: *const *const C_tensor, count: i64) -> bool;
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
        // SAFETY: the text belongs to this thread until its next failed call.
        let reason = unsafe { CStr::from_ptr(mambacl_call_error()) };
        return Err(Error::Kernel { op, reason: reason.to_string_lossy().into_owned() });
    }
    // SAFETY: a status of 0 means two owned tensors.
    unsafe { Ok((Tensor::from_ptr(outputs[0]), Tensor::from_ptr(outputs[1]))) }
}
