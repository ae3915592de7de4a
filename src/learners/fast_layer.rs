//! A layer of fast weights: a matrix that each stream has its own of, and what it is multiplied with.
//!
//! A layer sees rows: numbers that go through the matrix together. For a dense layer a row is an
//! example; for a convolution it is a patch of 3x3 pixels, so that a convolution and its gradients are
//! products of matrices too, one for each stream.

use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::params::{Init, Path};
use tch::{Kind, Tensor};

/// Height and width of a convolution's kernel.
const KERNEL: i64 = 3;

/// What a layer is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// A linear map of all numbers of an example, which lie at so many positions.
    Dense { input: i64, positions: i64, output: i64 },
    /// A 3x3 convolution of stride 2 over square images of the given side.
    Conv { input: i64, side: i64, output: i64 },
}

/// A layer with the tensors that its weights start from.
pub(super) struct FastLayer {
    form: Form,
    /// (out, in)
    weight: Tensor,
    /// (out)
    bias: Tensor,
}

impl Form {
    /// Convolutions of the given channels over images, each of which halves the side; and the positions
    /// that the last one's outputs lie at.
    pub fn convolutions(mut input: i64, mut side: i64, channels: &[i64]) -> (Vec<Self>, i64) {
        let mut forms = Vec::new();
        for &output in channels {
            forms.push(Self::Conv { input, side, output });
            (input, side) = (output, (side + 1) / 2);
        }
        (forms, side * side)
    }

    /// Dense layers of the given widths over vectors.
    pub fn dense(mut input: i64, widths: &[i64]) -> Vec<Self> {
        let layer = |&output: &i64| {
            let form = Self::Dense { input, positions: 1, output };
            input = output;
            form
        };
        widths.iter().map(layer).collect()
    }

    /// The size of the matrix, (out, in).
    fn size(self) -> [i64; 2] {
        match self {
            Self::Dense { input, output, .. } => [output, input],
            // Rows have the order of im2col: channels, then the kernel's height and width.
            Self::Conv { input, output, .. } => [output, input * KERNEL * KERNEL],
        }
    }

    /// Xavier's normal distribution (Glorot and Bengio 2010), as in CL-as-Seq.
    fn init(self) -> Init {
        let [output, input] = self.size();
        let fan_out = if let Self::Conv { .. } = self { output * KERNEL * KERNEL } else { output };
        Init::Normal { std: (2.0 / (input + fan_out) as f64).sqrt() }
    }
}

impl FastLayer {
    /// Binds the tensors.
    ///
    /// # Errors
    /// When a tensor does not fit.
    pub fn new(path: &Path, form: Form) -> Result<Self> {
        let size = form.size();
        Ok(Self {
            form,
            weight: path.parameter("weight", &size, form.init())?,
            bias: path.undecayed("bias", &size[..1], Init::Constant(0.0))?,
        })
    }

    /// `weight` (out, in) and `bias` (out).
    pub fn state_specs(&self) -> Vec<StateSpec> {
        let size = self.form.size();
        vec![StateSpec::new("weight", &size), StateSpec::new("bias", &size[..1])]
    }

    /// What the weights start from, for each stream.
    pub fn initial(&self, batch: i64, kind: Kind) -> LayerState {
        // Repeated, not expanded: an optimiser's step would reach into a view.
        let weight = self.weight.to_kind(kind).unsqueeze(0).repeat([batch, 1, 1]);
        let bias = self.bias.to_kind(kind).unsqueeze(0).repeat([batch, 1]);
        LayerState(vec![weight, bias])
    }

    /// Inputs, (batch, n, input shape...), as rows (batch, n * positions, in).
    pub fn enter(&self, x: &Tensor) -> Tensor {
        match self.form {
            Form::Dense { .. } => x.shallow_clone(),
            Form::Conv { .. } => self.rows(&x.flatten(3, 4).transpose(2, 3).flatten(1, 2), x.size()[1]),
        }
    }

    /// The layer before's outputs, (batch, n * positions, channels), as rows.
    pub fn rows(&self, before: &Tensor, n: i64) -> Tensor {
        let batch = before.size()[0];
        match self.form {
            Form::Dense { positions: 1, .. } => before.shallow_clone(),
            Form::Dense { input, .. } => before.reshape([batch, n, input]),
            Form::Conv { input, side, .. } => {
                let images = before.reshape([batch * n, side * side, input]).transpose(1, 2);
                let images = images.reshape([batch * n, input, side, side]);
                let patches = images.im2col([KERNEL, KERNEL], [1, 1], [1, 1], [2, 2]);
                patches.transpose(1, 2).reshape([batch, -1, self.form.size()[1]])
            }
        }
    }

    /// The transpose of [`FastLayer::rows`] with n = 1: what a gradient by rows is by the outputs of the
    /// layer before.
    pub fn back(&self, gradient: &Tensor) -> Tensor {
        let batch = gradient.size()[0];
        match self.form {
            Form::Dense { positions: 1, .. } => gradient.shallow_clone(),
            Form::Dense { positions, .. } => gradient.reshape([batch, positions, -1]),
            Form::Conv { side, .. } => gradient
                .transpose(1, 2)
                .col2im([side, side], [KERNEL, KERNEL], [1, 1], [1, 1], [2, 2])
                .flatten(2, 3)
                .transpose(1, 2),
        }
    }
}
