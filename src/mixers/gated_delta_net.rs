//! Gated DeltaNet (arXiv:2412.06464): a linear attention whose memory corrects and forgets.
//!
//! ```text
//! q, k, v = SiLU(causal_conv(W x)),   q and k brought to length 1
//! b = sigmoid(b_proj x),              ln a = -exp(A_log) softplus(a_proj x + dt_bias)
//! S_t = a_t S_{t-1} (I - b_t k_t k_tᵀ) + b_t v_t k_tᵀ,    o_t = S_t q_t / √d_key
//! y_t = o_proj (RMSNorm(o_t) SiLU(g_proj x))
//! ```
//!
//! Names of tensors, epsilons and the scale of q are those of flash-linear-attention's `GatedDeltaNet`.
//! The three convolutions are computed as one, whose window is q's, k's and v's one after the other.

use super::heads::{by_stream, head_sizes};
use super::initial_decay::InitialDecay;
use super::step_size::check_range;
use super::{Answered, Association, Keys, Mixer, MixerSettings, Observed, Queries};
use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::ops::causal_conv1d::CausalConv1d;
use crate::ops::gated_delta_rule::GatedDeltaRule;
use crate::params::{Init, Path};
use crate::settings::ranges::{Positive, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Of the norm of outputs.
const NORM_EPSILON: f64 = 1e-5;
/// The smallest first rate of decay, as published; flash-linear-attention's may be as near to 0 as chance has it.
const SLOWEST: f64 = 1e-3;
/// Added to the squared length of queries and keys.
const LENGTH_EPSILON: f64 = 1e-6;

/// Gated DeltaNet (arXiv:2412.06464): a linear attention whose memory corrects and forgets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatedDeltaNetConfig {
    /// Heads.
    #[schemars(with = "Size")]
    pub n_head: i64,
    /// Numbers in a head's keys; None for d_model / n_head.
    #[schemars(with = "Option<Size>")]
    pub d_key: Option<i64>,
    /// Numbers in a head's values; None for 2 d_model / n_head, twice the keys' as published.
    #[schemars(with = "Option<Size>")]
    pub d_value: Option<i64>,
    /// Taps of the convolutions.
    #[schemars(with = "Size")]
    pub d_conv: i64,
    /// Smallest step size of the decay at the start.
    #[schemars(with = "Positive")]
    pub dt_min: f64,
    /// Largest step size of the decay at the start.
    #[schemars(with = "Positive")]
    pub dt_max: f64,
    /// How fast states decay at the start: "published", or the a of every A = -a.
    pub initial_decay: InitialDecay,
}

impl Default for GatedDeltaNetConfig {
    fn default() -> Self {
        // At a d_model of 128 keys of 32: as many things can be told apart in a head without any mixing.
        Self {
            n_head: 4,
            d_key: None,
            d_value: None,
            d_conv: 4,
            dt_min: 1e-3,
            dt_max: 1e-1,
            initial_decay: InitialDecay::default(),
        }
    }
}

impl MixerSettings for GatedDeltaNetConfig {
    fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Mixer>> {
        Ok(Box::new(GatedDeltaNet::new(path, self, d_model)?))
    }

    fn association_heads(&self, _association: Association, _d_model: i64) -> i64 {
        self.n_head
    }
}

/// A Gated DeltaNet layer with its tensors bound.
pub struct GatedDeltaNet {
    n_head: i64,
    d_key: i64,
    d_value: i64,
    /// The projections of q, k and v: (n_head d_key, d_model) twice, (n_head d_value, d_model).
    qkv_proj: [Tensor; 3],
    /// Their taps, (n_head d_key, 1, d_conv) twice, (n_head d_value, 1, d_conv).
    qkv_conv1d: [Tensor; 3],
    /// (n_head, d_model)
    a_proj: Tensor,
    /// (n_head, d_model)
    b_proj: Tensor,
    /// (n_head d_value, d_model)
    g_proj: Tensor,
    /// (n_head)
    a_log: Tensor,
    /// (n_head)
    dt_bias: Tensor,
    /// (d_value)
    o_norm: Tensor,
    /// (d_model, n_head d_value)
    o_proj: Tensor,
}

