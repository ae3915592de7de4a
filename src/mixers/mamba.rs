//! Mamba (arXiv:2312.00752): a selective state-space model as a sequence mixer.
//!
//! | here | paper |
//! | --- | --- |
//! | `u` (d_inner) | x, the input of the SSM |
//! | `delta` (d_inner) | Δ, the step size |
//! | `a` (d_inner, d_state) | A |
//! | `b`, `c` (d_state) | B, C, computed from the token: the selection |
//! | `d` (d_inner) | D, the skip connection |

use super::initial_decay::InitialDecay;
use super::step_size::{check_range, log_step};
use super::{Answered, Association, Keys, Mixer, MixerSettings, Observed, Queries, Similarity, Stepped};
use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::ops::causal_conv1d::CausalConv1d;
use crate::ops::mamba_step::MambaStep;
use crate::ops::selective_scan::SelectiveScan;
use crate::ops::state_kind;
use crate::params::{Init, Path};
use crate::settings::ranges::{Positive, Size};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Mamba (arXiv:2312.00752), with mamba-ssm's names and, except for `initial_decay`, its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MambaConfig {
    /// States of a channel.
    #[schemars(with = "Size")]
    pub d_state: i64,
    /// Taps of the convolution.
    #[schemars(with = "Size")]
    pub d_conv: i64,
    /// d_inner / d_model.
    #[schemars(with = "Size")]
    pub expand: i64,
    /// Rank of delta's projection; None for d_model / 16, rounded up.
    #[schemars(with = "Option<Size>")]
    pub dt_rank: Option<i64>,
    /// Smallest step size at the start.
    #[schemars(with = "Positive")]
    pub dt_min: f64,
    /// Largest step size at the start.
    #[schemars(with = "Positive")]
    pub dt_max: f64,
    /// How fast states decay at the start: "published", or the a of every A = -a.
    pub initial_decay: InitialDecay,
}

impl Default for MambaConfig {
    fn default() -> Self {
        Self {
            d_state: 16,
            d_conv: 4,
            expand: 2,
            dt_rank: None,
            dt_min: 1e-3,
            dt_max: 1e-1,
            initial_decay: InitialDecay::default(),
        }
    }
}

impl MambaConfig {
    /// Channels of the convolution and the scan.
    pub fn d_inner(&self, d_model: i64) -> i64 {
        self.expand * d_model
    }

    /// Rank of delta's projection.
    pub fn dt_rank(&self, d_model: i64) -> i64 {
        self.dt_rank.unwrap_or((d_model + 15) / 16)
    }
}

impl MixerSettings for MambaConfig {
    fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Mixer>> {
        Ok(Box::new(Mamba::new(path, self, d_model)?))
    }
}

/// A Mamba layer. Tensor names are mamba-ssm's, so that its weights can be loaded.
pub struct Mamba {
    dt_rank: i64,
    d_state: i64,
    /// (2 d_inner, d_model)
    in_proj: Tensor,
    /// (d_inner, 1, d_conv)
    conv1d_weight: Tensor,
    /// (d_inner)
    conv1d_bias: Tensor,
    /// (dt_rank + 2 d_state, d_inner)
    x_proj: Tensor,
    /// (d_inner, dt_rank)
    dt_proj_weight: Tensor,
    /// (d_inner)
    dt_proj_bias: Tensor,
    /// (d_inner, d_state)
    a_log: Tensor,
    /// (d_inner)
    d: Tensor,
    /// (d_model, d_inner)
    out_proj: Tensor,
}

/// What a pass over tokens leaves for those who ask.
struct Pass {
    output: Tensor,
    state: LayerState,
    /// (rows, length, d_inner), before the bias and softplus
    raw_delta: Tensor,
    /// (rows, length, d_state)
    b: Tensor,
    c: Tensor,
}

