//! The gated delta rule: a memory of keys and values that forgets, and that corrects what it answers to
//! a key instead of adding to it.
//!
//! Equation (10) of Gated Delta Networks (arXiv:2412.06464), of a chunk of steps at a time as in its
//! section 3.3 (there: the extended WY representation).

use super::autocast::without_autocast;
use super::check::{all_floating, dtype_name};
use super::linear_attention::{CHUNK, segment_sums};
use crate::error::{Error, Result};
use tch::{Kind, Tensor};

const OP: &str = "gated_delta_rule";

/// The arguments of a gated delta rule; all of one element type, float32 or float64.
///
/// ```text
/// S_t = a_t S_{t-1} (I - b_t k_t k_tᵀ) + b_t v_t k_tᵀ
/// o_t = S_t q_t
/// ```
///
/// Keys are expected to have length 1 and b to lie in [0, 1]: each step then at most replaces what the
/// memory answers to its key. The memory is kept as Sᵀ, (d_key, d_value).
///
/// Made of tensor operations: on any device, and differentiable any number of times.
#[derive(Clone, Copy)]
pub struct GatedDeltaRule<'a> {
    /// What is asked for, (batch, heads, length, d_key).
    pub q: &'a Tensor,
    /// What is written under, (batch, heads, length, d_key).
    pub k: &'a Tensor,
    /// What is written, (batch, heads, length, d_value).
    pub v: &'a Tensor,
    /// ln a, at most 0 and finite: (batch, heads, length).
    pub log_decay: &'a Tensor,
    /// b, (batch, heads, length).
    pub beta: &'a Tensor,
    /// The memory before the first step, (batch, heads, d_key, d_value).
    pub initial_state: &'a Tensor,
}