/// What is computed of tokens before the memory, in the memory's element type: (rows, n_head, length, ...).
struct Selected {
    /// (..., d_key), of length 1.
    q: Tensor,
    /// (..., d_key), of length 1.
    k: Tensor,
    /// (..., d_value)
    v: Tensor,
    /// ln a, (...).
    log_decay: Tensor,
    /// The logit of b, (...).
    beta_logit: Tensor,
}

impl GatedDeltaNet {
    /// Binds a layer's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &GatedDeltaNetConfig, d_model: i64) -> Result<Self> {
        let GatedDeltaNetConfig { n_head, d_key, d_value, d_conv, dt_min, dt_max, initial_decay } = *config;
        let (d_key, d_value) = head_sizes(n_head, [d_key, d_value], d_model, 2)?;
        check_range(dt_min, dt_max)?;
        let rate = initial_decay.log_rate(Init::LogOfUniform { min: SLOWEST, max: 16.0 });
        let (keys, values) = (n_head * d_key, n_head * d_value);
        let project = |name: &str, rows: i64, columns: i64| {
            path.sub(name).parameter("weight", &[rows, columns], Init::fan_in(columns))
        };
        let taps = |name: &str, channels: i64| {
            path.sub(name).parameter("weight", &[channels, 1, d_conv], Init::fan_in(d_conv))
        };
        Ok(Self {
            n_head,
            d_key,
            d_value,
            qkv_proj: [
                project("q_proj", keys, d_model)?,
                project("k_proj", keys, d_model)?,
                project("v_proj", values, d_model)?,
            ],
            qkv_conv1d: [taps("q_conv1d", keys)?, taps("k_conv1d", keys)?, taps("v_conv1d", values)?],
            a_proj: project("a_proj", n_head, d_model)?,
            b_proj: project("b_proj", n_head, d_model)?,
            g_proj: project("g_proj", values, d_model)?,
            a_log: path.undecayed("A_log", &[n_head], rate)?,
            dt_bias: path.undecayed(
                "dt_bias",
                &[n_head],
                Init::InverseSoftplus { min: dt_min, max: dt_max },
            )?,
            o_norm: path.sub("o_norm").undecayed("weight", &[d_value], Init::Constant(1.0))?,
            o_proj: project("o_proj", d_model, values)?,
        })
    }

    /// q, k and v of tokens, (rows, length, d_model), after the convolution, (rows, length, channels); and
    /// the window after them, if it is kept.
    fn convolved(&self, tokens: &Tensor, window: &Tensor, keep: bool) -> Result<(Tensor, Tensor)> {
        let projected = tokens.linear(&Tensor::cat(&self.qkv_proj, 0), None::<&Tensor>);
        let taps = Tensor::cat(&self.qkv_conv1d, 0).squeeze_dim(1);
        let convolution =
            CausalConv1d { silu: true, initial_window: Some(window), ..CausalConv1d::new(&projected, &taps) };
        convolution.run(keep)
    }

    /// From tokens, (rows, length, d_model), and what the convolution made of them.
    fn select(&self, tokens: &Tensor, convolved: &Tensor, kind: Kind) -> Selected {
        let sizes = [self.d_key, self.d_key, self.d_value].map(|size| self.n_head * size);
        let parts = convolved.to_kind(kind).split_with_sizes(sizes, -1);
        let head = |part: &Tensor| part.unflatten(-1, [self.n_head, -1]).transpose(1, 2);
        let unit = |x: Tensor| {
            let squares = x.square().sum_dim_intlist(-1, true, None::<Kind>);
            x * (squares + LENGTH_EPSILON).rsqrt()
        };
        let scalar = |weight: &Tensor| {
            tokens.linear(weight, None::<&Tensor>).to_kind(kind).transpose(1, 2) // (rows, n_head, length)
        };
        let by_head = |tensor: &Tensor| tensor.to_kind(kind).unsqueeze(-1);
        let step = (scalar(&self.a_proj) + by_head(&self.dt_bias)).softplus();
        Selected {
            q: unit(head(&parts[0])),
            k: unit(head(&parts[1])),
            v: head(&parts[2]),
            log_decay: -step * by_head(&self.a_log).exp(),
            beta_logit: scalar(&self.b_proj),
        }
    }

    /// From heads, (rows, n_head, length, d_value), to (rows, length, d_model).
    fn merge(&self, heads: &Tensor, tokens: &Tensor) -> Tensor {
        let kind = heads.kind();
        let gate = tokens.linear(&self.g_proj, None::<&Tensor>).to_kind(kind).silu();
        let weight = self.o_norm.to_kind(kind);
        let normed = heads.transpose(1, 2).rms_norm([self.d_value], Some(&weight), NORM_EPSILON);
        let gated = normed.flatten(2, 3) * gate;
        gated.to_kind(tokens.kind()).linear(&self.o_proj, None::<&Tensor>)
    }

    /// q as the memory is asked: the scale is that of softmax attention.
    fn asked(&self, q: &Tensor) -> Tensor {
        q * (self.d_key as f64).powf(-0.5)
    }
}

