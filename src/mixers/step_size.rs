//! The step size of state-space models: the range it is first drawn from, and its logarithm.

use crate::error::{Error, Result};
use tch::Tensor;

/// The smallest step size whose logarithm is taken: softplus may underflow.
const SMALLEST: f64 = 1e-30;

/// Checks the range that step sizes are first drawn from.
///
/// # Errors
/// When it is empty or not of positive numbers.
pub(super) fn check_range(dt_min: f64, dt_max: f64) -> Result<()> {
    if dt_min > 0.0 && dt_min <= dt_max && dt_max.is_finite() {
        return Ok(());
    }
    let reason = format!("must lie in (0, dt_max = {dt_max}], got {dt_min}");
    Err(Error::Config { field: "mixer.dt_min".into(), reason })
}

/// The logarithm of step sizes, finite.
pub(super) fn log_step(delta: &Tensor) -> Tensor {
    delta.clamp_min(SMALLEST).log()
}
