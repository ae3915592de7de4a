//! Fast weights: a network that learns within a stream, by a step of gradient descent on each example.
//!
//! ```text
//! W_t = W_{t-1} - η ∇ loss(network(x_t; W_{t-1}), y_t)        in each stream by itself
//! ```
//!
//! What meta-training learns is W_0, ln η and all that makes x. The gradient is written out in tensor
//! operations instead of asked of autograd: so a stream is read without any, and in meta-training
//! autograd goes through the steps as through any function. That is the second-order gradient of MAML
//! (arXiv:1703.03400), through all steps.
//!
//! The state is W_t: `weight` and `bias` of each layer, as many numbers as the network has. Nothing
//! bounds a step: at a rate too large the weights become huge, infinite or NaN, and what comes of them
//! is no error here; meta-training refuses a loss that is not finite.

use super::fast_layer::{FastLayer, Form};
use super::fast_weights::FastWeights;
use super::inner_loss::InnerLoss;
use super::memory::{Answer, Inputs, Memory, Read};
use crate::error::Result;
use crate::layer_state::{LayerState, StateSpec};
use crate::params::{Init, Path};
use crate::target::TargetConfig;
use tch::{Device, Kind, Tensor};

/// A network of fast weights, with ReLU after each layer but the last.
pub(super) struct FastNetwork {
    layers: Vec<FastLayer>,
    loss: InnerLoss,
    /// ln η, (1)
    log_rate: Tensor,
}

/// Examples or queries as the network takes them.
pub(super) struct Entries {
    /// (batch, n, input shape...)
    pub x: Tensor,
    /// What multiplies the last layer's inputs, (batch, n, width); of gated networks.
    pub gates: Option<Tensor>,
}

/// A learner whose state is a network of fast weights.
pub(super) struct FastMemory<Enter> {
    pub network: FastNetwork,
    /// Makes entries of inputs.
    pub enter: Enter,
}

/// A forward pass, as the backward one needs it.
struct Pass {
    /// What each layer's matrix is multiplied with, (batch, rows, in).
    rows: Vec<Tensor>,
    /// The outputs of each layer but the last after ReLU, (batch, rows, out).
    hidden: Vec<Tensor>,
    /// (batch, n, width)
    output: Tensor,
}

impl FastNetwork {
    /// Binds a network of layers of the given forms, the last of which answers.
    ///
    /// # Errors
    /// When a setting is out of range, or a tensor does not fit.
    pub fn new(path: &Path, forms: Vec<Form>, target: &TargetConfig, inner_lr: f64) -> Result<Self> {
        let layer = |(index, form)| FastLayer::new(&path.sub("fast").sub(index), form);
        Ok(Self {
            loss: InnerLoss::new(target),
            layers: forms.into_iter().enumerate().map(layer).collect::<Result<_>>()?,
            log_rate: path.undecayed("log_inner_lr", &[1], Init::Constant(inner_lr.ln()))?,
        })
    }

    /// `weight` (out, in) and `bias` (out) of each layer.
    pub fn state_specs(&self) -> Vec<Vec<StateSpec>> {
        self.layers.iter().map(FastLayer::state_specs).collect()
    }

    /// W_0, for each stream.
    pub fn initial_layers(&self, batch: i64, kind: Kind) -> Vec<LayerState> {
        self.layers.iter().map(|layer| layer.initial(batch, kind)).collect()
    }

