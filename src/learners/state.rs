//! What a learner remembers of its streams.

use crate::error::{Error, Result};
use crate::layer_state::LayerState;
use tch::{Kind, Tensor};

/// Labels and symbols of a classifier's streams.
#[derive(Debug)]
pub struct Labels {
    /// The symbol of each label, int64 (batch, vocab).
    pub codebook: Tensor,
    /// Whether a label has been observed, bool (batch, vocab).
    pub seen: Tensor,
}

/// The state of a batch of streams: fixed in size whatever they have seen, but for attention's.
#[derive(Debug)]
pub struct State {
    /// Examples observed by each stream.
    pub examples: i64,
    /// Of a classifier.
    pub labels: Option<Labels>,
    /// The memory of each layer.
    pub layers: Vec<LayerState>,
}

impl State {
    /// The same state, with the same memory.
    pub fn shallow_clone(&self) -> Self {
        let labels = self.labels.as_ref().map(|Labels { codebook, seen }| Labels {
            codebook: codebook.shallow_clone(),
            seen: seen.shallow_clone(),
        });
        let layer = |layer: &LayerState| LayerState(layer.0.iter().map(Tensor::shallow_clone).collect());
        Self { examples: self.examples, labels, layers: self.layers.iter().map(layer).collect() }
    }

    /// The number of streams.
    pub fn batch(&self) -> i64 {
        self.tensors().first().and_then(|tensor| tensor.size().first().copied()).unwrap_or(0)
    }

    /// All tensors: the codebook and the seen labels of a classifier, then layer by layer.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let labels = self.labels.iter().flat_map(|labels| [&labels.codebook, &labels.seen]);
        labels.chain(self.layers.iter().flat_map(|layer| &layer.0)).collect()
    }

    /// A state from the tensors of [`State::tensors`], for a model of `n_layer` layers.
    ///
    /// # Errors
    /// When there are too few tensors, or they do not divide among the layers.
    pub fn from_tensors(
        examples: i64,
        tensors: Vec<Tensor>,
        classifier: bool,
        n_layer: usize,
    ) -> Result<Self> {
        let before = if classifier { 2 } else { 0 };
        let rest = tensors.len().saturating_sub(before);
        if tensors.len() < before || n_layer == 0 || rest % n_layer != 0 {
            let reason = format!("has {} tensors, which {n_layer} layers cannot share", tensors.len());
            return Err(Error::Config { field: "state".into(), reason });
        }
        let mut tensors = tensors.into_iter();
        let mut next = || tensors.next().unwrap_or_default();
        let labels = classifier.then(|| Labels { codebook: next(), seen: next() });
        let layers =
            (0..n_layer).map(|_| LayerState((0..rest / n_layer).map(|_| next()).collect())).collect();
        Ok(Self { examples, labels, layers })
    }

    /// The bytes that the state holds.
    pub fn nbytes(&self) -> usize {
        let bytes = |tensor: &&Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
        self.tensors().iter().map(bytes).sum()
    }
}

impl Labels {
    /// Labels of which none has been seen.
    pub fn unseen(codebook: Tensor) -> Self {
        let seen = Tensor::zeros(codebook.size(), (Kind::Bool, codebook.device()));
        Self { codebook, seen }
    }

    /// The same, with the labels of (batch, n) seen.
    pub fn with(&self, labels: &Tensor) -> Self {
        let seen = self.seen.scatter_value(1, labels, 1);
        Self { codebook: self.codebook.shallow_clone(), seen }
    }
}
