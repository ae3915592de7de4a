//! Functions of tensors that libtorch lacks.
//!
//! Each operation has a room with the same furniture: `mod.rs` checks arguments and is the one way
//! in, `reference.rs` is the equation in plain tensor operations (the oracle of the tests), `cpu.rs`
//! takes tensors apart for `kernel.rs`, which knows pointers only; `cuda.rs` takes them apart for what a GPU
//! runs, CUDA C that `kernel.cu` explains. `autograd.cpp` registers the
//! operations with libtorch, so that Rust and Python share them and their gradients. Linear attention and
//! the gated delta rule have no kernels: their matrix products are libtorch's, a chunk of steps at a time.

mod autocast;
pub mod causal_conv1d;
mod check;
pub mod cuda;
mod foreign;
pub mod gated_delta_rule;
pub mod gpu_kernels;
mod layout;
#[cfg(test)]
mod levels;
pub mod linear_attention;
pub mod mamba_step;
pub(crate) mod parallel;
pub mod rms_norm;
mod rows;
pub mod selective_scan;
mod simd;
mod tile;

pub(crate) use autocast::without_autocast;
pub(crate) use check::{dtype_name, kind_name, state_kind};
pub(crate) use foreign::{bytes, may_follow, numbers, sent, tensor_of, tensor_of_bytes};
#[cfg(feature = "python")]
pub(crate) use foreign::{has_numbers, in_transform, unfit};
pub use simd::Level;

/// The SIMD level that the CPU kernels of this process run at.
pub fn simd_level() -> Level {
    Level::detect()
}
