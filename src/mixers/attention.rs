//! Softmax attention (arXiv:1706.03762) as a sequence mixer: the Transformer.
//!
//! ```text
//! y_t = sum over j <= t of  softmax_j(q_t · k_j / √d_key) v_j
//! ```
//!
//! Its state is the keys and values of all tokens: exact, and growing with the stream. A query sees
//! all of the stream and itself, never another query. Order comes from the tokens' positions.

use super::heads::{Heads, Projected, by_stream};
use super::{Answered, Association, Keys, Mixer, MixerSettings, Observed, Queries, Similarity};
use crate::error::Result;
use crate::layer_state::{GROWS, LayerState, StateSpec};
use crate::ops::state_kind;
use crate::params::Path;
use crate::settings::ranges::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Softmax attention (arXiv:1706.03762): the Transformer. Its state grows with the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AttentionConfig {
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

impl Default for AttentionConfig {
    fn default() -> Self {
        Self { n_head: 8, d_key: None, d_value: None }
    }
}

impl MixerSettings for AttentionConfig {
    fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Mixer>> {
        Ok(Box::new(Attention::new(path, self, d_model)?))
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

/// An attention layer with its tensors bound.
pub struct Attention {
    heads: Heads,
}

impl Attention {
    /// Binds a layer's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &AttentionConfig, d_model: i64) -> Result<Self> {
        Ok(Self { heads: Heads::new(path, config.n_head, [config.d_key, config.d_value], d_model)? })
    }
}

/// softmax(q kᵀ / √d_key) v over the keys that `mask` lets through; all, when there is none.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>, causal: bool) -> Tensor {
    Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, None::<f64>, false)
}

impl Mixer for Attention {
    /// `keys` (n_head, tokens, d_key) and `values` (n_head, tokens, d_value).
    fn state_specs(&self) -> Vec<StateSpec> {
        let heads = &self.heads;
        vec![
            StateSpec::new("keys", &[heads.n_head(), GROWS, heads.d_key()]),
            StateSpec::new("values", &[heads.n_head(), GROWS, heads.d_value()]),
        ]
    }

    fn observe(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Observed> {
        let Projected { q, k: new_k, v: new_v } = self.heads.project(tokens);
        let (k, v) = match &state.0[..] {
            [k, v] if k.size()[2] > 0 => (
                Tensor::cat(&[k.to_kind(new_k.kind()), new_k.shallow_clone()], 2),
                Tensor::cat(&[v.to_kind(new_v.kind()), new_v], 2),
            ),
            _ => (new_k.shallow_clone(), new_v),
        };
        let (length, total) = (q.size()[2], k.size()[2]);
        let heads = if total == length {
            attend(&q, &k, &v, None, true)
        } else {
            let past = total - length;
            let mask = Tensor::ones([length, total], (Kind::Bool, q.device())).tril(past);
            attend(&q, &k, &v, Some(&mask), false)
        };
        let keys = association.map(|_| Keys {
            features: new_k,
            log_weight: None,
            similarity: Similarity::InnerProduct,
        });
        // Under autocast they are of half precision; the state is of the model's.
        let kept = [k, v].map(|tensor| tensor.to_kind(state_kind(self.heads.kind())));
        Ok(Observed { output: self.heads.merge(&heads), state: LayerState(kept.into()), keys })
    }

    fn answer(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Answered> {
        let [keys, values] = state.parts("an attention layer", ["keys", "values"])?;
        let Projected { q, k, v } = self.heads.project(&by_stream(tokens, keys.size()[0]));
        let (stream, count) = (keys.size()[2], q.size()[2]);
        let device = q.device();
        // Each query sees the whole stream and, of the queries, itself.
        let mask = Tensor::cat(
            &[Tensor::ones([count, stream], (Kind::Bool, device)), Tensor::eye(count, (Kind::Bool, device))],
            1,
        );
        let with_own = |past: &Tensor, own: Tensor| Tensor::cat(&[past.to_kind(own.kind()), own], 2);
        let heads = attend(&q, &with_own(keys, k), &with_own(values, v), Some(&mask), false);
        let scale = (self.heads.d_key() as f64).powf(-0.5);
        let queries = association.map(|_| Queries { features: q * scale });
        Ok(Answered { output: self.heads.merge(&heads).view_as(tokens), queries })
    }
}
