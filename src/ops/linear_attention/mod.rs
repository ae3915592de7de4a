//! Linear attention with a decay: the recurrence that linear Transformers, Performers and Mamba-2
//! share, a chunk of tokens at a time.
//!
//! ```text
//! S_t = a_t S_{t-1} + k_t v_tᵀ        o_t = S_tᵀ q_t        a_t in (0, 1], a number for each head
//! ```
//!
//! Within a chunk the outputs are a masked product of three matrices (the dual form of Mamba-2,
//! arXiv:2405.21060, section 6), and between chunks the state is carried on:
//!
//! ```text
//! o_t = sum over s <= t of (a_{s+1} … a_t) (q_t · k_s) v_s  +  (a_1 … a_t) S_0ᵀ q_t
//! ```
//!
//! It is made of tensor operations, so that it is differentiable any number of times on any device.

pub mod reference;

use super::autocast::without_autocast;
use super::check::all_floating;
use crate::error::{Error, Result};
use tch::{Kind, Tensor};

const OP: &str = "linear_attention";

/// Tokens of a chunk. A token costs `CHUNK (d_key + d_value)` multiplications within its chunk and
/// `2 d_key d_value` with the state: with heads of 64 numbers, as is usual, they are as many.
pub const CHUNK: i64 = 64;

/// The arguments of a linear attention.
#[derive(Clone, Copy)]
pub struct LinearAttention<'a> {
    /// (batch, heads, length, d_key), or (batch, 1, length, d_key) shared by the heads.
    pub q: &'a Tensor,
    /// As q, shared or not.
    pub k: &'a Tensor,
    /// (batch, heads, length, d_value)
    pub v: &'a Tensor,
    /// ln a, at most 0 and finite, (batch, heads, length); no decay when absent.
    pub log_decay: Option<&'a Tensor>,
    /// S before the first token, (batch, heads, d_key, d_value). Its type is the one computed in.
    pub initial_state: &'a Tensor,
}

/// A chunk of the arguments.
struct Chunk {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Option<Tensor>,
}

/// q against the state, of shared heads or not: einsum folds what a tensor has but one of.
const READ: &str = "bhtk,bhkv->bhtv";
const WRITE: &str = "bhsk,bhsv->bhkv";
const MIX: &str = "bhts,bhsv->bhtv";

fn einsum(equation: &str, left: &Tensor, right: &Tensor) -> Tensor {
    Tensor::einsum(equation, &[left, right], None::<&[i64]>)
}

