//! Every kernel of a GPU that learners ask for, compiled ahead. Compiling needs no GPU, so that the tests do it for
//! every architecture.

use super::cuda::{Choice, compile};
use super::{causal_conv1d, mamba_step, selective_scan};
use crate::error::Result;

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
    let scans = selective_scan::kernels().into_iter();
    scans.chain(causal_conv1d::kernels()).chain(mamba_step::kernels())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The GPUs that there is torch for: A100, A10 and GeForce 30, L4 and GeForce 40, H100, B200.
    #[test]
    fn every_kernel_compiles_in_every_type_for_every_architecture() {
        std::thread::scope(|scope| {
            for architecture in ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100"] {
                scope.spawn(move || {
                    for (source, entry, defines) in choices() {
                        let image = compile(source, &defines, architecture).unwrap();
                        assert_eq!(image[..4], *b"\x7fELF", "{entry} for {architecture}");
                    }
                });
            }
        });
    }
}
