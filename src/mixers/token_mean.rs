//! The smallest mixer, for the tests of this crate: each token becomes the mean of the tokens so far, times a weight.
//!
//! It shows what a new mixer takes: this file, and two lines of `mod.rs`.

use super::{Answered, Association, Mixer, MixerSettings, Observed};
use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::params::{Init, Path};
use crate::settings::ranges::Positive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// The mean of the tokens so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenMeanConfig {
    /// The first value of the weight.
    #[schemars(with = "Positive")]
    pub weight: f64,
}

impl Default for TokenMeanConfig {
    fn default() -> Self {
        Self { weight: 1.0 }
    }
}

impl MixerSettings for TokenMeanConfig {
    fn build(&self, path: &Path, d_model: i64) -> Result<Box<dyn Mixer>> {
        let weight = path.parameter("weight", &[1], Init::Constant(self.weight))?;
        Ok(Box::new(TokenMean { d_model, weight }))
    }

    fn associations(&self) -> &'static [Association] {
        &[]
    }
}

struct TokenMean {
    d_model: i64,
    /// (1)
    weight: Tensor,
}

impl TokenMean {
    /// Sums and counts up to each token of a stream, (rows, length, d_model) and (rows, length, 1).
    fn sums(tokens: &Tensor, state: &LayerState) -> Result<[Tensor; 2]> {
        let [sum, count] = state.parts("a mean of tokens", ["sum", "count"])?;
        let (batch, rows) = (sum.size()[0], tokens.size()[0]);
        let shared = |tensor: &Tensor| tensor.repeat_interleave_self_int(rows / batch, 0, None).unsqueeze(1);
        let ones = tokens.narrow(-1, 0, 1).ones_like();
        Ok([shared(sum) + tokens.cumsum(1, None::<Kind>), shared(count) + ones.cumsum(1, None::<Kind>)])
    }
}

impl Mixer for TokenMean {
    /// `sum` (d_model) and `count` (1).
    fn state_specs(&self) -> Vec<StateSpec> {
        vec![StateSpec::new("sum", &[self.d_model]), StateSpec::new("count", &[1])]
    }

    fn observe(&self, tokens: &Tensor, state: &LayerState, _: Option<Association>) -> Result<Observed> {
        let [sum, count] = Self::sums(tokens, state)?;
        let last = |tensor: &Tensor| tensor.select(1, -1);
        let state = LayerState(vec![last(&sum), last(&count)]);
        Ok(Observed { output: sum / count * &self.weight, state, keys: None })
    }

    fn answer(&self, tokens: &Tensor, state: &LayerState, _: Option<Association>) -> Result<Answered> {
        let [sum, count] = Self::sums(tokens, state)?;
        Ok(Answered { output: sum / count * &self.weight, queries: None })
    }
}

#[cfg(test)]
mod tests {
    use crate::files::{Model, SavedState};
    use crate::learners::LearnerConfig;
    use std::path::Path;
    use tch::{Device, Kind, Tensor};

    const SETTINGS: &str = r#"{"d_model": 4, "encoder": {"kind": "vector", "dim": 3}, "selectivity": null,
        "target": {"kind": "class", "vocab": 2}, "mixer": {"kind": "token_mean", "weight": 0.5}}"#;

    #[test]
    fn a_new_mixer_goes_from_json_to_a_state_file() {
        let config = LearnerConfig::from_json(SETTINGS).unwrap();
        let schema = config.schema().unwrap();
        let model = Model { tensors: schema.initial(0), config, schema };
        let model = Model::unpack("it", &model.pack().unwrap()).unwrap();
        let learner = model.bind().unwrap();
        let codebook = Tensor::arange(2, (Kind::Int64, Device::Cpu)).unsqueeze(0);
        let initial = learner.initial_state(1, Some(&codebook), 0).unwrap();
        let x = Tensor::arange(6, (Kind::Float, Device::Cpu)).view([1, 2, 3]);
        let y = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
        let state = learner.observe(&initial, &x, &y).unwrap();
        assert_eq!(state.layers[0].0[1].double_value(&[0, 0]), 4.0, "two tokens an example");
        let file = SavedState::uniform(state.shallow_clone()).pack(&model).unwrap();
        let again = SavedState::unpack("it", &file, &model).unwrap().state;
        let answers = [&state, &again].map(|state| learner.predict(state, &x, None).unwrap().output);
        assert!(answers[0].equal(&answers[1]));
    }

    #[test]
    fn a_new_mixer_takes_its_own_file_and_two_lines() {
        fn lines(folder: &Path, found: &mut Vec<(String, usize)>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    lines(&path, found);
                } else if let Ok(text) = std::fs::read_to_string(&path) {
                    let named = text.lines().filter(|line| line.contains("token_mean")).count();
                    let name = path.file_name().unwrap().to_string_lossy().into_owned();
                    found.extend((named > 0).then_some((name, named)));
                }
            }
        }
        let mut found = Vec::new();
        lines(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        found.retain(|(name, _)| name != "token_mean.rs");
        assert_eq!(found, [("mod.rs".to_owned(), 2)]);
    }
}
