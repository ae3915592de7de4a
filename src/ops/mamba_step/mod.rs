//! A few tokens through a whole pre-norm Mamba block, x + mamba(rms_norm(x)), where no gradient is
//! wanted: what a learner in use does with each example.
//!
//! By way of the operations for whole sequences a token costs some thirty calls of libtorch and a
//! tensor for each. Here it is one call, and all that is allocated are the results.

mod cpu;
mod cuda;
mod kernel;
pub mod reference;

use super::check::{Check, three_axes, two_axes};
use super::foreign;
use super::simd::Level;
use crate::error::Result;
pub(crate) use cuda::kernels;
use kernel::Sizes;
use tch::{Device, Kind, Tensor};

const OP: &str = "mamba_step";

/// As many tokens, over all rows, as the kernel is for: it runs on one thread.
const MOST_TOKENS: usize = 8;

/// The arguments of a step; parameters as mamba-ssm has them.
#[derive(Clone, Copy)]
pub struct MambaStep<'a> {
    /// Tokens, (rows, length, d_model), each row a sequence of its own.
    pub x: &'a Tensor,
    /// Of the RMSNorm before the mixer, (d_model).
    pub norm_weight: &'a Tensor,
    /// Added to the mean square.
    pub norm_epsilon: f64,
    /// (2 d_inner, d_model)
    pub in_proj: &'a Tensor,
    /// (d_inner, 1, d_conv)
    pub conv_weight: &'a Tensor,
    /// (d_inner)
    pub conv_bias: &'a Tensor,
    /// (dt_rank + 2 d_state, d_inner)
    pub x_proj: &'a Tensor,
    /// (d_inner, dt_rank)
    pub dt_weight: &'a Tensor,
    /// (d_inner)
    pub dt_bias: &'a Tensor,
    /// (d_inner, d_state)
    pub a_log: &'a Tensor,
    /// (d_inner)
    pub d: &'a Tensor,
    /// (d_model, d_inner)
    pub out_proj: &'a Tensor,
    /// (groups, d_inner, d_conv - 1), rows = groups x g: row i continues window i / g.
    pub conv_window: &'a Tensor,
    /// (groups, d_inner, d_state)
    pub ssm_state: &'a Tensor,
}

/// What a step gives.
pub struct Stepped {
    /// (rows, length, d_model)
    pub output: Tensor,
    /// The window and the SSM's state after the tokens, (rows, d_inner, d_conv - 1) and
    /// (rows, d_inner, d_state), when asked for.
    pub state: Option<(Tensor, Tensor)>,
}

impl MambaStep<'_> {
    /// Runs the kernel, on this thread or on the GPU; the states given stay as they are. None where
    /// the kernel does not serve: for more than 8 tokens in all, on other devices, where element
    /// types differ or are neither float32 nor float64, for parameters that are not contiguous, and
    /// where autograd, autocast or a transform of torch would want to know.
    ///
    /// # Errors
    /// When an argument's shape, element type or device does not fit; when a GPU's kernel cannot start.
    pub fn run(&self, keep_state: bool) -> Result<Option<Stepped>> {
        let sizes = self.sizes()?;
        if !self.serves(&sizes) {
            return Ok(None);
        }
        match self.x.device() {
            Device::Cuda(_) => cuda::step(self, &sizes, keep_state).map(Some),
            _ => Ok(Some(cpu::step(self, &sizes, keep_state, Level::detect()))),
        }
    }

    fn tensors(&self) -> [&Tensor; 13] {
        [
            self.x,
            self.norm_weight,
            self.in_proj,
            self.conv_weight,
            self.conv_bias,
            self.x_proj,
            self.dt_weight,
            self.dt_bias,
            self.a_log,
            self.d,
            self.out_proj,
            self.conv_window,
            self.ssm_state,
        ]
    }

    fn serves(&self, sizes: &Sizes) -> bool {
        let tensors = self.tensors();
        let kind = self.x.kind();
        (1..=MOST_TOKENS).contains(&sizes.tokens())
            && matches!(self.x.device(), Device::Cpu | Device::Cuda(_))
            && matches!(kind, Kind::Float | Kind::Double)
            && tensors.iter().all(|tensor| tensor.kind() == kind)
            && tensors[..11].iter().all(|tensor| tensor.is_contiguous())
            && foreign::unobserved(tensors)
    }

    fn sizes(&self) -> Result<Sizes> {
        let (rows, length, d_model) = three_axes(OP, "x", self.x, "(rows, length, d_model)")?;
        let (d_inner, dt_rank) = two_axes(OP, "dt_weight", self.dt_weight, "(d_inner, dt_rank)")?;
        let (_, d_state) = two_axes(OP, "a_log", self.a_log, "(d_inner, d_state)")?;
        let (_, _, d_conv) = three_axes(OP, "conv_weight", self.conv_weight, "(d_inner, 1, d_conv)")?;
        let d_conv = d_conv.max(1);
        let check = Check::new(OP, "x", self.x)?;
        let selected = dt_rank + 2 * d_state;
        check.floating("norm_weight", self.norm_weight, &[d_model], "(d_model)")?;
        check.floating("in_proj", self.in_proj, &[2 * d_inner, d_model], "(2 d_inner, d_model)")?;
        check.floating("conv_weight", self.conv_weight, &[d_inner, 1, d_conv], "(d_inner, 1, d_conv)")?;
        check.floating("conv_bias", self.conv_bias, &[d_inner], "(d_inner)")?;
        check.floating("x_proj", self.x_proj, &[selected, d_inner], "(dt_rank + 2 d_state, d_inner)")?;
        check.floating("dt_weight", self.dt_weight, &[d_inner, dt_rank], "(d_inner, dt_rank)")?;
        check.floating("dt_bias", self.dt_bias, &[d_inner], "(d_inner)")?;
        check.floating("a_log", self.a_log, &[d_inner, d_state], "(d_inner, d_state)")?;
        check.floating("d", self.d, &[d_inner], "(d_inner)")?;
        check.floating("out_proj", self.out_proj, &[d_model, d_inner], "(d_model, d_inner)")?;
        let (window, state) = ([d_inner, d_conv - 1], [d_inner, d_state]);
        let groups =
            check.state("conv_window", self.conv_window, rows, window, "(groups, d_inner, d_conv - 1)")?;
        check.floating(
            "ssm_state",
            self.ssm_state,
            &[groups, state[0], state[1]],
            "(groups, d_inner, d_state)",
        )?;
        let size = |size: i64| size as usize;
        Ok(Sizes {
            rows: size(rows),
            per_group: size(rows / groups.max(1)),
            length: size(length),
            d_model: size(d_model),
            d_inner: size(d_inner),
            d_state: size(d_state),
            d_conv: size(d_conv),
            dt_rank: size(dt_rank),
        })
    }
}
