//! Kernels in CUDA C: compiled by NVRTC when they are first wanted, kept on disk, launched on torch's
//! own stream.
//!
//! Nothing of CUDA is linked. `nvrtc.rs` opens the compiler that came with torch, `cache.rs` keeps what it
//! made, `module.rs` holds what is loaded on each device and `launch.rs` starts it. A launch waits for nothing
//! and records no event: memory is of torch's caching allocator and of the stream that torch works on.
//!
//! Compiling needs no GPU, so that every kernel can be compiled for every architecture in the tests.

mod cache;
mod driver;
#[cfg(test)]
pub(crate) mod emulator;
mod launch;
mod module;
mod nvrtc;
pub(crate) mod task;

use crate::error::Result;
pub(crate) use driver::{Limits, limits};
pub(crate) use launch::{Grid, launch};
pub use nvrtc::compile;
#[cfg(test)]
pub(crate) use nvrtc::resources;

/// A translation unit.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// One name for one text: what is compiled and loaded is found by it.
    pub name: &'static str,
    /// CUDA C++17 that includes nothing.
    pub text: &'static str,
}

/// A kernel of a source, for types and sizes that are chosen when it is compiled.
#[derive(Clone, Debug)]
pub struct Kernel<'a> {
    /// Where it stands.
    pub source: &'a Source,
    /// Its name, `extern "C"`.
    pub entry: &'a str,
    /// `-D NAME=VALUE`.
    pub defines: &'a [(&'a str, String)],
}

/// How many SMs a device has, which decides how finely work is to be cut.
///
/// # Errors
/// Without a driver or such a device.
pub(crate) fn multiprocessors(device: usize) -> Result<u32> {
    Ok(limits(device)?.multiprocessors)
}
