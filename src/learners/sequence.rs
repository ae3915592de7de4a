//! MambaCL: a sequence model as a continual learner (arXiv:2310.11952, arXiv:2412.00776).
//!
//! A stream is read as the tokens x_1, y_1, x_2, y_2, …; a query is a token x that continues the
//! state, and its answer is read there. With a state-space mixer the state has a fixed size.

use super::interface::InterfaceConfig;
use super::memory::{Answer, Inputs, Memory, MemorySettings, Read};
use crate::backbone::{
    Backbone, BlockConfig, FeedForwardConfig, MlpConfig, NoConfig, NormConfig, sinusoidal,
};
use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::mixers::mamba::MambaConfig;
use crate::mixers::{Association, MixerConfig};
use crate::params::Path;
use crate::selectivity::SelectivityConfig;
use crate::settings::ranges::Size;
use crate::target::Target;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The tokens of an example: its input's and its target's.
const TOKENS: i64 = 2;

/// A sequence model that reads the stream (arXiv:2310.11952): MambaCL (arXiv:2412.00776), Transformers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SequenceConfig {
    /// Blocks of the backbone.
    #[schemars(with = "Size")]
    pub n_layer: i64,
    /// The layer that mixes along the stream.
    pub mixer: MixerConfig,
    /// The layer that follows the mixer; None for the one that the mixer is published with: an MLP with attentions, no layer
    /// with Mamba.
    pub feed_forward: Option<FeedForwardConfig>,
    /// The norm before both: "rms", or "none" as in the Transformers of CL-as-Seq.
    pub norm: NormConfig,
    /// The regulariser of meta-training; None, or a weight of 0, for none.
    pub selectivity: Option<SelectivityConfig>,
}

impl Default for SequenceConfig {
    fn default() -> Self {
        Self {
            n_layer: 2,
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
    if mixer.settings().usual_feed_forward() { MlpConfig::default().into() } else { NoConfig {}.into() }
}

/// The backbone and the tokens of targets, with their tensors bound.
pub struct Sequence {
    d_model: i64,
    /// Whether tokens have positions.
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
    pub fn new(path: &Path, config: &SequenceConfig, interface: &InterfaceConfig) -> Result<Self> {
        let InterfaceConfig { target, d_model, .. } = interface;
        if let Some(selectivity) = &config.selectivity {
            selectivity.check(config.n_layer)?;
            selectivity.association.check(config.mixer.settings())?;
        }
        let usual = usual_feed_forward(&config.mixer);
        let blocks = BlockConfig {
            d_model: *d_model,
            mixer: &config.mixer,
            feed_forward: config.feed_forward.as_ref().unwrap_or(&usual),
            norm: config.norm,
        };
        let target = Target::new(path, target, *d_model)?;
        let backbone = Backbone::new(&path.sub("backbone"), blocks, config.n_layer)?;
        if let Some(selectivity) = &config.selectivity {
            // After the layers, which check the settings that this rests on.
            let heads = config.mixer.settings().association_heads(selectivity.association, *d_model);
            selectivity.check_heads(heads)?;
        }
        Ok(Self {
            d_model: *d_model,
            positions: config.uses_positions(),
            associations: config.associations(),
            target,
            backbone,
        })
    }

    fn associations(&self, record: bool) -> Vec<Option<Association>> {
        if record { self.associations.clone() } else { vec![None; self.associations.len()] }
    }

    /// Tokens, (batch, n, d_model), at the positions `first`, `first + 1`, …
    fn placed(&self, tokens: Tensor, first: i64, count: i64) -> Tensor {
        if !self.positions {
            return tokens;
        }
        let options = (tokens.kind(), tokens.device());
        tokens + sinusoidal(first, count, self.d_model, options)
    }
}

impl MemorySettings for SequenceConfig {
    fn build(&self, path: &Path, interface: &InterfaceConfig) -> Result<Box<dyn Memory>> {
        Ok(Box::new(Sequence::new(path, self, interface)?))
    }

    fn state_layers(&self, _interface: &InterfaceConfig) -> usize {
        self.n_layer as usize
    }

    fn uses_positions(&self) -> bool {
        self.mixer.settings().uses_positions()
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
