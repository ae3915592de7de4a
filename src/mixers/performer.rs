//! Performer (arXiv:2009.14794) as a sequence mixer: softmax attention by positive random features.
//!
//! ```text
//! x = q / d_key^(1/4), and k alike                        so that x_q · x_k = q · k / √d_key
//! φ(x)_i = exp(w_i · x - |x|² / 2) / √d_feature           E[φ(x_q) · φ(x_k)] = exp(x_q · x_k)
//! y_t = sum over j <= t of (φ(q_t) · φ(k_j)) v_j / sum over j <= t of φ(q_t) · φ(k_j)
//! ```
//!
//! The w_i are orthogonal in blocks of d_key, each as long as a normal vector (FAVOR+). They are
//! drawn with the state, for each layer anew; in meta-training at every step, are shared by streams and heads, and travel
//! with the state: what was read with one projection cannot be asked with another.
//!
//! As published, a query's features are divided by their largest. The keys' cannot be divided by the
//! largest of all keys, which a stream knows only at its end. They are by the largest so far: where
//! that grows, the sums shrink by as much, which is the decay of [`LinearAttention`]
//! (as in the online softmax, arXiv:1805.02867). Both cancel in the quotient, as √d_feature does, so
//! that no feature overflows, and reading in pieces comes to the same as at once.
//!
//! [`LinearAttention`]: crate::ops::linear_attention::LinearAttention

use super::heads::{Heads, Projected, by_stream, head_sizes};
use super::linear_attention::Normalised;
use super::{Answered, Association, Keys, Mixer, MixerSettings, Observed, Queries, Similarity};
use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::ops::{sent, tensor_of};
use crate::params::Path;
use crate::random::{generator, orthogonal};
use crate::settings::ranges::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Performer (arXiv:2009.14794): softmax attention by positive random features, drawn for each episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PerformerConfig {
    /// Heads.
    #[schemars(with = "Size")]
    pub n_head: i64,
    /// Numbers in a head's keys; None for d_model / n_head.
    #[schemars(with = "Option<Size>")]
    pub d_key: Option<i64>,
    /// Numbers in a head's values; None for d_model / n_head.
    #[schemars(with = "Option<Size>")]
    pub d_value: Option<i64>,
    /// Random features of a key; None for d_key ln d_key, rounded up: as many as the paper's theorem 4 asks for, to within
    /// a constant.
    #[schemars(with = "Option<Size>")]
    pub d_feature: Option<i64>,
}

impl Default for PerformerConfig {
    fn default() -> Self {
        Self { n_head: 8, d_key: None, d_value: None, d_feature: None }
    }
}

impl MixerSettings for PerformerConfig {
    fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Mixer>> {
        Ok(Box::new(Performer::new(path, self, d_model)?))
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

/// Added to the denominator, in which a query's largest feature and a key's are both 1: but not
/// always the same one, so that all products may underflow.
const EPSILON: f64 = 1e-12;

/// ln of the largest feature before any key: below that of every key, and finite.
const NO_KEY: f64 = -1e30;

/// A Performer's layer with its tensors bound.
pub struct Performer {
    heads: Heads,
    d_feature: i64,
    /// Of the generator that draws this layer's features.
    name: String,
}

/// Features of keys, each as a share of the largest so far.
struct Scaled {
    /// φ(k_t) / exp(scale_t), (batch, heads, length, d_feature).
    features: Tensor,
    /// ln of the largest feature of the keys up to t, (batch, heads, length).
    scale: Tensor,
    /// ln of what becomes of the sums so far, (batch, heads, length).
    log_decay: Tensor,
}

impl Performer {
    /// Binds a layer's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &PerformerConfig, d_model: i64) -> Result<Self> {
        let PerformerConfig { n_head, d_key, d_value, d_feature } = *config;
        let heads = Heads::new(path, n_head, [d_key, d_value], d_model)?;
        let d_key = head_sizes(n_head, [d_key, d_value], d_model, 1)?.0 as f64;
        let d_feature = d_feature.unwrap_or((d_key * d_key.ln()).ceil().max(1.0) as i64);
        Ok(Self { heads, d_feature, name: path.full("projection") })
    }

    /// w · x, (batch, heads, length, d_feature), and |x|² / 2, (batch, heads, length, 1).
    fn products(&self, raw: &Tensor, projection: &Tensor) -> (Tensor, Tensor) {
        let x = raw.to_kind(projection.kind()) * (self.heads.d_key() as f64).powf(-0.25);
        let products = Tensor::einsum("bhtd,bmd->bhtm", &[&x, projection], None::<&[i64]>);
        // Under autocast products of matrices come in half precision.
        (products.to_kind(projection.kind()), x.square().sum_dim_intlist(-1, true, None::<Kind>) / 2.0)
    }

    /// Features of queries, the largest of each being 1.
    fn query_features(&self, q: &Tensor, projection: &Tensor) -> Tensor {
        let (products, _) = self.products(q, projection);
        let largest = products.detach().amax([-1], true);
        (products - largest).exp()
    }

    /// ln φ(k), but for √d_feature.
    fn log_features(&self, k: &Tensor, projection: &Tensor) -> Tensor {
        let (products, half_square) = self.products(k, projection);
        products - half_square
    }

    /// What a token is found by: its features by their own largest, and that as its weight.
    fn keys(log_features: &Tensor) -> Keys {
        let largest = log_features.detach().amax([-1], true);
        Keys {
            features: (log_features - &largest).exp(),
            log_weight: Some(largest.squeeze_dim(-1)),
            similarity: Similarity::LogInnerProduct,
        }
    }
}

/// Scales the features of keys in the order read, or each by itself, after `before`, (batch, heads).
/// No gradient flows through the scales: they cancel.
fn scaled(log_features: &Tensor, before: &Tensor, in_order: bool) -> Scaled {
    let before = before.unsqueeze(-1);
    let own = log_features.detach().amax([-1], false).maximum(&before.detach());
    let scale = if in_order { own.cummax(-1).0 } else { own };
    let length = scale.size()[2];
    let earlier = if in_order { Tensor::cat(&[&before, &scale.narrow(2, 0, length - 1)], 2) } else { before };
    Scaled { features: (log_features - scale.unsqueeze(-1)).exp(), log_decay: earlier - &scale, scale }
}

/// The tensors of a state.
struct Parts<'a> {
    kv: &'a Tensor,
    normaliser: &'a Tensor,
    log_scale: &'a Tensor,
    projection: &'a Tensor,
}

