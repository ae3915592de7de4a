//! MambaCL: a sequence model as a continual learner (arXiv:2310.11952, arXiv:2412.00776).
//!
//! A stream is read as the tokens x_1, y_1, x_2, y_2, …; a query is a token x that continues the
//! state, and its answer is read there. With a state-space mixer the state has a fixed size.

use super::memory::{Answer, Inputs, Memory, MemorySettings, Read};
use crate::backbone::{Backbone, BlockConfig, FeedForwardConfig, MlpConfig, NormConfig, sinusoidal};
use crate::encoder::{CnnConfig, EncoderConfig};
use crate::error::{Result, check_size};
use crate::layer_state::{LayerState, StateSpec};
use crate::mixers::mamba::MambaConfig;
use crate::mixers::{Association, MixerConfig};
use crate::params::Path;
use crate::selectivity::SelectivityConfig;
use crate::target::{Target, TargetConfig};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The tokens of an example: its input's and its target's.
const TOKENS: i64 = 2;

/// The settings of a sequence learner.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SequenceConfig {
    /// Numbers in a token.
    pub d_model: i64,
    /// Blocks of the backbone.
    pub n_layer: i64,
    /// From inputs to tokens.
    pub encoder: EncoderConfig,
    /// Targets as tokens and answers.
    pub target: TargetConfig,
    /// The layer that mixes along the stream.
    pub mixer: MixerConfig,
    /// The layer that follows the mixer; what it is published with, when absent.
    pub feed_forward: Option<FeedForwardConfig>,
    /// The norm before both.
    pub norm: NormConfig,
    /// The regulariser of meta-training; `None` (JSON's null), or a weight of 0, for none.
    pub selectivity: Option<SelectivityConfig>,
}

impl Default for SequenceConfig {
    fn default() -> Self {
        Self {
            d_model: 128,
            n_layer: 2,
            encoder: EncoderConfig::Cnn(CnnConfig::default()),
            target: TargetConfig::default(),
            mixer: MixerConfig::Mamba(MambaConfig::default()),
            feed_forward: None,
            norm: NormConfig::default(),
            selectivity: Some(SelectivityConfig::default()),
        }
    }
}

impl SequenceConfig {
    /// The association that the regulariser wants of each layer.
    fn associations(&self) -> Vec<Option<Association>> {
        match self.selectivity.as_ref().filter(|selectivity| selectivity.weight > 0.0) {
            Some(selectivity) => selectivity.associations(self.n_layer),
            None => vec![None; self.n_layer as usize],
        }
    }
}

/// The feed-forward layer that a mixer is published with.
fn usual_feed_forward(mixer: &MixerConfig) -> FeedForwardConfig {
    if mixer.is_attention() {
        FeedForwardConfig::Mlp(MlpConfig::default())
    } else {
        FeedForwardConfig::None {}
    }
}

/// The backbone and the tokens of targets, with their tensors bound.
pub struct Sequence {
    d_model: i64,
    /// Whether tokens are told their positions.
    positions: bool,
    /// What the regulariser wants of each layer.
    associations: Vec<Option<Association>>,
    target: Target,
    backbone: Backbone,
}

impl Sequence {
    /// Binds all tensors but the encoder's.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: &SequenceConfig) -> Result<Self> {
        check_size("n_layer", config.n_layer)?;
        if let Some(selectivity) = &config.selectivity {
            selectivity.check(config.n_layer)?;
            selectivity.association.check(&config.mixer)?;
        }
        let usual = usual_feed_forward(&config.mixer);
        let blocks = BlockConfig {
            d_model: config.d_model,
            mixer: &config.mixer,
            feed_forward: config.feed_forward.as_ref().unwrap_or(&usual),
            norm: config.norm,
        };
        let target = Target::new(path, &config.target, config.d_model)?;
        let backbone = Backbone::new(&path.sub("backbone"), blocks, config.n_layer)?;
        if let Some(selectivity) = &config.selectivity {
            // After the layers, which check the settings that this rests on.
            let heads = config.mixer.association_heads(selectivity.association, config.d_model);
            selectivity.check_heads(heads)?;
        }
        Ok(Self {
            d_model: config.d_model,
            positions: config.tells_positions(),
            associations: config.associations(),
            target,
            backbone,
        })
    }

    fn associations(&self, record: bool) -> Vec<Option<Association>> {
        if record { self.associations.clone() } else { vec![None; self.associations.len()] }
    }

    /// Tokens, (batch, n, d_model), told that they are at `first`, `first + 1`, …
    fn placed(&self, tokens: Tensor, first: i64, count: i64) -> Tensor {
        if !self.positions {
            return tokens;
        }
        let options = (tokens.kind(), tokens.device());
        tokens + sinusoidal(first, count, self.d_model, options)
    }
}

impl MemorySettings for SequenceConfig {
    fn build(&self, path: &Path) -> Result<Box<dyn Memory>> {
        Ok(Box::new(Sequence::new(path, self)?))
    }

    fn state_layers(&self) -> usize {
        self.n_layer as usize
    }

    fn tells_positions(&self) -> bool {
        self.mixer.is_attention()
    }

    fn selectivity(&self) -> Option<&SelectivityConfig> {
        self.selectivity.as_ref()
    }
}

impl Memory for Sequence {
    fn tokens(&self, examples: i64) -> i64 {
        TOKENS * examples
    }

    fn state_specs(&self) -> Vec<Vec<StateSpec>> {
        self.backbone.state_specs()
    }

    fn initial_layers(&self, batch: i64, draw: u64, options: (Kind, Device)) -> Vec<LayerState> {
        self.backbone.initial_states(batch, draw, options)
    }

    fn observe(
        &self,
        layers: &[LayerState],
        examples: i64,
        inputs: &Inputs,
        targets: &Tensor,
        record: bool,
    ) -> Result<Read> {
        // x_1, y_1, x_2, y_2, …: (batch, 2n, d_model)
        let stream = Tensor::stack(&[inputs.encoded, &self.target.embed(targets)], 2).flatten(1, 2);
        let length = stream.size()[1];
        let stream = self.placed(stream, TOKENS * examples, length);
        let read = self.backbone.observe(stream, layers, &self.associations(record), record)?;
        Ok(Read { layers: read.states, keys: read.keys, auxiliary: read.balance })
    }

    fn answer(&self, layers: &[LayerState], examples: i64, inputs: &Inputs, record: bool) -> Result<Answer> {
        // Every query is the next token.
        let tokens = self.placed(inputs.encoded.shallow_clone(), TOKENS * examples, 1);
        let answer = self.backbone.answer(&tokens, layers, &self.associations(record))?;
        Ok(Answer {
            output: self.target.answer(&answer.output),
            queries: answer.queries,
            auxiliary: answer.balance,
        })
    }
}
