//! Checks at the public edge of a learner. Numbers are read on the CPU only, where no device waits, and where a
//! tensor has any: a fake one has a shape and no numbers.

use crate::error::{Error, Result};
use crate::ops::{dtype_name, kind_name, numbers};
use crate::target::TargetConfig;
use tch::{Device, Kind, Tensor};

/// Inputs of shape (batch, n, input shape...), with n of at least 1.
pub(super) fn inputs(
    op: &'static str,
    x: &Tensor,
    batch: i64,
    input_shape: &[i64],
    options: (Kind, Device),
) -> Result<()> {
    let got = x.size();
    let fits = got.len() == 2 + input_shape.len() && got[0] == batch && got[2..] == *input_shape;
    if !fits || got[1] < 1 {
        let sizes: Vec<_> = input_shape.iter().map(i64::to_string).collect();
        let expected = format!("(batch = {batch}, n >= 1, {})", sizes.join(", "));
        return Err(Error::Shape { op, argument: "x".into(), expected, got });
    }
    like_model(op, "x", x, options)?;
    finite(op, "x", x)
}

/// Labels int64 (batch, n), each in [0, vocab).
pub(super) fn labels(
    op: &'static str,
    y: &Tensor,
    shape: [i64; 2],
    vocab: i64,
    device: Device,
) -> Result<()> {
    if y.size() != shape {
        let expected = format!("(batch, n) = ({}, {}), as `x`", shape[0], shape[1]);
        return Err(Error::Shape { op, argument: "y".into(), expected, got: y.size() });
    }
    if !matches!(y.f_kind(), Ok(Kind::Int64)) {
        let (expected, got) = ("int64".into(), dtype_name(y).into());
        return Err(Error::Dtype { op, argument: "y".into(), expected, got });
    }
    on_device(op, "y", y, device)?;
    let bounds = numbers(y, |labels: &[i64]| {
        labels.iter().fold((i64::MAX, i64::MIN), |(low, high), &y| (low.min(y), high.max(y)))
    });
    match bounds {
        Some((low, high)) if low < 0 || high >= vocab => {
            let expected = format!("labels in [0, {vocab}), the vocabulary");
            let got = format!("labels from {low} to {high}");
            Err(Error::Value { op, argument: "y".into(), expected, got })
        }
        _ => Ok(()),
    }
}

/// Vectors (batch, n, dim).
pub(super) fn vectors(op: &'static str, y: &Tensor, shape: [i64; 3], options: (Kind, Device)) -> Result<()> {
    if y.size() != shape {
        let [batch, n, dim] = shape;
        let expected = format!("(batch, n, dim) = ({batch}, {n}, {dim})");
        return Err(Error::Shape { op, argument: "y".into(), expected, got: y.size() });
    }
    like_model(op, "y", y, options)?;
    finite(op, "y", y)
}

/// A codebook int64 (batch, vocab), each row a permutation.
pub(super) fn codebook(
    op: &'static str,
    argument: &str,
    codebook: &Tensor,
    vocab: i64,
    device: Device,
) -> Result<()> {
    let got = codebook.size();
    if got.len() != 2 || got[1] != vocab || got[0] < 1 {
        let expected = format!("(batch, vocab = {vocab})");
        return Err(Error::Shape { op, argument: argument.into(), expected, got });
    }
    if !matches!(codebook.f_kind(), Ok(Kind::Int64)) {
        let (expected, got) = ("int64".into(), dtype_name(codebook).into());
        return Err(Error::Dtype { op, argument: argument.into(), expected, got });
    }
    on_device(op, argument, codebook, device)?;
    let rows = |symbols: &[i64]| symbols.chunks_exact(vocab as usize).all(is_permutation);
    if numbers(codebook, rows) == Some(false) {
        return Err(Error::Value {
            op,
            argument: argument.into(),
            expected: format!("a permutation of 0..{vocab} in each row"),
            got: "rows with other or repeated symbols".into(),
        });
    }
    Ok(())
}

/// Whether a row holds each of 0..its length once.
fn is_permutation(row: &[i64]) -> bool {
    let mut found = vec![false; row.len()];
    row.iter().all(|&symbol| {
        let place = usize::try_from(symbol).ok().and_then(|symbol| found.get_mut(symbol));
        place.is_some_and(|found| !std::mem::replace(found, true))
    })
}

/// A tensor of a state.
pub(super) fn of_state(
    op: &'static str,
    argument: &str,
    tensor: &Tensor,
    size: &[i64],
    options: (Kind, Device),
) -> Result<()> {
    if tensor.size() != size {
        let (expected, got) = (format!("{size:?}, as the learner's"), tensor.size());
        return Err(Error::Shape { op, argument: argument.into(), expected, got });
    }
    like_model(op, argument, tensor, options)
}

/// The vocabulary of a learner that is for classes only.
pub(super) fn classes_only(target: &TargetConfig) -> Result<i64> {
    let vocab = target.vocab().ok_or_else(|| {
        let reason = format!("must be `class` for this kind of learner, got `{}`", target.kind());
        Error::Config { field: "target.kind".into(), reason }
    })?;
    Ok(vocab)
}

/// Tasks int64 (batch, n).
pub(super) fn tasks(op: &'static str, argument: &str, task: &Tensor, shape: [i64; 2]) -> Result<()> {
    if task.size() != shape {
        let expected = format!("(batch, n) = ({}, {})", shape[0], shape[1]);
        return Err(Error::Shape { op, argument: argument.into(), expected, got: task.size() });
    }
    if !matches!(task.f_kind(), Ok(Kind::Int64)) {
        let (expected, got) = ("int64".into(), dtype_name(task).into());
        return Err(Error::Dtype { op, argument: argument.into(), expected, got });
    }
    Ok(())
}

fn like_model(
    op: &'static str,
    argument: &str,
    tensor: &Tensor,
    (kind, device): (Kind, Device),
) -> Result<()> {
    if tensor.f_kind().ok() != Some(kind) {
        let expected = format!("{}, as the model's parameters", kind_name(kind));
        let got = dtype_name(tensor).into();
        return Err(Error::Dtype { op, argument: argument.into(), expected, got });
    }
    on_device(op, argument, tensor, device)
}

fn on_device(op: &'static str, argument: &str, tensor: &Tensor, device: Device) -> Result<()> {
    if tensor.device() == device {
        return Ok(());
    }
    let expected = format!("{device:?}, as the model's parameters");
    let got = format!("{:?}", tensor.device());
    Err(Error::Device { op, argument: argument.into(), expected, got })
}

fn finite(op: &'static str, argument: &str, tensor: &Tensor) -> Result<()> {
    if all_finite(tensor) == Some(false) {
        return Err(Error::Value {
            op,
            argument: argument.into(),
            expected: "finite numbers".into(),
            got: "NaN or infinity".into(),
        });
    }
    Ok(())
}

/// Whether all numbers are finite, None where there are none to be read. Read by hand, in one pass without a
/// branch: libtorch takes five, with a tensor for each.
fn all_finite(tensor: &Tensor) -> Option<bool> {
    if tensor.kind() == Kind::Double {
        return numbers(tensor, |all: &[f64]| all.iter().fold(true, |all, number| all & number.is_finite()));
    }
    // In float32 a number of float16 or bfloat16 is what it was.
    numbers(tensor, |all: &[f32]| all.iter().fold(true, |all, number| all & number.is_finite()))
}
