//! Mamba-3 (arXiv:2603.15569), with one input and one output for each channel (SISO).
//!
//! ```text
//! dt = softplus(dd_dt + dt_bias)                   λ = sigmoid(trap)
//! A = -exp(A_log) f(dd_A), f(x) = 1 + x or 1 / (1 - x) below 0, at least 1e-4
//! θ_t = θ_{t-1} + π tanh(angle) dt,  modulo 2π      b, c = R(θ_t) (RMSNorm(B, C) + bias)
//! α = exp(A dt)    β = (1 - λ) dt α    γ = λ dt
//! S_t = α_t S_{t-1} + β_t x_{t-1} b_{t-1}ᵀ + γ_t x_t b_tᵀ
//! y_t = out_proj ((S_t c_t + D x_t) SiLU(z_t))
//! ```
//!
//! The recurrence is a state-space model's by the trapezoidal rule: what a token writes is spread over its
//! own step and the next. R turns pairs of numbers by angles that the tokens decide, which is a state
//! matrix of complex numbers. There is no convolution. Names of tensors are those of mamba-ssm's `Mamba3`, and f is its
//! "heavy-tail activation"; releases before that had softplus there, and their weights would decay otherwise.
//!
//! mamba-ssm has no A_log, nor has a layer whose `initial_decay` is "published": A is then -f(dd_A), about -1
//! before training. A number there becomes a factor of it for each head, exp(A_log), which is learned as the A_log
//! of other mixers. It leaves how much A varies with the token.
//!
//! Both terms of token j fade alike from step j + 1 on: S_t - γ_t x_t b_tᵀ is a linear attention with a
//! scalar decay whose token t is the one before, weighted by α_t (γ_{t-1} + (1 - λ_t) dt_t).

use super::heads::by_stream;
use super::initial_decay::InitialDecay;
use super::step_size::{check_range, log_step};
use super::{Answered, Association, Keys, Mixer, MixerSettings, Observed, Queries};
use crate::error::{Error, Result};
use crate::layer_state::{LayerState, StateSpec};
use crate::ops::linear_attention::LinearAttention;
use crate::ops::without_autocast;
use crate::params::{Init, Path};
use crate::settings::ranges::{Fraction, Positive, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use tch::{Kind, Tensor};

/// The smallest f(dd_A).
const A_FLOOR: f64 = 1e-4;
/// Of the norms of B and C.
const NORM_EPSILON: f64 = 1e-5;

/// Mamba-3 (arXiv:2603.15569), with mamba-ssm's names: one input and one output for each channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mamba3Config {
    /// States of a channel; even.
    #[schemars(with = "Size")]
    pub d_state: i64,
    /// d_inner / d_model.
    #[schemars(with = "Size")]
    pub expand: i64,
    /// Channels of a head, which share step sizes, decay and angles.
    #[schemars(with = "Size")]
    pub headdim: i64,
    /// Share of the states that turn.
    #[schemars(with = "Fraction")]
    pub rope_fraction: f64,
    /// Smallest step size at the start.
    #[schemars(with = "Positive")]
    pub dt_min: f64,
    /// Largest step size at the start.
    #[schemars(with = "Positive")]
    pub dt_max: f64,
    /// How fast states decay at the start: "published", or the a of every A = -a.
    pub initial_decay: InitialDecay,
}

impl Default for Mamba3Config {
    fn default() -> Self {
        // Half of mamba-ssm's d_state and headdim, which are made for a d_model of 768 and more: at 128
        // there are 8 heads to forget at paces of their own, and 16384 numbers in the memory.
        Self {
            d_state: 64,
            expand: 2,
            headdim: 32,
            rope_fraction: 0.5,
            dt_min: 1e-3,
            dt_max: 1e-1,
            initial_decay: InitialDecay::default(),
        }
    }
}

impl Mamba3Config {
    /// Pairs of states that turn.
    fn angles(&self) -> i64 {
        (self.d_state as f64 * self.rope_fraction) as i64 / 2
    }