impl Mamba {
    /// Binds a layer's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &MambaConfig, d_model: i64) -> Result<Self> {
        let MambaConfig { d_state, d_conv, dt_min, dt_max, initial_decay, .. } = *config;
        check_range(dt_min, dt_max)?;
        let (d_inner, dt_rank) = (config.d_inner(d_model), config.dt_rank(d_model));
        let (conv1d, dt_proj) = (path.sub("conv1d"), path.sub("dt_proj"));
        let taps = Init::fan_in(d_conv);
        let rank = Init::fan_in(dt_rank);
        Ok(Self {
            dt_rank,
            d_state,
            in_proj: path.sub("in_proj").parameter(
                "weight",
                &[2 * d_inner, d_model],
                Init::fan_in(d_model),
            )?,
            conv1d_weight: conv1d.parameter("weight", &[d_inner, 1, d_conv], taps)?,
            conv1d_bias: conv1d.undecayed("bias", &[d_inner], taps)?,
            x_proj: path.sub("x_proj").parameter(
                "weight",
                &[dt_rank + 2 * d_state, d_inner],
                Init::fan_in(d_inner),
            )?,
            dt_proj_weight: dt_proj.parameter("weight", &[d_inner, dt_rank], rank)?,
            dt_proj_bias: dt_proj.undecayed(
                "bias",
                &[d_inner],
                Init::InverseSoftplus { min: dt_min, max: dt_max },
            )?,
            a_log: path.undecayed("A_log", &[d_inner, d_state], initial_decay.log_rate(Init::LogOfIndex))?,
            d: path.undecayed("D", &[d_inner], Init::Constant(1.0))?,
            out_proj: path.sub("out_proj").parameter("weight", &[d_model, d_inner], Init::fan_in(d_inner))?,
        })
    }

    /// Continues a state over tokens, (rows, length, d_model), rows a multiple of the state's.
    fn pass(&self, tokens: &Tensor, state: &LayerState, keep_state: bool) -> Result<Pass> {
        let [window, ssm_state] = parts(state)?;
        let projected = tokens.linear(&self.in_proj, None::<&Tensor>).chunk(2, -1);
        let [x, z] = &projected[..] else { unreachable!("chunk(2) of an even size gives two") };
        let taps = self.conv1d_weight.squeeze_dim(1);
        let convolution = CausalConv1d {
            bias: Some(&self.conv1d_bias),
            silu: true,
            initial_window: Some(window),
            ..CausalConv1d::new(x, &taps)
        };
        let (u, window) = convolution.run(keep_state)?;
        let sizes = [self.dt_rank, self.d_state, self.d_state];
        let selected = u.linear(&self.x_proj, None::<&Tensor>).split_with_sizes(sizes, -1);
        let [low_rank, b, c] = &selected[..] else { unreachable!("three sizes, three parts") };
        let raw_delta = low_rank.linear(&self.dt_proj_weight, None::<&Tensor>);
        let a = self.a();
        let scan = SelectiveScan {
            d: Some(&self.d),
            z: Some(z),
            delta_bias: Some(&self.dt_proj_bias),
            delta_softplus: true,
            initial_state: Some(ssm_state),
            ..SelectiveScan::new(&u, &raw_delta, &a, b, c)
        };
        let (y, ssm_state) = scan.run(keep_state)?;
        Ok(Pass {
            output: y.linear(&self.out_proj, None::<&Tensor>),
            state: LayerState(vec![window, ssm_state]),
            raw_delta,
            b: b.shallow_clone(),
            c: c.shallow_clone(),
        })
    }

    /// A = -exp(A_log): negative, so that states decay. In float32 at least, as the states.
    fn a(&self) -> Tensor {
        self.a_log.to_kind(state_kind(self.a_log.kind())).exp().neg()
    }

    fn delta(&self, pass: &Pass) -> Tensor {
        (&pass.raw_delta + &self.dt_proj_bias).softplus()
    }

    fn keys(&self, pass: &Pass, association: Association) -> Keys {
        let similarity = Similarity::InnerProduct;
        let plain = |log_weight| Keys { features: pass.b.unsqueeze(1), log_weight, similarity };
        match association {
            Association::Content => plain(None),
            Association::Gated => {
                let step = self.delta(pass).mean_dim(-1, false, None::<Kind>); // (batch, tokens)
                plain(Some(log_step(&step).unsqueeze(1)))
            }
            Association::Decayed => {
                // What the state after the stream holds of token j, as features (d_inner, d_state):
                // exp(A (delta_{j+1} + ... + delta_T)) delta_j B_j. Every exponent is negative.
                let delta = self.delta(pass); // (batch, tokens, d_inner)
                let sum = delta.cumsum(1, None::<Kind>);
                let later = sum.narrow(1, -1, 1) - &sum;
                let kept = (later.unsqueeze(-1) * self.a()).exp();
                let written = delta.unsqueeze(-1) * pass.b.unsqueeze(-2);
                let features = (kept * written).flatten(2, 3).unsqueeze(1);
                Keys { features, log_weight: None, similarity }
            }
        }
    }

    /// Queries of `batch` streams, grouped by stream.
    fn queries(&self, pass: &Pass, association: Association, batch: i64) -> Queries {
        let features = match association {
            Association::Content | Association::Gated => pass.c.squeeze_dim(1),
            Association::Decayed => {
                // C_t exp(A delta_t), averaged over channels.
                let delta = self.delta(pass).squeeze_dim(1); // (rows, d_inner)
                let decay = (delta.unsqueeze(-1) * self.a()).exp();
                (decay * &pass.c / self.d.size()[0]).flatten(1, 2)
            }
        }; // (rows, features)
        let width = features.size()[1];
        Queries { features: features.view([batch, 1, -1, width]) }
    }
}

