//! Prototypical network (arXiv:1703.05175): the answer is the class whose mean is nearest.
//!
//! ```text
//! logit of c = -s ‖f(x) - mean of f over the examples of c‖²
//! ```
//!
//! f is the encoder, and s a learned scale (ours: the encoder ends in a norm, which fixes its
//! own). The state is a mean and a count of each symbol.

use super::class_moments::ClassMoments;
use super::interface::InterfaceConfig;
use super::memory::{Answer, Inputs, Memory, MemorySettings, Read};
use super::validate::classes_only;
use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::params::{Init, Path};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// A prototypical network (arXiv:1703.05175): the answer is the class whose mean is nearest. For classes only.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrototypeConfig {}

/// A prototypical network with its tensors bound.
pub struct Prototype {
    vocab: i64,
    d_model: i64,
    /// ln s
    log_scale: Tensor,
}

impl Prototype {
    /// Binds all tensors but the encoder's.
    ///
    /// # Errors
    /// When the target is no class, or a tensor does not fit.
    pub fn new(path: &Path, interface: &InterfaceConfig) -> Result<Self> {
        let InterfaceConfig { d_model, target, .. } = interface;
        let vocab = classes_only(target)?;
        // Distances are of the order of d_model: the first logits lie some units apart.
        let scale = Init::Constant(-0.5 * (*d_model as f64).ln());
        Ok(Self { vocab, d_model: *d_model, log_scale: path.undecayed("log_scale", &[1], scale)? })
    }
}

impl MemorySettings for PrototypeConfig {
    fn build(&self, path: &Path, interface: &InterfaceConfig) -> Result<Box<dyn Memory>> {
        Ok(Box::new(Prototype::new(path, interface)?))
    }
}

impl Memory for Prototype {
    /// `counts` (vocab) and `means` (vocab, d_model).
    fn state_specs(&self) -> Vec<Vec<StateSpec>> {
        vec![vec![
            StateSpec::new("counts", &[self.vocab]),
            StateSpec::new("means", &[self.vocab, self.d_model]),
        ]]
    }

    fn observe(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        targets: &Tensor,
        _record: bool,
    ) -> Result<Read> {
        let after = ClassMoments::of(&layers[0]).with(inputs.encoded, targets);
        Ok(Read::only(vec![after.into_layer()]))
    }

    fn answer(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        _record: bool,
    ) -> Result<Answer> {
        let classes = ClassMoments::of(&layers[0]);
        let logits = -classes.square_distances(inputs.encoded) * self.log_scale.exp();
        Ok(Answer::only(classes.seen_only(&logits)))
    }
}
