//! Running moments of classes: what a stream's examples of each symbol have in common.

use super::pieces::in_pieces;
use crate::layer_state::LayerState;
use tch::{Kind, Tensor};

/// Examples, means and, where they are kept, summed squared deviations of the symbols of a batch of
/// streams.
pub(super) struct ClassMoments {
    /// (batch, vocab)
    pub(super) counts: Tensor,
    /// (batch, vocab, d_model)
    pub(super) means: Tensor,
    /// Summed squares about the mean, (batch, vocab, d_model).
    pub(super) deviations: Option<Tensor>,
}

impl ClassMoments {
    /// The memory of a layer.
    pub(super) fn of(layer: &LayerState) -> Self {
        let [counts, means, deviations @ ..] = &layer.0[..] else { unreachable!("the state was checked") };
        Self {
            counts: counts.shallow_clone(),
            means: means.shallow_clone(),
            deviations: deviations.first().map(Tensor::shallow_clone),
        }
    }

    /// As the memory of a layer.
    pub(super) fn into_layer(self) -> LayerState {
        LayerState([Some(self.counts), Some(self.means), self.deviations].into_iter().flatten().collect())
    }

    /// Of these examples and others together, x (batch, n, d_model) with symbols int64 (batch, n), as
    /// Chan et al. (1979) have it, which holds its digits however long the stream.
    pub(super) fn with(&self, x: &Tensor, symbols: &Tensor) -> Self {
        let x = x.to_kind(self.means.kind());
        let member = symbols.one_hot(self.counts.size()[1]).to_kind(x.kind()); // (batch, n, vocab)
        let per_symbol = |values: &Tensor| member.transpose(1, 2).matmul(values);
        let others = member.sum_dim_intlist(1, false, None::<Kind>);
        let their_means = per_symbol(&x) / others.clamp_min(1.0).unsqueeze(-1);
        let counts = &self.counts + &others;
        let share = (others / counts.clamp_min(1.0)).unsqueeze(-1);
        let apart = &their_means - &self.means;
        let deviations = self.deviations.as_ref().map(|own| {
            let theirs = per_symbol(&(&x - member.matmul(&their_means)).square());
            let between = apart.square() * &share * self.counts.unsqueeze(-1);
            own + theirs + between
        });
        Self { counts, means: &self.means + apart * share, deviations }
    }

    /// Squared distances of x (batch, Q, d_model) from the means, (batch, Q, vocab).
    ///
    /// By products, |x|² - 2 x·m + |m|²: the differences of each query from each mean would be `d_model` times as many
    /// numbers as the answers. The products are of float64, so that what cancels, some 1e-16 |x|², is less than float32
    /// inputs lose by their own rounding, (6e-8 |x|)², however near x and m lie.
    pub(super) fn square_distances(&self, x: &Tensor) -> Tensor {
        let [means, x] = [&self.means, x].map(|tensor| tensor.to_kind(Kind::Double));
        let square = |of: &Tensor| of.square().sum_dim_intlist(-1, true, None::<Kind>);
        let (by_symbol, of_means) = (means.transpose(1, 2), square(&means).transpose(1, 2)); // (batch, 1, vocab)
        in_pieces([&x], self.counts.numel() as i64, |[x]| {
            (square(x) + &of_means).baddbmm(x, &by_symbol, 1, -2).to_kind(self.means.kind())
        })
    }

    /// Logits, (batch, Q, vocab), where a symbol without examples has no chance.
    pub(super) fn seen_only(&self, logits: &Tensor) -> Tensor {
        logits.masked_fill(&self.counts.eq(0.0).unsqueeze(1), f64::NEG_INFINITY)
    }
}