    fn check(&self, d_model: i64) -> Result<()> {
        let refuse = |field: &str, reason| Err(Error::Config { field: format!("mixer.{field}"), reason });
        if self.d_state % 2 != 0 {
            return refuse("d_state", format!("must be even, got {}", self.d_state));
        }
        let d_inner = self.expand * d_model;
        if d_inner % self.headdim != 0 {
            return refuse("headdim", format!("must divide d_inner = {d_inner}, got {}", self.headdim));
        }
        if self.angles() == 0 {
            let reason = format!("must lie in [2 / d_state, 1], got {}", self.rope_fraction);
            return refuse("rope_fraction", reason);
        }
        check_range(self.dt_min, self.dt_max)
    }
}

impl MixerSettings for Mamba3Config {
    fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Mixer>> {
        Ok(Box::new(Mamba3::new(path, self, d_model)?))
    }

    fn association_heads(&self, _association: Association, d_model: i64) -> i64 {
        self.expand * d_model / self.headdim
    }
}

/// A Mamba-3 layer with its tensors bound.
pub struct Mamba3 {
    n_head: i64,
    headdim: i64,
    d_state: i64,
    angles: i64,
    /// (2 d_inner + 2 d_state + 3 n_head + angles, d_model): z, x, B, C, dd_dt, dd_A, trap, angle.
    in_proj: Tensor,
    /// (n_head)
    dt_bias: Tensor,
    /// (n_head); none where the initial decay is that published.
    a_log: Option<Tensor>,
    /// (n_head, 1, d_state); the axis of one is that of inputs in mamba-ssm.
    b_bias: Tensor,
    /// (n_head, 1, d_state)
    c_bias: Tensor,
    /// (d_state)
    b_norm: Tensor,
    /// (d_state)
    c_norm: Tensor,
    /// (n_head)
    d: Tensor,
    /// (d_model, d_inner)
    out_proj: Tensor,
}

/// What is computed of each token by itself, in the state's element type: (rows, n_head, length, ...).
struct Selected {
    /// The gate, as projected: (rows, length, d_inner).
    z: Tensor,
    /// (..., headdim)
    x: Tensor,
    /// Not turned, (..., d_state).
    b: Tensor,
    /// Not turned, (..., d_state).
    c: Tensor,
    /// dt, (...).
    step: Tensor,
    /// A dt = ln α, (...).
    log_decay: Tensor,
    /// γ, what of the token is written in its own step: (...).
    own: Tensor,
    /// (1 - λ) dt, what is written in its step of the token before, up to the decay: (...).
    previous: Tensor,
    /// By how much pairs turn, (..., angles).
    turn: Tensor,
}