fn parts(state: &LayerState) -> Result<[&Tensor; 2]> {
    state.parts("a Gated DeltaNet layer", ["conv_window", "memory"])
}

/// What tokens are found by: their keys, and for weights b, or b and what is left of it after the stream.
/// What later tokens erase is not told: no weight of a token alone can.
fn keys(selected: &Selected, association: Association) -> Keys {
    Keys::written(&selected.k, association, || selected.beta_logit.log_sigmoid(), &selected.log_decay)
}

impl Mixer for GatedDeltaNet {
    /// `conv_window` (2 n_head d_key + n_head d_value, d_conv - 1) and `memory` (n_head, d_key, d_value).
    fn state_specs(&self) -> Vec<StateSpec> {
        let channels = self.n_head * (2 * self.d_key + self.d_value);
        let taps = self.qkv_conv1d[0].size().last().copied().unwrap_or(1);
        vec![
            StateSpec::new("conv_window", &[channels, taps - 1]),
            StateSpec::new("memory", &[self.n_head, self.d_key, self.d_value]),
        ]
    }

    fn observe(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Observed> {
        let [window, memory] = parts(state)?;
        let (convolved, window) = self.convolved(tokens, window, true)?;
        let selected = self.select(tokens, &convolved, memory.kind());
        let rule = GatedDeltaRule {
            q: &self.asked(&selected.q),
            k: &selected.k,
            v: &selected.v,
            log_decay: &selected.log_decay,
            beta: &selected.beta_logit.sigmoid(),
            initial_state: memory,
        };
        let (heads, memory) = rule.run()?;
        let keys = association.map(|association| keys(&selected, association));
        let state = LayerState(vec![window, memory]);
        Ok(Observed { output: self.merge(&heads, tokens), state, keys })
    }

    fn answer(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Answered> {
        let [window, memory] = parts(state)?;
        let (convolved, _) = self.convolved(tokens, window, false)?;
        let batch = memory.size()[0];
        let (rows, convolved) = (by_stream(tokens, batch), by_stream(&convolved, batch));
        let selected = self.select(&rows, &convolved, memory.kind());
        let rule = GatedDeltaRule {
            q: &self.asked(&selected.q),
            k: &selected.k,
            v: &selected.v,
            log_decay: &selected.log_decay,
            beta: &selected.beta_logit.sigmoid(),
            initial_state: memory,
        };
        let output = self.merge(&rule.each()?, &rows).view_as(tokens);
        // For vectors of length 1, √d_key q · k is what attention takes the softmax of where both are
        // normed; with the scale of the memory's own queries, no association could be more than flat.
        let queries = association.map(|_| Queries { features: selected.q * (self.d_key as f64).sqrt() });
        Ok(Answered { output, queries })
    }
}
