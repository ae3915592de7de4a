//! Tensors as bytes, and back.

use crate::error::{Error, Result};
use crate::ops::{bytes, kind_name, tensor_of_bytes};
use safetensors::{Dtype, View};
use std::borrow::Cow;
use tch::{Device, Kind, Tensor};

/// The element types that files have.
const DTYPES: [(Kind, Dtype); 6] = [
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::Int64, Dtype::I64),
    (Kind::Bool, Dtype::BOOL),
];

/// The element type of a kind, None where files have none.
pub(super) fn dtype_of(kind: Kind) -> Option<Dtype> {
    DTYPES.iter().find(|(known, _)| *known == kind).map(|&(_, dtype)| dtype)
}

/// What a tensor holds, apart from libtorch.
#[derive(Debug)]
pub(super) struct Raw {
    pub kind: Kind,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Raw {
    /// A copy of a tensor of any device and layout.
    ///
    /// # Errors
    /// When its element type is none that files have.
    pub fn of(name: &str, tensor: &Tensor) -> Result<Self> {
        let kind = tensor.f_kind()?;
        let Some(dtype) = dtype_of(kind) else {
            let expected = "float16, bfloat16, float32, float64, int64 or bool".into();
            let got = kind_name(kind).into();
            return Err(Error::Dtype { op: "save", argument: name.into(), expected, got });
        };
        let on_cpu =
            if tensor.device().is_cuda() { tensor.f_to_device(Device::Cpu)? } else { tensor.shallow_clone() };
        let data = bytes(&on_cpu, kind, <[u8]>::to_vec).ok_or_else(|| Error::Value {
            op: "save",
            argument: name.into(),
            expected: "a tensor that holds numbers".into(),
            got: "one without memory: on device meta, fake, or inside a transform of torch".into(),
        })?;
        Ok(Self { kind, dtype, shape: tensor.size().iter().map(|&size| size as usize).collect(), data })
    }

    /// Whole numbers in a row.
    pub fn numbers(numbers: &[i64]) -> Self {
        let data = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        Self { kind: Kind::Int64, dtype: Dtype::I64, shape: vec![numbers.len()], data }
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

impl View for &Raw {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

/// A tensor on the CPU, None where the bytes are not of that type and size.
pub(super) fn tensor(data: &[u8], kind: Kind, size: &[i64]) -> Option<Tensor> {
    let width = i64::try_from(kind.elt_size_in_bytes()).ok()?;
    let needed = size.iter().try_fold(width, |bytes, &size| bytes.checked_mul(size))?;
    let whole = usize::try_from(needed) == Ok(data.len());
    // C++ may take a bool that is neither 0 nor 1 for anything.
    let sound = kind != Kind::Bool || data.iter().all(|&byte| byte <= 1);
    (whole && sound).then(|| tensor_of_bytes(data, kind, size))
}
