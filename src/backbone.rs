//! The backbone: pre-norm residual blocks of a mixer, and the states of its layers.

use crate::error::Result;
use crate::mixers::{Association, Keys, LayerState, Mixer, MixerConfig, Queries};
use crate::params::{Init, Path};
use tch::Tensor;

const EPSILON: f64 = 1e-5;

/// RMSNorm (arXiv:1910.07467).
struct RmsNorm {
    /// (d_model)
    weight: Tensor,
}

impl RmsNorm {
    fn new(path: &Path, d_model: i64) -> Result<Self> {
        Ok(Self { weight: path.undecayed("weight", &[d_model], Init::Constant(1.0))? })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        // Under autocast x may be of half precision; the norm is taken in the weight's.
        let x = x.to_kind(self.weight.kind());
        x.rms_norm(self.weight.size(), Some(&self.weight), EPSILON)
    }
}

struct Block {
    norm: RmsNorm,
    mixer: Box<dyn Mixer>,
}

/// A stack of blocks, x + mixer(norm(x)), and a last norm.
pub struct Backbone {
    blocks: Vec<Block>,
    norm_f: RmsNorm,
}

impl Backbone {
    /// Binds the tensors of all layers.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, mixer: &MixerConfig, d_model: i64, n_layer: i64) -> Result<Self> {
        let block = |index| {
            let path = path.sub("layers").sub(index);
            Ok(Block {
                norm: RmsNorm::new(&path.sub("norm"), d_model)?,
                mixer: mixer.build(&path.sub("mixer"), d_model)?,
            })
        };
        Ok(Self {
            blocks: (0..n_layer).map(block).collect::<Result<_>>()?,
            norm_f: RmsNorm::new(&path.sub("norm_f"), d_model)?,
        })
    }

    /// The states of all layers before any token.
    pub fn initial_states(&self, batch: i64) -> Vec<LayerState> {
        self.blocks.iter().map(|block| block.mixer.initial_state(batch)).collect()
    }

    /// The names of a layer's state tensors, in order.
    pub fn state_names(&self) -> &'static [&'static str] {
        self.blocks.first().map_or(&[], |block| block.mixer.state_names())
    }

    /// Reads tokens, (batch, length, d_model). Returns the states after them and, for every layer
    /// with an association asked for, the tokens' keys.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn observe(
        &self,
        tokens: Tensor,
        states: &[LayerState],
        associations: &[Option<Association>],
    ) -> Result<(Vec<LayerState>, Vec<Option<Keys>>)> {
        let mut x = tokens;
        let (mut after, mut keys) = (Vec::new(), Vec::new());
        for ((block, state), association) in self.blocks.iter().zip(states).zip(associations) {
            let observed = block.mixer.observe(&block.norm.forward(&x), state, *association)?;
            x = x + observed.output;
            after.push(observed.state);
            keys.push(observed.keys);
        }
        Ok((after, keys))
    }

    /// Answers queries, (batch, queries, d_model), each alone, from states that stay as they are.
    /// Returns outputs of the same shape and, for every layer with an association asked for, what
    /// the queries look for.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn answer(
        &self,
        tokens: &Tensor,
        states: &[LayerState],
        associations: &[Option<Association>],
    ) -> Result<(Tensor, Vec<Option<Queries>>)> {
        let mut x = tokens.flatten(0, 1).unsqueeze(1); // (batch x queries, 1, d_model)
        let mut queries = Vec::new();
        for ((block, state), association) in self.blocks.iter().zip(states).zip(associations) {
            let answered = block.mixer.answer(&block.norm.forward(&x), state, *association)?;
            x = x + answered.output;
            queries.push(answered.queries);
        }
        Ok((self.norm_f.forward(&x).view_as(tokens), queries))
    }
}
