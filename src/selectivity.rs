//! Selectivity regularisation: in meta-training, what a query is associated with is guided to the
//! examples of its own class (arXiv:2412.00776).
//!
//! With q the association of a query with the tokens of the stream and S the tokens of the examples
//! that share its label,
//!
//! ```text
//! mass:     -ln (sum of q over S)                            (the form of CL-as-Seq, arXiv:2310.11952)
//! uniform:  KL(p || q), p uniform on S
//! ```
//!
//! averaged over queries, heads and the layers chosen. The loss adds it with a weight λ.

use crate::error::{Error, Result};
use crate::mixers::{Association, Keys, Queries};
use crate::settings::ranges::{Count, Index, Weight};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// What the association is pulled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// All of it on matching tokens, in any proportion.
    Mass,
    /// The same on each matching token.
    Uniform,
}

/// Which tokens of the stream take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyTokens {
    /// The tokens of targets.
    Label,
    /// The tokens of inputs and targets.
    All,
}

/// Which layers take part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", untagged)]
pub enum Layers {
    /// `"last"` or `"all"`.
    Named(NamedLayers),
    /// Layers by index, the first being 0.
    List(Vec<usize>),
}

/// Layers that need no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NamedLayers {
    /// The layer next to the head.
    Last,
    /// Every layer.
    All,
}

/// The selectivity regulariser of meta-training. The defaults worked best in this project's measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SelectivityConfig {
    /// What stands for the association.
    pub association: Association,
    /// What it is guided to.
    pub target: Target,
    /// Which tokens take part.
    pub keys: KeyTokens,
    /// Which layers take part.
    pub layers: Layers,
    /// How many of a layer's heads take part, from the first; None for all. CL-as-Seq guides 4 of 8.
    #[schemars(with = "Option<Count>")]
    pub heads: Option<i64>,
    /// λ, its weight in the loss.
    #[schemars(with = "Weight")]
    pub weight: f64,
    /// The training step from which on it is off; None for never.
    #[schemars(with = "Option<Index>")]
    pub end_step: Option<i64>,
}

impl Default for SelectivityConfig {
    fn default() -> Self {
        Self {
            association: Association::Content,
            target: Target::Mass,
            keys: KeyTokens::All,
            layers: Layers::Named(NamedLayers::Last),
            heads: None,
            weight: 0.5,
            end_step: None,
        }
    }
}

impl SelectivityConfig {
    /// Checks the settings for a model of `n_layer` layers.
    ///
    /// # Errors
    /// For the first setting that is out of its range.
    pub fn check(&self, n_layer: i64) -> Result<()> {
        if let Layers::List(list) = &self.layers {
            let outside = list.iter().any(|&layer| layer as i64 >= n_layer);
            if outside || list.is_empty() {
                let reason = format!("must name layers below {n_layer}, got {list:?}");
                return Err(Error::Config { field: "selectivity.layers".into(), reason });
            }
        }
        Ok(())
    }

    /// Checks the heads for a layer whose association has `known` of them.
    ///
    /// # Errors
    /// When more are to take part.
    pub fn check_heads(&self, known: i64) -> Result<()> {
        let Some(heads) = self.heads.filter(|&heads| heads > known) else { return Ok(()) };
        let reason = format!("must be at most {known}, the heads of a layer's association, got {heads}");
        Err(Error::Config { field: "selectivity.heads".into(), reason })
    }

    /// λ at a training step.
    pub fn weight_at(&self, step: i64) -> f64 {
        if self.end_step.is_some_and(|end| step >= end) { 0.0 } else { self.weight }
    }

    /// The association wanted of each layer.
    pub fn associations(&self, n_layer: i64) -> Vec<Option<Association>> {
        let takes_part = |layer: i64| match &self.layers {
            Layers::Named(NamedLayers::Last) => layer == n_layer - 1,
            Layers::Named(NamedLayers::All) => true,
            Layers::List(list) => list.contains(&(layer as usize)),
        };
        (0..n_layer).map(|layer| takes_part(layer).then_some(self.association)).collect()
    }

    /// The regulariser before its weight: a number, averaged over the layers given.
    ///
    /// `stream_labels` (batch, T) are the labels of the examples, two tokens each; `query_labels`
    /// (batch, Q) those of the queries. A query whose label the stream lacks does not count.
    ///
    /// # Errors
    /// When no layer was recorded, or one has fewer heads than are to take part.
    pub fn penalty(
        &self,
        layers: &[(&Keys, &Queries)],
        stream_labels: &Tensor,
        query_labels: &Tensor,
    ) -> Result<Tensor> {
        let same = query_labels.unsqueeze(-1).eq_tensor(&stream_labels.unsqueeze(1)); // (batch, Q, T)
        let mut penalties = Vec::new();
        for (keys, queries) in layers {
            let logits = self.of_heads(&queries.logits(keys))?; // (batch, heads, Q, 2T)
            let (logits, matching) = match self.keys {
                KeyTokens::All => (logits, same.repeat_interleave_self_int(2, -1, None)),
                KeyTokens::Label => (logits.slice(-1, 1, None, 2), same.shallow_clone()),
            };
            penalties.push(self.target.penalty(&logits, &matching.unsqueeze(1)));
        }
        if penalties.is_empty() {
            let reason = "took no part: nothing was recorded".into();
            return Err(Error::Config { field: "selectivity.layers".into(), reason });
        }
        Ok(Tensor::stack(&penalties, 0).mean(None::<Kind>))
    }

    /// The logits of the heads that take part.
    fn of_heads(&self, logits: &Tensor) -> Result<Tensor> {
        self.check_heads(logits.size()[1])?;
        Ok(self.heads.map_or_else(|| logits.shallow_clone(), |heads| logits.narrow(1, 0, heads)))
    }
}

impl Target {
    /// `logits` (batch, heads, Q, tokens), `matching` (batch, 1, Q, tokens) bool.
    fn penalty(self, logits: &Tensor, matching: &Tensor) -> Tensor {
        let log_q = logits.log_softmax(-1, None::<Kind>);
        let counts = matching.sum_dim_intlist(-1, false, Kind::Float); // (batch, 1, Q)
        let found = counts.gt(0.0);
        let each = match self {
            Self::Mass => {
                // Queries without a match keep finite numbers here, and are left out below.
                let kept = matching.logical_or(&found.logical_not().unsqueeze(-1));
                let masked = log_q.masked_fill(&kept.logical_not(), f64::NEG_INFINITY);
                -masked.logsumexp(-1, false)
            }
            Self::Uniform => {
                let p = matching.to_kind(log_q.kind()) / counts.clamp_min(1.0).unsqueeze(-1);
                -(p * log_q).sum_dim_intlist(-1, false, None::<Kind>) - counts.clamp_min(1.0).log()
            }
        }; // (batch, heads, Q)
        let share = found.to_kind(each.kind()).expand_as(&each);
        (&each * &share).sum(None::<Kind>) / share.sum(None::<Kind>).clamp_min(1.0)
    }
}