impl Mamba3 {
    /// Binds a layer's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &Mamba3Config, d_model: i64) -> Result<Self> {
        config.check(d_model)?;
        let Mamba3Config { d_state, headdim, dt_min, dt_max, initial_decay, .. } = *config;
        let (d_inner, angles) = (config.expand * d_model, config.angles());
        let n_head = d_inner / headdim;
        let width = 2 * d_inner + 2 * d_state + 3 * n_head + angles;
        let (read, write, one) = (Init::fan_in(d_model), Init::fan_in(d_inner), Init::Constant(1.0));
        Ok(Self {
            n_head,
            headdim,
            d_state,
            angles,
            in_proj: path.sub("in_proj").parameter("weight", &[width, d_model], read)?,
            dt_bias: path.undecayed(
                "dt_bias",
                &[n_head],
                Init::InverseSoftplus { min: dt_min, max: dt_max },
            )?,
            a_log: match initial_decay {
                InitialDecay::Published => None,
                InitialDecay::Rate(_) => {
                    Some(path.undecayed("A_log", &[n_head], initial_decay.log_rate(one))?)
                }
            },
            b_bias: path.undecayed("B_bias", &[n_head, 1, d_state], one)?,
            c_bias: path.undecayed("C_bias", &[n_head, 1, d_state], one)?,
            b_norm: path.sub("B_norm").undecayed("weight", &[d_state], one)?,
            c_norm: path.sub("C_norm").undecayed("weight", &[d_state], one)?,
            d: path.undecayed("D", &[n_head], one)?,
            out_proj: path.sub("out_proj").parameter("weight", &[d_model, d_inner], write)?,
        })
    }

    /// From tokens, (rows, length, d_model).
    fn select(&self, tokens: &Tensor, kind: Kind) -> Selected {
        let (d_inner, heads) = (self.n_head * self.headdim, self.n_head);
        let sizes = [d_inner, d_inner, self.d_state, self.d_state, heads, heads, heads, self.angles];
        let projected = tokens.linear(&self.in_proj, None::<&Tensor>).to_kind(kind);
        let parts = projected.split_with_sizes(sizes, -1);
        let [z, x, b, c, dd_dt, dd_a, trap, angle] = &parts[..] else {
            unreachable!("eight sizes, eight parts")
        };
        let normed = |part: &Tensor, weight: &Tensor, bias: &Tensor| {
            let normed = part.rms_norm([self.d_state], Some(&weight.to_kind(kind)), NORM_EPSILON);
            normed.unsqueeze(1) + bias.to_kind(kind) // (rows, n_head, length, d_state)
        };
        let step = (dd_dt + self.dt_bias.to_kind(kind)).softplus().transpose(1, 2);
        let rate = dd_a.clamp_min(0.0) + (-dd_a.clamp_max(0.0) + 1.0).reciprocal();
        let rate = rate.clamp_min(A_FLOOR);
        let rate = match &self.a_log {
            Some(a_log) => rate * a_log.to_kind(kind).exp(),
            None => rate,
        };
        let share = trap.sigmoid().transpose(1, 2);
        let own = &share * &step;
        Selected {
            z: z.shallow_clone(),
            x: x.unflatten(-1, [heads, self.headdim]).transpose(1, 2),
            b: normed(b, &self.b_norm, &self.b_bias),
            c: normed(c, &self.c_norm, &self.c_bias),
            log_decay: -rate.transpose(1, 2) * &step,
            previous: (1.0 - share) * &step,
            own,
            turn: (angle.tanh() * PI).unsqueeze(1) * step.unsqueeze(-1),
            step,
        }
    }

    /// Vectors, (..., d_state), whose first pairs of neighbours are turned by angles, (..., angles).
    fn turned(&self, vectors: &Tensor, angles: &Tensor) -> Tensor {
        let parts = vectors.split_with_sizes([2 * self.angles, self.d_state - 2 * self.angles], -1);
        let pairs = parts[0].unflatten(-1, [self.angles, 2]);
        let (first, second) = (pairs.select(-1, 0), pairs.select(-1, 1));
        let (cos, sin) = (angles.cos(), angles.sin());
        let turned = Tensor::stack(&[&first * &cos - &second * &sin, first * sin + second * cos], -1);
        Tensor::cat(&[turned.flatten(-2, -1), parts[1].shallow_clone()], -1)
    }

    /// From S c, (rows, n_head, length, headdim), without the token's own part, to (rows, length, d_model).
    fn merge(&self, past: Tensor, selected: &Selected, kind: Kind) -> Tensor {
        let Selected { z, x, b, c, own, .. } = selected;
        // Turning both alike leaves their product.
        let nearness = (b * c).sum_dim_intlist(-1, true, None::<Kind>);
        let skip = self.d.to_kind(x.kind()).view([1, self.n_head, 1, 1]);
        let y = past + x * (nearness * own.unsqueeze(-1) + skip);
        let gated = y.transpose(1, 2).flatten(2, 3) * z.silu();
        gated.to_kind(kind).linear(&self.out_proj, None::<&Tensor>)
    }

    /// What tokens are found by: b, turned; and for weights dt, or what is left of dt after the stream.
    fn keys(&self, selected: &Selected, b: &Tensor, association: Association) -> Keys {
        Keys::written(b, association, || log_step(&selected.step), &selected.log_decay)
    }
}

