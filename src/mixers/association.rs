//! How strongly a query is associated with the tokens of a stream.
//!
//! For every mixer the association is a softmax over tokens of an inner product between what the
//! query looks for and what a token is found by. What the two are is the mixer's affair.

use super::MixerSettings;
use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Which inner product stands for the association. The first is known of MambaCL; the others are this
/// project's variants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Association {
    /// The content alone: for Mamba C_t · B_j, for attentions q_t · k_j.
    Content,
    /// The content, each token weighted by its step size: q_j ∝ mean(delta_j) exp(C_t · B_j); each head of
    /// Mamba-2 by its own.
    Gated,
    /// What is left of the token when the query comes: C_t (∏ Ā) B̄_j, averaged over channels
    /// (the hidden attention of arXiv:2403.01590); for each head of Mamba-2.
    Decayed,
}

impl Association {
    /// Checks that a mixer can tell of it.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check(self, mixer: &dyn MixerSettings) -> Result<()> {
        let known = mixer.associations();
        if known.contains(&self) {
            return Ok(());
        }
        let name = |association: &Self| format!("\"{association:?}\"").to_lowercase();
        let names: Vec<_> = known.iter().map(name).collect();
        let reason = format!("must be {} with this mixer, got {}", names.join(" or "), name(&self));
        Err(Error::Config { field: "selectivity.association".into(), reason })
    }
}

/// How near a query's features are to a token's: the logit of their association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Similarity {
    /// The inner product, as in softmax attention.
    InnerProduct,
    /// Its logarithm, for features that are positive, as in linear attention: the association is then
    /// the inner product's share.
    LogInnerProduct,
}

/// Added to a token's share of all inner products, as in CL-as-Seq: features may underflow, and where those of
/// a query's own class do, the gradient of the logarithm would overflow.
const SMALLEST_SHARE: f64 = 1e-9;
/// Keeps the logarithm finite where all products underflow.
const SMALLEST: f64 = 1e-30;

/// What the tokens of a stream are found by.
pub struct Keys {
    /// (batch, heads, tokens, features)
    pub features: Tensor,
    /// Added to the logits, (batch, heads, tokens).
    pub log_weight: Option<Tensor>,
    /// What becomes of inner products with queries.
    pub similarity: Similarity,
}

impl Keys {
    /// Of a recurrence with a scalar decay for each head: tokens weighted by how strongly they are
    /// written, or by what is left of that after the stream. `log_written` and `log_decay` are
    /// (batch, heads, tokens).
    pub fn written(
        features: &Tensor,
        association: Association,
        log_written: impl FnOnce() -> Tensor,
        log_decay: &Tensor,
    ) -> Self {
        let log_weight = match association {
            Association::Content => None,
            Association::Gated => Some(log_written()),
            Association::Decayed => {
                let sum = log_decay.cumsum(-1, None::<Kind>);
                Some(log_written() + (sum.narrow(-1, -1, 1) - sum))
            }
        };
        Self { features: features.shallow_clone(), log_weight, similarity: Similarity::InnerProduct }
    }
}

/// What queries look for.
pub struct Queries {
    /// (batch, heads, queries, features)
    pub features: Tensor,
}

impl Queries {
    /// The logits of the association, (batch, heads, queries, tokens).
    pub fn logits(&self, keys: &Keys) -> Tensor {
        let products = self.features.matmul(&keys.features.transpose(-1, -2));
        let logits = match keys.similarity {
            Similarity::InnerProduct => products,
            Similarity::LogInnerProduct => {
                let total = products.sum_dim_intlist(-1, true, None::<Kind>);
                (products + total * SMALLEST_SHARE + SMALLEST).log()
            }
        };
        match &keys.log_weight {
            Some(weight) => logits + weight.unsqueeze(-2),
            None => logits,
        }
    }
}
