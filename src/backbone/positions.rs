//! Sinusoidal positions (arXiv:1706.03762, section 3.5), which go on beyond the length trained on.
//!
//! ```text
//! P[t, 2i] = sin(t / 10000^(2i / d_model))      P[t, 2i + 1] = cos(t / 10000^(2i / d_model))
//! ```

use tch::{Device, Kind, Tensor};

/// The positions `first .. first + count`, (count, d_model).
pub fn sinusoidal(first: i64, count: i64, d_model: i64, (kind, device): (Kind, Device)) -> Tensor {
    // Angles grow with the stream: in float32 they would be off by a tenth of a turn after 1e6 tokens.
    let options = (Kind::Double, device);
    let position = Tensor::arange_start(first, first + count, options).unsqueeze(1);
    let pair = Tensor::arange((d_model + 1) / 2, options);
    let frequency = (pair * (-2.0 * 10_000.0_f64.ln() / d_model as f64)).exp();
    let angle = position * frequency; // (count, d_model / 2)
    let pairs = Tensor::stack(&[angle.sin(), angle.cos()], -1).flatten(1, 2);
    pairs.narrow(1, 0, d_model).to_kind(kind)
}