fn parts(state: &LayerState) -> Result<[&Tensor; 2]> {
    state.parts("a Mamba layer", ["conv_window", "ssm_state"])
}

impl Mixer for Mamba {
    /// `conv_window` (d_inner, d_conv - 1) and `ssm_state` (d_inner, d_state).
    fn state_specs(&self) -> Vec<StateSpec> {
        let (d_inner, taps) = (self.d.size()[0], self.conv1d_weight.size()[2]);
        vec![
            StateSpec::new("conv_window", &[d_inner, taps - 1]),
            StateSpec::new("ssm_state", &[d_inner, self.d_state]),
        ]
    }

    fn observe(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Observed> {
        let pass = self.pass(tokens, state, true)?;
        let keys = association.map(|association| self.keys(&pass, association));
        Ok(Observed { output: pass.output, state: pass.state, keys })
    }

    fn answer(
        &self,
        tokens: &Tensor,
        state: &LayerState,
        association: Option<Association>,
    ) -> Result<Answered> {
        let pass = self.pass(tokens, state, false)?;
        let batch = state.0[0].size()[0];
        let queries = association.map(|association| self.queries(&pass, association, batch));
        Ok(Answered { output: pass.output, queries })
    }

    fn step(
        &self,
        x: &Tensor,
        (norm_weight, norm_epsilon): (&Tensor, f64),
        state: &LayerState,
        keep_state: bool,
    ) -> Result<Option<Stepped>> {
        let [conv_window, ssm_state] = parts(state)?;
        let step = MambaStep {
            x,
            norm_weight,
            norm_epsilon,
            in_proj: &self.in_proj,
            conv_weight: &self.conv1d_weight,
            conv_bias: &self.conv1d_bias,
            x_proj: &self.x_proj,
            dt_weight: &self.dt_proj_weight,
            dt_bias: &self.dt_proj_bias,
            a_log: &self.a_log,
            d: &self.d,
            out_proj: &self.out_proj,
            conv_window,
            ssm_state,
        };
        Ok(step.run(keep_state)?.map(|stepped| {
            let state = stepped.state.map(|(window, state)| LayerState(vec![window, state]));
            Stepped { output: stepped.output, state }
        }))
    }
}
