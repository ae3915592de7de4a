//! A mixer by itself, in float64, and what it makes of a stream and of queries.

use crate::agreement::Named;
use crate::draw::Draw;
use mambacl::layer_state::LayerState;
use mambacl::mixers::{Mixer, MixerConfig};
use mambacl::params::Schema;
use tch::{Device, Kind, Tensor};

pub const D_MODEL: i64 = 6;

pub const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

/// A mixer and its tensors by name, which require gradients.
pub struct Layer {
    pub mixer: Box<dyn Mixer>,
    tensors: Named,
}

impl Layer {
    /// With random numbers where a layer starts from constants, so that a mix-up shows.
    pub fn new(config: &MixerConfig) -> Self {
        let schema = Schema::of(|path| config.settings().build(path, D_MODEL)).unwrap();
        let mut draw = Draw::new(11);
        let off = |tensor: &Tensor| tensor.to_kind(Kind::Double) + draw.normal(&tensor.size()) * 0.2;
        let initial = schema.initial(0);
        let tensors: Vec<_> = initial.iter().map(off).map(|tensor| tensor.set_requires_grad(true)).collect();
        let mixer = schema.bind(&tensors, |path| config.settings().build(path, D_MODEL)).unwrap();
        let names = schema.specs().iter().map(|spec| spec.name.clone());
        Self { mixer, tensors: names.zip(tensors).collect() }
    }

    pub fn tensor(&self, name: &str) -> &Tensor {
        &self.tensors.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    pub fn tensors(&self) -> impl Iterator<Item = &(String, Tensor)> {
        self.tensors.iter()
    }

    /// Tokens, (rows, length, d_model), by a weight of the layer: (rows, heads, length, -1).
    pub fn heads(&self, tokens: &Tensor, weight: &str, n_head: i64) -> Tensor {
        let projected = tokens.matmul(&self.tensor(weight).transpose(0, 1));
        projected.unflatten(-1, [n_head, -1]).transpose(1, 2)
    }

    /// Heads, (rows, heads, length, -1), as the layer's output.
    pub fn merged(&self, heads: &Tensor) -> Tensor {
        heads.transpose(1, 2).flatten(2, 3).matmul(&self.tensor("out_proj.weight").transpose(0, 1))
    }
}

/// A stream of two rows, three queries of each, and a state to start from; leaves.
pub struct Given {
    pub stream: Tensor,
    pub queries: Tensor,
    pub state: LayerState,
}

impl Given {
    /// `state` holds the tensors of the state, which are made leaves.
    pub fn draw(length: i64, state: Vec<Tensor>) -> Self {
        let mut draw = Draw::new(length as u64);
        let mut leaf = |shape: &[i64]| draw.normal(shape).set_requires_grad(true);
        let state = state.into_iter().map(|tensor| tensor.detach().copy().set_requires_grad(true));
        Self {
            stream: leaf(&[2, length, D_MODEL]),
            queries: leaf(&[2, 3, D_MODEL]),
            state: LayerState(state.collect()),
        }
    }

    /// What the layer makes of them: outputs of the stream and of the queries, and the state.
    pub fn through(&self, layer: &Layer) -> (Tensor, Tensor, LayerState) {
        let observed = layer.mixer.observe(&self.stream, &self.state, None).unwrap();
        let queries = self.queries.flatten(0, 1).unsqueeze(1);
        let answered = layer.mixer.answer(&queries, &observed.state, None).unwrap();
        (observed.output, answered.output.view_as(&self.queries), observed.state)
    }
}

/// Results by name, and the gradient of a fixed weighting of them by the layer's tensors and by what
/// was given. Tensors without a gradient are left out.
pub fn with_all_gradients(layer: &Layer, given: &Given, results: Vec<(&str, Tensor)>) -> Named {
    let mut draw = Draw::new(99);
    let weighted = |(_, result): &(&str, Tensor)| (result * draw.normal(&result.size())).sum(Kind::Double);
    results.iter().map(weighted).sum::<Tensor>().backward();
    let mut named: Named = results.into_iter().map(|(name, tensor)| (name.into(), tensor.detach())).collect();
    let mut gradient = |name: &str, leaf: &Tensor| {
        if leaf.grad().defined() {
            named.push((format!("gradient by {name}"), leaf.grad()));
        }
    };
    gradient("stream", &given.stream);
    gradient("queries", &given.queries);
    for (index, tensor) in given.state.0.iter().enumerate() {
        gradient(&format!("state {index}"), tensor);
    }
    for (name, tensor) in layer.tensors() {
        gradient(name, tensor);
    }
    named
}
