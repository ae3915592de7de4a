//! A small convolutional network: 3x3 convolutions, then a linear map to `d_model`.

use super::batch_norm::{Normalised, Statistics};
use super::{EncoderSettings, Network};
use crate::error::{Error, Result};
use crate::params::Path;
use crate::settings::ranges::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Of a convolution whose stride is not given.
const STRIDE: i64 = 2;

/// A small convolutional network for square images, trained with the learner.
///
/// 3x3 convolutions with batch normalisation and ReLU, then a linear map with batch normalisation. Statistics come from
/// the stream alone; queries never affect them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CnnConfig {
    /// Channels of the images: 1 for grey, 3 for colour.
    #[schemars(with = "Size")]
    pub in_channels: i64,
    /// Height and width of the images in pixels.
    #[schemars(with = "Size")]
    pub image_size: i64,
    /// Channels after each convolution.
    #[schemars(with = "Vec<Size>")]
    pub channels: Vec<i64>,
    /// Stride of each convolution; empty for 2, which halves height and width.
    #[schemars(with = "Vec<Size>")]
    pub strides: Vec<i64>,
}

impl Default for CnnConfig {
    fn default() -> Self {
        Self { in_channels: 1, image_size: 32, channels: vec![32, 64, 128], strides: Vec::new() }
    }
}

impl EncoderSettings for CnnConfig {
    fn input_shape(&self) -> Vec<i64> {
        vec![self.in_channels, self.image_size, self.image_size]
    }

    fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Network>> {
        Ok(Box::new(Cnn::new(path, self, d_model)?))
    }
}

/// The image encoder with its tensors bound.
pub struct Cnn {
    strides: Vec<i64>,
    convolutions: Vec<Normalised>,
    projection: Normalised,
}

impl Cnn {
    /// Binds the encoder's tensors.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &CnnConfig, d_model: i64) -> Result<Self> {
        if config.channels.is_empty() {
            let reason = "must be a list of sizes, got none".into();
            return Err(Error::Config { field: "encoder.channels".into(), reason });
        }
        let strides = match &config.strides[..] {
            [] => vec![STRIDE; config.channels.len()],
            strides if strides.len() == config.channels.len() => strides.to_vec(),
            strides => {
                let (count, got) = (config.channels.len(), strides.len());
                let reason = format!("must be one for each of the {count} `channels`, got {got}");
                return Err(Error::Config { field: "encoder.strides".into(), reason });
            }
        };
        let (mut before, mut side) = (config.in_channels, config.image_size);
        let mut convolutions = Vec::new();
        for (index, &channels) in config.channels.iter().enumerate() {
            let path = path.sub("layers").sub(index);
            convolutions.push(Normalised::new(&path, "conv", &[channels, before, 3, 3])?);
            (before, side) = (channels, (side - 1) / strides[index] + 1);
        }
        let shape = [d_model, before * side * side];
        Ok(Self {
            strides,
            convolutions,
            projection: Normalised::new(&path.sub("projection"), "linear", &shape)?,
        })
    }
}

impl Network for Cnn {
    fn options(&self) -> (Kind, Device) {
        self.projection.options()
    }

    fn forward(&self, images: &Tensor, statistics: &mut Statistics) -> Result<Tensor> {
        let mut x = images.shallow_clone();
        for (convolution, &stride) in self.convolutions.iter().zip(&self.strides) {
            let map = |x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
                x.conv2d(weight, bias, [stride, stride], [1, 1], [1, 1], 1)
            };
            x = convolution.forward(&x, statistics, map)?.relu();
        }
        let map = |x: &Tensor, weight: &Tensor, bias: Option<&Tensor>| x.linear(weight, bias);
        self.projection.forward(&x.flatten(1, -1), statistics, map)
    }
}
