//! Linear attention (arXiv:2006.16236) as a sequence mixer: the linear Transformer.
//!
//! ```text
//! φ(x) = elu(x) + 1
//! S_t = S_{t-1} + φ(k_t) v_tᵀ     z_t = z_{t-1} + φ(k_t)
//! y_t = S_tᵀ φ(q_t) / (φ(q_t) · z_t)
//! ```
//!
//! Its state has a fixed size, n_head d_key (d_value + 1) numbers. It is a sum over the tokens and
//! knows no order: that is told by the tokens' positions.

use super::heads::{Heads, Projected, by_stream};
use super::{Answered, Association, Keys, Mixer, MixerSettings, Observed, Queries, Similarity};
use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::ops::linear_attention::LinearAttention;
use crate::params::Path;
use crate::settings::ranges::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Added to the denominator, as published: features may underflow.
const EPSILON: f64 = 1e-6;

/// A linear attention whose weights sum to one: the sums S of values and z of keys.
pub(super) struct Normalised<'a> {
    /// φ(q) and φ(k), (batch, heads, length, features).
    pub(super) q: &'a Tensor,
    pub(super) k: &'a Tensor,
    /// (batch, heads, length, d_value)
    pub(super) v: &'a Tensor,
    /// Of the sums, (batch, heads, length).
    pub(super) log_decay: Option<&'a Tensor>,
    /// S, (batch, heads, features, d_value).
    pub(super) kv: &'a Tensor,
    /// z, (batch, heads, features).
    pub(super) normaliser: &'a Tensor,
    /// Added to the denominator.
    pub(super) epsilon: f64,
}

impl Normalised<'_> {
    /// Reads the tokens in order: their outputs, (batch, heads, length, d_value), and S and z after
    /// them.
    pub(super) fn run(&self) -> Result<(Tensor, [Tensor; 2])> {
        self.with_ones(|attention| {
            let (sums, state) = attention.run()?;
            let last = self.kv.size()[3];
            Ok((self.divide(&sums), [state.narrow(3, 0, last), state.select(3, last)]))
        })
    }

    /// The output of each token by itself, after the state.
    pub(super) fn each(&self) -> Result<Tensor> {
        self.with_ones(|attention| Ok(self.divide(&attention.each()?)))
    }

    /// z is the S of a value that is one throughout: both are read as one more number of a value.
    fn with_ones<Out>(&self, then: impl FnOnce(&LinearAttention) -> Result<Out>) -> Result<Out> {
        let v = self.v.to_kind(self.kv.kind());
        let ones = v.narrow(3, 0, 1).ones_like();
        let initial_state = Tensor::cat(&[self.kv, &self.normaliser.unsqueeze(3)], 3);
        let v = Tensor::cat(&[v, ones], 3);
        let Self { q, k, log_decay, .. } = *self;
        then(&LinearAttention { q, k, v: &v, log_decay, initial_state: &initial_state })
    }

    fn divide(&self, sums: &Tensor) -> Tensor {
        let last = self.kv.size()[3];
        let output = sums.narrow(3, 0, last) / (sums.narrow(3, last, 1) + self.epsilon);
        output.to_kind(self.v.kind())
    }
}

/// Linear attention (arXiv:2006.16236): the linear Transformer, softmax replaced by inner products of elu(x) + 1. Its
/// state has n_head d_key (d_value + 1) numbers, however long the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LinearAttentionConfig {
    /// Heads.
    #[schemars(with = "Size")]
    pub n_head: i64,
    /// Numbers in a head's keys; None for d_model / n_head.
    #[schemars(with = "Option<Size>")]
    pub d_key: Option<i64>,
    /// Numbers in a head's values; None for d_model / n_head.
    #[schemars(with = "Option<Size>")]
    pub d_value: Option<i64>,
}

impl Default for LinearAttentionConfig {
    fn default() -> Self {
        Self { n_head: 8, d_key: None, d_value: None }
    }
}

impl MixerSettings for LinearAttentionConfig {
    fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Mixer>> {
        Ok(Box::new(LinearTransformer::new(path, self, d_model)?))
    }

    fn uses_positions(&self) -> bool {
        true
    }

    fn usual_feed_forward(&self) -> bool {
        true
    }

    fn associations(&self) -> &'static [Association] {
        &[Association::Content]
    }

    fn association_heads(&self, _association: Association, _d_model: i64) -> i64 {
        self.n_head
    }
}

/// A linear attention layer with its tensors bound.
pub struct LinearTransformer {
    heads: Heads,
}

impl LinearTransformer {
    /// Binds a layer's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &LinearAttentionConfig, d_model: i64) -> Result<Self> {
        Ok(Self { heads: Heads::new(path, config.n_head, [config.d_key, config.d_value], d_model)? })
    }
}

/// elu(x) + 1, in the type of the state.
fn features(x: &Tensor, like: &Tensor) -> Tensor {
    x.to_kind(like.kind()).elu() + 1.0
}

fn parts(state: &LayerState) -> Result<[&Tensor; 2]> {
    state.parts("a linear attention layer", ["kv", "normaliser"])
}

impl Mixer for LinearTransformer {
    /// `kv` (n_head, d_key, d_value) and `normaliser` (n_head, d_key).
    fn state_specs(&self) -> Vec<StateSpec> {
        let (n_head, d_key) = (self.heads.n_head(), self.heads.d_key());
        vec![
            StateSpec::new("kv", &[n_head, d_key, self.heads.d_value()]),
            StateSpec::new("normaliser", &[n_head, d_key]),
        ]
    }

    fn observe(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Observed> {
        let [kv, normaliser] = parts(state)?;
        let Projected { q, k, v } = self.heads.project(tokens);
        let (q, k) = (features(&q, kv), features(&k, kv));
        let attention = Normalised { q: &q, k: &k, v: &v, log_decay: None, kv, normaliser, epsilon: EPSILON };
        let (heads, after) = attention.run()?;
        let similarity = Similarity::LogInnerProduct;
        let keys = association.map(|_| Keys { features: k, log_weight: None, similarity });
        Ok(Observed { output: self.heads.merge(&heads), state: LayerState(after.into()), keys })
    }

    fn answer(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Answered> {
        let [kv, normaliser] = parts(state)?;
        let Projected { q, k, v } = self.heads.project(&by_stream(tokens, kv.size()[0]));
        let (q, k) = (features(&q, kv), features(&k, kv));
        let attention = Normalised { q: &q, k: &k, v: &v, log_decay: None, kv, normaliser, epsilon: EPSILON };
        let output = self.heads.merge(&attention.each()?).view_as(tokens);
        Ok(Answered { output, queries: association.map(|_| Queries { features: q }) })
    }
}
