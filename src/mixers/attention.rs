//! Softmax attention (arXiv:1706.03762) as a sequence mixer: the Transformer.
//!
//! ```text
//! y_t = sum over j <= t of  softmax_j(q_t · k_j / √d_key) v_j
//! ```
//!
//! Its state is the keys and values of all tokens: exact, and growing with the stream. A query sees
//! all of the stream and itself, never another query. Order is told by the tokens' positions.

use super::{Answered, Association, Keys, Mixer, Observed, Queries, Similarity};
use crate::error::{Error, Result, check_size};
use crate::layer_state::{GROWS, LayerState, StateSpec};
use crate::ops::state_kind;
use crate::params::{Init, Path};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// The settings of an attention layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttentionConfig {
    /// Heads.
    pub n_head: i64,
    /// Numbers in a head's keys; d_model / n_head when absent.
    pub d_key: Option<i64>,
    /// Numbers in a head's values; d_model / n_head when absent.
    pub d_value: Option<i64>,
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self { n_head: 8, d_key: None, d_value: None }
    }
}

/// The projections of a layer with heads, with their tensors bound. Linear attentions have the same.
pub(super) struct Heads {
    n_head: i64,
    /// (n_head d_key, d_model)
    q_proj: Tensor,
    /// (n_head d_key, d_model)
    k_proj: Tensor,
    /// (n_head d_value, d_model)
    v_proj: Tensor,
    /// (d_model, n_head d_value)
    out_proj: Tensor,
}

/// (rows, n_head, length, d_key or d_value) each.
pub(super) struct Projected {
    pub(super) q: Tensor,
    pub(super) k: Tensor,
    pub(super) v: Tensor,
}

impl Heads {
    /// Binds the tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub(super) fn new(path: &Path, config: &AttentionConfig, d_model: i64) -> Result<Self> {
        let n_head = config.n_head;
        check_size("mixer.n_head", n_head)?;
        let head = d_model / n_head;
        if (config.d_key.is_none() || config.d_value.is_none()) && head * n_head != d_model {
            let reason = format!(
                "must divide d_model = {d_model} where `d_key` and `d_value` are not given, got {n_head}"
            );
            return Err(Error::Config { field: "mixer.n_head".into(), reason });
        }
        let (d_key, d_value) = (config.d_key.unwrap_or(head), config.d_value.unwrap_or(head));
        check_size("mixer.d_key", d_key)?;
        check_size("mixer.d_value", d_value)?;
        let (read, write) = (Init::fan_in(d_model), Init::fan_in(n_head * d_value));
        Ok(Self {
            n_head,
            q_proj: path.sub("q_proj").parameter("weight", &[n_head * d_key, d_model], read)?,
            k_proj: path.sub("k_proj").parameter("weight", &[n_head * d_key, d_model], read)?,
            v_proj: path.sub("v_proj").parameter("weight", &[n_head * d_value, d_model], read)?,
            out_proj: path.sub("out_proj").parameter("weight", &[d_model, n_head * d_value], write)?,
        })
    }

    pub(super) fn n_head(&self) -> i64 {
        self.n_head
    }

    pub(super) fn d_key(&self) -> i64 {
        self.q_proj.size()[0] / self.n_head
    }

    pub(super) fn d_value(&self) -> i64 {
        self.v_proj.size()[0] / self.n_head
    }

    /// The element type of the parameters.
    pub(super) fn kind(&self) -> Kind {
        self.q_proj.kind()
    }

    /// Tokens, (rows, length, d_model).
    pub(super) fn project(&self, tokens: &Tensor) -> Projected {
        let project = |weight: &Tensor| {
            let heads = tokens.linear(weight, None::<&Tensor>).unflatten(-1, [self.n_head, -1]);
            heads.transpose(1, 2)
        };
        Projected { q: project(&self.q_proj), k: project(&self.k_proj), v: project(&self.v_proj) }
    }

    /// From heads, (rows, n_head, length, d_value), to (rows, length, d_model).
    pub(super) fn merge(&self, heads: &Tensor) -> Tensor {
        heads.transpose(1, 2).flatten(2, 3).linear(&self.out_proj, None::<&Tensor>)
    }
}

/// Queries of `batch` streams, (batch x Q, 1, d_model), as rows of their streams: (batch, Q, d_model).
pub(super) fn by_stream(tokens: &Tensor, batch: i64) -> Tensor {
    tokens.view([batch, -1, tokens.size()[2]])
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
        Ok(Self { heads: Heads::new(path, config, d_model)? })
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
        let [keys, values] = &state.0[..] else {
            let reason = format!("needs 2 tensors, keys and values, got {}", state.0.len());
            return Err(Error::Config { field: "state of an attention layer".into(), reason });
        };
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
