//! A mixture of experts: each token goes through the few networks that a router chooses
//! (Switch Transformer, arXiv:2101.03961; top-k as in arXiv:1701.06538).
//!
//! ```text
//! p = softmax(router x),   y = sum over the k largest p_e of  p_e / (sum of those) * expert_e(x)
//!                          y = p_e expert_e(x) for k = 1
//! balance = E * sum_e f_e P_e      f: share of the choices that fall on e, P: mean of p_e
//! ```
//!
//! The balance is 1 when tokens are spread evenly, and grows as they crowd; its gradient flows
//! through P.

use super::feed_forward::{FeedForward, FeedForwardSettings};
use crate::error::{Error, Result};
use crate::ops::may_follow;
use crate::params::{Init, Path};
use crate::settings::ranges::{Size, Weight};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// A mixture of experts (arXiv:2101.03961): each token goes through the few networks that a router chooses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpertsConfig {
    /// Networks to choose from.
    #[schemars(with = "Size")]
    pub n_expert: i64,
    /// Networks that a token uses.
    #[schemars(with = "Size")]
    pub top_k: i64,
    /// Width of each one's hidden layer; None for 2 d_model.
    #[schemars(with = "Option<Size>")]
    pub d_hidden: Option<i64>,
    /// Weight in the loss of n_expert sum_e f_e P_e, f being the shares of the choices and P the mean probabilities of
    /// the experts: 1 when tokens are spread evenly.
    #[schemars(with = "Weight")]
    pub balance: f64,
}

impl Default for ExpertsConfig {
    fn default() -> Self {
        Self { n_expert: 4, top_k: 2, d_hidden: None, balance: 1e-2 }
    }
}

impl FeedForwardSettings for ExpertsConfig {
    fn build(&self, path: &Path, d_model: i64) -> Result<Option<Box<dyn FeedForward>>> {
        Ok(Some(Box::new(Experts::new(path, self, d_model)?)))
    }
}

/// A mixture of experts with its tensors bound.
pub struct Experts {
    top_k: i64,
    balance: f64,
    /// (n_expert, d_model)
    router: Tensor,
    /// (n_expert, d_hidden, d_model), (n_expert, d_hidden)
    hidden: [Tensor; 2],
    /// (n_expert, d_model, d_hidden), (n_expert, d_model)
    output: [Tensor; 2],
}

impl Experts {
    /// Binds the tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &ExpertsConfig, d_model: i64) -> Result<Self> {
        let ExpertsConfig { n_expert, top_k, balance, .. } = *config;
        let d_hidden = config.d_hidden.unwrap_or(2 * d_model);
        if top_k > n_expert {
            let reason = format!("must be at most n_expert = {n_expert}, got {top_k}");
            return Err(Error::Config { field: "feed_forward.top_k".into(), reason });
        }
        let (hidden, output) = (path.sub("hidden"), path.sub("output"));
        let (first, second) = (Init::fan_in(d_model), Init::fan_in(d_hidden));
        Ok(Self {
            top_k,
            balance,
            router: path.sub("router").parameter("weight", &[n_expert, d_model], first)?,
            hidden: [
                hidden.parameter("weight", &[n_expert, d_hidden, d_model], first)?,
                hidden.undecayed("bias", &[n_expert, d_hidden], first)?,
            ],
            output: [
                output.parameter("weight", &[n_expert, d_model, d_hidden], second)?,
                output.undecayed("bias", &[n_expert, d_model], second)?,
            ],
        })
    }
}

impl FeedForward for Experts {
    fn balances(&self) -> bool {
        true
    }

    /// Each token, (..., d_model), through its experts; and the weighted balance, a number.
    fn forward(&self, x: &Tensor) -> (Tensor, Option<Tensor>) {
        let tokens = x.flatten(0, -2); // (tokens, d_model)
        let n_expert = self.router.size()[0];
        let shares = tokens.linear(&self.router, None::<&Tensor>).softmax(-1, None::<Kind>);
        let (largest, chosen) = shares.topk(self.top_k, -1, true, true); // (tokens, top_k)
        // Of a single expert the share itself, as in the Switch Transformer: divided by itself it would
        // teach the router nothing.
        let weights = match self.top_k {
            1 => largest,
            _ => &largest / largest.sum_dim_intlist(-1, true, None::<Kind>),
        };
        let weights = Tensor::zeros_like(&shares).scatter_add(-1, &chosen, &weights);
        let mut output = tokens.zeros_like();
        for expert in 0..n_expert {
            let of = |parts: &[Tensor; 2]| [parts[0].select(0, expert), parts[1].select(0, expert)];
            let ([hidden, hidden_bias], [out, out_bias]) = (of(&self.hidden), of(&self.output));
            // Only the tokens that chose it: (their number, d_model). Elsewhere than on the CPU all: the host
            // would wait for their number, and no graph of CUDA could be captured. All too where torch traces.
            let rows =
                may_follow(&chosen).then(|| chosen.eq(expert).any_dim(-1, false).nonzero().squeeze_dim(-1));
            let own = |of: &Tensor| match &rows {
                Some(rows) => of.index_select(0, rows),
                None => of.shallow_clone(),
            };
            let answers =
                own(&tokens).linear(&hidden, Some(&hidden_bias)).gelu("none").linear(&out, Some(&out_bias));
            let share = own(&weights.select(1, expert)).unsqueeze(-1);
            let answers = (answers * share).to_kind(output.kind());
            output = match &rows {
                Some(rows) => output.index_add(0, rows, &answers),
                None => output + answers,
            };
        }
        // Not `one_hot`, which reads the numbers.
        let experts = Tensor::arange(n_expert, (Kind::Int64, chosen.device()));
        let counts = chosen.flatten(0, 1).unsqueeze(-1).eq_tensor(&experts).to_kind(shares.kind());
        let choices = counts.mean_dim(0, false, None::<Kind>);
        let balance = (choices * shares.mean_dim(0, false, None::<Kind>)).sum(None::<Kind>);
        (output.view_as(x), Some(balance * (n_expert as f64 * self.balance)))
    }
}
