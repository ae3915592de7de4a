//! The selective scan: the recurrence of a selective state-space model.
//!
//! Equation (2) of Mamba (arXiv:2312.00752), with A discretised by zero-order hold and B by Euler's
//! rule, as in its authors' code; see [`SelectiveScan`].

mod cpu;
mod cuda;
#[cfg(test)]
mod emulated;
mod kernel;
pub mod reference;
mod variant;

use super::check::{Check, three_axes, two_axes};
use super::foreign;
use crate::error::Result;
use tch::Tensor;
use torch_sys::C_tensor;
pub(crate) use variant::kernels;

const OP: &str = "selective_scan";

unsafe extern "C" {
    fn mambacl_selective_scan(
        inputs: *const *const C_tensor,
        delta_softplus: bool,
        return_final_state: bool,
        outputs: *mut *mut C_tensor,
    ) -> i32;
}

/// The arguments of a selective scan.
///
/// ```text
/// h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t
/// y_t = (C_t h_t + D u_t) silu(z_t)
/// ```
///
/// Element types: float32, bfloat16 or float16 in any mixture, or float64 throughout. States and
/// sums are kept in float32, or float64.
#[derive(Clone, Copy)]
pub struct SelectiveScan<'a> {
    /// Input, (batch, length, d_inner).
    pub u: &'a Tensor,
    /// Step size, (batch, length, d_inner).
    pub delta: &'a Tensor,
    /// State matrix, diagonal, negative: (d_inner, d_state).
    pub a: &'a Tensor,
    /// (batch, length, d_state)
    pub b: &'a Tensor,
    /// (batch, length, d_state)
    pub c: &'a Tensor,
    /// Skip connection, (d_inner).
    pub d: Option<&'a Tensor>,
    /// Gate, (batch, length, d_inner).
    pub z: Option<&'a Tensor>,
    /// Added to `delta`, (d_inner).
    pub delta_bias: Option<&'a Tensor>,
    /// Whether delta passes through softplus, after the bias.
    pub delta_softplus: bool,
    /// (groups, d_inner, d_state), batch = groups x g: sequence i continues state i / g. Zeros when
    /// absent.
    pub initial_state: Option<&'a Tensor>,
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
    d_state: i64,
    groups: i64,
}

impl<'a> SelectiveScan<'a> {
    /// A scan with the arguments that every scan has.
    pub fn new(u: &'a Tensor, delta: &'a Tensor, a: &'a Tensor, b: &'a Tensor, c: &'a Tensor) -> Self {
        Self {
            u,
            delta,
            a,
            b,
            c,
            d: None,
            z: None,
            delta_bias: None,
            delta_softplus: false,
            initial_state: None,
            lengths: None,
        }
    }

    /// Runs the fused kernel. Returns y, (batch, length, d_inner) of u's type, and, if asked for,
    /// the final states, (batch, d_inner, d_state) of float32 or float64; else an empty tensor.
    /// Differentiable once by every tensor given.
    ///
    /// # Errors
    /// When an argument's shape, element type or device does not fit; when a length is out of range.
    ///
    /// ```
    /// use mambacl::ops::selective_scan::SelectiveScan;
    /// use tch::{Device::Cpu, Kind::Float, Tensor};
    ///
    /// let (u, delta) = (Tensor::ones([1, 3, 2], (Float, Cpu)), Tensor::ones([1, 3, 2], (Float, Cpu)));
    /// let (a, b) = (Tensor::zeros([2, 1], (Float, Cpu)), Tensor::ones([1, 3, 1], (Float, Cpu)));
    /// let (y, _) = SelectiveScan::new(&u, &delta, &a, &b, &b).run(false)?;
    /// assert_eq!(Vec::<Vec<f32>>::try_from(y.squeeze_dim(0))?, [[1., 1.], [2., 2.], [3., 3.]]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run(&self, return_final_state: bool) -> Result<(Tensor, Tensor)> {
        self.check()?;
        let inputs = [
            Some(self.u),
            Some(self.delta),
            Some(self.a),
            Some(self.b),
            Some(self.c),
            self.d,
            self.z,
            self.delta_bias,
            self.initial_state,
            self.lengths,
        ];
        foreign::call(OP, inputs, |inputs, outputs| {
            // SAFETY: ten tensors or nulls in, two out, as the C++ side declares.
            unsafe { mambacl_selective_scan(inputs, self.delta_softplus, return_final_state, outputs) }
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
        let inner = "(batch, length, d_inner)";
        let (batch, length, d_inner) = three_axes(OP, "u", self.u, inner)?;
        let (_, d_state) = two_axes(OP, "A", self.a, "(d_inner, d_state)")?;
        let check = Check::new(OP, "u", self.u)?;
        let state = "(batch, length, d_state)";
        check.floating("delta", self.delta, &[batch, length, d_inner], inner)?;
        check.floating("A", self.a, &[d_inner, d_state], "(d_inner, d_state)")?;
        check.floating("B", self.b, &[batch, length, d_state], state)?;
        check.floating("C", self.c, &[batch, length, d_state], state)?;
        if let Some(d) = self.d {
            check.floating("D", d, &[d_inner], "(d_inner)")?;
        }
        if let Some(z) = self.z {
            check.floating("z", z, &[batch, length, d_inner], inner)?;
        }
        if let Some(bias) = self.delta_bias {
            check.floating("delta_bias", bias, &[d_inner], "(d_inner)")?;
        }
        if let Some(lengths) = self.lengths {
            check.lengths(lengths, batch)?;
        }
        let groups = self.initial_state.map_or(Ok(batch), |state| {
            let names = "(groups, d_inner, d_state)";
            check.state("initial_state", state, batch, [d_inner, d_state], names)
        })?;
        Ok(Sizes { batch, length, d_inner, d_state, groups })
    }

    /// Checks the gradients that a backward pass is given: by y, and by the final state where it was asked for.
    fn check_gradients(&self, dy: &Tensor, dfinal_state: Option<&Tensor>) -> Result<()> {
        let Sizes { batch, length, d_inner, d_state, .. } = self.sizes()?;
        let check = Check::new(OP, "u", self.u)?;
        check.floating("dy", dy, &[batch, length, d_inner], "(batch, length, d_inner)")?;
        dfinal_state.map_or(Ok(()), |gradient| {
            let size = [batch, d_inner, d_state];
            check.floating("dfinal_state", gradient, &size, "(batch, d_inner, d_state)")
        })
    }
}