/// Angles in [-π, π], in an element type. What 0 lies in the middle of: the first tokens turn by little.
fn modulo_a_turn(angles: &Tensor, kind: Kind) -> Tensor {
    (angles - (angles / (2.0 * PI)).round() * (2.0 * PI)).to_kind(kind)
}

/// Along time, the token before each: `first`, then all but the last.
fn delayed(first: &Tensor, tokens: &Tensor) -> Tensor {
    Tensor::cat(&[&first.unsqueeze(2), &tokens.slice(2, 0, -1, 1)], 2)
}

fn parts(state: &LayerState) -> Result<[&Tensor; 4]> {
    state.parts("a Mamba-3 layer", ["angle", "ssm_state", "last_b", "last_x"])
}

impl Mixer for Mamba3 {
    /// `angle` (n_head, angles), `ssm_state` (n_head, headdim, d_state), and of the last token b, turned,
    /// and x: `last_b` (n_head, d_state) and `last_x` (n_head, headdim).
    fn state_specs(&self) -> Vec<StateSpec> {
        vec![
            StateSpec::new("angle", &[self.n_head, self.angles]),
            StateSpec::new("ssm_state", &[self.n_head, self.headdim, self.d_state]),
            StateSpec::new("last_b", &[self.n_head, self.d_state]),
            StateSpec::new("last_x", &[self.n_head, self.headdim]),
        ]
    }

    fn observe(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Observed> {
        let [angle, ssm_state, last_b, last_x] = parts(state)?;
        let kind = ssm_state.kind();
        let selected = self.select(tokens, kind);
        let Selected { x, log_decay, own, previous, .. } = &selected;
        // Sums over a long stream are of many turns, in which float32 would lose the angle.
        let angles = angle.unsqueeze(2) + selected.turn.cumsum(2, Kind::Double);
        let angles = modulo_a_turn(&angles, kind);
        let (b, c) = (self.turned(&selected.b, &angles), self.turned(&selected.c, &angles));
        // The own part of the state's last token is in the state already.
        let none = own.select(2, 0).zeros_like();
        let weight = (delayed(&none, own) + previous) * log_decay.exp();
        let attention = LinearAttention {
            q: &c,
            k: &delayed(last_b, &b),
            v: &(delayed(last_x, x) * weight.unsqueeze(-1)),
            log_decay: Some(log_decay),
            initial_state: &ssm_state.transpose(-1, -2),
        };
        let (past, carried) = attention.run()?;
        let last = |tensor: &Tensor| tensor.select(2, -1);
        let (last_b, last_x) = (last(&b), last(x));
        let written = last_x.unsqueeze(-1) * last_b.unsqueeze(-2) * last(own).unsqueeze(-1).unsqueeze(-1);
        let ssm_state = carried.transpose(-1, -2) + written;
        let keys = association.map(|association| self.keys(&selected, &b, association));
        let output = self.merge(past, &selected, tokens.kind());
        Ok(Observed { output, state: LayerState(vec![last(&angles), ssm_state, last_b, last_x]), keys })
    }

    fn answer(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Answered> {
        let [angle, ssm_state, last_b, last_x] = parts(state)?;
        let rows = by_stream(tokens, ssm_state.size()[0]);
        let selected = self.select(&rows, ssm_state.kind());
        let c = self.turned(&selected.c, &(angle.unsqueeze(2) + &selected.turn));
        let past = without_autocast(|| {
            let nearness = c.matmul(&last_b.unsqueeze(-1)) * selected.previous.unsqueeze(-1);
            let past = c.matmul(&ssm_state.transpose(-1, -2)) + nearness * last_x.unsqueeze(2);
            past * selected.log_decay.exp().unsqueeze(-1)
        });
        let output = self.merge(past, &selected, tokens.kind()).view_as(tokens);
        // Numbers of b and c are of the order of 1: as in attention, logits shall be, too.
        let queries = association.map(|_| Queries { features: c * (self.d_state as f64).powf(-0.5) });
        Ok(Answered { output, queries })
    }
}