impl<'a> Parts<'a> {
    fn of(state: &'a LayerState) -> Result<Self> {
        let names = ["kv", "normaliser", "log_scale", "projection"];
        let [kv, normaliser, log_scale, projection] = state.parts("a Performer's layer", names)?;
        Ok(Self { kv, normaliser, log_scale, projection })
    }

    fn attention<'b>(&'b self, q: &'b Tensor, k: &'b Scaled, v: &'b Tensor) -> Normalised<'b> {
        Normalised {
            q,
            k: &k.features,
            v,
            log_decay: Some(&k.log_decay),
            kv: self.kv,
            normaliser: self.normaliser,
            epsilon: EPSILON,
        }
    }
}

impl Mixer for Performer {
    /// `kv` (n_head, d_feature, d_value), `normaliser` (n_head, d_feature), both as shares of exp of
    /// `log_scale` (n_head), and `projection` (d_feature, d_key).
    fn state_specs(&self) -> Vec<StateSpec> {
        let (heads, d_feature) = (&self.heads, self.d_feature);
        let n_head = heads.n_head();
        vec![
            StateSpec::new("kv", &[n_head, d_feature, heads.d_value()]),
            StateSpec::new("normaliser", &[n_head, d_feature]),
            StateSpec::new("log_scale", &[n_head]),
            StateSpec::new("projection", &[d_feature, heads.d_key()]),
        ]
    }

    fn initial_state(&self, batch: i64, draw: u64, (kind, device): (Kind, Device)) -> LayerState {
        let mut state = LayerState::zeros(&self.state_specs(), batch, (kind, device));
        let (d_feature, d_key) = (self.d_feature, self.heads.d_key());
        let mut rng = generator(draw, &self.name, 0, 0);
        let rows = orthogonal(&mut rng, d_feature as usize, d_key as usize);
        let projection = sent(&tensor_of(&rows, &[d_feature, d_key]).to_kind(kind), device);
        state.0[2] = Tensor::full([batch, self.heads.n_head()], NO_KEY, (kind, device));
        state.0[3] = projection.expand([batch, d_feature, d_key], false);
        state
    }

    fn observe(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Observed> {
        let parts = Parts::of(state)?;
        let Projected { q, k, v } = self.heads.project(tokens);
        let q = self.query_features(&q, parts.projection);
        let log_features = self.log_features(&k, parts.projection);
        let k = scaled(&log_features, parts.log_scale, true);
        let (heads, [kv, normaliser]) = parts.attention(&q, &k, &v).run()?;
        let log_scale = k.scale.select(2, -1);
        let state = LayerState(vec![kv, normaliser, log_scale, parts.projection.shallow_clone()]);
        let keys = association.map(|_| Self::keys(&log_features));
        Ok(Observed { output: self.heads.merge(&heads), state, keys })
    }

    fn answer(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Answered> {
        let parts = Parts::of(state)?;
        let Projected { q, k, v } = self.heads.project(&by_stream(tokens, parts.kv.size()[0]));
        let q = self.query_features(&q, parts.projection);
        let k = scaled(&self.log_features(&k, parts.projection), parts.log_scale, false);
        let output = self.heads.merge(&parts.attention(&q, &k, &v).each()?).view_as(tokens);
        Ok(Answered { output, queries: association.map(|_| Queries { features: q }) })
    }
}
