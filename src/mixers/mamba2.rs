//! Mamba-2 (arXiv:2405.21060): a selective state-space model whose states decay by one number a head,
//! so that it is a linear attention.
//!
//! ```text
//! z, (x, B, C), dt = in_proj u           x, B, C = silu(conv1d(x, B, C))
//! delta = softplus(dt + dt_bias)         a = exp(-exp(A_log) delta)        a number for each head
//! S_t = a_t S_{t-1} + B_t (delta_t x_t)ᵀ
//! y_t = S_tᵀ C_t + D x_t                 out = out_proj(rms_norm(y silu(z)))
//! ```
//!
//! B and C are shared by the heads (one group). The state has d_inner (d_state + d_conv - 1) +
//! 2 d_state (d_conv - 1) numbers.

use super::heads::by_stream;
use super::initial_decay::InitialDecay;
use super::step_size::{check_range, log_step};
use super::{Answered, Association, Keys, Mixer, MixerSettings, Observed, Queries, Similarity};
use crate::error::{Error, Result};
use crate::layer_state::{LayerState, StateSpec};
use crate::ops::causal_conv1d::CausalConv1d;
use crate::ops::linear_attention::LinearAttention;
use crate::params::{Init, Path};
use crate::settings::ranges::{Positive, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Of the gated norm, as in mamba-ssm.
const EPSILON: f64 = 1e-5;

/// Mamba-2 (arXiv:2405.21060), with mamba-ssm's names and, except for `d_state` and `initial_decay`, its defaults. Its state has
/// d_inner (d_state + d_conv - 1) + 2 d_state (d_conv - 1) numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mamba2Config {
    /// States of a channel. 64, the smaller of the paper's: upstream's 128 are for language.
    #[schemars(with = "Size")]
    pub d_state: i64,
    /// Taps of the convolution.
    #[schemars(with = "Size")]
    pub d_conv: i64,
    /// d_inner / d_model.
    #[schemars(with = "Size")]
    pub expand: i64,
    /// Channels of a head; it divides d_inner.
    #[schemars(with = "Size")]
    pub headdim: i64,
    /// Smallest step size at the start.
    #[schemars(with = "Positive")]
    pub dt_min: f64,
    /// Largest step size at the start.
    #[schemars(with = "Positive")]
    pub dt_max: f64,
    /// How fast states decay at the start: "published", or the a of every A = -a.
    pub initial_decay: InitialDecay,
}

impl Default for Mamba2Config {
    fn default() -> Self {
        Self {
            d_state: 64,
            d_conv: 4,
            expand: 2,
            headdim: 64,
            dt_min: 1e-3,
            dt_max: 1e-1,
            initial_decay: InitialDecay::default(),
        }
    }
}

impl Mamba2Config {
    fn check(&self, d_model: i64) -> Result<()> {
        let d_inner = self.expand * d_model;
        if d_inner % self.headdim != 0 {
            let reason = format!("must divide expand x d_model = {d_inner}, got {}", self.headdim);
            return Err(Error::Config { field: "mixer.headdim".into(), reason });
        }
        check_range(self.dt_min, self.dt_max)
    }
}

impl MixerSettings for Mamba2Config {
    fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Mixer>> {
        Ok(Box::new(Mamba2::new(path, self, d_model)?))
    }

    fn association_heads(&self, association: Association, d_model: i64) -> i64 {
        // All heads share B and C.
        if association == Association::Content { 1 } else { self.expand * d_model / self.headdim }
    }
}

/// A Mamba-2 layer. Tensor names are mamba-ssm's, so that its weights can be loaded.
pub struct Mamba2 {
    d_state: i64,
    headdim: i64,
    /// (2 d_inner + 2 d_state + n_head, d_model)
    in_proj: Tensor,
    /// (d_inner + 2 d_state, 1, d_conv)
    conv1d_weight: Tensor,
    /// (d_inner + 2 d_state)
    conv1d_bias: Tensor,
    /// (n_head)
    dt_bias: Tensor,
    /// (n_head)
    a_log: Tensor,
    /// (n_head)
    d: Tensor,
    /// (d_inner)
    norm: Tensor,
    /// (d_model, d_inner)
    out_proj: Tensor,
}

