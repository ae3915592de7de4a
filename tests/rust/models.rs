//! Small learners to test with, and what they read.

use crate::draw::Draw;
use mambacl::backbone::ExpertsConfig;
use mambacl::encoder::{CnnConfig, VectorConfig};
use mambacl::error::Error;
use mambacl::learners::{
    AnmlConfig, BayesConfig, GemclConfig, InterfaceConfig, Learner, LearnerConfig, OmlConfig, Predictive,
    PrototypeConfig, SequenceConfig,
};
use mambacl::meta::Episode;
use mambacl::mixers::{
    MixerConfig, attention::AttentionConfig, gated_delta_net::GatedDeltaNetConfig,
    linear_attention::LinearAttentionConfig, mamba::MambaConfig, mamba2::Mamba2Config, mamba3::Mamba3Config,
    performer::PerformerConfig,
};
use mambacl::params::Schema;
use mambacl::target::{ClassTarget, VectorTarget};
use tch::{Device, Kind, Tensor, nn::VarStore};

pub const VOCAB: i64 = 6;
/// Numbers in an input of the vector encoder.
pub const INPUT: i64 = 5;

/// Vectors in, classes out.
pub fn interface() -> InterfaceConfig {
    InterfaceConfig {
        encoder: VectorConfig { dim: INPUT, hidden: vec![7] }.into(),
        target: ClassTarget { vocab: VOCAB }.into(),
        d_model: 8,
    }
}

/// Vectors in, vectors of 3 out.
pub fn regressing() -> InterfaceConfig {
    InterfaceConfig { target: VectorTarget { dim: 3 }.into(), ..interface() }
}

/// Grey images of 6 x 6 in, classes out.
pub fn images() -> InterfaceConfig {
    let cnn = CnnConfig { in_channels: 1, image_size: 6, channels: vec![3, 4], strides: vec![1, 2] };
    InterfaceConfig { encoder: cnn.into(), ..interface() }
}

/// Settings that make a learner: those of a memory stand behind [`interface`].
pub trait Settings {
    fn learner(self) -> LearnerConfig;
}

impl Settings for LearnerConfig {
    fn learner(self) -> LearnerConfig {
        self
    }
}

macro_rules! settings_of_memories {
    ($($Config:ty),*) => {
        $(impl Settings for $Config {
            fn learner(self) -> LearnerConfig {
                LearnerConfig::new(interface(), self)
            }
        })*
    };
}

settings_of_memories!(SequenceConfig, PrototypeConfig, GemclConfig, BayesConfig, OmlConfig, AnmlConfig);

/// Two layers of Mamba, without the regulariser.
pub fn classifier() -> SequenceConfig {
    SequenceConfig {
        n_layer: 2,
        mixer: MambaConfig { d_state: 4, ..MambaConfig::default() }.into(),
        selectivity: None,
        ..SequenceConfig::default()
    }
}

/// A classifier of images.
pub fn image_classifier() -> LearnerConfig {
    LearnerConfig::new(images(), classifier())
}

/// A regressor from vectors to vectors.
pub fn regressor() -> LearnerConfig {
    LearnerConfig::new(regressing(), classifier())
}

/// A slow encoder and a fast network of one hidden layer, which learns in large steps.
pub fn oml() -> OmlConfig {
    OmlConfig { hidden: vec![7], inner_lr: 0.2 }
}

/// A gated network of two hidden layers, which learns in large steps.
pub fn anml() -> AnmlConfig {
    AnmlConfig { hidden: Some(vec![7, 4]), inner_lr: 0.2 }
}

/// The setting that a sequence learner of a mixer is refused for.
pub fn refused(mixer: impl Into<MixerConfig>, d_model: i64) -> String {
    let interface = InterfaceConfig { d_model, ..interface() };
    let config = LearnerConfig::new(interface, SequenceConfig { mixer: mixer.into(), ..classifier() });
    match config.schema() {
        Err(Error::Config { field, .. }) => field,
        other => panic!("{:?}", other.map(drop)),
    }
}

/// A learner to try the laws on.
pub struct Case {
    pub name: &'static str,
    pub config: LearnerConfig,
    /// Numbers in the memory of one stream after as many examples.
    pub numbers: fn(usize) -> usize,
}

/// A small sequence learner with another mixer.
fn sequence(mixer: impl Into<MixerConfig>) -> LearnerConfig {
    SequenceConfig { mixer: mixer.into(), ..classifier() }.learner()
}

