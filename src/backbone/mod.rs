//! The backbone: residual blocks of a mixer and, if any, a feed-forward layer, and their states.
//!
//! ```text
//! x <- x + mixer(norm(x))      x <- x + feed_forward(norm(x))
//! ```

mod experts;
mod feed_forward;
mod norm;
mod positions;

pub use experts::ExpertsConfig;
pub use feed_forward::{FeedForward, FeedForwardConfig, FeedForwardSettings, MlpConfig, NoConfig};
pub use norm::NormConfig;
pub use positions::sinusoidal;

use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::mixers::{Association, Keys, Mixer, MixerConfig, Queries, Stepped};
use crate::params::Path;
use norm::Norm;
use tch::{Device, Kind, Tensor};

/// What all blocks are made of.
#[derive(Clone, Copy)]
pub struct BlockConfig<'a> {
    /// Numbers in a token.
    pub d_model: i64,
    /// What mixes along the stream.
    pub mixer: &'a MixerConfig,
    /// What follows it.
    pub feed_forward: &'a FeedForwardConfig,
    /// What is before each.
    pub norm: NormConfig,
}

struct Block {
    norm: Norm,
    mixer: Box<dyn Mixer>,
    feed_forward: Option<(Norm, Box<dyn FeedForward>)>,
}

impl Block {
    fn new(path: &Path, config: BlockConfig) -> Result<Self> {
        let norm = |name| Norm::new(&path.sub(name), config.norm, config.d_model);
        let path_after = path.sub("feed_forward");
        let feed_forward = match config.feed_forward.settings().build(&path_after, config.d_model)? {
            Some(layer) => Some((norm("feed_forward_norm")?, layer)),
            None => None,
        };
        Ok(Self {
            norm: norm("norm")?,
            mixer: config.mixer.settings().build(&path.sub("mixer"), config.d_model)?,
            feed_forward,
        })
    }

    /// Norm, mixer and residual of a few tokens in one pass, where that serves; see [`Mixer::step`].
    fn step(
        &self,
        x: &Tensor,
        state: &LayerState,
        association: Option<Association>,
        keep_state: bool,
    ) -> Result<Option<Stepped>> {
        match (self.norm.rms(), association) {
            (Some(norm), None) => self.mixer.step(x, norm, state, keep_state),
            _ => Ok(None),
        }
    }

    /// What follows the mixer; the balance of experts is added up.
    fn finish(&self, x: Tensor, balance: &mut Option<Tensor>) -> Tensor {
        let Some((norm, layer)) = &self.feed_forward else { return x };
        let (output, own) = layer.forward(&norm.forward(&x));
        *balance = match (balance.take(), own) {
            (Some(sum), Some(own)) => Some(sum + own),
            (sum, own) => sum.or(own),
        };
        x + output
    }
}

/// What a backbone makes of a stream.
pub struct Read {
    /// The states after it.
    pub states: Vec<LayerState>,
    /// What the tokens are found by, for every layer with an association asked for.
    pub keys: Vec<Option<Keys>>,
    /// The loss that keeps experts in use, a number; where there are experts.
    pub balance: Option<Tensor>,
}

/// What a backbone makes of queries.
pub struct Answer {
    /// (batch, queries, d_model)
    pub output: Tensor,
    /// What the queries look for, for every layer with an association asked for.
    pub queries: Vec<Option<Queries>>,
    /// As [`Read::balance`].
    pub balance: Option<Tensor>,
}

/// A stack of blocks and a last norm.
pub struct Backbone {
    blocks: Vec<Block>,
    norm_f: Norm,
}

impl Backbone {
    /// Binds the tensors of all layers.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, config: BlockConfig, n_layer: i64) -> Result<Self> {
        let block = |index| Block::new(&path.sub("layers").sub(index), config);
        Ok(Self {
            blocks: (0..n_layer).map(block).collect::<Result<_>>()?,
            norm_f: Norm::new(&path.sub("norm_f"), config.norm, config.d_model)?,
        })
    }

    /// The states of all layers before any token.
    pub fn initial_states(&self, batch: i64, draw: u64, options: (Kind, Device)) -> Vec<LayerState> {
        self.blocks.iter().map(|block| block.mixer.initial_state(batch, draw, options)).collect()
    }

    /// The tensors of each layer's state, in order.
    pub fn state_specs(&self) -> Vec<Vec<StateSpec>> {
        self.blocks.iter().map(|block| block.mixer.state_specs()).collect()
    }

    /// Reads tokens, (batch, length, d_model). `balanced` asks for the balance of experts.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn observe(
        &self,
        tokens: Tensor,
        states: &[LayerState],
        associations: &[Option<Association>],
        balanced: bool,
    ) -> Result<Read> {
        let mut x = tokens;
        let mut read = Read { states: Vec::new(), keys: Vec::new(), balance: None };
        for ((block, state), association) in self.blocks.iter().zip(states).zip(associations) {
            // Nobody reads what comes after the last mixer, but its experts learn to be balanced there.
            let experts = block.feed_forward.as_ref().is_some_and(|(_, layer)| layer.balances());
            let read_on = read.states.len() + 1 < self.blocks.len() || (experts && balanced);
            if let Some(Stepped { output, state: Some(state) }) = block.step(&x, state, *association, true)? {
                read.states.push(state);
                read.keys.push(None);
                x = output;
            } else {
                let observed = block.mixer.observe(&block.norm.forward(&x), state, *association)?;
                read.states.push(observed.state);
                read.keys.push(observed.keys);
                if read_on {
                    x = x + observed.output;
                }
            }
            if read_on {
                x = block.finish(x, &mut read.balance);
            }
        }
        Ok(read)
    }

    /// Answers queries, (batch, queries, d_model), each alone, from states that stay as they are.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn answer(
        &self,
        tokens: &Tensor,
        states: &[LayerState],
        associations: &[Option<Association>],
    ) -> Result<Answer> {
        let mut x = tokens.flatten(0, 1).unsqueeze(1); // (batch x queries, 1, d_model)
        let (mut queries, mut balance) = (Vec::new(), None);
        for ((block, state), association) in self.blocks.iter().zip(states).zip(associations) {
            if let Some(stepped) = block.step(&x, state, *association, false)? {
                queries.push(None);
                x = stepped.output;
            } else {
                let answered = block.mixer.answer(&block.norm.forward(&x), state, *association)?;
                queries.push(answered.queries);
                x = x + answered.output;
            }
            x = block.finish(x, &mut balance);
        }
        Ok(Answer { output: self.norm_f.forward(&x).view_as(tokens), queries, balance })
    }
}
