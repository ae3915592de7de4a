//! The causal depthwise convolution in front of a selective scan.

mod cpu;
mod cuda;
mod kernel;
pub mod reference;

use super::check::{Check, three_axes, two_axes};
use super::foreign;
use crate::error::Result;
pub(crate) use cuda::kernels;
use tch::Tensor;
use torch_sys::C_tensor;

const OP: &str = "causal_conv1d";

unsafe extern "C" {
    fn mambacl_causal_conv1d(
        inputs: *const *const C_tensor,
        silu: bool,
        return_final_window: bool,
        outputs: *mut *mut C_tensor,
    ) -> i32;
}

/// The arguments of a causal depthwise convolution, each channel with taps of its own.
///
/// ```text
/// y_t = activation(bias + sum over k of weight_k x_{t - d_conv + 1 + k})
/// ```
///
/// where x before the first step is the initial window. Element types as for
/// [`SelectiveScan`](super::selective_scan::SelectiveScan).
#[derive(Clone, Copy)]
pub struct CausalConv1d<'a> {
    /// Input, (batch, length, d_inner).
    pub x: &'a Tensor,
    /// Taps, the last one for the present step: (d_inner, d_conv).
    pub weight: &'a Tensor,
    /// (d_inner)
    pub bias: Option<&'a Tensor>,
    /// Whether the result passes through SiLU.
    pub silu: bool,
    /// The inputs before the first step, oldest first, (groups, d_inner, d_conv - 1), batch =
    /// groups x g: sequence i continues window i / g. Zeros when absent.
    pub initial_window: Option<&'a Tensor>,
    /// Real length of each sequence, int64 (batch), each in [0, length]. What lies beyond is never
    /// read, and y is zero there. On a GPU the numbers are clamped and not checked, which would mean to wait.
    pub lengths: Option<&'a Tensor>,
}

/// The sizes that the arguments agree on.
#[derive(Clone, Copy)]
struct Sizes {
    batch: i64,
    length: i64,
    d_inner: i64,
    d_conv: i64,
    groups: i64,
}

impl<'a> CausalConv1d<'a> {
    /// A convolution with the arguments that every convolution has.
    pub fn new(x: &'a Tensor, weight: &'a Tensor) -> Self {
        Self { x, weight, bias: None, silu: false, initial_window: None, lengths: None }
    }

    /// Runs the fused kernel. Returns y, (batch, length, d_inner) of x's type, and, if asked for,
    /// the last d_conv - 1 inputs of each sequence, (batch, d_inner, d_conv - 1) of float32 or
    /// float64; else an empty tensor. Differentiable once by every tensor given.
    ///
    /// # Errors
    /// When an argument's shape, element type or device does not fit; when a length is out of range.
    ///
    /// ```
    /// use mambacl::ops::causal_conv1d::CausalConv1d;
    /// use tch::Tensor;
    ///
    /// let x = Tensor::from_slice(&[1f32, 2., 3.]).view([1, 3, 1]);
    /// let weight = Tensor::from_slice(&[10f32, 1.]).view([1, 2]);
    /// let (y, window) = CausalConv1d::new(&x, &weight).run(true)?;
    /// assert_eq!(Vec::<f32>::try_from(y.flatten(0, -1))?, [1., 12., 23.]);
    /// assert_eq!(Vec::<f32>::try_from(window.flatten(0, -1))?, [3.]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run(&self, return_final_window: bool) -> Result<(Tensor, Tensor)> {
        self.check()?;
        let inputs = [Some(self.x), Some(self.weight), self.bias, self.initial_window, self.lengths];
        foreign::call(OP, inputs, |inputs, outputs| {
            // SAFETY: five tensors or nulls in, two out, as the C++ side declares.
            unsafe { mambacl_causal_conv1d(inputs, self.silu, return_final_window, outputs) }
        })
    }

    /// Checks shapes, element types and devices; reads no numbers.
    ///
    /// # Errors
    /// For the first argument that does not fit.
    pub fn check(&self) -> Result<()> {
        self.sizes().map(drop)
    }

    fn sizes(&self) -> Result<Sizes> {
        let (batch, length, d_inner) = three_axes(OP, "x", self.x, "(batch, length, d_inner)")?;
        let (_, d_conv) = two_axes(OP, "weight", self.weight, "(d_inner, d_conv)")?;
        let check = Check::new(OP, "x", self.x)?;
        // A kernel of no taps has no window: ask for at least one.
        check.floating("weight", self.weight, &[d_inner, d_conv.max(1)], "(d_inner, d_conv)")?;
        if let Some(bias) = self.bias {
            check.floating("bias", bias, &[d_inner], "(d_inner)")?;
        }
        if let Some(lengths) = self.lengths {
            check.lengths(lengths, batch)?;
        }
        let groups = self.initial_window.map_or(Ok(batch), |window| {
            let names = "(groups, d_inner, d_conv - 1)";
            check.state("initial_window", window, batch, [d_inner, d_conv - 1], names)
        })?;
        Ok(Sizes { batch, length, d_inner, d_conv, groups })
    }

    /// Checks the gradients that a backward pass is given: by y, and by the final window where it was asked for.
    fn check_gradients(&self, dy: &Tensor, dfinal_window: Option<&Tensor>) -> Result<()> {
        let Sizes { batch, length, d_inner, d_conv, .. } = self.sizes()?;
        let check = Check::new(OP, "x", self.x)?;
        check.floating("dy", dy, &[batch, length, d_inner], "(batch, length, d_inner)")?;
        dfinal_window.map_or(Ok(()), |gradient| {
            let size = [batch, d_inner, d_conv - 1];
            check.floating("dfinal_window", gradient, &size, "(batch, d_inner, d_conv - 1)")
        })
    }
}