impl GatedDeltaRule<'_> {
    /// All outputs, (batch, heads, length, d_value), and the memory after the last step, (batch, heads,
    /// d_key, d_value): chunk after chunk, each by products of matrices and one triangular system.
    ///
    /// With g_t the decay since the chunk began and D_tj that since step j, what step t writes is
    /// u_t = b_t (v_t - g_t S_0 k_t - sum over j < t of D_tj (k_j · k_t) u_j), a triangular system in u,
    /// and S_t = g_t S_0 + sum over j <= t of D_tj u_j k_jᵀ.
    ///
    /// # Errors
    /// When an argument's shape, element type or device does not fit.
    ///
    /// ```
    /// use mambacl::ops::gated_delta_rule::GatedDeltaRule;
    /// use tch::{Device, Kind, Tensor};
    ///
    /// let steps = |values: &[f32]| Tensor::from_slice(values).view([1, 1, 2]);
    /// let (one, v) = (steps(&[1., 1.]), steps(&[3., 5.]));
    /// let zeros = Tensor::zeros([1, 1, 2], (Kind::Float, Device::Cpu));
    /// let rule = GatedDeltaRule {
    ///     q: &one.unsqueeze(-1),
    ///     k: &one.unsqueeze(-1),
    ///     v: &v.unsqueeze(-1),
    ///     log_decay: &zeros,
    ///     beta: &one,
    ///     initial_state: &Tensor::zeros([1, 1, 1, 1], (Kind::Float, Device::Cpu)),
    /// };
    /// // The second value takes the place of the first, where a sum would give 8.
    /// let (o, _) = rule.run()?;
    /// assert_eq!(Vec::<f32>::try_from(o.flatten(0, -1))?, [3., 5.]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run(&self) -> Result<(Tensor, Tensor)> {
        self.check()?;
        // Not `narrow`, whose gradients are each as long as the stream.
        let cut = |tensor: &Tensor| tensor.split(CHUNK, 2);
        let [q, k, v] = [self.q, self.k, self.v].map(cut);
        let [log_decay, beta] = [self.log_decay, self.beta].map(cut);
        Ok(without_autocast(|| {
            let mut state = self.initial_state.shallow_clone();
            let mut outputs = Vec::new();
            for index in 0..q.len() {
                let chunk = GatedDeltaRule {
                    q: &q[index],
                    k: &k[index],
                    v: &v[index],
                    log_decay: &log_decay[index],
                    beta: &beta[index],
                    initial_state: &state,
                };
                let (output, next) = chunk.at_once();
                outputs.push(output);
                state = next;
            }
            (Tensor::cat(&outputs, 2), state)
        }))
    }

    /// As [`GatedDeltaRule::run`], all steps being one chunk.
    fn at_once(&self) -> (Tensor, Tensor) {
        let (before, beta, keys) = (self.initial_state, self.beta.unsqueeze(-1), self.k.transpose(-1, -2));
        let last = self.beta.size()[2] - 1;
        let between = segment_sums(self.log_decay).exp(); // (..., step: length, written at: length)
        let of_start = self.log_decay.cumsum(-1, None::<Kind>).exp().unsqueeze(-1);
        let at_end = between.select(2, last).unsqueeze(-1);
        // The solver takes ones for the diagonal, and reads only what is below it.
        let system = self.k.matmul(&keys) * &between * &beta;
        let wanted = (self.v - self.k.matmul(before) * &of_start) * beta;
        let written = system.linalg_solve_triangular(&wanted, false, true, true); // (..., length, d_value)
        let scores = self.q.matmul(&keys) * between;
        let output = self.q.matmul(before) * &of_start + scores.matmul(&written);
        let kept = before * of_start.narrow(2, last, 1);
        (output, kept + (self.k * at_end).transpose(-1, -2).matmul(&written))
    }

    /// Each step by itself, as the first one after the initial memory: (batch, heads, length, d_value).
    ///
    /// # Errors
    /// When an argument's shape, element type or device does not fit.
    pub fn each(&self) -> Result<Tensor> {
        self.check()?;
        Ok(without_autocast(|| {
            let (decay, beta) = (self.log_decay.exp().unsqueeze(-1), self.beta.unsqueeze(-1));
            let nearness = (self.k * self.q).sum_dim_intlist(-1, true, None::<Kind>);
            let remembered = self.q.matmul(self.initial_state);
            let erased = self.k.matmul(self.initial_state) * &nearness * &beta;
            (remembered - erased) * decay + self.v * nearness * beta
        }))
    }

    /// As [`GatedDeltaRule::run`], step by step as the equation reads: the oracle of the tests.
    ///
    /// # Errors
    /// When an argument's shape, element type or device does not fit.
    pub fn reference(&self) -> Result<(Tensor, Tensor)> {
        self.check()?;
        let mut state = self.initial_state.transpose(-1, -2); // S, (..., d_value, d_key)
        let mut outputs = Vec::new();
        for t in 0..self.q.size()[2] {
            let [q, k, v] = [self.q, self.k, self.v].map(|tensor| tensor.select(2, t).unsqueeze(-1));
            let scalar = |tensor: &Tensor| tensor.select(2, t).unsqueeze(-1).unsqueeze(-1);
            let (decay, beta) = (scalar(self.log_decay).exp(), scalar(self.beta));
            let row = k.transpose(-1, -2);
            let erased = state.matmul(&k).matmul(&row) * &beta;
            state = (state - erased) * decay + v.matmul(&row) * beta;
            outputs.push(state.matmul(&q).squeeze_dim(-1));
        }
        Ok((Tensor::stack(&outputs, 2), state.transpose(-1, -2)))
    }

    fn check(&self) -> Result<()> {
        let refuse = |argument: &str, expected: String, got: &Tensor| {
            Err(Error::Shape { op: OP, argument: argument.into(), expected, got: got.size() })
        };
        let [batch, heads, length, d_value] = self.v.size()[..] else {
            return refuse("v", "(batch, heads, length, d_value)".into(), self.v);
        };
        if length == 0 {
            return refuse("v", "(batch, heads, length >= 1, d_value)".into(), self.v);
        }
        let d_key = self.q.size().last().copied().unwrap_or(0);
        let arguments = [
            ("q", self.q, vec![batch, heads, length, d_key]),
            ("k", self.k, vec![batch, heads, length, d_key]),
            ("log_decay", self.log_decay, vec![batch, heads, length]),
            ("beta", self.beta, vec![batch, heads, length]),
            ("initial_state", self.initial_state, vec![batch, heads, d_key, d_value]),
        ];
        for (name, tensor, size) in &arguments {
            if tensor.size() != *size {
                return refuse(name, format!("{size:?}"), tensor);
            }
        }
        let given = || arguments.iter().map(|(name, tensor, _)| (*name, *tensor)).chain([("v", self.v)]);
        all_floating(OP, given())?;
        // The solver of triangular systems has no others, and takes no two.
        let kind = [Kind::Double, Kind::Float].into_iter().find(|&kind| self.v.kind() == kind);
        if let Some((argument, tensor)) = given().find(|(_, tensor)| Some(tensor.kind()) != kind) {
            let (expected, got) = ("float32 or float64, as the others".into(), dtype_name(tensor).into());
            return Err(Error::Dtype { op: OP, argument: argument.into(), expected, got });
        }
        Ok(())
    }
}
