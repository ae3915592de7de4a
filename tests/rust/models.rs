//! Small learners to test with, and what they read.

use crate::draw::Draw;
use mambacl::encoder::{CnnConfig, EncoderConfig, VectorConfig};
use mambacl::learners::{SequenceConfig, SequenceLearner};
use mambacl::meta::Episode;
use mambacl::mixers::{MixerConfig, mamba::MambaConfig};
use mambacl::params::Schema;
use mambacl::target::TargetConfig;
use tch::{Device, Kind, Tensor, nn::VarStore};

pub const VOCAB: i64 = 6;
/// Numbers in an input of the vector encoder.
pub const INPUT: i64 = 5;

/// A classifier of vectors.
pub fn classifier() -> SequenceConfig {
    SequenceConfig {
        d_model: 8,
        n_layer: 2,
        encoder: EncoderConfig::Vector(VectorConfig { dim: INPUT, hidden: vec![7] }),
        target: TargetConfig::Class { vocab: VOCAB },
        mixer: MixerConfig::Mamba(MambaConfig { d_state: 4, ..MambaConfig::default() }),
        selectivity: None,
    }
}

/// A classifier of grey images of 6 x 6.
pub fn image_classifier() -> SequenceConfig {
    let cnn = CnnConfig { in_channels: 1, image_size: 6, channels: vec![3, 4] };
    SequenceConfig { encoder: EncoderConfig::Cnn(cnn), ..classifier() }
}

/// A regressor from vectors to vectors of 3.
pub fn regressor() -> SequenceConfig {
    SequenceConfig { target: TargetConfig::Vector { dim: 3 }, ..classifier() }
}

/// A learner whose tensors a `VarStore` holds.
pub struct Model {
    pub variables: VarStore,
    pub schema: Schema,
    pub tensors: Vec<Tensor>,
    pub learner: SequenceLearner,
}

impl Model {
    pub fn new(config: &SequenceConfig, kind: Kind) -> Self {
        let mut variables = VarStore::new(Device::Cpu);
        let schema = config.schema().unwrap();
        let tensors = schema.variables(&variables.root(), 0);
        variables.set_kind(kind);
        let learner = config.bind(&schema, &tensors).unwrap();
        Self { variables, schema, tensors, learner }
    }

    /// The tensor of a name.
    pub fn tensor(&self, name: &str) -> &Tensor {
        let place = self.schema.specs().iter().position(|spec| spec.name == name);
        &self.tensors[place.unwrap_or_else(|| panic!("no tensor {name}"))]
    }

    /// Copies of the buffers, in order.
    pub fn buffers(&self) -> Vec<Tensor> {
        let pairs = self.schema.specs().iter().zip(&self.tensors);
        let buffers = pairs.filter(|(spec, _)| spec.role == mambacl::params::Role::Buffer);
        buffers.map(|(_, tensor)| tensor.copy()).collect()
    }
}

/// Streams and queries of any learner here.
pub struct Streams {
    pub train_x: Tensor,
    pub train_y: Tensor,
    pub test_x: Tensor,
    pub test_y: Tensor,
    pub codebook: Option<Tensor>,
}

impl Streams {
    pub fn draw(
        config: &SequenceConfig,
        kind: Kind,
        [batch, examples, queries]: [i64; 3],
        seed: u64,
    ) -> Self {
        let mut draw = Draw::new(seed);
        let shape: &[i64] = match &config.encoder {
            EncoderConfig::Cnn(cnn) => &[cnn.in_channels, cnn.image_size, cnn.image_size],
            EncoderConfig::Vector(vector) => &[vector.dim],
        };
        let mut inputs = |n: i64| draw.normal(&[&[batch, n], shape].concat()).to_kind(kind);
        let (train_x, test_x) = (inputs(examples), inputs(queries));
        let mut targets = |n: i64| match config.target {
            TargetConfig::Class { vocab } => draw.below(vocab, &[batch, n]),
            TargetConfig::Vector { dim } | TargetConfig::Angle { dim } => {
                draw.normal(&[batch, n, dim]).to_kind(kind)
            }
        };
        let (train_y, test_y) = (targets(examples), targets(queries));
        let codebook = config
            .target
            .vocab()
            .map(|vocab| mambacl::codebook::draw(vocab, seed, batch).expect("sizes in range"));
        Self { train_x, train_y, test_x, test_y, codebook }
    }

    pub fn batch(&self) -> i64 {
        self.train_x.size()[0]
    }

    pub fn episode(&self) -> Episode<'_> {
        Episode {
            train_x: &self.train_x,
            train_y: &self.train_y,
            test_x: &self.test_x,
            test_y: &self.test_y,
            codebook: self.codebook.as_ref(),
            train_task: None,
            test_task: None,
        }
    }
}