/// Small learners of every kind.
pub fn cases() -> Vec<Case> {
    // Two layers of 16 channels, each with 3 inputs and 4 states.
    let mamba = |_| 2 * 16 * (3 + 4);
    let experts = ExpertsConfig { n_expert: 3, top_k: 2, ..ExpertsConfig::default() };
    let experts = SequenceConfig { feed_forward: Some(experts.into()), ..classifier() };
    let attention = AttentionConfig { n_head: 2, d_key: Some(3), d_value: None };
    let linear = LinearAttentionConfig { n_head: 2, d_key: Some(3), d_value: None };
    let delta = GatedDeltaNetConfig { n_head: 2, d_key: Some(3), ..GatedDeltaNetConfig::default() };
    let mamba3 = Mamba3Config { d_state: 6, headdim: 8, ..Mamba3Config::default() };
    let performer = PerformerConfig { n_head: 2, d_key: Some(3), ..PerformerConfig::default() };
    let mamba2 = Mamba2Config { d_state: 4, headdim: 8, ..Mamba2Config::default() };
    let gemcl = |predictive| GemclConfig { predictive }.learner();
    let bayes = BayesConfig { d_latent: 5, d_hidden: 7 };
    let regressing = LearnerConfig::new(regressing(), bayes.clone());
    let d_model = interface().d_model;
    let case = |name, config, numbers| Case { name, config, numbers };
    let classes = VOCAB as usize;
    assert_eq!((classes, d_model), (6, 8));
    vec![
        case("mamba", classifier().learner(), mamba),
        case("regression by mamba", regressor(), mamba),
        case("images by mamba", image_classifier(), mamba),
        case("mamba and experts", experts.learner(), mamba),
        // Two layers and heads, two tokens an example, keys of 3 and values of 4.
        case("attention", sequence(attention), |n| 2 * 2 * (2 * n) * (3 + 4)),
        // Two layers and heads, keys of 3 and values of 8, with 3 inputs of each channel.
        case("gated delta net", sequence(delta), |_| 2 * 2 * (3 * 8 + 3 * (2 * 3 + 8))),
        // Two layers and heads of 8 channels, each with 6 states, of which a pair turns.
        case("mamba3", sequence(mamba3), |_| 2 * 2 * (1 + 8 * 6 + 6 + 8)),
        // Two layers and heads, keys of 3, values of 4 and a normaliser.
        case("linear attention", sequence(linear), |_| 2 * 2 * 3 * (4 + 1)),
        // Two layers and heads, 4 features of keys of 3; their scale and the projection.
        case("performer", sequence(performer), |_| 2 * (2 * 4 * (4 + 1) + 2 + 4 * 3)),
        // Two layers of 16 channels with 4 states; B and C have windows of 3 inputs too.
        case("mamba2", sequence(mamba2), |_| 2 * (16 * 4 + (16 + 2 * 4) * 3)),
        case("prototype", PrototypeConfig {}.learner(), |_| 6 * (1 + 8)),
        case("gemcl", gemcl(Predictive::StudentT), |_| 6 * (1 + 2 * 8)),
        case("gemcl at the mode", gemcl(Predictive::Map), |_| 6 * (1 + 2 * 8)),
        case("bayes", bayes.learner(), |_| 6 * 2 * 5),
        case("regression by bayes", regressing, |_| 2 * 5),
        case("oml", oml().learner(), |_| 7 * (8 + 1) + 6 * (7 + 1)),
        case("anml", anml().learner(), |_| 7 * (5 + 1) + 4 * (7 + 1) + 6 * (4 + 1)),
        // Images of 6 x 6, then 3 channels of 3 x 3 and 4 of 2 x 2.
        case(
            "images by anml",
            LearnerConfig::new(images(), AnmlConfig { hidden: Some(vec![3, 4]), ..anml() }),
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
    pub fn new(config: impl Settings, kind: Kind) -> Self {
        let config = config.learner();
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
    pub fn draw(config: impl Settings, kind: Kind, [batch, examples, queries]: [i64; 3], seed: u64) -> Self {
        let config = config.learner();
        let mut draw = Draw::new(seed);
        let shape = config.encoder().settings().input_shape();
        let mut inputs = |n: i64| draw.normal(&[&[batch, n], &shape[..]].concat()).to_kind(kind);
        let (train_x, test_x) = (inputs(examples), inputs(queries));
        let mut targets = |n: i64| match config.target().vocab() {
            Some(vocab) => draw.below(vocab, &[batch, n]),
            None => draw.normal(&[batch, n, config.target().width()]).to_kind(kind),
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
