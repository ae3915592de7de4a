//! Checks of an operation's arguments that name the argument, what it should be and what it is.

use super::layout::axes;
use crate::error::{Error, Result};
use tch::{Kind, Tensor};

/// Checks the arguments of one operation against its leading argument.
pub(crate) struct Check {
    op: &'static str,
    kind: Kind,
    device: tch::Device,
}

impl Check {
    /// The leading argument decides the device and the element types allowed.
    pub fn new(op: &'static str, argument: &str, leading: &Tensor) -> Result<Self> {
        match leading.f_kind() {
            Ok(kind @ (Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16)) => {
                Ok(Self { op, kind, device: leading.device() })
            }
            _ => Err(Error::Dtype {
                op,
                argument: argument.into(),
                expected: "float32, float64, bfloat16 or float16".into(),
                got: dtype_name(leading).into(),
            }),
        }
    }

    /// A floating argument of a given shape: float64 when the leading one is, else float32 or half.
    pub fn floating(&self, argument: &str, tensor: &Tensor, shape: &[i64], names: &str) -> Result<()> {
        self.shape(argument, tensor, shape, names)?;
        let kind = tensor.f_kind();
        let (allowed, expected) = if self.kind == Kind::Double {
            (matches!(kind, Ok(Kind::Double)), "float64, as the first argument")
        } else {
            let allowed = matches!(kind, Ok(Kind::Float | Kind::Half | Kind::BFloat16));
            (allowed, "float32, bfloat16 or float16, as the first argument is not float64")
        };
        if !allowed {
            return Err(Error::Dtype {
                op: self.op,
                argument: argument.into(),
                expected: expected.into(),
                got: dtype_name(tensor).into(),
            });
        }
        self.device(argument, tensor)
    }

    /// The real lengths of the sequences: int64 of shape (batch).
    pub fn lengths(&self, tensor: &Tensor, batch: i64) -> Result<()> {
        self.shape("lengths", tensor, &[batch], "(batch)")?;
        if !matches!(tensor.f_kind(), Ok(Kind::Int64)) {
            return Err(Error::Dtype {
                op: self.op,
                argument: "lengths".into(),
                expected: "int64".into(),
                got: dtype_name(tensor).into(),
            });
        }
        self.device("lengths", tensor)
    }

    /// A state of shape (groups, rest...) with `groups` a divisor of the batch, or 0 for a batch of 0.
    /// Returns the groups.
    pub fn state(
        &self,
        argument: &str,
        tensor: &Tensor,
        batch: i64,
        rest: [i64; 2],
        names: &str,
    ) -> Result<i64> {
        match axes::<3>(tensor) {
            Some([groups, channels, steps]) if [channels, steps] == rest && divides(groups, batch) => {
                self.floating(argument, tensor, &[groups, channels, steps], names)?;
                Ok(groups)
            }
            _ => {
                let expected = format!("{names} = (a divisor of {batch}, {}, {})", rest[0], rest[1]);
                let argument = argument.into();
                Err(Error::Shape { op: self.op, argument, expected, got: tensor.size() })
            }
        }
    }

    fn shape(&self, argument: &str, tensor: &Tensor, shape: &[i64], names: &str) -> Result<()> {
        let fits = match *shape {
            [one] => axes(tensor) == Some([one]),
            [one, two] => axes(tensor) == Some([one, two]),
            [one, two, three] => axes(tensor) == Some([one, two, three]),
            _ => tensor.size() == shape,
        };
        if fits {
            return Ok(());
        }
        let sizes: Vec<_> = shape.iter().map(i64::to_string).collect();
        Err(Error::Shape {
            op: self.op,
            argument: argument.into(),
            expected: format!("{names} = ({})", sizes.join(", ")),
            got: tensor.size(),
        })
    }

    fn device(&self, argument: &str, tensor: &Tensor) -> Result<()> {
        if tensor.device() == self.device {
            return Ok(());
        }
        Err(Error::Device {
            op: self.op,
            argument: argument.into(),
            expected: format!("{:?}, as the first argument", self.device),
            got: format!("{:?}", tensor.device()),
        })
    }
}

/// Whether so many groups share a batch evenly; a batch of none is of no group.
fn divides(groups: i64, batch: i64) -> bool {
    if groups == 0 { batch == 0 } else { batch % groups == 0 }
}

/// The sizes of a tensor with three axes.
pub(crate) fn three_axes(
    op: &'static str,
    argument: &str,
    tensor: &Tensor,
    names: &str,
) -> Result<(i64, i64, i64)> {
    axes(tensor).map(|[one, two, three]| (one, two, three)).ok_or_else(|| Error::Shape {
        op,
        argument: argument.into(),
        expected: names.into(),
        got: tensor.size(),
    })
}

/// The sizes of a tensor with two axes.
pub(crate) fn two_axes(op: &'static str, argument: &str, tensor: &Tensor, names: &str) -> Result<(i64, i64)> {
    axes(tensor).map(|[one, two]| (one, two)).ok_or_else(|| Error::Shape {
        op,
        argument: argument.into(),
        expected: names.into(),
        got: tensor.size(),
    })
}

/// Checks that each argument of an operation is of a real floating type, which may differ among them, and
/// on the device of the first.
pub(crate) fn all_floating<'a>(
    op: &'static str,
    arguments: impl IntoIterator<Item = (&'static str, &'a Tensor)>,
) -> Result<()> {
    let mut device = None;
    for (argument, tensor) in arguments {
        Check::new(op, argument, tensor)?;
        let first = *device.get_or_insert(tensor.device());
        if tensor.device() != first {
            let (expected, got) = (format!("{first:?}"), format!("{:?}", tensor.device()));
            return Err(Error::Device { op, argument: argument.into(), expected, got });
        }
    }
    Ok(())
}

/// A tensor's element type by torch's name for it. tch does not know all types, and its `kind` panics
/// at those: what users give is asked for its type with `f_kind`.
pub(crate) fn dtype_name(tensor: &Tensor) -> &'static str {
    tensor.f_kind().map_or("an unusual dtype", kind_name)
}

/// An element type by torch's name for it.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Uint8 => "uint8",
        Kind::Int8 => "int8",
        Kind::Int16 => "int16",
        Kind::Int => "int32",
        Kind::Int64 => "int64",
        Kind::Half => "float16",
        Kind::Float => "float32",
        Kind::Double => "float64",
        Kind::BFloat16 => "bfloat16",
        Kind::Bool => "bool",
        Kind::ComplexFloat => "complex64",
        Kind::ComplexDouble => "complex128",
        _ => "an unusual dtype",
    }
}

/// The type that states and sums are kept in: float64 for float64, else float32.
pub(crate) fn state_kind(kind: Kind) -> Kind {
    if kind == Kind::Double { Kind::Double } else { Kind::Float }
}