/// What tokens are projected to, by stream.
struct Selected {
    /// (batch, tokens, d_inner)
    z: Tensor,
    /// (batch, n_head, tokens, headdim)
    x: Tensor,
    /// (batch, 1, tokens, d_state)
    b: Tensor,
    c: Tensor,
    /// (batch, n_head, tokens)
    delta: Tensor,
}

impl Mamba2 {
    /// Binds a layer's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &Mamba2Config, d_model: i64) -> Result<Self> {
        config.check(d_model)?;
        let Mamba2Config { d_state, d_conv, headdim, dt_min, dt_max, .. } = *config;
        let d_inner = config.expand * d_model;
        let (n_head, convolved) = (d_inner / headdim, d_inner + 2 * d_state);
        let (conv1d, taps) = (path.sub("conv1d"), Init::fan_in(d_conv));
        let read = Init::fan_in(d_model);
        let step = Init::InverseSoftplus { min: dt_min, max: dt_max };
        let rate = config.initial_decay.log_rate(Init::LogOfUniform { min: 1.0, max: 16.0 });
        Ok(Self {
            d_state,
            headdim,
            in_proj: path.sub("in_proj").parameter(
                "weight",
                &[d_inner + convolved + n_head, d_model],
                read,
            )?,
            conv1d_weight: conv1d.parameter("weight", &[convolved, 1, d_conv], taps)?,
            conv1d_bias: conv1d.undecayed("bias", &[convolved], taps)?,
            dt_bias: path.undecayed("dt_bias", &[n_head], step)?,
            a_log: path.undecayed("A_log", &[n_head], rate)?,
            d: path.undecayed("D", &[n_head], Init::Constant(1.0))?,
            norm: path.sub("norm").undecayed("weight", &[d_inner], Init::Constant(1.0))?,
            out_proj: path.sub("out_proj").parameter("weight", &[d_model, d_inner], Init::fan_in(d_inner))?,
        })
    }

    fn n_head(&self) -> i64 {
        self.d.size()[0]
    }

    /// Tokens, (rows, length, d_model), rows a multiple of the state's: their selection, in the type of
    /// the state and by stream, and the convolution's window after them.
    fn select(&self, tokens: &Tensor, window: &Tensor, keep: bool) -> Result<(Selected, Tensor)> {
        let d_inner = self.norm.size()[0];
        let projected = tokens.linear(&self.in_proj, None::<&Tensor>);
        let sizes = [d_inner, d_inner + 2 * self.d_state, self.n_head()];
        let parts = projected.split_with_sizes(sizes, -1);
        let [z, convolved, dt] = &parts[..] else { unreachable!("three sizes, three parts") };
        let taps = self.conv1d_weight.squeeze_dim(1);
        let convolution = CausalConv1d {
            bias: Some(&self.conv1d_bias),
            silu: true,
            initial_window: Some(window),
            ..CausalConv1d::new(convolved, &taps)
        };
        let (convolved, next) = convolution.run(keep)?;
        let (batch, kind) = (window.size()[0], window.kind());
        // Tokens of the same stream: (batch, tokens, ...).
        let grouped = |part: &Tensor| by_stream(part, batch).to_kind(kind);
        let parts = convolved.split_with_sizes([d_inner, self.d_state, self.d_state], -1);
        let [x, b, c] = &parts[..] else { unreachable!("three sizes, three parts") };
        let selected = Selected {
            z: grouped(z),
            x: grouped(x).unflatten(-1, [-1, self.headdim]).transpose(1, 2),
            b: grouped(b).unsqueeze(1),
            c: grouped(c).unsqueeze(1),
            delta: (grouped(dt) + &self.dt_bias).softplus().transpose(1, 2),
        };
        Ok((selected, next))
    }

    /// ln a, (batch, n_head, tokens).
    fn log_decay(&self, delta: &Tensor) -> Tensor {
        -delta * self.a_log.to_kind(delta.kind()).exp().unsqueeze(-1)
    }

    /// What follows the state-space model: (batch, tokens, d_model).
    fn finish(&self, selected: &Selected, y: &Tensor) -> Tensor {
        let y = y + &selected.x * self.d.to_kind(y.kind()).view([-1, 1, 1]);
        let gated = y.transpose(1, 2).flatten(2, 3) * selected.z.silu();
        let weight = self.norm.to_kind(gated.kind());
        let normed = gated.rms_norm(weight.size(), Some(&weight), EPSILON);
        normed.to_kind(self.out_proj.kind()).linear(&self.out_proj, None::<&Tensor>)
    }

    /// The state-space model's arguments.
    fn with_attention<Out>(
        &self,
        selected: &Selected,
        ssm_state: &Tensor,
        then: impl FnOnce(&LinearAttention) -> Result<Out>,
    ) -> Result<Out> {
        then(&LinearAttention {
            q: &selected.c,
            k: &selected.b,
            v: &(&selected.x * selected.delta.unsqueeze(-1)),
            log_decay: Some(&self.log_decay(&selected.delta)),
            initial_state: &ssm_state.transpose(-1, -2),
        })
    }

    fn keys(&self, Selected { b, delta, .. }: &Selected, association: Association) -> Keys {
        let (features, log_weight) = match association {
            Association::Content => (b.shallow_clone(), None),
            Association::Gated => (b.shallow_clone(), Some(log_step(delta))),
            Association::Decayed => {
                // What the state after the stream holds of token j: a_{j+1} … a_T delta_j B_j.
                let sum = self.log_decay(delta).cumsum(-1, None::<Kind>);
                let kept = (sum.narrow(2, -1, 1) - &sum).exp();
                (b * (kept * delta).unsqueeze(-1), None)
            }
        };
        Keys { features, log_weight, similarity: Similarity::InnerProduct }
    }

    fn queries(&self, Selected { c, delta, .. }: &Selected, association: Association) -> Queries {
        let features = match association {
            Association::Content | Association::Gated => c.shallow_clone(),
            Association::Decayed => c * self.log_decay(delta).exp().unsqueeze(-1),
        };
        Queries { features }
    }
}

