//! Heads: the projections that softmax and linear attention share.

use crate::error::{Error, Result};
use crate::params::{Init, Path};
use tch::{Kind, Tensor};

/// d_key and d_value of each of `n_head` heads, as given or by default: keys share d_model, and values are `wider`
/// times as wide.
///
/// # Errors
/// When the heads cannot share d_model.
pub(super) fn head_sizes(
    n_head: i64,
    [d_key, d_value]: [Option<i64>; 2],
    d_model: i64,
    wider: i64,
) -> Result<(i64, i64)> {
    if (d_key.is_none() || d_value.is_none()) && d_model % n_head != 0 {
        let reason = format!(
            "must divide d_model = {d_model} where `d_key` and `d_value` are not given, got {n_head}"
        );
        return Err(Error::Config { field: "mixer.n_head".into(), reason });
    }
    let head = d_model / n_head;
    Ok((d_key.unwrap_or(head), d_value.unwrap_or(wider * head)))
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
    pub(super) fn new(path: &Path, n_head: i64, sizes: [Option<i64>; 2], d_model: i64) -> Result<Self> {
        let (d_key, d_value) = head_sizes(n_head, sizes, d_model, 1)?;
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