impl LinearAttention<'_> {
    /// Reads the tokens in order. Returns o, (batch, heads, length, d_value) of v's type, and S after
    /// the last token, as the initial one.
    ///
    /// # Errors
    /// When an argument's shape, element type or device does not fit.
    ///
    /// ```
    /// use mambacl::ops::linear_attention::LinearAttention;
    /// use tch::{Device, Kind, Tensor};
    ///
    /// let tokens = |values: &[f32]| Tensor::from_slice(values).view([1, 1, 3, 1]);
    /// let (q, k, v) = (tokens(&[1., 1., 1.]), tokens(&[1., 2., 3.]), tokens(&[1., 1., 1.]));
    /// let initial_state = Tensor::zeros([1, 1, 1, 1], (Kind::Float, Device::Cpu));
    /// let attention =
    ///     LinearAttention { q: &q, k: &k, v: &v, log_decay: None, initial_state: &initial_state };
    /// let (o, state) = attention.run()?;
    /// assert_eq!(Vec::<f32>::try_from(o.flatten(0, -1))?, [1., 3., 6.]);
    /// assert_eq!(state.double_value(&[0, 0, 0, 0]), 6.);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run(&self) -> Result<(Tensor, Tensor)> {
        self.check()?;
        Ok(without_autocast(|| {
            let mut state = self.initial_state.shallow_clone();
            let mut outputs = Vec::new();
            for chunk in self.chunks() {
                let (output, next) = chunk.run(&state);
                outputs.push(output);
                state = next;
            }
            (Tensor::cat(&outputs, 2).to_kind(self.v.kind()), state)
        }))
    }

    /// Reads each token by itself, as the first one after the initial state. Returns o, as
    /// [`LinearAttention::run`].
    ///
    /// # Errors
    /// When an argument's shape, element type or device does not fit.
    pub fn each(&self) -> Result<Tensor> {
        self.check()?;
        Ok(without_autocast(|| {
            let Chunk { q, k, v, log_decay } = self.whole();
            let past = einsum(READ, &q, self.initial_state);
            let past = match log_decay {
                Some(log_decay) => past * log_decay.exp().unsqueeze(-1),
                None => past,
            };
            let own = (q * k).sum_dim_intlist(-1, true, None::<Kind>) * v;
            (past + own).to_kind(self.v.kind())
        }))
    }

    /// The arguments in the type computed in.
    fn whole(&self) -> Chunk {
        let wide = |tensor: &Tensor| tensor.to_kind(self.initial_state.kind());
        Chunk { q: wide(self.q), k: wide(self.k), v: wide(self.v), log_decay: self.log_decay.map(wide) }
    }

    fn chunks(&self) -> impl Iterator<Item = Chunk> {
        let Chunk { q, k, v, log_decay } = self.whole();
        // Not `narrow`, whose gradients are each as long as the stream.
        let cut = |tensor: &Tensor| tensor.split(CHUNK, 2).into_iter();
        let mut decays = log_decay.as_ref().map(cut);
        cut(&q).zip(cut(&k)).zip(cut(&v)).map(move |((q, k), v)| Chunk {
            q,
            k,
            v,
            log_decay: decays.as_mut().and_then(Iterator::next),
        })
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
        for (name, tensor) in [("q", self.q), ("k", self.k)] {
            let fits = [1, heads].iter().any(|&shared| tensor.size() == [batch, shared, length, d_key]);
            if !fits {
                let expected = format!("({batch}, {heads} or 1, {length}, d_key), the same d_key in q and k");
                return refuse(name, expected, tensor);
            }
        }
        if let Some(decay) = self.log_decay.filter(|decay| decay.size() != [batch, heads, length]) {
            return refuse("log_decay", format!("({batch}, {heads}, {length})"), decay);
        }
        if self.initial_state.size() != [batch, heads, d_key, d_value] {
            let expected = format!("({batch}, {heads}, {d_key}, {d_value})");
            return refuse("initial_state", expected, self.initial_state);
        }
        let given = [("q", self.q), ("k", self.k), ("v", self.v), ("initial_state", self.initial_state)];
        all_floating(OP, given.into_iter().chain(self.log_decay.map(|decay| ("log_decay", decay))))
    }
}

impl Chunk {
    /// The outputs, and the state after the chunk.
    fn run(&self, state: &Tensor) -> (Tensor, Tensor) {
        let Self { q, k, v, log_decay } = self;
        let scores = q.matmul(&k.transpose(-1, -2)); // (batch, heads or 1, length, length)
        let past = einsum(READ, q, state);
        let Some(log_decay) = log_decay else {
            return (past + einsum(MIX, &scores.tril(0), v), state + einsum(WRITE, k, v));
        };
        let length = log_decay.size()[2];
        let left = segment_sums(log_decay); // (batch, heads, length, length)
        let of_start = log_decay.cumsum(-1, None::<Kind>).exp().unsqueeze(-1);
        let at_end = left.select(2, length - 1).exp().unsqueeze(-1);
        let output = past * &of_start + einsum(MIX, &(scores * left.exp()), v);
        // Decays weigh the values: keys may be shared by the heads.
        let written = einsum(WRITE, k, &(v * at_end));
        (output, state * of_start.narrow(2, length - 1, 1) + written)
    }
}

/// ln of what is left at token t of token s, the sum of `log_decay` over s + 1 … t, by (t, s); -inf
/// where s is later. Every sum is taken by itself: as the difference of two sums from the start, it
/// would be lost after a token that forgets all.
pub(super) fn segment_sums(log_decay: &Tensor) -> Tensor {
    let length = log_decay.size()[2];
    let each = log_decay.unsqueeze(-1).expand([-1, -1, -1, length], false).tril(-1);
    let later = Tensor::ones([length, length], (Kind::Bool, log_decay.device())).triu(1);
    each.cumsum(-2, None::<Kind>).masked_fill(&later, f64::NEG_INFINITY)
}