fn parts(state: &LayerState) -> Result<[&Tensor; 2]> {
    state.parts("a Mamba-2 layer", ["conv_window", "ssm_state"])
}

impl Mixer for Mamba2 {
    /// `conv_window` (d_inner + 2 d_state, d_conv - 1) and `ssm_state` (n_head, headdim, d_state).
    fn state_specs(&self) -> Vec<StateSpec> {
        let (convolved, taps) = (self.conv1d_bias.size()[0], self.conv1d_weight.size()[2]);
        vec![
            StateSpec::new("conv_window", &[convolved, taps - 1]),
            StateSpec::new("ssm_state", &[self.n_head(), self.headdim, self.d_state]),
        ]
    }

    fn observe(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Observed> {
        let [window, ssm_state] = parts(state)?;
        let (selected, window) = self.select(tokens, window, true)?;
        let (y, after) = self.with_attention(&selected, ssm_state, |attention| attention.run())?;
        Ok(Observed {
            output: self.finish(&selected, &y),
            state: LayerState(vec![window, after.transpose(-1, -2)]),
            keys: association.map(|association| self.keys(&selected, association)),
        })
    }

    fn answer(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Answered> {
        let [window, ssm_state] = parts(state)?;
        let (selected, _) = self.select(tokens, window, false)?;
        let y = self.with_attention(&selected, ssm_state, |attention| attention.each())?;
        let output = self.finish(&selected, &y).view_as(tokens);
        let queries = association.map(|association| self.queries(&selected, association));
        Ok(Answered { output, queries })
    }
}
