//! Small learners to test with, and what they read.

use crate::draw::Draw;
use mambacl::backbone::{ExpertsConfig, FeedForwardConfig};
use mambacl::encoder::{CnnConfig, EncoderConfig, VectorConfig};
use mambacl::learners::{
    AnmlConfig, BayesConfig, GemclConfig, Learner, LearnerConfig, OmlConfig, Predictive, PrototypeConfig,
    SequenceConfig,
};
use mambacl::meta::Episode;
use mambacl::mixers::{
    MixerConfig, gated_delta_net::GatedDeltaNetConfig, heads::HeadsConfig, mamba::MambaConfig,
    mamba2::Mamba2Config, mamba3::Mamba3Config, performer::PerformerConfig,
};
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
        ..SequenceConfig::default()
    }
}

/// A classifier of grey images of 6 x 6.
pub fn image_classifier() -> SequenceConfig {
    let cnn = CnnConfig { in_channels: 1, image_size: 6, channels: vec![3, 4], strides: vec![1, 2] };
    SequenceConfig { encoder: EncoderConfig::Cnn(cnn), ..classifier() }
}

/// A regressor from vectors to vectors of 3.
pub fn regressor() -> SequenceConfig {
    SequenceConfig { target: TargetConfig::Vector { dim: 3 }, ..classifier() }
}

/// A slow encoder and a fast network of one hidden layer, which learns in large steps.
pub fn oml() -> OmlConfig {
    let SequenceConfig { d_model, encoder, target, .. } = classifier();
    OmlConfig { d_model, encoder, target, hidden: vec![7], inner_lr: 0.2 }
}

/// A gated network of two hidden layers, which learns in large steps.
pub fn anml() -> AnmlConfig {
    let SequenceConfig { d_model, encoder, target, .. } = classifier();
    AnmlConfig { d_model, encoder, target, hidden: Some(vec![7, 4]), inner_lr: 0.2 }
}

/// A learner to try the laws on.
pub struct Case {
    pub name: &'static str,
    pub config: LearnerConfig,
    /// Numbers in the memory of one stream after as many examples.
    pub numbers: fn(usize) -> usize,
}

/// A small sequence learner with another mixer.
fn sequence(mixer: MixerConfig) -> LearnerConfig {
    SequenceConfig { mixer, ..classifier() }.into()
}

