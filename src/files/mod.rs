//! Learners and states as files: read with nothing but this crate, written by Python or by Rust.
//!
//! A file is one of safetensors. Its metadata has the key `mambacl`, whose text is JSON:
//!
//! ```text
//! {"format": 1, "holds": "learner" or "state", "facts": {...}, "sha256": "..."}
//! ```
//!
//! `sha256` is that of the whole file, with zeros where its own 64 digits stand: a file that was cut
//! short or altered is refused. `facts` say what the tensors are; of a state, the [`fingerprint`] of
//! the one model that it continues. Sizes are compared with what the model needs before a tensor is
//! made, so that nothing is allocated beyond the size of the file.
//!
//! ```
//! use mambacl::files::{Model, SavedState};
//! use mambacl::learners::LearnerConfig;
//! use tch::{Kind, Tensor};
//!
//! let json = r#"{"d_model": 8, "encoder": {"kind": "vector", "dim": 3}, "target": {"kind": "vector", "dim": 1}}"#;
//! let config = LearnerConfig::from_json(json)?;
//! let schema = config.schema()?;
//! let tensors = schema.initial(0);
//! let file = Model { config, schema, tensors }.pack()?; // of a trained learner: `Model::read(path)`
//!
//! let model = Model::unpack("model.safetensors", &file)?;
//! let learner = model.bind()?;
//! let state = learner.initial_state(1, None, 0)?;
//! let (x, y) = (Tensor::ones([1, 4, 3], (Kind::Float, tch::Device::Cpu)), Tensor::from(0.5f32));
//! let state = learner.observe(&state, &x, &y.expand([1, 4, 1], false))?;
//! let file = SavedState::uniform(state).pack(&model)?;
//! assert_eq!(SavedState::unpack("state.safetensors", &file, &model)?.counts, [4]);
//! # Ok::<(), mambacl::error::Error>(())
//! ```

mod bytes;
mod container;
mod fingerprint;
mod model;
mod state;

use crate::disk;
use crate::error::Result;
use std::path::Path;

pub use container::FORMAT;
pub use fingerprint::fingerprint;
pub use model::Model;
pub use state::SavedState;

/// Writes bytes as [`Model::write`] does its own, but for reading them again.
///
/// # Errors
/// [`Error::File`](crate::error::Error::File) when they cannot be written.
pub fn write(path: &Path, data: &[u8]) -> Result<()> {
    disk::write(path, data, |_| Ok(()))
}
