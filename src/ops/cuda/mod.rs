//! Kernels in CUDA C: compiled by NVRTC when they are first wanted, kept on disk, launched on torch's
//! own stream.
//!
//! Nothing of CUDA is linked. `nvrtc.rs` opens the compiler that came with torch, `cache.rs` keeps what it
//! made, `module.rs` holds what is loaded on each device and `launch.rs` starts it. A launch waits for nothing
//! and records no event: memory is of torch's caching allocator and of the stream that torch works on.
//!
//! Compiling needs no GPU. Tests also run the kernels, on the CPU: `emulator.h` is as much of CUDA as they need, in
//! C++, and `task.rs`, the way to a launch, takes tensors of the CPU there. `numbers.cuh` is what all kernels begin
//! with.

mod cache;
mod driver;
#[cfg(test)]
pub(crate) mod emulator;
mod launch;
mod module;
mod nvrtc;
pub(crate) mod task;

pub(crate) use launch::{Grid, launch};
#[cfg(test)]
pub(crate) use nvrtc::resources;
pub use nvrtc::{compile, version};

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

/// A kernel to compile ahead: its source, its name, and what is defined.
pub(crate) type Choice = (&'static Source, &'static str, Vec<(&'static str, String)>);
