//! Kernels in CUDA C: compiled by NVRTC when they are first wanted, kept on disk, launched on torch's
//! own stream.
//!
//! Nothing of CUDA is linked. `nvrtc.rs` opens the compiler that came with torch, `cache.rs` keeps what it
//! made, `module.rs` holds what is loaded on each device and `launch.rs` starts it. A launch waits for nothing
//! and records no event: memory is of torch's caching allocator and of the stream that torch works on.
//!
//! Compiling needs no GPU, so that every kernel can be compiled for every architecture in the tests.
//! Tests also run the kernels, on the CPU: `emulator.h` is as much of CUDA as they need, in C++, and `task.rs`, the
//! way to a launch, takes tensors of the CPU there. `numbers.cuh` is what all kernels begin with.

mod cache;
mod driver;
#[cfg(test)]
pub(crate) mod emulator;
mod launch;
mod module;
mod nvrtc;
pub(crate) mod task;

use crate::error::Result;
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

/// Compiles every kernel that learners ask for, without a device and past the cache: the entry of each, and the
/// bytes of what came out.
///
/// # Errors
/// As [`compile`].
pub fn compile_all(architecture: &str) -> Result<Vec<(&'static str, usize)>> {
    let bytes =
        |(source, entry, defines): Choice| Ok((entry, compile(source, &defines, architecture)?.len()));
    choices().map(bytes).collect()
}

/// Those kernels; of each entry in float32 first.
fn choices() -> impl Iterator<Item = Choice> {
    let scans = super::selective_scan::kernels().into_iter();
    scans.chain(super::causal_conv1d::kernels()).chain(super::mamba_step::kernels())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The GPUs that there is torch for: A100, A10 and GeForce 30, L4 and GeForce 40, B200.
    #[test]
    fn every_kernel_compiles_for_every_architecture() {
        for architecture in ["sm_80", "sm_86", "sm_89", "sm_100"] {
            let mut seen = HashSet::new();
            for (source, entry, defines) in choices().filter(|(_, entry, _)| seen.insert(*entry)) {
                let image = compile(source, &defines, architecture).unwrap();
                assert_eq!(image[..4], *b"\x7fELF", "{entry} for {architecture}");
            }
        }
    }

    /// H100.
    #[test]
    fn every_kernel_compiles_in_every_type() {
        assert!(compile_all("sm_90").unwrap().iter().all(|&(_, bytes)| bytes > 0));
    }
}