    /// The weights after a stream, with targets as symbols int64 (batch, n) or vectors (batch, n, dim).
    pub fn learn(&self, before: &[LayerState], stream: &Entries, targets: &Tensor) -> Vec<LayerState> {
        let kind = before[0].0[0].kind();
        let n = stream.x.size()[1];
        // Cut once: for each narrowed example, autograd would fill a gradient of the whole stream.
        let rows = self.layers[0].enter(&stream.x.to_kind(kind));
        let rows = rows.split(rows.size()[1] / n, 1);
        let gates = stream.gates.as_ref().map(|gates| gates.to_kind(kind).split(1, 1));
        let wanted = self.loss.wanted(targets, kind).split(1, 1);
        let rate = self.log_rate.to_kind(kind).exp();
        let mut weights: Vec<_> = before.iter().map(FastWeights::of).collect();
        for (index, (rows, wanted)) in rows.into_iter().zip(&wanted).enumerate() {
            let gate = gates.as_ref().map(|gates| &gates[index]);
            let pass = self.forward(&weights, rows, gate, 1);
            // All gradients are linear in that by the output: the rate comes in once, here.
            let descent = self.loss.gradient(&pass.output, wanted) * -&rate;
            weights = self.step(&weights, &pass, gate, descent);
        }
        weights.into_iter().map(FastWeights::into_state).collect()
    }

    /// Answers to queries, (batch, n, width).
    pub fn answer(&self, state: &[LayerState], queries: &Entries) -> Tensor {
        let kind = state[0].0[0].kind();
        let gates = queries.gates.as_ref().map(|gates| gates.to_kind(kind));
        let rows = self.layers[0].enter(&queries.x.to_kind(kind));
        let weights: Vec<_> = state.iter().map(FastWeights::of).collect();
        self.forward(&weights, rows, gates.as_ref(), queries.x.size()[1]).output
    }

    fn forward(&self, weights: &[FastWeights], rows: Tensor, gate: Option<&Tensor>, n: i64) -> Pass {
        let last = self.layers.len() - 1;
        let mut pass = Pass { rows: vec![rows], hidden: Vec::new(), output: Tensor::new() };
        for (index, layer) in weights.iter().take(last).enumerate() {
            let hidden = layer.forward(&pass.rows[index]).relu();
            let mut rows = self.layers[index + 1].rows(&hidden, n);
            if let (true, Some(gate)) = (index + 1 == last, gate) {
                rows = rows * gate;
            }
            pass.hidden.push(hidden);
            pass.rows.push(rows);
        }
        pass.output = weights[last].forward(&pass.rows[last]);
        pass
    }

    /// The weights after a step, by `descent`: -η times the gradient by the output, (batch, 1, width).
    fn step(
        &self,
        weights: &[FastWeights],
        pass: &Pass,
        gate: Option<&Tensor>,
        mut descent: Tensor,
    ) -> Vec<FastWeights> {
        let last = self.layers.len() - 1;
        let mut after = Vec::with_capacity(last + 1);
        for index in (1..=last).rev() {
            after.push(weights[index].step(&descent, &pass.rows[index]));
            let mut back = weights[index].backward(&descent);
            if let (true, Some(gate)) = (index == last, gate) {
                back = back * gate;
            }
            // Through ReLU, where it was open.
            descent = pass.hidden[index - 1].threshold_backward(&self.layers[index].back(&back), 0);
        }
        after.push(weights[0].step(&descent, &pass.rows[0]));
        after.reverse();
        after
    }
}

impl<Enter: Fn(&Inputs) -> Entries> Memory for FastMemory<Enter> {
    fn state_specs(&self) -> Vec<Vec<StateSpec>> {
        self.network.state_specs()
    }

    fn initial_layers(&self, batch: i64, _draw: u64, (kind, _): (Kind, Device)) -> Vec<LayerState> {
        self.network.initial_layers(batch, kind)
    }

    fn observe(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        targets: &Tensor,
        _record: bool,
    ) -> Result<Read> {
        Ok(Read::only(self.network.learn(layers, &(self.enter)(inputs), targets)))
    }

    fn answer(
        &self,
        layers: &[LayerState],
        _examples: i64,
        inputs: &Inputs,
        _record: bool,
    ) -> Result<Answer> {
        let output = self.network.answer(layers, &(self.enter)(inputs));
        Ok(Answer::only(output.to_kind(inputs.encoded.kind())))
    }
}