/// Small learners of every kind.
pub fn cases() -> Vec<Case> {
    // Two layers of 16 channels, each with 3 inputs and 4 states.
    let mamba = |_| 2 * 16 * (3 + 4);
    let experts = ExpertsConfig { n_expert: 3, top_k: 2, ..ExpertsConfig::default() };
    let experts = Some(FeedForwardConfig::Experts(experts));
    let attention = HeadsConfig { n_head: 2, d_key: Some(3), d_value: None };
    let delta = GatedDeltaNetConfig { n_head: 2, d_key: Some(3), ..GatedDeltaNetConfig::default() };
    let mamba3 = Mamba3Config { d_state: 6, headdim: 8, ..Mamba3Config::default() };
    let linear = attention.clone();
    let performer = PerformerConfig { n_head: 2, d_key: Some(3), ..PerformerConfig::default() };
    let mamba2 = Mamba2Config { d_state: 4, headdim: 8, ..Mamba2Config::default() };
    let SequenceConfig { d_model, encoder, target, .. } = classifier();
    let (e, t) = (encoder.clone(), target.clone());
    let prototype = PrototypeConfig { d_model, encoder: e, target: t };
    let gemcl = |predictive| {
        let (encoder, target) = (encoder.clone(), target.clone());
        LearnerConfig::Gemcl(GemclConfig { d_model, encoder, target, predictive })
    };
    let (encoder, target) = (encoder.clone(), target.clone());
    let bayes = BayesConfig { d_model, encoder, target, d_latent: 5, d_hidden: 7 };
    let regressing = BayesConfig { target: regressor().target, ..bayes.clone() };
    let case = |name, config, numbers| Case { name, config, numbers };
    let classes = VOCAB as usize;
    assert_eq!((classes, d_model), (6, 8));
    vec![
        case("mamba", classifier().into(), mamba),
        case("regression by mamba", regressor().into(), mamba),
        case("images by mamba", image_classifier().into(), mamba),
        case("mamba and experts", SequenceConfig { feed_forward: experts, ..classifier() }.into(), mamba),
        // Two layers and heads, two tokens an example, keys of 3 and values of 4.
        case("attention", sequence(MixerConfig::Attention(attention)), |n| 2 * 2 * (2 * n) * (3 + 4)),
        // Two layers and heads, keys of 3 and values of 8, with 3 inputs of each channel.
        case("gated delta net", sequence(MixerConfig::GatedDeltaNet(delta)), |_| {
            2 * 2 * (3 * 8 + 3 * (2 * 3 + 8))
        }),
        // Two layers and heads of 8 channels, each with 6 states, of which a pair turns.
        case("mamba3", sequence(MixerConfig::Mamba3(mamba3)), |_| 2 * 2 * (1 + 8 * 6 + 6 + 8)),
        // Two layers and heads, keys of 3, values of 4 and a normaliser.
        case("linear attention", sequence(MixerConfig::LinearAttention(linear)), |_| 2 * 2 * 3 * (4 + 1)),
        // Two layers and heads, 4 features of keys of 3; their scale and the projection.
        case("performer", sequence(MixerConfig::Performer(performer)), |_| 2 * (2 * 4 * (4 + 1) + 2 + 4 * 3)),
        // Two layers of 16 channels with 4 states; B and C have windows of 3 inputs too.
        case("mamba2", sequence(MixerConfig::Mamba2(mamba2)), |_| 2 * (16 * 4 + (16 + 2 * 4) * 3)),
        case("prototype", LearnerConfig::Prototype(prototype), |_| 6 * (1 + 8)),
        case("gemcl", gemcl(Predictive::StudentT), |_| 6 * (1 + 2 * 8)),
        case("gemcl at the mode", gemcl(Predictive::Map), |_| 6 * (1 + 2 * 8)),
        case("bayes", LearnerConfig::Bayes(bayes), |_| 6 * 2 * 5),
        case("regression by bayes", LearnerConfig::Bayes(regressing), |_| 2 * 5),
        case("oml", LearnerConfig::Oml(oml()), |_| 7 * (8 + 1) + 6 * (7 + 1)),
        case("anml", LearnerConfig::Anml(anml()), |_| 7 * (5 + 1) + 4 * (7 + 1) + 6 * (4 + 1)),
        // Images of 6 x 6, then 3 channels of 3 x 3 and 4 of 2 x 2.
        case(
            "images by anml",
            LearnerConfig::Anml(AnmlConfig {
                encoder: image_classifier().encoder,
                hidden: Some(vec![3, 4]),
                ..anml()
            }),
            |_| 3 * (9 + 1) + 4 * (3 * 9 + 1) + 6 * (4 * 2 * 2 + 1),
        ),
    ]
}

/// A learner whose tensors a `VarStore` holds.
pub struct Model {
    pub variables: VarStore,
    pub schema: Schema,
    pub tensors: Vec<Tensor>,
    pub learner: Learner,
}

impl Model {
    pub fn new(config: impl Into<LearnerConfig>, kind: Kind) -> Self {
        let config = config.into();
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
        config: impl Into<LearnerConfig>,
        kind: Kind,
        [batch, examples, queries]: [i64; 3],
        seed: u64,
    ) -> Self {
        let config = config.into();
        let mut draw = Draw::new(seed);
        let shape: &[i64] = match config.encoder() {
            EncoderConfig::Cnn(cnn) => &[cnn.in_channels, cnn.image_size, cnn.image_size],
            EncoderConfig::Vector(vector) => &[vector.dim],
        };
        let mut inputs = |n: i64| draw.normal(&[&[batch, n], shape].concat()).to_kind(kind);
        let (train_x, test_x) = (inputs(examples), inputs(queries));
        let mut targets = |n: i64| match *config.target() {
            TargetConfig::Class { vocab } => draw.below(vocab, &[batch, n]),
            TargetConfig::Vector { dim } | TargetConfig::Angle { dim } => {
                draw.normal(&[batch, n, dim]).to_kind(kind)
            }
        };
        let (train_y, test_y) = (targets(examples), targets(queries));
        let codebook = config
            .target()
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
